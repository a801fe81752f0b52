//! A bearer token with what belongs to it: its refresh token, its life, its place in the order of tokens.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::Tick;
use crate::jwt::{self, Times};
use crate::{Error, Result};

/// The scheme that the header value begins with (RFC 6750 §2.1).
const SCHEME: &str = "Bearer ";

/// No token is planned for longer than this, whatever the server says: a typing mistake must not make one eternal.
pub(crate) const MAX_LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// An access token, ready to be sent, and what came with it.
///
/// There is no `Display`, its `Debug` shows no secret, and its memory is wiped when the last user lets go of it. (What ureq and
/// a TLS library copy into buffers of theirs is not this crate's to wipe.)
pub struct Token {
    /// The value of the `Authorization` header, scheme and all; the token itself is the part after [`SCHEME`].
    authorization: Secret,
    #[cfg(feature = "ureq")]
    header: ureq::http::HeaderValue,
    refresh: Option<Secret>,
    scope: Option<String>,
    expires_in: Option<Duration>,
    server_time: Option<Duration>,
    /// When it came, by the wall clock, if it comes from a store: `expires_in` is counted from there.
    received_at: Option<Duration>,
    times: Times,
    pub(crate) life: Life,
    pub(crate) origin: Publication,
    /// Has the API taken this token at least once? Then its later refusal is a revocation, not the API's own trouble.
    accepted: AtomicBool,
}

/// When a token's windows begin, on the session's clock. `None` means not known: never refreshed for its age.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Life {
    /// From here on one caller refreshes while the others go on with this token.
    pub(crate) stale_at: Option<Tick>,
    /// From here on callers wait for the next one.
    pub(crate) expired_at: Option<Tick>,
    /// The end by the server's own word, without any leeway.
    pub(crate) ends_at: Option<Tick>,
    /// From the token request to the end.
    pub(crate) lifetime: Option<Duration>,
    /// What was left of it when it arrived, which from a slow server is less: a caller cannot have more.
    pub(crate) at_best: Duration,
    /// When it came, unless that is not known: a token that was kept somewhere may be old.
    pub(crate) arrived: Option<Tick>,
}

/// Which session published a token, and as its how-manieth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Publication {
    pub(crate) session: usize,
    pub(crate) generation: u64,
}

impl Token {
    /// A token as an authorization server issues it.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if it is empty, longer than 64 KiB, or holds anything but visible
    /// ASCII characters: so no line break, and no header, can be smuggled in. That is all that servers issue (RFC 6749
    /// appendix A.12, without the blank), and more than RFC 6750 §2.1 would have them issue.
    pub fn new(access_token: impl Into<String>) -> Result<Self> {
        let access_token = Zeroizing::new(access_token.into());
        check_access(&access_token)?;
        Self::of(access_token)
    }

    /// A refresh token whose access token is not known: what is kept of an otherwise unusable answer. It is never
    /// given out and never fresh.
    pub(crate) fn of_refresh(refresh_token: Secret) -> Result<Self> {
        let mut token = Self::of(Zeroizing::default())?;
        token.refresh = Some(refresh_token);
        Ok(token)
    }

    fn of(access_token: Zeroizing<String>) -> Result<Self> {
        // A hint about time, nothing more; a token that is no JWT simply gives none.
        let times = Times::of(&access_token).unwrap_or_default();
        // Enough from the start: a text that grows leaves a copy of itself behind.
        let mut authorization = String::with_capacity(SCHEME.len() + access_token.len());
        authorization.push_str(SCHEME);
        authorization.push_str(&access_token);
        let authorization = Secret::new(authorization);
        Ok(Token {
            #[cfg(feature = "ureq")]
            header: authorization.to_header()?,
            authorization,
            refresh: None,
            scope: None,
            expires_in: None,
            server_time: None,
            received_at: None,
            times,
            life: Life::default(),
            origin: Publication::default(),
            accepted: AtomicBool::new(false),
        })
    }

    /// Adds the refresh token (RFC 6749 §1.5). An empty one counts as missing.
    #[must_use]
    pub fn with_refresh_token(mut self, refresh_token: impl Into<String>) -> Self {
        let refresh_token = refresh_token.into();
        self.refresh = (!refresh_token.is_empty()).then(|| Secret::new(refresh_token));
        self
    }

