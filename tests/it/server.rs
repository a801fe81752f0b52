//! A scripted HTTP/1.1 server on a port of its own, with nothing but std: it keeps connections alive, reads bodies of
//! both kinds, and remembers all that it was asked. A request that it has no answer for fails the test.
#![allow(dead_code, reason = "each test binary uses its share of it")]

#[path = "gone.rs"]
mod gone;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing here takes this long unless something hangs.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the server read.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) connection: usize,
    pub(crate) method: String,
    /// Path and query, as in the request line.
    pub(crate) target: String,
    /// Names as they were written.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    close: bool,
    /// How much of the body it says it has, and then does not send.
    missing: usize,
    wire: Option<Wire>,
}

/// What is done with the connection instead of an answer.
#[derive(Clone)]
struct Wire(Arc<dyn Fn(&TcpStream) + Send + Sync>);

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

type Handler<T> = Box<dyn Fn(&Seen) -> T + Send + Sync>;

struct Shared {
    early: Handler<Option<Answer>>,
    handler: Handler<Answer>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    stopping: AtomicBool,
    all_killed: AtomicBool,
    failures: Mutex<Vec<String>>,
}

impl Server {
    /// Answers each request by `handler`; one that panics fails the test.
    pub(crate) fn start(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_early(|_| None, handler)
    }

