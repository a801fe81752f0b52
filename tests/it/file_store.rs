//! One token in one file: rights, what is refused, what is kept, and the lock.

use std::fs::{self, OpenOptions, Permissions};

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ureq_auth::{ErrorKind, FileStore, ManualClock, Policy, Result, Session, SourceError, Stored, Token, TokenStore};

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
        fs::set_permissions(self.file(), Permissions::from_mode(0o600)).unwrap();
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
        drop(fs::remove_dir_all(&self.0));
    }
}

fn stored(access: &str) -> Stored {
    Stored::from_text(&format!(r#"{{"version":1,"access_token":"{access}","refresh_token":"secret-r"}}"#)).unwrap()
}

/// Past the test harness, which keeps what is printed to itself.
fn skipped(what: &str) {
    std::io::stderr().write_all(format!("\nSKIPPED {what}\n").as_bytes()).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
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

#[test]
fn what_is_written_where_with_which_rights() {
    let place = Place::new();
    let store = place.store();
    assert!(store.load().unwrap().is_none());
    assert!(place.names().is_empty(), "to look leaves nothing behind");
    {
        let mut inside = store.exclusive(LONG).unwrap();
        inside.prepare().unwrap();
        assert_eq!(mode(&place.beside(".tmp")), 0o600, "before a byte of the token is in it");
        inside.save(&stored("a1")).unwrap();
    }
    assert_eq!(place.names(), ["token.json", "token.json.lock"]);
    assert_eq!((mode(&place.file()), mode(&place.beside(".lock"))), (0o600, 0o600));
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

#[test]
fn a_save_is_a_new_file_in_the_place_of_the_old_one() {
    let place = Place::new();
    save(&place.store(), "a1").unwrap();
    let old = fs::File::open(place.file()).unwrap();
    save(&place.store(), "a2").unwrap();
    assert_eq!(
        std::io::read_to_string(old).unwrap(),
        *stored("a1").to_text(),
        "who has it open has the old one, whole"
    );
    assert_eq!(access(&place.store()).as_deref(), Some("a2"));
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

#[test]
fn a_symbolic_link_is_refused_also_one_to_nothing() {
    for there in [true, false] {
        for (_place, text) in refusals(|place| {
            if there {
                fs::write(place.0.join("elsewhere"), "secret").unwrap();
            }
            symlink(place.0.join("elsewhere"), place.file()).unwrap();
        }) {
            assert!(text.contains("symbolic link"), "{text}");
        }
    }
}

#[test]
fn links_beside_the_file_are_not_followed() {
    let place = Place::new();
    let elsewhere = place.0.join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    symlink(&elsewhere, place.beside(".tmp")).unwrap();
    save(&place.store(), "a1").unwrap();
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");

    fs::remove_file(place.beside(".lock")).unwrap();
    symlink(&elsewhere, place.beside(".lock")).unwrap();
    let error = place.store().exclusive(LONG).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("token.json.lock"), "{error}");
}

#[test]
fn a_directory_or_a_pipe_is_refused() {
    refusals(|place| fs::create_dir(place.file()).unwrap());
    for (_place, text) in refusals(|place| {
        assert!(Command::new("mkfifo").arg("-m").arg("600").arg(place.file()).status().unwrap().success());
    }) {
        assert!(text.contains("no ordinary file"), "{text}");
    }
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    for rights in [0o640, 0o604, 0o666, 0o610] {
        for (_place, text) in refusals(|place| {
            place.write(&*stored("secret").to_text());
            fs::set_permissions(place.file(), Permissions::from_mode(rights)).unwrap();
        }) {
            assert!(text.contains("chmod 600"), "{text}");
        }
    }
}

#[test]
fn a_file_of_another_user_is_refused() {
    let place = Place::new();
    place.write(&*stored("secret").to_text());
    if std::os::unix::fs::chown(place.file(), Some(54_321), None).is_err() {
        skipped("a_file_of_another_user_is_refused: only root can give a file away");
        return;
    }
    let error = place.store().load().unwrap_err();
    assert!(error.to_string().contains("belongs to user 54321"), "{error}");
}

#[test]
fn what_is_no_token_is_an_error_and_kept_aside() {
    let whole = stored("secret-a").to_text();
    let texts: [&[u8]; 6] = [
        b"",
        b"\n",
        &whole.as_bytes()[..whole.len() / 2],
        b"secret of another program",
        b"{\"version\":0}",
        &[0; 4096],
    ];
    for content in texts {
        for (place, text) in refusals(|place| place.write(content)) {
            assert_eq!(place.names(), ["token.json.corrupt-1", "token.json.lock"]);
            assert_eq!(fs::read(place.beside(".corrupt-1")).unwrap(), content);
            assert!(text.contains("token.json.corrupt-1"), "{text}");
            // The error came; after it there is room for a login.
            assert!(place.store().load().unwrap().is_none());
            place.write(content);
            assert!(place.store().load().is_err());
            assert_eq!(place.names(), ["token.json.corrupt-1", "token.json.corrupt-2", "token.json.lock"]);
        }
    }
}

#[test]
fn a_file_without_end_is_no_token() {
    for (place, _) in refusals(|place| {
        place.write("");
        OpenOptions::new().write(true).open(place.file()).unwrap().set_len(1 << 40).unwrap();
    }) {
        assert_eq!(place.names(), ["token.json.corrupt-1", "token.json.lock"]);
    }
}

#[test]
fn what_looks_torn_from_outside_is_left_alone_while_somebody_is_inside() {
    let place = Place::new();
    let store = place.store();
    let mut section = store.exclusive(LONG).unwrap();
    place.write("torn");
    assert_eq!(place.store().load().unwrap_err().kind(), ErrorKind::Store);
    assert_eq!(fs::read_to_string(place.file()).unwrap(), "torn");
    section.save(&stored("a1")).unwrap();
    assert_eq!(access(&place.store()).as_deref(), Some("a1"));
}

#[test]
fn a_later_version_is_an_error_and_stays_where_it_is() {
    let later = r#"{"version":2,"tokens":["secret"]}"#;
    for (place, text) in refusals(|place| place.write(later)) {
        assert!(text.contains("version 2"), "{text}");
        assert_eq!(fs::read_to_string(place.file()).unwrap(), later);
    }
}

#[test]
fn a_directory_that_is_not_there() {
    let place = Place::new();
    let store = FileStore::new(place.0.join("none/token.json"));
    assert!(store.load().unwrap().is_none());
    let error = store.exclusive(LONG).err().unwrap();
    assert!(error.to_string().contains("create the directory"), "{error}");
}

#[test]
fn the_lock_keeps_out_another_store_on_the_path_and_its_wait_has_an_end() {
    let place = Place::new();
    let store = place.store();
    let inside = store.exclusive(LONG).unwrap();
    let error = place.store().exclusive(Duration::from_millis(20)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("token.json.lock"), "{error}");
    assert!(store.exclusive(Duration::ZERO).is_err(), "nor is the same store let in twice");
    drop(inside);
    assert!(place.store().exclusive(Duration::ZERO).is_ok());
}

#[test]
fn a_lock_file_that_was_removed_under_its_holder_locks_nobody_out() {
    let place = Place::new();
    let store = place.store();
    let _inside = store.exclusive(LONG).unwrap();
    fs::remove_file(place.beside(".lock")).unwrap();
    assert!(place.store().exclusive(Duration::ZERO).is_ok());
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
fn sessions_of_one_process_with_a_store_each_make_one_token_call() {
    let (place, clock) = (Place::new(), ManualClock::new(Some(WALL)));
    let (sessions, calls) = sessions::<4>(&place, &clock);
    for round in 1..=5 {
        thread::scope(|scope| {
            for session in sessions.iter().cycle().take(16) {
                scope.spawn(|| assert_eq!(session.token().unwrap().secret(), format!("a{round}")));
            }
        });
        assert_eq!(calls.load(Ordering::SeqCst), round);
        clock.advance(Duration::from_secs(200));
    }
}

#[test]
fn a_file_replaced_while_we_wait_for_the_lock_is_read_anew() {
    let (place, clock) = (Place::new(), ManualClock::new(Some(WALL)));
    let ([session], calls) = sessions(&place, &clock);
    session.token().unwrap();
    clock.advance(Duration::from_secs(200));
    let store = place.store();
    let inside = store.exclusive(LONG).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| session.token());
        // By somebody who takes no lock.
        fs::write(place.beside(".mine"), "").unwrap();
        fs::set_permissions(place.beside(".mine"), Permissions::from_mode(0o600)).unwrap();
        fs::write(place.beside(".mine"), &*stored("b1").to_text()).unwrap();
        fs::rename(place.beside(".mine"), place.file()).unwrap();
        drop(inside);
        assert_eq!(waiting.join().unwrap().unwrap().secret(), "b1");
    });
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn a_file_removed_while_we_wait_for_the_lock_is_a_logout() {
    let (place, clock) = (Place::new(), ManualClock::new(Some(WALL)));
    let ([session], calls) = sessions(&place, &clock);
    session.token().unwrap();
    clock.advance(Duration::from_secs(200));
    let store = place.store();
    let inside = store.exclusive(LONG).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| session.token());
        fs::remove_file(place.file()).unwrap();
        drop(inside);
        assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::LoggedOut);
    });
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

mod faults;
