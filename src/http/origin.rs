//! An origin: scheme, host *and port* (RFC 6454 §4), and which addresses a secret may be sent to.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;
use ureq::http::uri::Authority;

use crate::{Error, Result};

/// Scheme, host and port of an address that ureq connects to as it is read here.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// As nearly every address begins: in lower case, without the default port.
    text: String,
    /// Where the host begins in it.
    host: usize,
}

const HTTPS: &str = "https://";

impl Origin {
    /// Reads an origin as a user writes it: `https://api.example.com` or `https://api.example.com:8443`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for anything that is more than an origin, or less.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.contains('*') {
            return Err(Error::invalid(
                "the origin has a \"*\", and there are no wildcards: give each origin by itself",
            ));
        }
        let (uri, origin) = parse_url(text, "the origin")?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(Error::invalid(format!(
                "the origin has a path or a query, but the token is for a whole origin: write {origin}"
            )));
        }
        Ok(origin)
    }

    /// The origin of an absolute address; `None` if it has none that could be compared, or another scheme than http(s), or
    /// if ureq would read it in another way, or could not. Port 0 and a port that is no number have no origin.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let authority = uri.authority()?;
        let host = authority.host();
        let mut text = uri.scheme_str()?.to_ascii_lowercase();
        let default_port = match &*text {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        text.push_str("://");
        let begin = text.len();
        text.push_str(host);
        text.make_ascii_lowercase();
        let is_host = match host.strip_prefix('[') {
            Some(v6) => v6.strip_suffix(']')?.parse().is_ok_and(|ip: IpAddr| ip.is_ipv6()),
            None => !host.is_empty() && !host.bytes().any(|byte| matches!(byte, b'[' | b']')),
        };
        let digits = port_text(authority)?;
        let port = digits.bytes().try_fold(0_u16, |port, byte| {
            let digit = char::from(byte).to_digit(10)?;
            port.checked_mul(10)?.checked_add(digit as u16)
        })?;
        if !is_host || (port == 0 && !digits.is_empty()) || !is_readable(uri) {
            return None;
        }
        if port != 0 && port != default_port {
            text = format!("{text}:{port}");
        }
        Some(Origin { text, host: begin })
    }

    /// Is that how an address of this origin is written, to the letter? Nothing is allocated: it is asked on every call.
    #[inline]
    pub(crate) fn is_written_in(&self, uri: &Uri) -> bool {
        uri.authority().map(Authority::as_str) == self.text.get(self.host..) && self.has_scheme_of(uri)
    }

    /// Is its scheme the one that ureq finds in that address? To ureq, an `HTTPS` that was put together of parts is another,
    /// and plain http.
    #[inline]
    pub(crate) fn has_scheme_of(&self, uri: &Uri) -> bool {
        uri.scheme_str() == Some(if self.is_https() { "https" } else { "http" })
    }

    /// Writes it into an address of the same origin, so that whatever ureq decides by is what was decided here.
    pub(crate) fn write_into(&self, uri: &mut Uri) {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // The path of `OPTIONS *` is one without a slash, and would run into the host.
        let path = if matches!(path.bytes().next(), Some(b'/' | b'?')) { path } else { "/" };
        *uri = format!("{}{path}", self.text).parse().unwrap_or_default();
    }

    /// Does a request to it stay on this machine (RFC 8252 §8.3)? `localhost`, 127.0.0.0/8 and `[::1]`. Other spellings,
    /// such as `127.1`, are not: what they mean is up to the resolver.
    pub(crate) fn is_loopback(&self) -> bool {
        let authority = self.text.get(self.host..).unwrap_or_default();
        let host = match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next(),
            None => authority.split(':').next(),
        };
        host.is_some_and(|host| host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()))
    }

    /// Its address, for whoever asks ureq about it.
    pub(crate) fn to_uri(&self) -> Uri {
        self.text.parse().unwrap_or_default()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_https(&self) -> bool {
        self.host == HTTPS.len()
    }

    /// Is what comes from there what the server said? True over TLS, and where nobody is in between.
    pub(crate) fn is_private(&self) -> bool {
        self.is_https() || self.is_loopback()
    }

    /// May a secret be sent there? Over TLS, to this machine, or where the user said so.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for plain http to another machine.
    pub(crate) fn check_private(&self, plain_http_allowed: bool) -> Result<()> {
        if plain_http_allowed || self.is_private() {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{self} is plain http: everybody on the way can read the secrets sent to it; use https, or allow_plain_http() \
             where that is meant (loopback is allowed)"
        )))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An absolute http(s) address as a user writes it, and its origin. `name` says in errors what it is for; they never
