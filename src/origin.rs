//! An origin: scheme, host *and port* (RFC 6454 §4), and which addresses a secret may be sent to.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ureq::http::Uri;
use ureq::http::uri::Authority;

use crate::{Error, Result};

/// Scheme, host and port of an address that is fit for HTTP.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: Scheme,
    /// In lower case; an IPv6 address has its brackets.
    host: String,
    port: u16,
    /// Host and port as nearly every address writes them: without the default port.
    authority: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Origin {
    /// Reads an origin as a user writes it: `https://api.example.com` or `https://api.example.com:8443`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for anything that is more than an origin, or less.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (uri, origin) = parse_url(text, "the origin")?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(Error::invalid(format!(
                "the origin has a path or a query, but a token is allowed for a whole origin: write {origin}"
            )));
        }
        Ok(origin)
    }

    /// The origin of an absolute address; `None` if it has none that could be compared, or another scheme than http(s).
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let (scheme, host, port) = parts(uri)?;
        let host = host.to_ascii_lowercase();
        let authority = if port == scheme.default_port() { host.clone() } else { format!("{host}:{port}") };
        Some(Origin { scheme, host, port, authority })
    }

    /// Is that address of this origin? Nothing is allocated: it is asked on every call.
    #[inline]
    pub(crate) fn matches(&self, uri: &Uri) -> bool {
        // Taking an address apart costs more than all else that the client does to a call; comparing it whole does not.
        let same = uri.authority().is_some_and(|authority| authority.as_str() == self.authority);
        if same && uri.scheme() == Some(&self.scheme.as_http()) {
            return true;
        }
        parts(uri).is_some_and(|(scheme, host, port)| {
            scheme == self.scheme && port == self.port && host.eq_ignore_ascii_case(&self.host)
        })
    }

    /// Does a request to it stay on this machine (RFC 8252 §8.3)? `localhost`, 127.0.0.0/8 and `[::1]`. Other spellings,
    /// such as `127.1`, are not: what they mean is up to the resolver.
    pub(crate) fn is_loopback(&self) -> bool {
        if self.host == "localhost" {
            return true;
        }
        match self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(v6) => v6.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback()),
            None => self.host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()),
        }
    }

    /// Its address, for whoever asks ureq about it.
    pub(crate) fn to_uri(&self) -> Uri {
        self.to_string().parse().unwrap_or_default()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Is what comes from there what the server said? True over TLS, and where nobody is in between.
    pub(crate) fn is_private(&self) -> bool {
        self.scheme == Scheme::Https || self.is_loopback()
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
            "{self} is plain http, so everybody on the way can read the secrets that are sent to it: use https, or \
             allow_plain_http() where that is meant (loopback is allowed as it is)"
        )))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Scheme {
    fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?;
        if scheme.eq_ignore_ascii_case("https") {
            Some(Scheme::Https)
        } else if scheme.eq_ignore_ascii_case("http") {
            Some(Scheme::Http)
        } else {
            None
        }
    }

    fn as_http(self) -> ureq::http::uri::Scheme {
        match self {
            Scheme::Http => ureq::http::uri::Scheme::HTTP,
            Scheme::Https => ureq::http::uri::Scheme::HTTPS,
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
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
            "is not a valid address: look for blanks, line breaks, a missing host, or letters that are not ASCII (a host \
             name with those is written in its xn-- form)",
        );
    };
    if Scheme::of(&uri).is_none() {
        return invalid("has a scheme other than https and http: only those can be used");
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return invalid("has a user name or a password in front of the host: leave that out");
    }
    match Origin::of(&uri) {
        Some(origin) => Ok((uri, origin)),
        None => invalid("has no host, or a port that is not a number from 1 to 65535"),
    }
}

/// What is compared of an address. Port 0 and a port that is no number have no origin.
#[inline]
fn parts(uri: &Uri) -> Option<(Scheme, &str, u16)> {
    let scheme = Scheme::of(uri)?;
    let authority = uri.authority()?;
    let host = authority.host();
    let port = match port_text(authority)? {
        "" => scheme.default_port(),
        // Not u16's own sign: "+80" is no port.
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    (!host.is_empty() && port != 0).then_some((scheme, host, port))
}

/// What stands after the host's colon; `None` if something else stands after the host. `Authority::port` is of no use here:
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
                assert!(origin.matches(&uri(address)), "{origin} {address}");
                assert_eq!(Origin::of(&uri(address)), Some(origin.clone()), "{address}");
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
                assert!(!origin.matches(&uri), "{address}");
            }
        }
        // http overlooks what stands behind the bracket, and ureq would connect to the port behind that.
        let origin = Origin::parse("https://[::1]").unwrap();
        for address in ["https://[::1].x", "https://[::1].x:8443", "https://[::1]8443", "https://[::1]x:443"] {
            assert!(!address.parse().is_ok_and(|uri| origin.matches(&uri)), "{address}");
        }
        for none in ["/me", "api.example.com", "wss://a", "https://a:0", "https://[::1].x:8443"] {
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
