//! An authorization server and an API on loopback, in one process with the client that they try out.
//!
//! - `POST /token` takes a refresh token (RFC 6749 section 6) and answers with a JWT and the next refresh token. A refresh
//!   token that comes twice ends the login.
//! - `GET` or `POST /call/THREAD/NUMBER` is written to a log and echoed; any other path is just answered. Both ask for a
//!   living access token first, and refuse any other with the 401 of RFC 6750.
//!
//! std only: one thread per connection, which suits a few hundred of them. Tests and benches use it by path.
#![allow(dead_code, reason = "whoever includes this file uses the part that it needs")]

#[path = "http.rs"]
mod http;
#[path = "issuer.rs"]
pub(crate) mod issuer;

use std::collections::{HashMap, HashSet};
use std::io::{self, BufReader};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use http::{Request, Response};
use issuer::{InvalidGrant, Issued, Issuer, Need, Refused};

/// What the server does.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The life of an access token.
    pub(crate) life: Duration,
    /// How long before a token's end a refresh counts as needed; zero if not before the end.
    pub(crate) early: Duration,
    /// How long a refresh takes.
    pub(crate) refresh_delay: Duration,
    /// How long an accepted call takes.
    pub(crate) think: Duration,
    /// Of so many numbered calls (0: none), one lies in a queue before its token is looked at, as behind a busy gateway:
    /// its 401 comes when the others have a new token already.
    pub(crate) queue_every: u64,
    /// For how long.
    pub(crate) queue: Duration,
    pub(crate) client_id: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            life: Duration::from_secs(3600),
            early: Duration::from_secs(300),
            refresh_delay: Duration::ZERO,
            think: Duration::ZERO,
            queue_every: 0,
            queue: Duration::ZERO,
            client_id: "storm".to_owned(),
        }
    }
}

/// What the server has seen so far.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Counts {
    /// Connections on which the API was called.
    pub(crate) connections: u64,
    /// Connections on which the token endpoint was called.
    pub(crate) token_connections: u64,
    pub(crate) token_calls: u64,
    /// How many of them there were at the same time, at most.
    pub(crate) token_calls_at_once: u64,
    pub(crate) invalid_grant: u64,
    /// Pairs of tokens issued.
    pub(crate) refreshes: u64,
    /// Of these, for a reason that the server can see, the first of each login included.
    pub(crate) refreshes_needed: u64,
    /// Of these, for the age of the token.
    pub(crate) expiries: u64,
    /// Of these, for a revoked token.
    pub(crate) replaced_after_revocation: u64,
    /// The smallest share of its life after which a token was replaced for its age.
    pub(crate) youngest_replaced: Option<f64>,
    /// Tokens revoked.
    pub(crate) revocations: u64,
    /// Numbered calls accepted.
    pub(crate) accepted: u64,
    /// Calls answered with 401.
    pub(crate) refused: u64,
    /// Numbers that were accepted more than once, each time beyond the first.
    pub(crate) doubled: u64,
    /// Numbers first accepted after a higher one of the same thread.
    pub(crate) out_of_order: u64,
}

/// A running server. Dropping it stops it: no thread and no connection is left.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    options: Options,
    started: Instant,
    issuer: Mutex<Issuer>,
    counts: Mutex<Counts>,
    log: Mutex<Log>,
    token_calls_now: AtomicU64,
    arrivals: AtomicU64,
    stopping: AtomicBool,
}

/// The numbers accepted, by thread, in the order of acceptance.
pub(crate) type Log = HashMap<u64, Vec<u64>>;

