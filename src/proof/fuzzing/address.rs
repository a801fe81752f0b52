//! Addresses: what an origin is, which ones are of it, and where redirects lead to. The input is lines: the origin as
//! the user writes it, the address of a request, and the `Location` of each redirect from there on.

use std::net::{Ipv4Addr, Ipv6Addr};

use ureq::http::header::{HeaderValue, LOCATION};
use ureq::http::uri::Scheme;
use ureq::http::{HeaderMap, Method, StatusCode, Uri};
use ureq::unversioned::resolver::DefaultResolver;

use super::{Yardstick, assert_plain, within};
use crate::ErrorKind;
use crate::http::origin::{self, Origin};
use crate::http::redirect;

/// With cookies, the `url` crate reads what ureq will have it read: it holds each name as characters for a while.
const PER_BYTE: usize = if cfg!(feature = "cookies") { 64 } else { 16 };
const FIXED: usize = 1024;

/// A token goes to the origin that it is for, and nowhere else: what is of an origin is where ureq connects to, after each
/// redirect too, and by TLS if that is https. A relative reference never leaves the server; an error quotes no address; and
/// what ureq is handed makes it panic nowhere.
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
    Origin::of(&uri).as_ref() == Some(&allowed)
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
    let uri: Uri = shown.parse().expect("an address");
    let host = uri.host().expect("an origin has a host");
    // RFC 4291 §2.2 has many ways to write ::1.
    let is_v6 = host.trim_matches(['[', ']']).parse() == Ok(Ipv6Addr::LOCALHOST);
    let is_v4 = host.parse().is_ok_and(|ip: Ipv4Addr| ip.octets()[0] == 127);
    assert_eq!(origin.is_loopback(), host == "localhost" || is_v4 || is_v6, "{origin}");
    assert_eq!(origin.is_private(), origin.check_private(false).is_ok());
    Some(origin)
}

/// If the address is of the origin, ureq connects to no other server for it than for the origin's own text, once that is
/// written into it.
fn assert_is_of(uri: &Uri, origin: &Origin) {
    let own: Uri = origin.to_string().parse().expect("an address");
    assert!(origin.is_written_in(&own));
    let found = Origin::of(uri);
    if found.is_some() {
        assert_no_panic(uri);
    }
    if found.as_ref() != Some(origin) {
        assert!(!origin.is_written_in(uri), "{uri} and {origin}");
        return;
    }
    assert_eq!(by_hand(&uri.to_string()), by_hand(&own.to_string()), "{uri} and {origin}");
    assert_eq!(destination(uri), destination(&own), "{uri} and {origin}");
    let mut written = uri.clone();
    origin.write_into(&mut written);
    assert!(origin.is_written_in(&written), "{uri} became {written}");
    let path = |uri: &Uri| uri.path_and_query().map(|path| path.as_str().to_owned());
    assert_eq!(path(&written), path(uri), "{uri} became {written}");
    assert_eq!(destination(&written), destination(&own), "{uri} became {written}");
    assert_no_panic(&written);
}

/// Has ureq read it as it does for its cookie jar.
fn assert_no_panic(uri: &Uri) {
    #[cfg(feature = "cookies")]
    assert!(ureq::Cookie::parse("a=b", uri).is_ok(), "{uri}");
    let _ = uri;
}

/// Where ureq connects to, and whether by TLS: what its resolver and its connectors ask of an address.
fn destination(uri: &Uri) -> Option<(bool, String)> {
    let host_and_port = DefaultResolver::host_and_port(uri.scheme()?, uri.authority()?)?;
    Some((uri.scheme() == Some(&Scheme::HTTPS), host_and_port.to_ascii_lowercase()))
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
