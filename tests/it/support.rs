//! What all scenarios stand on: a token source that follows a script, an observer that can be waited for, gates and
//! crowds of threads. Whatever waits here gives up after [`WATCHDOG`], so that a hang is a failed test.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ureq_auth::{
    ErrorKind, Event, Fetch, ManualClock, Policy, Reason, Session, SessionBuilder, SourceError, Token, TokenSource,
};

/// Far longer than anything here takes, however busy the machine; only a hang reaches it.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(30);

/// What the wall clock of a scene shows at its beginning, in seconds since 1970.
pub(crate) const WALL: u64 = 1_700_000_000;

/// A crowd.
pub(crate) const MANY: usize = 64;

/// A session whose source, clock and observer are in the test's hands.
pub(crate) struct Scene {
    pub(crate) session: Session,
    pub(crate) clock: ManualClock,
    pub(crate) script: Script,
    pub(crate) watch: Watch,
}

impl Scene {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self::with(steps, |builder| builder)
    }

    pub(crate) fn with(steps: Vec<Step>, settings: impl FnOnce(SessionBuilder) -> SessionBuilder) -> Self {
        let clock = ManualClock::new(Some(secs(WALL)));
        let script = Script::new(steps);
        let watch = Watch::default();
        let observer = watch.clone();
        let builder = Session::builder(script.clone())
            .clock(clock.clone())
            .policy(policy())
            .observer(move |event| observer.note(event));
        let session = settings(builder).build().unwrap();
        Scene { session, clock, script, watch }
    }

    /// A scene whose first token, of 300 s, is in force.
    pub(crate) fn with_token(steps: Vec<Step>) -> Self {
        Self::with(steps, |builder| builder.token(token("t1", 300)))
    }

    /// A scene whose token, of 300 s, has just come to its end.
    pub(crate) fn expired(steps: Vec<Step>) -> Self {
        let scene = Self::with_token(steps);
        scene.clock.advance(secs(300));
        scene
    }

    /// Asks for a token on a thread of its own.
    pub(crate) fn ask(&self) -> Crowd<ureq_auth::Result<Arc<Token>>> {
        let session = self.session.clone();
        aside(move || session.token())
    }

    pub(crate) fn calls(&self) -> usize {
        self.script.calls()
    }

    /// `MANY` threads ask for a token; returns when all of them are in the flight: the leader at `gate`, the others joined.
    pub(crate) fn crowd_in_flight(&self, gate: &Gate) -> Crowd<ureq_auth::Result<Arc<Token>>> {
        let session = self.session.clone();
        let crowd = crowd(MANY, move |_| session.token());
        gate.await_entered();
        self.watch.await_waiters(MANY - 1);
        crowd
    }
}

/// The default policy, but that no caller sits out a pause, so that each error is seen when it comes, and each refusal.
pub(crate) fn policy() -> Policy {
    Policy::new().with_jitter_seed(7).with_patience(Duration::ZERO).with_token_lag(Duration::ZERO)
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn token(name: &str, lifetime: u64) -> Token {
    Token::new(name).unwrap().with_expires_in(secs(lifetime))
}

/// An unsigned JWT with these claims.
pub(crate) fn jwt(claims: &str) -> Token {
    Token::new(format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))).unwrap()
}

/// What the source does when it is asked once.
pub(crate) type Step = Box<dyn FnOnce(Fetch<'_>) -> Result<Token, SourceError> + Send>;

pub(crate) fn step(step: impl FnOnce(Fetch<'_>) -> Result<Token, SourceError> + Send + 'static) -> Step {
    Box::new(step)
}

pub(crate) fn gives(name: &str, lifetime: u64) -> Step {
    let token = token(name, lifetime);
    step(move |_| Ok(token))
}

pub(crate) fn fails(error: SourceError) -> Step {
    step(move |_| Err(error))
}

pub(crate) fn unavailable() -> Step {
    fails(SourceError::unavailable("the server says 500"))
}

/// A flight that fails at once, without a second attempt.
pub(crate) fn refused() -> Step {
    fails(SourceError::refused("a firewall's page"))
}

pub(crate) fn unknown() -> Step {
    fails(SourceError::unknown("the answer was lost"))
}

pub(crate) fn rejected() -> Step {
    fails(SourceError::rejected("refused").with_code("invalid_grant"))
}

pub(crate) fn panics() -> Step {
    step(|_| panic!("the source panics, as its script says"))
}

/// The step, once the gate is open.
pub(crate) fn held(gate: &Gate, then: Step) -> Step {
    let gate = gate.clone();
    step(move |fetch| {
        gate.pass();
        then(fetch)
    })
}

/// A source that does one step a call and fails the test when it is asked once too often, or not often enough.
#[derive(Clone)]
pub(crate) struct Script(Arc<Scripted>);

struct Scripted {
    steps: Mutex<VecDeque<Step>>,
    calls: AtomicUsize,
    asked_too_often: AtomicBool,
}

impl Script {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        let steps = Mutex::new(steps.into());
        Script(Arc::new(Scripted { steps, calls: AtomicUsize::new(0), asked_too_often: AtomicBool::new(false) }))
    }

    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn push(&self, step: Step) {
        self.0.steps.lock().unwrap().push_back(step);
    }
}

impl TokenSource for Script {
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let step = self.0.steps.lock().unwrap().pop_front();
        let Some(step) = step else {
            self.0.asked_too_often.store(true, Ordering::SeqCst);
            panic!("the token source was asked once too often: call {call}");
        };
        step(request)
    }
}

