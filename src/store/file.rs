//! One token in one file.
//!
//! | name | what it is |
//! | --- | --- |
//! | `PATH` | the token: always a whole one, since it only ever appears by a rename |
//! | `PATH.lock` | empty; whoever has it locked is in the exclusive section. Never removed: two processes could then lock two files |
//! | `PATH.tmp` | the next token while it is written; left behind by a process that was killed, and removed by the next |
//! | `PATH.corrupt-N` | what stood in `PATH` and was no token |
//!
//! All have mode 0600 from before their first byte. None is written or trusted through a symbolic link.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind as Io, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use zeroize::Zeroizing;

use super::text::{self, Unreadable};
use super::{Exclusive, Stored, TokenStore};
use crate::clock::{Clock as _, SystemClock};
use crate::{Error, ErrorKind, Result};

/// A token file is one access token, which has a limit of its own, and one refresh token. What is longer is none.
const MAX_LENGTH: u64 = 1024 * 1024;

/// What is written ahead of an exchange, at least, to have the room for its result.
const RESERVE: usize = 16 * 1024;

/// The pauses between two attempts to lock: from here, doubled each time, up to there.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// How long somebody who has found a file that is no token waits for the lock, to look again and to put it aside.
const ASIDE: Duration = Duration::from_secs(1);

/// So many files that were no tokens are kept beside the store.
const MAX_ASIDE: u32 = 100;

/// A [`TokenStore`] in one file, shared by all processes that name the same path.
///
/// The file belongs to the user who runs the program and has mode 0600. A symbolic link, a directory, another's file, or
/// one that others can read is refused; the error says what to do. The directory must exist and be writable, for a new
/// token is written beside the old one and then takes its place; it should be writable to nobody else.
///
/// A file that is no token (torn by a failing disk, empty, another program's) is an error that names it; it is
/// kept, renamed to `PATH.corrupt-N`. One of a later version is an error and stays where it is.
///
/// The exclusive section is an advisory lock (`flock`) on `PATH.lock`, which the system lets go when the process ends,
/// however it ends. On a network file system that knows no locks across machines, let one machine use it.
pub struct FileStore {
    path: PathBuf,
}

impl FileStore {
    /// A store in the file at `path`. Nothing is opened yet. A relative path counts from where the process is now.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        FileStore { path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()) }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file beside it.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(suffix);
        PathBuf::from(name)
    }

    fn read(&self) -> Result<Read> {
        let file = match open(&self.path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(error) if error.kind() == Io::NotFound => return Ok(Read::Nothing),
            Err(error) => return Err(failed("opened", &self.path, &error)),
        };
        check(&self.path, &file)?;
        let length = file.metadata().map_or(0, |metadata| metadata.len()).min(MAX_LENGTH);
        // Room for all of it at once: a buffer that grew would leave a copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
        let read = file.take(MAX_LENGTH + 1).read_to_end(&mut text);
        read.map_err(|error| failed("read", &self.path, &error))?;
        if text.len() as u64 > MAX_LENGTH {
            return Ok(Read::Foreign("it is too long"));
        }
        match text::read(&text) {
            Ok(stored) => Ok(Read::Stored(stored)),
            Err(Unreadable::Foreign(why)) => Ok(Read::Foreign(why)),
            Err(later @ Unreadable::Later(_)) => Err(Error::store(format!(
                "the token file {} {later}: use that program, or remove the file and log in again",
                self.path.display()
            ))),
        }
    }

    /// Opens and locks the lock file, if nobody else has it locked.
    fn try_lock(&self, path: &Path) -> Result<Option<File>> {
        let lock = open(path, OpenOptions::new().read(true).write(true).create(true).truncate(false));
        let lock = lock.map_err(|error| failed("opened", path, &error))?;
        check(path, &lock)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            // Is it still the file of that name? Somebody may have removed it, and another be locking the next one.
            Ok(()) if is_at(path, &lock) => Ok(Some(lock)),
            Ok(()) | Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(None),
            Err(errno) => Err(failed("locked", path, &errno.into())),
        }
    }

    fn lock(&self, timeout: Duration) -> Result<File> {
        let path = self.beside(".lock");
        let deadline = SystemClock.now().after(timeout);
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(lock) = self.try_lock(&path)? {
                return Ok(lock);
            }
            let left = deadline.since(SystemClock.now());
            if left.is_zero() {
                return Err(Error::store_busy(format!(
                    "another process has kept {} locked for {timeout:?}: it refreshes the token, or hangs in that",
                    path.display()
                )));
            }
            // There is no way to sleep until a lock is free, or else until a deadline, without a thread or a signal.
            SystemClock.sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

enum Read {
    Nothing,
    Stored(Stored),
    Foreign(&'static str),
}

impl TokenStore for FileStore {
    fn load(&self) -> Result<Option<Stored>> {
        match self.read()? {
            Read::Nothing => Ok(None),
            Read::Stored(stored) => Ok(Some(stored)),
            // By its name it may be another file by now; inside the section it is not.
            Read::Foreign(why) => match self.exclusive(ASIDE) {
                Ok(mut section) => section.load(),
                Err(_) => Err(self.foreign(why, "is still there")),
            },
        }
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        Ok(Box::new(Section { store: self, lock: self.lock(timeout)?, next: None }))
    }
}

impl FileStore {
    fn foreign(&self, why: &str, whereabouts: &str) -> Error {
        let path = self.path.display();
        Error::store(format!("the token file {path} cannot be read: {why}; it {whereabouts}: log in again"))
    }

    /// Renames what is no token. Only inside the exclusive section.
    fn put_aside(&self, why: &str) -> Error {
        for number in 1..=MAX_ASIDE {
            let aside = self.beside(&format!(".corrupt-{number}"));
            if fs::symlink_metadata(&aside).is_ok() {
                continue;
            }
            return match fs::rename(&self.path, &aside) {
                Ok(()) => self.foreign(why, &format!("is kept as {}", aside.display())),
                Err(error) => failed("renamed", &self.path, &error),
            };
        }
        self.foreign(why, "is still there, for there are too many like it beside it already")
    }

    fn sync_directory(&self) -> Result<()> {
        let Some(directory) = self.path.parent() else { return Ok(()) };
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        match synced {
            // There are file systems that have nothing to say to this.
            Err(error) if !matches!(error.kind(), Io::InvalidInput | Io::Unsupported) => {
                Err(failed("made durable", directory, &error))
            }
            _ => Ok(()),
        }
    }
}

/// The exclusive section.
struct Section<'a> {
    store: &'a FileStore,
    lock: File,
    /// The file that `prepare` has made room in.
    next: Option<File>,
}

impl Section<'_> {
    fn next(&mut self) -> Result<File> {
        if let Some(next) = self.next.take() {
            return Ok(next);
        }
        let path = self.store.beside(".tmp");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != Io::NotFound => return Err(failed("removed", &path, &error)),
            _ => {}
        }
        open(&path, OpenOptions::new().write(true).create_new(true)).map_err(|error| failed("created", &path, &error))
    }

    fn write(&mut self, text: &[u8]) -> Result<()> {
        let mut next = self.next()?;
        let temporary = self.store.beside(".tmp");
        let written = next.rewind().and_then(|()| next.write_all(text));
        let written = written.and_then(|()| next.set_len(text.len() as u64)).and_then(|()| next.sync_all());
        let written = written.and_then(|()| fs::rename(&temporary, &self.store.path));
        written.map_err(|error| {
            let _litter = fs::remove_file(&temporary);
            failed("written", &self.store.path, &error)
        })
    }
}

