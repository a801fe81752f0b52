//! Opening files without trusting what stands in their place, and errors that say what to do about it.

use std::fs::{File, Metadata, OpenOptions, Permissions, symlink_metadata};
use std::io::{self, ErrorKind as Io};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::{Error, ErrorKind, Result};

/// Reading and writing by the owner, nothing by others.
const MODE: u32 = 0o600;

/// Opens without following a symbolic link, and without waiting should it be a pipe. A new file is for nobody else to read.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    options.mode(MODE).custom_flags(i32::try_from(flags.bits()).unwrap_or(0)).open(path)
}

/// Is this an ordinary file of ours that nobody else can read? Looked at once it is open: it cannot be exchanged then.
pub(super) fn check(path: &Path, file: &File) -> Result<Metadata> {
    let metadata = file.metadata().map_err(|error| failed("looked at", path, &error))?;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    let mode = metadata.mode() & 0o7777;
    let problem = if !metadata.is_file() {
        NO_FILE.to_owned()
    } else if owner != user {
        format!(
            "belongs to user {owner}, and this program runs as {user}: run it as that user, or give it another path"
        )
    } else if mode & 0o077 != 0 {
        format!("has mode {mode:03o}, so that others can get at it: chmod 600 it, and log in again if they may have")
    } else {
        return Ok(metadata);
    };
    Err(Error::store(format!("{} {problem}", path.display())))
}

/// The same for what is only to be removed: whatever its rights.
pub(super) fn check_is_file(path: &Path) -> Result<()> {
    match symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(Error::store(format!("{} {NO_FILE}", path.display()))),
        _ => Ok(()),
    }
}

const NO_FILE: &str = "is no ordinary file: give the store a path of its own";

/// Gives a file that we have made the rights that a strict umask has kept from it.
pub(super) fn own(file: &File, metadata: &Metadata) -> io::Result<()> {
    match metadata.mode() & MODE {
        MODE => Ok(()),
        _ => file.set_permissions(Permissions::from_mode(MODE)),
    }
}

/// Is the file that was opened the one of that name?
pub(super) fn is_at(path: &Path, file: &File) -> bool {
    match (symlink_metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
        _ => false,
    }
}

#[cold]
pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    let advice = match (Errno::from_io_error(error), error.kind()) {
        (Some(Errno::LOOP), _) => ": it is a symbolic link; give the path of the file itself",
        (Some(Errno::NOLCK | Errno::OPNOTSUPP), _) if what == "locked" => {
            ": this file system knows no locks; give a path on another"
        }
        (_, Io::ResourceBusy) => {
            ": if it is a mount of its own, nothing can take its place; mount its directory instead"
        }
        (_, Io::NotFound) => ": create the directory that it is in",
        (_, Io::PermissionDenied | Io::ReadOnlyFilesystem) => {
            ": the program needs to write in that directory, and to read it"
        }
        (_, Io::StorageFull | Io::QuotaExceeded) => ": make room there",
        _ => "",
    };
    let message = format!("{} could not be {what} ({error}){advice}", path.display());
    Error::refresh(ErrorKind::Store, message, None, None, Some(Box::new(io::Error::from(error.kind()))))
}
