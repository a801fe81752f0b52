//! What each store is tried with on its real engine.
#![allow(dead_code, reason = "each test binary uses its share of it")]

#[path = "proxy.rs"]
mod proxy;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use proxy::{CUT, Proxy};
use proxy::{OPEN, SLOW};
use ureq_auth::{ErrorKind, ManualClock, Policy, Session, SourceError, Stored, Token, TokenStore};

/// What the process that holds a section opens.
pub(crate) const HOLDER: &str = "UREQ_AUTH_HOLDER";

/// Past a token's end, and past every backoff of a few failures.
const LATER: Duration = Duration::from_secs(5000);

/// Runs `holder_of_a_section` of this binary in a process of its own.
pub(crate) fn holder(address: &str, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "holder_of_a_section", "--nocapture"]).env(HOLDER, format!("{address} {name}"));
    command
}

/// An engine that `.ci/stores` has started.
pub(crate) struct Engine {
    name: &'static str,
    pub(crate) address: String,
    directory: String,
}

impl Engine {
    /// `None`, said aloud, where there is no engine; a failure where there has to be one.
    pub(crate) fn of(name: &'static str) -> Option<Engine> {
        let variable = format!("UREQ_AUTH_{}", name.to_uppercase());
        let Ok(told) = std::env::var(&variable) else {
            assert!(std::env::var_os("CI").is_none(), "{variable} is not set: run .ci/stores");
            let _ = writeln!(std::io::stderr(), "SKIPPED: no {name} ({variable} is not set): run .ci/stores");
            return None;
        };
        let (address, directory) = told.split_once(' ').unwrap();
        Some(Engine { name, address: address.to_owned(), directory: directory.to_owned() })
    }

    fn does(&self, verb: &str) {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../engine");
        let port = self.address.rsplit(':').next().unwrap();
        let done = Command::new(&script).args([self.name, verb, &self.directory, port]).status().unwrap();
        assert!(done.success(), "{verb}");
    }

    fn restart(&self) {
        self.does("stop");
        self.does("start");
    }

    /// A certificate that the engine's script has made: "ca.pem" has signed the engine's, "other-ca.pem" has not.
    pub(crate) fn certificate(&self, name: &str) -> Vec<u8> {
        std::fs::read(PathBuf::from(&self.directory).join(name)).unwrap()
    }

    /// Where the engine speaks TLS.
    pub(crate) fn tls_address(&self) -> String {
        let port = PathBuf::from(&self.directory).join("tls-port");
        let port = std::fs::read_to_string(port).unwrap();
        format!("127.0.0.1:{}", port.trim())
    }
}

