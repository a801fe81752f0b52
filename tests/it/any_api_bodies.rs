//! Rules that look at bodies: of responses that have none, that halt, that are in another charset or that cannot be answered by
//! a replay; rules that panic; and what is left to them with statuses as errors.

use std::io::Write as _;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Error as UreqError};
use ureq_auth::{Client, ClientBuilder, Clock as _, ErrorKind, ManualClock, NotReplayed, Session, Token};

use crate::client::{Calls, builder_of, kind, numbered, plain_statuses, text};
use crate::server::{Answer, Gate, Server};
use crate::support::secs;

fn send(mut stream: &TcpStream, text: &str) {
    // A client that does not want the rest may have gone.
    let _gone = stream.write_all(text.as_bytes());
}

/// A response whose rest does not come before the gate is open.
fn halting(begin: &'static str, gate: &Gate) -> Answer {
    let gate = gate.clone();
    Answer::written(move |stream| {
        send(stream, begin);
        gate.wait();
        send(stream, "the rest");
    })
}

/// With a connector of the user's, whose reads nothing but ureq's time-outs cuts short.
fn own_connector(builder: ClientBuilder) -> ClientBuilder {
    builder.make_agent(|config| Agent::with_parts(config, DefaultConnector::new(), DefaultResolver::default()))
}

#[test]
fn a_halting_body_of_known_length_does_not_hold_a_call_over_a_connector_of_the_users() {
    let refused = "HTTP/1.1 401 No\r\nContent-Length: 15\r\n\r\nbegun, ";
    let moved = "HTTP/1.1 302 There\r\nLocation: /there\r\nContent-Length: 15\r\n\r\nbegun, ";
    let told = "HTTP/1.1 403 No\r\nContent-Length: 20\r\n\r\n{\"code\":7},,,";
    for begin in [refused, moved, told] {
        let gate = Gate::new(1);
        let server = Server::script([halting(begin, &gate), Answer::ok("fine")]);
        let (builder, _) = builder_of(&server);
        let builder = builder.configure(plain_statuses).refused_if(|answer| answer.json_is("/code", "7"));
        let client = own_connector(builder).build().unwrap();
        // It would wait for the rest, which comes after that.
        assert_eq!(text(client.get(server.url("/")).call()), "fine");
        gate.open();
    }
}

#[test]
fn a_body_that_halts_behind_what_the_rule_wanted_is_whole_for_its_caller() {
    for own in [false, true] {
        let gate = Gate::new(1);
        let begin = "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{\"code\":0}   ";
        let server = Server::script([halting(begin, &gate)]);
        let (builder, _) = builder_of(&server);
        let builder = builder.refused_if(|answer| answer.json_is("/code", "7"));
        let client = if own { own_connector(builder) } else { builder }.build().unwrap();
        let answer = client.get(server.url("/")).call();
        gate.open();
        assert_eq!(text(answer), "{\"code\":0}   the rest");
    }
}

