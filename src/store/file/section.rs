//! The exclusive section: all that is done to the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind as Io, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use zeroize::Zeroizing;

use super::checked::{check_is_file, failed};
use super::system::{self, Directory, check_new, is_at, open};
use super::{FileStore, MAX_LENGTH, Read};
use crate::store::{Exclusive, Stored, TokenStore};
use crate::{Error, Result};

/// What is written ahead of an exchange, at least, to have the room for its result.
const RESERVE: usize = 16 * 1024;

/// So many unreadable token files are kept beside the store.
const MAX_ASIDE: u32 = 100;

/// How long somebody who has found a file that is no token waits for the lock, to look again and to put it aside.
const ASIDE: Duration = Duration::from_secs(1);

pub(super) struct Section<'a> {
    store: &'a FileStore,
    directory: &'a Path,
    lock: File,
    /// What `prepare` has made ready.
    next: Option<Next>,
}

/// All that a save needs to have open, so that it cannot fail for want of it: the next token's file, and the directory, for
/// the sync that makes the rename durable.
struct Next {
    file: File,
    directory: Directory,
}

impl TokenStore for FileStore {
    fn load(&self) -> Result<Option<Stored>> {
        let read = self.read()?;
        system::give_way();
        match read {
            Read::Nothing => Ok(None),
            Read::Stored(stored) => Ok(Some(stored)),
            Read::Kept(error) => Err(error),
            // By its name it may be another file by now; inside the section it is not.
            Read::Foreign(why) => match self.exclusive(ASIDE) {
                Ok(mut section) => section.load(),
                Err(_) => Err(self.foreign(why, "is still there")),
            },
        }
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        let directory = self.directory()?;
        self.look_at(directory)?;
        Ok(Box::new(Section::new(self, directory, self.lock(timeout)?)))
    }

    fn place(&self) -> String {
        format!("the token file {}", self.path.display())
    }
}

impl<'a> Section<'a> {
    pub(super) fn new(store: &'a FileStore, directory: &'a Path, lock: File) -> Self {
        Section { store, directory, lock, next: None }
    }

    fn temporary(&self) -> PathBuf {
        self.store.beside(".tmp")
    }

    fn aside(&self, number: u32) -> PathBuf {
        self.store.beside(&format!(".corrupt-{number}"))
    }

    fn begin(&self) -> Result<Next> {
        let directory = self.open_directory()?;
        let path = self.temporary();
        remove_if_there(&path)?;
        let file = open(&path, OpenOptions::new().write(true).create_new(true))
            .map_err(|error| failed("created", &path, &error))?;
        check_new(&path, &file, self.store.if_wide)?;
        Ok(Next { file, directory })
    }

    fn open_directory(&self) -> Result<Directory> {
        Directory::open(self.directory).map_err(|error| failed("opened", self.directory, &error))
    }

    fn write(&mut self, stored: &Stored) -> Result<()> {
        let mut text = Zeroizing::new(std::mem::take(&mut *stored.to_text()).into_bytes());
        if let Some(sealing) = &self.store.sealing {
            // The text itself is wiped by that.
            text = Zeroizing::new(sealing.seal(&self.store.path, &text)?);
        }
        if text.len() as u64 > MAX_LENGTH {
            return Err(Error::store(format!(
                "{} is too small for this token: it is too long",
                self.store.path.display()
            )));
        }
        let mut next = match self.next.take() {
            Some(next) => next,
            None => self.begin()?,
        };
        let path = &self.store.path;
        if let Err(error) = self.replace(&mut next.file, &text) {
            self.discard(&next);
            return Err(failed("written", path, &error));
        }
        self.store.proven.store(true, Relaxed);
        self.sync(&next.directory, Some(&next.file))
    }

    fn replace(&self, file: &mut File, text: &[u8]) -> io::Result<()> {
        file.rewind()?;
        file.write_all(text)?;
        file.set_len(text.len() as u64)?;
        file.sync_all()?;
        let temporary = self.temporary();
        match is_at(&temporary, file) {
            true => system::rename(temporary, &self.store.path),
            // Somebody who has removed the lock file has let another in, whose half-written file it may be.
            false => Err(io::Error::other("somebody else is at it: the lock file was removed")),
        }
    }

    /// Removes the temporary file, if it is still this one.
    fn discard(&self, next: &Next) {
        let temporary = self.temporary();
        if is_at(&temporary, &next.file) {
            let _litter = system::remove_file(temporary);
        }
    }

