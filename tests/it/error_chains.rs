//! A report of an error and its causes says nothing twice: no text along `source()` is a part of another.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::Error as UreqError;
use ureq_auth::oauth2::{ClientCredentials, DeviceCode, Issuer, RefreshToken, Revocation};
use ureq_auth::{Client, Error, ErrorKind, ManualClock, Policy, Session, SourceError, Token, TokenSource};

use crate::client::{builder_of, session};
use crate::server::{Answer, Server};

const KINDS: [ErrorKind; 14] = [
    ErrorKind::InvalidInput,
    ErrorKind::NotLoggedIn,
    ErrorKind::LoggedOut,
    ErrorKind::Rejected,
    ErrorKind::Misconfigured,
    ErrorKind::Unavailable,
    ErrorKind::Unknown,
    ErrorKind::Timeout,
    ErrorKind::Reentrant,
    ErrorKind::Store,
    ErrorKind::RefusedTooOften,
    ErrorKind::NotReplayed,
    ErrorKind::AlreadyInitialized,
    ErrorKind::NotInitialized,
];

/// The texts of an error and of all that is behind it.
fn chain(error: &dyn StdError) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    texts
}

fn says_nothing_twice(error: &dyn StdError) {
    let texts = chain(error);
    for (at, text) in texts.iter().enumerate() {
        assert!(!text.is_empty(), "{texts:#?}");
        for (other_at, other) in texts.iter().enumerate() {
            assert!(at == other_at || !text.contains(other.as_str()), "{texts:#?}");
        }
    }
}

fn asked_once(source: impl TokenSource + 'static) -> Error {
    let policy = Policy::new().with_attempts(1).with_patience(Duration::ZERO);
    Session::builder(source).clock(ManualClock::new(None)).policy(policy).build().unwrap().token().unwrap_err()
}

/// What a session makes of a source that fails like that.
fn through_a_session(error: impl Fn() -> SourceError + Send + Sync + 'static) -> Error {
    asked_once(move |_: Option<&Token>| -> Result<Token, SourceError> { Err(error()) })
}

/// One of each kind, as the crate makes it.
fn one_of_each() -> Vec<Error> {
    let ended = session().0;
    ended.end().unwrap();
    let own = Arc::new(OnceLock::<Session>::new());
    let asked = Arc::clone(&own);
    let reentrant = Session::new(move |_: Option<&Token>| -> Result<Token, SourceError> {
        asked.get().unwrap().token()?;
        unreachable!("that would be a deadlock")
    });
    let reentrant = own.get_or_init(|| reentrant.unwrap()).token().unwrap_err();
    let server = Server::start(|_| Answer::refused());
    let client = builder_of(&server).0.replay_limit(1).build().unwrap();
    let not_replayed = client.post(server.url("/")).send("more than one byte").unwrap_err();
    let refused = Session::builder(|_: Option<&Token>| -> Result<Token, SourceError> { Ok(Token::new("abc")?) })
        .policy(Policy::new().with_reactive(false))
        .build()
        .unwrap();
    let refused = refused.rejected(&refused.token().unwrap()).unwrap_err();
    let not_initialized = ureq_auth::client().unwrap_err();
    let (first, second) = [(); 2].map(|()| Client::new(session().0, "https://api.example.com").unwrap()).into();
    ureq_auth::init(first).unwrap();
    vec![
        Client::new(session().0, "*").unwrap_err(),
        Session::new(RefreshToken::after_login("https://x/t", "c")).unwrap().token().unwrap_err(),
        ended.token().unwrap_err(),
        through_a_session(|| SourceError::rejected("no")),
        through_a_session(|| SourceError::misconfigured("no")),
        through_a_session(|| SourceError::unavailable("no")),
        through_a_session(|| SourceError::unknown("no")),
        Error::store_busy("the lock is another's"),
        reentrant,
        Error::store("the disk is full"),
        refused,
        Error::in_ureq(&not_replayed).unwrap().clone(),
        ureq_auth::init(second).unwrap_err(),
        not_initialized,
    ]
}

#[test]
fn no_error_of_any_kind_says_what_its_cause_says() {
    let errors = one_of_each();
    let kinds: BTreeSet<_> = errors.iter().map(|error| format!("{:?}", error.kind())).collect();
    assert_eq!(kinds, KINDS.iter().map(|kind| format!("{kind:?}")).collect());
    for error in errors {
        says_nothing_twice(&error);
        // A source that asks another session, or another client.
        let again = error.clone();
        says_nothing_twice(&SourceError::from(error.clone()));
        says_nothing_twice(&through_a_session(move || again.clone().into()));
        let again = error.clone();
        says_nothing_twice(&through_a_session(move || UreqError::from(again.clone()).into()));
        says_nothing_twice(&UreqError::from(error));
    }
}

#[test]
fn no_error_of_ureqs_is_repeated() {
    let errors: [fn() -> UreqError; 12] = [
        || UreqError::StatusCode(401),
        || UreqError::StatusCode(503),
        || UreqError::BadUri("none".to_owned()),
        || UreqError::Io(io::Error::from(io::ErrorKind::ConnectionRefused)),
        || UreqError::Io(io::Error::other(io::Error::other("the innermost"))),
        || UreqError::Timeout(ureq::Timeout::Connect),
        || UreqError::HostNotFound,
        || UreqError::ConnectionFailed,
        || UreqError::TooManyRedirects,
        || UreqError::Tls("no"),
        || UreqError::TlsRequired,
        || UreqError::Other("somebody's".into()),
    ];
    for error in errors {
        says_nothing_twice(&SourceError::from(error()));
        says_nothing_twice(&through_a_session(move || error().into()));
    }
    says_nothing_twice(&SourceError::from(io::Error::other("broken")));
}

#[test]
fn nothing_that_asks_a_server_repeats_itself() {
    let server = Server::start(|_| Answer::new(400).body(r#"{"error":"invalid_client","error_description":"who?"}"#));
    let nobody = "http://127.0.0.1:1/x".to_owned();
    for url in [server.url("/x"), nobody] {
        says_nothing_twice(&asked_once(ClientCredentials::new(&url, "c", "s")));
        says_nothing_twice(&asked_once(RefreshToken::new(&url, "c", "r")));
        says_nothing_twice(&Revocation::new(&url, "c").revoke(&Token::new("abc").unwrap()).unwrap_err());
        says_nothing_twice(&DeviceCode::new(&url, &url, "c").log_in(|_| ()).unwrap_err());
        says_nothing_twice(&Issuer::discover(&url).unwrap_err());
    }
}

#[test]
fn a_cause_that_says_more_is_there() {
    let cause = || io::Error::other("the lamp is out");
    let error = through_a_session(move || SourceError::unavailable("no token today").with_cause(cause()));
    assert_eq!(chain(&error).len(), 2);
    assert_eq!(error.source().unwrap().to_string(), "the lamp is out");
    // Behind one whose text is said already, too.
    let wrapped = through_a_session(move || error.clone().into());
    assert_eq!(chain(&wrapped)[1..], ["the lamp is out"]);
}

#[test]
fn a_name_that_cannot_be_looked_up_has_spent_no_refresh_token() {
    // Longer than a label can be (RFC 1035 section 2.3.4), so that no server is asked. The error has no kind that tells.
    let error = std::net::ToSocketAddrs::to_socket_addrs(&(format!("{}.invalid", "a".repeat(64)), 80)).unwrap_err();
    let error = SourceError::from(UreqError::Io(error));
    assert_eq!(error.outcome(), ureq_auth::Outcome::Unreachable, "{error}");
}
