//! What an issuer's metadata says of a login by browser (RFC 8414 §2, RFC 9126 §5, RFC 9207 §3).

use super::BrowserLogin;
use crate::http::origin;
use crate::json::{self, Value};
use crate::oauth2::Issuer;
use crate::{Error, ErrorKind, Result};

impl Issuer {
    /// A login by the browser on this machine. See [`BrowserLogin::new`].
    ///
    /// The callback must name this issuer if the server says that its callbacks do (RFC 9207 §3). The request is pushed if the
    /// server requires that (RFC 9126 §5).
    ///
    /// # Errors
    ///
    /// [`Misconfigured`](ErrorKind::Misconfigured) if the server names no endpoint for it that can be used, or says that it has
    /// PKCE without `S256` (RFC 7636 §4.2).
    pub fn browser_login(&self, client_id: impl Into<String>) -> Result<BrowserLogin> {
        let names = "authorization_endpoint pushed_authorization_request_endpoint require_pushed_authorization_requests \
            authorization_response_iss_parameter_supported code_challenge_methods_supported";
        let members = json::read_members(&self.metadata, names).unwrap_or_default();
        let [authorization, pushed, must_be_pushed, is_issuer_named, methods] = members;
        let (_, own) = origin::parse_url(self.issuer(), "the issuer's URL")?;
        let usable = |url: Value| url.text().filter(|url| self.way.check_of_issuer(url, &own).is_ok());
        let missing = |what: &str, standard: &str| {
            let issuer = self.issuer();
            let message = format!("{issuer} names no usable {what} endpoint: does it support {standard}?");
            Error::new(ErrorKind::Misconfigured, message)
        };
        let authorization = usable(authorization).ok_or_else(|| missing("authorization", "RFC 8252"))?;
        if let Value::List(methods) = methods {
            if !methods.iter().any(|method| **method == "S256") {
                return Err(missing("authorization", "PKCE with S256 (RFC 7636)"));
            }
        }
        let mut login = BrowserLogin::on(self.endpoint(client_id.into(), None), authorization).issuer(self.issuer());
        login.is_issuer_named = matches!(is_issuer_named, Value::True);
        if matches!(must_be_pushed, Value::True) {
            let url = usable(pushed).ok_or_else(|| missing("pushed authorization", "RFC 9126"))?;
            login = login.pushed(url);
        }
        Ok(login)
    }
}
