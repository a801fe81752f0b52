//! One rotating refresh token for many hosts: a [`TokenStore`] in a row of PostgreSQL.
//!
//! ```no_run
//! use std::time::Duration;
//! use postgres::{Config, NoTls};
//! use ureq_auth::{Session, SourceError, Token};
//! use ureq_auth_postgres::{Pool, PostgresStore};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config: Config = "host=db.example.com user=app password=secret dbname=app".parse()?;
//! config.connect_timeout(Duration::from_secs(5));
//! // For TLS, hand a connector of postgres-native-tls, say, to `connect`.
//! let pool = Pool::new(move || config.connect(NoTls));
//! let source = |_: Option<&Token>| -> Result<Token, SourceError> { Ok(Token::new("of a grant")?) };
//! // A store for each login; all share the pool.
//! let session = Session::builder(source).store(PostgresStore::new(&pool, "alice")).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises, and what that relies on
//!
//! The exclusive section is a row lock in a transaction (`SELECT … FOR UPDATE`), which the engine takes back when the
//! connection ends. It is no advisory lock of a session's, which a pool would hand to a stranger. Before each token request a
//! *claim* is committed to the row, with a time: it keeps the others out where the lock is lost before the save. So:
//!
//! - **A holder that dies** before its token request frees the row at once: its connection is closed. During its token request
//!   the claim stays, until what was left of the session's budget (`Policy::with_budget`, 30 s unless set), the margin
//!   ([`PostgresStore::margin`], 30 s unless set) and one call's time-out (10 s unless set) are over. If its *host* dies, the engine learns of it by TCP keep-alive, which
//!   the transaction sets to half a minute.
//! - **A holder that is stopped** (swap, a paused virtual machine) keeps the row, however long that takes. The others wait for
//!   as long as they would for any refresh, and no refresh token is spent twice. `idle_in_transaction_session_timeout` is
//!   switched off for the transaction.
//! - **An engine, or a connection, that goes away during a token request** costs nothing if the engine is back before the claim
//!   runs out, and the host with the new token saves it in that time: it tries for as long as one call may take, and again
//!   with its next call. The others wait for it.
//! - **One window is left**: the connection ends during a token request, *and* the holder is stopped, or cannot reach the
//!   engine, for longer than the whole claim. Then another host spends the same refresh token, which can end the login (RFC
//!   9700 section 4.14.2).
//! - **A save is a commit.** It lasts as `fsync` and `synchronous_commit` say; a `synchronous_commit` of `off` is taken for
//!   `on` here. After a failover to an asynchronous replica the last save may be missing: name that replica in
//!   `synchronous_standby_names`.
//! - **A commit ends the lock.** What is done in the section after that locks the row again, and is refused if somebody else
//!   has saved in the meantime: each save counts up `version`.
//!
//! A pooler in front of the engine (PgBouncer) may be in session or transaction mode. If the engine is down, nothing is
//! refreshed, and live tokens serve on. Every call has a time-out ([`PostgresStore::timeout`]). Whoever can read the table can
//! read the tokens; `log_parameter_max_length = 0` keeps them out of the engine's log.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod left;
mod link;
mod pool;
mod row;
mod section;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use left::Left;
use link::Link;
pub use pool::{Connections, Pool};
use postgres::error::SqlState;
use postgres::types::Type;
use ureq_auth::{Error, Exclusive, Result, Stored, TokenStore};

/// How much longer than a token request may take its claim lasts, unless [`PostgresStore::margin`] says otherwise: for the save
/// that follows it, and for an engine that is out of reach just then. A call's time-out comes on top.
pub const MARGIN: Duration = Duration::from_secs(30);

/// The longest of any time that is set.
const DAY: Duration = Duration::from_secs(86_400);

/// A token store in a row of PostgreSQL, shared by all hosts that name the same row.
///
/// The table is made if it is not there ([`schema`](PostgresStore::schema) says how), and so is the row. The role needs
/// `SELECT`, `INSERT` and `UPDATE` on it.
pub struct PostgresStore {
    connections: Arc<dyn Connections>,
    name: String,
    table: String,
    timeout: Duration,
    margin: Duration,
    /// Claims that may still be in the row, and whose sections are over.
    left: Left,
}

impl PostgresStore {
    /// The store of this login, in the table `ureq_auth_tokens`. Nothing is sent yet.
    pub fn new<C: Connections + Clone + 'static>(connections: &C, name: impl Into<String>) -> Self {
        let table = quoted("ureq_auth_tokens");
        PostgresStore {
            connections: Arc::new(connections.clone()),
            name: name.into(),
            table,
            timeout: Duration::from_secs(10),
            margin: MARGIN,
            left: Left::default(),
        }
    }

    /// Another table: `name` or `schema.name`.
    #[must_use]
    pub fn table(mut self, table: &str) -> Self {
        self.table = quoted(table);
        self
    }

    /// How long a call may take, beside the wait for the row; connecting takes several answers of the engine's. 10 s unless
    /// set, and a day at most.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(1), DAY);
        self
    }

    /// How much longer than a token request may take its claim lasts. [`MARGIN`] unless set, and a day at most.
    ///
    /// An engine that goes away while a token request is under way, and is back within that time, costs nothing: the new token
    /// is saved first, and the others wait for it. A holder that dies during its token request keeps them out for as long.
    #[must_use]
    pub fn margin(mut self, margin: Duration) -> Self {
        self.margin = margin.min(DAY);
        self
    }

    /// The SQL that makes the table, for who would rather run it beforehand.
    pub fn schema(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (name text PRIMARY KEY, token text, version bigint NOT NULL DEFAULT 0, \
             claim bigint, claimed_until timestamptz)",
            self.table
        )
    }

    fn link(&self) -> Result<Link> {
        Link::open(Arc::clone(&self.connections), self.timeout)
    }

    fn failed(&self, error: &postgres::Error) -> Error {
        let place = self.place();
        if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
            return Error::store_busy(format!("another host keeps {place}: it refreshes the token, or hangs in that"));
        }
        Error::store(format!("{place} does not answer ({}): no token request is made without it", said(error)))
    }
}

impl TokenStore for PostgresStore {
    fn load(&self) -> Result<Option<Stored>> {
        let (query, name) = (format!("SELECT token FROM {} WHERE name = $1", self.table), self.name.clone());
        let found =
            self.link()?.call(self.timeout, move |client| client.query_typed(&query, &[(&name, Type::TEXT)]))?;
        match found {
            Ok(rows) => rows.first().map_or(Ok(None), row::read),
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        Ok(Box::new(section::Section::enter(self, timeout)?))
    }

    fn place(&self) -> String {
        format!("the token of {} in PostgreSQL", self.name)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("table", &self.table).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the engine says, the message alone: a detail may quote the row. Or what TLS and the system say, down to the cause.
fn said(error: &postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return said.message().to_owned();
    }
    let (mut text, mut cause) = (error.to_string(), std::error::Error::source(error));
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// `schema.name`, each quoted: whatever they hold, they are names.
fn quoted(table: &str) -> String {
    let parts: Vec<String> = table.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    parts.join(".")
}
