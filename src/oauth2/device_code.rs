//! The device authorization grant (RFC 8628): a login for machines without a browser.

use std::fmt;
use std::time::Duration;

use super::RefreshToken;
use super::answer::Answer;
use super::endpoint::{Call, ClientAuth, Endpoint};
use crate::clock::{Clock, SystemClock, Tick};
use crate::json;
use crate::outcome::Outcome;
use crate::token::Secret;
use crate::{Error, ErrorKind, Result, SourceError, Token};

/// The grant's name at the token endpoint (RFC 8628 §3.4).
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Between two polls, where the server names no interval (RFC 8628 §3.2), and what `slow_down` adds to it (§3.5).
const FIVE_SECONDS: Duration = Duration::from_secs(5);

/// The longest pause that connection trouble leads to: a user who has just confirmed does not want to wait for ever.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How long a code lives whose life the server does not tell, and at most. (`expires_in` is required, RFC 8628 §3.2.)
const USUAL_LIFE: Duration = Duration::from_secs(1800);
const MAX_LIFE: Duration = Duration::from_secs(24 * 3600);

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
///     .with_scope("offline_access");
/// let session = Session::new(device.source())?;
/// session.set(device.log_in(|prompt| println!("{prompt}"))?);
/// # Ok::<(), ureq_auth::Error>(())
/// ```
pub struct DeviceCode {
    pub(crate) endpoint: Endpoint,
    device_authorization_url: String,
    clock: Box<dyn Clock>,
}

/// What the user has to be shown (RFC 8628 §3.3). Its `Display` is a sentence that says it all, in English.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DevicePrompt {
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: Duration,
}

/// The answer to a device authorization request (RFC 8628 §3.2).
pub(crate) struct Authorization {
    pub(crate) device_code: Secret,
    pub(crate) prompt: DevicePrompt,
    pub(crate) interval: Duration,
}

impl DeviceCode {
    /// A login of a public client. Nothing is sent yet; a value that is of no use is an error of
    /// [`log_in`](DeviceCode::log_in).
    #[must_use]
    pub fn new(
        device_authorization_url: impl Into<String>,
        token_url: impl Into<String>,
        client_id: impl Into<String>,
    ) -> Self {
        let endpoint = Endpoint::new(token_url.into(), client_id.into(), ClientAuth::None);
        Self::on(endpoint, device_authorization_url.into())
    }

    pub(crate) fn on(endpoint: Endpoint, device_authorization_url: String) -> Self {
        DeviceCode { endpoint, device_authorization_url, clock: Box::new(SystemClock) }
    }

    /// The client's secret, sent in the `Authorization` header (`client_secret_basic`, RFC 6749 §2.3.1).
    #[must_use]
    pub fn with_client_secret(mut self, client_secret: impl Into<String>) -> Self {
        self.endpoint.client_auth = ClientAuth::Basic(Secret::new(client_secret.into()));
        self
    }

    /// The client's secret, sent in the body (`client_secret_post`, RFC 6749 §2.3.1): only for servers that cannot do
    /// with the header.
    #[must_use]
    pub fn with_client_secret_post(mut self, client_secret: impl Into<String>) -> Self {
        self.endpoint.client_auth = ClientAuth::Post(Secret::new(client_secret.into()));
        self
    }

    /// Another clock than the system's: with a [`ManualClock`](crate::ManualClock) the pauses take no time.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
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

