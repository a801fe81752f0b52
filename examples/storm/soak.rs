//! A storm with faults, for as long as one likes: what the client does differently, and what is watched besides.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portable_atomic::AtomicU64;
use serde_json::{Value, json};
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{Event, Fetch, Policy, Result, Session, SourceError, Token, TokenSource, TokenStore};

use crate::login::{Login, Watch};
use crate::report::{Report, rounded};
use crate::server::Server;
use crate::server::faults::Faults;
use crate::workers::{Results, Workers};

/// The time-out of a call and of a token request.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Longer than any flight by far: whoever waits until then has missed its end.
const WAIT_TIMEOUT: Duration = Duration::from_secs(8);

/// A thread that was woken goes on much sooner than this, however busy the machine.
const LATE: Duration = Duration::from_secs(2);

/// Before a caller makes its call again.
pub(crate) const AFTER_AN_ERROR: Duration = Duration::from_millis(20);

/// The longest answer that a caller reads: no fault shall look like a leak.
pub(crate) const LONGEST_ANSWER: u64 = 64 * 1024;

/// Never right, whatever the server does.
pub(crate) const OF_ANOTHER_CALL: &str = "the answer to another call";

/// A thread that has no answer for so long is stuck: many times longer than a flight and a call with all their time-outs.
const STUCK: Duration = Duration::from_secs(60);

const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// Two minutes: in less, the memory that all threads and connections need once is still being found.
const FEWEST_SAMPLES: usize = 480;

/// A soak under way.
pub(crate) struct Soak {
    seed: u64,
    /// Has the session ended, so that somebody has to log in?
    ended: Arc<AtomicBool>,
    at_once: Arc<AtOnce>,
    idle: Arc<Idle>,
    watch: Watch,
    logins: u64,
    /// The process's resident memory in KiB.
    memory: Vec<u64>,
}

/// Token calls at the same time: of all, only the client knows when one that the server lets hang is over.
#[derive(Default)]
struct AtOnce {
    now: AtomicU64,
    most: AtomicU64,
}

impl Soak {
    pub(crate) fn new(seed: u64) -> Self {
        Soak {
            seed,
            ended: Arc::default(),
            at_once: Arc::default(),
            idle: Arc::default(),
            watch: Watch::default(),
            logins: 0,
            memory: Vec::new(),
        }
    }

    /// Short pauses, so that much happens in the time.
    pub(crate) fn policy(policy: Policy) -> Policy {
        policy
            .with_backoff(Duration::from_millis(50), Duration::from_millis(500))
            .with_budget(Duration::from_secs(5))
            .with_wait_timeout(WAIT_TIMEOUT)
            .with_refusals(300, Duration::from_secs(30))
    }

    pub(crate) fn source(&self, source: RefreshToken) -> impl TokenSource + use<> {
        Counted { source: source.timeout(PATIENCE), at_once: Arc::clone(&self.at_once) }
    }

    pub(crate) fn observer(&self) -> impl Fn(&Event<'_>) + Send + Sync + use<> {
        let (ended, idle, watch) = (Arc::clone(&self.ended), Arc::clone(&self.idle), self.watch.clone());
        move |event| {
            idle.note(event, Instant::now());
            if let Event::RefreshFailed { error, .. } = event {
                ended.fetch_or(watch.note(error), SeqCst);
            }
        }
    }

    /// Where the token is kept, in memory.
    pub(crate) fn store(&self) -> impl TokenStore + use<> {
        self.watch.clone()
    }

