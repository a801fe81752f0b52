//! An authorization server and an API on loopback, in one process with the client that they try out.
//!
//! - `POST /token` takes a refresh token (RFC 6749 section 6) and answers with a JWT and the next refresh token. A refresh
//!   token that comes twice ends the login.
//! - `GET` or `POST /call/THREAD/NUMBER`, with `/ATTEMPT` at its end from the second on, is noted and echoed; any other path
//!   is just answered. Both ask for a living access token first, and refuse any other with the 401 of RFC 6750.
//! - If asked to, it does all of that wrong, at random.
//!
//! std only: one thread per connection, which suits a few hundred of them. Tests and benches use it by path.
#![allow(dead_code, reason = "whoever includes this file uses the part that it needs")]

#[path = "endpoint.rs"]
pub(crate) mod endpoint;
#[path = "faults.rs"]
pub(crate) mod faults;
#[path = "http.rs"]
pub(crate) mod http;
#[path = "issuer.rs"]
pub(crate) mod issuer;
#[path = "ledger.rs"]
pub(crate) mod ledger;

use std::io::{self, BufReader};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use portable_atomic::AtomicU64;
use serde_json::{Value, json};

use faults::{Drawn, Fault, Faults, Sends};
use http::{Request, Response};
use issuer::{Issued, Issuer, Refused};
use ledger::{Call, Counts, Ledger};

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
    /// By how much a refresh may look too early, because requests travel for different times.
    pub(crate) travel: Duration,
    /// The seed of the faults; none if all is done right.
    pub(crate) faults: Option<u64>,
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
            travel: Duration::from_millis(20),
            faults: None,
        }
    }
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
    ledger: Arc<Mutex<Ledger>>,
    faults: Option<Faults>,
    token_calls_now: AtomicU64,
    arrivals: AtomicU64,
    stopping: AtomicBool,
}

