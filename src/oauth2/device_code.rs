//! The device authorization grant (RFC 8628): a login for machines without a browser.

use std::fmt;
use std::time::Duration;

use super::RefreshToken;
use super::answer::Answer;
use super::endpoint::{Call, Endpoint};
use crate::clock::{Clock, SystemClock, Tick};
use crate::token::Secret;
use crate::{Error, ErrorKind, Result, Token};

pub(crate) mod poll;
mod prompt;

use poll::{Meaning, Refusal};
pub(crate) use prompt::Authorization;
pub use prompt::DevicePrompt;
use prompt::FIVE_SECONDS;

/// The grant's name at the token endpoint (RFC 8628 §3.4).
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The longest pause that trouble leads to: a user who has just confirmed does not want to wait for ever.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The caller is asked at least this often whether to go on.
const STEP: Duration = Duration::from_secs(1);

/// Logs in a machine without a browser (RFC 8628): it shows a code and an address, the user enters the code there with a
/// phone, and the machine gets a token.
///
/// The token goes into a session by [`Session::set`](crate::Session::set); [`source`](DeviceCode::source) is the token
/// source that goes on from there.
///
/// ```no_run
/// use ureq_auth::{Session, oauth2::DeviceCode};
///
/// let device = DeviceCode::new("https://id.example.com/device", "https://id.example.com/token", "my-device")
///     .scope("offline_access");
/// let session = Session::new(device.source())?;
/// session.set(device.log_in(|prompt| println!("{prompt}"))?)?;
/// # Ok::<(), ureq_auth::Error>(())
/// ```
pub struct DeviceCode {
    pub(crate) endpoint: Endpoint,
    device_authorization_url: String,
    clock: Box<dyn Clock>,
}

impl DeviceCode {
    /// A login of a public client. Nothing is sent yet; an unusable value is an error of
    /// [`log_in`](DeviceCode::log_in).
    #[must_use]
    pub fn new(
        device_authorization_url: impl Into<String>,
        token_url: impl Into<String>,
        client_id: impl Into<String>,
    ) -> Self {
        let endpoint = Endpoint::new(token_url.into(), client_id.into(), None);
        Self::on(endpoint, device_authorization_url.into())
    }

    pub(crate) fn on(endpoint: Endpoint, device_authorization_url: String) -> Self {
        DeviceCode { endpoint, device_authorization_url, clock: Box::new(SystemClock) }
    }

    /// Another clock than the system's: with a [`ManualClock`](crate::ManualClock) the pauses take no time.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// The token source for a session that begins with this login: the same server and client, asked with the refresh
    /// token that the login brings. It asks for no scope, so that it gets what the user has granted (RFC 6749 §6).
    #[must_use]
    pub fn source(&self) -> RefreshToken {
        let mut endpoint = self.endpoint.clone();
        endpoint.scope = None;
        RefreshToken::on(endpoint, None)
    }

    /// Gets a code, has `show` show it to the user, and polls the server until the user has confirmed it elsewhere, or until
    /// the code has expired ([`DevicePrompt::expires_in`]). Blocks for minutes: [`log_in_while`](DeviceCode::log_in_while)
    /// can be stopped.
    ///
    /// The server sets the pace: `interval`, `slow_down`, `Retry-After`. Only an error code of the server ends the login
    /// early. A firewall's page, a redirect, an error without a code, an unknown code, a lost answer or a refused connection
    /// does not: the pauses double, up to a minute (RFC 8628 §3.5), until the server answers again or the code has expired.
    ///
    /// # Errors
    ///
    /// [`Rejected`](ErrorKind::Rejected) if the user said no ([`code`](Error::code) `access_denied`, at some servers
    /// `authorization_declined`) or the code expired (`expired_token`, `invalid_grant` or a server's own word for it;
    /// `expired_token` also if this crate's clock says so, and the text then has the last answer): start a new login.
    /// [`Misconfigured`](ErrorKind::Misconfigured) if the server refuses the client (`invalid_client` and its like),
    /// issues a token that cannot be used, or answers the first request with something else than a code.
    /// [`Unavailable`](ErrorKind::Unavailable) if there is no code for now: call again, after
    /// [`Error::retry_after`] where it is given. [`InvalidInput`](ErrorKind::InvalidInput) for a wrong setting.
    pub fn log_in(&self, show: impl FnOnce(&DevicePrompt)) -> Result<Token> {
        self.log_in_while(show, || true)
    }

