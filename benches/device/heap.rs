//! Bytes of the heap, by an allocator that counts for the thread that asks it. What the server does is on other threads.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure};
use ureq::Agent;
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{Client, Event, ManualClock, MemoryStore, Policy, Session, SourceError, Stats, Token};

use crate::server::{self, TOKEN_LENGTH};

/// A hundred thousand calls.
const THREADS: usize = 4;
const ROUNDS: usize = 250;
const CALLS: usize = 100;

const WAITERS: usize = 32;

pub(crate) fn table() {
    println!("heap, in bytes; tokens of {TOKEN_LENGTH} characters");
    #[cfg(feature = "rustls")]
    over_tls::rows();
    sessions_and_clients();
    waiting_threads();
    level();
}

/// A row, which fails the bench above its budget.
fn row(what: &str, bytes: i64, budget: i64) {
    println!("  {what:<76} {bytes:>8}");
    assert!(bytes <= budget, "{what}: {bytes} bytes, the budget is {budget}");
}

/// What was there at once and is gone.
fn beyond(info: &AllocationInfo) -> i64 {
    info.bytes_max as i64 - info.bytes_current
}

/// What `make` has made, and what it has left on the heap or had there at once.
fn made<T>(make: impl FnOnce() -> T) -> (T, AllocationInfo) {
    let mut made = None;
    let info = measure(|| made = Some(make()));
    (made.unwrap(), info)
}

fn own_source() -> Session {
    Session::new(|_: Option<&Token>| -> Result<Token, SourceError> {
        Ok(Token::new(server::token(0))?.with_expires_in(Duration::from_secs(3600)))
    })
    .unwrap()
}

fn sessions_and_clients() {
    let origin = format!("http://127.0.0.1:{}", server::start(usize::MAX, false));
    let url = format!("{origin}/x");
    // What is made once for the process is no session's.
    drop(own_source().token().unwrap());

    let (session, empty) = made(own_source);
    let ((), fetched) = made(|| drop(session.token().unwrap()));
    row("a session on a source of your own, with a token", empty.bytes_current + fetched.bytes_current, 2_500);

    let grant = || Session::new(RefreshToken::new(format!("{origin}/token"), "device", "r0")).unwrap();
    drop(grant().token().unwrap());
    let (session, empty) = made(grant);
    let ((), refresh) = made(|| drop(session.token().unwrap()));
    row("a session on RefreshToken, with a token", empty.bytes_current + refresh.bytes_current, 4_200);
    row("  while it is refreshed, beyond that", beyond(&refresh), 280_000);

    let (first, kept) = made(|| Client::new(session, &origin).unwrap());
    row("the first client, without its session", kept.bytes_current, 1_100);
    if cfg!(not(feature = "cookies")) {
        let session = own_source();
        let (_another, kept) = made(|| first.with_session(session).unwrap());
        row("another client, by with_session", kept.bytes_current, 950);
    }

    let plain = Agent::new_with_defaults();
    let header = format!("Bearer {}", server::token(2));
    let by_plain = || {
        let answer = plain.get(&url).header("authorization", &header).call();
        drop(black_box(answer.unwrap().body_mut().read_to_vec().unwrap()));
    };
    let by_client = || drop(black_box(first.get(&url).call().unwrap().body_mut().read_to_vec().unwrap()));
    let ((), connected) = made(by_plain);
    row("plain ureq: a connection in the pool", connected.bytes_current, 270_000);
    let ((), connected) = made(by_client);
    row("the client: a connection in the pool", connected.bytes_current, 270_000);
    let ((), plain) = made(by_plain);
    let ((), client) = made(by_client);
    row("plain ureq: a GET on that connection, at once", plain.bytes_max as i64, 5_000);
    row("the client: a GET on that connection, at once", client.bytes_max as i64, plain.bytes_max as i64);
    assert_eq!((plain.bytes_current, client.bytes_current), (0, 0), "left by a GET");

    let small = RefreshToken::new(format!("{origin}/token"), "device", "r0");
    let small = small.configure(|config| config.input_buffer_size(4096).output_buffer_size(4096));
    let ((), refresh) = made(|| drop(Session::new(small).unwrap().token().unwrap()));
    row("a refresh with ureq's buffers of 4 KiB instead, at once", beyond(&refresh), 30_000);
}

/// Threads that wait for a refresh, which takes until all of them do.
fn waiting_threads() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let (counts, there) = (Arc::clone(&waiting), Arc::clone(&waiting));
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        let began = Instant::now();
        while there.load(Ordering::SeqCst) < WAITERS {
            assert!(began.elapsed() < Duration::from_secs(30), "not all threads wait");
            thread::yield_now();
        }
        there.store(0, Ordering::SeqCst);
        Ok(Token::new(server::token(0))?.with_expires_in(Duration::from_secs(3600)))
    };
    let observer = move |event: &Event<'_>| {
        if matches!(event, Event::WaitStarted) {
            counts.fetch_add(1, Ordering::SeqCst);
        }
    };
    let clock = ManualClock::new(None);
    let session = Session::builder(source).clock(clock.clone()).observer(observer).build().unwrap();
    let round = Barrier::new(WAITERS + 2);
    let wait = || {
        [(); 2].map(|()| {
            round.wait();
            let ((), info) = made(|| drop(session.token().unwrap()));
            round.wait();
            info
        })
    };
    let infos: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..=WAITERS).map(|_| scope.spawn(wait)).collect();
        for _ in 0..2 {
            round.wait();
            round.wait();
            clock.advance(Duration::from_secs(3600));
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(session.stats().refreshes, 2);
    let left: i64 = infos.iter().map(|[first, _]| first.bytes_current).sum();
    row("the first wait of each thread: parking_lot's own table, for the process", left / WAITERS as i64, 600);
    // One of them refreshes.
    let mut second: Vec<_> = infos.iter().map(|[_, second]| second.bytes_total as i64).collect();
    second.sort_unstable();
    row("a thread that waits for a refresh", second[WAITERS - 1], 0);
    assert!(second[WAITERS] > 0, "the thread that refreshes is counted");
}

