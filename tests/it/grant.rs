//! Grants whose values are made for each attempt, and clients that show who they are by an assertion.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq_auth::oauth2::{Attempt, ClientCredentials, DeviceCode, Grant, RefreshToken, Revocation};
use ureq_auth::{Error, ErrorKind, Fetch, ManualClock, Outcome, Session, SourceError, Token, TokenSource};

use crate::server::{Answer, Seen, Server};
use crate::support::{policy, secs, token};

const TOKEN: &str = r#"{"access_token":"abc","token_type":"Bearer","expires_in":300}"#;
/// The server's time in these tests: this machine's is another.
const DATE: &str = "Sun, 06 Nov 2050 08:49:37 GMT";
const TIME: u64 = 2_551_337_377;

fn session(source: impl TokenSource + 'static) -> Session {
    Session::builder(source).clock(ManualClock::new(None)).policy(policy().with_attempts(1)).build().unwrap()
}

/// A value that tells attempts apart.
fn numbered() -> impl Fn(&Attempt<'_>) -> Result<[(&'static str, String); 1], SourceError> + Send + Sync {
    let made = AtomicUsize::new(0);
    move |_| Ok([("assertion", format!("made-{}", made.fetch_add(1, Ordering::SeqCst) + 1))])
}

fn bearer(server: &Server) -> Grant {
    Grant::new(server.url("/token"), Grant::JWT_BEARER)
}

fn fields(seen: &Seen) -> Vec<(String, String)> {
    form_urlencoded::parse(&seen.body).into_owned().collect()
}

fn names(seen: &Seen) -> Vec<String> {
    fields(seen).into_iter().map(|(name, _)| name).collect()
}

fn value(seen: &Seen, wanted: &str) -> Option<String> {
    fields(seen).into_iter().find(|(name, _)| name == wanted).map(|(_, value)| value)
}

#[test]
fn the_values_go_with_the_grants_name_and_no_client_id() {
    let server = Server::script([Answer::ok(TOKEN)]);
    let source = bearer(&server).scope("a b").param("audience", "https://api").params(numbered());
    assert_eq!(session(source).token().unwrap().secret(), "abc");
    let [seen] = &server.seen()[..] else { panic!("{:?}", server.told()) };
    assert_eq!(
        seen.text(),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&scope=a+b&audience=https%3A%2F%2Fapi&assertion=made-1"
    );
    assert_eq!(seen.header("authorization"), None);
}

#[test]
fn the_values_are_made_anew_for_each_attempt() {
    let server = Server::script([Answer::new(503), Answer::ok(TOKEN), Answer::ok(TOKEN)]);
    let clock = ManualClock::new(None);
    let builder = Session::builder(bearer(&server).params(numbered())).clock(clock.clone()).policy(policy());
    let session = builder.build().unwrap();
    session.token().unwrap();
    clock.advance(secs(300));
    session.token().unwrap();
    let sent: Vec<_> = server.seen().iter().filter_map(|seen| value(seen, "assertion")).collect();
    assert_eq!(sent, ["made-1", "made-2", "made-3"]);
}

#[test]
fn what_a_client_has_besides_goes_as_with_other_grants() {
    let server = Server::script([Answer::ok(TOKEN), Answer::ok(TOKEN), Answer::ok(TOKEN)]);
    session(bearer(&server).client_id("me").params(numbered())).token().unwrap();
    session(bearer(&server).client_id("me").client_secret("s").params(numbered())).token().unwrap();
    session(bearer(&server).client_id("me").client_secret("s").secret_in_body().params(numbered())).token().unwrap();
    let seen = server.seen();
    assert_eq!(names(&seen[0]), ["grant_type", "client_id", "assertion"]);
    assert_eq!(names(&seen[1]), ["grant_type", "assertion"]);
    assert_eq!(seen[1].header("authorization"), Some(&*format!("Basic {}", BASE64_STANDARD.encode("me:s"))));
    assert_eq!(names(&seen[2]), ["grant_type", "client_id", "client_secret", "assertion"]);
}

#[test]
fn wrong_settings_are_errors_before_anything_is_sent() {
    let server = Server::untouched();
    let problem = |source: Grant| Session::new(source).unwrap_err();
    let errors: [(Error, &str); 5] = [
        (problem(Grant::new(server.url("/token"), "")), "grant type is empty"),
        (problem(bearer(&server).client_id("")), "client id is empty"),
        (problem(bearer(&server).client_secret("s")), "give it by client_id"),
        (problem(bearer(&server).client_assertion(|_| Ok("x".into()))), "give it by client_id"),
        (problem(Grant::new("http://id.example.com", "x")), "plain http"),
    ];
    for (error, says) in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    }
    // What is made cannot be looked at before it is made.
    let source = bearer(&server).params(|_| Ok([("grant_type", "another")]));
    let error = session(source).token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("grant_type"), "{error}");
}