impl Server {
    /// Starts on a port that is free.
    pub(crate) fn start(options: Options) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let shared = Arc::new(Shared {
            issuer: Mutex::new(Issuer::new(options.life, options.early, epoch)),
            options,
            started: Instant::now(),
            counts: Mutex::default(),
            log: Mutex::default(),
            token_calls_now: AtomicU64::new(0),
            arrivals: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        let for_acceptor = Arc::clone(&shared);
        let acceptor = thread::Builder::new().name("acceptor".into()).spawn(move || for_acceptor.accept(&listener))?;
        Ok(Server { address, shared, acceptor: Some(acceptor) })
    }

    /// The API's origin.
    pub(crate) fn api_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn token_url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// A new login's refresh token.
    pub(crate) fn refresh_token(&self) -> String {
        lock(&self.shared.issuer).log_in()
    }

    /// Revokes the access token issued last, behind the client's back. False if there is none that lives.
    pub(crate) fn revoke(&self) -> bool {
        let mut issuer = lock(&self.shared.issuer);
        let revoked = issuer.revoke(self.shared.started.elapsed());
        lock(&self.shared.counts).revocations += u64::from(revoked);
        revoked
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = *lock(&self.shared.counts);
        for numbers in lock(&self.shared.log).values() {
            let (doubled, out_of_order) = judge(numbers);
            counts.doubled += doubled;
            counts.out_of_order += out_of_order;
        }
        counts
    }

    /// The numbered calls accepted so far.
    pub(crate) fn log(&self) -> Log {
        lock(&self.shared.log).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Relaxed);
        // Accept is woken by a connection; should that fail, its thread ends with the process.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _stopped = acceptor.join();
        }
    }
}