    /// Adds the life as the server gave it (`expires_in`, RFC 6749 §5.1), counted from the moment of the request. Zero
    /// says nothing and is taken as not given; more than a year is taken as a year.
    #[must_use]
    pub fn with_expires_in(mut self, lifetime: Duration) -> Self {
        self.expires_in = (!lifetime.is_zero()).then(|| lifetime.min(MAX_LIFETIME));
        self
    }

    /// Adds the scope that was granted (RFC 6749 §3.3).
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Adds the server's time when it issued the token, since 1970-01-01 00:00 UTC: its `Date` header (RFC 9110 §6.6.1),
    /// if it came over TLS or loopback. It makes a JWT's `exp` readable on a device whose own clock is wrong.
    #[must_use]
    pub fn with_server_time(mut self, server_time: Duration) -> Self {
        self.server_time = Some(server_time);
        self
    }

    /// The access token itself, for what is not HTTP: a password for MQTT, metadata for gRPC. Do not log it.
    pub fn secret(&self) -> &str {
        self.authorization.secret().get(SCHEME.len()..).unwrap_or_default()
    }

    /// The refresh token, for those who write a [`TokenSource`](crate::TokenSource). Do not log it.
    pub fn refresh_secret(&self) -> Option<&str> {
        self.refresh.as_ref().map(Secret::secret)
    }

    /// The granted scope, if the server named it. From a token answer it has only the words that RFC 6749 §3.3 allows: what
    /// is shown of it cannot steer a terminal.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// The `exp`, `iat` and `nbf` inside, if the token is a JWT. Unverified.
    pub fn times(&self) -> Times {
        self.times
    }

    /// The number of this token in its session: 1 for the first one published, 0 while it is not published.
    pub fn generation(&self) -> u64 {
        self.origin.generation
    }

    /// The whole life that the session reckons with, once it has published the token; `None` if nothing tells.
    pub fn lifetime(&self) -> Option<Duration> {
        self.life.lifetime
    }

    /// The value of the `Authorization` header: made once, marked sensitive, free to clone.
    #[cfg(feature = "ureq")]
    pub fn header(&self) -> &ureq::http::HeaderValue {
        &self.header
    }

    /// The life as the server gave it, if it did ([`with_expires_in`](Token::with_expires_in)).
    pub fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    /// What is left of its life at `now`, a moment of its session's [`Clock`](crate::Clock) (`SystemClock.now()` unless
    /// set); zero if it has ended, `None` if nothing tells, or while it is not published.
    pub fn time_left(&self, now: Tick) -> Option<Duration> {
        Some(self.life.ends_at?.since(now))
    }

    /// How old it is at `now`, a moment of its session's [`Clock`](crate::Clock): of its lifetime what has passed, or the time
    /// since the session got it. `None` while it is not published.
    pub fn age(&self, now: Tick) -> Option<Duration> {
        let passed = self.life.lifetime.zip(self.time_left(now)).map(|(whole, left)| whole.saturating_sub(left));
        // A token that has ended still grows older.
        passed.max(self.life.arrived.map(|arrived| now.since(arrived)))
    }

    /// The life by what came with the token alone: no clock of this device had a hand in it.
    pub(crate) fn told_lifetime(&self) -> Option<Duration> {
        let by_claims = || self.claimed_lifetime().or_else(|| self.lifetime_from(self.server_time?));
        self.expires_in.or_else(by_claims)
    }

    /// The life of a JWT by its own word.
    pub(crate) fn claimed_lifetime(&self) -> Option<Duration> {
        Some(self.times.lifetime()?.min(MAX_LIFETIME))
    }

    /// The life of a JWT that was issued at `time`; `None` if that was its end already.
    pub(crate) fn lifetime_from(&self, time: Duration) -> Option<Duration> {
        Some(self.times.exp?.checked_sub(time)?.min(MAX_LIFETIME)).filter(|rest| !rest.is_zero())
    }

