//! A session and its store, step by step: a store that records what is done to it, and fails where it is told to.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ureq_auth::{
    Clock, Error, ErrorKind, Event, Exclusive, ManualClock, MemoryStore, Policy, Session, SourceError, Stored, Token,
    TokenStore,
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
            .policy(Policy::new().with_jitter_seed(1).with_attempts(1))
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
        assert!(timeout <= Duration::from_secs(30));
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

    fn save(&mut self, stored: &Stored) -> Result<(), Error> {
        let value: serde_json::Value = serde_json::from_str(&stored.to_text()).unwrap();
        let out = self.0.out();
        self.0.step("save", &format!("{} while {out} is out", value["access_token"].as_str().unwrap()))?;
        self.0.lock().content = Some(stored.clone());
        Ok(())
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

#[test]
fn the_order_of_a_refresh() {
    let (world, session) = expired();
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "a2");
    assert_eq!(
        world.log(),
        ["lock", "load", "prepare", "fetch r1", "save a2 while a1 is out", "unlock while a2 is out", "refreshed"]
    );
    assert_eq!(world.content().unwrap(), ("a2".into(), "r2".into()));
    world.leave();
}

#[test]
fn a_fresh_token_touches_no_store() {
    let world = World::new();
    world.put("a1", "r1");
    let session = world.session();
    for _ in 0..1000 {
        assert_eq!(secret(session.token()), "a1");
    }
    assert_eq!(world.log(), ["peek"], "at the start, and never again");
    world.leave();
    drop(session);
    assert!(world.log().is_empty(), "nothing to be done in the end");
}

#[test]
fn what_another_has_stored_is_adopted_without_a_token_call() {
    let (world, session) = expired();
    world.put("a2", "r2");
    assert_eq!(secret(session.token()), "a2");
    assert_eq!(world.log(), ["lock", "load", "unlock while a2 is out", "adopted"]);
    let stats = session.stats();
    assert_eq!((stats.adopted, stats.refreshes), (1, 0));
    world.leave();
}

#[test]
fn what_another_stores_while_we_wait_for_the_lock_is_adopted() {
    let (world, session) = expired();
    let other = world.clone();
    world.before("lock", move || other.put("a2", "r2"));
    assert_eq!(secret(session.token()), "a2");
    world.leave();
}

#[test]
fn of_an_expired_one_that_another_has_stored_the_refresh_token_is_used() {
    let (world, session) = expired();
    world.put("a2", "r2");
    world.1.advance(LATER);
    world.answer(Ok(token("a3", "")));
    assert_eq!(secret(session.token()), "a3");
    assert!(world.log().contains(&"fetch r2".to_owned()));
    assert_eq!(
        world.content().unwrap(),
        ("a3".into(), "r2".into()),
        "an answer without one leaves the one that was used"
    );
    world.leave();
}

#[test]
fn texts_are_compared_not_times() {
    let (world, session) = expired();
    // The very token that is to be replaced, in a file that is newer than it.
    world.put("a1", "r1");
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "a2");
    world.leave();
}

#[test]
fn a_refused_token_is_replaced_from_the_store_only_by_another() {
    let world = World::new();
    world.put("a1", "r1");
    let session = world.session();
    let first = session.token().unwrap();
    world.put("a2", "r2");
    assert_eq!(secret(session.rejected(&first)), "a2");
    let second = session.token().unwrap();
    world.log();
    world.answer(Ok(token("a3", "r3")));
    assert_eq!(secret(session.rejected(&second)), "a3");
    assert!(world.log().contains(&"fetch r2".to_owned()));
    assert_eq!(session.stats().refreshes_after_refusal, 1);
    world.leave();
}

#[test]
fn a_caller_that_needs_more_than_what_is_stored_lives_gets_a_new_one() {
    let (world, session) = expired();
    world.put("a2", "r2");
    world.1.advance(LIFE / 2);
    world.answer(Ok(token("a3", "r3")));
    assert_eq!(secret(session.token_valid_for(LIFE * 7 / 10)), "a3");
    world.leave();
}

