//! How the token goes in where that is not `Authorization: Bearer`, and what is said where none goes in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ureq::SendBody;
use ureq::http::header::HeaderName;
use ureq::http::{HeaderValue, Request};
use ureq::middleware::MiddlewareNext;
use ureq_auth::{Client, Error, ErrorKind, NotReplayed, Outgoing, Policy, Session, Token, TokenIn};

use crate::client::{Calls, builder_of, numbered, plain_statuses, refuses_the_first, session, text};
use crate::server::{Answer, Server};

type Way = fn() -> TokenIn;

/// Each way in, the header that it uses, and what that holds with `token-1`.
fn ways() -> [(Way, &'static str, &'static str); 4] {
    [
        (|| TokenIn::header("X-Api-Token"), "x-api-token", "token-N"),
        (|| TokenIn::scheme("Bot"), "authorization", "Bot token-N"),
        (|| TokenIn::cookie("session"), "cookie", "session=token-N"),
        (signature, "x-signature", "GET /path token-N"),
    ]
}

fn signature() -> TokenIn {
    TokenIn::with("X-Signature", |request: &mut Outgoing<'_>, token| {
        let text = format!("{} {} {}", request.method(), request.uri().path(), token.secret());
        request.insert(HeaderName::from_static("x-signature"), HeaderValue::try_from(text)?);
        Ok(())
    })
}

#[test]
fn a_token_goes_in_as_it_was_asked_for_and_a_replay_carries_the_next_one() {
    for (way, header, value) in ways() {
        let server = Server::start(move |seen| {
            let is_first = seen.header(header).is_some_and(|value| value.contains("token-1"));
            if is_first { Answer::refused() } else { Answer::ok("fine") }
        });
        let (builder, calls) = builder_of(&server);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sensitive = Arc::clone(&seen);
        let client = builder.token_in(way()).configure(move |config| {
            config.middleware(move |request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
                sensitive.lock().unwrap().push(request.headers()[header].is_sensitive());
                assert!(!format!("{:?}", request.headers()).contains("token-"));
                next.handle(request)
            })
        });
        let client = client.build().unwrap();
        assert_eq!(text(client.get(server.url("/path")).call()), "fine");
        let told: Vec<_> = server.seen().iter().map(|seen| seen.header(header).unwrap().to_owned()).collect();
        assert_eq!(told, [value.replace('N', "1"), value.replace('N', "2")]);
        let bearers = server.seen().iter().filter(|seen| seen.bearer().is_some()).count();
        assert_eq!((bearers, calls.count()), (0, 2), "{header}");
        assert_eq!(*seen.lock().unwrap(), [true, true], "{header}");
    }
}

#[test]
fn a_redirect_to_another_origin_carries_no_token_whatever_way_it_goes_in() {
    for (way, header, value) in ways() {
        let server = Server::script([Answer::redirect(302, "/path"), Answer::ok("here")]);
        let (builder, _) = builder_of(&server);
        let client = builder.token_in(way()).build().unwrap();
        assert_eq!(text(client.get(server.url("/path")).call()), "here");
        let told: Vec<_> = server.seen().iter().map(|seen| seen.header(header).map(str::to_owned)).collect();
        assert_eq!(told, [Some(value.replace('N', "1")), Some(value.replace('N', "1"))], "{header}");

        let foreign = Server::script([Answer::ok("there")]);
        let server = Server::script([Answer::redirect(302, foreign.url("/"))]);
        let (builder, _) = builder_of(&server);
        let client = builder.token_in(way()).build().unwrap();
        assert_eq!(text(client.get(server.url("/path")).call()), "there");
        let seen = foreign.seen();
        assert!(!seen.iter().any(|seen| format!("{seen:?}").contains("token-")), "{header}");
    }
}