    /// The server's time when it issued the token, since 1970-01-01 00:00 UTC, if it is known
    /// ([`with_server_time`](Token::with_server_time)).
    pub fn server_time(&self) -> Option<Duration> {
        self.server_time
    }

    pub(crate) fn with_received_at(mut self, received_at: Option<Duration>) -> Self {
        self.received_at = received_at;
        self
    }

    pub(crate) fn received_at(&self) -> Option<Duration> {
        self.received_at
    }

    /// Is there an access token? Otherwise it only says how to get one.
    pub(crate) fn has_access(&self) -> bool {
        self.authorization.secret().len() > SCHEME.len()
    }

    /// The same token, to be renewed with another refresh token from now on.
    pub(crate) fn renewed_with(&self, refresh_token: Secret) -> Self {
        Token {
            authorization: self.authorization.clone(),
            #[cfg(feature = "ureq")]
            header: self.header.clone(),
            refresh: Some(refresh_token),
            scope: self.scope.clone(),
            accepted: AtomicBool::new(self.was_accepted()),
            ..*self
        }
    }

    /// Is it renewed with the same refresh token as `other`?
    pub(crate) fn has_refresh_of(&self, other: &Token) -> bool {
        self.refresh.is_some() && self.refresh_secret() == other.refresh_secret()
    }

    /// Is it renewed with the same credential as `other`?
    pub(crate) fn is_renewed_like(&self, other: &Token) -> bool {
        self.refresh_secret().unwrap_or(self.secret()) == other.refresh_secret().unwrap_or(other.secret())
    }

    /// An answer without a refresh token leaves the old one in force (RFC 6749 §6).
    pub(crate) fn keep_refresh_of(&mut self, previous: &Token) {
        if self.refresh.is_none() {
            self.refresh.clone_from(&previous.refresh);
        }
    }

    pub(crate) fn mark_accepted(&self) {
        // Looked at first: a store by every thread on every call would have the cache line travel between the cores.
        if !self.accepted.load(Ordering::Relaxed) {
            self.accepted.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn was_accepted(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("generation", &self.origin.generation)
            .field("refresh", &self.refresh)
            .field("scope", &self.scope)
            .field("lifetime", &self.life.lifetime)
            .finish_non_exhaustive()
    }
}

/// What a header can carry in one piece: `VSCHAR` of RFC 6749 appendix A without the blank. Servers issue more than the
/// `b64token` of RFC 6750 §2.1, which is what they should issue.
fn check_access(token: &str) -> Result<()> {
    if token.is_empty() {
        return Err(Error::invalid("the access token is empty"));
    }
    if token.len() > jwt::MAX_LENGTH {
        let (length, limit) = (token.len(), jwt::MAX_LENGTH);
        return Err(Error::invalid(format!("the access token is {length} bytes long; a header takes {limit} at most")));
    }
    match token.bytes().position(|byte| !byte.is_ascii_graphic()) {
        None => Ok(()),
        // The place, never the text.
        Some(stray) => Err(Error::invalid(format!(
            "the access token holds something at byte {stray} that no header can carry in one piece (RFC 6749 appendix \
             A.12): pass the bare token, without scheme, blanks or line breaks",
        ))),
    }
}

/// Text that is wiped when its last owner lets go, and never shown.
#[derive(Clone)]
pub(crate) struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Secret(Arc::new(Zeroizing::new(text)))
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }

    /// The same memory as a header value: nothing is copied, and it is wiped when the last request has let go.
    #[cfg(feature = "ureq")]
    pub(crate) fn to_header(&self) -> Result<ureq::http::HeaderValue> {
        struct Owner(Secret);

        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                self.0.secret().as_bytes()
            }
        }

        let bytes = bytes::Bytes::from_owner(Owner(self.clone()));
        let mut header = ureq::http::HeaderValue::from_maybe_shared(bytes)
            .map_err(|_| Error::invalid("the secret does not fit into a header"))?;
        // Debug of requests and of header maps says "Sensitive" from now on.
        header.set_sensitive(true);
        Ok(header)
    }
}

impl From<Zeroizing<String>> for Secret {
    fn from(text: Zeroizing<String>) -> Self {
        Secret(Arc::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests;
