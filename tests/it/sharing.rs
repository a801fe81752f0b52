//! What threads may share, and what sessions must not.

use std::sync::Arc;

use ureq_auth::{Error, ErrorKind, Fetch, Policy, Session, SessionBuilder, SourceError, Token, TokenSource};

use crate::support::{Gate, MANY, Scene, crowd, gives, held, secs, token};

#[test]
fn sessions_tokens_and_errors_may_be_shared_by_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<Session>();
    shared::<Token>();
    shared::<Arc<Token>>();
    shared::<Error>();
    shared::<SourceError>();
    shared::<Policy>();
    sent::<SessionBuilder>();
}

#[test]
fn an_error_is_one_word_and_its_clones_are_one_error() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    assert_eq!(size_of::<ureq_auth::Result<Arc<Token>>>(), 2 * size_of::<usize>(), "what every call returns");
    let session =
        Session::new(|_: Option<&Token>| Err(SourceError::rejected("no").with_code("invalid_grant"))).unwrap();
    let error = session.token().unwrap_err();
    let clone = error.clone();
    assert_eq!((clone.kind(), clone.code(), clone.to_string()), (error.kind(), error.code(), error.to_string()));
    assert_eq!(format!("{clone:?}"), format!("{error:?}"));
}

/// A source type of one's own, not a closure: it says whose it is.
struct Named(&'static str, Gate);

impl TokenSource for Named {
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
        self.1.pass();
        let number = request.previous.map_or(0, Token::generation) + 1;
        Ok(token(&format!("{}-{number}", self.0), 300).with_refresh_token(format!("refresh-{}", self.0)))
    }
}

#[test]
fn two_sessions_in_flight_at_once_mix_nothing_up() {
    let gates = [Gate::default(), Gate::default()];
    let [a, b] = [("a", &gates[0]), ("b", &gates[1])].map(|(name, gate)| {
        let session = Session::new(Named(name, gate.clone())).unwrap();
        let asking = session.clone();
        (session, crowd(MANY, move |_| asking.token().unwrap()))
    });
    // Both flights are under way before either lands.
    gates.iter().for_each(Gate::await_entered);
    gates.iter().for_each(Gate::open);
    for ((session, crowd), name) in [(a, "a"), (b, "b")] {
        for token in crowd.gather() {
            assert_eq!(token.secret(), format!("{name}-1"));
            assert_eq!(token.refresh_secret(), Some(&*format!("refresh-{name}")));
            assert_eq!(session.rejected(&token).unwrap().secret(), format!("{name}-2"));
        }
    }
}

#[test]
fn clones_are_the_same_session() {
    let scene = Scene::with_token(Vec::new());
    let clone = scene.session.clone();
    clone.set(token("set", 300)).unwrap();
    assert!(Arc::ptr_eq(&scene.session.token().unwrap(), &clone.token().unwrap()));
    scene.session.end().unwrap();
    assert_eq!(clone.token().unwrap_err().kind(), ErrorKind::LoggedOut);
}

#[test]
fn a_token_of_another_session_is_invalid_input() {
    let (one, other) = (Scene::with_token(Vec::new()), Scene::with_token(Vec::new()));
    let foreign = other.session.token().unwrap();
    let own = one.session.token().unwrap();
    assert_eq!(foreign.generation(), own.generation(), "the numbers alone do not tell");
    let error = one.session.rejected(&foreign).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("not of this session"), "{error}");
    let error = one.session.rejected(&token("unpublished", 300)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(Arc::ptr_eq(&one.session.token().unwrap(), &own), "nothing has happened");
}

#[test]
fn a_flight_is_not_seen_by_another_session_on_the_same_source_type() {
    let gate = Gate::default();
    let busy = Scene::expired(vec![held(&gate, gives("busy", 300))]);
    let idle = Scene::expired(vec![gives("idle", 300)]);
    let waiting = busy.crowd_in_flight(&gate);
    let session = idle.session.clone();
    assert!(crowd(MANY, move |_| session.token()).gather().into_iter().all(|token| token.unwrap().secret() == "idle"));
    gate.open();
    assert!(waiting.gather().into_iter().all(|token| token.unwrap().secret() == "busy"));
}

#[test]
fn the_last_clone_takes_the_session_with_it_even_if_its_clock_lives_on() {
    let owned = Arc::new(());
    let held = Arc::clone(&owned);
    let clock = ureq_auth::ManualClock::new(None);
    let session = Session::builder(move |_: Option<&Token>| {
        let _held = &held;
        Ok::<_, SourceError>(token("t", 300))
    });
    let session = session.clock(clock.clone()).build().unwrap();
    session.token().unwrap();
    drop(session.clone());
    assert_eq!(Arc::strong_count(&owned), 2);
    drop(session);
    assert_eq!(Arc::strong_count(&owned), 1, "the source was dropped with its session");
    clock.advance(secs(1)); // and wakes nobody
}
