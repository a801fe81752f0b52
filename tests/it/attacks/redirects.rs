//! Redirects whose `Location` an attacker has written: the token stays with its origins, credentials of the caller's with the
//! origin that they were meant for, and no address makes ureq panic.

use std::sync::{Arc, OnceLock};

use ureq::Error as UreqError;
use ureq_auth::Client;

use super::listener::{Listener, answer};
use crate::client::{builder_of, client_of, session, text};
use crate::server::{Answer, Seen, Server};

/// What becomes of a redirect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It leads to the token's origin.
    Ours,
    /// It leads elsewhere, without the token.
    Elsewhere,
    /// It is an error, and nothing is sent.
    Refused,
}
use Fate::{Elsewhere, Ours, Refused};

/// `Location` values; `{port}` is the port of the API, `{evil}` that of the attacker's listener on the same host.
const LOCATIONS: [(&str, Fate); 37] = [
    ("http://127.0.0.1:{port}/x", Ours),
    ("HTTP://127.0.0.1:{port}/x", Ours),
    ("http://127.0.0.1:0{port}/x", Ours),
    ("//127.0.0.1:{port}/x", Ours),
    ("x", Ours),
    ("/x", Ours),
    ("?x", Ours),
    ("/http://127.0.0.1:{evil}/", Ours),
    ("/@127.0.0.1:{evil}/", Ours),
    ("x:{evil}/../@127.0.0.1:{evil}/", Refused),
    // The password in it is the server's own idea, and gives way.
    ("http://me:pw@127.0.0.1:{port}/x", Ours),
    ("http://127.0.0.1:{evil}/", Elsewhere),
    ("//127.0.0.1:{evil}/", Elsewhere),
    ("http://127.0.0.1:{port}@127.0.0.1:{evil}/", Elsewhere),
    ("http://me:pw@127.0.0.1:{evil}/", Elsewhere),
    ("http://localhost:{port}/", Elsewhere),
    ("http://127.1:{port}/", Elsewhere),
    ("http://2130706433:{port}/", Elsewhere),
    ("http://[::ffff:127.0.0.1]:{port}/", Elsewhere),
    ("http://127.0.0.1:{port}\\@127.0.0.1:{evil}/", Refused),
    ("http://127.0.0.1:{port} .127.0.0.1:{evil}/", Refused),
    ("http:\\\\127.0.0.1:{evil}/", Refused),
    ("http:/127.0.0.1:{evil}/", Refused),
    ("http:127.0.0.1:{evil}", Refused),
    ("http://127.0.0.1:99999/", Refused),
    ("http://127.0.0.1:+{port}/", Refused),
    ("http://127.0.0.1:0/", Refused),
    ("http://127.0.0.1:{port}:{evil}/", Refused),
    ("http://[::1%25lo]:{port}/", Refused),
    ("http://[::1%25lo]/", Refused),
    ("http://[::1].x:{evil}/", Refused),
    ("http://a[::1]:{evil}/", Refused),
    ("http://:{evil}/", Refused),
    ("socks5://127.0.0.1:{evil}/", Refused),
    ("ftp://127.0.0.1:{evil}/", Refused),
    ("javascript://127.0.0.1:{evil}/", Refused),
    ("file:///etc/passwd", Refused),
];

/// What ureq's cookie jar, for which all addresses are read by the `url` crate, cannot read.
#[cfg(feature = "cookies")]
const NO_URLS: [&str; 6] = [
    "http://xn--a/",
    "https://xn--a/",
    "http://127.0.0.1.1:{evil}/",
    "http://999.0.0.1:{evil}/",
    "http://a.0x/",
    "http://xn--a-.example/",
];

/// An API that redirects to `location` once, and what it and the attacker's listener have heard.
fn follow(location: &str) -> (Result<String, UreqError>, Vec<Seen>, String) {
    let evil = Listener::start(|_| answer(200, ""));
    let there: Arc<OnceLock<String>> = Arc::default();
    let asked = Arc::clone(&there);
    let api = Server::start(move |seen| match seen.target.as_str() {
        "/start" => Answer::redirect(302, asked.get().unwrap()),
        _ => Answer::ok("found"),
    });
    let ports = [("{port}", api.address().port()), ("{evil}", evil.port())];
    let filled = |text: String, (name, port): (&str, u16)| text.replace(name, &port.to_string());
    there.set(ports.into_iter().fold(location.to_owned(), filled)).unwrap();
    let (client, _) = client_of(&api);
    let found = client.get(api.url("/start")).call().map(|answer| text(Ok(answer)));
    drop(client);
    (found, api.seen(), format!("{:?}", evil.heard()))
}

#[test]
fn no_location_takes_the_token_out_of_its_origin_and_none_makes_ureq_panic() {
    for (location, fate) in LOCATIONS {
        let (found, seen, evil) = follow(location);
        assert!(!evil.contains("token-1"), "{location}: {evil}");
        let told = seen.get(1).map(|seen| seen.header("authorization").unwrap_or("none").to_owned());
        match fate {
            Ours => assert_eq!(told.as_deref(), Some("Bearer token-1"), "{location}: {found:?}"),
            Elsewhere => {
                assert!(!told.is_some_and(|told| told.contains("token-1")), "{location}");
            }
            Refused => {
                assert!(matches!(found, Err(UreqError::BadUri(_))), "{location}: {found:?}");
                assert_eq!((seen.len(), &*evil), (1, "[]"), "{location}");
            }
        }
    }
}

