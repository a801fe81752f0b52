//! The session's use of the gate when it refreshes, and what all scenarios of the session share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as PlainCounter, Ordering};
use std::time::Duration;

use super::{LONG, Latch, PlainClock, assert_unlocked, caught, crowd, unwind, work};
use crate::clock::Clock;
use crate::events::Event;
use crate::session::SessionBuilder;
use crate::store::TokenStore;
use crate::{ErrorKind, Policy, Session, SourceError, Token};

/// A session on a source that is said per scenario, with the source's count of calls.
pub(super) struct Desk {
    pub(super) session: Session,
    fetches: Arc<PlainCounter>,
}

pub(super) type Fetched = Result<Token, SourceError>;

/// The token of the source's call with this number.
pub(super) fn token(number: usize) -> Token {
    Token::new(format!("t{number}")).expect("of letters and digits")
}

/// One attempt per flight, no chance in anything, and waits that are as long as [`LONG`].
pub(super) fn policy() -> Policy {
    let half_a_minute = Duration::from_secs(30);
    Policy::new()
        .with_attempts(1)
        .with_budget(LONG)
        .with_wait_timeout(LONG)
        .with_backoff(half_a_minute, half_a_minute)
        .with_jitter_seed(1)
}

impl Desk {
    /// The source is told the number of its call.
    pub(super) fn new(clock: impl Clock + 'static, source: impl Fn(usize) -> Fetched + Send + Sync + 'static) -> Self {
        Self::observed(clock, source, |_| {})
    }

    pub(super) fn observed(
        clock: impl Clock + 'static,
        source: impl Fn(usize) -> Fetched + Send + Sync + 'static,
        observer: impl Fn(&Event<'_>) + Send + Sync + 'static,
    ) -> Self {
        let source = move |number, _: Option<&Token>| source(number);
        Self::built(source, |builder| {
            builder.clock(clock).observer(move |event| {
                assert_unlocked();
                observer(event);
            })
        })
    }

    pub(super) fn stored(
        clock: impl Clock + 'static,
        source: impl Fn(usize) -> Fetched + Send + Sync + 'static,
        store: impl TokenStore + 'static,
    ) -> Self {
        let source = move |number, _: Option<&Token>| source(number);
        Self::built(source, |builder| builder.clock(clock).observer(|_| assert_unlocked()).store(store))
    }

    /// The source is told the token to be replaced as well. `settings` begin with [`policy`] and the system's clock.
    pub(super) fn built(
        source: impl Fn(usize, Option<&Token>) -> Fetched + Send + Sync + 'static,
        settings: impl FnOnce(SessionBuilder) -> SessionBuilder,
    ) -> Self {
        let fetches = Arc::new(PlainCounter::new(0));
        let count = Arc::clone(&fetches);
        let builder = Session::builder(move |previous: Option<&Token>| {
            assert_unlocked();
            work();
            source(count.fetch_add(1, Ordering::SeqCst) + 1, previous)
        });
        let session = settings(builder.policy(policy())).build().expect("a policy that makes sense");
        Desk { session, fetches }
    }

    pub(super) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// Rule 4, where waits have an end: nobody was woken by that alone.
    pub(super) fn nobody_overslept(&self) {
        let longest = self.session.stats().longest_wait;
        assert!(longest < LONG / 2, "rule 4: a wait of {longest:?}");
    }
}

/// Rules 2, 3, 4: all want the first token; the source is asked once.
pub(super) fn session_single_flight(threads: usize) {
    let desk = Desk::new(PlainClock::default(), |number| Ok(token(number)));
    let session = desk.session.clone();
    let tokens = crowd(threads, move |_| session.token().map(|token| token.secret().to_owned()));
    assert!(tokens.into_iter().all(|token| token.is_ok_and(|token| token == "t1")));
    assert_eq!((desk.fetches(), desk.session.stats().refreshes), (1, 1), "rule 2");
    desk.nobody_overslept();
}

/// Rule 3: all report the same token as refused, some of them late; the source is asked for one new token.
pub(super) fn session_late_refusal(threads: usize) {
    let desk = Desk::new(PlainClock::default(), |number| Ok(token(number)));
    desk.session.set(token(0)).unwrap();
    let refused = desk.session.token().expect("it was set");
    let session = desk.session.clone();
    let tokens = crowd(threads, move |_| session.rejected(&refused).map(|token| token.generation()));
    assert!(tokens.iter().all(|token| matches!(token, Ok(2))), "rule 3: {tokens:?}");
    assert_eq!(desk.fetches(), 1, "rule 3");
    desk.nobody_overslept();
}

/// Rule 6: the source is not there; all get the one error of the one call, and so do those who come before the pause is over.
pub(super) fn session_leader_fails(threads: usize) {
    let clock = PlainClock::default();
    let desk = Desk::new(clock.clone(), |number| Err(SourceError::unavailable(format!("call {number}"))));
    let session = desk.session.clone();
    let answers = crowd(threads, move |_| session.token().map(drop));
    for answer in answers {
        let error = answer.expect_err("there is no token");
        assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("call 1"), "rule 6: {error}");
    }
    assert_eq!(desk.fetches(), 1, "rule 6");
    clock.skip(Duration::from_secs(60));
    let error = desk.session.token().expect_err("the source has no token yet");
    assert!(error.to_string().contains("call 2"), "the pause was over: {error}");
    desk.nobody_overslept();
}