#[test]
fn what_stands_in_the_way_beforehand_leaves_the_refresh_token_unspent() {
    for (step, expected) in
        [("lock", ErrorKind::Unavailable), ("load", ErrorKind::Store), ("prepare", ErrorKind::Store)]
    {
        let (world, session) = expired();
        world.fail(&[step]);
        let error = session.token().unwrap_err();
        assert_eq!(error.kind(), expected, "{step}");
        assert!(error.to_string().contains("the-"), "it names what is in the way: {error}");
        assert!(!world.log().iter().any(|step| step.starts_with("fetch")), "{step}");
        // And it goes on once that is cured.
        world.fail(&[]);
        world.1.advance(LATER);
        world.answer(Ok(token("a2", "r2")));
        assert_eq!(secret(session.token()), "a2");
        world.leave();
    }
}

#[test]
fn while_the_token_lives_a_store_in_trouble_is_nobodys_error() {
    let world = World::new();
    world.put("a1", "r1");
    let session = world.session();
    world.1.advance(LIFE * 9 / 10);
    world.fail(&["prepare"]);
    assert_eq!(secret(session.token()), "a1");
    assert!(world.log().contains(&"prepare".to_owned()));
    world.leave();
}

#[test]
fn a_token_that_cannot_be_saved_is_used_and_saved_before_the_next_exchange() {
    let (world, session) = expired();
    world.answer(Ok(token("a2", "r2")));
    world.fail(&["save"]);
    assert_eq!(secret(session.token()), "a2");
    let log = world.log();
    assert_eq!(log[log.len() - 3..], ["unlock while a2 is out", "save-failed", "refreshed"]);
    assert_eq!(session.stats().save_failures, 1);
    assert!(world.holds("a1"));

    world.1.advance(LATER);
    world.fail(&[]);
    world.answer(Ok(token("a3", "r3")));
    assert_eq!(secret(session.token()), "a3");
    let log = world.log();
    let expected =
        ["lock", "load", "save a2 while a2 is out", "load", "prepare", "fetch r2", "save a3 while a2 is out"];
    assert_eq!(log[..expected.len()], expected);
    assert!(log.contains(&"saved-late".to_owned()));
    world.leave();
}

#[test]
fn a_token_that_cannot_be_saved_is_not_exchanged_for_another() {
    let (world, session) = expired();
    world.answer(Ok(token("a2", "r2")));
    world.fail(&["save"]);
    assert_eq!(secret(session.token()), "a2");
    world.1.advance(LATER);
    assert_eq!(kind(session.token()), ErrorKind::Store);
    world.leave();
}

#[test]
fn the_last_chance_to_save_is_the_drop_of_the_session() {
    let (world, session) = expired();
    world.answer(Ok(token("a2", "r2")));
    world.fail(&["save"]);
    assert_eq!(secret(session.token()), "a2");
    world.fail(&[]);
    world.leave();
    world.log();
    drop(session);
    assert_eq!(world.log(), ["lock", "load", "save a2 while - is out", "unlock while - is out", "saved-late"]);
    assert_eq!(world.content().unwrap(), ("a2".into(), "r2".into()));
}

#[test]
fn what_could_not_be_saved_never_goes_over_what_another_has_stored_since() {
    for in_the_end in [false, true] {
        let (world, session) = expired();
        world.answer(Ok(token("a2", "r2")));
        world.fail(&["save"]);
        assert_eq!(secret(session.token()), "a2");
        world.fail(&[]);
        world.1.advance(LATER);
        world.put("b1", "s1");
        if in_the_end {
            world.leave();
            drop(session);
        } else {
            assert_eq!(secret(session.token()), "b1");
            world.leave();
        }
        assert!(world.holds("b1"));
    }
}

#[test]
fn a_refused_grant_is_removed_and_ends_the_session() {
    let (world, session) = expired();
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    assert_eq!(kind(session.token()), ErrorKind::Rejected);
    assert_eq!(world.log()[3..], ["fetch r1", "load", "remove", "unlock while - is out", "failed"]);
    assert!(world.content().is_none());
    world.leave();
}

#[test]
fn the_loser_of_a_race_takes_the_winners_token_and_never_removes_it() {
    let (world, session) = expired();
    let other = world.clone();
    // Somebody who takes no lock: another program, another machine.
    world.before("fetch", move || other.put("b1", "s1"));
    world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
    assert_eq!(secret(session.token()), "b1");
    assert!(world.holds("b1"));
    assert!(!world.log().contains(&"remove".to_owned()));
    world.leave();
}

