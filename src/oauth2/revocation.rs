//! Token revocation (RFC 7009): a logout that the server knows of.

use std::fmt;
use std::time::Duration;

use super::answer::Answer;
use super::endpoint::{Call, Endpoint};
use super::texts::{any_text, find_code, has_words_of, with_message};
use crate::outcome::Outcome;
use crate::{Error, ErrorKind, Result, Session, SourceError, Token};

/// Tells the authorization server that a token is not needed any more (RFC 7009), so that nobody else can use it.
///
/// ```no_run
/// use ureq_auth::{Session, oauth2::Revocation};
///
/// # fn log_out(session: &Session) -> Result<(), ureq_auth::Error> {
/// let revocation = Revocation::new("https://id.example.com/revoke", "my-device");
/// // The session has ended whatever this returns; the error only says that the server may not know of it.
/// revocation.log_out(session)
/// # }
/// ```
pub struct Revocation {
    endpoint: Endpoint,
    url: String,
}

impl Revocation {
    /// A revocation by a public client. Nothing is sent yet; an unusable value is an error of
    /// [`revoke`](Revocation::revoke).
    #[must_use]
    pub fn new(revocation_url: impl Into<String>, client_id: impl Into<String>) -> Self {
        let url = revocation_url.into();
        Self::on(Endpoint::new(url.clone(), client_id.into(), None), url)
    }

    pub(crate) fn on(endpoint: Endpoint, url: String) -> Self {
        Revocation { endpoint, url }
    }

    /// Ends the session here ([`Session::end`]), whatever the server says, and then there.
    ///
    /// Every caller gets [`LoggedOut`](crate::ErrorKind::LoggedOut) from then on. A refresh under way is not waited for:
    /// its token is dropped, and a server that detects the reuse of refresh tokens ends that one's family too. What the
    /// session would be renewed with is revoked, even if that has not been used yet
    /// ([`RefreshToken::new`](super::RefreshToken::new)). Without a token in force and without that, nothing is sent.
    ///
    /// # Errors
    ///
    /// As [`revoke`](Revocation::revoke), and as [`Session::end`] if the session's store could not be emptied; the session
    /// has ended all the same, and no longer has the token. A program that wants to repeat a revocation that failed uses
    /// [`Session::end`], which returns the token, and [`revoke`](Revocation::revoke).
    pub fn log_out(&self, session: &Session) -> Result<()> {
        let (token, stored) = session.end_both();
        token.map_or(Ok(()), |token| self.revoke(&token)).and(stored)
    }

    /// Has the server revoke the refresh token, and with it the access tokens that came of it (RFC 7009 §2.1); without
    /// one, the access token.
    ///
    /// A token that the server does not know, has revoked already or that has expired is a success (§2.2): by a 200, or by
    /// an error that says so (`invalid_token`, `invalid_grant`, "token already revoked" and their like). A server error, 429
    /// or 408 never is, whatever it says.
    ///
    /// # Errors
    ///
    /// The token may still be valid. [`Unavailable`](crate::ErrorKind::Unavailable) if the server could not be reached or
    /// says "later" (§2.2.1): a repeat is harmless, after [`Error::retry_after`](crate::Error::retry_after) where it is
    /// given. [`Misconfigured`](crate::ErrorKind::Misconfigured) if it refuses the client, answers with anything else, or
    /// does not revoke this kind of token (`unsupported_token_type`): no other token is revoked in its place.
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a wrong setting.
    pub fn revoke(&self, token: &Token) -> Result<()> {
        self.endpoint.check_at("revocation", &self.url)?;
        let (secret, hint) = match token.refresh_secret() {
            Some(refresh_token) => (refresh_token, "refresh_token"),
            None => (token.secret(), "access_token"),
        };
        let call = Call {
            what: "revocation",
            url: &self.url,
            fields: &[("token", secret), ("token_type_hint", hint)],
            scope: None,
            secret,
            time_left: Duration::MAX,
        };
        match self.endpoint.call(&call, judge) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refusal)) => Err(refusal.into_error(hint)),
            Err(error) => {
                let retry_after = error.retry_after();
                let passes = error.outcome() != Outcome::Misconfigured;
                Err(Refusal { unsupported: false, passes, retry_after, error }.into_error(hint))
            }
        }
    }
}

