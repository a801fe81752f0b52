use super::*;
use crate::ErrorKind;
use crate::oauth2::{ClientCredentials, RefreshToken};
use crate::outcome::Outcome;
use crate::{Fetch, TokenSource};

const URL: &str = "https://id.example.com/token";

fn refresh() -> RefreshToken {
    RefreshToken::new(URL, "my-client", "hunter2")
}

fn service() -> ClientCredentials {
    ClientCredentials::new(URL, "my-client", "hunter2")
}

#[test]
fn settings_that_are_of_use() {
    let second = Duration::from_secs(1);
    for source in [
        RefreshToken::new("https://id.example.com:8443/a/token?tenant=x", "my-client", "r"),
        RefreshToken::new("http://localhost:8080/token", "my-client", "r"),
        RefreshToken::new("http://127.0.0.1/token", "my-client", "r"),
        RefreshToken::new("http://[::1]/token", "my-client", "r"),
        RefreshToken::new("http://id.example.com/token", "my-client", "r").allow_plain_http(),
        refresh().with_client_secret("s").with_scope("a b").with_timeout(second),
        refresh().with_param("resource", "a").with_param("resource", "b").with_param("empty", ""),
    ] {
        source.check().unwrap();
    }
    service().with_secret_in_body().check().unwrap();
}

#[test]
fn settings_that_are_not_say_what_to_do() {
    let at = |url: &str| RefreshToken::new(url, "my-client", "hunter2");
    for (source, says) in [
        (at(""), "the token URL is empty"),
        (at("id.example.com/token"), "begin it with https://"),
        (at("/token"), "begin it with https://"),
        (at("https:///token"), "not a valid address"),
        (at("https://id.example.com/to ken"), "not a valid address"),
        (at("ftp://id.example.com/token"), "other than https and http"),
        (at("http://id.example.com/token"), "allow_plain_http()"),
        (at("https://id.example.com/token#hunter2"), "fragment"),
        (at("https://me:hunter2@id.example.com/token"), "leave that out"),
        (at("https://id.example.com:hunter2/token"), "valid"),
        (RefreshToken::new(URL, "", "r"), "client id is empty"),
        (RefreshToken::new(URL, "c", ""), "refresh token is empty"),
        (RefreshToken::new(URL, "c", "hunter2\n"), "control character"),
        (refresh().with_client_secret(""), "client secret is empty"),
        (refresh().with_client_secret_post(""), "client secret is empty"),
        (refresh().with_scope(" "), "scope is empty"),
        (refresh().with_timeout(Duration::ZERO), "more than zero"),
        (refresh().with_timeout(Duration::MAX), "more than an hour"),
        (refresh().with_param("", "hunter2"), "no name"),
        (refresh().with_param("grant_type", "hunter2"), "grant_type would override"),
        (refresh().with_param("refresh_token", "hunter2"), "refresh_token would override"),
        (refresh().with_param("client_id", "hunter2"), "client_id would override"),
        (refresh().with_param("client_secret", "hunter2"), "client_secret would override"),
        (refresh().with_param("scope", "hunter2"), "scope would override"),
    ] {
        let error = source.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = format!("{error} {error:?} {source:?}");
        assert!(text.contains(says), "{says}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(ClientCredentials::new(URL, "c", "").check().unwrap_err().to_string().contains("client secret is empty"));
}

#[test]
fn nothing_is_sent_by_a_source_that_is_not_fit_or_has_no_time() {
    let fetch = Fetch { previous: None, time_left: Duration::from_secs(5) };
    // No session, so nobody has called check().
    let plain = RefreshToken::new("http://id.example.invalid/token", "c", "r");
    assert_eq!(plain.fetch(fetch).unwrap_err().outcome(), Outcome::Misconfigured);
    let late = Fetch { time_left: Duration::ZERO, ..fetch };
    assert_eq!(refresh().fetch(late).unwrap_err().outcome(), Outcome::Unavailable);
}

#[test]
fn what_cannot_be_overridden() {
    let origin = Origin::parse("https://id.example.com").unwrap();
    let mut endpoint = Endpoint::new(URL.into(), "c".into(), ClientAuth::None);
    endpoint.timeout = Some(Duration::from_secs(3));
    endpoint.configure = Some(std::sync::Arc::new(|config| {
        config.max_redirects(5).http_status_as_error(true).max_idle_connections(9).user_agent("mine")
    }));
    let config = endpoint.build_agent(&origin).config().clone();
    assert_eq!((config.max_redirects(), config.http_status_as_error(), config.max_idle_connections()), (0, false, 0));
    assert_eq!(config.timeouts().global, Some(Duration::from_secs(3)));
    assert!(format!("{:?}", config.user_agent()).contains("mine"));
}

#[test]
fn the_time_out_is_most_of_the_flights_time_however_much_that_is() {
    let secs = Duration::from_secs;
    let usual = Some(TIMEOUT);
    let mut endpoint = Endpoint::new(URL.into(), "c".into(), ClientAuth::None);
    for (time_left, timeout) in [(6, 5), (29, 25), (30, 25), (36, 30), (120, 100), (10_000, 3600)] {
        assert_eq!(endpoint.timeout_with(usual, secs(time_left)), secs(timeout), "{time_left}");
    }
    assert_eq!(endpoint.timeout_with(usual, Duration::MAX), TIMEOUT);
    // The user's own is not made longer.
    endpoint.configure = Some(std::sync::Arc::new(|config| config));
    assert_eq!(endpoint.timeout_with(usual, secs(120)), TIMEOUT);
    assert_eq!(endpoint.timeout_with(None, secs(120)), secs(100));
    assert_eq!(endpoint.timeout_with(Some(secs(60)), secs(30)), secs(25));
    endpoint.timeout = Some(secs(3));
    assert_eq!(endpoint.timeout_with(Some(secs(3)), secs(120)), secs(3));
}

#[test]
fn texts_never_grow_beyond_what_was_reserved() {
    let odd = "ü+/ ".repeat(50);
    let mut endpoint = Endpoint::new(URL.into(), odd.clone(), ClientAuth::Basic(Secret::new(odd.clone())));
    let capacity: usize = [("a", odd.as_str()), ("b", "")].iter().map(|(n, v)| 3 * (n.len() + v.len()) + 2).sum();
    assert_eq!(endpoint.form(&[("a", &odd), ("b", "")], None).capacity(), capacity);
    let credentials = endpoint.credentials().unwrap();
    assert_eq!(credentials.capacity(), credentials.len());
    endpoint.client_auth = ClientAuth::None;
    assert!(endpoint.credentials().is_none());
}

#[test]
fn reads_to_the_end_or_to_the_limit() {
    struct Halting(u8);

    impl Read for Halting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                2 => Err(io::ErrorKind::Interrupted.into()),
                5.. => Ok(0),
                _ => (&b"ab"[..]).read(buffer),
            }
        }
    }

    let mut buffer = [0; 16];
    assert_eq!(fill(&mut buffer, &mut Halting(0)).unwrap(), 6);
    assert_eq!(&buffer[..6], b"ababab");
    assert_eq!(fill(&mut buffer[..3], &mut Halting(0)).unwrap(), 3);
}