#[test]
fn a_value_that_cannot_be_made_is_the_attempts_error() {
    let server = Server::untouched();
    let source = bearer(&server).params(|_| Err::<[(&str, &str); 0], _>(SourceError::unavailable("the HSM is busy")));
    let error = session(source).token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("the HSM is busy"), "{error}");
}

#[test]
fn a_refusal_is_of_this_attempt_and_no_word_on_a_login() {
    let server = Server::script([Answer::new(400).body(r#"{"error":"invalid_grant"}"#), Answer::ok(TOKEN)]);
    let clock = ManualClock::new(None);
    let builder = Session::builder(bearer(&server).params(numbered())).clock(clock.clone()).policy(policy());
    let session = builder.build().unwrap();
    let error = session.token().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Misconfigured, Some("invalid_grant")));
    assert!(!error.is_login_required() && error.is_retryable());
    clock.advance(error.retry_after().unwrap());
    assert_eq!(session.token().unwrap().secret(), "abc");
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let server = Server::script([Answer::ok(TOKEN).torn()]);
    let error = bearer(&server).params(numbered()).fetch(Fetch::new(None, secs(30))).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unavailable);
}

#[test]
fn a_refresh_token_that_comes_back_is_used_until_it_is_refused() {
    let with_refresh = |name: &str| Answer::ok(format!(r#"{{"access_token":"{name}","refresh_token":"r-{name}"}}"#));
    let server = Server::script([
        with_refresh("a"),
        Answer::ok(r#"{"access_token":"b"}"#),
        with_refresh("c"),
        Answer::new(400).body(r#"{"error":"invalid_grant"}"#),
        Answer::ok(TOKEN),
    ]);
    let session = session(bearer(&server).params(numbered()));
    let mut token = session.token().unwrap();
    for _ in 0..3 {
        session.accepted(&token);
        token = session.rejected(&token).unwrap();
    }
    let sent: Vec<_> = server.seen().iter().map(|seen| value(seen, "refresh_token").unwrap_or_default()).collect();
    assert_eq!(sent, ["", "r-a", "r-a", "r-c", ""]);
    assert_eq!(value(&server.seen()[4], "assertion").unwrap(), "made-2");
    assert_eq!((token.secret(), token.refresh_secret()), ("abc", Some("r-c")));
}

#[test]
fn a_refresh_that_fails_for_now_is_no_reason_for_the_grant() {
    let server = Server::script([Answer::new(503)]);
    let previous = token("old", 300).with_refresh_token("r");
    let error = bearer(&server).params(numbered()).fetch(Fetch::new(Some(&previous), secs(30))).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unavailable);
}

/// Refuses whatever is not of its own time, as a server does with an assertion that has expired.
fn strict(field: &'static str, code: &'static str) -> Server {
    Server::start(move |seen| {
        let time: u64 = value(seen, field).unwrap().parse().unwrap();
        match time.abs_diff(TIME) {
            0..60 => Answer::ok(TOKEN),
            _ => Answer::new(400).body(format!(r#"{{"error":"{code}"}}"#)),
        }
        .header("Date", DATE)
    })
}

#[test]
fn a_device_whose_clock_is_wrong_learns_the_time_from_the_refusal() {
    let server = strict("assertion", "invalid_grant");
    let grant = bearer(&server).params(|attempt| Ok([("assertion", attempt.now().as_secs().to_string())]));
    grant.fetch(Fetch::new(None, secs(30))).unwrap();
    assert_eq!(server.count(), 2, "refused, and made again for the server's time");
    grant.fetch(Fetch::new(None, secs(30))).unwrap();
    assert_eq!(server.count(), 3, "which is known from then on");

    let server = strict("client_assertion", "invalid_client");
    let service = ClientCredentials::without_secret(server.url("/token"), "me")
        .client_assertion(|attempt| Ok(attempt.now().as_secs().to_string()));
    session(service).token().unwrap();
    assert_eq!(server.count(), 2);
}

#[test]
fn an_assertion_that_is_refused_for_another_reason_is_sent_once() {
    let refusal = || Answer::new(400).body(r#"{"error":"invalid_grant"}"#);
    // The first one teaches the time; whatever comes then has another reason.
    let server = Server::script([refusal().header("Date", DATE), refusal().header("Date", DATE)]);
    let grant = bearer(&server).params(|attempt| Ok([("assertion", attempt.now().as_secs().to_string())]));
    let error = grant.fetch(Fetch::new(None, secs(30))).unwrap_err();
    assert_eq!((error.code(), server.count()), (Some("invalid_grant"), 2));
    // Without a date there is nothing to learn.
    let server = Server::script([refusal()]);
    bearer(&server).params(numbered()).fetch(Fetch::new(None, secs(30))).unwrap_err();
}

#[test]
fn a_server_whose_clock_runs_wild_is_not_asked_for_ever() {
    let dates = Mutex::new([DATE, "Sun, 06 Nov 2061 08:49:37 GMT"].into_iter().cycle());
    let server = Server::start(move |_| {
        let date = dates.lock().unwrap().next().unwrap();
        Answer::new(400).body(r#"{"error":"invalid_grant"}"#).header("Date", date)
    });
    let error = bearer(&server).params(numbered()).fetch(Fetch::new(None, secs(30))).unwrap_err();
    // Made anew once, and then what it says is the answer.
    assert_eq!((error.code(), server.count()), (Some("invalid_grant"), 2));
}

#[test]
fn an_attempt_tells_what_an_assertion_needs() {
    let server = Server::script([Answer::ok(TOKEN), Answer::ok(TOKEN)]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let note = |attempt: &Attempt<'_>, told: &Mutex<Vec<String>>| {
        let previous = attempt.previous().map(Token::secret);
        told.lock().unwrap().push(format!("{} {} {previous:?}", attempt.client_id(), attempt.token_url()));
    };
    let (of_grant, of_client) = (told.clone(), told.clone());
    let grant = bearer(&server)
        .client_id("me")
        .client_assertion(move |attempt| {
            note(attempt, &of_client);
            Ok("proof".to_owned())
        })
        .params(move |attempt| {
            note(attempt, &of_grant);
            Ok([("assertion", "x")])
        });
    grant.fetch(Fetch::new(None, secs(30))).unwrap();
    grant.fetch(Fetch::new(Some(&token("old", 300)), secs(30))).unwrap();
    let url = server.url("/token");
    let expected = ["None", "None", "Some(\"old\")", "None"].map(|previous| format!("me {url} {previous}"));
    assert_eq!(*told.lock().unwrap(), expected);
}

#[test]
fn an_assertion_takes_the_place_of_a_secret_in_every_request() {
    const PROOF: &str = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=proof-";
    let made = Arc::new(AtomicUsize::new(0));
    let prove = || {
        let made = Arc::clone(&made);
        move |_: &Attempt<'_>| Ok(format!("proof-{}", made.fetch_add(1, Ordering::SeqCst) + 1))
    };
    let server = Server::start(|seen| match seen.target.as_str() {
        "/device" => Answer::ok(r#"{"device_code":"d","user_code":"u","verification_uri":"https://x","interval":1}"#),
        "/revoke" => Answer::ok(""),
        _ => Answer::ok(TOKEN),
    });
    let url = server.url("/token");
    session(ClientCredentials::without_secret(&url, "me").client_assertion(prove())).token().unwrap();
    session(ClientCredentials::new(&url, "me", "secret").client_assertion(prove())).token().unwrap();
    session(RefreshToken::new(&url, "me", "r").client_secret("secret").client_assertion(prove())).token().unwrap();
    session(bearer(&server).client_id("me").client_assertion(prove())).token().unwrap();
    Revocation::new(server.url("/revoke"), "me").client_assertion(prove()).revoke(&token("abc", 300)).unwrap();
    let device = DeviceCode::new(server.url("/device"), &url, "me").client_assertion(prove());
    let device = device.clock(ManualClock::new(None));
    let source = device.source();
    let logged_in = device.log_in(|_| {}).unwrap().with_refresh_token("r");
    source.fetch(Fetch::new(Some(&logged_in), secs(30))).unwrap();
    for (number, seen) in server.seen().iter().enumerate() {
        let text = seen.text();
        assert!(text.contains("client_id=me"), "{text}");
        assert!(text.ends_with(&format!("{PROOF}{}", number + 1)), "{text}");
        assert!(!text.contains("secret") && seen.header("authorization").is_none(), "{text}");
    }
    assert_eq!(server.count(), 8);
}

#[test]
fn a_client_without_a_secret_only_says_its_name() {
    let server = Server::script([Answer::ok(TOKEN)]);
    session(ClientCredentials::without_secret(server.url("/token"), "me")).token().unwrap();
    assert_eq!(server.seen()[0].text(), "grant_type=client_credentials&client_id=me");
}

#[test]
fn what_was_made_is_in_no_text() {
    let echo = |seen: &Seen| Answer::new(400).body(format!(r#"{{"error":"x","error_description":"{}"}}"#, seen.text()));
    let server = Server::start(echo);
    let source = bearer(&server)
        .client_id("me")
        .client_assertion(|_| Ok("hidden+proof".into()))
        .params(|_| Ok([("assertion", "hidden/value")]));
    let shown = format!("{source:?}");
    let error = source.fetch(Fetch::new(None, secs(30))).unwrap_err();
    let shown = format!("{shown} {error} {error:?}");
    assert!(shown.contains("me") && shown.contains("[redacted]"), "{shown}");
    assert!(!shown.contains("hidden"), "{shown}");
}

#[test]
fn the_owner_is_the_client_or_else_the_grant() {
    let grant = Grant::new("https://id.example.com/token?key=1", "urn:x");
    assert_eq!(grant.owner().unwrap(), "urn:x at https://id.example.com/token");
    assert_eq!(grant.client_id("me").owner().unwrap(), "me at https://id.example.com/token");
}
