//! What every system's files have in common; errors say what to do.

use std::fs::symlink_metadata;
use std::io::{self, ErrorKind as Io};
use std::path::Path;
use std::time::Duration;

use crate::{Error, ErrorKind, Result};

/// The pauses between two attempts: from here, doubled each time, up to there.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(1);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// For what is only to be removed: an ordinary file, whatever its rights.
pub(super) fn check_is_file(path: &Path) -> Result<()> {
    match symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(Error::store(format!("{} {NO_FILE}", path.display()))),
        _ => Ok(()),
    }
}

pub(super) const NO_FILE: &str = "is no ordinary file: give the store a path of its own";

#[cold]
pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    let advice = advice(what, error).unwrap_or(match error.kind() {
        Io::ResourceBusy => ": if it is a mount of its own, nothing can take its place; mount its directory instead",
        Io::NotFound => ": create the directory that it is in",
        Io::PermissionDenied | Io::ReadOnlyFilesystem => {
            ": the program needs to write in that directory, and to read it"
        }
        Io::StorageFull | Io::QuotaExceeded => ": make room there",
        _ => "",
    });
    let message = format!("{} could not be {what} ({error}){advice}", path.display());
    Error::refresh(ErrorKind::Store, message, None, None, Some(Box::new(io::Error::from(error.kind()))))
}

/// What to do about an error of a kind that only a unix has.
#[cfg(not(windows))]
fn advice(what: &str, error: &io::Error) -> Option<&'static str> {
    use rustix::io::Errno;

    match Errno::from_io_error(error) {
        Some(Errno::LOOP) => Some(": it is a symbolic link; give the path of the file itself"),
        Some(Errno::NOLCK | Errno::OPNOTSUPP) if what == "locked" => Some(NO_LOCKS),
        _ => None,
    }
}

/// What to do about an error of a kind that only Windows has.
#[cfg(windows)]
fn advice(what: &str, error: &io::Error) -> Option<&'static str> {
    const ERROR_INVALID_FUNCTION: i32 = 1;
    const ERROR_NOT_SUPPORTED: i32 = 50;

    match error.raw_os_error() {
        Some(ERROR_INVALID_FUNCTION | ERROR_NOT_SUPPORTED) if what == "locked" => Some(NO_LOCKS),
        _ if is_in_use(error) => Some(
            ": another program has it open (end it, or leave the directory out of virus scans and backups), or this user \
             may not write in that directory",
        ),
        _ => None,
    }
}

const NO_LOCKS: &str = ": this file system knows no locks; give a path on another";

/// Refused, maybe because another program has it open.
#[cfg(windows)]
pub(super) fn is_in_use(error: &io::Error) -> bool {
    const ERROR_ACCESS_DENIED: i32 = 5;
    const ERROR_SHARING_VIOLATION: i32 = 32;
    const ERROR_USER_MAPPED_FILE: i32 = 1224;

    matches!(error.raw_os_error(), Some(ERROR_ACCESS_DENIED | ERROR_SHARING_VIOLATION | ERROR_USER_MAPPED_FILE))
}
