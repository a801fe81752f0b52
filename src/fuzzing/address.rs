//! Addresses: what an origin is, which ones are of it, and where redirects lead to. The input is lines: the origin as
//! the user writes it, the address of a request, and the `Location` of each redirect from there on.

use ureq::http::header::{HeaderValue, LOCATION};
use ureq::http::{HeaderMap, Method, StatusCode, Uri};

use super::{Yardstick, assert_plain, within};
use crate::ErrorKind;
use crate::origin::{self, Origin};
use crate::redirect;

const PER_BYTE: usize = 16;
const FIXED: usize = 1024;

/// A token goes to the origin that it is for, and nowhere else: what matches an origin is where ureq connects to, after
/// each redirect too. A relative reference never leaves the server; an error quotes no address.
pub fn address(input: &[u8], yardstick: &Yardstick) -> bool {
    let mut lines = input.split(|byte| *byte == b'\n');
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let Some(allowed) = std::str::from_utf8(first).ok().and_then(|text| assert_origin(text, yardstick)) else {
        return false;
    };
    let Ok(mut uri) = Uri::try_from(second) else { return false };
    assert_is_of(&uri, &allowed);
    for (number, location) in lines.take(20).enumerate() {
        let Ok(location) = HeaderValue::from_bytes(location) else { return false };
        let status = if number % 2 == 0 { StatusCode::FOUND } else { StatusCode::PERMANENT_REDIRECT };
        let headers = HeaderMap::from_iter([(LOCATION, location)]);
        let length = input.len();
        let hop = within(yardstick, length, PER_BYTE, FIXED, || redirect::follow(&Method::GET, &uri, status, &headers));
        let Ok(hop) = hop else { return false };
        let hop = hop.expect("a redirect with a Location");
        assert_eq!(hop.method, Method::GET);
        assert_resolved(&uri, &headers[LOCATION], &hop.uri);
        assert_is_of(&hop.uri, &allowed);
        uri = hop.uri;
    }
    allowed.matches(&uri)
}

/// An origin comes back from its own text, and is as private as that says.
fn assert_origin(text: &str, yardstick: &Yardstick) -> Option<Origin> {
    let _ = within(yardstick, text.len(), PER_BYTE, FIXED, || origin::parse_url(text, "the URL"));
    let origin = match within(yardstick, text.len(), PER_BYTE, FIXED, || Origin::parse(text)) {
        Ok(origin) => origin,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let error = error.to_string();
            assert_plain(&error);
            // The origin itself is no secret, and the only thing that is quoted.
            let quoted = origin::parse_url(text, "").map(|(_, origin)| origin.to_string()).unwrap_or_default();
            let error = error.replace(&quoted, "");
            assert!(error.len() < 300, "{error}");
            // A fuzzer finds out what the error says and calls that its secret; so words, of which ours are shorter.
            let words = text.split(['@', '?', '#', '/', ' ']).filter(|word| word.len() >= 16 && !quoted.contains(word));
            for part in words {
                assert!(!error.contains(part), "{part:?} is shown: {error}");
            }
            return None;
        }
    };
    let shown = origin.to_string();
    assert_plain(&shown);
    assert_eq!(shown, shown.to_ascii_lowercase());
    let same = Origin::parse(&shown).expect("an origin's own text");
    assert!(same == origin && same.to_string() == shown);
    let host = destination(&shown.parse().expect("an address")).map(|(_, host, _)| host);
    let loopback =
        |host: &str| matches!(host, "localhost" | "[::1]") || host.starts_with("127.") || host.contains("::");
    assert!(!origin.is_loopback() || host.is_some_and(|host| loopback(&host) || host.ends_with(":1]")), "{origin}");
    assert_eq!(origin.is_private(), origin.check_private(false).is_ok());
    Some(origin)
}

/// If the address is of the origin, ureq connects to no other server for it than for the origin's own text.
fn assert_is_of(uri: &Uri, origin: &Origin) {
    let own: Uri = origin.to_string().parse().expect("an address");
    assert!(origin.matches(&own));
    assert_eq!(origin.matches(uri), Origin::of(uri).as_ref() == Some(origin), "{uri} and {origin}");
    if origin.matches(uri) {
        assert_eq!(destination(uri), destination(&own), "{uri} and {origin}");
        assert_eq!(by_hand(&uri.to_string()), by_hand(&own.to_string()), "{uri} and {origin}");
    }
}

/// Where ureq connects to: its resolver's reading of an address.
fn destination(uri: &Uri) -> Option<(bool, String, u16)> {
    let is_tls = uri.scheme_str()?.eq_ignore_ascii_case("https");
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    Some((is_tls, uri.host()?.to_ascii_lowercase(), port))
}

/// The same by RFC 3986 appendix B and §3.2, from the text alone.
fn by_hand(text: &str) -> Option<(String, String, String)> {
    let text = text.to_ascii_lowercase();
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.trim_start_matches('0')),
        _ => (authority, ""),
    };
    let port = match (scheme, port) {
        ("https", "") => "443",
        ("http", "") => "80",
        (_, port) => port,
    };
    Some((scheme.to_owned(), host.to_owned(), port.to_owned()))
}

/// RFC 3986 §5.2.2, as far as it can be said without doing it again.
fn assert_resolved(base: &Uri, reference: &HeaderValue, uri: &Uri) {
    assert!(uri.scheme().is_some() && uri.authority().is_some(), "{uri}");
    let reference = reference.to_str().expect("else it was refused");
    let scheme = reference.split(['/', '?', '#']).next().unwrap_or_default();
    if !scheme.contains(':') && !reference.starts_with("//") {
        assert_eq!((uri.scheme(), uri.authority()), (base.scheme(), base.authority()), "{base} and {reference:?}");
        let is_dotted = |path: &str| path.split('/').any(|segment| matches!(segment, "." | ".."));
        assert!(!is_dotted(uri.path()) || is_dotted(base.path()), "{base} and {reference:?} became {uri}");
    }
}