client_settings!(Revocation);
connection_settings!(Revocation);

/// Why the token may still be valid.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The server revokes no tokens of this kind (RFC 7009 §2.2.1).
    unsupported: bool,
    /// Is it worth trying again?
    passes: bool,
    retry_after: Option<Duration>,
    pub(crate) error: SourceError,
}

impl Refusal {
    pub(crate) fn into_error(self, kind_of_token: &str) -> Error {
        let Refusal { unsupported, passes, retry_after, error } = self;
        let kind_of_token = kind_of_token.replace('_', " ");
        let (kind, retry_after, advice) = if unsupported {
            let advice = format!(
                "this server does not revoke {kind_of_token}s: it is valid until it expires, or until the user ends the \
                 login at the server"
            );
            (ErrorKind::Misconfigured, None, advice)
        } else if passes {
            let again = error.cure().unwrap_or("revoke it again later");
            let advice = format!("the {kind_of_token} may still be valid: {again}");
            (ErrorKind::Unavailable, retry_after, advice)
        } else {
            let advice = format!(
                "the {kind_of_token} may still be valid: check the client's settings and its registration with the server"
            );
            (ErrorKind::Misconfigured, None, advice)
        };
        let code = error.code().map(str::to_owned);
        Error::refresh(kind, format!("{error} ({advice})"), code, retry_after, Some(Box::new(error)))
    }
}

/// What of the texts in an answer says that the token is dead, once the [`FILLERS`] are left out. Codes and sentences of
/// real servers, RFC 6749 §5.2 and RFC 6750 §3.1: Google's and Salesforce's `invalid_token`, Twitch's "Invalid token".
const DEAD: &str = "invalid_token token_invalid token_not_valid invalid_grant expired_token token_expired revoked_token \
    token_revoked already_revoked token_already_revoked token_expired_or_revoked invalid_or_expired_token \
    unknown_token token_not_found token_does_not_exist no_such_token bad_token";

/// What makes no difference in a sentence about a token.
const FILLERS: &str = "the a this access refresh is was has been";

/// RFC 7009 §2.2.1.
const UNSUPPORTED: &str = "unsupported_token_type";

/// An answer with one of these is about something else, whatever the rest of it says.
const NOT_ABOUT_THE_TOKEN: &str = "invalid_client unauthorized_client incorrect_client_credentials unsupported_token_type \
    unsupported_grant_type invalid_scope access_denied server_error temporarily_unavailable";

/// Is the token revoked (RFC 7009 §2.2)? What else a success holds is of no interest, unless it is an error code.
pub(crate) fn judge(answer: &Answer<'_>) -> Result<(), Refusal> {
    let Err(error) = answer.success() else { return Ok(()) };
    if answer.is_success() && error.code().is_none() {
        return Ok(());
    }
    let (mut is_dead, mut is_about_the_token, mut unsupported) = (false, true, false);
    any_text(answer.body, &mut |_, text| {
        is_dead |= find_code(DEAD, &mut |code| has_words_of(text, code, FILLERS)).is_some();
        is_about_the_token &= find_code(NOT_ABOUT_THE_TOKEN, &mut |code| code == text).is_none();
        unsupported |= text == UNSUPPORTED;
        false
    });
    let is_dead = is_dead && is_about_the_token;
    let is_in_trouble = matches!(answer.status, 408 | 425 | 429 | 500..);
    // A server in trouble may not know, and is to be asked again (§2.2.1); who redirects is another than was asked.
    if is_dead && !is_in_trouble && matches!(answer.status, 200..300 | 400..500) {
        return Ok(());
    }
    let is_later = matches!(error.outcome(), Outcome::Unavailable | Outcome::Unknown);
    Err(Refusal {
        unsupported,
        passes: is_later || is_dead && is_in_trouble,
        retry_after: answer.pause(),
        error: with_message(answer, error),
    })
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
