//! What the examples share: a seal with a key of 32 bytes (ChaCha20-Poly1305, RFC 8439).
#![forbid(unsafe_code)]

use std::io;

use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use zeroize::Zeroizing;

/// A key, wiped when it is dropped.
pub type Key = Zeroizing<[u8; 32]>;

/// The length of the nonce, which is in front of what is sealed.
const NONCE: usize = 12;

/// So many random bytes.
///
/// # Errors
///
/// If the system has none.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// Seals a text.
///
/// # Errors
///
/// If the system has no randomness, or the text is too long.
pub fn seal(key: &Key, text: &[u8]) -> io::Result<Vec<u8>> {
    let nonce: [u8; NONCE] = random()?;
    let cipher = ChaCha20Poly1305::new((&**key).into());
    let sealed = cipher.encrypt((&nonce).into(), text).map_err(|_| io::Error::other("it cannot be encrypted"))?;
    Ok([&nonce[..], &sealed].concat())
}

/// Opens what [`seal`] has made.
///
/// # Errors
///
/// If it was made with another key, or changed since.
pub fn open(key: &Key, sealed: &[u8]) -> io::Result<Vec<u8>> {
    let wrong = || io::Error::other("another key, or it was changed");
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or_else(wrong)?;
    let cipher = ChaCha20Poly1305::new((&**key).into());
    cipher.decrypt(nonce.into(), sealed).map_err(|_| wrong())
}