    /// Gets a code, has `show` show it to the user, and waits until the user has confirmed it elsewhere, or until it has
    /// expired. Blocks for minutes: [`log_in_while`](DeviceCode::log_in_while) can be stopped.
    ///
    /// The server is polled as slowly as it wants. While it cannot be reached the pauses double, up to a minute
    /// (RFC 8628 §3.5); that is no reason to give up before the code has expired.
    ///
    /// # Errors
    ///
    /// [`Rejected`](ErrorKind::Rejected) if the user said no ([`code`](Error::code) `access_denied`) or the code expired
    /// (`expired_token`, also if the server was never heard of again): begin anew.
    /// [`Misconfigured`](ErrorKind::Misconfigured) if the server refuses the client or answers with something else.
    /// [`Unavailable`](ErrorKind::Unavailable) if there is no code for now. [`InvalidInput`](ErrorKind::InvalidInput) for a
    /// setting that is of no use.
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
        let authorization = self.authorize().map_err(|error| error.into_error(None))?;
        let end = self.clock.now().after(authorization.prompt.expires_in);
        show(&authorization.prompt);
        self.wait(&authorization, end, &mut go_on)
    }

    /// Asks for a code (RFC 8628 §3.1). Nothing is lost if its answer is.
    fn authorize(&self) -> Result<Authorization, SourceError> {
        let call = Call {
            what: "device authorization",
            url: &self.device_authorization_url,
            fields: &[],
            scope: self.endpoint.scope.as_deref(),
            secret: "",
            time_left: Duration::MAX,
        };
        self.endpoint.call(&call, Authorization::read).map_err(SourceError::repeatable)
    }

    fn wait(&self, authorization: &Authorization, end: Tick, go_on: &mut dyn FnMut() -> bool) -> Result<Token> {
        let mut interval = authorization.interval;
        let mut pause = interval;
        loop {
            // The last poll comes right at the end, but no sooner than the server allows.
            let rest = end.since(self.clock.now());
            self.pause(pause.min(rest.max(interval)), go_on)?;
            let error = match self.poll(&authorization.device_code) {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            match (error.code(), error.outcome()) {
                (Some("authorization_pending"), _) => pause = interval,
                (Some("slow_down"), _) => {
                    interval = interval.saturating_add(FIVE_SECONDS);
                    pause = interval;
                }
                (Some(code @ ("access_denied" | "expired_token")), _) => return Err(refused(code.to_owned(), error)),
                // Not known is as good as not sent: most polls are answered with "pending", and the next one will tell.
                (_, Outcome::Unavailable | Outcome::Unknown) => {
                    let doubled = pause.saturating_mul(2).min(MAX_PAUSE.max(interval));
                    pause = doubled.max(error.retry_after().unwrap_or_default());
                }
                _ => return Err(error.into_error(None)),
            }
            log::debug!("no token for the device yet: {error}; next poll in {pause:?}");
            if self.clock.now() >= end {
                return Err(refused("expired_token".to_owned(), error));
            }
        }
    }

    /// Asks for the token (RFC 8628 §3.4): without the scope, which went with the first request.
    fn poll(&self, device_code: &Secret) -> Result<Token, SourceError> {
        let code = device_code.secret();
        let fields = [("grant_type", GRANT_TYPE), ("device_code", code)];
        self.endpoint.exchange(&fields, None, code, Duration::MAX)
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

endpoint_settings!(DeviceCode);

/// The end of a login that the user or the time has refused. The server's own words are in the cause.
fn refused(code: String, error: SourceError) -> Error {
    let message = match code.as_str() {
        "access_denied" => "the login was denied by the user or by the server: begin anew if that was not meant",
        _ => "the code expired before the login was confirmed: begin anew",
    };
    Error::refresh(ErrorKind::Rejected, message.to_owned(), Some(code), None, Some(Box::new(error)))
}

impl Authorization {
    pub(crate) fn read(answer: &Answer<'_>) -> Result<Self, SourceError> {
        answer.success()?;
        let unusable = |what: &str| {
            Err(SourceError::misconfigured(format!(
                "the device authorization endpoint's answer has no usable {what}: is this its address?"
            )))
        };
        let names = [
            "device_code",
            "user_code",
            "verification_uri",
            // Google's name for it.
            "verification_url",
            "verification_uri_complete",
            "expires_in",
            "interval",
        ];
        let Some([device_code, user_code, uri, url, complete, expires_in, interval]) =
            json::read_members(answer.body, names)
        else {
            return unusable("members");
        };
        let Some(mut device_code) = device_code.secret() else { return unusable("device_code") };
        let Some(user_code) = user_code.text().filter(|text| is_printable(text)) else { return unusable("user_code") };
        let Some(verification_uri) = uri.text().or(url.text()).filter(|uri| is_web_address(uri)) else {
            return unusable("verification_uri");
        };
        let prompt = DevicePrompt {
            user_code,
            verification_uri,
            verification_uri_complete: complete.text().filter(|uri| is_web_address(uri)),
            expires_in: expires_in.lifetime().unwrap_or(USUAL_LIFE).min(MAX_LIFE),
        };
        let device_code = Secret::new(std::mem::take(&mut *device_code));
        // Zero counts as not given: nobody wants to be polled without a pause.
        let interval = interval.lifetime().unwrap_or(FIVE_SECONDS).min(MAX_LIFE);
        Ok(Authorization { device_code, prompt, interval })
    }
}

/// What is shown on a terminal must not be able to steer it.
fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// What is shown as an address, or opened in a browser, must be one of the web.
fn is_web_address(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let is_web =
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"));
    is_web && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl DevicePrompt {
    /// The code that the user enters, such as `WDJB-MJHT`. Made for reading aloud: show it as it is.
    pub fn user_code(&self) -> &str {
        &self.user_code
    }

    /// The address where the user enters it, on whatever device has a browser.
    pub fn verification_uri(&self) -> &str {
        &self.verification_uri
    }

    /// An address that has the code in it already, for a QR code or a link; not every server gives one. The code should
    /// be shown all the same, so that the user can compare (RFC 8628 §3.3.1).
    pub fn verification_uri_complete(&self) -> Option<&str> {
        self.verification_uri_complete.as_deref()
    }

    /// How long the code lives, from the server's answer on: half an hour where the server does not tell, a day at most.
    pub fn expires_in(&self) -> Duration {
        self.expires_in
    }
}

impl fmt::Display for DevicePrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.expires_in.as_secs().div_ceil(60);
        let DevicePrompt { user_code, verification_uri, .. } = self;
        write!(f, "To log in, open {verification_uri} and enter the code {user_code} (valid for {minutes} min)")
    }
}

impl fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCode")
            .field("endpoint", &self.endpoint)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
