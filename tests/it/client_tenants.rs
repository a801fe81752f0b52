//! Several sessions on one client's pool: each call has its own session's token and nobody else's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ureq_auth::{Client, Error, MaxRedirects, NotReplayed, Policy, Session, SourceError, Token};

use crate::client::{builder_of, client_of, in_threads, plain_statuses, text};
use crate::server::{Answer, Server};

/// A session whose tokens are `name-1`, `name-2`, and so on.
fn session_of(name: &'static str) -> Session {
    let count = Mutex::new(0);
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        let mut count = count.lock().unwrap();
        *count += 1;
        Ok(Token::new(format!("{name}-{count}"))?)
    };
    // A refusal is met at once.
    let policy = Policy::new().with_token_lag(Duration::ZERO);
    Session::builder(source).policy(policy).build().unwrap()
}

#[test]
fn each_client_sends_its_own_sessions_token_over_the_one_connection() {
    let server = Server::start(|_| Answer::ok("fine"));
    let (first, _) = client_of(&server);
    let ada = first.with_session(session_of("ada")).unwrap();
    // Of the first one's pool too, though it is made from another.
    let ben = ada.with_session(session_of("ben")).unwrap();
    for client in [&first, &ada, &ben, &ada, &first] {
        assert_eq!(text(client.get(server.url("/")).call()), "fine");
    }
    let told = ["token-1", "ada-1", "ben-1", "ada-1", "token-1"].map(|token| format!("GET / Bearer {token}"));
    assert_eq!((server.told(), server.connections()), (told.to_vec(), 1));
    assert_eq!(ada.session().token().unwrap().secret(), "ada-1");
}

