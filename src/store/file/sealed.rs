//! What is in the file may be sealed: by two closures of the program's.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use crate::{Error, Result};

/// A trait of one type, so that a program without a seal does not carry the code.
pub(super) trait Sealing: Send + Sync {
    fn seal(&self, path: &Path, text: &[u8]) -> Result<Vec<u8>>;

    /// An error: the file stays where it is.
    fn open(&self, path: &Path, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>>;
}

struct Closures<S, O> {
    seal: S,
    open: O,
}

impl<S, O> Sealing for Closures<S, O>
where
    S: Fn(&[u8]) -> io::Result<Vec<u8>> + Send + Sync,
    O: Fn(&[u8]) -> io::Result<Vec<u8>> + Send + Sync,
{
    fn seal(&self, path: &Path, text: &[u8]) -> Result<Vec<u8>> {
        (self.seal)(text).map_err(|error| Error::store(format!("{} could not be sealed: {error}", path.display())))
    }

    fn open(&self, path: &Path, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        (self.open)(sealed).map(Zeroizing::new).map_err(|error| {
            Error::store(format!(
                "the seal of the token file {} cannot be opened ({error}); the file is left as it is: bring back the key \
                 that it was sealed with, or remove the file and log in again",
                path.display()
            ))
        })
    }
}

pub(super) fn by(
    seal: impl Fn(&[u8]) -> io::Result<Vec<u8>> + Send + Sync + 'static,
    open: impl Fn(&[u8]) -> io::Result<Vec<u8>> + Send + Sync + 'static,
) -> Box<dyn Sealing> {
    Box::new(Closures { seal, open })
}
