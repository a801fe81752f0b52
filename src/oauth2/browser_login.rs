//! A login by the browser on this machine (RFC 8252, with PKCE by RFC 7636): the authorization code grant of an installed program.

use std::fmt;
use std::time::Duration;

use super::RefreshToken;
use super::endpoint::Endpoint;
use crate::clock::{Clock, SystemClock};

mod flow;
mod listener;
mod of_issuer;
mod page;
mod request;
mod visitors;

use page::Texts;

/// How long a user has, unless set: for a password, a second factor, and a consent.
const PATIENCE: Duration = Duration::from_secs(300);

/// Logs a user in by the browser on this machine (RFC 8252): the program opens the server's page in it, and the server sends the
/// browser back to a port of this machine, with a code that this crate exchanges for a token.
///
/// ```no_run
/// use std::process::Command;
///
/// use ureq_auth::{Session, oauth2::Issuer};
///
/// let issuer = Issuer::discover("https://id.example.com")?;
/// let login = issuer.browser_login("my-program")?.scope("openid offline_access").authorization_param("prompt", "consent");
/// let session = Session::new(login.source())?;
/// session.set(login.log_in(|url| Command::new("xdg-open").arg(url).spawn().map(drop))?)?;
/// # Ok::<(), ureq_auth::Error>(())
/// ```
///
/// Most servers issue a refresh token for the scope `offline_access` only, and some of them only with `prompt=consent` (OpenID
/// Connect Core §11). Without one the session lasts as long as its first token.
///
/// The redirect address is `http://127.0.0.1:PORT/callback`, with any free port: register the client as a native one, with that
/// address. Where the server compares the port as well, [`ports`](Self::ports) has those that are registered.
///
/// Always with PKCE by `S256` (RFC 7636), with a `state` of 256 bits, and with the check of `iss` (RFC 9207). Any other request
/// at the port is turned away, and the login goes on; but whoever can read the address that is opened, as another user may in
/// the list of processes, can answer it with a login of their own. With the scope `openid` a `nonce` goes along, and an ID token must have it.
/// Nothing else in the ID token is verified, and it is not kept: do not take this login for a proof of who the user is towards
/// others. The access token is for the API alone.
pub struct BrowserLogin {
    pub(crate) endpoint: Endpoint,
    authorization_url: String,
    /// The issuer that the callback must name, and whether it must name one.
    issuer: Option<String>,
    is_issuer_named: bool,
    pushed_authorization_url: Option<String>,
    params: Vec<(String, String)>,
    ports: Vec<u16>,
    path: String,
    patience: Duration,
    texts: Texts,
    clock: Box<dyn Clock>,
}

/// How far a login is, for [`BrowserLogin::log_in_while`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BrowserProgress {
    /// The user has this long to log in.
    #[non_exhaustive]
    Waiting {
        /// Until the login is given up.
        left: Duration,
        /// How many requests were turned away that look like a callback, and are of another login.
        refused: u32,
    },
    /// The browser has come back, and the token is asked for.
    CodeReceived,
}

impl BrowserLogin {
    /// A login of a public client (RFC 6749 §2.1) at a server whose addresses are known. [`Issuer::browser_login`] finds them, and
    /// knows more: whether the callback must name the issuer, and whether the request is to be pushed. Nothing is sent yet; a value
    /// that cannot be used is an error of [`log_in`](Self::log_in).
    ///
    /// [`Issuer::browser_login`]: super::Issuer::browser_login
    #[must_use]
    pub fn new(
        authorization_url: impl Into<String>,
        token_url: impl Into<String>,
        client_id: impl Into<String>,
    ) -> Self {
        Self::on(Endpoint::new(token_url.into(), client_id.into(), None), authorization_url.into())
    }

    pub(crate) fn on(endpoint: Endpoint, authorization_url: String) -> Self {
        BrowserLogin {
            endpoint,
            authorization_url,
            issuer: None,
            is_issuer_named: false,
            pushed_authorization_url: None,
            params: Vec::new(),
            ports: vec![0],
            path: "/callback".to_owned(),
            patience: PATIENCE,
            texts: Texts::default(),
            clock: Box::new(SystemClock),
        }
    }

    /// Refuses a callback that names another issuer (RFC 9207 §2.4). [`Issuer::browser_login`](super::Issuer::browser_login) says
    /// this already.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Pushes the authorization request to this address, so that the browser only gets a reference to it (RFC 9126 §2).
    /// [`Issuer::browser_login`](super::Issuer::browser_login) does so where the server asks for it.
    #[must_use]
    pub fn pushed(mut self, pushed_authorization_url: impl Into<String>) -> Self {
        self.pushed_authorization_url = Some(pushed_authorization_url.into());
        self
    }

    /// Adds a parameter to the authorization request: `prompt`, `login_hint`, `audience`, `resource` (RFC 8707 §2.1).
    #[must_use]
    pub fn authorization_param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push((name.into(), value.into()));
        self
    }

    /// The ports of 127.0.0.1 to listen on: the first that is free. Unless set it is 0, any port (RFC 8252 §7.3).
    #[must_use]
    pub fn ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.ports = ports.into_iter().collect();
        self
    }

    /// The path of the redirect address; `/callback` unless set. Empty where the registered address has none.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// How long the user has; five minutes unless set. A tab that was closed looks like a user who takes a while.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What the browser shows at the end, in the user's language: after a success, and after a failure. Plain text.
    #[must_use]
    pub fn end_texts(mut self, done: impl Into<String>, failed: impl Into<String>) -> Self {
        self.texts = Texts { done: done.into(), failed: failed.into() };
        self
    }

    /// Another clock than the system's, for tests: with a [`ManualClock`](crate::ManualClock) the waiting takes no time.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// The token source for a session that begins with this login: the same server and client, asked with the refresh token that
    /// the login brings. It asks for no scope, so that it gets what the user has granted (RFC 6749 §6).
    #[must_use]
    pub fn source(&self) -> RefreshToken {
        let mut endpoint = self.endpoint.clone();
        endpoint.scope = None;
        RefreshToken::on(endpoint, None)
    }
}

client_settings!(BrowserLogin);
endpoint_settings!(BrowserLogin);

impl fmt::Debug for BrowserLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrowserLogin")
            .field("endpoint", &self.endpoint)
            .field("issuer", &self.issuer)
            .field("ports", &self.ports)
            .field("path", &self.path)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
