//! One address that refuses every token, beside eight threads at a good one: the good calls keep their token.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ureq_auth::{Client, Clock, Error, ErrorKind, NotReplayed, Session, SourceError, Stats, Token};

use crate::client::plain_statuses;
use crate::driven_clock::DrivenClock;
use crate::server::{Answer, Server};
use crate::support::{millis, secs};

const THREADS: usize = 8;

/// How the bad address is called.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Calls {
    /// Its 401 is a response.
    Plain,
    /// Its 401 is `ureq::Error::StatusCode`, without headers.
    StatusAsError,
    /// With a body that can be sent only once.
    OneShot,
}

/// Tokens of which each new one ends the life of the one before.
#[derive(Default)]
struct Tokens {
    issued: AtomicUsize,
    /// These and all earlier ones are revoked.
    revoked: AtomicUsize,
}

impl Tokens {
    fn revoke(&self) {
        self.revoked.store(self.issued.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    fn accepts(&self, number: usize) -> bool {
        number == self.issued.load(Ordering::SeqCst) && number > self.revoked.load(Ordering::SeqCst)
    }
}

struct Outcome {
    tokens: usize,
    /// Good calls that were not answered, bad ones that were, or in another way than by a 401.
    wrong: Vec<String>,
    stats: Stats,
}

/// Half a minute by the clock: each good thread calls every 200 ms, one thread calls the bad address, and `also` runs beside.
fn run(calls: Calls, per_second: u32, also: impl Fn(&DrivenClock, &Tokens) + Sync) -> Outcome {
    let clock = DrivenClock::new(THREADS + 2);
    let tokens = Arc::new(Tokens::default());
    let (issuer, api) = (Arc::clone(&tokens), Arc::clone(&tokens));
    let server = Server::start(move |seen| {
        let number = seen.bearer().unwrap()[1..].parse().unwrap();
        // As Apache says it by default: nothing of the scope.
        if seen.target == "/good" && api.accepts(number) { Answer::ok("fine") } else { Answer::new(401) }
    });
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        Ok(Token::new(format!("t{}", issuer.issued.fetch_add(1, Ordering::SeqCst) + 1))?.with_expires_in(secs(3600)))
    };
    let session = Session::builder(source).clock(clock.clone()).build().unwrap();
    let client = |replay_limit| {
        let builder = Client::builder(session.clone()).origin(server.origin()).replay_limit(replay_limit);
        let builder = if calls == Calls::StatusAsError { builder } else { builder.configure(plain_statuses) };
        builder.build().unwrap()
    };
    let (good, bad) = (client(1000), client(if calls == Calls::OneShot { 0 } else { 1000 }));
    let wrong = Mutex::new(Vec::new());
    let note = |is_wrong: bool, what: String| {
        if is_wrong {
            wrong.lock().unwrap().push(what);
        }
    };
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (clock, good, note, server) = (&clock, &good, &note, &server);
            scope.spawn(move || {
                while clock.elapsed() < secs(30) {
                    let answer = good.get(server.url("/good")).call();
                    note(!answer.as_ref().is_ok_and(|answer| answer.status() == 200), format!("good: {answer:?}"));
                    clock.sleep(millis(200 + number as u64));
                }
                clock.leave();
            });
        }
        scope.spawn(|| {
            while clock.elapsed() < secs(30) {
                let answer = bad.post(server.url("/bad?page=1")).send("body");
                let is_401 = match &answer {
                    Ok(answer) => calls != Calls::StatusAsError && answer.status() == 401,
                    Err(ureq::Error::StatusCode(401)) => calls == Calls::StatusAsError,
                    Err(error) => Error::in_ureq(error).is_some_and(|error| error.kind() == ErrorKind::NotReplayed),
                };
                note(!is_401, format!("bad: {answer:?}"));
                clock.sleep(Duration::from_secs(1) / per_second);
            }
            clock.leave();
        });
        scope.spawn(|| {
            also(&clock, &tokens);
            clock.leave();
        });
    });
    let tokens = tokens.issued.load(Ordering::SeqCst);
    Outcome { tokens, wrong: wrong.into_inner().unwrap(), stats: session.stats() }
}

#[test]
fn one_two_and_twenty_bad_calls_a_second_cost_two_token_calls_and_no_good_call() {
    for calls in [Calls::Plain, Calls::StatusAsError, Calls::OneShot] {
        for per_second in [1, 10, 20] {
            let Outcome { tokens, wrong, stats } = run(calls, per_second, |_, _| {});
            assert_eq!(wrong, [""; 0], "{calls:?} {per_second}");
            assert!(tokens <= 2, "{calls:?} {per_second}: {tokens} tokens, {stats:?}");
            assert!(stats.address_refusals > 20 * u64::from(per_second), "{stats:?}");
            assert_eq!(stats.ignored_refusals, 0, "nothing of this is for the loop breaker");
        }
    }
}

#[test]
fn revocations_beside_it_are_met_by_one_refresh_each_also_two_in_a_row() {
    for calls in [Calls::Plain, Calls::StatusAsError, Calls::OneShot] {
        for per_second in [1, 20] {
            let Outcome { tokens, wrong, stats } = run(calls, per_second, |clock, tokens| {
                for at in [10, 20] {
                    clock.sleep(secs(at) - clock.elapsed());
                    for _ in 0..2 {
                        let before = tokens.issued.load(Ordering::SeqCst);
                        tokens.revoke();
                        // The next as soon as the first has been replaced.
                        while tokens.issued.load(Ordering::SeqCst) == before && clock.elapsed() < secs(29) {
                            clock.sleep(millis(10));
                        }
                    }
                }
            });
            assert_eq!(wrong, [""; 0], "{calls:?} {per_second}");
            assert_eq!(tokens, 2 + 4, "{calls:?} {per_second}: {stats:?}");
        }
    }
}

/// The address is the same one: what it has accepted since counts.
#[test]
fn a_revocation_is_no_bad_address_though_its_body_can_be_sent_only_once() {
    let revoked = Arc::new(Tokens::default());
    let api = Arc::clone(&revoked);
    let server = Server::start(move |seen| {
        let number = seen.bearer().unwrap()[1..].parse().unwrap();
        if api.accepts(number) { Answer::ok("") } else { Answer::new(401) }
    });
    let issuer = Arc::clone(&revoked);
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        Ok(Token::new(format!("t{}", issuer.issued.fetch_add(1, Ordering::SeqCst) + 1))?)
    };
    let session = Session::builder(source).build().unwrap();
    let client = Client::builder(session).origin(server.origin()).configure(plain_statuses).replay_limit(0);
    let client = client.build().unwrap();
    for token in 1..6 {
        assert_eq!(client.post(server.url("/")).send("body").unwrap().status(), 200);
        revoked.revoke();
        let answer = client.post(server.url("/")).send("body").unwrap();
        assert!(answer.status() == 401 && answer.extensions().get::<NotReplayed>().is_some());
        assert_eq!(revoked.issued.load(Ordering::SeqCst), token + 1);
    }
    assert_eq!(client.session().stats().address_refusals, 0);
}
