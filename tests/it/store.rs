//! A session and its store, step by step: a store that records what is done to it, and fails where it is told to.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ureq_auth::{
    Clock, Error, ErrorKind, Event, Exclusive, ManualClock, Policy, Session, SourceError, Stored, Token, TokenStore,
};

const WALL: Duration = Duration::from_secs(1_800_000_000);
const LIFE: Duration = Duration::from_secs(100);
/// Past a token's end, and past every backoff of a few failures.
const LATER: Duration = Duration::from_secs(1000);

/// The world of one test: what has happened in it, in order, and what is to fail or to happen in between.
#[derive(Clone)]
struct World(Arc<Mutex<Inner>>, ManualClock);

type Hook = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Inner {
    log: Vec<String>,
    content: Option<Stored>,
    locked: bool,
    failing: Vec<&'static str>,
    /// Done once, just before a step of that name.
    between: Vec<(&'static str, Hook)>,
    answers: Vec<Result<Token, SourceError>>,
    /// The lock is a lease, which is asked before each attempt: the log says for how long.
    is_lease: bool,
    /// How long a wait for the lock may be, at most.
    patience: Option<Duration>,
    session: Option<Session>,
}

impl World {
    fn new() -> Self {
        World(Arc::default(), ManualClock::new(Some(WALL)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn step(&self, step: &str, detail: &str) -> Result<(), Error> {
        let hook = {
            let mut inner = self.lock();
            let due = inner.between.iter().position(|(name, _)| *name == step);
            due.map(|due| inner.between.remove(due).1)
        };
        if let Some(hook) = hook {
            hook();
        }
        let mut inner = self.lock();
        inner.log.push(format!("{step} {detail}").trim().to_owned());
        match inner.failing.contains(&step) {
            true => Err(Error::store(format!("{step} of the-store fails"))),
            false => Ok(()),
        }
    }

    /// What has happened since the last look.
    fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().log)
    }

    fn fail(&self, steps: &[&'static str]) {
        self.lock().failing = steps.to_vec();
    }

    fn before(&self, step: &'static str, hook: impl FnOnce() + Send + 'static) {
        self.lock().between.push((step, Box::new(hook)));
    }

    fn answer(&self, answer: Result<Token, SourceError>) {
        self.lock().answers.push(answer);
    }

    /// Another process has stored this.
    fn put(&self, access: &str, refresh: &str) {
        self.lock().content = Some(self.stored(access, refresh));
    }

    fn stored(&self, access: &str, refresh: &str) -> Stored {
        let (life, now) = (LIFE.as_millis(), self.1.wall().unwrap().as_millis());
        let text = format!(
            r#"{{"version":1,"access_token":"{access}","refresh_token":"{refresh}","lifetime_ms":{life},"received_at_ms":{now}}}"#
        );
        Stored::from_text(&text).unwrap()
    }

    fn content(&self) -> Option<(String, String)> {
        let content = self.lock().content.clone()?;
        let value: serde_json::Value = serde_json::from_str(&content.to_text()).unwrap();
        let text = |name: &str| value[name].as_str().unwrap_or("-").to_owned();
        Some((text("access_token"), text("refresh_token")))
    }

    /// A text in what is stored; `-` if it has no member of that name.
    fn member(&self, name: &str) -> String {
        let content = self.lock().content.clone().expect("something is stored");
        let value: serde_json::Value = serde_json::from_str(&content.to_text()).unwrap();
        value[name].as_str().unwrap_or("-").to_owned()
    }

    fn holds(&self, access: &str) -> bool {
        self.content().is_some_and(|content| content.0 == access)
    }

    /// A session on this world's store. It is known to the world, whose steps say what it has out; [`World::leave`] ends that.
    fn session(&self) -> Session {
        let session = self.builder().build().unwrap();
        self.lock().session = Some(session.clone());
        session
    }

    fn builder(&self) -> ureq_auth::SessionBuilder {
        let (source, observer) = (self.clone(), self.clone());
        Session::builder(move |previous: Option<&Token>| source.fetch(previous))
            .store(self.clone())
            .clock(self.1.clone())
            .policy(Policy::new().with_jitter_seed(1).with_attempts(1).with_patience(Duration::ZERO))
            .observer(move |event: &Event<'_>| observer.observe(event))
    }

    fn fetch(&self, previous: Option<&Token>) -> Result<Token, SourceError> {
        let with = previous.and_then(Token::refresh_secret).unwrap_or("nothing");
        let _never_fails = self.step("fetch", with);
        let mut inner = self.lock();
        assert!(inner.locked, "a fetch outside the exclusive section");
        if inner.answers.is_empty() { panic!("fetched once too often") } else { inner.answers.remove(0) }
    }

    fn observe(&self, event: &Event<'_>) {
        let name = match event {
            Event::Refreshed { .. } => "refreshed",
            Event::Adopted { .. } => "adopted",
            Event::SaveFailed { .. } => "save-failed",
            Event::SavedLate => "saved-late",
            Event::RefreshFailed { .. } => "failed",
            Event::Superseded => "superseded",
            _ => return,
        };
        assert!(!self.lock().locked, "observers are told outside the section");
        let _never_fails = self.step(name, "");
    }

    fn out(&self) -> String {
        let session = self.lock().session.clone();
        let token = session.and_then(|session| session.current());
        token.map_or("-".to_owned(), |token| token.secret().to_owned())
    }

    fn leave(&self) {
        let session = self.lock().session.take();
        drop(session);
    }
}

impl TokenStore for World {
    fn load(&self) -> Result<Option<Stored>, Error> {
        self.step("peek", "")?;
        Ok(self.lock().content.clone())
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>, Error> {
        assert!(timeout <= self.lock().patience.unwrap_or(Duration::from_secs(30)));
        if self.step("lock", "").is_err() {
            return Err(Error::store_busy("the-lock is somebody else's"));
        }
        assert!(!std::mem::replace(&mut self.lock().locked, true));
        Ok(Box::new(Inside(self)))
    }
}

struct Inside<'a>(&'a World);

impl Exclusive for Inside<'_> {
    fn load(&mut self) -> Result<Option<Stored>, Error> {
        self.0.step("load", "")?;
        Ok(self.0.lock().content.clone())
    }

    fn prepare(&mut self) -> Result<(), Error> {
        self.0.step("prepare", "")
    }

    fn hold_for(&mut self, needed: Duration) -> Result<(), Error> {
        if !self.0.lock().is_lease {
            return Ok(());
        }
        let step = self.0.step("hold", &format!("for {} s", needed.as_secs()));
        step.map_err(|_| Error::store_busy("the-lease is somebody else's"))
    }

    fn save(&mut self, stored: &Stored) -> Result<(), Error> {
        let value: serde_json::Value = serde_json::from_str(&stored.to_text()).unwrap();
        let out = self.0.out();
        self.0.step("save", &format!("{} while {out} is out", value["access_token"].as_str().unwrap_or("-")))?;
        self.0.lock().content = Some(stored.clone());
        match self.0.lock().failing.contains(&"saved") {
            true => Err(Error::store("the-store cannot tell whether that will last")),
            false => Ok(()),
        }
    }

    fn remove(&mut self) -> Result<(), Error> {
        self.0.step("remove", "")?;
        self.0.lock().content = None;
        Ok(())
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.lock().locked = false;
        if !std::thread::panicking() {
            let out = self.0.out();
            let _never_fails = self.0.step("unlock", &format!("while {out} is out"));
        }
    }
}

fn token(access: &str, refresh: &str) -> Token {
    Token::new(access).unwrap().with_refresh_token(refresh).with_expires_in(LIFE)
}

fn secret(result: Result<Arc<Token>, Error>) -> String {
    result.unwrap().secret().to_owned()
}

fn kind(result: Result<Arc<Token>, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// A session that has started with a1 and r1 from the store; a1 has expired.
fn expired() -> (World, Session) {
    let world = World::new();
    world.put("a1", "r1");
    let session = world.session();
    assert_eq!(secret(session.token()), "a1");
    world.1.advance(LATER);
    assert_eq!(world.log(), ["peek"]);
    (world, session)
}

mod lease;
mod login;
mod lost;
mod memory;
mod order;
mod renewed;
mod start;
mod unsaved;
