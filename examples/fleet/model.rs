//! The devices, their clock and the endpoint.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use ureq_auth::{Clock, Policy, Session, SourceError, Tick, Token};

const HOURS: u32 = 6;
const SECONDS: usize = HOURS as usize * 3600;

/// All devices are switched on within this time.
const POWER_ON: u64 = 60;

/// A device calls its API once a minute, and five seconds after a call that has failed.
const CALL_EVERY: Duration = Duration::from_secs(60);
const AFTER_A_FAILURE: Duration = Duration::from_secs(5);

/// What an overloaded endpoint asks for.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Later calls than this are of the second wave and those after it; what comes before is the outage's own.
const FIRST_WAVE: usize = 900;

/// One run.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) devices: u32,
    pub(crate) policy: fn() -> Policy,
    pub(crate) one_seed: bool,
    /// Token requests that the endpoint answers in a second; the others get 429, or 503.
    pub(crate) capacity: u32,
    pub(crate) retry_after: bool,
    pub(crate) life: Duration,
}

/// What the endpoint had to bear.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) devices: u32,
    pub(crate) capacity: u32,
    /// Token requests of each second, answered or not.
    pub(crate) calls: Vec<u32>,
    /// The longest time from a device's first call to its first token.
    pub(crate) longest_wait: Duration,
    /// Calls of devices that have had a token, and had none that lived.
    pub(crate) failed_later: u64,
}