impl Exclusive for Section<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        match self.store.read()? {
            Read::Nothing => Ok(None),
            Read::Stored(stored) => Ok(Some(stored)),
            Read::Foreign(why) => Err(self.store.put_aside(why)),
        }
    }

    fn prepare(&mut self) -> Result<()> {
        let length = fs::symlink_metadata(&self.store.path).map_or(0, |metadata| metadata.len().min(MAX_LENGTH));
        let room = RESERVE.max(2 * usize::try_from(length).unwrap_or(0));
        let mut next = self.next()?;
        // The token is written over this: then the disk cannot be full for it any more.
        let reserved = next.write_all(&vec![b' '; room]);
        self.next = Some(next);
        reserved.map_err(|error| failed("written", &self.store.beside(".tmp"), &error))
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        self.write(stored.to_text().as_bytes())?;
        self.store.sync_directory()
    }

    fn remove(&mut self) -> Result<()> {
        match fs::remove_file(&self.store.path) {
            Err(error) if error.kind() == Io::NotFound => Ok(()),
            Err(error) => Err(failed("removed", &self.store.path, &error)),
            Ok(()) => self.store.sync_directory(),
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        // Room that nothing came of.
        if self.next.take().is_some() {
            let _litter = fs::remove_file(self.store.beside(".tmp"));
        }
        // To close the file would do, were it not for a child process that was forked just now and has not come to its exec.
        let _closed_next = flock(&self.lock, FlockOperation::Unlock);
    }
}

/// Opens without following a symbolic link, and without waiting should it be a pipe. A new file is for nobody else to read.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    options.mode(0o600).custom_flags(i32::try_from(flags.bits()).unwrap_or(0)).open(path)
}

/// Is this an ordinary file of ours that nobody else can read? Looked at once it is open: it cannot be exchanged then.
fn check(path: &Path, file: &File) -> Result<()> {
    let metadata = file.metadata().map_err(|error| failed("looked at", path, &error))?;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    let mode = metadata.mode() & 0o7777;
    let problem = if !metadata.is_file() {
        "is no ordinary file: give the store a path of its own".to_owned()
    } else if owner != user {
        format!(
            "belongs to user {owner}, and this program runs as {user}: run it as that user, or give it another path"
        )
    } else if mode & 0o077 != 0 {
        format!("has mode {mode:03o}, so that others can get at it: chmod 600 it, and log in again if they may have")
    } else {
        return Ok(());
    };
    Err(Error::store(format!("{} {problem}", path.display())))
}

fn is_at(path: &Path, file: &File) -> bool {
    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
        _ => false,
    }
}

#[cold]
fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    let advice = match error.kind() {
        _ if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::LOOP) => {
            ": it is a symbolic link; give the path of the file itself"
        }
        Io::NotFound => ": create the directory that it is in",
        Io::PermissionDenied | Io::ReadOnlyFilesystem => ": the program needs to write in that directory",
        Io::StorageFull | Io::QuotaExceeded => ": make room there",
        _ => "",
    };
    let message = format!("{} could not be {what} ({error}){advice}", path.display());
    Error::refresh(ErrorKind::Store, message, None, None, Some(Box::new(io::Error::from(error.kind()))))
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("path", &self.path).finish()
    }
}