/// A panic on another thread may get lost; the flag does not.
impl Drop for Scene {
    fn drop(&mut self) {
        if !thread::panicking() {
            let Scripted { steps, asked_too_often, .. } = &*self.script.0;
            assert!(!asked_too_often.load(Ordering::SeqCst), "the token source was asked {} times", self.calls());
            assert_eq!(steps.lock().unwrap().len(), 0, "steps that the source was never asked for");
        }
    }
}

/// An event, without what it borrows.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Seen {
    RefreshStarted(Reason),
    AttemptFailed(Duration),
    Refreshed(u64),
    RefreshFailed(ErrorKind),
    LoginRequired(ErrorKind),
    Superseded,
    WaitStarted,
    WaitEnded { waited: Duration, timed_out: bool },
    LateRefusal(u64),
    RefusalIgnored(u64),
    Other,
}

/// All events in order, and a way to wait for one.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<(Mutex<Vec<Seen>>, Condvar)>);

impl Watch {
    pub(crate) fn note(&self, event: &Event<'_>) {
        let seen = match *event {
            Event::RefreshStarted { reason } => Seen::RefreshStarted(reason),
            Event::AttemptFailed { pause, .. } => Seen::AttemptFailed(pause),
            Event::Refreshed { token, .. } => Seen::Refreshed(token.generation()),
            Event::RefreshFailed { error, .. } => Seen::RefreshFailed(error.kind()),
            Event::LoginRequired { error } => Seen::LoginRequired(error.kind()),
            Event::Superseded => Seen::Superseded,
            Event::WaitStarted => Seen::WaitStarted,
            Event::WaitEnded { waited, timed_out } => Seen::WaitEnded { waited, timed_out },
            Event::LateRefusal { generation } => Seen::LateRefusal(generation),
            Event::RefusalIgnored { generation } => Seen::RefusalIgnored(generation),
            _ => Seen::Other,
        };
        self.0.0.lock().unwrap().push(seen);
        self.0.1.notify_all();
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.0.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, which: impl Fn(&Seen) -> bool) -> usize {
        self.seen().iter().filter(|seen| which(seen)).count()
    }

    pub(crate) fn reasons(&self) -> Vec<Reason> {
        let reason = |seen| if let Seen::RefreshStarted(reason) = seen { Some(reason) } else { None };
        self.seen().into_iter().filter_map(reason).collect()
    }

    /// Returns when `waiters` threads in all have joined a flight: a waiter says so *before* it waits.
    pub(crate) fn await_waiters(&self, waiters: usize) {
        self.await_count(waiters, |seen| *seen == Seen::WaitStarted);
    }

    /// Returns when so many of `which` have been seen.
    pub(crate) fn await_count(&self, count: usize, which: impl Fn(&Seen) -> bool) {
        let (seen, changed) = &*self.0;
        let too_few = |seen: &mut Vec<Seen>| seen.iter().filter(|seen| which(seen)).count() < count;
        let (seen, wait) = changed.wait_timeout_while(seen.lock().unwrap(), WATCHDOG, too_few).unwrap();
        assert!(!wait.timed_out(), "{count} of them should have come: {seen:?}");
    }
}

/// A place where a thread stands until the test lets it go on, and the test can wait for it to get there.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    entered: usize,
    open: bool,
}

impl Gate {
    pub(crate) fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.entered += 1;
        changed.notify_all();
        let (_state, wait) = changed.wait_timeout_while(state, WATCHDOG, |state| !state.open).unwrap();
        assert!(!wait.timed_out(), "nobody opened the gate");
    }

    pub(crate) fn await_entered(&self) {
        let (state, changed) = &*self.0;
        let nobody = |state: &mut GateState| state.entered == 0;
        let (_state, wait) = changed.wait_timeout_while(state.lock().unwrap(), WATCHDOG, nobody).unwrap();
        assert!(!wait.timed_out(), "nobody came to the gate");
    }

    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }
}

/// Threads at work, started at one moment.
pub(crate) struct Crowd<T> {
    results: Receiver<thread::Result<T>>,
    size: usize,
}

pub(crate) fn crowd<T: Send + 'static>(size: usize, work: impl Fn(usize) -> T + Send + Sync + 'static) -> Crowd<T> {
    let (sender, results) = mpsc::channel();
    let shared = Arc::new((Barrier::new(size), work));
    for number in 0..size {
        let (sender, shared) = (sender.clone(), Arc::clone(&shared));
        thread::spawn(move || {
            let (start, work) = &*shared;
            start.wait();
            // The test may have failed and gone already.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(|| work(number))));
        });
    }
    Crowd { results, size }
}

/// One thread: for what might hang if the crate is wrong.
pub(crate) fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Crowd<T> {
    let work = Mutex::new(Some(work));
    crowd(1, move |_| {
        let work = work.lock().unwrap().take();
        work.unwrap()()
    })
}

impl<T> Crowd<T> {
    /// All results, in the order of arrival; a thread that panicked fails the test.
    pub(crate) fn gather(self) -> Vec<T> {
        self.gather_caught().into_iter().map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    }

    /// The only result.
    pub(crate) fn result(self) -> T {
        assert_eq!(self.size, 1);
        self.gather().pop().unwrap()
    }

    /// The same, panics included.
    pub(crate) fn gather_caught(self) -> Vec<thread::Result<T>> {
        (0..self.size).map(|_| self.results.recv_timeout(WATCHDOG).expect("a thread hangs")).collect()
    }

    /// Is nobody back yet? Only meaningful where those who are out cannot come back by themselves.
    pub(crate) fn is_out(&self) -> bool {
        self.results.try_recv().is_err()
    }
}
