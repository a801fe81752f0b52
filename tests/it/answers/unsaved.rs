//! A session in a static, which is never dropped, and a store that could not be written when a token came.

use std::sync::atomic::AtomicBool;

use ureq_auth::{ErrorKind, Event, Exclusive, Result, TokenStore};

use super::*;

/// A store in memory that is full, as long as it is told so.
#[derive(Clone)]
struct Full {
    store: MemoryStore,
    is_full: Arc<AtomicBool>,
    entered: Arc<AtomicUsize>,
}

struct Inside<'a>(Box<dyn Exclusive + 'a>, Arc<AtomicBool>);

impl TokenStore for Full {
    fn load(&self) -> Result<Option<Stored>> {
        self.store.load()
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        self.entered.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Inside(self.store.exclusive(timeout)?, Arc::clone(&self.is_full))))
    }
}

impl Exclusive for Inside<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        self.0.load()
    }

    fn prepare(&mut self) -> Result<()> {
        self.0.prepare()
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        match self.1.load(Ordering::SeqCst) {
            true => Err(Error::store("the disk is full: make room")),
            false => self.0.save(stored),
        }
    }

    fn remove(&mut self) -> Result<()> {
        self.0.remove()
    }
}

impl Full {
    fn of(world: &World) -> Self {
        Full { store: world.store.clone(), is_full: Arc::new(AtomicBool::new(true)), entered: Arc::default() }
    }
}

#[test]
fn a_static_session_stores_what_could_not_be_stored_when_its_program_ends() {
    static SESSION: OnceLock<Session> = OnceLock::new();

    let world = World::new();
    let (store, saved_late) = (Full::of(&world), Arc::new(AtomicUsize::new(0)));
    let counting = Arc::clone(&saved_late);
    let observer = move |event: &Event<'_>| {
        counting.fetch_add(usize::from(matches!(event, Event::SavedLate)), Ordering::SeqCst);
    };
    let built = world.builder(world.source()).store(store.clone()).observer(observer).build().unwrap();
    let session = SESSION.get_or_init(|| built);
    assert!(session.flush().is_ok() && store.entered.load(Ordering::SeqCst) == 0, "there is nothing to be stored");

    let (client, before) = (world.client_of(session.clone()), world.text());
    world.clock.advance(LIFE);
    assert_eq!(world.call(&client).unwrap(), "a2", "a disk that is full is no caller's error");
    assert_eq!((world.text(), session.stats().save_failures), (before.clone(), 1));
    let error = session.flush().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("make room"), "{error}");
    assert_eq!(world.text(), before);

    store.is_full.store(false, Ordering::SeqCst);
    session.flush().unwrap();
    assert_eq!(world.stored(), both("a2", "r2"));
    let entered = store.entered.load(Ordering::SeqCst);
    session.flush().unwrap();
    assert_eq!((store.entered.load(Ordering::SeqCst), saved_late.load(Ordering::SeqCst)), (entered, 1));

    // The next process goes on from there.
    world.clock.advance(LIFE);
    assert_eq!(world.call(&world.client()).unwrap(), "a3");
    assert_eq!(world.sent(), ["r1", "r2"]);
}

#[test]
fn a_refresh_token_that_was_kept_and_not_stored_is_flushed_too() {
    let world = World::new();
    let store = Full::of(&world);
    let session = world.builder(world.source()).store(store.clone()).build().unwrap();
    world.clock.advance(LIFE - REST);
    world.meets(&json(200, r#"{"access_token":"a b","refresh_token":"next"}"#), 1);
    assert_eq!(session.token().unwrap().secret(), "a1");
    assert_eq!(world.stored(), both("a1", "r1"), "the disk is full");
    assert_eq!(session.flush().unwrap_err().kind(), ErrorKind::Store);
    store.is_full.store(false, Ordering::SeqCst);
    session.flush().unwrap();
    assert_eq!(world.stored(), both("a1", "next"));
    world.clock.advance(REST);
    assert_eq!(world.session().token().unwrap().secret(), "a2");
    assert_eq!(world.sent(), ["r1", "next"]);
}

#[test]
fn nothing_is_exchanged_while_the_last_token_is_not_stored() {
    let world = World::new();
    let store = Full::of(&world);
    let client = world.client_of(world.builder(world.source()).store(store.clone()).build().unwrap());
    world.clock.advance(LIFE);
    assert_eq!(world.call(&client).unwrap(), "a2");
    world.clock.advance(LIFE);
    let error = world.call(&client).unwrap_err();
    assert_eq!((error.kind(), error.is_login_required()), (ErrorKind::Store, false), "{error}");
    assert_eq!(world.endpoint.count(), 1);
    store.is_full.store(false, Ordering::SeqCst);
    client.session().flush().unwrap();
    // The pause after the failure stands; it is a short one.
    assert!(error.retry_after() <= Some(secs(1)), "{error:?}");
    world.clock.advance(secs(1));
    assert_eq!(world.call(&client).unwrap(), "a3");
    assert_eq!(world.sent(), ["r1", "r2"]);
}

#[test]
fn a_mark_that_could_not_be_stored_costs_the_next_process_one_round_trip() {
    let world = World::new();
    let store = Full::of(&world);
    let session = world.builder(world.source()).store(store).build().unwrap();
    let before = world.text();
    world.clock.advance(LIFE);
    world.meets(&json(400, r#"{"error":"invalid_grant"}"#), usize::MAX);
    let error = session.token().unwrap_err();
    assert_eq!((error.kind(), world.endpoint.count()), (ErrorKind::Rejected, 1));
    assert_eq!(world.text(), before);
    world.clock.advance(LIMIT);
    assert_eq!(session.token().unwrap_err().kind(), ErrorKind::Rejected);
    drop(session);
    assert_eq!(world.endpoint.count(), 1);
    let next = world.session();
    assert_eq!((next.token().unwrap_err().kind(), world.endpoint.count()), (ErrorKind::Rejected, 2));
    assert_eq!(world.member("refused_code").as_deref(), Some("invalid_grant"));
    assert_eq!(world.stored(), both("a1", "r1"));
}
