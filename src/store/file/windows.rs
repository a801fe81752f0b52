//! What the file store asks of Windows. There are no modes: a file in a user's profile inherits what keeps others out, and
//! elsewhere the program has to say that its directory does. What another program has open can be neither replaced nor
//! removed: that is tried again for a moment.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind as Io};
use std::os::windows::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs4::{FileExt, TryLockError};

use super::checked::{FIRST_PAUSE, NO_FILE, failed, is_in_use};
use crate::clock::{Clock as _, SystemClock};
use crate::{Error, Result};

pub(super) const NAMES_NO_FILE: &str = "the token file's path names no file: give the store a path such as \
                                        C:\\Users\\me\\AppData\\Local\\my-program\\token";

/// Where a user's own files are. What is made below inherits rights for that user, administrators and the system alone.
const PROFILE: [&str; 3] = ["USERPROFILE", "LOCALAPPDATA", "APPDATA"];

/// How long a file that another program has open is tried again.
const PATIENCE: Duration = Duration::from_secs(2);

// From winnt.h, winbase.h and winerror.h.
const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
const FILE_ATTRIBUTE_REPARSE_POINT: u32 = 0x0000_0400;
const FILE_SHARE_READ_AND_WRITE: u32 = 0x0000_0003;
const ERROR_SHARING_VIOLATION: i32 = 32;

/// What happens to a file that other users may be able to read or change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IfWide {
    /// It is refused.
    Refuse,
    /// The program says that its directory keeps them out.
    Believe,
}

impl IfWide {
    /// There is no mode to narrow.
    pub(super) fn narrowed(self) -> Self {
        self
    }

    pub(super) fn in_private_directory(self) -> Self {
        IfWide::Believe
    }
}

/// Refuses a directory in which other users may be able to read what is made there. True if it is there.
pub(super) fn look_at_directory(path: &Path, if_wide: IfWide) -> Result<bool> {
    if if_wide == IfWide::Believe {
        return Ok(true);
    }
    // Where it really is: by way of no junction, and with the names that a short one stands for.
    let directory = match fs::canonicalize(path) {
        Ok(directory) => directory,
        Err(error) if error.kind() == Io::NotFound => return Ok(false),
        Err(error) => return Err(failed("looked at", path, &error)),
    };
    if PROFILE.iter().filter_map(|name| profile(name)).any(|profile| directory.starts_with(profile)) {
        return Ok(true);
    }
    Err(Error::store(format!(
        "the directory {} is not in the profile of the user who runs this program, so other users may be able to read or \
         change the token: give a path below %LOCALAPPDATA%, or, if the directory's rights keep other users out, say so by \
         FileStore::private_directory",
        path.display()
    )))
}

/// A whole drive is nobody's profile.
fn profile(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())?;
    fs::canonicalize(path).ok().filter(|path| path.parent().is_some())
}

/// Opens without following a symbolic link. Somebody who has it open alone for a moment is waited for.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // The second flag is for directories: they are opened, and then refused as what they are.
    options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS);
    patiently(|| options.open(path))
}

/// Checks that this is an ordinary file, and not a link to one. Its directory was looked at.
pub(super) fn check(path: &Path, file: &File, _if_wide: IfWide) -> Result<Metadata> {
    let metadata = file.metadata().map_err(|error| failed("looked at", path, &error))?;
    let problem = if metadata.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0 {
        "is a symbolic link or a file that another program stands in for: give the path of an ordinary file"
    } else if !metadata.is_file() {
        NO_FILE
    } else {
        return Ok(metadata);
    };
    Err(Error::store(format!("{} {problem}", path.display())))
}

pub(super) fn check_new(path: &Path, file: &File, if_wide: IfWide) -> Result<()> {
    check(path, file, if_wide).map(drop)
}

/// Opens and locks the lock file, if nobody else has it locked.
pub(super) fn try_lock(path: &Path, if_wide: IfWide) -> Result<Option<File>> {
    let mut options = OpenOptions::new();
    // Not shared for removal: while somebody has it open, there is no other file of that name.
    options.read(true).write(true).create(true).truncate(false).share_mode(FILE_SHARE_READ_AND_WRITE);
    let lock = match open(path, &mut options) {
        Ok(lock) => lock,
        // By a program that shares it with nobody.
        Err(error) if error.raw_os_error() == Some(ERROR_SHARING_VIOLATION) => return Ok(None),
        Err(error) => return Err(failed("opened", path, &error)),
    };
    check(path, &lock, if_wide)?;
    // By the trait's name: from Rust 1.89 on, files have methods of these names.
    match FileExt::try_lock(&lock) {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed("locked", path, &error)),
    }
}

/// Leaves a moment in which the file can be replaced: programs that read it one after another would keep it open for good.
pub(super) fn give_way() {
    SystemClock.sleep(FIRST_PAUSE);
}

pub(super) fn unlock(lock: &File) {
    let _closed_next = FileExt::unlock(lock);
}

/// The lock file cannot be removed while it is open, so nobody else is in the section, and the name is the open file's.
pub(super) fn is_at(_path: &Path, _file: &File) -> bool {
    true
}

pub(super) fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    patiently(|| fs::rename(&from, &to))
}

pub(super) fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    patiently(|| fs::remove_file(&path))
}

/// There is no sync of a directory. The name is part of what NTFS writes when the renamed file itself is synced.
pub(super) struct Directory;

impl Directory {
    pub(super) fn open(_path: &Path) -> io::Result<Self> {
        Ok(Directory)
    }

    pub(super) fn sync(&self, renamed: Option<&File>) -> io::Result<()> {
        renamed.map_or(Ok(()), File::sync_all)
    }
}

/// Tries again what another program keeps from happening, which has the file open for a moment: another process that reads
/// the token, a virus scanner.
fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = SystemClock.now().after(PATIENCE);
    loop {
        let error = match attempt() {
            Err(error) if is_in_use(&error) => error,
            done => return done,
        };
        let left = deadline.since(SystemClock.now());
        if left.is_zero() {
            return Err(error);
        }
        // Not longer each time: among readers that come one after another, the moment without one is short.
        SystemClock.sleep(FIRST_PAUSE.min(left));
    }
}
