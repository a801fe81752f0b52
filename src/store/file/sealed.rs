//! What is in the file may be sealed: by two closures of the program's.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::FileStore;
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

impl FileStore {
    /// Seals what is in the file: `seal` is given the text that is to be stored, `open` what `seal` has made of it. For DPAPI,
    /// `systemd-creds`, a TPM, a key in the kernel's keyring or one that a passphrase has made. Rights, locks and the rest are
    /// as without it.
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
        seal: impl Fn(&[u8]) -> io::Result<Vec<u8>> + Send + Sync + 'static,
        open: impl Fn(&[u8]) -> io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.sealing = Some(Box::new(Closures { seal, open }));
        self
    }
}
