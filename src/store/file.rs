//! One token in one file.
//!
//! | name | what it is |
//! | --- | --- |
//! | `PATH` | the token: always a whole one, since it only ever appears by a rename |
//! | `PATH.lock` | empty; the process that has it locked is in the exclusive section. Never removed: two processes could then lock two files |
//! | `PATH.tmp` | the next token while it is written; a process that was killed leaves it behind, and the next one removes it |
//! | `PATH.corrupt-N` | an unreadable token file, moved aside |
//!
//! All have mode 0600 from before their first byte; on Windows, what their directory gives them. None is written or trusted
//! through a symbolic link. What differs from system to system is in `unix.rs` and `windows.rs`.

mod checked;
mod sealed;
mod section;
#[cfg(not(windows))]
mod unix;
#[cfg(windows)]
mod windows;

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind as Io, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use zeroize::Zeroizing;

use self::checked::{FIRST_PAUSE, LONGEST_PAUSE, failed};
use self::system::{IfWide, NAMES_NO_FILE, check, look_at_directory, open, try_lock};
#[cfg(not(windows))]
use self::unix as system;
#[cfg(windows)]
use self::windows as system;
use super::Stored;
use super::text::{self, Unreadable};
use crate::clock::{Clock as _, SystemClock};
use crate::{Error, Result};

/// A token file is one access token, which has a limit of its own, and one refresh token. What is longer is no token file.
const MAX_LENGTH: u64 = 1024 * 1024;

/// A [`TokenStore`](crate::TokenStore) in one file, shared by all processes that name the same path.
///
/// The file belongs to the user who runs the program and has mode 0600. Symbolic links, directories, files of another user
/// and files that other users can read or change are never read or overwritten; the error says what to do. The directory must
/// exist, and the program must be able to read and write in it: a new token is written beside the old one and then takes its
/// place. No other user should be able to write there; if one can, a warning is logged, once per store.
///
/// An unreadable token file (torn by a failing disk, empty, another program's) is moved aside, to `PATH.corrupt-N`, and the
/// error names it; a logout ([`Session::end`](crate::Session::end)) removes what was moved aside as well. A file of a later
/// version is an error and stays where it is.
///
/// The exclusive section is an advisory lock (`flock`; Windows: `LockFileEx`) on `PATH.lock`. The system releases it when the process ends, however
/// it ends. On a network file system without locks across machines, let only one machine use the file.
///
/// # File systems without modes
///
/// FAT, exFAT, NTFS and SMB keep no mode per file, so `chmod 600` has no effect there: a mount option decides. Mount with
/// `fmask=077` (SMB: `file_mode=0600`), and with `uid=` of the program's user.
///
/// # Windows
///
/// A file in the profile of the user who runs the program inherits rights that keep other users out, so the path has to be
/// below `%USERPROFILE%`, `%LOCALAPPDATA%` or `%APPDATA%`. Any other is refused, unless the program says by
/// [`private_directory`](FileStore::private_directory) that its directory keeps them out. No owner is looked at. The lock is
/// `LockFileEx`. A rename that is refused because another program has the file open is tried again for two seconds. See
/// `docs/token-files.md` in the repository for what was shown.
///
/// # Kubernetes
///
/// A pod with `fsGroup` has its volumes' files made readable and writable by that group each time it starts, which this
/// store refuses. Either leave `fsGroup` out, or set `fsGroupChangePolicy: OnRootMismatch` beside it, with which files below
/// a root directory that is right already stay as they are, or use [`narrow_mode`](FileStore::narrow_mode).
///
/// # After `fork`
///
/// A child process that runs no other program has copies of the parent's refresh token and connections, and a lock that was
/// held at that moment stays held until both have ended. Fork before the first session is built, and build one in the child:
/// sessions of parent and child on one path then share the login like any two processes. See
/// [`Session`](crate::Session#after-fork).
pub struct FileStore {
    path: PathBuf,
    if_wide: IfWide,
    /// What becomes of the text in the file.
    sealing: Option<Box<dyn sealed::Sealing>>,
    /// Has a new file taken the place of the old one yet, in this process?
    proven: AtomicBool,
    /// Have the rights of its directory been looked at?
    looked: AtomicBool,
}

impl FileStore {
    /// A store in the file at `path`. Nothing is opened yet. A relative path counts from where the process is now.
    pub fn new(path: impl AsRef<Path>) -> Self {
        // Without the slash at the end that would have the files beside it inside it.
        let path = std::path::absolute(path).unwrap_or_default().components().collect();
        FileStore {
            path,
            if_wide: IfWide::Refuse,
            sealing: None,
            proven: AtomicBool::new(false),
            looked: AtomicBool::new(false),
        }
    }

