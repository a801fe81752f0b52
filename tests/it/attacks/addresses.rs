//! One origin and its address in every spelling, handed over by every builder. Where the token goes is decided by the very
//! values that ureq connects by, so that it arrives at its origin, by TLS if that is https, or nowhere.

use ureq::Error as UreqError;
use ureq::http::uri::{Authority, Parts, PathAndQuery};
use ureq::http::{Request, Uri};
use ureq_auth::Client;

use super::listener::{Listener, answer};
use super::{assert_passed, is_inside, outcome_alone};
use crate::client::session;

const TOKEN: &str = "Bearer token-1";

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It reaches its origin, with the token. Over TLS, the handshake does.
    Ours,
    /// It may go where it says, without the token. If its scheme is no constant of the `http` crate's, it is refused: ureq
    /// would speak plain http to an `HTTPS` address.
    Foreign,
    /// It is an error before anything is sent.
    Refused,
}
use Fate::{Foreign, Ours, Refused};

/// Spellings of an authority. None needs a name server.
const AUTHORITIES: [(&str, Fate); 22] = [
    ("127.0.0.1:{port}", Ours),
    ("127.0.0.1:0{port}", Ours),
    ("127.0.0.1:0000{port}", Ours),
    ("me:pw@127.0.0.1:{port}", Foreign),
    ("127.0.0.1:1@127.0.0.1:{port}", Foreign),
    // The same machine by another name is another origin.
    ("localhost:{port}", Foreign),
    ("LOCALHOST:{port}", Foreign),
    ("127.1:{port}", Foreign),
    ("0x7f.1:{port}", Foreign),
    ("2130706433:{port}", Foreign),
    ("[::ffff:127.0.0.1]:{port}", Foreign),
    ("127.0.0.1", Foreign),
    // What ureq reads in a way of its own, or hands to a reader that panics.
    ("127.0.0.1:+{port}", Refused),
    ("127.0.0.1:9{port}{port}", Refused),
    ("127.0.0.1:0", Refused),
    ("127.0.0.1:x", Refused),
    (":{port}", Refused),
    ("[::1%25lo]:{port}", Refused),
    ("[::1].x:{port}", Refused),
    ("[v1.x]:{port}", Refused),
    ("a[::1]:{port}", Refused),
    ("a[]:{port}", Refused),
];

/// Schemes beside `http` for an http origin. To ureq, all but the https ones are plain http as well.
const SCHEMES_OF_HTTP: [(&str, Fate); 6] =
    [("hTtP", Ours), ("https", Foreign), ("HTTPS", Foreign), ("socks5", Refused), ("ftp", Refused), ("", Refused)];
/// And beside `https` for an https origin.
#[cfg(feature = "rustls")]
const SCHEMES_OF_HTTPS: [(&str, Fate); 4] =
    [("hTtPs", Ours), ("http", Foreign), ("HTTP", Foreign), ("socks5", Refused)];

/// Ways to make an address of a scheme and an authority. None where the builder refuses.
const BUILDERS: [fn(&str, &str) -> Option<Uri>; 4] = [
    |scheme, authority| format!("{scheme}://{authority}/there?x").parse().ok(),
    |scheme, authority| Uri::builder().scheme(scheme).authority(authority).path_and_query("/there?x").build().ok(),
    |scheme, authority| {
        let mut parts = Parts::default();
        parts.scheme = Some(scheme.parse().ok()?);
        parts.authority = Some(authority.parse::<Authority>().ok()?);
        parts.path_and_query = Some(PathAndQuery::from_static("/there?x"));
        Uri::from_parts(parts).ok()
    },
    |scheme, authority| Some(Request::get(format!("{scheme}://{authority}/")).body(()).ok()?.uri().clone()),
];

type Call = fn(&Client, Uri) -> Result<(), UreqError>;

/// Ways into the client.
const CALLS: [Call; 2] = [
    |client, uri| client.get(uri).call().map(drop),
    |client, uri| client.run(Request::get(uri).body(()).unwrap()).map(drop),
];

/// Every address by every builder, into the client by every way.
fn check_all(origin: &'static str, schemes: &[(&str, Fate)]) {
    let (upper, mut calls) = (origin.to_ascii_uppercase(), 0);
    for (authority, fate) in AUTHORITIES {
        calls += check(origin, origin, authority, fate);
        calls += check(origin, &upper, authority, fate);
    }
    for (scheme, fate) in schemes {
        calls += check(origin, scheme, "127.0.0.1:{port}", *fate);
    }
    assert!(calls > 200, "{calls} calls");
}

/// One address by every builder: how many calls that was.
fn check(origin: &str, scheme: &str, authority: &str, fate: Fate) -> usize {
    let listener = Listener::start(|_| answer(200, ""));
    let authority = authority.replace("{port}", &listener.port().to_string());
    let what = format!("{scheme}://{authority} for an {origin} origin");
    let client = Client::new(session().0, &format!("{origin}://127.0.0.1:{}", listener.port())).unwrap();
    let mut calls = 0;
    for uri in BUILDERS.iter().filter_map(|build| build(scheme, &authority)) {
        let is_exact = matches!(uri.scheme_str(), Some("http" | "https"));
        for call in CALLS {
            let result = call(&client, uri.clone());
            if fate == Refused || (fate == Foreign && !is_exact) {
                let error = result.expect_err(&what);
                assert!(matches!(error, UreqError::BadUri(_)), "{what}: {error:?}");
            } else if fate == Ours && origin == "http" {
                result.unwrap_or_else(|error| panic!("{what}: {error}"));
            }
            calls += 1;
        }
    }
    drop(client);
    let mut heard = listener.heard();
    heard.retain(|heard| !heard.is_empty());
    match (fate, origin) {
        (Ours, "http") => assert_eq!(heard.iter().map(|heard| heard.count(TOKEN)).sum::<usize>(), calls, "{what}"),
        (Ours, _) => {
            assert!(heard.len() == calls && heard.iter().all(|heard| heard.is_handshake()), "{what}: {heard:?}");
        }
        (Foreign, _) => assert!(!heard.iter().any(|heard| heard.count("token-1") > 0), "{what}: {heard:?}"),
        (Refused, _) => assert!(heard.is_empty(), "{what}: {heard:?}"),
    }
    calls
}

#[test]
fn a_token_for_http_arrives_at_its_origin_or_nowhere_however_the_address_is_written() {
    check_all("http", &SCHEMES_OF_HTTP);
}

#[cfg(feature = "rustls")]
#[test]
fn a_token_for_https_arrives_at_its_origin_over_tls_or_nowhere_however_the_address_is_written() {
    check_all("https", &SCHEMES_OF_HTTPS);
}

#[test]
fn a_proxy_of_the_environment_sees_no_token_however_the_address_is_written() {
    let proxy = Listener::start(|_| answer(200, ""));
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let test = "addresses::a_proxy_of_the_environment_sees_no_token_however_the_address_is_written";
    if is_inside() {
        return check_all("http", &SCHEMES_OF_HTTP);
    }
    if let Some(output) = outcome_alone(test, &[("ALL_PROXY", &url)]) {
        assert_passed(&output);
        let heard = proxy.heard();
        assert!(!heard.iter().any(|heard| heard.count("token-1") > 0), "{heard:?}");
    }
}
