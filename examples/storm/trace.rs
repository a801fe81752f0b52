//! The run as a file for Perfetto (ui.perfetto.dev) or `chrome://tracing`: in the Trace Event Format, as a JSON array. A row for
//! each thread, with its calls and what is inside of them; counters above.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

/// A thread keeps so many of its events at most: a trace of a long run has the beginning, and says where it ends.
const LIMIT: usize = 100_000;

/// What a thread did, in order.
#[derive(Default)]
pub(crate) struct Lane {
    events: Vec<(Duration, Mark)>,
    /// What has begun and not ended, the innermost last.
    open: Vec<&'static str>,
    /// When there was no more room.
    full: Option<Duration>,
}

#[derive(Clone, Copy)]
enum Mark {
    Begin(&'static str),
    /// Of what began last. With the number of the token that it brought.
    End(Option<u64>),
    Moment(&'static str),
}

impl Lane {
    pub(crate) fn begin(&mut self, at: Duration, what: &'static str) {
        if self.has_room(at) {
            self.open.push(what);
            self.events.push((at, Mark::Begin(what)));
        }
    }

    /// Ends `what`, if it is what began last. There is always room for that.
    pub(crate) fn end(&mut self, at: Duration, what: &str, generation: Option<u64>) {
        if self.open.last() == Some(&what) {
            self.open.pop();
            self.events.push((at, Mark::End(generation)));
        }
    }

    pub(crate) fn moment(&mut self, at: Duration, what: &'static str) {
        if self.has_room(at) {
            self.events.push((at, Mark::Moment(what)));
        }
    }

    fn has_room(&mut self, at: Duration) -> bool {
        if self.full.is_none() && self.events.len() >= LIMIT {
            self.full = Some(at);
        }
        self.full.is_none()
    }

    /// Ends what is under way: a call that never came back, say.
    fn close(&mut self, at: Duration) {
        for _ in self.open.drain(..) {
            self.events.push((at, Mark::End(None)));
        }
    }
}

/// Counters at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) calls: u64,
    pub(crate) failed: u64,
    pub(crate) refreshes: u64,
    pub(crate) waits: u64,
}

pub(crate) struct Trace {
    pub(crate) title: String,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) revoked: Vec<Duration>,
    pub(crate) end: Duration,
}

impl Trace {
    /// One event a line.
    ///
    /// # Errors
    ///
    /// Those of `file`.
    pub(crate) fn write(mut self, file: &mut dyn Write) -> io::Result<()> {
        let title = json!({ "ph": "M", "name": "process_name", "pid": 1, "args": { "name": self.title } });
        write!(file, "[\n{title}")?;
        let mut write = |event: Value| write!(file, ",\n{event}");
        for sample in &self.samples {
            let Sample { at, calls, failed, refreshes, waits } = *sample;
            let counter = |name: &str, value: u64| json!({ "ph": "C", "name": name, "pid": 1, "ts": micros(at), "args": { name: value } });
            for (name, value) in [("calls", calls), ("failed", failed), ("refreshes", refreshes), ("waits", waits)] {
                write(counter(name, value))?;
            }
        }
        for &at in &self.revoked {
            write(json!({ "ph": "i", "s": "g", "name": "token revoked", "pid": 1, "tid": 1, "ts": micros(at) }))?;
        }
        for (tid, lane) in (1..).zip(&mut self.lanes) {
            lane.close(self.end);
            let name = format!("t{tid}");
            write(json!({ "ph": "M", "name": "thread_name", "pid": 1, "tid": tid, "args": { "name": name } }))?;
            for &(at, mark) in &lane.events {
                let ts = micros(at);
                write(match mark {
                    Mark::Begin(name) => json!({ "ph": "B", "name": name, "pid": 1, "tid": tid, "ts": ts }),
                    Mark::End(None) => json!({ "ph": "E", "pid": 1, "tid": tid, "ts": ts }),
                    Mark::End(Some(token)) => {
                        json!({ "ph": "E", "pid": 1, "tid": tid, "ts": ts, "args": { "token": token } })
                    }
                    Mark::Moment(name) => {
                        json!({ "ph": "i", "s": "t", "name": name, "pid": 1, "tid": tid, "ts": ts })
                    }
                })?;
            }
            if let Some(at) = lane.full {
                let name = "the trace of this thread is full";
                write(json!({ "ph": "i", "s": "t", "name": name, "pid": 1, "tid": tid, "ts": micros(at) }))?;
            }
        }
        writeln!(file, "\n]")
    }
}

/// In the format's unit, to the nanosecond.
fn micros(at: Duration) -> f64 {
    at.as_nanos() as f64 / 1000.0
}
