//! The time: the only file of the crate that asks for it.
//!
//! Two readings, for two questions. *How long ago?* is answered by a monotonic clock that goes on while the device is
//! suspended, so that a laptop which slept for an hour does not take an old token for a fresh one. *What time is it?* is
//! answered by the wall clock, which may be wrong (a device without a battery wakes up in 1970) and is therefore only a hint.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sync::Mutex;

/// A moment on a [`Clock`]'s monotonic scale.
///
/// Its zero is arbitrary, so it only means something beside another `Tick` of the same clock. The scale counts nanoseconds and
/// ends after 584 years; no arithmetic panics or wraps, it stops at the ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(u64);

/// One word instead of a `Duration`'s two: each call compares it under the flight's lock.
const fn nanoseconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}

// Arithmetic is out of line: it has many callers, and none of them is in a hurry.
impl Tick {
    /// The moment `since_zero` after the clock's zero. For those who write a [`Clock`].
    pub const fn from_zero(since_zero: Duration) -> Self {
        Tick(nanoseconds(since_zero))
    }

    /// The time from `earlier` to `self`, zero if `earlier` is the later one.
    #[inline(never)]
    pub const fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `later` after this one.
    #[must_use]
    #[inline(never)]
    pub const fn after(self, later: Duration) -> Tick {
        Tick(self.0.saturating_add(nanoseconds(later)))
    }

    /// The moment `earlier` before this one.
    #[must_use]
    #[inline(never)]
    pub const fn before(self, earlier: Duration) -> Tick {
        Tick(self.0.saturating_sub(nanoseconds(earlier)))
    }
}

/// A time for people to read: `1.250 s`. std's own form tells nanoseconds, and weighs 2 KB in a small binary.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s", self.0.as_secs(), self.0.subsec_millis())
    }
}

impl fmt::Debug for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a session needs to know of time.
///
/// [`SystemClock`] is the default; [`ManualClock`] stands still until told otherwise, for tests.
///
/// `now` and `timeout` are asked while a session's lock is held, so that no thread that goes to sleep misses a change of the
/// clock: they must be quick and must not use a session.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now, on a scale that never goes back and goes on while the device is suspended.
    fn now(&self) -> Tick;

    /// The time since 1970-01-01 00:00 UTC, for what it is worth; `None` if the clock stands before that.
    fn wall(&self) -> Option<Duration>;

    /// Waits for `pause`: the pause between two attempts of one refresh.
    fn sleep(&self, pause: Duration);

    /// How long a thread may really sleep before it looks at the clock again for `deadline`; `None` if only
    /// [`on_change`](Clock::on_change) will tell.
    fn timeout(&self, deadline: Tick) -> Option<Duration> {
        Some(deadline.since(self.now()))
    }

    /// Asks to be told when the clock is set by hand. A clock that just runs has nothing to tell.
    fn on_change(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        drop(wake);
    }
}

// Once for both pointers, so that a method with a default is not forgotten in one of them.
macro_rules! forward {
    ($($header:tt)*) => {
        $($header)* {
            fn now(&self) -> Tick {
                (**self).now()
            }

            fn wall(&self) -> Option<Duration> {
                (**self).wall()
            }

            fn sleep(&self, pause: Duration) {
                (**self).sleep(pause);
            }

            fn timeout(&self, deadline: Tick) -> Option<Duration> {
                (**self).timeout(deadline)
            }

            fn on_change(&self, wake: Arc<dyn Fn() + Send + Sync>) {
                (**self).on_change(wake);
            }
        }
    };
}

forward!(impl<C: Clock + ?Sized> Clock for Box<C>);
forward!(impl<C: Clock + ?Sized> Clock for Arc<C>);

/// The machine's own clocks.
///
/// On Linux and Android the monotonic one is `CLOCK_BOOTTIME`, on Apple's systems the continuous one: both go on during
/// suspend. Elsewhere it is [`std::time::Instant`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Tick {
        Tick::from_zero(monotonic())
    }

    fn wall(&self) -> Option<Duration> {
        SystemTime::now().duration_since(UNIX_EPOCH).ok()
    }

    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn monotonic() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    // Darwin's CLOCK_MONOTONIC counts sleep (what std calls Instant there does not); Linux keeps that for CLOCK_BOOTTIME.
    #[cfg(target_vendor = "apple")]
    let id = ClockId::Monotonic;
    #[cfg(not(target_vendor = "apple"))]
    let id = ClockId::Boottime;

    Duration::try_from(clock_gettime(id)).unwrap_or_default()
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn monotonic() -> Duration {
    use std::time::Instant;

    static ZERO: once_cell::sync::OnceCell<Instant> = once_cell::sync::OnceCell::new();
    ZERO.get_or_init(Instant::now).elapsed()
}

/// A clock that stands still until it is moved: for tests, of this crate and of yours.
///
/// Clones are one clock. [`sleep`](Clock::sleep) moves it, so that a program's pauses take no time at all; threads that
/// wait for a deadline are woken by every move.
#[derive(Clone)]
pub struct ManualClock(Arc<Mutex<Manual>>);

struct Manual {
    now: Duration,
    wall: Option<Duration>,
    wakers: Vec<Arc<dyn Fn() + Send + Sync>>,
}

impl ManualClock {
    /// A clock whose wall time is `wall` after 1970-01-01 00:00 UTC, or unknown.
    pub fn new(wall: Option<Duration>) -> Self {
        // Not zero: a test in which "never" and "at the beginning" look the same proves nothing.
        let now = Duration::from_secs(1000);
        ManualClock(Arc::new(Mutex::new(Manual { now, wall, wakers: Vec::new() })))
    }

    /// Moves both clocks on by `step`, as time does (also the time a device is suspended).
    pub fn advance(&self, step: Duration) {
        let wakers = {
            let mut manual = self.0.lock();
            manual.now = manual.now.saturating_add(step);
            manual.wall = manual.wall.map(|wall| wall.saturating_add(step));
            manual.wakers.clone()
        };
        // Outside the lock: a waker takes the lock of whoever waits, and that one may be reading this clock.
        for wake in wakers {
            wake();
        }
    }

    /// Sets the wall clock alone, as NTP or a user does.
    pub fn set_wall(&self, wall: Option<Duration>) {
        self.0.lock().wall = wall;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Tick {
        Tick::from_zero(self.0.lock().now)
    }

    fn wall(&self) -> Option<Duration> {
        self.0.lock().wall
    }

    fn sleep(&self, pause: Duration) {
        self.advance(pause);
    }

    fn timeout(&self, _deadline: Tick) -> Option<Duration> {
        None
    }

    fn on_change(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.0.lock().wakers.push(wake);
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (now, wall) = {
            let manual = self.0.lock();
            (manual.now, manual.wall)
        };
        f.debug_struct("ManualClock").field("now", &now).field("wall", &wall).finish_non_exhaustive()
    }
}
