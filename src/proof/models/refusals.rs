//! What a refusal does to a login that several hold: nothing, unless the server has said that it is dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as PlainCounter, Ordering};
use std::time::Duration;

use super::refreshes::{Desk, Fetched, token};
use super::stores::Shelf;
use super::verdicts::answer;
use super::{PlainClock, crowd};
use crate::{ErrorKind, SourceError, Token};

/// A server that gives a new refresh token with each answer, and ends the login when one that is spent comes again. `refuses`
/// says what becomes of the answer to the call with this number.
struct Server {
    calls: PlainCounter,
    refuses: fn(usize) -> Option<SourceError>,
}

impl Server {
    fn new(refuses: fn(usize) -> Option<SourceError>) -> Arc<Self> {
        Arc::new(Server { calls: PlainCounter::new(0), refuses })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn answer(&self, previous: Option<&Token>) -> Fetched {
        let sent = self.calls.fetch_add(1, Ordering::SeqCst);
        expect(previous, &format!("r{sent}"))?;
        let next = format!("r{}", sent + 1);
        match (self.refuses)(sent + 1) {
            Some(error) => Err(error.with_new_refresh_token(next)),
            None => Ok(token(sent + 1).with_refresh_token(next)),
        }
    }
}

/// A verdict where it is another refresh token than this.
fn expect(previous: Option<&Token>, refresh_token: &str) -> std::result::Result<(), SourceError> {
    match previous.and_then(Token::refresh_secret) {
        Some(sent) if sent == refresh_token => Ok(()),
        _ => Err(SourceError::rejected("that refresh token is not the last one")),
    }
}

/// Two sessions on one store, as two processes have them, and what the source of both says to the call with this number.
fn two_desks(
    shelf: &Shelf,
    clock: &PlainClock,
    source: impl Fn(Option<&Token>) -> Fetched + Send + Sync + 'static,
) -> [Desk; 2] {
    let source = Arc::new(source);
    [(), ()].map(|()| {
        let (source, clock, shelf) = (Arc::clone(&source), clock.clone(), shelf.clone());
        Desk::built(move |_, previous| source(previous), |builder| builder.clock(clock).store(shelf))
    })
}

/// What each thread hears that reports the stored token as refused: thread 0 in the first session, the others in the second.
fn all_report<R: Send + 'static>(
    threads: usize,
    desks: &[Desk; 2],
    hear: fn(crate::Result<Arc<Token>>) -> R,
) -> Vec<R> {
    let held = desks.each_ref().map(|desk| (desk.session.clone(), desk.session.current().expect("it was stored")));
    crowd(threads, move |number| {
        let [one, other] = &held;
        let (session, refused) = if number == 0 { one } else { other };
        hear(session.rejected(refused))
    })
}

/// Rules 2, 3, 6: an answer that is refused brings a new refresh token. All hear that there is no token for now; the one that is
/// there stays what it was, and is renewed with that refresh token next.
pub(super) fn session_new_refresh_token_is_kept(threads: usize) {
    let clock = PlainClock::default();
    let server = Server::new(|call| (call == 1).then(|| SourceError::unreadable("no access token")));
    let asked = Arc::clone(&server);
    let desk = Desk::built(move |_, previous| asked.answer(previous), |builder| builder.clock(clock.clone()));
    desk.session.set(token(0).with_refresh_token("r0").with_expires_in(Duration::from_secs(60))).unwrap();
    clock.skip(Duration::from_secs(60));
    let session = desk.session.clone();
    let answers = crowd(threads, move |_| answer(session.token()));
    assert!(answers.iter().all(|answer| *answer == Err(ErrorKind::Unavailable)), "rule 6: {answers:?}");
    let current = desk.session.current().expect("it is still there");
    assert_eq!((current.secret(), current.generation()), ("t0", 1), "rule 3: nothing was published");
    clock.skip(Duration::from_secs(60));
    // It was not published, so that a refusal of it is no late one.
    assert_eq!(answer(desk.session.rejected(&current)).as_deref(), Ok("t2"), "rule 3");
    assert_eq!(server.calls(), 2, "rule 6");
    desk.nobody_overslept();
}

/// Rules 2, 6: two sessions on one store, and a refusal without a code, as of a firewall. One of them hears it; the stored token
/// is as it was, and brings the other the next one, which is the first one's as well when its pause is over.
pub(super) fn session_store_refusal_without_a_code(threads: usize) {
    let (shelf, clock) = (Shelf::new(), PlainClock::default());
    shelf.put(0);
    let calls = PlainCounter::new(0);
    let desks = two_desks(&shelf, &clock, move |previous| match calls.fetch_add(1, Ordering::SeqCst) + 1 {
        1 => Err(SourceError::refused("403 Forbidden")),
        call => expect(previous, "r0").map(|()| token(call)),
    });
    let answers = all_report(threads, &desks, answer);
    let (one, others) = answers.split_first().expect("one at least");
    let expected = |is_refused| if is_refused { Err(ErrorKind::Unavailable) } else { Ok("t2".to_owned()) };
    let refused_first = one.is_err();
    assert_eq!(*one, expected(refused_first), "rule 6");
    assert!(others.iter().all(|answer| *answer == expected(!refused_first)), "rule 6: {answers:?}");
    clock.skip(Duration::from_secs(60));
    for desk in &desks {
        assert_eq!(answer(desk.session.token()).as_deref(), Ok("t2"), "what was refused heals by itself");
        desk.nobody_overslept();
    }
    let [one, other] = &desks;
    assert_eq!(one.fetches() + other.fetches(), 2, "rule 2: one flight each");
    let stored = shelf.stored().expect("a stored token is lost");
    assert!(stored.refusal().is_none() && shelf.secret().as_deref() == Some("t2"));
}