    /// The same, and asks `go_on` before each poll and about once a second whether to go on.
    ///
    /// # Errors
    ///
    /// As [`log_in`](DeviceCode::log_in), and [`NotLoggedIn`](ErrorKind::NotLoggedIn) once `go_on` has said no.
    pub fn log_in_while(&self, show: impl FnOnce(&DevicePrompt), mut go_on: impl FnMut() -> bool) -> Result<Token> {
        self.endpoint.check()?;
        self.endpoint.check_at("device authorization", &self.device_authorization_url)?;
        let authorization = self.authorize().map_err(Refusal::into_no_code)?;
        let end = self.clock.now().after(authorization.prompt.expires_in());
        show(&authorization.prompt);
        self.wait(&authorization, end, &mut go_on)
    }

    /// Asks for a code (RFC 8628 §3.1). Nothing is lost if its answer is.
    fn authorize(&self) -> Result<Authorization, Refusal> {
        let call = Call {
            what: "device authorization",
            url: &self.device_authorization_url,
            fields: &[],
            scope: self.endpoint.scope.as_deref(),
            secret: "",
            time_left: Duration::MAX,
        };
        self.ask(&call, |answer| Authorization::read(answer).map_err(|error| Refusal::of(answer, error)))
    }

    fn wait(&self, authorization: &Authorization, end: Tick, go_on: &mut dyn FnMut() -> bool) -> Result<Token> {
        let mut interval = authorization.interval;
        let mut pause = interval;
        loop {
            // The last poll comes right at the end, even if the server wants a longer pause: no poll comes after it.
            self.pause(pause.min(end.since(self.clock.now())), go_on)?;
            let refusal = match self.poll(&authorization.device_code) {
                Ok(token) => return Ok(token),
                Err(refusal) => refusal,
            };
            match refusal.meaning {
                Some((Meaning::Pending, _)) => pause = interval,
                Some((Meaning::SlowDown, _)) => {
                    interval = interval.saturating_add(FIVE_SECONDS);
                    pause = interval;
                }
                // A lost answer is as good as none: most polls are answered with "pending", and the next one will tell.
                Some((Meaning::Passing, _)) | None => pause = pause.saturating_mul(2).min(MAX_PAUSE.max(interval)),
                Some(code) => return Err(refusal.into_end(code)),
            }
            pause = pause.max(refusal.retry_after.unwrap_or_default());
            let rest = end.since(self.clock.now());
            if rest.is_zero() {
                return Err(refusal.into_end((Meaning::Expired, "expired_token")));
            }
            let level = if refusal.meaning.is_some() { log::Level::Debug } else { log::Level::Warn };
            log::log!(level, "no token for the device yet: {}; next poll in {:?}", refusal.error, pause.min(rest));
        }
    }

    /// Asks for the token (RFC 8628 §3.4): without the scope, which went with the first request.
    fn poll(&self, device_code: &Secret) -> Result<Token, Refusal> {
        let code = device_code.secret();
        let call = Call {
            what: "token",
            url: self.endpoint.token_url(),
            fields: &[("grant_type", GRANT_TYPE), ("device_code", code)],
            scope: None,
            secret: code,
            time_left: Duration::MAX,
        };
        self.ask(&call, poll::judge)
    }

    fn ask<T>(&self, call: &Call<'_>, judge: impl Fn(&Answer<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.endpoint.call(call, judge).unwrap_or_else(|lost| Err(Refusal::lost(lost)))
    }

    /// Waits in steps, so that the caller can end it.
    fn pause(&self, pause: Duration, go_on: &mut dyn FnMut() -> bool) -> Result<()> {
        let until = self.clock.now().after(pause);
        loop {
            if !go_on() {
                return Err(Error::new(
                    ErrorKind::NotLoggedIn,
                    "the login was stopped before the user had confirmed it",
                ));
            }
            let rest = until.since(self.clock.now());
            if rest.is_zero() {
                return Ok(());
            }
            self.clock.sleep(rest.min(STEP));
        }
    }
}

client_settings!(DeviceCode);
endpoint_settings!(DeviceCode);

impl fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCode")
            .field("endpoint", &self.endpoint)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