/// Rule 6: the same with a token that is due but lives. Its one refresh fails, and that is nobody's error.
pub(super) fn session_failure_while_the_token_lives(threads: usize) {
    let clock = PlainClock::default();
    let desk = Desk::new(clock.clone(), |_| Err(SourceError::unavailable("not there")));
    desk.session.set(token(0).with_expires_in(Duration::from_secs(100))).unwrap();
    // In the leeway: callers wait for a flight, and fall back on the token.
    clock.skip(Duration::from_secs(97));
    let session = desk.session.clone();
    let answers = crowd(threads, move |_| session.token().map(|token| token.generation()));
    assert!(answers.iter().all(|answer| matches!(answer, Ok(1))), "{answers:?}");
    assert_eq!(desk.fetches(), 1, "rule 6: one call for all");
    desk.nobody_overslept();
}

/// Rules 2, 4: the source unwinds through the first leader; one of the others asks it again, and all but the first have
/// their token.
pub(super) fn session_leader_panics(threads: usize) {
    let source = |number| if number == 1 { unwind() } else { Ok(token(number)) };
    let desk = Desk::new(PlainClock::default(), source);
    let session = desk.session.clone();
    let answers = crowd(threads, move |_| caught(|| session.token().map(|token| token.generation())));
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
    assert!(answers.into_iter().flatten().all(|answer| matches!(answer, Ok(1))), "rule 2");
    assert_eq!(desk.fetches(), 2, "rule 2");
    desk.nobody_overslept();
}

/// Rule 5: the source is slow, and the clock reaches the waiters' deadline while it works. They give up, it does not.
pub(super) fn session_deadline(threads: usize) {
    let clock = PlainClock::default();
    let (joined, gone) = (Arc::new(Latch::new()), Arc::new(Latch::new()));
    let (all_joined, all_gone, moved) = (Arc::clone(&joined), Arc::clone(&gone), clock.clone());
    let source = move |number| {
        // By then each has read the clock for its deadline.
        all_joined.wait_for(threads - 1);
        moved.skip(LONG);
        all_gone.wait_for(threads - 1);
        Ok(token(number))
    };
    let desk = Desk::observed(clock, source, move |event| match event {
        Event::WaitStarted => joined.arrive(),
        Event::WaitEnded { .. } => gone.arrive(),
        _ => {}
    });
    let session = desk.session.clone();
    let answers =
        crowd(threads, move |_| session.token().map(|token| token.generation()).map_err(|error| error.kind()));
    // Who gave up and finds the token there after all takes it.
    assert!(answers.iter().all(|answer| matches!(answer, Ok(1) | Err(ErrorKind::Timeout))), "rule 5: {answers:?}");
    assert_eq!(desk.session.stats().wait_timeouts, threads as u64 - 1, "rule 5");
    assert_eq!(desk.fetches(), 1, "rule 2");
}
