//! Connections to the engine, shared by all stores.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{
    Client, Cmd, Connection, ConnectionLike as _, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, Value,
};

/// Where a store's commands go: a [`Pool`], or a pool of the program's own.
pub trait Connections: Send + Sync {
    /// Sends one command and gives back the engine's answer, within [`timeout`](Connections::timeout). Each command does no
    /// harm when it is sent twice.
    ///
    /// # Errors
    ///
    /// What the client or the engine says. An I/O error, unless the command has surely not been run.
    fn call(&self, command: &Cmd) -> RedisResult<Value>;

    /// The longest that a call takes.
    fn timeout(&self) -> Duration {
        Duration::from_secs(5)
    }
}

/// A few connections, opened when they are needed and again when they break. 10,000 stores can share one: a command takes a
/// connection for as long as its answer takes, and a wait for a lease takes none.
pub struct Pool {
    client: Client,
    timeout: Duration,
    at_most: usize,
    state: Mutex<State>,
    given_back: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    lent: usize,
}

impl Pool {
    /// Connections to this address: `redis://`, `rediss://` for TLS (feature `rustls`), `unix://`. User and
    /// password are part of it. At most 8, and 5 s for each call. Nothing is opened yet.
    ///
    /// # Errors
    ///
    /// If it is no such address.
    pub fn open(address: impl IntoConnectionInfo) -> RedisResult<Self> {
        Ok(Self::with_client(Client::open(address)?))
    }

    /// The same with a client that the program has made: `Client::build_with_tls` for certificates of its own, say.
    pub fn with_client(client: Client) -> Self {
        let (state, given_back) = (Mutex::default(), Condvar::new());
        Pool { client, timeout: Duration::from_secs(5), at_most: 8, state, given_back }
    }

    /// How long one call may take, connecting included. 5 s unless set, and a day at most.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(1), crate::DAY);
        self
    }

    /// How many connections there may be, one at least. 8 unless set.
    #[must_use]
    pub fn at_most(mut self, connections: usize) -> Self {
        self.at_most = connections.max(1);
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) -> RedisResult<Lent<'_>> {
        let is_full = |state: &mut State| state.lent >= self.at_most;
        let waited = self.given_back.wait_timeout_while(self.state(), self.timeout, is_full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if is_full(&mut state) {
            return Err(late("no connection is free"));
        }
        state.lent += 1;
        Ok(Lent(self))
    }

    fn on(&self, mut connection: Connection, command: &Cmd, left: Duration) -> RedisResult<Value> {
        connection.set_read_timeout(Some(left))?;
        connection.set_write_timeout(Some(left))?;
        let answer = connection.req_command(command);
        // What the engine says is an answer. Whatever else it is, a later answer might be taken for the next one's.
        let is_whole = answer.as_ref().map_or_else(|error| error.code().is_some() && !error.is_io_error(), |_| true);
        if is_whole && connection.is_open() {
            self.state().idle.push(connection);
        }
        answer
    }
}

impl Connections for Pool {
    fn call(&self, command: &Cmd) -> RedisResult<Value> {
        let begin = Instant::now();
        let left = || match self.timeout.saturating_sub(begin.elapsed()) {
            Duration::ZERO => Err(late("it took too long")),
            left => Ok(left),
        };
        let _lent = self.enter()?;
        let idle = self.state().idle.pop();
        let mut broken = None;
        if let Some(idle) = idle {
            // It may have died without a word, and never answers: a third of the time is another one's. Not more, or an engine
            // that needs seconds for each answer is given up in the middle of one.
            match self.on(idle, command, left()? * 2 / 3) {
                // Closed by an engine that was started again, or forgotten by the network: so are the others.
                Err(error) if error.is_io_error() => {
                    self.state().idle.clear();
                    broken = Some(error);
                }
                answer => return answer,
            }
        }
        let again = || self.on(self.client.get_connection_with_timeout(left()?)?, command, left()?);
        // The first may have arrived: what the engine says to the second, or that nobody listens, would deny it.
        again().map_err(|error| broken.unwrap_or(error))
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// The right to use a connection.
struct Lent<'a>(&'a Pool);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.state().lent -= 1;
        self.0.given_back.notify_one();
    }
}

fn late(why: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Io, "time-out", why.to_owned()))
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's address has the password in it.
        f.debug_struct("Pool").field("timeout", &self.timeout).field("at_most", &self.at_most).finish_non_exhaustive()
    }
}
