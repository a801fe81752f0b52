//! Faults of the token endpoint, met by a crowd that waits, by one that has a token that lives, and for a day.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{
    Client, Clock as _, Error, ErrorKind, Event, Fetch, ManualClock, MemoryStore, Session, SourceError, Token,
    TokenSource, TokenStore as _,
};

use super::table::Row;
use super::wire;
use super::{CALLERS, DAY, SHORT};
use crate::client::plain_statuses;
use crate::server::{Answer, Gate, LONG, Server};
use crate::support::{Seen, WALL, Watch, crowd, jwt, millis, policy, secs, token};

pub(crate) const HEAD: [&str; 8] = [
    "the token endpoint",
    "eight callers that wait get",
    "callers whose token lives get",
    "token calls",
    "takes at most",
    "next try",
    "in a day of it",
    "the stored token",
];

/// More token calls than this in a day of any fault are a storm: three attempts in a flight, and a flight each 150 s.
const DAILY: usize = 3 * 600;

pub(crate) struct Fault {
    name: &'static str,
    place: Place,
    /// How many token calls of one flight reach the endpoint.
    calls: usize,
}

enum Place {
    /// Each token call meets this.
    Answers(fn() -> Answer),
    /// The same, and only a time-out ends it.
    Hangs(fn() -> Answer),
    Refuses,
    SpeaksNoTls,
}

