//! A token file that a passphrase seals: `PASSPHRASE=… cargo run --example passphrase`.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use ureq_auth::{FileStore, Session, SourceError, Token};
use ureq_auth_sealed::{Key, open, random, seal};

/// A key of the passphrase and of a salt that is beside the token file: one for each file, and no secret.
fn key(passphrase: &[u8], salt: &Path) -> Result<Key, Box<dyn Error>> {
    if !salt.exists() {
        std::fs::write(salt, random::<16>()?)?;
    }
    let mut key = Key::default();
    // 64 MiB and a fraction of a second: once for each start of the program.
    let costs = scrypt::Params::new(16, 8, 1, 32)?;
    scrypt::scrypt(passphrase, &std::fs::read(salt)?, &costs, &mut *key)?;
    Ok(key)
}

fn store(path: &Path, key: Key) -> FileStore {
    let key = Arc::new(key);
    let other = Arc::clone(&key);
    FileStore::new(path).sealed(move |text| seal(&key, text), move |sealed| open(&other, sealed))
}

fn main() -> Result<(), Box<dyn Error>> {
    let passphrase = std::env::var("PASSPHRASE").unwrap_or_else(|_| "an example's".to_owned());
    let place = std::env::temp_dir().join(format!("ureq-auth-passphrase-{}", std::process::id()));
    std::fs::create_dir(&place)?;
    let (path, salt) = (place.join("token"), place.join("salt"));
    let source = |_: Option<&Token>| -> Result<Token, SourceError> { Ok(Token::new("first")?) };
    let session = Session::builder(source).store(store(&path, key(passphrase.as_bytes(), &salt)?)).build()?;
    session.token()?;
    // The next start of the program has it from the file, with the same passphrase alone.
    let unused = |_: Option<&Token>| -> Result<Token, SourceError> { Err(SourceError::unavailable("not asked")) };
    let next = Session::builder(unused).store(store(&path, key(passphrase.as_bytes(), &salt)?)).build()?;
    assert_eq!(next.token()?.secret(), "first");
    let wrong = Session::builder(unused).store(store(&path, key(b"another", &salt)?)).build();
    let error = wrong.err().ok_or("a wrong passphrase opens it")?;
    writeln!(std::io::stdout(), "sealed: {} bytes; with another passphrase: {error}", std::fs::metadata(&path)?.len())?;
    std::fs::remove_dir_all(place)?;
    Ok(())
}
