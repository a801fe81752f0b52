//! What the file store asks of a unix: files of ours alone, by their mode; a lock; renames that last.

use std::fs::{File, Metadata, OpenOptions, Permissions, metadata, symlink_metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::checked::{NO_FILE, failed};
use crate::{Error, Result};

pub(super) use std::fs::{remove_file, rename};

pub(super) const NAMES_NO_FILE: &str = "the token file's path names no file, or counts from a directory that is gone: give the \
                                        store a path such as /var/lib/my-program/token";

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

impl IfWide {
    pub(super) fn narrowed(self) -> Self {
        IfWide::Narrow
    }

    /// The mode tells who can read a file, whatever is said about its directory.
    pub(super) fn in_private_directory(self) -> Self {
        self
    }
}

/// Opens and locks the lock file, if nobody else has it locked.
pub(super) fn try_lock(path: &Path, if_wide: IfWide) -> Result<Option<File>> {
    let lock = open(path, OpenOptions::new().read(true).write(true).create(true).truncate(false));
    let lock = lock.map_err(|error| failed("opened", path, &error))?;
    let metadata = check(path, &lock, if_wide)?;
    own(&lock, &metadata).map_err(|error| failed("opened", path, &error))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        // Is it still the file of that name? Somebody may have removed it, and another be locking the next one.
        Ok(()) if is_at(path, &lock) => Ok(Some(lock)),
        Ok(()) | Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
        Err(errno) => Err(failed("locked", path, &errno.into())),
    }
}

/// Nobody who reads a file is in the way of a rename.
pub(super) fn give_way() {}

pub(super) fn unlock(lock: &File) {
    // To close the file would do, were it not for a child process that was forked just now and has not come to its exec.
    let _closed_next = flock(lock, FlockOperation::Unlock);
}

/// A directory, open for the sync that makes a rename in it durable.
pub(super) struct Directory(File);

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Directory)
    }

    pub(super) fn sync(&self, _renamed: Option<&File>) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// A new file was made with mode 0600. If it has another, this file system keeps no modes: the error says so.
pub(super) fn check_new(path: &Path, file: &File, _if_wide: IfWide) -> Result<()> {
    let metadata = check(path, file, IfWide::Narrow)?;
    own(file, &metadata).map_err(|error| failed("created", path, &error))
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
/// True if it is there. Never an error here.
pub(super) fn look_at_directory(path: &Path, if_wide: IfWide) -> Result<bool> {
    let Ok(metadata) = metadata(path) else { return Ok(false) };
    let is_sticky = metadata.mode() & 0o1000 != 0;
    // Many systems give each user a group of the same number with nobody else in it.
    let is_shared = metadata.gid() != metadata.uid() && if_wide == IfWide::Refuse;
    let who = match metadata.mode() {
        _ if is_sticky => return Ok(true),
        mode if mode & 0o002 != 0 => "every user",
        mode if mode & 0o020 != 0 && is_shared => "every user of its group",
        _ => return Ok(true),
    };
    log::warn!(
        "the token file's directory {} has mode {:03o}: {who} can remove or replace the token file; chmod it to 700",
        path.display(),
        mode(&metadata)
    );
    Ok(true)
}

/// Gives a file that we have made the rights that a strict umask has kept from it.
fn own(file: &File, metadata: &Metadata) -> io::Result<()> {
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
