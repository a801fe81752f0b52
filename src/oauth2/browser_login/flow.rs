//! A login by browser, from the first request to the last page.

use std::io;
use std::time::Duration;

use zeroize::Zeroizing;

use super::listener::Listener;
use super::request::{self, Secrets};
use super::visitors::{Awaited, Last};
use super::{BrowserLogin, BrowserProgress};
use crate::clock::{Clock as _, Tick};
use crate::oauth2::answer::Answer;
use crate::oauth2::callback::{Callback, END_PATH};
use crate::oauth2::endpoint::Call;
use crate::oauth2::quote::quote;
use crate::outcome::Outcome;
use crate::token::Secret;
use crate::{Error, ErrorKind, Result, SourceError, Token, json};

/// How often the port is looked at.
const STEP: Duration = Duration::from_millis(25);

/// How long the browser has to ask for the last page. It does so at once, unless it is gone.
const LAST_PAGE: Duration = Duration::from_secs(2);

/// How often the code is sent if the server has not got it, and the pause before it is sent again.
const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// What this crate sends itself.
const RESERVED: [&str; 10] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "request_uri",
];

/// A login that has begun.
struct Waiting {
    listener: Listener,
    secrets: Secrets,
    redirect_uri: String,
    end: Tick,
}

/// Why none has begun.
enum NotBegun {
    NoBrowser(Error),
    Failed(Error),
}

impl BrowserLogin {
    /// Has `open` open an address in the browser, waits until the server has sent the browser back, and gets the token. Blocks for
    /// minutes: [`log_in_while`](Self::log_in_while) can be stopped.
    ///
    /// The address may also be shown, for a user whose browser does not open; it is good for this machine alone. `open` must not
    /// wait for the browser to end.
    ///
    /// # Errors
    ///
    /// [`Rejected`](ErrorKind::Rejected) if the user or the server said no ([`code`](Error::code) `access_denied`), if the server
    /// does not take the code (`invalid_grant`), or if the ID token is of another login: start a new one.
    /// [`NotLoggedIn`](ErrorKind::NotLoggedIn) if nobody logged in in time. [`Misconfigured`](ErrorKind::Misconfigured) if the server
    /// refuses the client, or if the callback names another issuer. [`Unavailable`](ErrorKind::Unavailable) if there is no browser or
    /// no free port, if the server cannot be reached, or if its answer with the token was lost.
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a wrong setting.
    pub fn log_in(&self, open: impl FnOnce(&str) -> io::Result<()>) -> Result<Token> {
        self.log_in_while(open, |_| true)
    }

    /// The same, and asks `go_on` many times a second whether to go on, until the code has come.
    ///
    /// # Errors
    ///
    /// As [`log_in`](Self::log_in), and [`NotLoggedIn`](ErrorKind::NotLoggedIn) once `go_on` has said no.
    pub fn log_in_while(
        &self,
        open: impl FnOnce(&str) -> io::Result<()>,
        mut go_on: impl FnMut(BrowserProgress) -> bool,
    ) -> Result<Token> {
        match self.begin(open) {
            Ok(waiting) => self.finish(waiting, &mut go_on),
            Err(NotBegun::NoBrowser(error) | NotBegun::Failed(error)) => Err(error),
        }
    }

    /// The same as [`log_in`](Self::log_in), and another login where there is no browser: if `open` fails, or no port is free.
    ///
    /// `open` has to know whether there is a browser. `xdg-open` starts without a screen too, so look first whether `DISPLAY`
    /// or `WAYLAND_DISPLAY` is set. Build the other login inside the closure: not every server has a device endpoint.
    ///
    /// ```no_run
    /// # use ureq_auth::{Session, oauth2::Issuer};
    /// # fn open(url: &str) -> std::io::Result<()> { Ok(()) }
    /// # let issuer = Issuer::discover("https://id.example.com")?;
    /// # let login = issuer.browser_login("my-program")?;
    /// # let session = Session::new(login.source())?;
    /// // With a store, the session may be logged in already.
    /// if session.token().is_err_and(|error| error.is_login_required()) {
    ///     session.set(login.log_in_or(open, |_| {
    ///         issuer.device_code("my-program")?.log_in(|prompt| println!("{prompt}"))
    ///     })?)?;
    /// }
    /// # Ok::<(), ureq_auth::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`log_in`](Self::log_in), and those of the other login.
    pub fn log_in_or(
        &self,
        open: impl FnOnce(&str) -> io::Result<()>,
        otherwise: impl FnOnce(Error) -> Result<Token>,
    ) -> Result<Token> {
        match self.begin(open) {
            Ok(waiting) => self.finish(waiting, &mut |_| true),
            Err(NotBegun::NoBrowser(error)) => otherwise(error),
            Err(NotBegun::Failed(error)) => Err(error),
        }
    }

