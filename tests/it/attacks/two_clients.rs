//! A middleware of one client's that has another client send the request, extensions and all: each judges by itself.

use ureq::http::Request;
use ureq::middleware::MiddlewareNext;
use ureq::{Body, Error as UreqError, SendBody};
use ureq_auth::{Client, Policy, Session, Token};

use crate::client::{Calls, builder_of, plain_statuses, text};
use crate::server::{Answer, Seen, Server};

type Handled = Result<ureq::http::Response<Body>, UreqError>;

/// A session whose tokens are `name-1`, `name-2`, and so on. A refusal is met at once.
fn session_of(name: &'static str) -> Session {
    let calls = Calls::default();
    let source = move |_: Option<&Token>| Ok(Token::new(format!("{name}-{}", calls.next()))?);
    Session::builder(source).policy(Policy::new().with_token_lag(std::time::Duration::ZERO)).build().unwrap()
}

/// Takes the token out, and has `other` send the rest to `to`.
fn by(other: Client, to: String) -> impl Fn(Request<SendBody<'_>>, MiddlewareNext<'_>) -> Handled {
    move |mut request: Request<SendBody<'_>>, _: MiddlewareNext<'_>| {
        request.headers_mut().remove("authorization");
        *request.uri_mut() = to.parse().unwrap();
        other.run(request)
    }
}

fn answer_of(refused: &'static [&'static str]) -> impl Fn(&Seen) -> Answer + Send + Sync {
    move |seen| match seen.bearer() {
        Some(token) if !refused.contains(&token) => Answer::ok(format!("{token} {}", seen.text())),
        _ => Answer::refused(),
    }
}

#[test]
fn another_client_sends_its_own_token_with_the_first_attempt_and_with_a_replay() {
    // Refuses two tokens in a row, of which the second comes with the first client's replay.
    let there = Server::start(answer_of(&["there-1", "there-2"]));
    let other = Client::builder(session_of("there")).origin(there.origin()).configure(plain_statuses).build().unwrap();
    let here = Server::untouched();
    let (builder, _) = builder_of(&here);
    let middleware = by(other, there.url("/"));
    let client = builder.configure(move |config| plain_statuses(config).middleware(middleware)).build().unwrap();
    assert_eq!(text(client.post(here.url("/")).send("x")), "there-3 x");
    let told = ["there-1", "there-2", "there-2", "there-3"].map(|token| format!("POST / Bearer {token}"));
    assert_eq!(there.told(), told);
}

#[cfg(not(feature = "cookies"))]
#[test]
fn the_session_of_one_clients_request_is_not_another_clients() {
    let there = Server::start(answer_of(&["there-1"]));
    let other = Client::builder(session_of("there")).origin(there.origin()).configure(plain_statuses).build().unwrap();
    let here = Server::untouched();
    let (builder, _) = builder_of(&here);
    let middleware = by(other, there.url("/"));
    let base = builder.configure(move |config| plain_statuses(config).middleware(middleware)).build().unwrap();
    let tenant = base.with_session(session_of("tenant")).unwrap();
    assert_eq!(text(tenant.get(here.url("/")).call()), "there-2 ");
    assert_eq!(there.told(), ["GET / Bearer there-1", "GET / Bearer there-2"]);
}

#[cfg(not(feature = "cookies"))]
#[test]
fn tenants_of_the_one_client_do_not_meet_in_the_other() {
    // Each has a client that shares a pool, and the tenants of one hand their requests to those of the other.
    let (here, there) = (Server::untouched(), Server::start(answer_of(&[])));
    let other = Client::builder(session_of("there")).origin(there.origin()).configure(plain_statuses).build().unwrap();
    let (builder, _) = builder_of(&here);
    let middleware = by(other.with_session(session_of("guest")).unwrap(), there.url("/"));
    let base = builder.configure(move |config| plain_statuses(config).middleware(middleware)).build().unwrap();
    let tenant = base.with_session(session_of("tenant")).unwrap();
    assert_eq!(text(tenant.get(here.url("/")).call()), "guest-1 ");
}
