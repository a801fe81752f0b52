//! Where the crate's agents get their connections: one TLS configuration for many agents, and reads that can be cut short.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ureq::config::Config;
use ureq::unversioned::transport::time;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport};
use ureq::{Agent, Error, Timeout};

use super::resolver::OnCallingThread;

/// How long [`at_most_a_moment`] waits for more bytes, once.
const WAIT: Duration = Duration::from_millis(250);

/// How often it waits. Each wait that ends early has brought a part of the body.
const WAITS: u8 = 8;

/// ureq's own connector, shared by agents with the same TLS settings. It keeps the first agent's TLS configuration, which
/// is 25 KB and takes longer to build than a request to this machine. It holds no connections: those are the agents'.
///
/// [`at_most_a_moment`] can cut short the reads of its connections. ureq's body reader obeys the time-outs that its request
/// began with, and no others: only below it can the wait for a single body be made shorter.
#[derive(Clone)]
pub(crate) struct SharedConnector(Arc<DefaultConnector>);

impl SharedConnector {
    /// For agents whose settings are the user's own.
    pub(crate) fn new() -> Self {
        SharedConnector(Arc::default())
    }

    /// For all agents of this process that leave ureq's TLS settings as they are.
    pub(crate) fn of_defaults() -> Self {
        static OF_DEFAULTS: LazyLock<SharedConnector> = LazyLock::new(SharedConnector::new);
        OF_DEFAULTS.clone()
    }

    /// An agent whose connections are made here, and which starts no thread unasked.
    pub(crate) fn agent(self, config: Config) -> Agent {
        Agent::with_parts(config, self, OnCallingThread)
    }
}

impl Connector for SharedConnector {
    type Out = Bounded;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<()>) -> Result<Option<Bounded>, Error> {
        Ok(self.0.connect(details, chained)?.map(Bounded))
    }
}

impl fmt::Debug for SharedConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

thread_local! {
    /// How many more waits this thread grants. None: as many and as long as ureq says.
    static WAITS_LEFT: Cell<Option<u8>> = const { Cell::new(None) };
}

/// Runs `read`, in which no read from a connection of a [`SharedConnector`] waits longer than 250 ms, and all together for
/// two seconds at most: then it is ureq's [`Timeout`](Error::Timeout).
pub(super) fn at_most_a_moment<T>(read: impl FnOnce() -> T) -> T {
    /// A reader that panics must not leave the thread like that.
    struct Reset;

    impl Drop for Reset {
        fn drop(&mut self) {
            WAITS_LEFT.set(None);
        }
    }

    let _reset = Reset;
    WAITS_LEFT.set(Some(WAITS));
    read()
}

/// A connection of a [`SharedConnector`].
pub(crate) struct Bounded(Box<dyn Transport>);

impl Transport for Bounded {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, mut timeout: NextTimeout) -> Result<bool, Error> {
        if let Some(left) = WAITS_LEFT.get() {
            let left = left.checked_sub(1).ok_or(Error::Timeout(Timeout::RecvBody))?;
            WAITS_LEFT.set(Some(left));
            let longest = time::Duration::Exact(WAIT);
            if timeout.after > longest {
                timeout.after = longest;
            }
        }
        self.0.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

impl fmt::Debug for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