#[test]
fn a_short_body_that_is_here_keeps_its_length_over_a_connector_of_the_users_too() {
    let server = Server::start(|_| Answer::ok("{\"code\":0}"));
    let (builder, _) = builder_of(&server);
    let client = own_connector(builder.refused_if(|answer| answer.json_is("/code", "7"))).build().unwrap();
    for _ in 0..2 {
        let answer = client.get(server.url("/")).call().unwrap();
        assert_eq!(answer.body().content_length(), Some(10));
        assert_eq!(text(Ok(answer)), "{\"code\":0}");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_text_is_decoded_as_often_as_by_plain_ureq_whoever_has_switched_its_decoder_on() {
    for charset in ["iso-8859-1", "windows-1251", "shift_jis", "utf-16le", "utf-8", "no-charset"] {
        for mime_type in ["text/plain", "application/json"] {
            let answer = move |status| {
                let content = format!("{mime_type}; charset={charset}");
                Answer::new(status).header("Content-Type", content).body(b"caf\xe9\x00\xd0\xb6!")
            };
            let server = Server::start(move |seen| answer(if seen.target == "/" { 200 } else { 401 }));
            // A rule has looked at it, or it was put aside, or both.
            let plain = ureq::get(server.url("/")).call().unwrap().body_mut().read_to_vec().unwrap();
            let client = |builder: ClientBuilder| builder.replay_limit(0).configure(plain_statuses).build().unwrap();
            let asides = client(builder_of(&server).0);
            let rule = |builder: ClientBuilder| builder.refused_if(|answer| answer.body().is_empty());
            let rules = client(rule(builder_of(&server).0));
            for client in [&asides, &rules] {
                for path in ["/", "/refused"] {
                    let mut answer = client.post(server.url(path)).send("x").unwrap();
                    let decoded = answer.body().charset() != Some(charset);
                    assert!(!decoded || answer.body().charset() == Some("utf-8"), "{charset}");
                    assert_eq!(answer.body_mut().read_to_vec().unwrap(), plain, "{charset} {mime_type} {path}");
                }
            }
        }
    }
}

#[test]
fn a_response_without_a_body_has_none_for_a_rule_and_waits_for_nothing() {
    let responses = [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD", "HTTP/1.1 401 No\r\nContent-Length: 1000\r\nWWW-Authenticate: Basic\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Same\r\nContent-Length: 1000\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("GET", "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n"),
    ];
    for (method, wire) in responses {
        let server = Server::start(move |_| Answer::written(move |stream| send(stream, wire)));
        let rule = |answer: &mut ureq_auth::Answer<'_>| {
            assert_eq!(answer.body(), b"");
            answer.json_is("/code", "7") || answer.body_contains("expired")
        };
        let (builder, calls) = builder_of(&server);
        let client = builder.configure(plain_statuses).refused_if(rule).build().unwrap();
        for _ in 0..2 {
            let request = ureq::http::Request::builder().method(method).uri(server.url("/")).body(()).unwrap();
            assert_eq!(text(client.run(request)), "", "{wire}");
        }
        assert_eq!((calls.count(), server.count(), server.connections()), (1, 2, 1), "{wire}");
    }
}

#[test]
fn nothing_is_read_of_the_protocol_that_a_101_leads_to_and_no_rule_is_asked_about_it() {
    let gate = Gate::new(1);
    let begin = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x02";
    let server = Server::script([halting(begin, &gate)]);
    let (builder, calls) = builder_of(&server);
    let rule = |answer: &mut ureq_auth::Answer<'_>| panic!("asked about {}", answer.status());
    let client = builder.configure(plain_statuses).refused_if(rule).build().unwrap();
    let request = client.get(server.url("/")).header("Upgrade", "websocket").header("Connection", "upgrade");
    assert_eq!(request.call().unwrap().status(), 101);
    assert_eq!(calls.count(), 1);
    gate.open();
}

#[test]
fn a_rule_that_panics_panics_in_its_call_and_the_client_goes_on() {
    static PANICS: AtomicBool = AtomicBool::new(true);
    let server = Server::start(|_| Answer::ok("{\"code\":0}"));
    let (builder, calls) = builder_of(&server);
    let rule = |answer: &mut ureq_auth::Answer<'_>| {
        let is_refused = answer.json_is("/code", "7");
        assert!(!PANICS.load(Ordering::SeqCst), "a rule's own mistake");
        is_refused
    };
    let client = builder.configure(plain_statuses).refused_if(rule).build().unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| client.get(server.url("/")).call())).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>().copied(), Some("a rule's own mistake"));
    PANICS.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(text(client.get(server.url("/")).call()), "{\"code\":0}");
    }
    assert_eq!(calls.count(), 1);
}

#[test]
fn a_refusal_told_to_a_body_that_cannot_be_sent_again_is_whole_and_marked() {
    let server = Server::start(|seen| match seen.bearer() {
        Some("token-1") => Answer::new(403).body("{\"code\":7}"),
        _ => Answer::ok(seen.text()),
    });
    let (builder, calls) = builder_of(&server);
    let builder = builder.replay_limit(4).configure(plain_statuses);
    let client = builder.refused_if(|answer| answer.json_is("/code", "7")).build().unwrap();
    let streamed = ureq::SendBody::from_owned_reader(std::io::Cursor::new(vec![b'x'; 100_000]));
    let answer = client.post(server.url("/")).send(streamed).unwrap();
    assert!(answer.extensions().get::<NotReplayed>().is_some());
    assert_eq!(text(Ok(answer)), "{\"code\":7}");
    assert_eq!(text(client.post(server.url("/")).send("sent anew")), "sent anew");
    assert_eq!((calls.count(), server.count()), (2, 2));
}

