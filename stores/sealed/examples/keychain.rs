//! A token in the desktop's keychain, and `FileStore`'s lock beside it: `cargo run --example keychain`.

use std::io::Write as _;
use std::time::Duration;

use keyring::Entry;
use ureq_auth::{Error, Exclusive, FileStore, Result, Session, SourceError, Stored, Token, TokenStore};

/// The keychain holds the text. Its own calls know no lock across processes, so an empty token file lends its lock.
struct Keychain {
    entry: Entry,
    lock: FileStore,
}

fn failed(error: keyring::Error) -> Error {
    Error::store(format!("the keychain: {error}"))
}

impl TokenStore for Keychain {
    fn load(&self) -> Result<Option<Stored>> {
        match self.entry.get_password() {
            Ok(text) => Stored::from_text(&zeroize::Zeroizing::new(text)).map(Some),
            Err(keyring::Error::NoEntry) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        Ok(Box::new(Section { keychain: self, _lock: self.lock.exclusive(timeout)? }))
    }

    fn place(&self) -> String {
        "the keychain".to_owned()
    }
}

struct Section<'a> {
    keychain: &'a Keychain,
    _lock: Box<dyn Exclusive + 'a>,
}

impl Exclusive for Section<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        self.keychain.load()
    }

    /// A keychain that is locked says so here, before a refresh token is spent.
    fn prepare(&mut self) -> Result<()> {
        self.load().map(drop)
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        self.keychain.entry.set_password(&stored.to_text()).map_err(failed)
    }

    fn remove(&mut self) -> Result<()> {
        match self.keychain.entry.delete_credential() {
            Ok(()) | Err(keyring::Error::NoEntry) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let place = std::env::temp_dir().join(format!("ureq-auth-keychain-{}", std::process::id()));
    std::fs::create_dir(&place)?;
    let keychain = || -> Result<Keychain> {
        let entry = Entry::new("ureq-auth-example", "alice").map_err(failed)?;
        Ok(Keychain { entry, lock: FileStore::new(place.join("token")) })
    };
    let source = |_: Option<&Token>| -> std::result::Result<Token, SourceError> { Ok(Token::new("first")?) };
    let first = Session::builder(source).store(keychain()?).build().and_then(|session| {
        let token = session.token()?;
        // A save that failed is an error here.
        session.flush()?;
        Ok(token)
    });
    let told = match first {
        Ok(token) => {
            let next = Session::builder(|_: Option<&Token>| Err::<Token, _>(SourceError::unavailable("not asked")));
            assert_eq!(next.store(keychain()?).build()?.token()?.secret(), token.secret());
            keychain()?.exclusive(Duration::from_secs(5))?.remove()?;
            "the next process has the token from the keychain".to_owned()
        }
        // A container often has none.
        Err(error) => format!("SKIPPED: no keychain here: {error}"),
    };
    std::fs::remove_dir_all(&place)?;
    writeln!(std::io::stdout(), "{told}")?;
    Ok(())
}
