//! A token file that is sealed with a key in the kernel's keyring (Linux): the key is in no file, and gone with the last
//! session of the user. `cargo run --example kernel_keyring`.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;

use linux_keyutils::{KeyRing, KeyRingIdentifier};
use ureq_auth::{FileStore, Session, SourceError, Token};
use ureq_auth_sealed::{Key, open, random, seal};

const NAME: &str = "ureq-auth-example";

/// The key, read each time that it is needed: the program keeps no copy.
fn key() -> io::Result<Key> {
    let failed = |error| io::Error::other(format!("the kernel's keyring: {error}"));
    let ring = KeyRing::from_special_id(KeyRingIdentifier::UserSession, false).map_err(failed)?;
    let mut key = Key::default();
    ring.search(NAME).map_err(failed)?.read(&mut *key).map_err(failed)?;
    Ok(key)
}

/// Makes the key at login. Whoever logs in anew has a new one, and logs in at the authorization server again.
fn make_key() -> Result<(), Box<dyn Error>> {
    let ring = KeyRing::from_special_id(KeyRingIdentifier::UserSession, true)?;
    if ring.search(NAME).is_err() {
        ring.add_key(NAME, &Key::from(random()?)[..])?;
    }
    Ok(())
}

fn store(path: &Path) -> FileStore {
    FileStore::new(path).sealed(|text| seal(&key()?, text), |sealed| open(&key()?, sealed))
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Err(error) = make_key() {
        // A container often has none.
        writeln!(io::stdout(), "SKIPPED: no keyring of the kernel's here: {error}")?;
        return Ok(());
    }
    let place = std::env::temp_dir().join(format!("ureq-auth-keyring-{}", std::process::id()));
    std::fs::create_dir(&place)?;
    let path = place.join("token");
    let source = |_: Option<&Token>| -> Result<Token, SourceError> { Ok(Token::new("first")?) };
    Session::builder(source).store(store(&path)).build()?.token()?;
    let unused = |_: Option<&Token>| -> Result<Token, SourceError> { Err(SourceError::unavailable("not asked")) };
    assert_eq!(Session::builder(unused).store(store(&path)).build()?.token()?.secret(), "first");
    writeln!(io::stdout(), "sealed with a key of the kernel's: {} bytes", std::fs::metadata(&path)?.len())?;
    std::fs::remove_dir_all(place)?;
    Ok(())
}