/// Rules 2, 6: two sessions on one store, and the server says that the login is dead. It is asked once; all hear the same, the
/// stored token stays, and so does the verdict.
pub(super) fn session_store_refusal_is_shared(threads: usize) {
    let (shelf, clock) = (Shelf::new(), PlainClock::default());
    shelf.put(0);
    let refuse = |_: Option<&Token>| Err(SourceError::rejected("revoked").with_code("invalid_grant"));
    let desks = two_desks(&shelf, &clock, refuse);
    let hear = |asked: crate::Result<Arc<Token>>| {
        let error = asked.expect_err("the login is dead");
        (error.kind(), error.code().map(str::to_owned), error.to_string())
    };
    let mut heard = all_report(threads, &desks, hear);
    clock.skip(Duration::from_secs(60));
    heard.extend(desks.each_ref().map(|desk| hear(desk.session.token())));
    let (first, others) = heard.split_first().expect("one at least");
    assert_eq!((first.0, first.1.as_deref()), (ErrorKind::Rejected, Some("invalid_grant")), "rule 6");
    assert!(others.iter().all(|other| other == first), "rule 6: not all hear the same: {heard:?}");
    let [one, other] = &desks;
    assert_eq!(one.fetches() + other.fetches(), 1, "rule 2: a dead refresh token is sent again");
    assert!(shelf.stored().is_some_and(|stored| stored.refusal().is_some()), "a stored token is lost");
    assert_eq!(shelf.secret().as_deref(), Some("t0"));
    desks.iter().for_each(Desk::nobody_overslept);
}

/// Rules 2, 6: two sessions on one store, and an answer that is refused but brings a new refresh token. That is stored, and is
/// the one that is sent next, whichever of the sessions comes first.
pub(super) fn session_store_new_refresh_token_is_shared(threads: usize) {
    let (shelf, clock) = (Shelf::new(), PlainClock::default());
    shelf.put(0);
    let server = Server::new(|call| (call == 1).then(|| SourceError::unreadable("no access token")));
    let asked = Arc::clone(&server);
    let desks = two_desks(&shelf, &clock, move |previous| asked.answer(previous));
    let answers = all_report(threads, &desks, answer);
    let known = |answer: &super::verdicts::Answer| matches!(answer.as_deref(), Ok("t2") | Err(ErrorKind::Unavailable));
    assert!(answers.iter().all(known), "rule 6: {answers:?}");
    clock.skip(Duration::from_secs(60));
    for desk in &desks {
        assert_eq!(answer(desk.session.token()).as_deref(), Ok("t2"), "rule 8: it was refused");
        desk.nobody_overslept();
    }
    assert_eq!((server.calls(), shelf.secret().as_deref()), (2, Some("t2")), "rule 2");
}

/// Rules 2, 3: the same with one session, whose user logs in at the same time. Whatever the flight brings, the login stands in
/// the session and in the store.
pub(super) fn session_store_login_beside_a_new_refresh_token(threads: usize) {
    let (shelf, clock) = (Shelf::new(), PlainClock::default());
    shelf.put(0);
    let server = Server::new(|_| Some(SourceError::unreadable("no access token")));
    let asked = Arc::clone(&server);
    let desk = Desk::built(
        move |_, previous| asked.answer(previous),
        |builder| builder.clock(clock.clone()).store(shelf.clone()),
    );
    let refused = desk.session.current().expect("it was stored");
    let session = desk.session.clone();
    crowd(threads, move |number| match number {
        0 => session.set(token(9).with_refresh_token("r9")).expect("the store is there"),
        // A third has many times as many schedules to loom, and no new kind of one.
        2.. if cfg!(model = "loom") => {}
        _ => match answer(session.rejected(&refused)) {
            Err(ErrorKind::Unavailable) => {}
            answer => assert_eq!(answer.as_deref(), Ok("t9"), "rule 8"),
        },
    });
    let held = desk.session.current().expect("there is one");
    assert_eq!((held.secret(), held.refresh_secret()), ("t9", Some("r9")), "rule 2: the flight was for another login");
    let stored = shelf.stored().expect("a stored token is lost");
    assert!(stored.has_access_of(&held) && stored.has_key_of(&held), "the store has not followed the session");
    assert!(server.calls() <= 1, "rule 2");
    desk.nobody_overslept();
}
