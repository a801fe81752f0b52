//! The threads that call, and what became of their calls.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq_auth::Client;

use crate::options::{Options, Target};
use crate::record::Recorder;
use crate::server::Log;

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
    pause: Duration,
    begin: Barrier,
    calls: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
    /// By worker, the numbers of the calls that were answered.
    answered: Vec<Mutex<Vec<u64>>>,
}

enum Api {
    /// Numbered calls below this address, each with an answer that shows its number.
    Own(String),
    /// This address, whatever it answers.
    Real(String),
}

pub(crate) struct Results {
    /// Calls that were begun.
    pub(crate) calls: u64,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    numbers: Vec<Vec<u64>>,
}

impl Workers {
    /// Starts them all at the same moment. `own`: the API of the server that comes with this example.
    pub(crate) fn start(
        options: &Options,
        client: &Client,
        own: Option<String>,
        recorder: &Arc<Recorder>,
    ) -> io::Result<Workers> {
        let api = match (&options.target, own) {
            (Target::Real { api, .. }, _) => Api::Real(api.clone()),
            (Target::Own { .. }, own) => Api::Own(own.unwrap_or_default()),
        };
        let shared = Arc::new(Shared {
            client: client.clone(),
            api,
            recorder: Arc::clone(recorder),
            seconds: options.seconds,
            pause: options.pause,
            begin: Barrier::new(options.threads),
            calls: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            first_failure: Mutex::default(),
            answered: (0..options.threads).map(|_| Mutex::default()).collect(),
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
        let numbers: Vec<_> = shared.answered.iter().map(|numbers| lock(numbers).clone()).collect();
        Results {
            calls: shared.calls.load(Relaxed),
            answered: numbers.iter().map(|numbers| numbers.len() as u64).sum(),
            failed: shared.failed.load(Relaxed),
            first_failure: lock(&shared.first_failure).clone(),
            numbers,
        }
    }
}

impl Results {
    /// Calls that never ended, and those whose answer came though the server has not accepted them.
    pub(crate) fn lost(&self, log: Option<Log>) -> u64 {
        let endless = self.calls - self.answered - self.failed;
        let Some(log) = log else { return endless };
        let unseen = self.numbers.iter().zip(1..).map(|(numbers, thread)| {
            let accepted: HashSet<_> = log.get(&thread).into_iter().flatten().collect();
            numbers.iter().filter(|number| !accepted.contains(number)).count() as u64
        });
        endless + unseen.sum::<u64>()
    }
}

impl Shared {
    fn work(&self, worker: usize) {
        self.recorder.enter(worker);
        self.begin.wait();
        for number in 1.. {
            let from = self.recorder.now();
            if from >= self.seconds {
                break;
            }
            self.calls.fetch_add(1, Relaxed);
            match self.call(worker as u64 + 1, number) {
                Ok(()) => self.answered.get(worker).map(lock).iter_mut().for_each(|numbers| numbers.push(number)),
                Err(error) => {
                    self.failed.fetch_add(1, Relaxed);
                    // What the session has to say travels inside ureq's error.
                    let of_session = error.downcast_ref().and_then(ureq_auth::Error::in_ureq);
                    let why = of_session.map_or(error.to_string(), ToString::to_string);
                    let text = || format!("thread {}, call {number}: {why}", worker + 1);
                    lock(&self.first_failure).get_or_insert_with(text);
                }
            }
            self.recorder.called(from);
            thread::sleep(self.pause);
        }
    }

    /// One call: every third one a POST, the others a GET.
    fn call(&self, thread: u64, number: u64) -> Result<(), Box<dyn Error>> {
        let echo = json!({ "thread": thread, "number": number });
        let mut response = match &self.api {
            Api::Own(api) if (thread + number) % 3 == 0 => self
                .client
                .post(format!("{api}/call/{thread}/{number}"))
                .content_type("application/json")
                .config()
                .http_status_as_error(false)
                .build()
                .send(echo.to_string())?,
            Api::Own(api) => {
                let url = format!("{api}/call/{thread}/{number}");
                self.client.get(url).config().http_status_as_error(false).build().call()?
            }
            Api::Real(url) => self.client.get(url).config().http_status_as_error(false).build().call()?,
        };
        // Read to its end, so that the connection can be used again.
        let body = response.body_mut().read_to_vec()?;
        if !response.status().is_success() {
            return Err(format!("the API answered {}", response.status()).into());
        }
        if matches!(self.api, Api::Own(_)) && serde_json::from_slice::<Value>(&body)? != echo {
            return Err("that was the answer to another call".into());
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