    /// Narrows the mode of the token file and its lock file to 0600 where other users can read or change them, instead of
    /// refusing the files. Off unless set: a token that others could read may have leaked.
    ///
    /// For volumes of a Kubernetes pod with `fsGroup`, whose files are made readable and writable by that group at each
    /// start of the pod. What the file holds is trusted: whoever was in that group could have read or changed it.
    ///
    /// Only an ordinary file that belongs to the program's user and has one name is changed; the change is logged at *info*.
    /// All else that [`FileStore`] refuses is refused as before. On Windows, which keeps no modes, it changes nothing.
    #[must_use]
    pub fn narrow_mode(mut self) -> Self {
        self.if_wide = self.if_wide.narrowed();
        self
    }

    /// Says that the rights of the file's directory keep other users out, so that `FileStore` need not look. Only on Windows,
    /// where a path outside of the user's profile is refused without it; elsewhere each file's mode tells, and this changes
    /// nothing.
    ///
    /// For the directory of a service, say. Give it rights that are inherited, for the user who runs the program alone:
    /// `icacls C:\my-service /inheritance:r /grant:r me:(OI)(CI)F`.
    #[must_use]
    pub fn private_directory(mut self) -> Self {
        self.if_wide = self.if_wide.in_private_directory();
        self
    }

    /// Seals what is in the file: `seal` is given the text that is to be stored, `open` what `seal` has made of it. For DPAPI,
    /// `systemd-creds`, a TPM, a key in the kernel's keyring or one that a passphrase has made (`stores/sealed/examples` in the
    /// repository has the last two). Rights, locks and the rest are as without it.
    ///
    /// `seal` is also tried before each token request, with nothing to seal: without its key, no refresh token is spent. What
    /// `open` cannot open is an error ([`ErrorKind::Store`](crate::ErrorKind::Store)) that says so, and the file is left alone:
    /// nothing is moved aside, and neither a save nor a logout overwrites it. A seal should also tell when what it holds was
    /// changed (authenticated encryption). The text is wiped when it has been used; copies that a closure makes are its own.
    ///
    /// An error of a closure becomes part of the store's error, so its text must hold no secret. All processes that share the
    /// file need the same seal. Files of before are not sealed: let `open` give back what begins with `{` as it is, once.
    #[must_use]
    pub fn sealed(
        mut self,
        seal: impl Fn(&[u8]) -> std::io::Result<Vec<u8>> + Send + Sync + 'static,
        open: impl Fn(&[u8]) -> std::io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.sealing = Some(sealed::by(seal, open));
        self
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory it is in. A path that names no file has none: then nothing beside it may be touched either.
    fn directory(&self) -> Result<&Path> {
        match (self.path.parent(), self.path.file_name()) {
            (Some(directory), Some(_)) => Ok(directory),
            _ => Err(Error::store(NAMES_NO_FILE)),
        }
    }

    /// Warns, once, if other users can write there. Before anything is made in it.
    fn look_at(&self, directory: &Path) -> Result<()> {
        if !self.looked.load(Relaxed) && !self.looked.swap(true, Relaxed) {
            let looked = look_at_directory(directory, self.if_wide);
            if !matches!(looked, Ok(true)) {
                // It does not exist yet, or is not what it should be.
                self.looked.store(false, Relaxed);
            }
            looked?;
        }
        Ok(())
    }

    /// A file beside it.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(suffix);
        PathBuf::from(name)
    }

    fn read(&self) -> Result<Read> {
        self.look_at(self.directory()?)?;
        let file = match open(&self.path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(error) if error.kind() == Io::NotFound => return Ok(Read::Nothing),
            Err(error) => return Err(failed("opened", &self.path, &error)),
        };
        let length = check(&self.path, &file, self.if_wide)?.len().min(MAX_LENGTH);
        // Room for all of it at once: a buffer that grew would leave a copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
        let read = file.take(MAX_LENGTH + 1).read_to_end(&mut text);
        read.map_err(|error| failed("read", &self.path, &error))?;
        if text.len() as u64 > MAX_LENGTH {
            return Ok(Read::Foreign("it is too long"));
        }
        if let Some(sealing) = &self.sealing {
            match sealing.open(&self.path, &text) {
                Ok(opened) => text = opened,
                Err(error) => return Ok(Read::Kept(error)),
            }
        }
        match text::read(&text) {
            Ok(stored) => Ok(Read::Stored(stored)),
            Err(Unreadable::Foreign(why)) => Ok(Read::Foreign(why)),
            Err(later @ Unreadable::Later(_)) => Ok(Read::Kept(Error::store(format!(
                "the token file {} {later}: use that program, or remove the file and log in again",
                self.path.display()
            )))),
        }
    }

    fn lock(&self, timeout: Duration) -> Result<File> {
        let path = self.beside(".lock");
        let deadline = SystemClock.now().after(timeout);
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(lock) = try_lock(&path, self.if_wide)? {
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

    fn foreign(&self, why: &str, whereabouts: &str) -> Error {
        let path = self.path.display();
        Error::store(format!("the token file {path} cannot be read: {why}; it {whereabouts}: log in again"))
    }
}

enum Read {
    Nothing,
    Stored(Stored),
    Foreign(&'static str),
    /// What is to stay as it is: a later version, or a seal that cannot be opened.
    Kept(Error),
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("path", &self.path).finish_non_exhaustive()
    }
}