    fn begin(&self, open: impl FnOnce(&str) -> io::Result<()>) -> Result<Waiting, NotBegun> {
        self.check().map_err(NotBegun::Failed)?;
        let listener = Listener::bind(&self.ports).map_err(|error| {
            no_browser(format!("no port of 127.0.0.1 is free for the browser to come back to: {error}"), error)
        })?;
        let scope = self.endpoint.scope.as_deref().unwrap_or_default();
        let secrets = Secrets::new(scope.split(' ').any(|word| word == "openid")).map_err(NotBegun::Failed)?;
        let redirect_uri = format!("http://127.0.0.1:{}{}", listener.port, self.path);
        let address = self.address(&secrets, &redirect_uri).map_err(|error| NotBegun::Failed(into_error(error)))?;
        let end = self.clock.now().after(self.patience);
        open(&address).map_err(|error| no_browser(format!("the browser cannot be opened: {error}"), error))?;
        Ok(Waiting { listener, secrets, redirect_uri, end })
    }

    fn check(&self) -> Result<()> {
        self.endpoint.check()?;
        self.endpoint.check_at("authorization", &self.authorization_url)?;
        if let Some(url) = &self.pushed_authorization_url {
            self.endpoint.check_at("pushed authorization", url)?;
        }
        let is_path = self.path.is_empty() || self.path.starts_with('/');
        let is_plain = self.path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%\\\"<>".contains(&byte));
        if !is_path || !is_plain || self.path == END_PATH {
            return Err(Error::invalid(format!(
                "the path of the redirect address must be empty or begin with a slash, have no query, and not be {END_PATH}"
            )));
        }
        match self.params.iter().find(|(name, _)| name.is_empty() || RESERVED.contains(&name.as_str())) {
            Some((name, _)) => Err(Error::invalid(format!(
                "the authorization parameter {name:?} is set by the login: leave it out, or use the setting that there is for it"
            ))),
            None => Ok(()),
        }
    }

    /// What the browser is to open.
    fn address(&self, secrets: &Secrets, redirect_uri: &str) -> Result<Zeroizing<String>, SourceError> {
        let challenge = secrets.challenge();
        let mut fields = vec![
            ("response_type", "code"),
            ("redirect_uri", redirect_uri),
            ("state", &secrets.state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        fields.extend(self.endpoint.scope.as_deref().map(|scope| ("scope", scope)));
        fields.extend(secrets.nonce.as_ref().map(|nonce| ("nonce", nonce.as_str())));
        fields.extend(self.params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let client_id = ("client_id", self.endpoint.client_id());
        let Some(url) = &self.pushed_authorization_url else {
            fields.insert(1, client_id);
            return Ok(request::address(&self.authorization_url, &fields));
        };
        if self.endpoint.proof.is_none() && self.endpoint.client_secret.is_some() && !self.endpoint.secret_in_body {
            // The header has it as well, but it is one of the request's parameters (RFC 9126 §2.1).
            fields.push(client_id);
        }
        let call = Call {
            what: "pushed authorization",
            url,
            fields: &fields,
            scope: None,
            secret: "",
            time_left: Duration::MAX,
        };
        // What is for token requests is not for this one.
        let mut endpoint = self.endpoint.clone();
        endpoint.params.clear();
        let request_uri = endpoint.call(&call, pushed)??;
        Ok(request::address(&self.authorization_url, &[client_id, ("request_uri", &request_uri)]))
    }

    fn finish(&self, mut waiting: Waiting, go_on: &mut dyn FnMut(BrowserProgress) -> bool) -> Result<Token> {
        let callback = self.wait(&mut waiting, go_on)?;
        let result = self.code(callback).and_then(|code| {
            go_on(BrowserProgress::CodeReceived);
            self.exchange(&waiting, &code)
        });
        self.show_end(&mut waiting.listener, if result.is_ok() { &self.texts.done } else { &self.texts.failed });
        result
    }

    fn wait(&self, waiting: &mut Waiting, go_on: &mut dyn FnMut(BrowserProgress) -> bool) -> Result<Callback> {
        let mut awaited = Awaited { path: &self.path, state: &waiting.secrets.state, came: None, refused: 0 };
        loop {
            let now = self.clock.now();
            let left = waiting.end.since(now);
            if !go_on(BrowserProgress::Waiting { left, refused: awaited.refused }) {
                return Err(Error::new(
                    ErrorKind::NotLoggedIn,
                    "the login was stopped before the browser had come back",
                ));
            }
            waiting.listener.serve(now, &mut awaited);
            if let Some(callback) = awaited.came.take() {
                return Ok(callback);
            }
            if left.is_zero() {
                let seconds = self.patience.as_secs();
                let refused = awaited.refused;
                let message = format!(
                    "nobody logged in within {seconds} s ({refused} callbacks of other logins were refused): start a new login"
                );
                return Err(Error::new(ErrorKind::NotLoggedIn, message));
            }
            self.clock.sleep(STEP.min(left));
        }
    }

    /// The code, if the callback is the issuer's (RFC 9207 §2.4) and has one.
    fn code(&self, callback: Callback) -> Result<Zeroizing<String>> {
        let is_other = match (&callback.issuer, &self.issuer) {
            (Some(named), Some(issuer)) => **named != *issuer,
            (None, _) => self.is_issuer_named,
            (Some(_), None) => false,
        };
        if is_other {
            return Err(Error::new(
                ErrorKind::Misconfigured,
                "the browser came back from another issuer than the one that was asked (RFC 9207 section 2.4), so its code was \
                 not used: if this comes again, somebody is in between, or the issuer's address is not the right one",
            ));
        }
        callback.result.map_err(|(code, description)| refused(code, &description))
    }

    /// Exchanges the code for a token (RFC 6749 §4.1.3).
    fn exchange(&self, waiting: &Waiting, code: &str) -> Result<Token> {
        let mut endpoint = self.endpoint.clone();
        // Among the parameters, so that it is in no error text.
        endpoint.params.push(("code_verifier".to_owned(), Secret::new(waiting.secrets.verifier.to_string())));
        let call = Call {
            what: "token",
            url: self.endpoint.token_url(),
            fields: &[("grant_type", "authorization_code"), ("code", code), ("redirect_uri", &waiting.redirect_uri)],
            scope: None,
            secret: code,
            time_left: Duration::MAX,
        };
        let mut attempt = 1;
        loop {
            let result = endpoint.call(&call, |answer| {
                let token = answer.read()?;
                waiting.secrets.check_id_token(answer.body).map(|()| token)
            });
            match result.and_then(|token| token) {
                // Only where the server cannot have spent it: a code that comes twice ends what the first one began (§4.1.2).
                Err(error) if error.outcome() == Outcome::Unreachable && attempt < ATTEMPTS => {
                    log::debug!("the server did not get the code, so it is sent again: {error}");
                    attempt += 1;
                    self.clock.sleep(PAUSE);
                }
                result => return result.map_err(into_error),
            }
        }
    }

    /// The browser is on its way to the last page.
    fn show_end(&self, listener: &mut Listener, text: &str) {
        let end = self.clock.now().after(LAST_PAGE);
        let mut last = Last { path: &self.path, text, is_shown: false };
        while !end.since(self.clock.now()).is_zero() {
            listener.serve(self.clock.now(), &mut last);
            if last.is_shown {
                return;
            }
            self.clock.sleep(STEP);
        }
    }
}

/// The reference to a request that was pushed (RFC 9126 §2.2).
fn pushed(answer: &Answer<'_>) -> Result<String, SourceError> {
    answer.success()?;
    let request_uri = json::read_members(answer.body, "request_uri").and_then(|[request_uri]| request_uri.text());
    request_uri.filter(|uri| uri.bytes().all(|byte| byte.is_ascii_graphic())).ok_or_else(|| {
        SourceError::misconfigured(
            "the pushed authorization endpoint's answer has no usable request_uri: is this its address?",
        )
    })
}

/// What the server says in the place of a code (RFC 6749 §4.1.2.1).
fn refused(code: String, description: &str) -> Error {
    let description = quote(description, 200, &[]).map(|text| format!(": {text}")).unwrap_or_default();
    let code = quote(&code, 64, &[]).unwrap_or_default();
    let (kind, advice) = match code.as_str() {
        "server_error" | "temporarily_unavailable" => (ErrorKind::Unavailable, "try again later"),
        "invalid_request"
        | "unauthorized_client"
        | "unsupported_response_type"
        | "invalid_scope"
        | "invalid_target"
        | "invalid_client" => {
            (ErrorKind::Misconfigured, "check the client's settings and its registration with the server")
        }
        _ => (ErrorKind::Rejected, "start a new login"),
    };
    Error::refresh(kind, format!("the login ended with {code}{description} ({advice})"), Some(code), None, None)
}

/// The end of a login, which is not tried again by itself.
fn into_error(error: SourceError) -> Error {
    let (kind, advice) = match error.outcome() {
        Outcome::Rejected => (ErrorKind::Rejected, "start a new login"),
        Outcome::Misconfigured => {
            (ErrorKind::Misconfigured, "check the client's settings and its registration with the server")
        }
        _ => (ErrorKind::Unavailable, "start a new login later"),
    };
    let (code, retry_after) = (error.code().map(str::to_owned), error.retry_after());
    Error::refresh(kind, format!("{error} ({advice})"), code, retry_after, Some(Box::new(error)))
}

fn no_browser(message: String, cause: io::Error) -> NotBegun {
    NotBegun::NoBrowser(Error::refresh(ErrorKind::Unavailable, message, None, None, Some(Box::new(cause))))
}