#[test]
fn a_rule_sees_what_comes_after_100_continue_and_the_body_is_not_sent_again() {
    // What comes in its place ureq 3.5.2 does not deliver.
    let server = Server::start(|seen| match seen.bearer() {
        Some("token-1") => Answer::new(403).body("{\"code\":7}"),
        _ => Answer::ok(seen.text()),
    });
    let (builder, calls) = builder_of(&server);
    let builder = builder.configure(plain_statuses).refused_if(|answer| answer.json_is("/code", "7"));
    let client = builder.build().unwrap();
    let post = || client.post(server.url("/")).header("Expect", "100-continue").content_type("text/plain").send("body");
    let answer = post().unwrap();
    assert!(answer.extensions().get::<NotReplayed>().is_some());
    assert_eq!(text(Ok(answer)), "{\"code\":7}");
    assert_eq!(text(post()), "body");
    assert_eq!((calls.count(), server.count()), (2, 2));
}

/// A rule of all that a rule can ask for.
fn asks_for_all(answer: &mut ureq_auth::Answer<'_>) -> bool {
    answer.status() == 498
        || answer.status() == 404 && answer.token_age() >= secs(3600)
        || answer.header("x-token-expired") == "true"
        || answer.has_challenge("Token")
        || answer.body_contains("expired")
}

#[test]
fn with_statuses_as_errors_the_status_and_the_tokens_age_are_left_of_a_4xx() {
    let clock = ManualClock::new(None);
    let server = Server::start(|seen| match (&*seen.target, seen.bearer()) {
        (_, Some("token-2")) => Answer::ok(seen.text()),
        ("/498", _) => Answer::new(498),
        ("/404", _) => Answer::new(404),
        ("/200", _) => Answer::ok("expired"),
        _ => Answer::new(403).header("X-Token-Expired", "true").header("WWW-Authenticate", "Token").body("expired"),
    });
    for (path, age, is_refused) in
        [("/498", 0, true), ("/404", 0, false), ("/404", 3600, true), ("/403", 0, false), ("/200", 0, true)]
    {
        let calls = Calls::default();
        let source = numbered(calls.clone());
        let policy = ureq_auth::Policy::new().with_token_lag(std::time::Duration::ZERO);
        let session = Session::builder(move |token: Option<&Token>| source(token)).policy(policy).clock(clock.clone());
        let session = session.build().unwrap();
        session.token().unwrap();
        clock.advance(secs(age));
        assert_eq!(session.token().unwrap().age(clock.now()), Some(secs(age)));
        let client = Client::builder(session).origin(server.origin()).refused_if(asks_for_all).build().unwrap();
        let answer = client.post(server.url(path)).send("body");
        if is_refused {
            assert_eq!(text(answer), "body", "{path}");
        } else {
            let error = answer.unwrap_err();
            assert!(matches!(error, UreqError::StatusCode(status) if path.ends_with(&status.to_string())), "{path}");
        }
        assert_eq!(calls.count(), if is_refused { 2 } else { 1 }, "{path}");
    }
}

#[test]
fn with_statuses_as_errors_one_request_can_have_them_as_answers_and_its_rule_sees_all() {
    let server = Server::start(|seen| match seen.bearer() {
        Some("token-1") => Answer::new(403).body("expired"),
        _ => Answer::ok("fine"),
    });
    let (builder, calls) = builder_of(&server);
    let client = builder.refused_if(asks_for_all).build().unwrap();
    let error = client.get(server.url("/")).call().unwrap_err();
    assert!(matches!(error, UreqError::StatusCode(403)), "{error:?}");
    assert_eq!(calls.count(), 1);
    let request = client.get(server.url("/")).config().http_status_as_error(false).build();
    assert_eq!(text(request.call()), "fine");
    assert_eq!(calls.count(), 2);
}

#[test]
fn with_statuses_as_errors_what_cannot_be_sent_again_is_an_error_that_says_so() {
    let server = Server::start(|_| Answer::new(498));
    let (builder, calls) = builder_of(&server);
    let client = builder.replay_limit(0).refused_if(|answer| answer.status() == 498).build().unwrap();
    assert_eq!(kind(client.post(server.url("/")).send("x")), ErrorKind::NotReplayed);
    assert_eq!(calls.count(), 2);
}
