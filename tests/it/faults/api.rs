//! Faults of the API, met by eight callers at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Instant;

use ureq_auth::{Client, Clock as _, Error, ManualClock, Session, SourceError, Token};

use super::endpoint::{bound, seconds};
use super::table::Row;
use super::wire;
use super::{CALLERS, SHORT};
use crate::client::{Calls, numbered, plain_statuses};
use crate::server::{Answer, Gate, LONG, Seen, Server};
use crate::support::{crowd, policy};

pub(crate) const HEAD: [&str; 5] = ["the API", "eight callers get", "requests", "token calls", "takes at most"];

pub(crate) struct Fault {
    name: &'static str,
    place: Place,
    /// How many requests it may see of all callers together.
    requests: usize,
    /// How many times a token may be asked for.
    tokens: usize,
    /// Each caller calls so many times, all of them together each time.
    rounds: usize,
    /// No connection is left when they call again.
    cuts_first: bool,
    ends: End,
    /// The token endpoint is out of order as well.
    no_token: bool,
}

#[derive(Clone, Copy)]
enum End {
    ByItself,
    /// Only by a time-out of the call's, while it waits for the answer.
    NoAnswer,
    /// The same, while it reads the answer's body.
    NoBody,
}

enum Place {
    Answers(fn() -> Handler),
    Refuses,
    SpeaksNoTls,
}

type Handler = Box<dyn Fn(&Seen) -> Answer + Send + Sync>;

impl Fault {
    fn new(name: &'static str, place: Place, requests: usize) -> Self {
        Fault { name, place, requests, tokens: 0, rounds: 1, cuts_first: false, ends: End::ByItself, no_token: false }
    }
}

pub(crate) fn faults() -> Vec<Fault> {
    let once = |name, handler| Fault::new(name, Place::Answers(handler), CALLERS);
    let silent = |name, handler| Fault { ends: End::NoAnswer, ..once(name, handler) };
    let twice = |name, handler| Fault { requests: 2 * CALLERS, ..once(name, handler) };
    // The token in force is refused, to all of them.
    let refused = |name, handler| Fault { tokens: 1, ..twice(name, handler) };
    vec![
        Fault::new("refuses the connection", Place::Refuses, 0),
        Fault::new("speaks plain HTTP where TLS is expected", Place::SpeaksNoTls, 0),
        once("speaks TLS where plain HTTP is expected", || always(|| wire::cut_after(wire::TLS_ALERT))),
        once("sends garbage", || always(|| wire::cut_after("SSH-2.0-server\r\n"))),
        silent("does not answer in time", || always(wire::silence)),
        silent("sends a byte a second", || always(|| wire::drip(""))),
        Fault {
            ends: End::NoBody,
            ..once("sends its answer's body a byte a second", || always(|| wire::drip(LONG_BODY)))
        },
        once("cuts the connection before its answer", || always(wire::cut)),
        once("cuts it in the midst of the head", || always(|| wire::cut_after("HTTP/1.1 200 OK\r\nContent-Ty"))),
        once("cuts it in the midst of the body", || always(|| Answer::ok("half").torn())),
        Fault {
            rounds: 2,
            cuts_first: true,
            ..twice("cuts it after the answer, without a word", each_answer_is_cut_off)
        },
        Fault { rounds: 2, ..twice("cuts a kept connection instead of a second answer", second_is_cut) },
        once("answers 200 with 10 GB", || always(|| wire::endless(LONG_BODY))),
        once("answers with a header of 10 GB", || always(|| wire::endless("HTTP/1.1 200 OK\r\nX: "))),
        once("answers 503, `Retry-After: 5`", || always(|| Answer::new(503).header("Retry-After", "5"))),
        once("answers 429, `Retry-After` a date", || {
            always(|| Answer::new(429).header("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"))
        }),
        once("answers 200 with HTML", || always(|| Answer::ok("<html>").header("Content-Type", "text/html"))),
        once("answers 502 with HTML", || {
            always(|| Answer::new(502).body("<html>").header("Content-Type", "text/html"))
        }),
        once("answers 400, empty", || always(|| Answer::new(400))),
        once("answers 403, empty", || always(|| Answer::new(403))),
        twice("redirects within its origin", || {
            Box::new(|seen| if seen.target == "/" { Answer::redirect(307, "/there") } else { Answer::ok("fine") })
        }),
        once("redirects to another origin, which then sees no token", redirect_elsewhere),
        once("answers 401, but not for the token (`insufficient_scope`)", || {
            always(|| Answer::new(401).header("WWW-Authenticate", "Bearer error=\"insufficient_scope\""))
        }),
        once("answers 401, but asks for another scheme", || {
            always(|| Answer::new(401).header("WWW-Authenticate", "Basic realm=\"proxy\""))
        }),
        refused("answers 401", || refuses(Answer::refused, || Answer::ok("fine"))),
        refused("answers 401 and breaks off in its body", || {
            refuses(|| Answer::refused().torn(), || Answer::ok("fine"))
        }),
        refused("answers 401 with 10 GB", || {
            refuses(|| wire::endless("HTTP/1.1 401 No\r\nContent-Length: 10737418240\r\n\r\n"), || Answer::ok("fine"))
        }),
        Fault {
            ends: End::NoBody,
            ..refused("answers 401 and sends its body a byte a second", || {
                refuses(|| wire::drip("HTTP/1.1 401 No\r\nContent-Length: 9999\r\n\r\n"), || Answer::ok("fine"))
            })
        },
        refused("answers 401, and cuts the connection when the call comes again", || {
            refuses(Answer::refused, wire::cut)
        }),
        refused("answers 401, and another 401 for the new token", || refuses(Answer::refused, Answer::refused)),
        Fault {
            rounds: 6,
            tokens: 3,
            // Three tokens were tried for nothing: from then on each call goes out once.
            requests: (3 * 2 + 3) * CALLERS,
            ..once("answers 401 for ever, to six calls of each", refuses_for_ever)
        },
        Fault {
            tokens: 3,
            no_token: true,
            ..once("answers 401, and the token endpoint 503", || refuses(Answer::refused, Answer::refused))
        },
    ]
}

const WHOLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
const LONG_BODY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n";

fn always(answer: fn() -> Answer) -> Handler {
    Box::new(move |_| answer())
}

/// Refuses the first token when all have come with it, and then does as `then` says.
fn refuses(refusal: fn() -> Answer, then: fn() -> Answer) -> Handler {
    let all = Gate::new(CALLERS);
    Box::new(move |seen| match seen.bearer() {
        Some("token-0") => {
            all.arrive();
            refusal()
        }
        _ => then(),
    })
}

/// To all eight at once, each time.
fn refuses_for_ever() -> Handler {
    let all = Barrier::new(CALLERS);
    Box::new(move |_| {
        all.wait();
        Answer::refused()
    })
}

/// Cuts each connection behind a whole answer, once all eight have asked: who asks later than that would find a connection of
/// this round, which may not be cut yet.
fn each_answer_is_cut_off() -> Handler {
    let (rounds, asked) = ([Gate::new(CALLERS), Gate::new(CALLERS)], AtomicUsize::new(0));
    Box::new(move |_| {
        rounds[asked.fetch_add(1, Ordering::SeqCst) / CALLERS].arrive();
        wire::cut_after(WHOLE)
    })
}

fn second_is_cut() -> Handler {
    let (all, known) = (Gate::new(CALLERS), Mutex::new(Vec::new()));
    Box::new(move |seen| {
        if known.lock().unwrap().contains(&seen.connection) {
            return wire::cut();
        }
        known.lock().unwrap().push(seen.connection);
        // Each has its own by now.
        all.arrive();
        Answer::ok("fine")
    })
}

fn redirect_elsewhere() -> Handler {
    let other = Server::start(|seen| {
        assert_eq!(seen.header("authorization"), None);
        Answer::ok("fine")
    });
    Box::new(move |_| Answer::redirect(307, other.url("/")))
}