/// A store that speaks TLS, and one that trusts another certificate.
pub(crate) fn over_tls(store: &dyn TokenStore, stranger: &dyn TokenStore) {
    empty(store);
    let text = Stored::from_text(r#"{"version":1,"access_token":"a1"}"#).unwrap();
    store.exclusive(Duration::from_secs(30)).unwrap().save(&text).unwrap();
    assert!(store.load().unwrap().is_some());
    for error in [stranger.load().unwrap_err(), stranger.exclusive(Duration::ZERO).map(drop).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(error.to_string().contains("certificate"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

/// A store whose password is wrong.
pub(crate) fn wrong_password(store: &dyn TokenStore) {
    for error in [store.load().unwrap_err(), store.exclusive(Duration::ZERO).map(drop).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(error.to_string().contains("authentication failed"), "{error}");
        assert!(!error.to_string().contains("guessed"), "{error}");
    }
}

/// An authorization server that takes each refresh token once.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Counts>>);

#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Counts {
    newest: u32,
    reused: u32,
}

impl Server {
    fn counts(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, previous: Option<&Token>) -> Result<Token, SourceError> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = previous.and_then(Token::refresh_secret).unwrap_or("r0");
        if sent != format!("r{}", counts.newest) {
            counts.reused += 1;
            return Err(SourceError::rejected("it was used before").with_code("invalid_grant"));
        }
        counts.newest += 1;
        let token = Token::new(format!("a{}", counts.newest))?.with_refresh_token(format!("r{}", counts.newest));
        Ok(token.with_expires_in(Duration::from_secs(1000)))
    }
}

fn policy() -> Policy {
    Policy::new().with_jitter_seed(1).with_patience(Duration::ZERO)
}

fn empty(store: &dyn TokenStore) {
    store.exclusive(Duration::from_secs(30)).unwrap().remove().unwrap();
}

pub(crate) fn many_logins(open: impl Fn(&str) -> Box<dyn TokenStore> + Sync) {
    let stores: Vec<_> = (0..10_000).map(|number| (number, open(&format!("tenant {number}")))).collect();
    thread::scope(|scope| {
        for part in 0..16 {
            let mine = stores.iter().skip(part).step_by(16 * 4);
            scope.spawn(move || {
                for (number, store) in mine {
                    let text = format!(r#"{{"version":1,"access_token":"of{number}"}}"#);
                    let mut inside = store.exclusive(Duration::from_secs(60)).unwrap();
                    inside.prepare().unwrap();
                    inside.hold_for(Duration::from_secs(1)).unwrap();
                    inside.save(&Stored::from_text(&text).unwrap()).unwrap();
                }
            });
        }
    });
    for part in 0..16 {
        for (number, store) in stores.iter().skip(part).step_by(16 * 4) {
            assert!(store.load().unwrap().unwrap().to_text().contains(&format!("\"of{number}\"")));
        }
    }
}

/// A session whose engine is slow, then out of reach, then started again.
pub(crate) fn bad_days(engine: &Engine, open: impl Fn(&str) -> Box<dyn TokenStore>) {
    let proxy = Proxy::start(&engine.address).unwrap();
    let server = Server::default();
    let clock = ManualClock::new(Some(Duration::from_secs(1_800_000_000)));
    let store = open(&proxy.address);
    empty(&*store);
    let source = {
        let server = server.clone();
        move |previous: Option<&Token>| server.answer(previous)
    };
    let session = Session::builder(source).store(store).clock(clock.clone()).policy(policy()).build().unwrap();
    assert_eq!(session.token().unwrap().secret(), "a1");

    proxy.be(SLOW);
    clock.advance(LATER);
    assert_eq!(session.token().unwrap().secret(), "a2", "two seconds an answer");

    proxy.be(CUT);
    assert_eq!(session.token().unwrap().secret(), "a2", "a live token serves on");
    clock.advance(LATER);
    for _ in 0..2 {
        let error = session.token().unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Store | ErrorKind::Unavailable) && !error.is_login_required(),
            "{error}"
        );
        clock.advance(LATER);
    }
    assert_eq!(server.counts(), Counts { newest: 2, reused: 0 }, "no token request without the store");

    proxy.be(OPEN);
    let begin = Instant::now();
    assert_eq!(session.token().unwrap().secret(), "a3", "it is back");
    let took = begin.elapsed();
    let _ = writeln!(std::io::stderr(), "the first refresh after the engine's return took {took:?}");

    engine.restart();
    clock.advance(LATER);
    assert_eq!(session.token().unwrap().secret(), "a4", "started again");
    // Another host has what this one saved.
    let other = Session::builder(|_: Option<&Token>| Err::<Token, _>(SourceError::unavailable("it is not asked")));
    let other = other.store(open(&engine.address)).clock(clock).policy(policy()).build().unwrap();
    assert_eq!(other.token().unwrap().secret(), "a4");
    assert_eq!(server.counts(), Counts { newest: 4, reused: 0 });
}

/// A holder is stopped between two attempts, for longer than its lease; another host refreshes meanwhile.
pub(crate) fn a_lease_that_runs_out(open: impl Fn() -> Box<dyn TokenStore>, lapse: impl Fn() + Send + Sync + 'static) {
    let server = Server::default();
    empty(&*open());
    let clock = ManualClock::new(Some(Duration::from_secs(1_800_000_000)));
    let other_source = {
        let server = server.clone();
        move |previous: Option<&Token>| server.answer(previous)
    };
    let other = Session::builder(other_source).store(open()).clock(clock.clone()).policy(policy()).build().unwrap();
    assert_eq!(other.token().unwrap().secret(), "a1");
    clock.advance(LATER);
    let first = Mutex::new(Some(other.clone()));
    let stopped_source = {
        let server = server.clone();
        move |previous: Option<&Token>| {
            let Some(other) = first.lock().unwrap().take() else { return server.answer(previous) };
            lapse();
            assert_eq!(other.token().unwrap().secret(), "a2");
            Err(SourceError::unavailable("busy"))
        }
    };
    let stopped = Session::builder(stopped_source).store(open()).clock(clock).policy(policy()).build().unwrap();
    assert_eq!(stopped.token().unwrap().secret(), "a2", "the other's, and nothing is sent");
    assert_eq!(server.counts(), Counts { newest: 2, reused: 0 });
}

/// The engine goes away while a token request is under way, and the save with it.
pub(crate) fn an_engine_lost_in_a_token_request(engine: Engine, open: impl Fn(&str) -> Box<dyn TokenStore>) {
    let (server, engine) = (Server::default(), Arc::new(engine));
    empty(&*open(&engine.address));
    let clock = ManualClock::new(Some(Duration::from_secs(1_800_000_000)));
    let other_source = {
        let server = server.clone();
        move |previous: Option<&Token>| server.answer(previous)
    };
    // It waits in real time for another's section.
    let hasty = policy().with_budget(Duration::from_secs(1));
    let other = Session::builder(other_source).store(open(&engine.address)).clock(clock.clone()).policy(hasty);
    let other = other.build().unwrap();
    assert_eq!(other.token().unwrap().secret(), "a1");
    clock.advance(LATER);
    let holder_source = {
        let (server, engine) = (server.clone(), Arc::clone(&engine));
        move |previous: Option<&Token>| {
            engine.does("stop");
            server.answer(previous)
        }
    };
    let store: Arc<dyn TokenStore> = open(&engine.address).into();
    let holder = Session::builder(holder_source).store(Arc::clone(&store)).clock(clock.clone()).policy(policy());
    let holder = holder.build().unwrap();
    assert_eq!(holder.token().unwrap().secret(), "a2", "it serves, though it is not saved");
    for _ in 0..20 {
        assert!(store.exclusive(Duration::ZERO).is_err(), "the engine is not there");
    }
    engine.does("start");

    let error = other.token().unwrap_err();
    assert!(!error.is_login_required(), "{error}");
    assert_eq!(server.counts(), Counts { newest: 2, reused: 0 }, "the token that was replaced is not spent again");
    assert_eq!(holder.token().unwrap().secret(), "a2");
    // Past the pause after a failure, with a2 still live.
    clock.advance(Duration::from_secs(60));
    assert_eq!(other.token().unwrap().secret(), "a2", "it is saved by now");
    assert_eq!(server.counts(), Counts { newest: 2, reused: 0 });
}

/// Two sessions on one store value, which is one claim's or lease's owner to other hosts. The engine goes away between the
/// first one's answer and its save.
pub(crate) fn two_sessions_on_one_store(engine: Engine, store: Arc<dyn TokenStore>) {
    let (server, engine) = (Server::default(), Arc::new(engine));
    empty(&*store);
    let clock = ManualClock::new(Some(Duration::from_secs(1_800_000_000)));
    let is_away = Arc::new(Mutex::new(false));
    let open = || {
        let (server, engine, is_away) = (server.clone(), Arc::clone(&engine), Arc::clone(&is_away));
        let source = move |previous: Option<&Token>| {
            if std::mem::take(&mut *is_away.lock().unwrap()) {
                engine.does("stop");
            }
            server.answer(previous)
        };
        let session = Session::builder(source).store(Arc::clone(&store)).clock(clock.clone()).policy(policy());
        session.build().unwrap()
    };
    let (first, second) = (open(), open());
    assert_eq!(first.token().unwrap().secret(), "a1");
    assert_eq!(second.token().unwrap().secret(), "a1");
    clock.advance(LATER);
    *is_away.lock().unwrap() = true;
    assert_eq!(first.token().unwrap().secret(), "a2", "it serves, though it is not saved");
    engine.does("start");

    for _ in 0..3 {
        let error = second.token().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert_eq!(server.counts(), Counts { newest: 2, reused: 0 }, "only the first session has the token to send");
        // Past the pause after a failure, with a2 still live.
        clock.advance(Duration::from_secs(60));
    }
    assert_eq!(first.token().unwrap().secret(), "a2");
    assert_eq!(second.token().unwrap().secret(), "a2", "it is saved by now");
    clock.advance(LATER);
    assert_eq!(second.token().unwrap().secret(), "a3", "nothing is owed any more");
    assert_eq!(server.counts(), Counts { newest: 3, reused: 0 });
}
