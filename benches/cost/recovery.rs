//! A token endpoint that is dead: how long it takes until every thread has its answer, and how many token calls that costs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq_auth::{Policy, Session, SourceError, Token};

use crate::careful::CarefulMutex;
use crate::loopback;
use crate::statistics::{median, millis};
use crate::table::{Row, Table};
use crate::{ACCESS_TOKEN, Effort};

const THREADS: usize = 64;
const TIME_OUT: Duration = Duration::from_millis(25);
/// A fifth of what it is unless set: the two pauses within a flight last a half and one of it, less up to a half by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

pub(crate) fn section(table: &mut Table, effort: Effort) {
    let rounds = effort.rounds(5, 1);
    table.section(&format!("A DEAD TOKEN ENDPOINT, 64 threads ({rounds} rounds)"), "careful mutex");
    let two_pauses = FIRST_PAUSE + FIRST_PAUSE / 2;
    let cases = [
        ("refused, 3 attempts with 2 pauses", loopback::nobody(), 3, 3, two_pauses),
        ("refused, 1 attempt", loopback::nobody(), 1, 1, Duration::ZERO),
        ("no answer in 25 ms, 1 attempt", loopback::say_nothing(), 1, 1, TIME_OUT),
        // A lost answer is asked for once more, after a pause.
        ("no answer in 25 ms, twice", loopback::say_nothing(), 3, 2, 2 * TIME_OUT + FIRST_PAUSE),
    ];
    for (name, address, attempts, expected, floor) in cases {
        let url = format!("http://{address}/token");
        let (mut ours, mut careful) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(by_session(&url, attempts));
            careful.push(by_careful_mutex(&url));
        }
        let [time, careful_time] = [&ours, &careful].map(|rounds| median(rounds.iter().map(|(time, _)| millis(*time))));
        let row = Row {
            what: &format!("{name}, ms"),
            ours: format!("{time:.1}"),
            beside: format!("{careful_time:.1}"),
            ratio: format!("{:.3}", time / careful_time),
        };
        match floor {
            Duration::ZERO => table.report(&row),
            // One flight, and as much again for a busy machine.
            floor => table.aim(&row, &format!("{:.0} ms", 2.0 * millis(floor)), time <= 2.0 * millis(floor)),
        }
        let most = |rounds: &[(Duration, usize)]| rounds.iter().map(|(_, calls)| *calls).max().unwrap();
        let calls = most(&ours);
        let row = Row {
            what: "  token calls",
            ours: calls.to_string(),
            beside: most(&careful).to_string(),
            ..Row::default()
        };
        table.insist(&row, &expected.to_string(), calls == expected);
    }
}

/// The same call by either side.
struct Endpoint {
    agent: Agent,
    url: String,
    calls: AtomicUsize,
}

impl Endpoint {
    fn new(url: &str) -> Self {
        let agent = Agent::config_builder().timeout_global(Some(TIME_OUT)).build().into();
        Endpoint { agent, url: url.to_owned(), calls: AtomicUsize::new(0) }
    }

    fn ask(&self) -> Result<String, ureq::Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let form = [("grant_type", "refresh_token"), ("refresh_token", ACCESS_TOKEN)];
        self.agent.post(&self.url).send_form(form)?.body_mut().read_to_string()
    }
}

fn by_session(url: &str, attempts: u32) -> (Duration, usize) {
    let endpoint = Arc::new(Endpoint::new(url));
    let asked = Arc::clone(&endpoint);
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> { Ok(Token::new(asked.ask()?)?) };
    // One flight is counted: whoever comes after it is not to sit out the pause and ask again, as it would by default.
    let policy = Policy::new().with_attempts(attempts).with_backoff(FIRST_PAUSE, Duration::from_secs(300));
    let policy = policy.with_patience(Duration::ZERO);
    let session = Session::builder(source).policy(policy).build().unwrap();
    let time = all_answered(|| session.token().is_err());
    (time, endpoint.calls.load(Ordering::Relaxed))
}

fn by_careful_mutex(url: &str) -> (Duration, usize) {
    let endpoint = Endpoint::new(url);
    let mutex = CarefulMutex::new(|| endpoint.ask().map(|token| (token, Duration::from_secs(3600))));
    let time = all_answered(|| mutex.token(None).is_err());
    (time, endpoint.calls.load(Ordering::Relaxed))
}

/// All ask at once; every answer is an error.
fn all_answered(fails: impl Fn() -> bool + Sync) -> Duration {
    let barrier = Barrier::new(THREADS);
    let thread = || {
        barrier.wait();
        let begin = Instant::now();
        assert!(fails(), "there is no token to be had");
        (begin, Instant::now())
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..THREADS).map(|_| scope.spawn(thread)).collect();
        let times: Vec<_> = running.into_iter().map(|thread| thread.join().unwrap()).collect();
        let begin = times.iter().map(|(begin, _)| *begin).min().unwrap();
        let end = times.iter().map(|(_, end)| *end).max().unwrap();
        end - begin
    })
}