    fn sync(&self, directory: &Directory, renamed: Option<&File>) -> Result<()> {
        match directory.sync(renamed) {
            // There are file systems that have nothing to say to this.
            Err(error) if !matches!(error.kind(), Io::InvalidInput | Io::Unsupported) => {
                Err(failed("made durable", self.directory, &error))
            }
            _ => Ok(()),
        }
    }

    /// Renames what is no token, and says so. An error if it has to stay where it is.
    fn put_aside(&self, why: &str) -> Result<Error> {
        for number in 1..=MAX_ASIDE {
            let aside = self.aside(number);
            if fs::symlink_metadata(&aside).is_ok() {
                continue;
            }
            system::rename(&self.store.path, &aside).map_err(|error| failed("renamed", &self.store.path, &error))?;
            return Ok(self.store.foreign(why, &format!("is kept as {}", aside.display())));
        }
        Err(self.store.foreign(why, "is still there, for there are too many like it beside it already"))
    }
}

impl Exclusive for Section<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        match self.store.read()? {
            Read::Nothing => Ok(None),
            Read::Stored(stored) => Ok(Some(stored)),
            Read::Foreign(why) => Err(self.put_aside(why)?),
            Read::Kept(error) => Err(error),
        }
    }

    fn prepare(&mut self) -> Result<()> {
        // Before anything is written: whoever has locked the next lock file may be at it.
        let path = self.store.beside(".lock");
        if !is_at(&path, &self.lock) {
            return Err(Error::store(format!(
                "{} was removed while it was locked, and another process may have locked the next one: leave it where it is",
                path.display()
            )));
        }
        let found = self.load()?;
        if let (Some(found), false) = (&found, self.store.proven.load(Relaxed)) {
            // There are files that can be read and written, and nothing can take their place: mounts of their own, say. That
            // is found out with a token that is there already.
            self.write(found)?;
        }
        if let Some(sealing) = &self.store.sealing {
            sealing.seal(&self.store.path, b"")?;
        }
        let length = fs::symlink_metadata(&self.store.path).map_or(0, |metadata| metadata.len().min(MAX_LENGTH));
        let room = RESERVE.max(2 * usize::try_from(length).unwrap_or(0));
        let mut next = self.begin()?;
        // The token is written over this: then the disk cannot be full for it any more. Synced, because a network file system
        // and a disk that fails say so only then.
        let reserved = next.file.write_all(&vec![b' '; room]).and_then(|()| next.file.sync_all());
        self.next = Some(next);
        reserved.map_err(|error| failed("written", &self.temporary(), &error))
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        // What must not be read must not be overwritten either, and what is no token is kept. `prepare` has looked.
        if self.next.is_none() {
            match self.store.read()? {
                Read::Foreign(why) => {
                    let kept = self.put_aside(why)?;
                    log::warn!("{kept}");
                }
                Read::Kept(error) => return Err(error),
                Read::Nothing | Read::Stored(_) => {}
            }
        }
        self.write(stored)
    }

    /// A logout leaves nothing beside the file either.
    fn was_set_aside(&mut self) -> bool {
        (1..=MAX_ASIDE).any(|number| fs::symlink_metadata(self.aside(number)).is_ok())
    }

    fn remove(&mut self) -> Result<()> {
        check_is_file(&self.store.path)?;
        // Another program's and good, or sealed with a key that is not here. What else cannot be read goes: a logout leaves no token behind.
        if let Ok(Read::Kept(error)) = self.store.read() {
            return Err(error);
        }
        // The token first. A killed process may have left one in the temporary file, and what was moved aside may be half of one.
        let (mut is_removed, mut result) = (false, Ok(()));
        for number in 0..=MAX_ASIDE + 1 {
            let path = match number {
                0 => self.store.path.clone(),
                1..=MAX_ASIDE => self.aside(number),
                _ => self.temporary(),
            };
            match remove_if_there(&path) {
                Ok(was_there) => is_removed |= was_there,
                // What stands in the way of one does not keep the others.
                Err(error) => result = result.and(Err(error)),
            }
        }
        if is_removed {
            self.sync(&self.open_directory()?, None)?;
        }
        result
    }
}

/// Was it there?
fn remove_if_there(path: &Path) -> Result<bool> {
    match system::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == Io::NotFound => Ok(false),
        Err(error) => Err(failed("removed", path, &error)),
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        // Room that nothing came of.
        if let Some(next) = self.next.take() {
            self.discard(&next);
        }
        system::unlock(&self.lock);
    }
}