thread_local! {
    /// The time of the device that is served, since the power came back.
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// Has the endpoint been busy in the present call?
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// A pause within a refresh is a step of that device's time alone.
#[derive(Debug)]
struct DeviceClock;

impl Clock for DeviceClock {
    fn now(&self) -> Tick {
        // Not zero: nothing has happened before.
        Tick::from_zero(NOW.get() + Duration::from_secs(1000))
    }

    fn wall(&self) -> Option<Duration> {
        None
    }

    fn sleep(&self, pause: Duration) {
        NOW.set(NOW.get() + pause);
    }
}

/// The token endpoint: so many answers a second, to those who come first.
struct Endpoint {
    calls: Vec<AtomicU32>,
    capacity: u32,
    retry_after: bool,
    life: Duration,
}

impl Endpoint {
    fn answer(&self) -> Result<Token, SourceError> {
        let second = NOW.get().as_secs() as usize;
        let earlier = self.calls.get(second).map_or(0, |calls| calls.fetch_add(1, Ordering::Relaxed));
        if earlier < self.capacity {
            return Ok(Token::new("token")?.with_expires_in(self.life));
        }
        BUSY.set(true);
        let busy = SourceError::unavailable("too many requests");
        Err(if self.retry_after { busy.with_retry_after(RETRY_AFTER) } else { busy })
    }
}

struct Device {
    session: Session,
    /// When it is switched on.
    on: Duration,
    has_token: bool,
    /// Was the endpoint busy since the last token came?
    was_busy: bool,
    /// The last token's number, and how much of its life may be left when it is refreshed at the earliest.
    generation: u64,
    fresh: Duration,
}

/// When a device's calls ask the endpoint for something, by its policy.
#[derive(Clone, Copy)]
struct Early {
    /// By how much before its end a token is refreshed at the earliest: always, and the more where there is a spread.
    window: Duration,
    spread: Duration,
    /// How long a call waits for a pause to end.
    patience: Duration,
}

/// Half of the devices, on one thread.
struct Half {
    devices: Vec<Device>,
    /// Who calls in each second.
    due: Vec<Vec<(u32, Duration)>>,
    longest_wait: Duration,
    failed_later: u64,
}

impl Half {
    fn new(
        model: &Model,
        endpoint: &Arc<Endpoint>,
        numbers: impl Iterator<Item = u32>,
    ) -> Result<Half, ureq_auth::Error> {
        let mut half = Half {
            devices: Vec::new(),
            due: vec![Vec::new(); SECONDS + 1],
            longest_wait: Duration::ZERO,
            failed_later: 0,
        };
        for number in numbers {
            let seed = if model.one_seed { 1 } else { number.into() };
            let asked = Arc::clone(endpoint);
            let source = move |_: Option<&Token>| asked.answer();
            let policy = (model.policy)().with_jitter_seed(seed);
            let session = Session::builder(source).policy(policy).clock(DeviceClock).build()?;
            // Spread evenly, in an order that has nothing to do with the seeds.
            let spread = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24;
            let on = Duration::from_nanos(spread % (POWER_ON * 1_000_000_000));
            half.devices.push(Device {
                session,
                on,
                has_token: false,
                was_busy: true,
                generation: 0,
                fresh: Duration::ZERO,
            });
            half.call_at(half.devices.len() as u32 - 1, on);
        }
        Ok(half)
    }

    fn call_at(&mut self, device: u32, time: Duration) {
        if let Some(due) = self.due.get_mut(time.as_secs() as usize) {
            due.push((device, time));
        }
    }

    fn pass(&mut self, second: usize, Early { window, spread, patience }: Early) {
        // A call may lead to another in the same second.
        while let Some((number, time)) = self.due.get_mut(second).and_then(Vec::pop) {
            let Some(device) = self.devices.get_mut(number as usize) else { continue };
            NOW.set(time);
            BUSY.set(false);
            let token = device.session.token();
            let now = NOW.get();
            device.was_busy |= BUSY.get();
            let next = match &token {
                Ok(token) => {
                    if !device.has_token {
                        device.has_token = true;
                        self.longest_wait = self.longest_wait.max(now.saturating_sub(device.on));
                    }
                    if token.generation() != device.generation {
                        device.generation = token.generation();
                        device.fresh = if device.was_busy { window + spread } else { window };
                        device.was_busy = false;
                    }
                    // Calls with a token that is surely fresh ask for nothing: they are left out, in whole minutes.
                    let idle = token.time_left(DeviceClock.now()).unwrap_or_default().saturating_sub(device.fresh);
                    now + CALL_EVERY * (1 + (idle.as_secs() / CALL_EVERY.as_secs()) as u32)
                }
                Err(error) => {
                    // Calls in a pause that is longer than a caller waits for ask for nothing: they are counted and left out.
                    let pause = error.retry_after().unwrap_or_default().saturating_sub(patience);
                    let calls = pause.as_millis().div_ceil(AFTER_A_FAILURE.as_millis()).max(1) as u32;
                    self.failed_later += u64::from(device.has_token) * u64::from(calls);
                    now + AFTER_A_FAILURE * calls
                }
            };
            self.call_at(number, next);
        }
    }
}

/// Runs the devices for six hours, on two threads that meet each second.
pub(crate) fn run(model: &Model, progress: &(dyn Fn(Duration) + Sync)) -> Result<Load, ureq_auth::Error> {
    let endpoint = Arc::new(Endpoint {
        calls: (0..SECONDS).map(|_| AtomicU32::new(0)).collect(),
        capacity: model.capacity,
        retry_after: model.retry_after,
        life: model.life,
    });
    // No policy refreshes earlier than with this much left.
    let policy = (model.policy)();
    let (percent, at_most) = policy.stale_window();
    let window = (model.life * percent / 100).min(at_most);
    let early = Early { window, spread: (model.life - window) * policy.spread() / 100, patience: policy.patience() };
    let meet = Barrier::new(2);
    let sums = Mutex::new((Duration::ZERO, 0));
    std::thread::scope(|scope| {
        let halves: Vec<_> = (0..2)
            .map(|half| {
                let (endpoint, meet, sums) = (&endpoint, &meet, &sums);
                scope.spawn(move || {
                    let built = Half::new(model, endpoint, (half..model.devices).step_by(2));
                    // Both meet, or neither does.
                    meet.wait();
                    let mut half_of_them = built?;
                    for second in 0..SECONDS {
                        half_of_them.pass(second, early);
                        meet.wait();
                        if half == 0 {
                            progress(Duration::from_secs(second as u64 + 1));
                        }
                    }
                    let mut sums = sums.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    *sums = (sums.0.max(half_of_them.longest_wait), sums.1 + half_of_them.failed_later);
                    Ok(())
                })
            })
            .collect();
        halves.into_iter().try_for_each(|half| half.join().unwrap_or(Ok(())))
    })?;
    let (longest_wait, failed_later) = *sums.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let calls = endpoint.calls.iter().map(|calls| calls.load(Ordering::Relaxed)).collect();
    Ok(Load { name: model.name, devices: model.devices, capacity: model.capacity, calls, longest_wait, failed_later })
}

impl Load {
    /// Calls a second, over a whole minute each.
    pub(crate) fn minutes(&self) -> Vec<f64> {
        self.calls.chunks(60).map(|minute| f64::from(minute.iter().sum::<u32>()) / 60.0).collect()
    }

    /// Calls a second after the first wave: on average, and in the busiest minute.
    fn later(&self) -> (f64, f64) {
        let minutes = self.minutes();
        let later = minutes.get(FIRST_WAVE / 60..).unwrap_or_default();
        (later.iter().sum::<f64>() / later.len() as f64, later.iter().copied().fold(0.0, f64::max))
    }

    /// How long the endpoint takes to answer each device once, and the minute in which they come.
    fn necessary(&self) -> Duration {
        Duration::from_secs(u64::from(self.devices / self.capacity))
    }

    /// What docs/fleet.md promises of the default policy.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (mean, peak) = self.later();
        if peak > 2.0 * mean {
            return Err(format!(
                "after the first wave, the busiest minute has {peak:.1} calls a second, and the mean is {mean:.1}"
            ));
        }
        if self.longest_wait > 2 * self.necessary() || self.failed_later > 0 {
            return Err(format!(
                "a device waited for {:?}, {} calls failed later",
                self.longest_wait, self.failed_later
            ));
        }
        Ok(())
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.calls.iter().map(|calls| u64::from(*calls)).sum();
        let first: u64 = self.calls.iter().take(FIRST_WAVE).map(|calls| u64::from(*calls)).sum();
        let (mean, peak) = self.later();
        let per_device = |calls: u64| calls as f64 / f64::from(self.devices);
        writeln!(f, "{}: {} devices, {} answers a second", self.name, self.devices, self.capacity)?;
        writeln!(
            f,
            "  token requests per device: {:.2} in the first quarter of an hour, {:.2} in all",
            per_device(first),
            per_device(total)
        )?;
        writeln!(f, "  busiest second {}", self.calls.iter().max().unwrap_or(&0))?;
        writeln!(f, "  after that: {mean:.1} a second, {peak:.1} in the busiest minute ({:.2} times)", peak / mean)?;
        let (waited, necessary) = (self.longest_wait.as_secs(), self.necessary().as_secs());
        write!(
            f,
            "  longest wait for the first token {waited} s, {necessary} s necessary; calls without a token later: {}",
            self.failed_later
        )
    }
}
