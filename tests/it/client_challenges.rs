//! Which answers are the token's fault.

use std::io::Read;

use ureq_auth::{Client, NotReplayed, Policy, Session};

use crate::client::{Calls, builder_of, client_of, numbered, plain_statuses, refuses_the_first, text};
use crate::server::{Answer, Server};

fn refusal(lines: &[&str]) -> Answer {
    lines.iter().fold(Answer::new(401), |answer, line| answer.header("WWW-Authenticate", *line)).body("no")
}

#[test]
fn a_401_that_another_token_would_not_help_against_is_the_answer() {
    for lines in [
        &["Bearer error=\"insufficient_scope\", scope=\"admin\""][..],
        &["bearer realm=\"x\", error=insufficient_scope"],
        &["Bearer error=\"invalid_request\""],
        // RFC 9470: the user is to show who they are once more, which no refresh does for them.
        &["Bearer error=\"insufficient_user_authentication\", acr_values=\"mfa\""],
        &["Basic realm=\"x\""],
        &["Negotiate", "NTLM"],
        &["Basic realm=\"x\"", "Bearer error=\"insufficient_scope\""],
    ] {
        let server = Server::script([refusal(lines)]);
        let (client, calls) = client_of(&server);
        let mut answer = client.get(server.url("/")).call().unwrap();
        assert_eq!(answer.status(), 401);
        let kept: Vec<_> =
            answer.headers().get_all("www-authenticate").iter().map(|line| line.to_str().unwrap()).collect();
        assert_eq!(kept, lines);
        assert_eq!(answer.body_mut().read_to_string().unwrap(), "no");
        assert!(answer.extensions().get::<NotReplayed>().is_none());
        assert_eq!(calls.count(), 1, "{lines:?}");
    }
}

#[test]
fn a_401_that_says_nothing_against_it_is_a_refresh() {
    for lines in
        [&[][..], &["Bearer"], &["Basic realm=\"x\"", "Bearer"], &["Basic realm=\"x\", Bearer error=\"expired\""]]
    {
        let server = Server::script([refusal(lines), Answer::ok("fine")]);
        let (client, calls) = client_of(&server);
        assert_eq!(text(client.get(server.url("/")).call()), "fine");
        assert_eq!(calls.count(), 2, "{lines:?}");
    }
}

#[test]
fn other_statuses_are_not_the_tokens_business() {
    for status in [400, 403, 404, 407, 429, 500, 503] {
        // A challenge would not change that.
        let answer = || Answer::new(status).header("WWW-Authenticate", "Bearer error=\"invalid_token\"");
        let server = Server::script([answer(), answer()]);
        let (client, calls) = client_of(&server);
        assert_eq!(client.get(server.url("/")).call().unwrap().status(), status);
        let (builder, others) = builder_of(&server);
        let error = builder.build().unwrap().get(server.url("/")).call().unwrap_err();
        assert!(matches!(error, ureq::Error::StatusCode(code) if code == status), "{error:?}");
        assert_eq!((calls.count(), others.count()), (1, 1), "{status}");
    }
}

#[test]
fn nor_are_they_at_the_end_of_a_redirect() {
    let server = Server::script([Answer::redirect(302, "/there"), Answer::new(403)]);
    let (builder, calls) = builder_of(&server);
    let error = builder.build().unwrap().get(server.url("/")).call().unwrap_err();
    assert!(matches!(error, ureq::Error::StatusCode(403)), "{error:?}");
    assert_eq!(calls.count(), 1);
}

#[test]
fn a_401_from_an_origin_that_is_not_ours_is_left_alone() {
    let foreign = Server::script([Answer::refused(), Answer::refused()]);
    let server = Server::start(refuses_the_first);
    for as_error in [false, true] {
        let (builder, calls) = builder_of(&server);
        let client = builder.configure(move |config| config.http_status_as_error(as_error)).build().unwrap();
        let result = client.get(foreign.url("/")).call();
        assert_eq!(result.is_err(), as_error);
        assert_eq!(calls.count(), 0);
    }
    assert_eq!(foreign.told(), ["GET /", "GET /"]);
}

#[test]
fn a_401_on_a_head_request_is_one_too() {
    let server = Server::start(refuses_the_first);
    let (client, _) = client_of(&server);
    let answer = client.head(server.url("/")).call().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(server.told(), ["HEAD / Bearer token-1", "HEAD / Bearer token-2"]);
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_401_that_breaks_off_is_sent_again_like_any_other() {
    let server = Server::script([Answer::refused().torn(), Answer::ok("fine")]);
    let (client, _) = client_of(&server);
    assert_eq!(text(client.get(server.url("/")).call()), "fine");
}

#[test]
fn a_401_that_breaks_off_is_still_a_401_for_its_caller_and_the_body_breaks_where_it_broke() {
    let server = Server::script([Answer::refused().torn(), Answer::refused().torn()]);
    let session = Session::builder(numbered(Calls::default())).policy(Policy::new().with_reactive(false));
    let client = Client::builder(session.build().unwrap()).origin(server.origin()).configure(plain_statuses);
    let (one_shot, _) = builder_of(&server);
    let one_shot = one_shot.replay_limit(0).configure(plain_statuses).build().unwrap();
    for (client, marked) in [(client.build().unwrap(), false), (one_shot, true)] {
        let mut answer = client.post(server.url("/")).send("body").unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer error=\"invalid_token\"");
        assert_eq!(answer.extensions().get::<NotReplayed>().is_some(), marked);
        let mut text = Vec::new();
        answer.body_mut().as_reader().read_to_end(&mut text).unwrap_err();
        assert_eq!(text, b"who are you?");
    }
}