    /// The same, but what `early` has an answer for is answered as soon as its head is in; its body is read after that.
    pub(crate) fn start_early(
        early: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static,
        handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            early: Box::new(early),
            handler: Box::new(handler),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            all_killed: AtomicBool::new(false),
            failures: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let number = accepting.connections.fetch_add(1, Ordering::SeqCst);
                accepting.open.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&accepting);
                thread::spawn(move || {
                    shared.serve(stream, number);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Server { address, shared }
    }

    /// Answers from a script, in the order of the requests; one request more than that fails the test.
    pub(crate) fn script(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = Mutex::new(answers.into_iter().collect::<VecDeque<_>>());
        Self::start(move |seen| {
            let answer = lock(&answers).pop_front();
            answer.unwrap_or_else(|| panic!("asked once too often: {} {}", seen.method, seen.target))
        })
    }

    /// Answers nothing at all: whoever asks fails the test.
    pub(crate) fn untouched() -> Self {
        Self::script([])
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same server by another name, which makes it another origin.
    pub(crate) fn other_host(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.origin() + path
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// Each request as `GET /path`, with the token it carried.
    pub(crate) fn told(&self) -> Vec<String> {
        self.seen().iter().map(Seen::to_string).collect()
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.shared.seen).len()
    }

    /// Returns when so many requests have come, of clients that may have given up on them already.
    pub(crate) fn await_count(&self, requests: usize) {
        let begin = Instant::now();
        while self.count() < requests {
            assert!(begin.elapsed() < LONG, "{} requests of {requests}", self.count());
            thread::yield_now();
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many connections are being served.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        let failures = lock(&self.shared.failures);
        if !failures.is_empty() && !thread::panicking() {
            panic!("the server was not content: {failures:?}");
        }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream, connection: usize) {
        stream.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(gone::Incoming::new(&stream, &self.all_killed));
        // A client that hangs up in the middle does not concern the server.
        while let Some((mut seen, close)) = read_head(&mut reader, connection) {
            let early = (self.early)(&seen);
            let head_only = seen.method == "HEAD";
            if let Some(answer) = &early {
                lock(&self.seen).push(seen.clone());
                answer.write(&stream, head_only);
            } else if seen.header("expect").is_some() {
                write(&stream, b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            let Some(body) = read_body(&mut reader, &seen) else { return };
            let answer = match early {
                Some(answer) => answer,
                None => {
                    seen.body = body;
                    lock(&self.seen).push(seen.clone());
                    let answer = self.answer(&seen);
                    answer.write(&stream, head_only);
                    answer
                }
            };
            if close || answer.close {
                return;
            }
        }
    }

    fn answer(&self, seen: &Seen) -> Answer {
        catch_unwind(AssertUnwindSafe(|| (self.handler)(seen))).unwrap_or_else(|panic| {
            let what = panic.downcast_ref::<String>().cloned();
            let what = what.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            lock(&self.failures).push(what.unwrap_or_default());
            Answer::new(599).closing()
        })
    }
}

fn read_head(reader: &mut impl BufRead, connection: usize) -> Option<(Seen, bool)> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut words = lines.first()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers = lines.get(1..)?.iter().filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    let seen = Seen { connection, method, target, headers, body: Vec::new() };
    let close = seen.header("connection") == Some("close");
    Some((seen, close))
}

fn read_body(reader: &mut impl BufRead, seen: &Seen) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if seen.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                return Some(body);
            }
            chunk.truncate(size);
            body.append(&mut chunk);
        }
    }
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    body.resize(length, 0);
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// All that it said but the token, in an order that can be compared.
    pub(crate) fn without_token(&self) -> (String, String, Vec<(String, String)>, Vec<u8>) {
        let own = |(name, _): &&(String, String)| !name.eq_ignore_ascii_case("authorization");
        let mut headers: Vec<_> = self.headers.iter().filter(own).cloned().collect();
        headers.sort();
        (self.method.clone(), self.target.clone(), headers, self.body.clone())
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.target)?;
        self.header("authorization").map_or(Ok(()), |value| write!(f, " {value}"))
    }
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Answer { status, headers: Vec::new(), body: Vec::new(), close: false, missing: 0, wire: None }
    }

    /// No answer, but whatever `run` does with the connection, which ends with it.
    pub(crate) fn wire(run: impl Fn(&TcpStream) + Send + Sync + 'static) -> Self {
        Answer { wire: Some(Wire(Arc::new(run))), ..Self::new(599).closing() }
    }

    /// The same on a connection that goes on: `run` writes a whole answer.
    pub(crate) fn written(run: impl Fn(&TcpStream) + Send + Sync + 'static) -> Self {
        Answer { close: false, ..Self::wire(run) }
    }

    pub(crate) fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::new(200).body(body)
    }

    /// What an API says of a token that it does not accept.
    pub(crate) fn refused() -> Self {
        Self::new(401).header("WWW-Authenticate", "Bearer error=\"invalid_token\"").body("who are you?")
    }

    pub(crate) fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::new(status).header("Location", location).body("over there")
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// Breaks off in the middle of the body.
    pub(crate) fn torn(mut self) -> Self {
        self.missing = 100;
        self.closing()
    }

    fn write(&self, stream: &TcpStream, head_only: bool) {
        if let Some(Wire(run)) = &self.wire {
            return run(stream);
        }
        let mut text = format!("HTTP/1.1 {} Status\r\n", self.status);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if self.close {
            text += "Connection: close\r\n";
        }
        text += &format!("Content-Length: {}\r\n\r\n", self.body.len() + self.missing);
        let mut bytes = text.into_bytes();
        if !head_only {
            bytes.extend_from_slice(&self.body);
        }
        write(stream, &bytes);
    }
}

fn write(mut stream: &TcpStream, bytes: &[u8]) {
    // The client may have gone: it will know why.
    let _gone = stream.write_all(bytes).is_err();
}

/// Opens when a number of threads, or one that calls `open`, has come. Whoever waits in vain panics instead of hanging.
#[derive(Clone)]
pub(crate) struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    pub(crate) fn new(threads: usize) -> Self {
        Gate(Arc::new((Mutex::new(threads), Condvar::new())))
    }

    /// Counts the caller in, without waiting.
    pub(crate) fn open(&self) {
        let mut left = lock(&self.0.0);
        *left = left.saturating_sub(1);
        self.0.1.notify_all();
    }

    pub(crate) fn wait(&self) {
        let left = lock(&self.0.0);
        let (left, _) = self.0.1.wait_timeout_while(left, LONG, |left| *left > 0).unwrap();
        assert_eq!(*left, 0, "not all have come to the gate");
    }

    pub(crate) fn arrive(&self) {
        self.open();
        self.wait();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
