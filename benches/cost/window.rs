//! What callers notice of tokens that live for a second each: nothing, but for the one that refreshes.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq_auth::{Client, Session, SourceError, Token};

use crate::careful::CarefulMutex;
use crate::loopback;
use crate::statistics::{median, millis};
use crate::table::{Row, Table};
use crate::{ACCESS_TOKEN, Effort};

const THREADS: usize = 4;
/// What a token endpoint takes.
const TOKEN_CALL: Duration = Duration::from_millis(20);
/// Each sees two ends of a token that lives for a second.
const STORM: Duration = Duration::from_millis(2200);

thread_local! {
    /// Has this thread's call made the token call?
    static LED: Cell<bool> = const { Cell::new(false) };
}

fn token_call() {
    LED.set(true);
    thread::sleep(TOKEN_CALL);
}

/// The slowest calls of one storm, in milliseconds.
struct Slowest {
    /// Of those that made no token call.
    others: f64,
    leader: f64,
    waits: u64,
    calls: usize,
}

pub(crate) fn section(table: &mut Table, effort: Effort) {
    let rounds = effort.rounds(5, 1);
    table.section(
        &format!("TOKENS OF ONE SECOND, 4 threads ({rounds} storms)"),
        "tokens that do not expire; careful mutex",
    );
    let address = loopback::serve();
    let mut storms: [Vec<Slowest>; 3] = std::array::from_fn(|_| Vec::new());
    for round in 0..rounds {
        for turn in 0..storms.len() {
            let which = (round + turn) % storms.len();
            storms[which].push(match which {
                0 => by_client(&address, Duration::from_secs(1)),
                1 => by_client(&address, Duration::from_secs(3600)),
                _ => by_careful_mutex(&address),
            });
        }
    }
    let median_of = |of: fn(&Slowest) -> f64| storms.each_ref().map(|storms| median(storms.iter().map(of)));
    let [short, long, careful] = median_of(|storm| storm.others);
    let row = Row {
        what: "slowest GET that does not refresh, ms",
        ours: format!("{short:.1}"),
        beside: format!("{long:.1}; {careful:.1}"),
        ratio: format!("{:.2}", short / long),
    };
    // A wait for the token call would be the whole of it.
    let most = long + millis(TOKEN_CALL) / 2.0;
    table.aim(&row, &format!("{most:.1} ms"), short <= most);
    let [short, _, careful] = median_of(|storm| storm.leader);
    let row = Row {
        what: "slowest GET that refreshes (20 ms), ms",
        ours: format!("{short:.1}"),
        beside: format!("none; {careful:.1}"),
        ..Row::default()
    };
    table.report(&row);
    let waits: u64 = storms[0].iter().map(|storm| storm.waits).sum();
    let row = Row { what: "calls that waited for a refresh", ours: waits.to_string(), ..Row::default() };
    table.aim(&row, "0", waits == 0);
    let [short, long, careful] = median_of(|storm| storm.calls as f64 / STORM.as_secs_f64());
    let row = Row {
        what: "calls a second",
        ours: format!("{short:.0}"),
        beside: format!("{long:.0}; {careful:.0}"),
        ratio: format!("{:.2}", short / long),
    };
    table.report(&row);
}

fn by_client(address: &str, lifetime: Duration) -> Slowest {
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        token_call();
        Ok(Token::new(ACCESS_TOKEN)?.with_expires_in(lifetime))
    };
    let client = Client::new(Session::new(source).unwrap(), &format!("http://{address}")).unwrap();
    let url = format!("http://{address}/x");
    client.session().token().unwrap();
    let mut slowest = storm(|| {
        black_box(client.get(&url).call().unwrap().body_mut().read_to_string().unwrap());
    });
    slowest.waits = client.session().stats().joined_waits;
    slowest
}

fn by_careful_mutex(address: &str) -> Slowest {
    let mutex = CarefulMutex::new(|| {
        token_call();
        Ok::<_, ()>((ACCESS_TOKEN.to_owned(), Duration::from_secs(1)))
    });
    // As many as the client keeps.
    let agent: Agent = Agent::config_builder().max_idle_connections_per_host(64).build().into();
    let url = format!("http://{address}/x");
    mutex.token(None).unwrap();
    storm(|| {
        let token: Arc<str> = mutex.token(None).unwrap();
        let request = agent.get(&url).header("authorization", format!("Bearer {token}"));
        black_box(request.call().unwrap().body_mut().read_to_string().unwrap());
    })
}

fn storm(call: impl Fn() + Sync) -> Slowest {
    let over = AtomicBool::new(false);
    let thread = || {
        // The first opens a connection.
        call();
        let mut slowest = Slowest { others: 0.0, leader: 0.0, waits: 0, calls: 0 };
        while !over.load(Ordering::Relaxed) {
            LED.set(false);
            let begin = Instant::now();
            call();
            let time = millis(begin.elapsed());
            let slot = if LED.get() { &mut slowest.leader } else { &mut slowest.others };
            *slot = slot.max(time);
            slowest.calls += 1;
        }
        slowest
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..THREADS).map(|_| scope.spawn(thread)).collect();
        thread::sleep(STORM);
        over.store(true, Ordering::Relaxed);
        let all = running.into_iter().map(|thread| thread.join().unwrap());
        all.reduce(|a, b| Slowest {
            others: a.others.max(b.others),
            leader: a.leader.max(b.leader),
            waits: 0,
            calls: a.calls + b.calls,
        })
        .unwrap()
    })
}