#[test]
fn the_loser_tries_an_expired_winners_refresh_token_once() {
    for refused_again in [false, true] {
        let (world, session) = expired();
        let other = world.clone();
        world.before("fetch", move || {
            other.put("b1", "s1");
            other.1.advance(LATER);
        });
        world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
        if refused_again {
            world.answer(Err(SourceError::rejected("no").with_code("invalid_grant")));
            assert_eq!(kind(session.token()), ErrorKind::Rejected);
            assert!(world.content().is_none(), "now that very one was refused");
        } else {
            world.answer(Ok(token("b2", "s2")));
            assert_eq!(secret(session.token()), "b2");
        }
        assert!(world.log().contains(&"fetch s1".to_owned()));
        world.leave();
    }
}

#[test]
fn after_a_lost_answer_the_store_is_read_again() {
    let (world, session) = expired();
    let other = world.clone();
    world.before("fetch", move || other.put("b1", "s1"));
    world.answer(Err(SourceError::unknown("no answer")));
    assert_eq!(secret(session.token()), "b1");

    let (world, session) = expired();
    world.answer(Err(SourceError::unknown("no answer")));
    assert_eq!(kind(session.token()), ErrorKind::Unknown);
    assert!(world.holds("a1"), "nothing was refused, so nothing is removed");
    world.leave();
}

#[test]
fn the_session_starts_with_what_is_stored() {
    let world = World::new();
    world.put("a1", "r1");
    world.1.advance(LIFE / 2);
    let session = world.builder().token(token("b1", "s1")).build().unwrap();
    assert_eq!(secret(session.token()), "a1", "not with the token it was given");
    world.1.advance(LIFE / 2);
    world.answer(Ok(token("a2", "r2")));
    assert_eq!(secret(session.token()), "a2", "half of its life was over already");
}

#[test]
fn a_token_given_to_the_builder_goes_into_an_empty_store() {
    let world = World::new();
    let session = world.builder().token(token("b1", "s1")).build().unwrap();
    assert_eq!(secret(session.token()), "b1");
    drop(session);
    assert!(world.holds("b1"));
}

#[test]
fn a_store_that_cannot_be_read_is_an_error_of_build() {
    let world = World::new();
    world.fail(&["peek"]);
    assert_eq!(world.builder().build().unwrap_err().kind(), ErrorKind::Store);
}

#[test]
fn a_wrong_wall_clock_costs_one_round_trip_at_most() {
    // In 1970, and before the token came by any other clock: it is used. In a year to come: it is replaced.
    for (wall, fetches) in [(Some(Duration::from_secs(5)), 0), (None, 0), (Some(WALL - LIFE), 0), (Some(WALL * 2), 1)] {
        let world = World::new();
        world.put("a1", "r1");
        world.1.set_wall(wall);
        let session = world.session();
        if fetches > 0 {
            world.answer(Ok(token("a2", "r2")));
        }
        for _ in 0..3 {
            session.token().unwrap();
        }
        assert_eq!(session.stats().refreshes, fetches, "{wall:?}");
        // Had it expired long ago, the API says so, and that is all.
        world.answer(Ok(token("a3", "r3")));
        let refused = session.token().unwrap();
        assert_eq!(secret(session.rejected(&refused)), "a3");
        assert_eq!(secret(session.token()), "a3");
        world.leave();
    }
}

#[test]
fn two_sessions_on_one_store_in_memory_make_one_token_call() {
    let (clock, store) = (ManualClock::new(Some(WALL)), MemoryStore::new());
    let calls = Arc::new(Mutex::new(0));
    let session = || {
        let calls = Arc::clone(&calls);
        let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
            *calls.lock().unwrap() += 1;
            Ok(token(&format!("a{}", calls.lock().unwrap()), "r"))
        };
        Session::builder(source).store(store.clone()).clock(clock.clone()).build().unwrap()
    };
    let (one, two) = (session(), session());
    assert_eq!((secret(one.token()), secret(two.token())), ("a1".into(), "a1".into()));
    clock.advance(LATER);
    assert_eq!((secret(two.token()), secret(one.token())), ("a2".into(), "a2".into()));
    assert_eq!(*calls.lock().unwrap(), 2);
}

#[test]
fn the_store_in_memory_lets_one_in_at_a_time() {
    let store = MemoryStore::new();
    let inside = store.exclusive(Duration::ZERO).unwrap();
    let error = store.exclusive(Duration::from_millis(1)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    drop(inside);
    assert!(store.exclusive(Duration::ZERO).is_ok());
    assert!(store.load().unwrap().is_none());
}

mod login;
