//! What each thread was doing when: told by the session's observer, on the thread it happens on, and by the caller.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq_auth::Event;

use crate::trace::Lane;

thread_local! {
    /// The worker that runs on this thread.
    static WORKER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Calls closer to each other than this are drawn as one.
const GAP: Duration = Duration::from_millis(25);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Doing {
    Calling,
    Waiting,
    Refreshing,
    /// A moment: the refused request goes out again.
    Replayed,
}

/// From when to when, since the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) doing: Doing,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

/// All threads' spans.
pub(crate) struct Recorder {
    started: Instant,
    /// Is each call kept for a trace? It takes 24 bytes an event.
    traces: bool,
    tracks: Vec<Mutex<Track>>,
}

#[derive(Default)]
struct Track {
    /// Runs of calls, apart from the rest, since they go on underneath it.
    calls: Vec<Span>,
    spans: Vec<Span>,
    /// Since when it has been waiting or refreshing; it never does both.
    since: Option<Duration>,
    lane: Lane,
}

impl Recorder {
    pub(crate) fn new(threads: usize, traces: bool) -> Self {
        Recorder { started: Instant::now(), traces, tracks: (0..threads).map(|_| Mutex::default()).collect() }
    }

    /// Makes this thread worker `number`.
    pub(crate) fn enter(&self, number: usize) {
        WORKER.set(Some(number));
    }

    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A call begins.
    pub(crate) fn calling(&self, at: Duration) {
        self.trace(|lane| lane.begin(at, "call"));
    }

    /// A call has ended that began at `from`.
    pub(crate) fn called(&self, from: Duration) {
        let to = self.now();
        self.trace(|lane| lane.end(to, "call", None));
        if let Some(mut track) = self.track() {
            match track.calls.last_mut() {
                Some(last) if from < last.to + GAP => last.to = to,
                _ => track.calls.push(Span { doing: Doing::Calling, from, to }),
            }
        }
    }

    /// The session's observer.
    pub(crate) fn observe(&self, event: &Event<'_>) {
        let now = self.now();
        self.trace(|lane| match event {
            Event::RefreshStarted { .. } => lane.begin(now, "refresh"),
            Event::Refreshed { token, .. } => lane.end(now, "refresh", Some(token.generation())),
            Event::RefreshFailed { .. } | Event::Superseded => lane.end(now, "refresh", None),
            Event::WaitStarted => lane.begin(now, "wait"),
            Event::WaitEnded { .. } => lane.end(now, "wait", None),
            Event::Replayed { .. } => lane.moment(now, "replay"),
            _ => {}
        });
        let Some(mut track) = self.track() else { return };
        match event {
            Event::RefreshStarted { .. } | Event::WaitStarted => track.since = Some(now),
            Event::Refreshed { .. } | Event::RefreshFailed { .. } | Event::Superseded => {
                track.end(Doing::Refreshing, now);
            }
            Event::WaitEnded { .. } => track.end(Doing::Waiting, now),
            Event::Replayed { .. } => track.spans.push(Span { doing: Doing::Replayed, from: now, to: now }),
            _ => {}
        }
    }

    /// Each thread's spans: the calls first, then the rest, each in order of time.
    pub(crate) fn tracks(&self) -> Vec<Vec<Span>> {
        let all = |track: &Track| track.calls.iter().chain(&track.spans).copied().collect();
        self.tracks.iter().map(|track| all(&lock(track))).collect()
    }

    /// Each thread's part of the trace, which is empty from then on.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        self.tracks.iter().map(|track| std::mem::take(&mut lock(track).lane)).collect()
    }

    fn trace(&self, note: impl FnOnce(&mut Lane)) {
        if let Some(mut track) = self.track().filter(|_| self.traces) {
            note(&mut track.lane);
        }
    }

    fn track(&self) -> Option<MutexGuard<'_, Track>> {
        self.tracks.get(WORKER.get()?).map(lock)
    }
}

impl Track {
    fn end(&mut self, doing: Doing, to: Duration) {
        if let Some(from) = self.since.take() {
            self.spans.push(Span { doing, from, to });
        }
    }
}

fn lock(track: &Mutex<Track>) -> MutexGuard<'_, Track> {
    track.lock().unwrap_or_else(PoisonError::into_inner)
}
