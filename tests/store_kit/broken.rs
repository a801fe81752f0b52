//! Stores that are broken on purpose, each in one way.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq_auth::store_kit::Bench;
use ureq_auth::{Error, Exclusive, FileStore, Result, Stored, TokenStore};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    Nothing,
    /// A save is two steps, and a reader sees the state between them.
    HalfSaves,
    /// A save that fails has removed what was there.
    SaveLosesTheOld,
    /// Everybody is let in.
    NoLock,
    /// What cannot be read is no token, so the store counts as empty.
    ForeignIsEmpty,
    /// A save does not look whether the section still stands.
    LateSave,
    /// Who takes over a section that owes a save may send all the same.
    SpendsOwed,
    /// Who waits too long hears of an error, but not that it is a matter of time.
    OtherKind,
}

/// A text in memory, under a lease that the bench can take away.
pub(crate) struct Shelf {
    inner: Arc<Inner>,
    /// The section of this value's that owes a save, and has kept the lease for the next one.
    owing: Mutex<Option<u64>>,
}

struct Inner {
    flaw: Flaw,
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    text: Option<String>,
    fails: bool,
    is_cut: bool,
    holder: Option<u64>,
    sections: u64,
}

impl Shelf {
    pub(crate) fn new(flaw: Flaw) -> Self {
        let inner = Inner { flaw, state: Mutex::default(), left: Condvar::new() };
        Shelf { inner: Arc::new(inner), owing: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.inner.flaw == flaw
    }
}

impl Bench for Shelf {
    fn open(&self) -> Box<dyn TokenStore> {
        Box::new(Shelf { inner: Arc::clone(&self.inner), owing: Mutex::default() })
    }

    fn put_text(&self, text: &str) -> bool {
        self.state().text = Some(text.to_owned());
        true
    }

    fn fail_saves(&self, fail: bool) -> bool {
        self.state().fails = fail;
        true
    }

    fn lose_section(&self) -> bool {
        self.state().holder = None;
        self.inner.left.notify_all();
        true
    }

    fn cut_off(&self, is_cut: bool) -> bool {
        self.state().is_cut = is_cut;
        true
    }
}

impl TokenStore for Shelf {
    fn load(&self) -> Result<Option<Stored>> {
        let stored = self.state().text.as_deref().map(Stored::from_text).transpose();
        match stored {
            // A later version's stays an error: this one knows that much.
            Err(error) if self.is(Flaw::ForeignIsEmpty) && !error.to_string().contains("version 2") => Ok(None),
            stored => stored,
        }
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        let owing = *self.owing.lock().unwrap();
        let is_owing = |state: &State| owing.is_some() && state.holder == owing;
        let is_taken = |state: &mut State| state.holder.is_some() && !is_owing(state) && !self.is(Flaw::NoLock);
        let waited = self.inner.left.wait_timeout_while(self.state(), timeout, is_taken);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if is_taken(&mut state) {
            let message = "the shelf is somebody else's";
            return Err(if self.is(Flaw::OtherKind) { Error::store(message) } else { Error::store_busy(message) });
        }
        let owes_save = is_owing(&state);
        state.sections += 1;
        state.holder = Some(state.sections);
        Ok(Box::new(Section { shelf: self, number: state.sections, has_sent: false, owes_save }))
    }
}

struct Section<'a> {
    shelf: &'a Shelf,
    number: u64,
    has_sent: bool,
    owes_save: bool,
}

impl Section<'_> {
    fn held(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.shelf.state();
        let is_held = state.holder == Some(self.number) || self.shelf.is(Flaw::NoLock);
        if is_held { Ok(state) } else { Err(Error::store_busy("the section is lost")) }
    }
}

impl Exclusive for Section<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        self.shelf.load()
    }

    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    fn hold_for(&mut self, _: Duration) -> Result<()> {
        self.held().map(drop)?;
        if self.owes_save && !self.shelf.is(Flaw::SpendsOwed) {
            return Err(Error::store_busy("a save is owed"));
        }
        self.has_sent = true;
        Ok(())
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        let text = stored.to_text();
        if self.shelf.state().is_cut {
            self.owes_save |= self.has_sent;
            return Err(Error::store("nobody answers"));
        }
        let mut state = if self.shelf.is(Flaw::LateSave) { self.shelf.state() } else { self.held()? };
        if state.fails {
            if self.shelf.is(Flaw::SaveLosesTheOld) {
                state.text = None;
            }
            return Err(Error::store("there is no room"));
        }
        if self.shelf.is(Flaw::HalfSaves) {
            state.text = Some(text[..text.len() / 2].to_owned());
            drop(state);
            // So that it is seen: a disk is as slow.
            thread::sleep(Duration::from_millis(1));
            state = self.held()?;
        }
        state.text = Some(text.to_string());
        drop(state);
        (self.has_sent, self.owes_save) = (false, false);
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        self.held()?.text = None;
        Ok(())
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let mut state = self.shelf.state();
        if state.holder == Some(self.number) && self.owes_save {
            *self.shelf.owing.lock().unwrap() = Some(self.number);
        } else if state.holder == Some(self.number) {
            state.holder = None;
            self.shelf.inner.left.notify_all();
        }
    }
}

/// A file whose lock is another file that its holder makes and removes: a holder that dies leaves it behind.
pub(crate) struct Leftover {
    store: FileStore,
    lock: PathBuf,
}

impl Leftover {
    pub(crate) fn new(path: impl AsRef<Path>) -> Self {
        Leftover { store: FileStore::new(&path), lock: path.as_ref().with_extension("held") }
    }
}

impl TokenStore for Leftover {
    fn load(&self) -> Result<Option<Stored>> {
        self.store.load()
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        let begin = Instant::now();
        // Nothing that is not locked takes as long as half a second: the kit's patience need not be waited for.
        let timeout = timeout.min(Duration::from_secs(3));
        while OpenOptions::new().write(true).create_new(true).open(&self.lock).is_err() {
            if begin.elapsed() >= timeout {
                return Err(Error::store_busy(format!("{} is there", self.lock.display())));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Box::new(Inside(self)))
    }
}

struct Inside<'a>(&'a Leftover);

impl Exclusive for Inside<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        self.0.load()
    }

    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        self.0.store.exclusive(Duration::from_secs(1))?.save(stored)
    }

    fn remove(&mut self) -> Result<()> {
        self.0.store.exclusive(Duration::from_secs(1))?.remove()
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0.lock));
    }
}
