//! Connections to the engine, shared by all stores.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use postgres::Client;
use ureq_auth::{Error, Result};

/// Where a store's connections come from: a [`Pool`], or a closure around a pool of the program's own:
///
/// ```ignore
/// let connections = move |timeout: Duration, serve: &mut dyn FnMut(&mut Client)| {
///     let mut client = pool.get_timeout(timeout).map_err(|error| Error::store(error.to_string()))?;
///     serve(&mut client);
///     Ok(())
/// };
/// ```
///
/// A refresh has one for as long as it takes. A wait for another host's refresh has one now and then, for a second at most.
pub trait Connections: Send + Sync {
    /// Hands a connection that is in no transaction to `serve`, once, within `timeout`. When that returns, the connection is in
    /// no transaction, or closed.
    ///
    /// # Errors
    ///
    /// [`Error::store`], or [`Error::store_busy`] if all are in use; `serve` was not called then.
    fn with(&self, timeout: Duration, serve: &mut dyn FnMut(&mut Client)) -> Result<()>;

    /// The call of [`with`](Connections::with) that this thread is in has taken too long, and nobody waits for it: its connection
    /// hangs, and is no good when it comes back. A pool that counts connections counts it no longer.
    fn give_up(&self, thread: ThreadId) {
        let _not_counted = thread;
    }
}

impl<F: Fn(Duration, &mut dyn FnMut(&mut Client)) -> Result<()> + Send + Sync> Connections for F {
    fn with(&self, timeout: Duration, serve: &mut dyn FnMut(&mut Client)) -> Result<()> {
        self(timeout, serve)
    }
}

/// A few connections, opened when they are needed and again when they break. Clones are one pool, and 10,000 stores can share
/// it. One that hangs loses its place once its time is up, and is closed when it comes back: `Config::tcp_user_timeout` says
/// when that is at the latest.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

type Connect = dyn Fn() -> Result<Client, postgres::Error> + Send + Sync;

struct Inner {
    connect: Box<Connect>,
    at_most: usize,
    state: Mutex<State>,
    given_back: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Client>,
    /// To the threads that have one, without those that were given up.
    lent: Vec<ThreadId>,
}

impl Pool {
    /// At most 8 connections, each made by `connect`, with whatever address, password and TLS that has. Nothing is opened
    /// yet.
    pub fn new(connect: impl Fn() -> Result<Client, postgres::Error> + Send + Sync + 'static) -> Self {
        Self::of(8, connect)
    }

    /// The same with at most so many, one at least.
    pub fn of(
        connections: usize,
        connect: impl Fn() -> Result<Client, postgres::Error> + Send + Sync + 'static,
    ) -> Self {
        let (state, given_back) = (Mutex::default(), Condvar::new());
        Pool(Arc::new(Inner { connect: Box::new(connect), at_most: connections.max(1), state, given_back }))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right of this thread, if it still has it.
    fn take_back(&self, thread: ThreadId) {
        let mut state = self.state();
        let before = state.lent.len();
        state.lent.retain(|lent| *lent != thread);
        if state.lent.len() < before {
            self.given_back.notify_one();
        }
    }
}

impl Connections for Pool {
    fn with(&self, timeout: Duration, serve: &mut dyn FnMut(&mut Client)) -> Result<()> {
        let is_full = |state: &mut State| state.lent.len() >= self.0.at_most;
        let waited = self.0.given_back.wait_timeout_while(self.0.state(), timeout, is_full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if is_full(&mut state) {
            return Err(Error::store_busy(format!("all {} connections to PostgreSQL are in use", self.0.at_most)));
        }
        state.lent.push(thread::current().id());
        let idle = state.idle.pop();
        drop(state);
        let permit = Permit(&self.0);
        // One whose packets are lost on the way does not answer at all: there must be time left for another.
        let idle = idle.and_then(|mut client| match client.is_valid(timeout - timeout / 8) {
            Ok(()) => Some(client),
            Err(_) => {
                close(vec![client]);
                None
            }
        });
        let mut client = match idle {
            Some(client) => client,
            None => {
                // Closed while they were idle, by an engine that was started again.
                close(std::mem::take(&mut self.0.state().idle));
                (self.0.connect)().map_err(|error| {
                    let said = crate::said(&error);
                    Error::store(format!("PostgreSQL cannot be reached ({said}): no token request is made without it"))
                })?
            }
        };
        serve(&mut client);
        permit.give_back(client);
        Ok(())
    }

    fn give_up(&self, thread: ThreadId) {
        self.0.take_back(thread);
    }
}

/// A client waits for the end of its connection, which is long in coming where nobody answers. No caller waits for that.
fn close(clients: Vec<Client>) {
    if clients.is_empty() {
        return;
    }
    let closing = thread::Builder::new().name("ureq-auth-postgres-close".to_owned()).spawn(move || drop(clients));
    // Without a thread, they are closed by now.
    drop(closing);
}

/// The right to one connection.
struct Permit<'a>(&'a Inner);

impl Permit<'_> {
    /// A connection of somebody who was given up has no place any more: it is closed.
    fn give_back(&self, client: Client) {
        let mut state = self.0.state();
        let closed = if !client.is_closed() && state.lent.contains(&thread::current().id()) {
            state.idle.push(client);
            None
        } else {
            Some(client)
        };
        // No lock is held while it is closed.
        drop(state);
        drop(closed);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.take_back(thread::current().id());
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("at_most", &self.0.at_most).finish_non_exhaustive()
    }
}
