//! The threads that call, and what became of their calls.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use portable_atomic::AtomicU64;
use serde_json::{Value, json};
use ureq_auth::Client;

use crate::interrupt::Interrupt;
use crate::options::{Options, Target};
use crate::record::Recorder;
use crate::server::Server;
use crate::server::ledger::{Call, Ledger};
use crate::soak;

/// After the end, calls under way have this long to come back: longer than any wait that the session allows. What is
/// not back by then is lost.
const GRACE: Duration = Duration::from_secs(60);

pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    client: Client,
    api: Api,
    recorder: Arc<Recorder>,
    seconds: Duration,
    interrupt: Interrupt,
    pause: Duration,
    /// Does whoever is told of an error make the same call again?
    repeats: bool,
    longest_answer: u64,
    begin: Barrier,
    calls: AtomicU64,
    failed: AtomicU64,
    /// Answers to calls that the server knows nothing of.
    unseen: AtomicU64,
    first_failure: Mutex<Option<String>>,
    failures: Mutex<BTreeMap<String, u64>>,
    /// By worker.
    answers: Vec<Answers>,
}

#[derive(Default)]
struct Answers {
    count: AtomicU64,
    /// When the last one came, in milliseconds since the start.
    last: AtomicU64,
}

enum Api {
    /// Numbered calls below this address, each with an answer that shows its number; and the calls that were accepted.
    Own(String, Arc<Mutex<Ledger>>),
    /// This address, whatever it answers.
    Real(String),
}

pub(crate) struct Results {
    /// Calls that were begun.
    pub(crate) calls: u64,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    /// Calls that never ended, and those whose answer came though the server has not accepted them.
    pub(crate) lost: u64,
    pub(crate) first_failure: Option<String>,
    /// By their kind.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Of the worker that got the fewest.
    pub(crate) fewest_answers: u64,
}

impl Workers {
    /// Starts them all at the same moment. `own`: the server that comes with this example.
    pub(crate) fn start(
        options: &Options,
        client: &Client,
        own: Option<&Server>,
        recorder: &Arc<Recorder>,
        interrupt: &Interrupt,
    ) -> io::Result<Workers> {
        let api = match (&options.target, own) {
            (Target::Real { api, .. }, _) => Api::Real(api.clone()),
            (Target::Own { .. }, Some(server)) => Api::Own(server.api_url(), server.ledger()),
            (Target::Own { .. }, None) => return Err(io::Error::other("the server is not running")),
        };
        let shared = Arc::new(Shared {
            client: client.clone(),
            api,
            recorder: Arc::clone(recorder),
            seconds: options.seconds,
            interrupt: interrupt.clone(),
            pause: options.pause,
            repeats: options.faults().is_some(),
            longest_answer: if options.faults().is_some() { soak::LONGEST_ANSWER } else { 10 << 20 },
            begin: Barrier::new(options.threads),
            calls: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unseen: AtomicU64::new(0),
            first_failure: Mutex::default(),
            failures: Mutex::default(),
            answers: (0..options.threads).map(|_| Answers::default()).collect(),
        });
        let start = |number: usize| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("t{}", number + 1)).spawn(move || shared.work(number))
        };
        let threads = (0..options.threads).map(start).collect::<io::Result<_>>()?;
        Ok(Workers { shared, threads })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Calls begun and calls failed.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.shared.calls.load(Relaxed), self.shared.failed.load(Relaxed))
    }

    /// The worker that has been without an answer for longest, and for how long.
    pub(crate) fn longest_without(&self) -> Option<(usize, Duration)> {
        let now = self.shared.recorder.now();
        let since = |answers: &Answers| now.saturating_sub(Duration::from_millis(answers.last.load(Relaxed)));
        (1..).zip(self.shared.answers.iter().map(since)).max_by_key(|(_, since)| *since)
    }

    /// Waits for the calls under way.
    pub(crate) fn finish(self) -> Results {
        let give_up = Instant::now() + GRACE;
        while self.threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < give_up {
            thread::sleep(Duration::from_millis(2));
        }
        for thread in self.threads.into_iter().filter(JoinHandle::is_finished) {
            // A panic was printed already, and its call will be missing in the sum.
            let _panic = thread.join();
        }
        let shared = &*self.shared;
        let answers: Vec<_> = shared.answers.iter().map(|answers| answers.count.load(Relaxed)).collect();
        let (calls, answered) = (shared.calls.load(Relaxed), answers.iter().sum());
        let failed = shared.failed.load(Relaxed);
        Results {
            calls,
            answered,
            failed,
            lost: calls - answered - failed + shared.unseen.load(Relaxed),
            first_failure: lock(&shared.first_failure).clone(),
            failures: lock(&shared.failures).clone(),
            fewest_answers: answers.into_iter().min().unwrap_or_default(),
        }
    }
}

