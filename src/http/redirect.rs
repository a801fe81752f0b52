//! Redirects: where one leads to, by which method, and which of the caller's headers may go along. Pure; whether the token
//! comes along is the middleware's business.
//!
//! ureq's own following drops the token on the same host, or keeps it for another port (its `RedirectAuthHeaders`), so
//! the client follows by itself. What becomes of method and body is as in ureq, so that a switch of clients changes nothing.

use ureq::http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, COOKIE,
    EXPECT, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LOCATION, RANGE, TRANSFER_ENCODING, USER_AGENT,
};
use ureq::http::{HeaderMap, Method, StatusCode, Uri};

use crate::http::origin::{Origin, no_address};

/// What goes along to another origin (RFC 9110 §15.4): what is wanted, and in which form. Everything else may be a
/// credential, whatever its name, or is meant for the server that it was sent to.
const NO_CREDENTIALS: &[HeaderName] = &[
    ACCEPT,
    ACCEPT_CHARSET,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CACHE_CONTROL,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    USER_AGENT,
];

/// What stays behind within an origin: it speaks of a body that there is not any more, or is a credential that is put in
/// anew for each request.
const OF_THE_REQUEST: &[HeaderName] = &[AUTHORIZATION, CONTENT_LENGTH, COOKIE, EXPECT, TRANSFER_ENCODING];

/// The request that a redirect asks for. It never has a body.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Hop {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) origin: Origin,
    /// Does it lead to another origin?
    pub(crate) leaves: bool,
}

impl Hop {
    /// Takes out of the request's headers what does not go along.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        let list = if self.leaves { NO_CREDENTIALS } else { OF_THE_REQUEST };
        let stays_behind = |name: &&HeaderName| list.contains(name) != self.leaves;
        while let Some(name) = headers.keys().find(stays_behind).cloned() {
            headers.remove(name);
        }
    }
}

/// Where an answer redirects to; `None` if it does not.
///
/// # Errors
///
/// As ureq: [`RedirectFailed`](ureq::Error::RedirectFailed) for a 307 or 308 on a request whose repetition elsewhere may
/// do harm, [`BadUri`](ureq::Error::BadUri) for an address that cannot be read, or has no origin.
pub(crate) fn follow(
    method: &Method,
    uri: &Uri,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<Hop>, ureq::Error> {
    if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
        return Ok(None);
    }
    let Some(location) = headers.get(LOCATION) else { return Ok(None) };
    let keeps_method = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let method = match *method {
        Method::GET | Method::HEAD => method.clone(),
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE if keeps_method => {
            return Err(ureq::Error::RedirectFailed);
        }
        _ if keeps_method => method.clone(),
        _ => Method::GET,
    };
    let base = Origin::of(uri);
    let hop = resolve(uri, location).and_then(|uri| {
        let origin = Origin::of(&uri)?;
        let leaves = base.as_ref() != Some(&origin);
        Some(Hop { method, uri, origin, leaves })
    });
    hop.map(Some).ok_or_else(no_address)
}

/// The address of a reference found at `base` (RFC 3986 §5.2.2), without its fragment.
fn resolve(base: &Uri, reference: &HeaderValue) -> Option<Uri> {
    let mut reference = reference.to_str().ok()?.split('#').next()?;
    let mut text = String::new();
    if !has_scheme(reference) {
        text.push_str(base.scheme_str()?);
        text.push(':');
        if !reference.starts_with("//") {
            text.push_str("//");
            text.push_str(base.authority()?.as_str());
            let path = reference.split('?').next()?;
            push_path(&mut text, base.path(), path);
            reference = reference.get(path.len()..)?;
            if let Some(query) = base.query().filter(|_| path.is_empty() && reference.is_empty()) {
                text.push('?');
                text.push_str(query);
            }
        }
    }
    text.push_str(reference);
    // "host:80" is one as well, to http: an authority without a scheme.
    text.parse().ok().filter(|uri: &Uri| uri.scheme().is_some() && uri.authority().is_some())
}

fn has_scheme(reference: &str) -> bool {
    let mut rest = reference.bytes().skip_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    rest.next() == Some(b':') && reference.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
}

/// Merges two paths and takes the dots out of the result (RFC 3986 §5.2.3, §5.2.4). It begins with a slash, even if that of
/// the base does not, as in `OPTIONS *`: it would run into the host.
fn push_path(text: &mut String, base: &str, path: &str) {
    if path.is_empty() && base.starts_with('/') {
        return text.push_str(base);
    }
    let mut merged = String::new();
    if !path.starts_with('/') {
        merged.push_str(folder(base));
        merged.push('/');
    }
    merged.push_str(path);
    let begin = text.len();
    let mut rest = &*merged;
    while let Some(segments) = rest.strip_prefix('/') {
        let end = segments.bytes().position(|byte| byte == b'/').unwrap_or(segments.len());
        let (segment, behind) = segments.split_at_checked(end).unwrap_or_default();
        rest = behind;
        match segment {
            "." => {}
            ".." => {
                let folder = folder(text).len();
                text.truncate(folder.max(begin));
            }
            segment => {
                text.push('/');
                text.push_str(segment);
            }
        }
    }
    if merged.ends_with("/.") || merged.ends_with("/..") {
        text.push('/');
    }
}

/// What comes before the last slash.
fn folder(path: &str) -> &str {
    let end = path.bytes().rposition(|byte| byte == b'/');
    end.and_then(|end| path.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(reference: &str) -> String {
        let base = Uri::from_static("http://a/b/c/d;p?q");
        resolve(&base, &HeaderValue::from_str(reference).unwrap()).map_or_else(|| "none".into(), |uri| uri.to_string())
    }

    #[test]
    fn references_resolve_as_rfc_3986_section_5_4_says() {
        let cases = [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g..", "http://a/b/c/g.."),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://x.example:8443/y?z", "https://x.example:8443/y?z"),
            ("/at?12:30", "http://a/at?12:30"),
            ("http://", "none"),
            // Schemes without "//": no address to send a request to.
            ("other.example:8443", "none"),
            ("mailto:a@b", "none"),
            ("http:g", "none"),
        ];
        for (reference, expected) in cases {
            assert_eq!(resolved(reference), expected, "{reference:?}");
        }
    }

    #[test]
    fn methods_change_as_in_ureq() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, HeaderValue::from_static("/there"));
        let to = |method: Method, status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            follow(&method, &Uri::from_static("http://a/"), status, &headers).map(|hop| hop.map(|hop| hop.method))
        };
        for status in [301, 302, 303] {
            assert_eq!(to(Method::POST, status).unwrap(), Some(Method::GET));
            assert_eq!(to(Method::DELETE, status).unwrap(), Some(Method::GET));
            assert_eq!(to(Method::HEAD, status).unwrap(), Some(Method::HEAD));
        }
        for status in [307, 308] {
            assert_eq!(to(Method::GET, status).unwrap(), Some(Method::GET));
            assert_eq!(to(Method::OPTIONS, status).unwrap(), Some(Method::OPTIONS));
            assert!(matches!(to(Method::PUT, status), Err(ureq::Error::RedirectFailed)));
            assert!(matches!(to(Method::DELETE, status), Err(ureq::Error::RedirectFailed)));
        }
        assert_eq!(to(Method::GET, 304).unwrap(), None);
        assert_eq!(to(Method::GET, 200).unwrap(), None);
    }
}