pub(crate) fn faults() -> Vec<Fault> {
    let answers = |name, calls, answer| Fault { name, place: Place::Answers(answer), calls };
    let hangs = |name, answer| Fault { name, place: Place::Hangs(answer), calls: 2 };
    vec![
        Fault { name: "refuses the connection", place: Place::Refuses, calls: 0 },
        Fault { name: "speaks plain HTTP where TLS is expected", place: Place::SpeaksNoTls, calls: 0 },
        answers("speaks TLS where plain HTTP is expected", 2, || wire::cut_after(wire::TLS_ALERT)),
        answers("sends garbage", 2, || wire::cut_after("SSH-2.0-server\r\n")),
        hangs("does not answer in time", wire::silence),
        hangs("sends a byte a second", || wire::drip("")),
        hangs("sends its answer's body a byte a second", || wire::drip(LONG_BODY)),
        answers("cuts the connection before its answer", 2, wire::cut),
        answers("cuts it in the midst of the head", 2, || wire::cut_after("HTTP/1.1 200 OK\r\nContent-Ty")),
        answers("cuts it in the midst of a 200's body", 2, || Answer::ok("{\"access_token\":\"new\"").torn()),
        answers("cuts it in the midst of a 400's body", 3, || Answer::new(400).body("{\"error\":").torn()),
        answers("cuts it after the answer", 1, || issued("new").closing()),
        answers("answers 200 with 10 GB", 2, || wire::endless(LONG_BODY)),
        answers("answers 200 with 10 GB in one chunk", 2, || wire::endless(ONE_CHUNK)),
        answers("answers 400 with 10 GB", 1, || {
            wire::endless("HTTP/1.1 400 No\r\nContent-Length: 10737418240\r\n\r\n")
        }),
        answers("answers with a header of 10 GB", 2, || wire::endless("HTTP/1.1 200 OK\r\nX: ")),
        answers("answers 503", 3, || Answer::new(503)),
        answers("answers 503, `Retry-After: 5`", 3, || Answer::new(503).header("Retry-After", "5")),
        answers("answers 503, `Retry-After` a date in 5 s", 3, || dated(503, 5)),
        answers("answers 429, `Retry-After: 120`", 1, || Answer::new(429).header("Retry-After", "120")),
        answers("answers 429, `Retry-After` a date in 120 s", 1, || dated(429, 120)),
        answers("answers 429, `Retry-After` a number of 30 digits", 1, || {
            Answer::new(429).header("Retry-After", "9".repeat(30))
        }),
        answers("answers 502 with HTML", 3, || html(502)),
        answers("answers 200 with HTML", 2, || html(200)),
        answers("answers 200 without `access_token`", 2, || json(200, "{\"token_type\":\"bearer\"}")),
        answers("answers 200 with a token that expired an hour ago", 1, || json(200, &expired())),
        answers("answers 400 `invalid_grant`", 1, || json(400, "{\"error\":\"invalid_grant\"}")),
        answers("answers 400 `invalid_client`", 1, || json(400, "{\"error\":\"invalid_client\"}")),
        answers("answers 400 with a code that nobody knows", 1, || json(400, "{\"error\":\"too_early\"}")),
        answers("answers 200 with an error code that nobody knows", 1, || json(200, "{\"error\":\"internal\"}")),
        answers("answers 200 with a token of an odd type", 1, || {
            json(200, r#"{"access_token":"a","token_type":"mac","refresh_token":"r"}"#)
        }),
        answers("answers 400, empty", 1, || Answer::new(400)),
        answers("answers 403, empty", 1, || Answer::new(403)),
        answers("answers 403 with HTML", 1, || html(403)),
        answers("answers 404 with HTML", 1, || html(404)),
        answers("answers 401", 1, || Answer::new(401).header("WWW-Authenticate", "Basic")),
        answers("redirects", 1, || Answer::redirect(307, "/elsewhere")),
    ]
}

const BY_OLD: &str = "the answer (old token)";
const BY_NEW: &str = "the answer (new token)";

const LONG_BODY: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10737418240\r\n\r\n";
const ONE_CHUNK: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n280000000\r\n";

fn json(status: u16, body: &str) -> Answer {
    Answer::new(status).header("Content-Type", "application/json").body(body)
}

fn html(status: u16) -> Answer {
    Answer::new(status).header("Content-Type", "text/html").body("<html><h1>Welcome to the hotel's network</h1></html>")
}

fn issued(access_token: &str) -> Answer {
    json(200, &format!(r#"{{"access_token":"{access_token}","refresh_token":"r","expires_in":3600}}"#))
}

/// `Retry-After` as a date, on a server whose clock is not ours.
fn dated(status: u16, seconds: u64) -> Answer {
    let date = |seconds| format!("Sun, 06 Nov 1994 08:{:02}:{:02} GMT", 49 + seconds / 60, seconds % 60);
    Answer::new(status).header("Date", date(0)).header("Retry-After", date(seconds))
}

/// A JWT's `exp` is all that is told of its life, and it is past.
fn expired() -> String {
    format!(r#"{{"access_token":"{}","refresh_token":"r"}}"#, jwt(&format!(r#"{{"exp":{}}}"#, WALL - 3600)).secret())
}

/// Meets the fault in three sessions, and says what came of it.
pub(crate) fn meet(fault: &Fault) -> Row {
    let begin = Instant::now();
    let (waiting, calls, at_most, next_try) = World::new(fault, fault.calls).met_by_a_crowd_that_waits();
    let living = World::new(fault, fault.calls).met_while_the_token_lives();
    // Where only a time-out ends it, that is a short one. Where one would be a hang, it is longer than this.
    assert!(begin.elapsed() < LONG / 2, "{}: somebody hangs", fault.name);
    let (day, stored) = World::new(fault, DAILY).met_for_a_day();
    vec![fault.name.to_owned(), waiting, living, calls, at_most, next_try, day, stored]
}

struct World {
    session: Session,
    client: Client,
    clock: ManualClock,
    store: MemoryStore,
    watch: Watch,
    timeouts: Arc<AtomicUsize>,
    is_broken: Arc<AtomicBool>,
    /// Opens when the leader may go on.
    lead: Gate,
    /// None where no request gets through.
    broken: Option<Server>,
    well: Server,
    api: Server,
}

impl World {
    /// A session whose token has 300 s to live. `limit`: how many token calls the broken endpoint stands.
    fn new(fault: &Fault, limit: usize) -> Self {
        let served = AtomicUsize::new(0);
        let script = move |answer: fn() -> Answer| {
            Server::start(move |seen| {
                assert!(served.fetch_add(1, Ordering::SeqCst) < limit, "asked once too often");
                assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/token"));
                assert!(seen.text().contains("refresh_token=r&"), "{}", seen.text());
                answer()
            })
        };
        let (broken, url) = match fault.place {
            Place::Answers(answer) | Place::Hangs(answer) => {
                let server = script(answer);
                let url = server.url("/token");
                (Some(server), url)
            }
            Place::Refuses => (None, format!("http://{}/token", wire::refusing())),
            Place::SpeaksNoTls => (None, format!("https://{}/token", wire::start_plain())),
        };
        let well = Server::script([issued("new"), issued("newer")]);
        let api = Server::start(|seen| {
            // The expired one has no name.
            let name = seen.bearer().filter(|name| name.len() < 6).unwrap_or("new");
            Answer::ok(format!("the answer ({name} token)"))
        });

        let is_broken = Arc::new(AtomicBool::new(true));
        let mut source = RefreshToken::new(url, "c", "unused");
        if matches!(fault.place, Place::Hangs(_)) {
            source = source.timeout(SHORT);
        }
        let source = Source {
            is_broken: Arc::clone(&is_broken),
            broken: source,
            well: RefreshToken::new(well.url("/token"), "c", "unused").timeout(LONG),
        };
        let clock = ManualClock::new(Some(secs(WALL)));
        let (watch, timeouts, lead) = (Watch::default(), Arc::<AtomicUsize>::default(), Gate::new(CALLERS - 1));
        let (noting, counting, leading) = (watch.clone(), Arc::clone(&timeouts), lead.clone());
        let observer = move |event: &Event<'_>| {
            noting.note(event);
            let text = match event {
                Event::RefreshStarted { .. } => return leading.wait(),
                Event::WaitStarted => return leading.open(),
                Event::AttemptFailed { error, .. } => error.to_string(),
                Event::RefreshFailed { error, .. } => error.to_string(),
                _ => return,
            };
            // ureq's words.
            counting.fetch_add(usize::from(text.contains("timeout: ")), Ordering::SeqCst);
        };
        let store = MemoryStore::new();
        let session = Session::builder(source)
            .clock(clock.clone())
            .policy(policy())
            .store(store.clone())
            .observer(observer)
            .build()
            .unwrap();
        session.set(token("old", 300).with_refresh_token("r")).unwrap();
        let client = Client::builder(session.clone()).origin(api.origin()).configure(plain_statuses).build().unwrap();
        World { session, client, clock, store, watch, timeouts, is_broken, lead, broken, well, api }
    }

    /// The token has expired: the leader goes on when all others wait for it.
    fn met_by_a_crowd_that_waits(self) -> (String, String, String, String) {
        self.clock.advance(secs(300));
        let outcomes = self.crowd();
        assert_eq!(self.watch.count(|seen| *seen == Seen::WaitStarted), CALLERS - 1);
        let attempts = 1 + self.watch.count(|seen| matches!(seen, Seen::AttemptFailed(_)));
        let calls = self.broken.as_ref().map_or(0, |broken| {
            // Who gives up may be back before the server has read what was sent.
            broken.await_count(self.timeouts.load(Ordering::SeqCst));
            broken.count()
        });
        let calls = if calls == attempts { calls.to_string() } else { format!("{calls}, in {attempts} attempts") };
        let next_try = match self.session.token() {
            Ok(_) => "–".to_owned(),
            Err(error) => match self.next_try(&error) {
                Some(pause) if error.kind() == ErrorKind::Misconfigured => {
                    format!("after {}", seconds(bound(pause, 300_000)))
                }
                Some(pause) => format!("after {}", seconds(bound(pause, 1000))),
                None => "none: ended".to_owned(),
            },
        };
        (outcomes, calls, self.at_most(), next_try)
    }

    /// The token is in its last fifth: the leader goes on when all others have been answered.
    fn met_while_the_token_lives(self) -> String {
        self.clock.advance(secs(280));
        let (client, url) = (self.client.clone(), self.api.url("/"));
        let leader = crowd(1, move |_| outcome(client.get(&url).call()));
        self.watch.await_count(1, |seen| matches!(seen, Seen::RefreshStarted(_)));
        for _ in 1..CALLERS {
            assert_eq!(outcome(self.client.get(self.api.url("/")).call()), BY_OLD);
            self.lead.open();
        }
        let outcome = leader.result();
        assert_eq!(self.call(), outcome, "and whoever comes next");
        outcome
    }

    /// A caller that asks again as soon as it may.
    fn met_for_a_day(self) -> (String, String) {
        (1..CALLERS).for_each(|_| self.lead.open());
        self.clock.advance(secs(300));
        let begin = self.clock.now();
        let error = loop {
            let Err(error) = self.session.token() else { return ("–".to_owned(), "the new one".to_owned()) };
            match error.retry_after() {
                Some(pause) if self.clock.now().since(begin) < DAY => {
                    let again = self.session.token().unwrap_err();
                    assert_eq!(again.to_string(), error.to_string(), "no other try before its time");
                    self.clock.advance(pause);
                }
                _ => break error,
            }
        };
        let attempts = self.watch.count(|seen| matches!(seen, Seen::AttemptFailed(_) | Seen::RefreshStarted(_)));
        let stored = self.stored();
        match self.next_try(&error) {
            Some(_) => (format!("{attempts} attempts"), stored),
            None => (format!("{attempts}, then ended"), stored),
        }
    }

    /// What has become of the stored token.
    fn stored(&self) -> String {
        let text = self.store.load().unwrap().expect("nothing removes it").to_text();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((value["access_token"].as_str(), value["refresh_token"].as_str()), (Some("old"), Some("r")));
        match value["refused"].as_str() {
            Some(_) => "stays, marked".to_owned(),
            None => "stays".to_owned(),
        }
    }

    /// The endpoint is well from now on. Returns when that is noticed; `None` if the session has ended.
    fn next_try(&self, error: &Error) -> Option<Duration> {
        self.is_broken.store(false, Ordering::SeqCst);
        let pause = error.retry_after();
        self.clock.advance(pause.unwrap_or(DAY));
        if pause.is_none() {
            assert_eq!(self.session.token().unwrap_err().to_string(), error.to_string(), "everybody is told the same");
            assert_eq!(self.well.count(), 0, "and nothing is sent");
            self.session.set(token("new", 300).with_refresh_token("r")).unwrap();
        }
        assert_eq!(self.call(), BY_NEW);
        pause
    }

    fn at_most(&self) -> String {
        let calls = self.broken.as_ref().map(Server::count);
        let timeouts = self.timeouts.load(Ordering::SeqCst);
        let pauses = self.watch.seen().into_iter().filter_map(|seen| match seen {
            Seen::AttemptFailed(pause) => Some(pause),
            _ => None,
        });
        let pauses: Duration = pauses
            .zip(if calls == Some(2) { [1000, 0] } else { [500, 1000] })
            .map(|(pause, longest)| bound(pause, longest))
            .sum();
        match (timeouts, pauses.is_zero()) {
            (0, true) => "at once".to_owned(),
            (0, false) => format!("pauses of {}", seconds(pauses)),
            (2, false) => format!("two time-outs, and a pause of {}", seconds(pauses)),
            both => panic!("{both:?}"),
        }
    }

    fn crowd(&self) -> String {
        let (client, url) = (self.client.clone(), self.api.url("/"));
        let mut outcomes = crowd(CALLERS, move |_| outcome(client.get(&url).call())).gather();
        outcomes.dedup();
        assert_eq!(outcomes.len(), 1, "one flight has one end");
        outcomes.remove(0)
    }

    fn call(&self) -> String {
        outcome(self.client.get(self.api.url("/")).call())
    }
}

/// A pause as the server asked for it; else the longest that its policy allows, of which up to a half is left to chance.
pub(super) fn bound(pause: Duration, longest: u64) -> Duration {
    let longest = millis(longest);
    assert!(pause >= longest / 2, "{pause:?}");
    pause.max(longest)
}

pub(super) fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

fn outcome(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> String {
    match result {
        Ok(mut answer) => answer.body_mut().read_to_string().unwrap(),
        Err(error) => format!("`{:?}`", Error::in_ureq(&error).expect("an error of ours").kind()),
    }
}

/// Asks at the broken address as long as that is the one.
struct Source {
    is_broken: Arc<AtomicBool>,
    broken: RefreshToken,
    well: RefreshToken,
}

impl TokenSource for Source {
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
        let source = if self.is_broken.load(Ordering::SeqCst) { &self.broken } else { &self.well };
        source.fetch(request)
    }
}