    /// Logs in again if need be, looks at the memory, and whether somebody is stuck.
    pub(crate) fn attend(
        &mut self,
        now: Duration,
        server: &Server,
        session: &Session,
        workers: &Workers,
    ) -> std::result::Result<(), String> {
        if self.ended.swap(false, SeqCst) {
            let login = server.log_in().ok_or("the server lets nobody log in")?;
            let token = Token::new(login.access_token).map_err(|error| error.to_string())?;
            session.set(token.with_refresh_token(login.refresh_token)).map_err(|error| error.to_string())?;
            self.logins += 1;
        }
        if now >= SAMPLE_EVERY * self.memory.len() as u32 {
            self.memory.extend(resident_memory());
        }
        match workers.longest_without() {
            Some((worker, since)) if since > STUCK => Err(format!(
                "thread {worker} is stuck: no answer for {:.1} s (seed {})",
                since.as_secs_f64(),
                self.seed
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn finish(self, server: &Server, session: &Session, results: &Results) -> Outcome {
        let met = |of_token| server.faults().map(|faults| faults.met(of_token)).unwrap_or_default();
        Outcome {
            seed: self.seed,
            token_faults: met(true),
            api_faults: met(false),
            failures: results.failures.clone(),
            fewest_answers: results.fewest_answers,
            logins: self.logins,
            login: self.watch.finish(session),
            lost_answers: server.faults().map(Faults::lost).unwrap_or_default(),
            at_once: self.at_once.most.load(SeqCst),
            idle_wait: *lock(&self.idle.longest_wait),
            memory: Memory::of(&self.memory),
        }
    }
}

/// For how long a thread waits while nobody refreshes: a wake-up that got lost is made up for by the next flight's, so that
/// only the time tells.
#[derive(Default)]
struct Idle {
    time: Mutex<Time>,
    longest_wait: Mutex<Duration>,
}

#[derive(Default)]
struct Time {
    /// Flights under way. One may begin before the end of the last is told.
    flights: u64,
    /// How long the threads had no token.
    without: Duration,
    /// Since when there has been none.
    since: Option<Instant>,
}

thread_local! {
    /// What the time without a flight came to when this thread began to wait.
    static WAITS_SINCE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

impl Idle {
    fn note(&self, event: &Event<'_>, now: Instant) {
        let mut time = lock(&self.time);
        let in_all = time.without + time.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        match event {
            Event::RefreshStarted { .. } => *time = Time { flights: time.flights + 1, without: in_all, since: None },
            Event::Refreshed { .. } | Event::Adopted { .. } | Event::RefreshFailed { .. } | Event::Superseded => {
                time.flights = time.flights.saturating_sub(1);
                time.since = (time.flights == 0).then_some(now);
            }
            Event::WaitStarted => WAITS_SINCE.set(in_all),
            Event::WaitEnded { .. } => {
                let mut longest = lock(&self.longest_wait);
                *longest = longest.max(in_all.saturating_sub(WAITS_SINCE.get()));
            }
            _ => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A source that counts how many ask it at once.
struct Counted {
    source: RefreshToken,
    at_once: Arc<AtOnce>,
}

impl TokenSource for Counted {
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
        self.at_once.most.fetch_max(self.at_once.now.fetch_add(1, SeqCst) + 1, SeqCst);
        let fetched = self.source.fetch(request);
        self.at_once.now.fetch_sub(1, SeqCst);
        fetched
    }

    fn check(&self) -> Result<()> {
        self.source.check()
    }
}

/// What a soak came to, besides what every storm comes to.
pub(crate) struct Outcome {
    seed: u64,
    token_faults: BTreeMap<&'static str, u64>,
    api_faults: BTreeMap<&'static str, u64>,
    /// What callers were told, by kind.
    failures: BTreeMap<String, u64>,
    fewest_answers: u64,
    logins: u64,
    login: Login,
    /// Token calls that brought neither a token nor a refusal.
    lost_answers: u64,
    at_once: u64,
    idle_wait: Duration,
    memory: Option<Memory>,
}

impl Outcome {
    /// What was wrong of which only a soak can tell.
    pub(crate) fn breaches(&self, report: &Report) -> Vec<String> {
        let mut breaches = Vec::new();
        let mut holds = |holds: bool, what: &dyn Fn() -> String| {
            if !holds {
                breaches.push(what());
            }
        };
        holds(!self.token_faults.is_empty() && !self.api_faults.is_empty(), &|| "there were no faults".to_owned());
        holds(self.fewest_answers > 0, &|| "a thread had no answer at all".to_owned());
        holds(self.at_once <= 1, &|| format!("{} token calls at the same time", self.at_once));
        let longest_wait = report.stats.longest_wait;
        holds(longest_wait < WAIT_TIMEOUT, &|| format!("a thread waited for {:.1} s", longest_wait.as_secs_f64()));
        let idle_wait = self.idle_wait;
        holds(idle_wait < LATE, &|| format!("a thread waited for {:.1} s without a flight", idle_wait.as_secs_f64()));
        let of_another = self.failures.get(OF_ANOTHER_CALL).copied().unwrap_or_default();
        holds(of_another == 0, &|| format!("{of_another} calls got the answer to another one"));
        if let Some(memory) = self.memory.as_ref().filter(|memory| memory.samples >= FEWEST_SAMPLES) {
            holds(memory.is_level(), &|| format!("the memory is not level: {memory:?}"));
        }
        let Some(server) = &report.server else { return breaches };
        let mut breaches_of_login = self.login.breaches(server, self.lost_answers);
        // A refused token is a call's answer after the one replay; what the session says is said without the API.
        let of_api = |(kind, _): &(&String, &u64)| kind.as_str() != "401" && !kind.starts_with("session: ");
        let failed: u64 = self.failures.iter().filter(of_api).map(|(_, count)| count).sum();
        holds(failed == server.spoilt, &|| format!("{failed} calls failed, but {} met a fault", server.spoilt));
        holds(server.repeated <= server.accepted_and_spoilt, &|| {
            format!(
                "{} accepted calls came again, but {} lost their answer",
                server.repeated, server.accepted_and_spoilt
            )
        });
        breaches.append(&mut breaches_of_login);
        breaches
    }

    pub(crate) fn json(&self, report: &Report) -> Value {
        json!({
            "seed": self.seed,
            "failures": self.failures,
            "fewest_answers": self.fewest_answers,
            "logins": self.logins,
            "login": self.login.json(),
            "lost_answers": self.lost_answers,
            "token_calls_at_once": self.at_once,
            "idle_wait_ms": rounded(self.idle_wait.as_secs_f64() * 1000.0),
            "refreshes_lost": report.server.map(|server| server.refreshes_lost),
            "invalid_grant_excused": report.server.map(|server| server.invalid_grant_excused),
            "spoilt": report.server.map(|server| server.spoilt),
            "repeated": report.server.map(|server| server.repeated),
            "token_faults": self.token_faults,
            "api_faults": self.api_faults,
            "memory_kib": self.memory.as_ref().map(Memory::json),
        })
    }
}

/// The resident memory in KiB: at both ends, and the medians of the second and the last third.
#[derive(Debug)]
struct Memory {
    samples: usize,
    start: u64,
    second_third: u64,
    last_third: u64,
    end: u64,
}

impl Memory {
    fn of(samples: &[u64]) -> Option<Memory> {
        let median = |samples: &[u64]| {
            let mut sorted = samples.to_vec();
            sorted.sort_unstable();
            sorted.get(sorted.len() / 2).copied()
        };
        let (before, last) = samples.split_at(samples.len() * 2 / 3);
        Some(Memory {
            samples: samples.len(),
            start: *samples.first()?,
            second_third: median(before.get(samples.len() / 3..)?)?,
            last_third: median(last)?,
            end: *samples.last()?,
        })
    }

    /// 5 percent and 1 MiB more are the allocator's, and the embedded server's, which remembers each token it has issued.
    fn is_level(&self) -> bool {
        self.last_third <= self.second_third + self.second_third / 20 + 1024
    }

    fn json(&self) -> Value {
        let growth = self.last_third as f64 / self.second_third as f64 - 1.0;
        json!({
            "judged": self.samples >= FEWEST_SAMPLES,
            "start": self.start,
            "second_third": self.second_third,
            "last_third": self.last_third,
            "end": self.end,
            "growth_percent": rounded(growth * 100.0),
        })
    }
}

/// Linux tells; elsewhere the memory is not judged.
fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
}

#[cfg(test)]
mod tests;
