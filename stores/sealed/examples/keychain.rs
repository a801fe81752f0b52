//! A token in the desktop's keychain, and `FileStore`'s lock beside it: `cargo run --example keychain`.

use std::time::Duration;

use keyring::{Entry, Error::NoEntry};
use ureq_auth::{Error, Exclusive, FileStore, Result, Session, SourceError, Stored, Token, TokenStore};
use zeroize::Zeroizing;

/// The keychain holds the text. Its own calls know no lock across processes, so an empty token file lends its lock.
struct Keychain(Entry, FileStore);

/// The keychain, with the lock for as long as it lives.
struct Section<'a>(&'a Keychain, #[expect(dead_code, reason = "held, not used")] Box<dyn Exclusive + 'a>);

fn failed(error: keyring::Error) -> Error {
    Error::store(format!("the keychain: {error}"))
}

/// `None`: there is no such entry.
fn found<T>(result: keyring::Result<T>) -> Result<Option<T>> {
    result.map(Some).or_else(|error| if matches!(error, NoEntry) { Ok(None) } else { Err(failed(error)) })
}

impl TokenStore for Keychain {
    fn load(&self) -> Result<Option<Stored>> {
        found(self.0.get_password())?.map(|text| Stored::from_text(&Zeroizing::new(text))).transpose()
    }
    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        Ok(Box::new(Section(self, self.1.exclusive(timeout)?)))
    }
    fn place(&self) -> String {
        "the keychain".to_owned()
    }
}

impl Exclusive for Section<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        self.0.load()
    }
    /// A keychain that is locked says so here, before a refresh token is spent.
    fn prepare(&mut self) -> Result<()> {
        self.load().map(drop)
    }
    fn save(&mut self, stored: &Stored) -> Result<()> {
        self.0.0.set_password(&stored.to_text()).map_err(failed)
    }
    fn remove(&mut self) -> Result<()> {
        found(self.0.0.delete_credential()).map(drop)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let place = std::env::temp_dir().join(format!("ureq-auth-keychain-{}", std::process::id()));
    std::fs::create_dir(&place)?;
    let session = |source: fn(Option<&Token>) -> std::result::Result<Token, SourceError>| {
        let entry = Entry::new("ureq-auth-example", "alice").map_err(failed)?;
        Session::builder(source).store(Keychain(entry, FileStore::new(place.join("token")))).build()
    };
    // A save that failed is an error of flush().
    match session(|_| Ok(Token::new("first")?)).and_then(|first| first.token().and_then(|_| first.flush())) {
        Ok(()) => {
            let next = session(|_| Err(SourceError::unavailable("not asked")))?;
            assert_eq!(next.token()?.secret(), "first", "the next process has it from the keychain");
            next.end()?;
            println!("the next process has the token from the keychain");
        }
        // A container often has none.
        Err(error) => println!("SKIPPED: no keychain here: {error}"),
    }
    Ok(std::fs::remove_dir_all(&place)?)
}
