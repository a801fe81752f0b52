use std::io::{self, Read};

use super::reading::SMALL;
use super::*;
use crate::ErrorKind;
use crate::oauth2::answer::MAX_BODY;
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
fn settings_that_are_usable() {
    let second = Duration::from_secs(1);
    for source in [
        RefreshToken::new("https://id.example.com:8443/a/token?tenant=x", "my-client", "r"),
        RefreshToken::new("http://localhost:8080/token", "my-client", "r"),
        RefreshToken::new("http://127.0.0.1/token", "my-client", "r"),
        RefreshToken::new("http://[::1]/token", "my-client", "r"),
        RefreshToken::new("http://id.example.com/token", "my-client", "r").allow_plain_http(),
        refresh().client_secret("s").scope("a b").timeout(second),
        refresh().param("resource", "a").param("resource", "b").param("empty", ""),
    ] {
        source.check().unwrap();
    }
    service().secret_in_body().check().unwrap();
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
        (refresh().client_secret(""), "client secret is empty"),
        (refresh().client_secret("").secret_in_body(), "client secret is empty"),
        (refresh().scope(" "), "scope is empty"),
        (refresh().timeout(Duration::ZERO), "more than zero"),
        (refresh().timeout(Duration::MAX), "more than an hour"),
        (refresh().param("", "hunter2"), "no name"),
        (refresh().param("grant_type", "hunter2"), "grant_type would override"),
        (refresh().param("refresh_token", "hunter2"), "refresh_token would override"),
        (refresh().param("client_id", "hunter2"), "client_id would override"),
        (refresh().param("client_secret", "hunter2"), "client_secret would override"),
        (refresh().param("scope", "hunter2"), "scope would override"),
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
    let mut endpoint = Endpoint::new(URL.into(), "c".into(), None);
    endpoint.timeout = Some(Duration::from_secs(3));
    endpoint.configure(std::sync::Arc::new(|config| {
        config.max_redirects(5).http_status_as_error(true).max_idle_connections(9).user_agent("mine")
    }));
    let config = endpoint.agent(&origin, Duration::MAX).unwrap().0.config().clone();
    assert_eq!((config.max_redirects(), config.http_status_as_error(), config.max_idle_connections()), (0, false, 0));
    assert_eq!(config.timeouts().global, Some(Duration::from_secs(3)));
    assert!(format!("{:?}", config.user_agent()).contains("mine"));
}

/// The time-out of one request after the other on one endpoint, whose flights have so much left.
fn timeouts(source: &RefreshToken, left: &[u64]) -> Vec<Duration> {
    let origin = Origin::parse("https://id.example.com").unwrap();
    left.iter().map(|left| source.endpoint.agent(&origin, Duration::from_secs(*left)).unwrap().1).collect()
}

#[test]
fn a_request_may_take_most_of_the_flights_time() {
    let seconds = |seconds: &[u64]| seconds.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
    // The default budget, and one of a minute: a slow answer is not a lost one.
    assert_eq!(timeouts(&refresh(), &[30, 29, 30]), seconds(&[25, 25, 25]));
    assert_eq!(timeouts(&refresh(), &[60, 58, 60]), seconds(&[50, 50, 50]));
    // Never longer than the flight, or not by much; and after a late attempt the next has its whole time.
    assert_eq!(timeouts(&refresh(), &[12, 30, 60, 30]), seconds(&[10, 25, 50, 25]));
    assert_eq!(timeouts(&refresh(), &[6000]), seconds(&[3600]));
    let origin = Origin::parse("https://id.example.com").unwrap();
    assert_eq!(
        refresh().endpoint.agent(&origin, Duration::MAX).unwrap().1,
        Duration::from_secs(25),
        "without a flight"
    );
}

#[test]
fn a_time_out_that_is_set_is_kept() {
    let second = Duration::from_secs(1);
    let set = || refresh().timeout(second);
    assert_eq!(timeouts(&set(), &[30, 60, 1]), [second; 3]);
    assert_eq!(timeouts(&refresh().timeout(40 * second), &[60, 30]), [40 * second, 30 * second]);
    // By ureq's own setting: never made longer, and shorter only where the flight has less.
    let own = |timeout| refresh().configure(move |config| config.timeout_global(timeout));
    assert_eq!(timeouts(&own(Some(second)), &[30, 60]), [second; 2]);
    assert_eq!(timeouts(&own(Some(20 * second)), &[30, 60, 12]), [20 * second, 20 * second, 10 * second]);
    assert_eq!(timeouts(&own(Some(90 * second)), &[30, 60]), [25 * second, 50 * second]);
    assert_eq!(timeouts(&own(None), &[30, 60]), [25 * second, 50 * second]);
    // Of both, the shorter one.
    let both = |own: Duration| set().configure(move |config| config.timeout_global(Some(own)));
    assert_eq!(timeouts(&both(5 * second), &[30]), [second]);
    assert_eq!(timeouts(&both(second / 2), &[30]), [second / 2]);
    // Whatever else is configured leaves it as it is.
    let other = refresh().configure(|config| config.user_agent("mine"));
    assert_eq!(timeouts(&other, &[60, 30, 60]), [50 * second, 25 * second, 50 * second]);
}

#[test]
fn texts_never_grow_beyond_what_was_reserved() {
    let odd = "ü+/ ".repeat(50);
    let mut endpoint = Endpoint::new(URL.into(), odd.clone(), Some(Secret::new(odd.clone())));
    let capacity: usize = [("a", odd.as_str()), ("b", "")].iter().map(|(n, v)| 3 * (n.len() + v.len()) + 2).sum();
    assert_eq!(endpoint.form(&[("a", &odd), ("b", "")], None).capacity(), capacity);
    let credentials = endpoint.credentials().unwrap();
    assert_eq!(credentials.capacity(), credentials.len());
    endpoint.client_secret = None;
    assert!(endpoint.credentials().is_none());
}

#[test]
fn reads_to_the_end_whatever_interrupts_it() {
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

    let mut buffer = Zeroizing::default();
    read_as_it_comes(&mut buffer, &mut Halting(0)).unwrap();
    assert_eq!(*buffer, b"ababab");
}

#[test]
fn an_answer_gets_the_buffer_that_it_needs_and_is_cut_a_byte_above_the_limit() {
    let long: Vec<u8> = (0..=MAX_BODY + 9).map(|at| (at % 251) as u8).collect();
    for (length, buffer) in [
        (0, SMALL),
        (SMALL - 1, SMALL),
        (SMALL, MAX_BODY + 1),
        (SMALL + 1, MAX_BODY + 1),
        (MAX_BODY, MAX_BODY + 1),
        (MAX_BODY + 1, MAX_BODY + 1),
        (MAX_BODY + 9, MAX_BODY + 1),
    ] {
        let mut body = Zeroizing::default();
        read_as_it_comes(&mut body, &mut &long[..length]).unwrap();
        assert!(*body == long[..length.min(MAX_BODY + 1)], "{length} bytes");
        assert_eq!(body.capacity(), buffer, "{length} bytes");
    }
}
