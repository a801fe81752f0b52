//! What a session tells of itself: events for an observer, counters for everybody, lines for the `log` facade.

use std::fmt;
use std::time::Duration;

use crate::clock::Seconds;
use crate::{Error, ErrorKind, SourceError, Token};

/// Something that happened, told to the observer on the thread it happened on, with no lock held.
///
/// An observer that panics unwinds into the call that it observes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// This thread refreshes now: it is about to ask the source.
    RefreshStarted {
        /// Why.
        reason: Reason,
    },
    /// The source failed, and it is tried again after the pause. Called during the refresh, with the store's lock held.
    AttemptFailed {
        /// What it said.
        error: &'a SourceError,
        /// How long the refresh pauses.
        pause: Duration,
    },
    /// The refresh has published a token.
    Refreshed {
        /// The new token.
        token: &'a Token,
        /// How long the refresh took.
        took: Duration,
    },
    /// The refresh has published the token that another session had stored: no token request.
    Adopted {
        /// The token.
        token: &'a Token,
    },
    /// A token is in force but could not be stored (or, after a logout, not be removed). A token is tried again by the next
    /// calls, with the pauses of [`Policy::with_backoff`](crate::Policy::with_backoff), and both are when the session is
    /// dropped; should the process die before, the token is lost.
    SaveFailed {
        /// What is in the way.
        error: &'a Error,
    },
    /// What could not be stored at its time is stored now.
    SavedLate,
    /// The refresh has failed; all who waited for it get this error.
    RefreshFailed {
        /// The error.
        error: &'a Error,
        /// How long the refresh took.
        took: Duration,
    },
    /// The refresh has failed in a way that only a new login ends: the server refused the refresh token, or it may be spent.
    /// Told right after the failure itself. The present token may live on, so this is the time to begin the login.
    LoginRequired {
        /// The error that callers get once the present token is of no more use.
        error: &'a Error,
    },
    /// The refresh's result was dropped: [`Session::set`](crate::Session::set) or [`end`](crate::Session::end) came first.
    Superseded,
    /// This thread is about to wait for another's refresh.
    WaitStarted,
    /// This thread's wait is over.
    WaitEnded {
        /// How long it waited.
        waited: Duration,
        /// Its own deadline passed first.
        timed_out: bool,
    },
    /// A refused token had been replaced already: no refresh.
    LateRefusal {
        /// The generation that was refused.
        generation: u64,
    },
    /// The loop breaker took a refusal for the API's own trouble: no refresh.
    RefusalIgnored {
        /// The generation that was refused.
        generation: u64,
    },
    /// A new token was refused, and the API may not know it yet
    /// ([`Policy::with_token_lag`](crate::Policy::with_token_lag)): no refresh.
    TokenLag {
        /// The generation that was refused.
        generation: u64,
        /// How long the call pauses before it sends the same token again. Zero: it sends the previous one at once.
        pause: Duration,
    },
    /// An address refuses every token, while others accept the present one: its caller gets the 401, and there is no refresh
    /// for it. After five minutes one more refresh is tried, or once nobody's token is accepted any more; a success there ends it
    /// at once.
    AddressRefuses {
        /// The generation that was refused.
        generation: u64,
    },
    /// A refused request is about to be sent again.
    Replayed {
        /// The generation it goes out with now.
        generation: u64,
    },
    /// A refused request could not be sent again, for its body was read: the caller gets the 401.
    NotReplayed,
    /// A refused request could not be sent again, since the `Client` of its agent was dropped: the caller gets the 401.
    ClientGone,
    /// A request goes out without the token: its address, or a redirect's, is not one of the client's origins.
    OtherOrigin {
        /// Scheme, host and port of the address.
        origin: &'a str,
    },
}

/// Why a refresh began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// There was no token yet.
    First,
    /// The token is near its end.
    Stale,
    /// The token has expired, or does not live as long as the caller needs it.
    Expired,
    /// The API refused the token.
    Refused,
    /// The program asked for a new one ([`Session::refresh`](crate::Session::refresh)).
    Requested,
}

/// A session's counters since it was built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Tokens that refreshes have published.
    pub refreshes: u64,
    /// Tokens that refreshes took from the store, where another session had put them: each a token request saved.
    pub adopted: u64,
    /// Times that a token in force could not be stored.
    pub save_failures: u64,
    /// Of the refreshes, those for a token that was refused.
    pub refreshes_after_refusal: u64,
    /// Of the refreshes, those that the program asked for ([`Session::refresh`](crate::Session::refresh)).
    pub refreshes_on_request: u64,
    /// Attempts that failed and were repeated within their refresh.
    pub repeated_attempts: u64,
    /// Flights that failed because the server refused the grant.
    pub rejected: u64,
    /// Flights that failed because the server refuses the client.
    pub misconfigured: u64,
    /// Flights that failed because no server could be reached, or it said "later".
    pub unavailable: u64,
    /// Flights whose answer was lost.
    pub unknown: u64,
    /// Flights that failed in another way.
    pub other_failures: u64,
    /// Flights whose result came too late to be used.
    pub superseded: u64,
    /// Calls that waited for another's refresh.
    pub joined_waits: u64,
    /// Of these, how many left at their own deadline.
    pub wait_timeouts: u64,
    /// The sum of all waits.
    pub time_waited: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// Refusals of tokens that had been replaced already: each a refresh saved.
    pub late_refusals: u64,
    /// Refusals that the loop breaker did not answer with a refresh.
    pub ignored_refusals: u64,
    /// Refusals of new tokens that were met by a pause or by the previous token.
    pub token_lags: u64,
    /// The sum of these pauses.
    pub time_lagged: Duration,
    /// Refusals by addresses that refuse every token: each a refresh saved.
    pub address_refusals: u64,
    /// Requests sent a second time, with another token. What [`token_lags`](Stats::token_lags) counts is not among them.
    pub replays: u64,
    /// Requests that could not be sent a second time.
    pub not_replayed: u64,
}

