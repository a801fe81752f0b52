//! Eight threads at an API that learns late of its tokens: no call fails, and no token is fetched for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ureq_auth::{Client, Clock, Event, Reason, Session, SourceError, Stats, Tick, Token};

use crate::client::plain_statuses;
use crate::driven_clock::DrivenClock;
use crate::server::{Answer, Seen, Server};
use crate::support::{millis, secs};

/// The nodes of the API: which of them takes a request, and how late that one learns of a new token.
type LagOf = Box<dyn Fn(usize) -> Duration + Send + Sync>;

/// An authorization server and an API that learns late of its tokens.
struct Late<C> {
    clock: C,
    life: Duration,
    /// A refresh ends the life of the token before.
    rotates: bool,
    lag_of: LagOf,
    issued: Mutex<Vec<Tick>>,
    requests: AtomicUsize,
}

impl<C: Clock> Late<C> {
    fn issue(&self) -> Result<Token, SourceError> {
        let mut issued = self.issued.lock().unwrap();
        issued.push(self.clock.now());
        Ok(Token::new(format!("t{}", issued.len()))?.with_expires_in(self.life))
    }

    fn answer(&self, seen: &Seen) -> Answer {
        let issued = self.issued.lock().unwrap();
        let number: usize = seen.bearer().unwrap()[1..].parse().unwrap();
        let age = self.clock.now().since(issued[number - 1]);
        let lag = (self.lag_of)(self.requests.fetch_add(1, Ordering::SeqCst));
        let is_replaced = self.rotates && number < issued.len();
        if age >= self.life || age < lag || is_replaced { Answer::refused() } else { Answer::ok(seen.text()) }
    }
}

struct Outcome {
    failed: usize,
    tokens: usize,
    stats: Stats,
    reasons: Vec<Reason>,
    /// The longest pauses of one call.
    longest: Duration,
}

const THREADS: usize = 8;

/// Eight threads make a call every 100 ms, for so long by the clock.
fn run(
    life: Duration,
    rotates: bool,
    time: Duration,
    lag_of: impl Fn(usize) -> Duration + Send + Sync + 'static,
) -> Outcome {
    let clock = DrivenClock::new(THREADS);
    let late = Arc::new(Late {
        clock: clock.clone(),
        life,
        rotates,
        lag_of: Box::new(lag_of),
        issued: Mutex::default(),
        requests: AtomicUsize::new(0),
    });
    let (source, api) = (Arc::clone(&late), Arc::clone(&late));
    let server = Server::start(move |seen| api.answer(seen));
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&reasons);
    let session = Session::builder(move |_: Option<&Token>| source.issue())
        .clock(clock.clone())
        .observer(move |event| {
            if let Event::RefreshStarted { reason } = event {
                told.lock().unwrap().push(*reason);
            }
        })
        .build()
        .unwrap();
    let client = Client::builder(session).origin(server.origin()).configure(plain_statuses).build().unwrap();
    let results: Vec<_> = thread::scope(|scope| {
        let work = |number: usize| {
            let (mut failed, mut longest) = (0, Duration::ZERO);
            while clock.elapsed() < time {
                let begin = clock.now();
                let answer = match number % 2 {
                    0 => client.get(server.url("/items")).call(),
                    // A body on tape goes out as often as it takes.
                    _ => client.post(server.url("/items")).send("body"),
                };
                failed += usize::from(answer.unwrap().status() != 200);
                longest = longest.max(clock.now().since(begin));
                clock.sleep(millis(100 + number as u64));
            }
            clock.leave();
            (failed, longest)
        };
        let threads: Vec<_> = (0..THREADS).map(|number| scope.spawn(move || work(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let reasons = reasons.lock().unwrap().clone();
    Outcome {
        failed: results.iter().map(|(failed, _)| failed).sum(),
        longest: results.iter().map(|(_, longest)| *longest).max().unwrap(),
        tokens: late.issued.lock().unwrap().len(),
        stats: client.session().stats(),
        reasons,
    }
}

/// No call fails or waits longer than it may, and no token is fetched because of the lag, but for so many.
fn assert_met(outcome: &Outcome, life: Duration, unneeded: usize) {
    let Outcome { failed, tokens, stats, reasons, longest } = outcome;
    let refused = reasons.iter().filter(|reason| **reason == Reason::Refused).count();
    assert_eq!(*failed, 0, "{stats:?}");
    assert!(refused <= unneeded, "{refused} tokens for refusals: {reasons:?}");
    assert!(*longest <= secs(2), "{longest:?}");
    assert_eq!(*tokens, reasons.len());
    assert_eq!(reasons.iter().filter(|reason| **reason == Reason::First).count(), 1);
    if life > secs(60) {
        assert!(*tokens <= 1 + unneeded, "{reasons:?}");
    } else {
        assert!(*tokens >= 5, "a token of 4 s lives: {reasons:?}");
    }
    assert!(stats.token_lags > 0 && stats.time_lagged > Duration::ZERO, "{stats:?}");
}

#[test]
fn a_lag_of_one_second_at_all_nodes_costs_no_call_and_no_token() {
    for (life, time) in [(secs(4), secs(20)), (secs(3600), secs(6))] {
        for rotates in [false, true] {
            assert_met(&run(life, rotates, time, |_| secs(1)), life, 0);
        }
    }
}

/// One token too many is possible, once in a session's life: the first token is accepted by the one node before a request goes
/// to the other. Its refusal is what a revocation looks like, until the API has been seen to lag.
#[test]
fn a_lag_of_one_and_a_half_seconds_at_every_other_node_costs_no_call_and_at_most_one_token() {
    for (life, time) in [(secs(4), secs(20)), (secs(3600), secs(6))] {
        for rotates in [false, true] {
            let lag_of = |request: usize| if request % 2 == 0 { Duration::ZERO } else { millis(1500) };
            assert_met(&run(life, rotates, time, lag_of), life, 1);
        }
    }
}

#[test]
fn a_lag_drawn_for_each_request_costs_no_call_and_at_most_one_token() {
    for (life, time) in [(secs(4), secs(20)), (secs(3600), secs(6))] {
        for (rotates, seed) in [(false, 1), (true, 2), (false, 3), (true, 4)] {
            let lag_of = move |request: usize| {
                let mut bits = (request as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(seed);
                bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                millis((bits ^ (bits >> 31)) % 1500)
            };
            assert_met(&run(life, rotates, time, lag_of), life, 1);
        }
    }
}
