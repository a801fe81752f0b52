//! One token in one file: rights, what is refused, what is kept, and the lock.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ureq_auth::{ErrorKind, FileStore, ManualClock, Policy, Result, Session, SourceError, Stored, Token, TokenStore};

use crate::again::skipped;

const LONG: Duration = Duration::from_secs(30);
const WALL: Duration = Duration::from_secs(1_800_000_000);

/// A directory of a test's own, removed in the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ureq-auth-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Place(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("token.json")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.0.join(format!("token.json{suffix}"))
    }

    fn store(&self) -> FileStore {
        FileStore::new(self.file())
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(self.file(), text).unwrap();
        own(&self.file());
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // In a process of its own, the place is the parent's.
        if std::env::var_os(PLACE).is_none() {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

/// Where a test that runs again finds its place.
const PLACE: &str = "UREQ_AUTH_PLACE";

fn stored(access: &str) -> Stored {
    Stored::from_text(&format!(r#"{{"version":1,"access_token":"{access}","refresh_token":"secret-r"}}"#)).unwrap()
}

fn access(store: &FileStore) -> Option<String> {
    let text = store.load().unwrap()?.to_text().to_string();
    Some(serde_json::from_str::<serde_json::Value>(&text).unwrap()["access_token"].as_str().unwrap().to_owned())
}

fn save(store: &FileStore, access: &str) -> Result<()> {
    let mut inside = store.exclusive(LONG)?;
    inside.prepare()?;
    inside.save(&stored(access))
}

/// The error that both ways of reading give, each on a place of its own.
fn refusals(make: impl Fn(&Place)) -> [(Place, String); 2] {
    [false, true].map(|inside| {
        let place = Place::new();
        make(&place);
        let store = place.store();
        let error = if inside {
            store.exclusive(LONG).and_then(|mut inside| inside.load()).unwrap_err()
        } else {
            store.load().unwrap_err()
        };
        assert_eq!(error.kind(), ErrorKind::Store);
        let text = format!("{error} {error:?}");
        assert!(text.contains(place.file().to_str().unwrap()), "it names the file: {text}");
        assert!(!text.contains("secret"), "{text}");
        (place, text)
    })
}

/// Sessions on one path, each with a store of its own, and the number of token calls that they make.
fn sessions<const N: usize>(place: &Place, clock: &ManualClock) -> ([Session; N], Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let sessions = std::array::from_fn(|_| {
        let calls = Arc::clone(&calls);
        let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
            let number = calls.fetch_add(1, Ordering::SeqCst) + 1;
            Ok(Token::new(format!("a{number}"))?.with_refresh_token("r").with_expires_in(Duration::from_secs(100)))
        };
        let policy = Policy::new().with_jitter_seed(1);
        Session::builder(source).store(place.store()).clock(clock.clone()).policy(policy).build().unwrap()
    });
    (sessions, calls)
}

#[test]
fn what_is_written_where_with_which_rights() {
    let place = Place::new();
    let store = place.store();
    assert!(store.load().unwrap().is_none());
    assert!(place.names().is_empty(), "to look leaves nothing behind");
    {
        let mut inside = store.exclusive(LONG).unwrap();
        inside.prepare().unwrap();
        assert_own(&place.beside(".tmp"), "before a byte of the token is in it");
        inside.save(&stored("a1")).unwrap();
    }
    assert_eq!(place.names(), ["token.json", "token.json.lock"]);
    assert_own(&place.file(), "afterwards");
    assert_own(&place.beside(".lock"), "afterwards");
    assert_eq!(fs::metadata(place.beside(".lock")).unwrap().len(), 0);
    assert_eq!(
        fs::read_to_string(place.file()).unwrap(),
        *stored("a1").to_text(),
        "and nothing of the room made for it"
    );
    assert_eq!(access(&store).as_deref(), Some("a1"));

    store.exclusive(LONG).unwrap().remove().unwrap();
    store.exclusive(LONG).unwrap().remove().unwrap();
    assert!(store.load().unwrap().is_none());
    assert_eq!(place.names(), ["token.json.lock"], "the lock file stays");
}

/// `.ci/store` counts its system calls.
#[test]
fn a_fresh_token_needs_no_file() {
    let (place, clock) = (Place::new(), ManualClock::new(Some(WALL)));
    let ([session], calls) = sessions(&place, &clock);
    session.token().unwrap();
    fs::remove_dir_all(&place.0).unwrap();
    for _ in 0..std::env::var("UREQ_AUTH_TOKENS").map_or(1000, |tokens| tokens.parse().unwrap()) {
        assert_eq!(session.token().unwrap().secret(), "a1");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn room_that_nothing_comes_of_is_given_back() {
    let place = Place::new();
    place.store().exclusive(LONG).unwrap().prepare().unwrap();
    assert_eq!(place.names(), ["token.json.lock"]);
}

#[test]
fn what_a_killed_process_left_behind_is_in_nobodys_way() {
    let place = Place::new();
    fs::write(place.beside(".tmp"), "half a tok").unwrap();
    save(&place.store(), "a1").unwrap();
    assert_eq!(place.names(), ["token.json", "token.json.lock"]);
}

#[cfg(unix)]
mod faults;
#[cfg(unix)]
mod links;
mod lock;
#[cfg(unix)]
mod modes;
mod paths;
mod refused;
mod sealed;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(unix)]
use unix::{assert_own, own};
#[cfg(windows)]
use windows::{assert_own, own};