impl Shared {
    fn work(&self, worker: usize) {
        self.recorder.enter(worker);
        self.begin.wait();
        let mut call = Call { number: 1, attempt: 1 };
        loop {
            let from = self.recorder.now();
            if from >= self.seconds || self.interrupt.has_come() {
                break;
            }
            self.calls.fetch_add(1, Relaxed);
            self.recorder.calling(from);
            let outcome = self.call(worker as u64 + 1, call);
            self.recorder.called(from);
            self.note(worker, call, &outcome);
            call = match outcome {
                Err(_) if self.repeats => {
                    thread::sleep(soak::AFTER_AN_ERROR);
                    Call { attempt: call.attempt + 1, ..call }
                }
                _ => Call { number: call.number + 1, attempt: 1 },
            };
            thread::sleep(self.pause);
        }
    }

    fn note(&self, worker: usize, call: Call, outcome: &Result<(), Failure>) {
        match (outcome, self.answers.get(worker)) {
            (Ok(()), answers) => {
                if let Some(answers) = answers {
                    answers.count.fetch_add(1, Relaxed);
                    answers.last.store(self.recorder.now().as_millis() as u64, Relaxed);
                }
                let seen = match &self.api {
                    Api::Own(_, ledger) => lock(ledger).has(worker as u64 + 1, call),
                    Api::Real(_) => true,
                };
                self.unseen.fetch_add(u64::from(!seen), Relaxed);
            }
            (Err(failure), _) => {
                self.failed.fetch_add(1, Relaxed);
                *lock(&self.failures).entry(failure.kind()).or_default() += 1;
                let text = || format!("thread {}, call {}: {failure}", worker + 1, call.number);
                lock(&self.first_failure).get_or_insert_with(text);
            }
        }
    }

    /// One call: every third one a POST, the others a GET.
    fn call(&self, thread: u64, call: Call) -> Result<(), Failure> {
        let Call { number, attempt } = call;
        let echo = json!({ "thread": thread, "number": number });
        let timeout = self.repeats.then_some(soak::PATIENCE);
        let address = |api: &str| match attempt {
            1 => format!("{api}/call/{thread}/{number}"),
            _ => format!("{api}/call/{thread}/{number}/{attempt}"),
        };
        let get = |url: &str| {
            self.client.get(url).config().http_status_as_error(false).timeout_global(timeout).build().call()
        };
        let mut response = match &self.api {
            Api::Own(api, _) if (thread + number) % 3 == 0 => self
                .client
                .post(address(api))
                .content_type("application/json")
                .config()
                .http_status_as_error(false)
                .timeout_global(timeout)
                .build()
                .send(echo.to_string())?,
            Api::Own(api, _) => get(&address(api))?,
            Api::Real(url) => get(url)?,
        };
        // Read to its end, so that the connection can be used again.
        let body = response.body_mut().with_config().limit(self.longest_answer).read_to_vec()?;
        if !response.status().is_success() {
            return Err(Failure::Status(response.status()));
        }
        if matches!(self.api, Api::Own(..)) && serde_json::from_slice::<Value>(&body).map_err(Failure::NoJson)? != echo
        {
            return Err(Failure::OfAnotherCall);
        }
        Ok(())
    }
}

/// Why a call has no answer.
enum Failure {
    /// Of the session or of ureq.
    Error(ureq::Error),
    Status(ureq::http::StatusCode),
    NoJson(serde_json::Error),
    OfAnotherCall,
}

impl Failure {
    fn kind(&self) -> String {
        match self {
            // What the session has to say travels inside ureq's error.
            Failure::Error(error) => match ureq_auth::Error::in_ureq(error) {
                Some(error) => format!("session: {:?}", error.kind()),
                None => {
                    format!("{error:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
                }
            },
            Failure::Status(status) => status.as_u16().to_string(),
            Failure::NoJson(_) => "no JSON".to_owned(),
            Failure::OfAnotherCall => soak::OF_ANOTHER_CALL.to_owned(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Error(error) => match ureq_auth::Error::in_ureq(error) {
                Some(error) => error.fmt(f),
                None => error.fmt(f),
            },
            Failure::Status(status) => write!(f, "the API answered {status}"),
            Failure::NoJson(error) => error.fmt(f),
            Failure::OfAnotherCall => f.write_str("that was the answer to another call"),
        }
    }
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        Failure::Error(error)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