#[test]
fn a_middleware_does_not_take_the_token_elsewhere_whatever_way_it_goes_in() {
    for (way, ..) in ways() {
        let foreign = Server::untouched();
        let server = Server::untouched();
        let (builder, _) = builder_of(&server);
        let elsewhere: ureq::http::Uri = foreign.url("/").parse().unwrap();
        let client = builder.token_in(way()).configure(move |config| {
            config.middleware(move |mut request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
                *request.uri_mut() = elsewhere.clone();
                next.handle(request)
            })
        });
        let error = client.build().unwrap().get(server.url("/")).call().unwrap_err();
        assert_eq!(Error::in_ureq(&error).unwrap().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn the_callers_own_header_wins_whatever_way_the_token_goes_in() {
    for (way, header, _) in ways() {
        let server = Server::script([Answer::refused(), Answer::ok("")]);
        let (builder, calls) = builder_of(&server);
        let client = builder.token_in(way()).configure(plain_statuses).build().unwrap();
        let own = if header == "cookie" { "a=b; session=mine" } else { "mine" };
        assert_eq!(client.get(server.url("/")).header(header, own).call().unwrap().status(), 401);
        assert_eq!(server.seen()[0].header(header), Some(own));
        assert_eq!(calls.count(), 0, "{header}");
        // `Authorization` is no obstacle for a token that goes in elsewhere.
        if header != "authorization" {
            client.get(server.url("/path")).header("Authorization", "Basic x").call().unwrap();
            assert!(server.seen()[1].header(header).unwrap().contains("token-1"));
            assert_eq!(server.seen()[1].header("authorization"), Some("Basic x"));
        } else {
            client.get(server.url("/")).call().unwrap();
        }
    }
}

#[test]
fn a_cookie_joins_the_callers_own_in_one_line() {
    let server = Server::script([Answer::ok(""), Answer::ok("")]);
    let (builder, _) = builder_of(&server);
    let client = builder.token_in(TokenIn::cookie("session")).build().unwrap();
    client.get(server.url("/")).header("Cookie", "a=1; sessions=x").header("Cookie", "b=session=2;").call().unwrap();
    let seen = &server.seen()[0];
    let cookies: Vec<_> = seen.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie")).collect();
    assert_eq!(cookies.len(), 1);
    assert_eq!(cookies[0].1, "a=1; sessions=x; b=session=2; session=token-1");
    client.get(server.url("/")).call().unwrap();
    assert_eq!(server.seen()[1].header("cookie"), Some("session=token-1"));
}

#[test]
fn names_that_cannot_carry_a_token_are_refused_and_so_is_a_token_that_no_cookie_can_hold() {
    for way in [
        TokenIn::header(""),
        TokenIn::header("X Token"),
        TokenIn::header("Host"),
        TokenIn::header("content-length"),
        TokenIn::header("Cookie"),
        TokenIn::scheme(""),
        TokenIn::scheme("Bot "),
        TokenIn::scheme("a\r\nb"),
        TokenIn::cookie("a=b"),
        TokenIn::cookie("a;"),
    ] {
        let shown = format!("{way:?}");
        let (session, _) = session();
        let error = Client::builder(session).origin("https://api.example.com").token_in(way).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{shown}");
    }
    let server = Server::untouched();
    let session = Session::new(|_: Option<&Token>| Ok(Token::new("a;b")?)).unwrap();
    let client = Client::builder(session).origin(server.origin()).token_in(TokenIn::cookie("session")).build().unwrap();
    let error = client.get(server.url("/")).call().unwrap_err();
    let error = Error::in_ureq(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!error.to_string().contains("a;b"));
}

#[test]
fn a_call_to_another_origin_says_that_it_gets_no_token() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (observed, calls) = (Arc::clone(&told), Calls::default());
    let session = Session::builder(numbered(calls.clone()))
        .observer(move |event| observed.lock().unwrap().push(event.to_string()))
        .build()
        .unwrap();
    let foreign = Server::start(|_| Answer::ok("there"));
    let origin = foreign.origin();
    let server = Server::script([Answer::redirect(302, foreign.url("/b?code=secret"))]);
    let client = Client::new(session, &server.origin()).unwrap();
    let said = format!("no token for {origin}: it is not an origin of this client (ClientBuilder::origin)");

    client.get(foreign.url("/a?key=secret")).call().unwrap();
    assert_eq!(*told.lock().unwrap(), [&*said]);
    assert_eq!(calls.count(), 0);
    // A caller's own header is no mistake.
    client.get(foreign.url("/")).header("Authorization", "mine").call().unwrap();
    assert_eq!(told.lock().unwrap().len(), 1);

    client.get(server.url("/")).call().unwrap();
    let told = told.lock().unwrap();
    assert_eq!(told.iter().filter(|line| **line == said).count(), 2, "{told:?}");
    assert!(!told.iter().any(|line| line.contains("secret")));
}

#[test]
fn an_agent_without_its_client_says_the_true_cause() {
    for as_error in [false, true] {
        let server = Server::start(refuses_the_first);
        let told = Arc::new(Mutex::new(Vec::new()));
        let (observed, calls) = (Arc::clone(&told), Calls::default());
        let session = Session::builder(numbered(calls.clone()))
            // A refusal is met at once.
            .policy(Policy::new().with_token_lag(Duration::ZERO))
            .observer(move |event| observed.lock().unwrap().push(event.to_string()))
            .build()
            .unwrap();
        let client = Client::builder(session.clone()).origin(server.origin());
        let client = client.configure(move |config| config.http_status_as_error(as_error)).build().unwrap();
        let agent = client.agent().clone();
        drop(client);
        let result = agent.get(server.url("/")).call();
        match result {
            Ok(answer) => assert!(!as_error && answer.extensions().get::<NotReplayed>().is_some()),
            Err(error) => {
                let error = Error::in_ureq(&error).unwrap();
                assert_eq!(error.kind(), ErrorKind::NotReplayed);
                assert!(error.to_string().contains("keep a clone of the Client"), "{error}");
                assert!(!error.to_string().contains("body"), "{error}");
            }
        }
        let told = told.lock().unwrap();
        assert_eq!(told.last().unwrap(), "the refused request cannot be sent again: its Client was dropped");
        assert_eq!((calls.count(), session.stats().not_replayed), (2, 1));
        assert_eq!(text(agent.get(server.url("/")).call()), "GET ");
    }
}

#[test]
fn an_error_of_a_way_in_is_the_calls_own_and_nothing_is_sent() {
    let server = Server::untouched();
    let (builder, _) = builder_of(&server);
    let client = builder.token_in(TokenIn::with("X-Signature", |_, _| Err("no key".into()))).build().unwrap();
    for result in [client.get(server.url("/")).call(), client.post(server.url("/")).send("body")] {
        let error = result.unwrap_err();
        assert!(matches!(&error, ureq::Error::Other(cause) if cause.to_string() == "no key"), "{error:?}");
    }
}

#[cfg(feature = "cookies")]
#[test]
fn the_cookies_of_a_jar_go_in_a_line_of_their_own() {
    let server = Server::script([Answer::ok("").header("Set-Cookie", "theirs=1"), Answer::ok("")]);
    let (builder, _) = builder_of(&server);
    let client = builder.token_in(TokenIn::cookie("session")).build().unwrap();
    client.get(server.url("/")).call().unwrap();
    client.get(server.url("/")).call().unwrap();
    let seen = &server.seen()[1];
    let cookies = seen.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
    let mut cookies: Vec<_> = cookies.map(|(_, value)| value.as_str()).collect();
    cookies.sort_unstable();
    assert_eq!(cookies, ["session=token-1", "theirs=1"]);
}

/// The scheme that the token goes out with is the one whose challenges are about it.
#[test]
fn a_401_of_the_ways_own_scheme_is_the_tokens_and_one_of_another_is_not() {
    for (way, challenge, calls_needed) in [
        (TokenIn::scheme("Token"), "Token", 2),
        (TokenIn::scheme("Token"), "token realm=\"api\"", 2),
        (TokenIn::scheme("Token"), "Token error=\"insufficient_scope\"", 1),
        (TokenIn::scheme("Token"), "Basic realm=\"api\"", 1),
        (TokenIn::header("X-Api-Token"), "Basic realm=\"api\"", 2),
        (TokenIn::cookie("session"), "Form location=\"login\"", 2),
    ] {
        let server = Server::start(move |seen| {
            let is_first = seen.headers.iter().any(|(_, value)| value.contains("token-1"));
            if is_first { Answer::new(401).header("WWW-Authenticate", challenge) } else { Answer::ok("fine") }
        });
        let (builder, calls) = builder_of(&server);
        let client = builder.token_in(way).configure(plain_statuses).build().unwrap();
        let status = client.get(server.url("/")).call().unwrap().status().as_u16();
        let expected = if calls_needed == 2 { 200 } else { 401 };
        assert_eq!((status, calls.count()), (expected, calls_needed), "{challenge}");
    }
}