/// How many of these numbers came again, and how many came for the first time but after a higher one.
pub(crate) fn judge(numbers: &[u64]) -> (u64, u64) {
    let (mut doubled, mut out_of_order) = (0, 0);
    let (mut seen, mut highest) = (HashSet::new(), 0);
    for &number in numbers {
        if !seen.insert(number) {
            doubled += 1;
        } else if number < highest {
            out_of_order += 1;
        }
        highest = highest.max(number);
    }
    (doubled, out_of_order)
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        let mut connections: Vec<(TcpStream, JoinHandle<()>)> = Vec::new();
        for stream in listener.incoming() {
            if self.stopping.load(Relaxed) {
                break;
            }
            connections.retain(|(_, thread)| !thread.is_finished());
            let both = stream.and_then(|stream| Ok((stream.try_clone()?, stream)));
            let Ok((ours, theirs)) = both else {
                // Out of descriptors, most likely: a pause keeps that from becoming a busy loop.
                thread::sleep(Duration::from_millis(10));
                continue;
            };
            let shared = Arc::clone(&self);
            let thread = thread::Builder::new().stack_size(256 * 1024).spawn(move || {
                // An error is the connection's end, and all there is to do about it.
                let _end = shared.serve(&theirs);
                let _gone = theirs.shutdown(Shutdown::Both);
            });
            if let Ok(thread) = thread {
                connections.push((ours, thread));
            }
        }
        for (stream, _) in &connections {
            let _wakes_its_thread = stream.shutdown(Shutdown::Both);
        }
        for (_, thread) in connections {
            let _ended = thread.join();
        }
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        let mut counted = false;
        while let Some(request) = Request::read(&mut reader)? {
            let for_token = request.path == "/token";
            if !std::mem::replace(&mut counted, true) {
                let mut counts = lock(&self.counts);
                *(if for_token { &mut counts.token_connections } else { &mut counts.connections }) += 1;
            }
            if for_token {
                self.token_call(&request).write(stream)?;
            } else {
                self.api_call(&request).write(stream)?;
            }
            if request.wants_close() {
                break;
            }
        }
        Ok(())
    }

    fn token_call(&self, request: &Request) -> Response {
        let _counted = self.count_token_call();
        if request.method != "POST" {
            return Response::json("405 Method Not Allowed", &json!({ "error": "invalid_request" }));
        }
        let form: HashMap<_, _> = form_urlencoded::parse(&request.body).collect();
        let field = |name: &str| form.get(name).map(|value| &**value).unwrap_or_default();
        if field("grant_type") != "refresh_token" {
            return Response::json("400 Bad Request", &json!({ "error": "unsupported_grant_type" }));
        }
        if field("client_id") != self.options.client_id {
            return Response::json("401 Unauthorized", &json!({ "error": "invalid_client" }));
        }
        match self.refresh(field("refresh_token")) {
            // Without expires_in, which OAuth only recommends and counts in whole seconds: the JWT tells it better.
            Ok(issued) => Response::json(
                "200 OK",
                &json!({
                    "access_token": issued.access_token,
                    "token_type": "Bearer",
                    "refresh_token": issued.refresh_token,
                }),
            ),
            Err(InvalidGrant(why)) => {
                lock(&self.counts).invalid_grant += 1;
                Response::json("400 Bad Request", &json!({ "error": "invalid_grant", "error_description": why }))
            }
        }
    }

    fn refresh(&self, refresh_token: &str) -> Result<Issued, InvalidGrant> {
        let redeemed = lock(&self.issuer).redeem(refresh_token, self.started.elapsed())?;
        thread::sleep(self.options.refresh_delay);
        let issued = lock(&self.issuer).issue(&redeemed, self.started.elapsed())?;
        self.count_refresh(redeemed.need, redeemed.share_lived);
        Ok(issued)
    }

    fn count_token_call(&self) -> impl Drop {
        struct Counted<'a>(&'a AtomicU64);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        let at_once = self.token_calls_now.fetch_add(1, Relaxed) + 1;
        let mut counts = lock(&self.counts);
        counts.token_calls += 1;
        counts.token_calls_at_once = counts.token_calls_at_once.max(at_once);
        Counted(&self.token_calls_now)
    }

    fn count_refresh(&self, need: Need, share_lived: Option<f64>) {
        let mut counts = lock(&self.counts);
        counts.refreshes += 1;
        counts.refreshes_needed += u64::from(need != Need::None);
        match need {
            Need::Age => {
                counts.expiries += 1;
                let share = share_lived.unwrap_or(1.0);
                counts.youngest_replaced = Some(counts.youngest_replaced.map_or(share, |least| least.min(share)));
            }
            Need::Revoked => counts.replaced_after_revocation += 1,
            Need::First | Need::None => {}
        }
    }

    /// By arrival and not by the call's number: a call that is sent again shall not lie there a second time.
    fn is_queued(&self) -> bool {
        let every = self.options.queue_every;
        every > 0 && self.arrivals.fetch_add(1, Relaxed) % every == every / 2
    }

    fn api_call(&self, request: &Request) -> Response {
        let mut parts = request.path.strip_prefix("/call/").unwrap_or_default().splitn(2, '/').map(str::parse::<u64>);
        let call = match (parts.next(), parts.next()) {
            (Some(Ok(thread)), Some(Ok(number))) => Some((thread, number)),
            _ => None,
        };
        if call.is_some() && self.is_queued() {
            thread::sleep(self.options.queue);
        }
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let checked = match token {
            Some(token) => lock(&self.issuer).check(token, self.started.elapsed()),
            None => Err(Refused("no bearer token")),
        };
        if let Err(Refused(why)) = checked {
            lock(&self.counts).refused += 1;
            let header = format!(
                "WWW-Authenticate: Bearer realm=\"storm\", error=\"invalid_token\", error_description=\"{why}\"\r\n"
            );
            return Response { header, ..Response::json("401 Unauthorized", &json!({ "error": why })) };
        }
        let Some((thread, number)) = call else {
            thread::sleep(self.options.think);
            return Response::json("200 OK", &json!({ "ok": true }));
        };
        let echo = json!({ "thread": thread, "number": number });
        let body_fits = match request.method.as_str() {
            "GET" => request.body.is_empty(),
            _ => serde_json::from_slice::<Value>(&request.body).is_ok_and(|body| body == echo),
        };
        if !body_fits {
            return Response::json("400 Bad Request", &json!({ "error": "the body is not what the path says" }));
        }
        lock(&self.log).entry(thread).or_default().push(number);
        lock(&self.counts).accepted += 1;
        thread::sleep(self.options.think);
        Response::json("200 OK", &echo)
    }
}

/// A thread that panicked leaves nothing half-done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
