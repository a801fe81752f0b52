//! Opens files without trusting what is in their place; errors say what to do about it.

use std::fs::{File, Metadata, OpenOptions, Permissions, metadata, symlink_metadata};
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

/// What happens to a file of ours that other users can read or change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IfWide {
    /// It is refused.
    Refuse,
    /// Its mode is narrowed to 0600, and the file is refused only if that has no effect.
    Narrow,
}

/// Checks that this is an ordinary file of ours that no other user can read. The open file is checked, not its name:
/// nobody can exchange it then.
pub(super) fn check(path: &Path, file: &File, if_wide: IfWide) -> Result<Metadata> {
    let metadata = look(path, file)?;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    let problem = if !metadata.is_file() {
        NO_FILE.to_owned()
    } else if owner != user {
        format!(
            "belongs to user {owner}, and this program runs as user {user}: run it as that user, or give it another path \
             (FAT, exFAT, SMB: the mount option uid={user})"
        )
    } else if is_wide(&metadata) {
        return too_wide(path, file, &metadata, if_wide);
    } else {
        return Ok(metadata);
    };
    Err(Error::store(format!("{} {problem}", path.display())))
}

/// An ordinary file of ours that other users can read or change.
#[cold]
fn too_wide(path: &Path, file: &File, wide: &Metadata, if_wide: IfWide) -> Result<Metadata> {
    let (path_shown, mode) = (path.display(), mode(wide));
    let (advice, mount) = if if_wide == IfWide::Refuse {
        let advice = ": chmod 600 it, and log in again if it may have leaked. If Kubernetes' fsGroup sets that mode, use \
                      FileStore::narrow_mode. If chmod has no effect";
        (advice, MOUNT)
    } else if wide.nlink() > 1 {
        // The other name may be the real one, and this one given to it by somebody else who can write in this directory.
        (". It has another name as well, so its mode was not changed: remove the other hard link", "")
    } else {
        // Where it fails or has no effect is the same to the user.
        let _looked_at = file.set_permissions(Permissions::from_mode(MODE));
        let narrowed = look(path, file)?;
        if !is_wide(&narrowed) {
            log::info!("{path_shown} had mode {mode:03o}; it is 600 now");
            return Ok(narrowed);
        }
        (", and chmod has no effect", MOUNT)
    };
    Err(Error::store(format!("{path_shown} has mode {mode:03o}, so other users can read or change it{advice}{mount}")))
}

/// What to do on a file system that keeps no modes; a mount option decides there.
const MOUNT: &str = " (FAT, exFAT, NTFS, SMB), mount that file system with fmask=077 (SMB: file_mode=0600), or give a path on \
                     another one";

fn look(path: &Path, file: &File) -> Result<Metadata> {
    file.metadata().map_err(|error| failed("looked at", path, &error))
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}

fn is_wide(metadata: &Metadata) -> bool {
    metadata.mode() & 0o077 != 0
}

/// Says so if other users can remove or replace files in this directory. Those who use [`IfWide::Narrow`] expect a group there.
pub(super) fn look_at_directory(path: &Path, if_wide: IfWide) -> Option<()> {
    let metadata = metadata(path).ok()?;
    let is_sticky = metadata.mode() & 0o1000 != 0;
    // Many systems give each user a group of the same number with nobody else in it.
    let is_shared = metadata.gid() != metadata.uid() && if_wide == IfWide::Refuse;
    let who = match metadata.mode() {
        _ if is_sticky => return Some(()),
        mode if mode & 0o002 != 0 => "every user",
        mode if mode & 0o020 != 0 && is_shared => "every user of its group",
        _ => return Some(()),
    };
    log::warn!(
        "the token file's directory {} has mode {:03o}: {who} can remove or replace the token file; chmod it to 700",
        path.display(),
        mode(&metadata)
    );
    Some(())
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