/// A hundred thousand calls, each to another address, with all that happens to a token: it expires, is refused, is stored.
fn level() {
    let origin = format!("http://127.0.0.1:{}", server::start(usize::MAX, false));
    let clock = ManualClock::new(Some(Duration::from_secs(1_700_000_000)));
    // The API refuses more tokens than a loop breaker would put up with, and knows each at once.
    let policy = Policy::new().with_token_lag(Duration::ZERO).with_refusals(1_000_000, Duration::from_secs(1));
    let source = RefreshToken::new(format!("{origin}/token"), "device", "r0");
    let session = Session::builder(source).policy(policy).clock(clock.clone()).store(MemoryStore::new());
    let client = Client::builder(session.build().unwrap()).origin(&origin);
    // No connection is closed for its age, and another one opened.
    let client = client.configure(|config| config.max_idle_age(Duration::from_secs(3600))).build().unwrap();
    let (plain, together) = (Agent::new_with_defaults(), Barrier::new(THREADS));
    let call = |number: usize| client.get(format!("{origin}/{number}")).call().unwrap();
    let round = |number: usize, is_first: bool| {
        together.wait();
        // Between two rounds, when nobody waits for a refresh: the token is revoked, each tenth time it expires instead.
        if is_first && number % 10 == 0 {
            clock.advance(Duration::from_secs(3600));
        } else if is_first {
            plain.delete(format!("{origin}/token")).call().unwrap();
        }
        together.wait();
        for path in 0..CALLS {
            call(number * CALLS + path).body_mut().read_to_vec().unwrap();
        }
    };
    let work = |thread: usize| {
        // Each has a connection before the first is free again: as many as there can be.
        let mut response = call(0);
        together.wait();
        response.body_mut().read_to_vec().unwrap();
        let (few, many) = (ROUNDS / 10, ROUNDS);
        (0..few).for_each(|number| round(number, thread == 0));
        measure(|| (few..few + many).for_each(|number| round(number, thread == 0))).bytes_current
    };
    let grown: i64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let work = &work;
                scope.spawn(move || work(thread))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let Stats { refreshes, refreshes_after_refusal, joined_waits, .. } = client.session().stats();
    println!("  ({refreshes} refreshes, {refreshes_after_refusal} of them after a 401; {joined_waits} waits for one)");
    assert!(
        refreshes_after_refusal > 200 && refreshes > refreshes_after_refusal,
        "this is not what was to be measured"
    );
    row("what 100,000 more calls of four threads have left", grown, 0);
}

/// With ureq's own settings, as all have who set nothing.
#[cfg(feature = "rustls")]
mod over_tls {
    use std::net::TcpListener;

    use ureq_auth::oauth2::ClientCredentials;
    use ureq_auth::{Fetch, TokenSource};

    use super::{AllocationInfo, Client, Duration, Session, beyond, made, row, server, thread};
    use crate::stack;

    /// A port where every handshake fails. By then a source has all that it keeps.
    fn closing() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || listener.incoming().for_each(drop));
        port
    }

    pub(super) fn rows() {
        let port = closing();
        let asked = |scheme: &str| {
            let source = ClientCredentials::new(format!("{scheme}://127.0.0.1:{port}/token"), "device", "its secret");
            let (_, info) = made(|| source.fetch(Fetch::new(None, Duration::from_secs(30))).unwrap_err());
            info.bytes_current
        };
        asked("http");
        let [plain, first, second] = ["http", "https", "https"].map(asked);
        row("a grant that has been asked", plain, 1_100);
        row("the first one over TLS, beyond that: the TLS configuration that all share", first - plain, 27_000);
        row("the second one over TLS, beyond that", second - plain, 200);

        let port = server::start(usize::MAX, true);
        let source = ClientCredentials::new(format!("https://127.0.0.1:{port}/token"), "device", "its secret");
        let source = source.configure(|config| stack::settings(config, "rustls"));
        let ask = || made(|| drop(source.fetch(Fetch::new(None, Duration::from_secs(30))).unwrap())).1;
        let first = ask();
        row("one with a CA of its own, after its first token request", first.bytes_current, 21_000);
        row("  while it is asked, beyond that", beyond(&first), 560_000);
        row("  after eight: the server's session tickets", first.bytes_current + left(7, ask), 25_000);
        row("  what a hundred more token requests have left", left(100, ask), 0);

        let origin = format!("https://127.0.0.1:{port}");
        let newest = source.fetch(Fetch::new(None, Duration::from_secs(30))).unwrap();
        let session = Session::builder(source).token(newest).build().unwrap();
        let client = Client::builder(session).origin(&origin).configure(|config| stack::settings(config, "rustls"));
        let client = client.build().unwrap();
        let call = || drop(client.get(format!("{origin}/x")).call().unwrap().body_mut().read_to_vec().unwrap());
        let ((), first) = made(call);
        row("the client: a connection over TLS in the pool, with a TLS configuration", first.bytes_current, 600_000);
    }

    fn left(count: usize, ask: impl Fn() -> AllocationInfo) -> i64 {
        (0..count).map(|_| ask().bytes_current).sum()
    }
}
