//! How a token goes into a request, where that is not `Authorization: Bearer`.

use std::fmt;

use ureq::http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, TRANSFER_ENCODING};
use ureq::http::{HeaderMap, HeaderValue, Method, Uri};
use zeroize::Zeroizing;

use crate::token::Secret;
use crate::{Error, Result, Token};

/// How the token goes into a request, in place of `Authorization: Bearer`
/// ([`ClientBuilder::token_in`](crate::ClientBuilder::token_in)).
///
/// All promises for that header hold for these: the value is marked sensitive, it goes to the client's origins only, a replay
/// carries the next token, and a redirect to another origin carries none. A request of the caller's that has the header
/// already goes out as it came. A 401 is about the token if it has no challenge or one of that scheme; where the token is in
/// a header or a cookie of its own, each 401 is.
///
/// A query parameter is not among them: addresses end up in logs, histories and `Referer` (RFC 6750 §2.3, §5.3).
pub struct TokenIn {
    header: Result<HeaderName>,
    kind: Kind,
}

enum Kind {
    Bare,
    Scheme(String),
    Cookie(String),
    Custom(Box<Put>),
}

type Put = dyn Fn(&mut Outgoing<'_>, &Token) -> Result<(), BoxError> + Send + Sync;

/// Whatever a closure of the user's meets.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl TokenIn {
    /// The bare token in a header of this name, like `X-Api-Token: abc`.
    pub fn header(name: &str) -> Self {
        TokenIn { header: header_name(name), kind: Kind::Bare }
    }

    /// `Authorization` with another scheme than `Bearer`, like `Authorization: Bot abc`.
    pub fn scheme(scheme: &str) -> Self {
        let header = word("the scheme", scheme).map(|()| AUTHORIZATION);
        TokenIn { header, kind: Kind::Scheme(scheme.to_owned()) }
    }

    /// A cookie of this name (RFC 6265 §4.2), like `Cookie: session=abc`.
    ///
    /// It is added to a `Cookie` header of the caller's, unless that has a cookie of this name: then the request goes out as it
    /// came. A cookie jar (ureq's feature `cookies`) sends its cookies in a second `Cookie` line, as it does beside any `Cookie`
    /// header of the caller's. If the API sets the same cookie by itself, the jar sends it too: do without a jar then.
    pub fn cookie(name: &str) -> Self {
        let header = word("the cookie's name", name).map(|()| COOKIE);
        TokenIn { header, kind: Kind::Cookie(name.to_owned()) }
    }

    /// Any other way, such as a signature: `put` sees the request, and adds its headers to it. It runs for each attempt.
    ///
    /// A request that has a header of this `name` already is the caller's own, and goes out as it came. An error of `put` is
    /// the call's error, as `ureq::Error::Other`; nothing is sent then.
    pub fn with(
        name: &str,
        put: impl Fn(&mut Outgoing<'_>, &Token) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        TokenIn { header: header_name(name), kind: Kind::Custom(Box::new(put)) }
    }

    /// The same, to be used by a client.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a name that cannot be used.
    pub(crate) fn into_way(self) -> Result<Box<dyn Way>> {
        Ok(Box::new(Checked { header: self.header?, kind: self.kind }))
    }
}

impl fmt::Debug for TokenIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIn").field("header", &self.header).finish_non_exhaustive()
    }
}

/// A request that is about to be sent, as [`TokenIn::with`] sees it.
pub struct Outgoing<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a mut HeaderMap,
}

impl Outgoing<'_> {
    /// The method.
    pub fn method(&self) -> &Method {
        self.method
    }

    /// The absolute address.
    pub fn uri(&self) -> &Uri {
        self.uri
    }

    /// The headers so far. ureq adds some of its own later, such as `Host` and `User-Agent`.
    pub fn headers(&self) -> &HeaderMap {
        self.headers
    }

    /// Puts a header in, in place of one of the same name, and marks it sensitive: `Debug` does not show its value.
    pub fn insert(&mut self, name: HeaderName, mut value: HeaderValue) {
        value.set_sensitive(true);
        self.headers.insert(name, value);
    }
}

