//! One rotating refresh token for many hosts: a [`TokenStore`] in a key of Redis or Valkey.
//!
//! ```no_run
//! use std::sync::Arc;
//! use ureq_auth::{Session, SourceError, Token};
//! use ureq_auth_redis::{Pool, RedisStore};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Arc::new(Pool::open("redis://:password@redis.example.com/")?);
//! let source = |_: Option<&Token>| -> Result<Token, SourceError> { Ok(Token::new("of a grant")?) };
//! // A store for each login; all share the pool.
//! let session = Session::builder(source).store(RedisStore::new(&pool, "alice")).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises, and what that relies on
//!
//! The exclusive section is a *lease*: a key with an end (`SET NX PX`). It is asked and prolonged before each token request,
//! for as long as that may take, and a save is one step with the look whether the lease still stands (a Lua script). So:
//!
//! - **A holder that dies** keeps the others out until its lease ends: 5 s, or, once it has begun a token request, what was left
//!   of the session's budget (`Policy::with_budget`, 30 s unless set), the margin ([`RedisStore::margin`], 30 s unless set), and
//!   one call to the engine ([`Pool::timeout`], 5 s unless set).
//! - **An engine that goes away during a token request** costs nothing if it is back, with its data, before the lease ends. The
//!   lease is kept for the host whose save is missing: it tries for as long as one call may take, and again with its next
//!   call. The others wait for it.
//! - **A holder that is stopped** (swap, a paused virtual machine) for longer than its lease cannot send or save when it
//!   wakes: it is asked first. One window is left: it is stopped *between the engine's answer and its save*, with its token
//!   request under way, for longer than the whole lease. Then another host spends the same refresh token, which can end the
//!   login (RFC 9700 section 4.14.2). No lease can close that. `ureq-auth-postgres` closes it.
//! - **A command that is run late** changes nothing that came after it: an engine may have been frozen, or a connection given
//!   up. Each step of a section has a number, and its script compares them. An attempt to enter has a deadline by the engine's
//!   clock, which each one's answer tells for the next. A store's first has none: if its host is gone by the time that it is
//!   run, the others wait for 5 s.
//! - **A save lasts** as long as the engine keeps it. With `appendfsync always` it survives a power cut; with `everysec`, which
//!   is usual, the last second may be lost; without AOF, more. `WAIT` and `WAITAOF` are not asked for: use `appendfsync always`,
//!   and `min-replicas-to-write` where a replica is to have it.
//! - **After a failover** to a replica that had not got the lease, two hosts may hold it. Sentinel and Cluster replicate
//!   after they have answered: where that matters, use one engine without failover, or PostgreSQL.
//! - **Eviction** removes keys: keep the tokens where `maxmemory-policy` is `noeviction`.
//!
//! It is tried on Redis 7.0 and Valkey 8.1. Engines before Redis 5 will not do.
//!
//! If the engine is down, nothing is refreshed, and live tokens serve on. Every call has a time-out ([`Pool::timeout`]).
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod clock;
mod left;
mod pool;
mod section;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clock::EngineClock;
use left::Left;
pub use pool::{Connections, Pool};
use ureq_auth::{Error, Exclusive, Result, Stored, TokenStore};

/// How much longer than a token request may take its lease lasts, unless [`RedisStore::margin`] says otherwise: for the save
/// that follows it, and for an engine that is out of reach just then. A call's time-out comes on top.
pub const MARGIN: Duration = Duration::from_secs(30);

/// The longest of any time that is set.
const DAY: Duration = Duration::from_secs(86_400);

/// A token store in a key of Redis or Valkey, shared by all hosts that name the same key.
///
/// The token is at `ureq-auth:{NAME}`, its lease at `ureq-auth:{NAME}:lease`. The braces keep both on one node of a cluster.
/// Nothing has to be made before. Whoever can read the engine can read the token: give it a password, TLS where a network
/// is in between, and a user of its own whose rights end at `~ureq-auth:*`.
pub struct RedisStore {
    connections: Arc<dyn Connections>,
    name: String,
    token: String,
    lease: String,
    margin: Duration,
    left: Mutex<Left>,
    clock: Mutex<EngineClock>,
}

impl RedisStore {
    /// The store of this login. Nothing is sent yet.
    pub fn new<C: Connections + 'static>(connections: &Arc<C>, name: impl Into<String>) -> Self {
        let (name, connections) = (name.into(), Arc::clone(connections));
        let token = format!("ureq-auth:{{{name}}}");
        let lease = format!("{token}:lease");
        RedisStore { connections, lease, token, name, margin: MARGIN, left: Mutex::default(), clock: Mutex::default() }
    }

    /// How much longer than a token request may take its lease lasts. [`MARGIN`] unless set, and a day at most.
    ///
    /// An engine that goes away while a token request is under way, and is back within that time, costs nothing: the new token
    /// is saved first, and the others wait for it. A holder that dies during its token request keeps them out for as long.
    #[must_use]
    pub fn margin(mut self, margin: Duration) -> Self {
        self.margin = margin.min(DAY);
        self
    }

    fn failed(&self, error: &redis::RedisError) -> Error {
        // The engine's own words, or what TLS and the system say, which hold no value of ours; a command with its arguments
        // is not among them.
        let cause = std::error::Error::source(error).map(ToString::to_string);
        let what = error.detail().map(str::to_owned).or(cause).unwrap_or_else(|| error.category().to_owned());
        Error::store(format!("{} does not answer ({what}): no token request is made without it", self.place()))
    }

    fn call(&self, command: &redis::Cmd) -> Result<redis::Value> {
        self.connections.call(command).map_err(|error| self.failed(&error))
    }

    fn script(&self, text: &str, arguments: &[&[u8]]) -> Result<i64> {
        match self.eval(text, arguments).map_err(|error| self.failed(&error))? {
            redis::Value::Int(number) => Ok(number),
            _ => Err(self.is_foreign()),
        }
    }

    fn eval(&self, text: &str, arguments: &[&[u8]]) -> redis::RedisResult<redis::Value> {
        let mut command = redis::cmd("EVAL");
        command.arg(text).arg(2).arg(&self.lease).arg(&self.token);
        for argument in arguments {
            command.arg(*argument);
        }
        self.connections.call(&command)
    }

    fn two_numbers(&self, answer: redis::Value) -> Result<(i64, u64)> {
        let redis::Value::Array(both) = answer else { return Err(self.is_foreign()) };
        match both.as_slice() {
            &[redis::Value::Int(first), redis::Value::Int(second)] => {
                Ok((first, second.try_into().unwrap_or_default()))
            }
            _ => Err(self.is_foreign()),
        }
    }

    fn is_foreign(&self) -> Error {
        Error::store(format!("{} answers what no script of ours says", self.place()))
    }
}

impl TokenStore for RedisStore {
    fn load(&self) -> Result<Option<Stored>> {
        match self.call(redis::cmd("GET").arg(&self.token))? {
            redis::Value::Nil => Ok(None),
            redis::Value::BulkString(text) => {
                let text = section::Wiped(text);
                let text = std::str::from_utf8(&text.0).map_err(|_| Error::store("the stored token is no text"))?;
                Stored::from_text(text).map(Some)
            }
            _ => Err(Error::store(format!("{} is no text", self.place()))),
        }
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        Ok(Box::new(section::Section::enter(self, timeout)?))
    }

    fn place(&self) -> String {
        format!("the token of {} in Redis", self.name)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("name", &self.name).finish_non_exhaustive()
    }
}