#[cfg(feature = "cookies")]
#[test]
fn what_the_cookie_jar_cannot_read_is_refused_before_it_gets_there() {
    for location in NO_URLS {
        let (found, seen, evil) = follow(location);
        assert!(matches!(found, Err(UreqError::BadUri(_))), "{location}: {found:?}");
        assert_eq!((seen.len(), &*evil), (1, "[]"), "{location}");
        // An address that came in an answer's body, and is asked by hand.
        let (client, _) = client_of(&Server::untouched());
        let error = client.get(location.replace("{evil}", "1")).call().unwrap_err();
        assert!(matches!(error, UreqError::BadUri(_)), "{location}: {error:?}");
    }
    // What it can read goes its way.
    assert!(matches!(follow("http://xn--bcher-kva.invalid/").0, Err(UreqError::Io(_) | UreqError::HostNotFound)));
}

#[test]
fn an_error_shows_nothing_of_a_location() {
    for location in ["http://[hunter2", "http://127.0.0.1:99999/?code=hunter2", "\u{9b}31mhunter2", "hunter2://a/"] {
        let (found, _, _) = follow(location);
        let error = found.unwrap_err();
        for shown in [format!("{error}"), format!("{error:?}")] {
            assert!(!shown.contains("hunter2") && !shown.contains("\\u{9b}"), "{shown}");
            assert!(shown.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{shown:?}");
        }
    }
}

/// Names and values that the caller has put into a request.
const CREDENTIALS: [(&str, &str); 12] = [
    ("X-Api-Key", "hunter2"),
    ("Proxy-Authorization", "Basic hunter2"),
    ("Cookie", "session=hunter2"),
    ("X-Auth-Token", "hunter2"),
    ("X-CSRF-Token", "hunter2"),
    ("X-Amz-Security-Token", "hunter2"),
    ("DPoP", "hunter2"),
    ("Signature", "hunter2"),
    ("Host", "hunter2.example"),
    ("Origin", "https://hunter2.example"),
    ("Referer", "https://hunter2.example/?key=hunter2"),
    ("Forwarded", "for=hunter2"),
];
const OPEN: [(&str, &str); 7] = [
    ("Accept", "text/x"),
    ("Accept-Language", "de"),
    ("Accept-Encoding", "identity"),
    ("User-Agent", "a caller's"),
    ("Range", "bytes=5-"),
    ("If-None-Match", "\"tag\""),
    ("Cache-Control", "no-cache"),
];

/// Sends all of them to an origin that redirects to `location`, and says what the second request held.
fn with_headers(client: &Client, api: &Server, path: &str) {
    let request = CREDENTIALS
        .iter()
        .chain(&OPEN)
        .fold(client.get(api.url(path)), |request, (name, value)| request.header(*name, *value));
    assert_eq!(text(request.call()), "found");
}

#[test]
fn across_origins_only_what_is_no_credential_goes_along() {
    let other = Server::start(|_| Answer::ok("found"));
    let elsewhere = other.url("/there");
    let api = Server::start(move |seen| match seen.target.as_str() {
        "/away" => Answer::redirect(307, &elsewhere),
        "/here" => Answer::redirect(307, "/there"),
        _ => Answer::ok("found"),
    });
    // Elsewhere as a foreign origin, and as another one of the token's own: what is meant for one is not for the other.
    let (first, _) = client_of(&api);
    let second = builder_of(&api).0.origin(other.origin()).build().unwrap();
    let foreign = Client::new(session().0, "https://api.example").unwrap();
    for (client, bearer) in [(first, None), (second, Some("token-1")), (foreign, None)] {
        with_headers(&client, &api, "/away");
        let away = other.seen().pop().unwrap();
        assert!(!format!("{away:?}").contains("hunter2"), "{away:?}");
        assert_eq!((away.bearer(), away.header("host")), (bearer, Some(&*other.address().to_string())));
        for (name, value) in OPEN {
            assert_eq!(away.header(name), Some(value), "{name}");
        }
        with_headers(&client, &api, "/here");
        let here = api.seen().pop().unwrap();
        for (name, value) in CREDENTIALS.iter().filter(|(name, _)| *name != "Cookie").chain(&OPEN) {
            assert_eq!(here.header(name), Some(*value), "{name}");
        }
    }
}

#[test]
fn what_was_dropped_on_the_way_does_not_come_back() {
    let back: Arc<OnceLock<String>> = Arc::default();
    let there = Arc::clone(&back);
    let other = Server::start(move |_| Answer::redirect(302, there.get().unwrap()));
    let elsewhere = other.url("/");
    let api = Server::start(move |seen| match seen.target.as_str() {
        "/" => Answer::redirect(302, &elsewhere),
        _ => Answer::ok("found"),
    });
    back.set(api.url("/back")).unwrap();
    let (client, _) = client_of(&api);
    assert_eq!(text(client.get(api.url("/")).header("X-Api-Key", "hunter2").call()), "found");
    let seen = api.seen().pop().unwrap();
    assert_eq!((seen.target.as_str(), seen.header("x-api-key"), seen.bearer()), ("/back", None, None));
}