impl Stats {
    pub(crate) fn count(&mut self, event: &Event<'_>) {
        match event {
            Event::RefreshStarted { .. } | Event::LoginRequired { .. } => {}
            Event::AttemptFailed { .. } => self.repeated_attempts += 1,
            Event::Refreshed { .. } => self.refreshes += 1,
            Event::RefreshFailed { error, .. } => match error.kind() {
                ErrorKind::Rejected => self.rejected += 1,
                ErrorKind::Misconfigured => self.misconfigured += 1,
                ErrorKind::Unavailable => self.unavailable += 1,
                ErrorKind::Unknown => self.unknown += 1,
                _ => self.other_failures += 1,
            },
            Event::Adopted { .. } => self.adopted += 1,
            Event::SaveFailed { .. } => self.save_failures += 1,
            Event::SavedLate => {}
            Event::Superseded => self.superseded += 1,
            Event::WaitStarted => {}
            Event::WaitEnded { waited, timed_out } => {
                self.joined_waits += 1;
                self.wait_timeouts += u64::from(*timed_out);
                self.time_waited = self.time_waited.saturating_add(*waited);
                self.longest_wait = self.longest_wait.max(*waited);
            }
            Event::LateRefusal { .. } => self.late_refusals += 1,
            Event::RefusalIgnored { .. } => self.ignored_refusals += 1,
            Event::TokenLag { pause, .. } => {
                self.token_lags += 1;
                self.time_lagged = self.time_lagged.saturating_add(*pause);
            }
            Event::AddressRefuses { .. } => self.address_refusals += 1,
            Event::Replayed { .. } => self.replays += 1,
            Event::NotReplayed | Event::ClientGone => self.not_replayed += 1,
            Event::OtherOrigin { .. } => {}
        }
    }
}

/// One line a line of log: what an operator wants to read, and nothing secret.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::RefreshStarted { reason } => write!(f, "refreshing the token ({reason:?})"),
            Event::AttemptFailed { error, pause } => write!(f, "{error}; next attempt in {}", Seconds(*pause)),
            Event::Refreshed { token, took } => {
                write!(f, "token {} obtained in {}, lifetime ", token.generation(), Seconds(*took))?;
                match token.lifetime() {
                    Some(lifetime) => fmt::Display::fmt(&Seconds(lifetime), f),
                    None => f.write_str("unknown"),
                }
            }
            Event::Adopted { token } => write!(f, "token {} comes from the store", token.generation()),
            Event::SaveFailed { error } => write!(f, "the store does not hold what is in force: {error}"),
            Event::SavedLate => f.write_str("the unsaved token is stored now"),
            Event::RefreshFailed { error, took } => write!(f, "the refresh failed after {}: {error}", Seconds(*took)),
            Event::LoginRequired { error } => write!(f, "a new login is needed: {error}"),
            Event::Superseded => f.write_str("the refreshed token is dropped: credentials were set meanwhile"),
            Event::WaitStarted => f.write_str("waiting for the refresh under way"),
            Event::WaitEnded { waited, timed_out: false } => write!(f, "waited {} for the refresh", Seconds(*waited)),
            Event::WaitEnded { waited, timed_out: true } => {
                write!(f, "gave up the wait for a refresh after {}", Seconds(*waited))
            }
            Event::LateRefusal { generation } => {
                write!(f, "token {generation} was refused, but has been replaced already")
            }
            Event::RefusalIgnored { generation } => {
                write!(f, "token {generation} was refused, but the API refuses too often: no refresh")
            }
            Event::TokenLag { generation, pause } => {
                write!(f, "token {generation} was refused, but it is new: ")?;
                match pause.is_zero() {
                    true => f.write_str("the previous one is sent"),
                    false => write!(f, "it is sent again in {}", Seconds(*pause)),
                }
            }
            Event::AddressRefuses { generation } => {
                write!(f, "token {generation} was refused by an address that refuses every token: no refresh")
            }
            Event::Replayed { generation } => write!(f, "sending the refused request again with token {generation}"),
            Event::NotReplayed => f.write_str("the refused request cannot be sent again: its body has been read"),
            Event::ClientGone => f.write_str("the refused request cannot be sent again: its Client was dropped"),
            Event::OtherOrigin { origin } => {
                write!(f, "no token for {origin}: it is not an origin of this client (ClientBuilder::origin)")
            }
        }
    }
}

impl Event<'_> {
    /// Failures deserve a warning; the rest is for those who look closely.
    pub(crate) fn level(&self) -> log::Level {
        match self {
            Event::RefreshFailed { .. }
            | Event::LoginRequired { .. }
            | Event::SaveFailed { .. }
            | Event::RefusalIgnored { .. }
            | Event::AddressRefuses { .. }
            | Event::WaitEnded { timed_out: true, .. } => log::Level::Warn,
            _ => log::Level::Debug,
        }
    }
}