/// Has eight callers meet the fault, and says what came of it.
pub(crate) fn meet(fault: &Fault) -> Row {
    let begin = Instant::now();
    let (server, address) = match fault.place {
        Place::Answers(handler) => {
            let server = serve(handler(), fault.requests);
            let address = server.origin();
            (Some(server), address)
        }
        Place::Refuses => (None, format!("http://{}", wire::refusing())),
        Place::SpeaksNoTls => (None, format!("https://{}", wire::start_plain())),
    };
    let clock = ManualClock::new(None);
    let (session, tokens) = session(fault, &clock);
    let met = clock.now();
    let client = Client::builder(session).origin(&address).configure(plain_statuses).build().unwrap();
    let mut outcomes = Vec::new();
    for _ in 0..fault.rounds {
        let (client, address, ends) = (client.clone(), address.clone(), fault.ends);
        outcomes = crowd(CALLERS, move |_| outcome(&client, &address, ends)).gather();
        while fault.cuts_first && server.as_ref().is_some_and(|server| server.open() > 0) {
            assert!(begin.elapsed() < LONG, "a connection does not end");
            thread::yield_now();
        }
    }
    outcomes.dedup();
    assert_eq!(outcomes.len(), 1, "{}: {outcomes:?}", fault.name);
    // Where a time-out is no part of it, a call has a long one.
    assert!(begin.elapsed() < LONG / 2, "{}: somebody hangs", fault.name);
    // Who gives up may be back before the server has read what was sent.
    if let Some(server) = server.as_ref().filter(|_| !matches!(fault.ends, End::ByItself)) {
        server.await_count(fault.requests);
    }
    let requests = server.as_ref().map_or(0, Server::count);
    assert_eq!((requests, tokens.count()), (fault.requests, fault.tokens), "{}", fault.name);
    let paused = clock.now().since(met);
    let at_most = match fault.ends {
        End::ByItself if paused.is_zero() => "at once".to_owned(),
        End::ByItself => format!("pauses of {}", seconds(bound(paused, 1500))),
        // The server ends none of these before that.
        End::NoAnswer | End::NoBody => "the call's time-out".to_owned(),
    };
    let counts = [requests, tokens.count()].map(|count| count.to_string());
    [vec![fault.name.to_owned(), outcomes.remove(0)], counts.to_vec(), vec![at_most]].concat()
}

fn serve(handler: Handler, limit: usize) -> Server {
    let asked = AtomicUsize::new(0);
    Server::start(move |seen| {
        assert!(asked.fetch_add(1, Ordering::SeqCst) < limit, "asked once too often");
        assert!(seen.bearer().is_some());
        handler(seen)
    })
}

/// A session whose first token is `token-0`.
fn session(fault: &Fault, clock: &ManualClock) -> (Session, Calls) {
    let (calls, limit, no_token) = (Calls::default(), fault.tokens, fault.no_token);
    let issue = numbered(calls.clone());
    let counted = calls.clone();
    let source = move |previous: Option<&Token>| {
        assert!(counted.count() < limit, "asked for a token once too often");
        let token = issue(previous)?;
        if no_token { Err(SourceError::unavailable("503")) } else { Ok(token) }
    };
    let builder = Session::builder(source).clock(clock.clone()).policy(policy());
    (builder.token(Token::new("token-0").unwrap()).build().unwrap(), calls)
}

/// The answer or the error of one call: ours by its kind, ureq's by its variant.
fn outcome(client: &Client, address: &str, ends: End) -> String {
    let config = client.get(format!("{address}/")).config();
    let config = match ends {
        End::ByItself => config.timeout_global(Some(LONG)),
        End::NoAnswer => config.timeout_recv_response(Some(SHORT)),
        End::NoBody => config.timeout_recv_body(Some(SHORT)),
    };
    let mut answer = match config.build().call() {
        Ok(answer) => answer,
        Err(error) => return variant(&error),
    };
    let status = answer.status();
    match answer.body_mut().read_to_vec() {
        Ok(body) if body == b"fine" => "the answer".to_owned(),
        Ok(_) => format!("the {}", status.as_u16()),
        Err(error) => format!("the {}, and {} from its body", status.as_u16(), variant(&error)),
    }
}

fn variant(error: &ureq::Error) -> String {
    if let Some(error) = Error::in_ureq(error) {
        return format!("`{:?}`", error.kind());
    }
    let text = format!("{error:?}");
    let name = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    format!("`ureq::Error::{name}`")
}
