//! A connection on a thread of its own, so that every call has an end: the client itself waits for an answer for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, ThreadId};
use std::time::Duration;

use postgres::Client;
use ureq_auth::{Error, Result};

use crate::Connections;

type Job = Box<dyn FnOnce(&mut Client) + Send>;

/// For how long a connection that does not hang is waited for until it is back.
const GIVEN_BACK: Duration = Duration::from_secs(1);

/// Dropping it ends what is under way on the connection, and gives the connection back.
pub(crate) struct Link {
    /// None once it is dropped.
    jobs: Option<Sender<Job>>,
    /// Has an end when the thread has one.
    is_over: Receiver<()>,
    is_given_up: AtomicBool,
    connections: Arc<dyn Connections>,
    thread: ThreadId,
    in_transaction: Arc<AtomicBool>,
}

impl Link {
    /// A connection, within `timeout`. A thread that hangs beyond that ends with its connection, which no longer has a place in
    /// the pool.
    pub(crate) fn open(connections: Arc<dyn Connections>, timeout: Duration) -> Result<Self> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (ready, is_ready) = mpsc::sync_channel(2);
        let (lent, in_transaction) = (Arc::clone(&connections), Arc::new(AtomicBool::new(false)));
        let is_open = Arc::clone(&in_transaction);
        let (over, is_over) = mpsc::channel::<()>();
        let serve = move || {
            let _over = over;
            let served = lent.with(timeout, &mut |client| {
                // Should nobody have waited for so long, there is no job either.
                let _too_late = ready.send(Ok(()));
                while let Ok(job) = todo.recv() {
                    job(client);
                }
                // Of somebody who waits no more. Without a transaction, the engine would write a warning to its log.
                if is_open.load(SeqCst) {
                    let _may_be_closed = client.batch_execute("ROLLBACK");
                }
            });
            if let Err(error) = served {
                let _too_late = ready.send(Err(error));
            }
        };
        let spawned = thread::Builder::new().name("ureq-auth-postgres".to_owned()).spawn(serve);
        let spawned = spawned.map_err(|error| Error::store(format!("no thread for a connection: {error}")))?;
        let link = Link {
            jobs: Some(jobs),
            is_over,
            is_given_up: AtomicBool::new(false),
            connections,
            thread: spawned.thread().id(),
            in_transaction,
        };
        // The pool's own time-out comes first.
        match is_ready.recv_timeout(timeout + timeout / 8) {
            Ok(Ok(())) => Ok(link),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(link.give_up(timeout)),
        }
    }

    /// Does this on the connection, and waits for so long.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        timeout: Duration,
        job: impl FnOnce(&mut Client) -> T + Send + 'static,
    ) -> Result<T> {
        let (done, answer) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |client| drop(done.send(job(client))));
        let is_sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if !is_sent {
            return Err(self.give_up(timeout));
        }
        answer.recv_timeout(timeout).map_err(|_| self.give_up(timeout))
    }

    pub(crate) fn may_be_in_transaction(&self) -> bool {
        self.in_transaction.load(SeqCst)
    }

    /// Whether there may be a transaction on the connection from now on.
    pub(crate) fn is_in_transaction(&self, may_be: bool) {
        self.in_transaction.store(may_be, SeqCst);
    }

    fn give_up(&self, timeout: Duration) -> Error {
        self.is_given_up.store(true, SeqCst);
        self.connections.give_up(self.thread);
        Error::store(format!("PostgreSQL has not answered for {timeout:?}: no token request is made without it"))
    }
}

impl Drop for Link {
    /// The connection is back when this returns, for whoever needs one next: to open another takes several answers.
    fn drop(&mut self) {
        self.jobs = None;
        if !self.is_given_up.load(SeqCst) {
            let _is_over = self.is_over.recv_timeout(GIVEN_BACK);
        }
    }
}
