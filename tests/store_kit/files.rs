//! Stores in files that are broken on purpose.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use ureq_auth::{Error, Exclusive, FileStore, Result, Stored, TokenStore};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FileFlaw {
    /// The lock is a file that its holder makes and removes: a holder that dies leaves it behind.
    Leftover,
    /// Whoever reads ends the section of its process, as the close of any descriptor does to a lock by `fcntl`.
    LookEnds,
    /// A save is made when the section ends.
    SavesAtTheEnd,
    /// A process has a token of its own.
    OwnMemory,
    /// The file is written where it is.
    InPlace,
}

impl FileFlaw {
    pub(crate) const ALL: [FileFlaw; 5] =
        [FileFlaw::Leftover, FileFlaw::LookEnds, FileFlaw::SavesAtTheEnd, FileFlaw::OwnMemory, FileFlaw::InPlace];
}

/// A file beside the one that is its lock.
pub(crate) struct Broken {
    flaw: FileFlaw,
    store: FileStore,
    lock: PathBuf,
    text: PathBuf,
}

/// Of [`FileFlaw::OwnMemory`], for all values of a process.
static MEMORY: Mutex<Option<Stored>> = Mutex::new(None);

impl Broken {
    pub(crate) fn new(flaw: FileFlaw, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        Broken {
            flaw,
            store: FileStore::new(path),
            lock: path.with_extension("held"),
            text: path.with_extension("text"),
        }
    }

    fn has_lock_file(&self) -> bool {
        matches!(self.flaw, FileFlaw::Leftover | FileFlaw::LookEnds)
    }

    fn lock(&self, timeout: Duration) -> Result<()> {
        let begin = Instant::now();
        // Nothing that is not locked takes as long as half a second: the kit's patience need not be waited for.
        let timeout = timeout.min(Duration::from_secs(3));
        while OpenOptions::new().write(true).create_new(true).open(&self.lock).is_err() {
            if begin.elapsed() >= timeout {
                return Err(Error::store_busy(format!("{} is there", self.lock.display())));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn write(&self, stored: &Stored) -> Result<()> {
        fs::write(&self.text, &**stored.to_text()).map_err(|error| Error::store(error.to_string()))
    }
}

impl TokenStore for Broken {
    fn load(&self) -> Result<Option<Stored>> {
        match self.flaw {
            // Within one process, another lock is held as well.
            FileFlaw::LookEnds if std::env::var_os(crate::HOLDER).is_some() => drop(fs::remove_file(&self.lock)),
            FileFlaw::OwnMemory => return Ok(MEMORY.lock().unwrap().clone()),
            FileFlaw::InPlace => {
                let text = fs::read_to_string(&self.text).ok();
                return text.as_deref().map(Stored::from_text).transpose();
            }
            _ => {}
        }
        self.store.load()
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        let inside = match self.has_lock_file() {
            true => {
                self.lock(timeout)?;
                None
            }
            false => Some(self.store.exclusive(timeout)?),
        };
        Ok(Box::new(Inside { store: self, inside, written: None }))
    }
}

struct Inside<'a> {
    store: &'a Broken,
    inside: Option<Box<dyn Exclusive + 'a>>,
    written: Option<Stored>,
}

impl<'a> Inside<'a> {
    /// Does this in the section that there is, or in one for this alone.
    fn within(&mut self, act: impl FnOnce(&mut dyn Exclusive) -> Result<()>) -> Result<()> {
        match &mut self.inside {
            Some(inside) => act(&mut **inside),
            None => act(&mut *self.store.store.exclusive(Duration::from_secs(1))?),
        }
    }
}

impl Exclusive for Inside<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        match &self.written {
            Some(written) => Ok(Some(written.clone())),
            None => self.store.load(),
        }
    }

    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        match self.store.flaw {
            FileFlaw::SavesAtTheEnd => self.written = Some(stored.clone()),
            FileFlaw::OwnMemory => *MEMORY.lock().unwrap() = Some(stored.clone()),
            FileFlaw::InPlace => self.store.write(stored)?,
            _ => self.within(|inside| inside.save(stored))?,
        }
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        drop(fs::remove_file(&self.store.text));
        match self.store.flaw {
            FileFlaw::OwnMemory => *MEMORY.lock().unwrap() = None,
            _ => self.within(|inside| inside.remove())?,
        }
        Ok(())
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some(written) = self.written.take() {
            self.within(|inside| inside.save(&written)).unwrap();
        }
        if self.store.has_lock_file() {
            drop(fs::remove_file(&self.store.lock));
        }
    }
}