/// quote the address, whose query or user part may hold a secret.
///
/// # Errors
///
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the scheme, the host or the port is missing or wrong, or if there
/// is a fragment or a user name.
pub(crate) fn parse_url(text: &str, name: &str) -> Result<(Uri, Origin)> {
    let invalid = |what: &str| Err(Error::invalid(format!("{name} {what}")));
    if text.is_empty() {
        return invalid("is empty: give an address such as https://example.com");
    }
    if !text.split_once(':').is_some_and(|(_, rest)| rest.starts_with("//")) {
        return invalid("has no scheme: begin it with https://");
    }
    // http's parser drops fragments silently.
    if text.contains('#') {
        return invalid("has a fragment: leave out everything from the \"#\" on");
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return invalid(
            "is not a valid address: look for blanks, line breaks, a missing host, or non-ASCII letters (a host name has an \
             xn-- form)",
        );
    };
    if !matches!(uri.scheme_str(), Some("https" | "http")) {
        return invalid("has a scheme other than https and http: only those can be used");
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return invalid("has a user name or a password in front of the host: leave that out");
    }
    match Origin::of(&uri) {
        Some(origin) => Ok((uri, origin)),
        None => invalid("has no host that can be used, or a port that is not a number from 1 to 65535"),
    }
}

/// What stands after the host's colon; `None` if something else stands after the host. `Authority::port` does not help here:
/// it has nothing to say of "99999", and a default in its place would be another origin; and it overlooks what http lets
/// stand between the bracket and the colon in "[::1].x:8443".
fn port_text(authority: &Authority) -> Option<&str> {
    let text = authority.as_str();
    let host_and_port = text.bytes().rposition(|byte| byte == b'@').map_or(0, |at| at + 1);
    match text.get(host_and_port..)?.strip_prefix(authority.host())? {
        "" => Some(""),
        rest => rest.strip_prefix(':'),
    }
}

/// The address of a request, or of a redirect, that has no origin. It is not quoted: it may be a foreign text, hold a code or a
/// key, and steer a terminal.
#[cold]
pub(crate) fn no_address() -> ureq::Error {
    ureq::Error::BadUri(
        "the request's or redirect's address has no usable scheme (https or http, in lower case), host or port"
            .to_owned(),
    )
}

/// Can ureq's cookie jar read that address? It takes for granted that it can, by the `url` crate, and panics.
#[cfg(feature = "cookies")]
fn is_readable(uri: &Uri) -> bool {
    url::Url::parse(&uri.to_string()).is_ok()
}

