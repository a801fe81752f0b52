//! Redirects: where one leads to, and by which method. Pure; whether the token comes along is the middleware's business.
//!
//! ureq's own following drops the token on the same host, or keeps it for another port (its `RedirectAuthHeaders`), so
//! the client follows by itself. What becomes of method and body is as in ureq, so that a switch of clients changes nothing.

use ureq::http::header::{HeaderValue, LOCATION};
use ureq::http::{HeaderMap, Method, StatusCode, Uri};

/// The request that a redirect asks for. It never has a body.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Hop {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
}

/// Where an answer redirects to; `None` if it does not.
///
/// # Errors
///
/// As ureq: [`RedirectFailed`](ureq::Error::RedirectFailed) for a 307 or 308 on a request whose repetition elsewhere may
/// do harm, [`BadUri`](ureq::Error::BadUri) for an address that is none.
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
    let uri = resolve(uri, location).ok_or_else(|| {
        ureq::Error::BadUri(format!(
            "the redirect's Location is no address: {}",
            String::from_utf8_lossy(location.as_bytes())
        ))
    })?;
    Ok(Some(Hop { method, uri }))
}

/// The address of a reference found at `base` (RFC 3986 §5.2.2), without its fragment.
fn resolve(base: &Uri, reference: &HeaderValue) -> Option<Uri> {
    let reference = reference.to_str().ok()?.split('#').next()?;
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    if has_scheme(reference) {
        return absolute(reference);
    }
    if reference.starts_with("//") {
        return absolute(&format!("{scheme}:{reference}"));
    }
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let (path, query) = if path.is_empty() {
        (base.path().to_owned(), query.or(base.query()))
    } else if path.starts_with('/') {
        (without_dots(path), query)
    } else {
        let folder = folder(base.path());
        (without_dots(&format!("{folder}/{path}")), query)
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    absolute(&format!("{scheme}://{authority}{path}{query}"))
}

fn absolute(text: &str) -> Option<Uri> {
    // "host:80" is one as well, to http: an authority without a scheme.
    text.parse().ok().filter(|uri: &Uri| uri.scheme().is_some() && uri.authority().is_some())
}

fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// `remove_dot_segments` of RFC 3986 §5.2.4, for a path that begins with a slash.
fn without_dots(path: &str) -> String {
    let mut kept = String::new();
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        match segment {
            "." => {}
            ".." => kept.truncate(folder(&kept).len()),
            segment => {
                kept.push('/');
                kept.push_str(segment);
            }
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        kept.push('/');
    }
    kept
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