impl Server {
    /// Starts on a port that is free.
    pub(crate) fn start(options: Options) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let shared = Arc::new(Shared {
            issuer: Mutex::new(Issuer::new(options.life, options.early, epoch).with_travel(options.travel)),
            faults: options.faults.map(Faults::new),
            options,
            started: Instant::now(),
            counts: Mutex::default(),
            ledger: Arc::default(),
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

    /// A new login's tokens.
    pub(crate) fn log_in(&self) -> Option<Issued> {
        lock(&self.shared.issuer).log_in_with_token(self.shared.started.elapsed()).ok()
    }

    /// Revokes the access token issued last, behind the client's back. False if no access token is valid.
    pub(crate) fn revoke(&self) -> bool {
        let mut issuer = lock(&self.shared.issuer);
        let revoked = issuer.revoke(self.shared.started.elapsed());
        lock(&self.shared.counts).revocations += u64::from(revoked);
        revoked
    }

    /// Ends all logins, behind the client's back.
    pub(crate) fn end_logins(&self) {
        lock(&self.shared.issuer).end_logins();
    }

    pub(crate) fn counts(&self) -> Counts {
        let Ledger { doubled, out_of_order, repeated, .. } = *lock(&self.shared.ledger);
        Counts { doubled, out_of_order, repeated, ..*lock(&self.shared.counts) }
    }

    /// The numbered calls accepted, as it goes on.
    pub(crate) fn ledger(&self) -> Arc<Mutex<Ledger>> {
        Arc::clone(&self.shared.ledger)
    }

    /// The faults that were met so far.
    pub(crate) fn faults(&self) -> Option<&Faults> {
        self.shared.faults.as_ref()
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
            let (response, spoilt) = if for_token { self.token_call(&request) } else { self.api_call(&request) };
            let goes_on = match spoilt {
                None => response.write(stream).map(|()| true)?,
                Some(sends) => sends.send(&response, stream)?,
            };
            if !goes_on || request.wants_close() {
                break;
            }
        }
        Ok(())
    }

    fn met(&self, drawn: Option<Drawn>) {
        if let (Some(faults), Some(drawn)) = (&self.faults, drawn) {
            faults.count(drawn);
        }
    }

    /// By arrival and not by the call's number: a call that is sent again shall not lie there a second time.
    fn is_queued(&self) -> bool {
        let every = self.options.queue_every;
        every > 0 && self.arrivals.fetch_add(1, Relaxed) % every == every / 2
    }

    /// The answer, and what is to be sent in its place, if anything is.
    fn api_call(&self, request: &Request) -> (Response, Option<Sends>) {
        let call = numbered(&request.path);
        if call.is_some() && self.is_queued() {
            thread::sleep(self.options.queue);
        }
        let drawn = self.faults.as_ref().filter(|_| call.is_some()).and_then(Faults::for_api_call);
        if let Some(Drawn { fault: Fault::Before(sends), .. }) = drawn {
            self.spoil(drawn, false);
            return (Response::json("500 Internal Server Error", &json!({})), Some(sends));
        }
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if let Err(Refused(why)) = self.check(token, drawn) {
            lock(&self.counts).refused += 1;
            let header = format!(
                "WWW-Authenticate: Bearer realm=\"storm\", error=\"invalid_token\", error_description=\"{why}\"\r\n"
            );
            return (Response { header, ..Response::json("401 Unauthorized", &json!({ "error": why })) }, None);
        }
        let Some((thread, call)) = call else {
            thread::sleep(self.options.think);
            return (Response::json("200 OK", &json!({ "ok": true })), None);
        };
        if let Some(Drawn { fault: Fault::SeeOther, .. }) = drawn {
            self.met(drawn);
            let header = format!("Location: {}\r\n", request.path);
            return (Response { header, ..Response::json("303 See Other", &json!({})) }, None);
        }
        let echo = json!({ "thread": thread, "number": call.number });
        let body_fits = match request.method.as_str() {
            "GET" => request.body.is_empty(),
            _ => serde_json::from_slice::<Value>(&request.body).is_ok_and(|body| body == echo),
        };
        if !body_fits {
            return (
                Response::json("400 Bad Request", &json!({ "error": "the body is not what the path says" })),
                None,
            );
        }
        lock(&self.ledger).accept(thread, call);
        lock(&self.counts).accepted += 1;
        thread::sleep(self.options.think);
        let spoilt = match drawn {
            Some(Drawn { fault: Fault::After(sends), .. }) => {
                self.spoil(drawn, true);
                Some(sends)
            }
            _ => None,
        };
        (Response::json("200 OK", &echo), spoilt)
    }

    fn check(&self, token: Option<&str>, drawn: Option<Drawn>) -> Result<(), Refused> {
        let token = token.ok_or(Refused("no bearer token"))?;
        let mut issuer = lock(&self.issuer);
        let checked = issuer.check(token, self.started.elapsed());
        if let (Ok(()), Some(Drawn { fault: Fault::Revoked, .. })) = (checked, drawn) {
            issuer.revoke_this(token);
            self.met(drawn);
            return Err(Refused("the token was revoked"));
        }
        checked
    }

    /// A fault costs this call its answer.
    fn spoil(&self, drawn: Option<Drawn>, accepted: bool) {
        self.met(drawn);
        let mut counts = lock(&self.counts);
        counts.spoilt += 1;
        counts.accepted_and_spoilt += u64::from(accepted);
    }
}

/// The thread and the call of `/call/THREAD/NUMBER` and `/call/THREAD/NUMBER/ATTEMPT`.
fn numbered(path: &str) -> Option<(u64, Call)> {
    let mut parts = path.strip_prefix("/call/")?.split('/').map(str::parse);
    let (thread, number, attempt) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next());
    let attempt = attempt.map_or(Some(1), Result::ok)?;
    parts.next().is_none().then_some((thread, Call { number, attempt }))
}

/// A thread that panicked leaves nothing half-done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