impl fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("method", &self.method).finish_non_exhaustive()
    }
}

/// A way in, as the client holds it: a program that uses none does not carry its code.
pub(crate) trait Way: Send + Sync {
    /// The scheme whose challenges are about the token. `None`: it is no matter of any scheme, and each 401 is about it.
    fn scheme(&self) -> Option<&str>;

    /// Has the caller brought a credential of their own?
    fn has_own(&self, headers: &HeaderMap) -> bool;

    /// Puts the token in.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a token that does not fit there, and what a closure of the
    /// user's says.
    fn put(&self, method: &Method, uri: &Uri, headers: &mut HeaderMap, token: &Token) -> Result<(), ureq::Error>;
}

struct Checked {
    header: HeaderName,
    kind: Kind,
}

impl Way for Checked {
    fn scheme(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scheme(scheme) => Some(scheme),
            Kind::Bare | Kind::Cookie(_) | Kind::Custom(_) => None,
        }
    }

    fn has_own(&self, headers: &HeaderMap) -> bool {
        match &self.kind {
            Kind::Cookie(name) => headers.get_all(COOKIE).iter().any(|line| has_cookie(line.as_bytes(), name)),
            _ => headers.contains_key(&self.header),
        }
    }

    fn put(&self, method: &Method, uri: &Uri, headers: &mut HeaderMap, token: &Token) -> Result<(), ureq::Error> {
        let secret = token.secret();
        let text = match &self.kind {
            Kind::Custom(put) => {
                return put(&mut Outgoing { method, uri, headers }, token).map_err(ureq::Error::Other);
            }
            Kind::Bare => joined(&[secret]),
            Kind::Scheme(scheme) => joined(&[scheme, " ", secret]),
            Kind::Cookie(name) => {
                if secret.contains(['"', ',', ';', '\\']) {
                    return Err(Error::invalid(
                        "the token holds a character that a cookie cannot carry (RFC 6265 section 4.1.1): use a header, \
                         or TokenIn::with and the encoding that the API expects",
                    )
                    .into());
                }
                cookies(headers, name, secret)?
            }
        };
        headers.insert(self.header.clone(), Secret::from(text).to_header()?);
        Ok(())
    }
}

/// One line with the caller's cookies and ours (RFC 6265 §5.4 wants one line).
fn cookies(headers: &HeaderMap, name: &str, secret: &str) -> Result<Zeroizing<String>> {
    let mut parts = Vec::new();
    for line in headers.get_all(COOKIE) {
        let line = std::str::from_utf8(line.as_bytes()).map_err(|_| {
            Error::invalid("the request's own Cookie header is no text: the token cannot be added to it")
        })?;
        let line = line.trim_matches([' ', '\t', ';']);
        if !line.is_empty() {
            parts.extend([line, "; "]);
        }
    }
    parts.extend([name, "=", secret]);
    Ok(joined(&parts))
}

/// Enough from the start: a text that grows leaves a copy of itself behind.
fn joined(parts: &[&str]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| text.push_str(part));
    text
}

fn has_cookie(line: &[u8], name: &str) -> bool {
    let mut pairs = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    pairs.any(|pair| pair.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.trim_ascii_start().starts_with(b"=")))
}

fn header_name(name: &str) -> Result<HeaderName> {
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Error::invalid("the token's header has an unusable name: letters, digits and hyphens only"))?;
    if [CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING].contains(&header) {
        return Err(Error::invalid(format!("the header {header} belongs to HTTP itself and cannot carry the token")));
    }
    if header == COOKIE {
        return Err(Error::invalid("a cookie needs a name: use TokenIn::cookie"));
    }
    Ok(header)
}

/// A token of RFC 9110 §5.6.2, which both a scheme and a cookie's name are.
fn word(what: &str, text: &str) -> Result<()> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_part) {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} is empty, or has a character other than letters, digits and !#$%&'*+-.^_`|~")))
}