#[test]
fn the_agent_of_such_a_client_sends_its_sessions_token() {
    let server = Server::start(|_| Answer::ok("fine"));
    let (first, _) = client_of(&server);
    let ada = first.with_session(session_of("ada")).unwrap();
    assert_eq!(text(ada.agent().get(server.url("/a")).call()), "fine");
    assert_eq!(text(ada.run(ureq::http::Request::get(server.url("/b")).body(()).unwrap())), "fine");
    let own_settings = ada.post(server.url("/c")).config().http_status_as_error(true).build();
    assert_eq!(text(own_settings.send("x")), "fine");
    assert_eq!(server.told(), ["GET /a Bearer ada-1", "GET /b Bearer ada-1", "POST /c Bearer ada-1"]);
    assert_eq!(server.connections(), 1);
    // The first one may be gone: its pool is not.
    drop(first);
    assert_eq!(text(ada.get(server.url("/d")).call()), "fine");
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_refused_call_is_replayed_with_the_next_token_of_its_own_session() {
    let server = Server::start(|seen| match seen.bearer() {
        Some("ada-1") => Answer::refused(),
        _ => Answer::ok(format!("{} {}", seen.method, seen.text())),
    });
    let (first, calls) = client_of(&server);
    let ada = first.with_session(session_of("ada")).unwrap();
    assert_eq!(text(ada.post(server.url("/")).send("body")), "POST body");
    assert_eq!(server.told(), ["POST / Bearer ada-1", "POST / Bearer ada-2"]);
    assert_eq!((ada.session().stats().replays, calls.count()), (1, 0), "the first session was asked for nothing");
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_body_that_cannot_be_sent_again_is_counted_at_its_own_session() {
    let server = Server::script([Answer::refused()]);
    let (builder, calls) = builder_of(&server);
    let first = builder.replay_limit(0).configure(plain_statuses).build().unwrap();
    let ada = first.with_session(session_of("ada")).unwrap();
    let answer = ada.post(server.url("/")).send("x").unwrap();
    assert!(answer.extensions().get::<NotReplayed>().is_some());
    assert_eq!(ada.session().token().unwrap().secret(), "ada-2");
    assert_eq!(calls.count(), 0);
}

#[test]
fn redirects_keep_the_sessions_token_within_the_origins_and_no_token_outside() {
    let other = Server::start(|_| Answer::ok("elsewhere"));
    let away = other.url("/away");
    let server = Server::start(move |seen| match seen.target.as_str() {
        "/near" => Answer::redirect(302, "/here"),
        "/far" => Answer::redirect(302, away.clone()),
        _ => Answer::ok("here"),
    });
    let (first, _) = client_of(&server);
    let ada = first.with_session(session_of("ada")).unwrap();
    assert_eq!(text(ada.get(server.url("/near")).call()), "here");
    assert_eq!(text(ada.get(server.url("/far")).call()), "elsewhere");
    assert_eq!(text(ada.get(other.url("/direct")).call()), "elsewhere");
    assert_eq!(server.told(), ["GET /near Bearer ada-1", "GET /here Bearer ada-1", "GET /far Bearer ada-1"]);
    assert_eq!(other.told(), ["GET /away", "GET /direct"]);
    let answer = ada.get(server.url("/near")).extension(MaxRedirects(0)).call().unwrap();
    assert_eq!(answer.status(), 302);
}

#[test]
fn a_session_without_a_login_fails_its_own_calls_alone() {
    let server = Server::start(|_| Answer::ok("fine"));
    let (first, _) = client_of(&server);
    let rejected = |_: Option<&Token>| -> Result<Token, SourceError> { Err(SourceError::rejected("no")) };
    let ben = first.with_session(Session::new(rejected).unwrap()).unwrap();
    let error = ben.get(server.url("/")).call().unwrap_err();
    assert!(Error::in_ureq(&error).unwrap().is_login_required());
    assert_eq!(text(first.get(server.url("/")).call()), "fine");
    assert_eq!(server.count(), 1);
}

#[test]
fn a_callers_own_header_wins() {
    let server = Server::start(|_| Answer::ok("fine"));
    let (first, _) = client_of(&server);
    let ada = first.with_session(session_of("ada")).unwrap();
    assert_eq!(text(ada.get(server.url("/")).header("Authorization", "Basic own").call()), "fine");
    assert_eq!(server.told(), ["GET / Basic own"]);
}

#[test]
fn the_first_clients_middlewares_see_the_token_that_goes_out() {
    let server = Server::start(|_| Answer::ok("fine"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = Arc::clone(&seen);
    let watch = move |request: ureq::http::Request<ureq::SendBody<'_>>, next: ureq::middleware::MiddlewareNext<'_>| {
        let header = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        seeing.lock().unwrap().push(header.unwrap());
        next.handle(request)
    };
    let (builder, _) = builder_of(&server);
    let first = builder.configure(move |config| config.middleware(watch)).build().unwrap();
    let ada = first.with_session(session_of("ada")).unwrap();
    assert_eq!(text(ada.get(server.url("/")).call()), "fine");
    assert_eq!(text(first.get(server.url("/")).call()), "fine");
    assert_eq!(*seen.lock().unwrap(), ["Bearer ada-1", "Bearer token-1"]);
}

#[test]
fn many_sessions_at_once_share_as_many_connections_as_there_are_threads() {
    const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let server = Server::start(|seen| {
        let bearer = seen.bearer().unwrap();
        // Each session's first token is refused.
        if bearer.ends_with("-1") { Answer::refused() } else { Answer::ok(bearer) }
    });
    let (first, _) = client_of(&server);
    let clients: Vec<Client> = NAMES.iter().map(|name| first.with_session(session_of(name)).unwrap()).collect();
    let answers = in_threads(8, |number| {
        let answers = clients.iter().cycle().skip(number).take(80);
        answers.map(|client| text(client.get(server.url("/")).call())).collect::<Vec<_>>()
    });
    for (number, answers) in answers.iter().enumerate() {
        let expected: Vec<_> = NAMES.iter().cycle().skip(number).take(80).map(|name| format!("{name}-2")).collect();
        assert_eq!(*answers, expected);
    }
    assert!(server.connections() <= 8, "{} connections", server.connections());
    assert!(clients.iter().all(|client| client.session().stats().refreshes == 2));
}
