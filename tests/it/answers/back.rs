//! A network that is away for hours, and back.

use std::net::TcpListener;
use std::sync::atomic::AtomicBool;

use ureq_auth::{ErrorKind, Fetch, Policy, SourceError, Token};

use super::*;
use crate::support::{MANY, crowd, millis};

/// A grant whose server is on a network that comes and goes: without it, the same request goes to where nobody listens.
#[derive(Clone)]
struct Away {
    is_away: Arc<AtomicBool>,
    here: Arc<RefreshToken>,
    nowhere: Arc<RefreshToken>,
}

impl Away {
    fn of(world: &World) -> Self {
        // Bound and closed again.
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nowhere = RefreshToken::after_login(format!("http://{nobody}/token"), CLIENT_ID);
        Away { is_away: Arc::new(AtomicBool::new(true)), here: Arc::new(world.source()), nowhere: Arc::new(nowhere) }
    }

    fn is_back(&self) {
        self.is_away.store(false, Ordering::SeqCst);
    }
}

impl TokenSource for Away {
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
        if self.is_away.load(Ordering::SeqCst) { self.nowhere.fetch(request) } else { self.here.fetch(request) }
    }

    fn owner(&self) -> Option<String> {
        self.here.owner()
    }
}

#[test]
fn after_a_night_offline_the_next_call_goes_through_at_once() {
    let world = World::new();
    let away = Away::of(&world);
    let session = world.builder(away.clone()).policy(Policy::new().with_jitter_seed(7).with_patience(Duration::ZERO));
    let client = world.client_of(session.build().unwrap());
    world.clock.advance(LIFE);
    // Eight hours with a call whenever the session would try.
    let begin = world.clock.now();
    while world.clock.now().since(begin) < secs(8 * 3600) {
        let error = world.call(&client).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.retry_after().is_some_and(|pause| pause <= secs(30)), "{error:?}");
        assert_agrees(&error, "offline");
        world.clock.advance(error.retry_after().unwrap());
    }
    // The last failure, half a second ago.
    let error = world.call(&client).unwrap_err();
    world.clock.advance(millis(500));
    away.is_back();
    assert!(world.call(&client).is_err() && world.endpoint.count() == 0, "nobody has told the session");
    assert!(error.retry_after() > Some(secs(10)), "{error:?}");
    let now = world.clock.now();
    assert!(client.session().retry_now());
    let (many, url) = (client.clone(), world.api().url("/"));
    let answers = crowd(MANY, move |_| many.get(&url).call().unwrap().body_mut().read_to_string().unwrap()).gather();
    assert!(answers.iter().all(|answer| answer == "a2"), "{answers:?}");
    assert_eq!(world.clock.now(), now, "at once");
    assert_eq!(world.sent(), ["r1"], "one token call for all of them");
    assert!(!client.session().retry_now(), "there is no pause any more");
}

#[test]
fn without_a_word_it_goes_on_within_half_a_minute() {
    let world = World::new();
    let away = Away::of(&world);
    let client = world.client_of(world.builder(away.clone()).build().unwrap());
    world.clock.advance(LIFE);
    for _ in 0..50 {
        world.clock.advance(world.call(&client).unwrap_err().retry_after().unwrap());
    }
    world.call(&client).unwrap_err();
    away.is_back();
    world.clock.advance(secs(30));
    assert_eq!(world.call(&client).unwrap(), "a2");
}

#[test]
fn a_server_that_said_later_is_not_hammered_by_it() {
    for (answer, at_least) in [
        (Answer::new(503).header("Retry-After", "60"), secs(60)),
        (Answer::new(429), millis(500)),
        (html(403).header("Retry-After", "45"), secs(45)),
    ] {
        let world = World::new();
        let client = world.client();
        world.clock.advance(LIFE);
        world.meets(&answer, usize::MAX);
        world.call(&client).unwrap_err();
        let count = world.endpoint.count();
        world.is_well();
        for _ in 0..20 {
            assert!(!client.session().retry_now());
            world.clock.advance(at_least / 21);
            assert!(world.call(&client).is_err());
        }
        assert_eq!(world.endpoint.count(), count);
    }
    // A page, or a wrong address, may have been looked after: a second later, and not for ever.
    let world = World::new();
    let client = world.client();
    world.clock.advance(LIFE);
    world.meets(&html(404), 2);
    assert!(world.call(&client).unwrap_err().retry_after() >= Some(secs(150)));
    for second in 1..=2 {
        assert!(client.session().retry_now() && !client.session().retry_now());
        assert!(world.call(&client).is_err());
        world.clock.advance(secs(1));
        assert_eq!(world.call(&client).is_ok(), second == 2);
    }
    assert_eq!(world.endpoint.count(), 3);
}

#[test]
fn a_session_that_the_server_has_ended_is_not_brought_back_by_it() {
    let world = World::new();
    let client = world.client();
    world.clock.advance(LIFE);
    world.meets(&json(400, r#"{"error":"invalid_grant"}"#), 1);
    world.call(&client).unwrap_err();
    for _ in 0..5 {
        assert!(!client.session().retry_now());
        assert_eq!(world.call(&client).unwrap_err().kind(), ErrorKind::Rejected);
        world.clock.advance(secs(60));
    }
    assert_eq!(world.endpoint.count(), 1);
}