#[cfg(not(feature = "cookies"))]
fn is_readable(_: &Uri) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn what_an_origin_is_equal_to() {
        let same: [(&str, &[&str]); 4] = [
            (
                "https://api.example.com",
                &[
                    "https://api.example.com",
                    "https://API.Example.COM/me?x=1",
                    "HTTPS://api.example.com:443/",
                    "https://api.example.com:/",
                    "https://user:pw@api.example.com/",
                ],
            ),
            ("http://localhost:8080/", &["http://localhost:8080/a", "http://LOCALHOST:08080"]),
            ("http://example.com", &["http://example.com:80/"]),
            ("https://[::1]:8443", &["https://[::1]:8443/x"]),
        ];
        for (origin, addresses) in same {
            let origin = Origin::parse(origin).unwrap();
            for address in addresses {
                let mut uri = uri(address);
                assert_eq!(Origin::of(&uri), Some(origin.clone()), "{address}");
                let path = uri.path_and_query().map(|path| path.as_str().to_owned());
                origin.write_into(&mut uri);
                assert!(origin.is_written_in(&uri), "{address} became {uri}");
                assert_eq!(uri.path_and_query().map(|path| path.as_str()), path.as_deref(), "{address} became {uri}");
            }
        }
    }

    #[test]
    fn what_an_origin_is_not_equal_to() {
        let origin = Origin::parse("https://api.example.com").unwrap();
        for address in [
            "http://api.example.com",
            "https://api.example.com:444",
            "https://api.example.com:99999",
            "https://api.example.com.",
            "https://api.example.com.evil.com",
            "https://evil.com/https://api.example.com",
            "https://api.example.com@evil.com",
            "https://api.example.com:443@evil.com:443",
            "https://api.example.com:443.evil.com",
            "https://example.com",
            "https://xapi.example.com",
            "wss://api.example.com",
            "api.example.com",
            "/me",
        ] {
            // http may refuse the address itself; then no request can have it.
            if let Ok(uri) = address.parse::<Uri>() {
                assert!(Origin::of(&uri) != Some(origin.clone()) && !origin.is_written_in(&uri), "{address}");
            }
        }
        // http overlooks what stands behind the bracket, and ureq would connect to the port behind that.
        let origin = Origin::parse("https://[::1]").unwrap();
        for address in ["https://[::1].x", "https://[::1].x:8443", "https://[::1]8443", "https://[::1]x:443"] {
            assert!(!address.parse().is_ok_and(|uri| Origin::of(&uri) == Some(origin.clone())), "{address}");
        }
        for none in [
            "/me",
            "api.example.com",
            "wss://a",
            "https://a:0",
            "https://a:+1",
            "https://[::1].x:8443",
            "https://[::1%25lo]",
        ] {
            assert_eq!(none.parse::<Uri>().ok().and_then(|uri| Origin::of(&uri)), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_origin_says_what_to_do() {
        for (text, says) in [
            ("", "is empty"),
            ("api.example.com", "begin it with https://"),
            ("localhost:8080", "begin it with https://"),
            ("/path", "begin it with https://"),
            ("https://", "not a valid address"),
            ("https:///x", "not a valid address"),
            ("https://:443", "no host"),
            ("https://a b", "not a valid address"),
            ("https://a\r\nX: y", "not a valid address"),
            ("https://bücher.example", "xn--"),
            ("ftp://example.com", "other than https and http"),
            ("wss://example.com", "other than https and http"),
            ("https://u:hunter2@example.com", "leave that out"),
            ("https://example.com:99999", "port"),
            ("https://example.com:0", "port"),
            ("https://example.com:8x", "port"),
            ("https://example.com/v1", "write https://example.com"),
            ("https://example.com:8443/?key=hunter2", "write https://example.com:8443"),
            ("https://example.com#hunter2", "fragment"),
            ("*", "no wildcards"),
            ("https://*", "no wildcards"),
            ("https://*.example.com", "no wildcards"),
            ("https://example.com:*", "no wildcards"),
            ("https://example.com/*", "no wildcards"),
        ] {
            let error = Origin::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let message = error.to_string();
            assert!(message.contains(says), "{text}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn plain_http_only_to_this_machine() {
        for good in [
            "https://example.com",
            "http://localhost",
            "http://LocalHost:1",
            "http://127.0.0.1:8080",
            "http://127.9.9.9",
            "http://[::1]:80",
            "http://[0:0:0:0:0:0:0:1]",
        ] {
            Origin::parse(good).unwrap().check_private(false).unwrap();
        }
        for bad in [
            "http://example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.nip.io",
            "http://128.0.0.1",
            "http://127.1",
            "http://[::2]",
            "http://[::ffff:127.0.0.1]",
            "http://0.0.0.0",
        ] {
            let origin = Origin::parse(bad).unwrap();
            let error = origin.check_private(false).unwrap_err().to_string();
            assert!(error.contains("allow_plain_http()"), "{error}");
            assert!(!origin.is_private());
            origin.check_private(true).unwrap();
        }
    }
}
