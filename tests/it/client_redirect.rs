//! Redirects: followed with the token within its origins, and without it from the first step outside on.

use ureq::Error as UreqError;
use ureq::config::RedirectAuthHeaders;
use ureq::typestate::WithBody;
use ureq::{Agent, RequestBuilder, ResponseExt as _, SendBody};
use ureq_auth::{Client, MaxRedirects};

use crate::client::{Calls, builder_of, client_of, plain_statuses, session, text};
use crate::server::{Answer, Server};

#[test]
fn the_same_origin_keeps_the_token() {
    for status in [301, 302, 303, 307, 308] {
        let server = Server::script([Answer::redirect(status, "/there?x=1"), Answer::ok("found")]);
        let (client, calls) = client_of(&server);
        let answer = client.get(server.url("/here")).call().unwrap();
        assert_eq!(answer.get_uri().to_string(), server.url("/there?x=1"));
        assert_eq!(text(Ok(answer)), "found");
        assert_eq!(server.told(), ["GET /here Bearer token-1", "GET /there?x=1 Bearer token-1"], "{status}");
        assert_eq!((calls.count(), server.connections()), (1, 1));
    }
}

#[test]
fn another_port_of_the_same_host_never_gets_the_token() {
    let other = Server::script([Answer::ok("found")]);
    let server = Server::script([Answer::redirect(302, other.url("/there"))]);
    let (client, _) = client_of(&server);
    assert_eq!(text(client.get(server.url("/")).call()), "found");
    assert_eq!(other.told(), ["GET /there"]);
}

#[test]
fn another_host_never_gets_the_token() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/" => Answer::redirect(302, seen.header("host").unwrap().replace("127.0.0.1", "http://localhost") + "/there"),
        _ => Answer::ok("found"),
    });
    let (client, _) = client_of(&server);
    assert_eq!(text(client.get(server.url("/")).call()), "found");
    assert_eq!(server.told(), ["GET / Bearer token-1", "GET /there"]);
}

#[test]
fn a_redirect_back_from_elsewhere_does_not_bring_the_token_back() {
    let back = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let there = std::sync::Arc::clone(&back);
    let other = Server::start(move |_| Answer::redirect(302, there.get().unwrap()));
    let away = other.url("/");
    let server = Server::start(move |seen| match seen.target.as_str() {
        "/" => Answer::redirect(302, &away),
        _ => Answer::refused(),
    });
    back.set(server.url("/back")).unwrap();
    let (client, calls) = client_of(&server);
    let answer = client.get(server.url("/")).call().unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(server.told(), ["GET / Bearer token-1", "GET /back"]);
    assert_eq!(calls.count(), 1, "a 401 for a request without the token says nothing of the token");
}

#[test]
fn another_origin_that_is_allowed_gets_the_token() {
    let other = Server::script([Answer::ok("found")]);
    let server = Server::script([Answer::redirect(307, other.url("/there"))]);
    let (builder, _) = builder_of(&server);
    let client = builder.origin(other.origin()).build().unwrap();
    assert_eq!(text(client.get(server.url("/")).call()), "found");
    assert_eq!(other.told(), ["GET /there Bearer token-1"]);
}

#[test]
fn locations_may_be_relative() {
    for (location, target) in
        [("c", "/a/c"), ("./c?q=1", "/a/c?q=1"), ("../c", "/c"), ("?q=2", "/a/b?q=2"), ("/c/./d/../e#part", "/c/e")]
    {
        let server = Server::script([Answer::redirect(302, location), Answer::ok("")]);
        let (client, _) = client_of(&server);
        client.get(server.url("/a/b?old=1")).call().unwrap();
        assert_eq!(server.told()[1], format!("GET {target} Bearer token-1"), "{location}");
    }
}

#[test]
fn a_location_without_a_scheme_leads_to_another_host_without_the_token() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/" => Answer::redirect(302, seen.header("host").unwrap().replace("127.0.0.1", "//localhost") + "/there"),
        _ => Answer::ok("found"),
    });
    let (client, _) = client_of(&server);
    assert_eq!(text(client.get(server.url("/")).call()), "found");
    assert_eq!(server.told()[1], "GET /there");
}

#[test]
fn a_post_becomes_what_plain_ureq_makes_of_it() {
    for status in [301, 302, 303] {
        let server = Server::start(move |seen| match seen.target.as_str() {
            "/" => Answer::redirect(status, "/there"),
            _ => Answer::ok("found"),
        });
        let (client, _) = client_of(&server);
        for agent in [&Agent::new_with_defaults(), client.agent()] {
            let request =
                agent.post(server.url("/")).header("X-Own", "1").header("Cookie", "a=b").content_type("text/x");
            assert_eq!(text(request.send("body")), "found");
        }
        let [_, plain, _, ours]: [_; 4] = server.seen().try_into().unwrap();
        assert_eq!((plain.method.as_str(), ours.bearer()), ("GET", Some("token-1")), "{status}");
        assert_eq!(plain.without_token(), ours.without_token(), "{status}");
    }
}

#[test]
fn a_body_that_was_forced_on_the_request_stays_behind() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/" => Answer::redirect(303, "/there"),
        _ => Answer::ok("found"),
    });
    let (client, _) = client_of(&server);
    assert_eq!(text(client.delete(server.url("/")).force_send_body().send("which")), "found");
    let request = ureq::http::Request::post(server.url("/")).body("of the http crate").unwrap();
    assert_eq!(text(client.run(request)), "found");
    let chunked = client.post(server.url("/")).header("Transfer-Encoding", "chunked");
    assert_eq!(text(chunked.send(SendBody::from_owned_reader(&b"in pieces"[..]))), "found");
    for hop in server.seen().iter().filter(|seen| seen.target == "/there") {
        assert_eq!((hop.method.as_str(), hop.text().as_str()), ("GET", ""));
        assert_eq!((hop.header("content-length"), hop.header("transfer-encoding")), (None, None), "{hop:?}");
    }
    assert_eq!(server.count(), 6);
}

#[test]
fn a_307_on_a_request_with_a_body_is_not_followed_and_the_error_says_so() {
    for status in [307, 308] {
        let server = Server::script([Answer::redirect(status, "/there"), Answer::redirect(status, "/there")]);
        let (client, _) = client_of(&server);
        let error = client.put(server.url("/")).send("x").unwrap_err();
        assert!(matches!(error, UreqError::RedirectFailed), "{error:?}");
        // Where the caller wants to see the redirect, it is all there.
        let answer = client.put(server.url("/")).extension(MaxRedirects(0)).send("x").unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["location"].as_bytes()), (status, &b"/there"[..]));
        assert_eq!(text(Ok(answer)), "over there");
    }
}

#[test]
fn a_circle_of_redirects_ends_after_ten() {
    let server = Server::start(|_| Answer::redirect(302, "/"));
    let (client, calls) = client_of(&server);
    let plain = Agent::new_with_defaults();
    for agent in [&plain, client.agent()] {
        let before = server.count();
        let error = agent.get(server.url("/")).call().unwrap_err();
        assert!(matches!(error, UreqError::TooManyRedirects), "{error:?}");
        assert_eq!(server.count() - before, 11, "the request and ten redirects, as in plain ureq");
    }
    assert_eq!(calls.count(), 1);

    let (builder, _) = builder_of(&server);
    let client = builder.configure(|config| config.max_redirects_will_error(false)).build().unwrap();
    assert_eq!(client.get(server.url("/")).call().unwrap().status(), 302);
}

#[test]
fn where_none_is_to_be_followed_the_redirect_is_the_answer() {
    let server = Server::start(|_| Answer::redirect(301, "/there"));
    let (client, _) = client_of(&server);
    assert_eq!(client.get(server.url("/")).extension(MaxRedirects(0)).call().unwrap().status(), 301);
    let (builder, _) = builder_of(&server);
    let client = builder.max_redirects(0).build().unwrap();
    assert_eq!(text(client.get(server.url("/")).call()), "over there");
    assert_eq!(server.count(), 2);
    // A request may want more than its client.
    let error = client.get(server.url("/")).extension(MaxRedirects(2)).call().unwrap_err();
    assert!(matches!(error, UreqError::TooManyRedirects));
    assert_eq!(server.count(), 5);
}

#[test]
fn a_3xx_that_leads_nowhere_is_an_answer() {
    let server = Server::script([Answer::new(302).body("where?"), Answer::new(304)]);
    let (client, _) = client_of(&server);
    assert_eq!(text(client.get(server.url("/")).call()), "where?");
    assert_eq!(client.get(server.url("/")).call().unwrap().status(), 304);
}

#[test]
fn a_location_that_is_no_address_is_an_error() {
    let server = Server::script([Answer::redirect(302, "http://[")]);
    let (client, _) = client_of(&server);
    let error = client.get(server.url("/")).call().unwrap_err();
    assert!(matches!(error, UreqError::BadUri(_)), "{error:?}");
}

/// As an agent's setting and as a request's own, with statuses as errors, of which no address is left.
fn with_ureqs_own_redirects(server: &Server) -> [(RequestBuilder<WithBody>, Calls, Client); 2] {
    let (builder, calls) = builder_of(server);
    let client = builder.configure(|config| config.max_redirects(3)).build().unwrap();
    let by_agent = (client.post(server.url("/")), calls, client);
    let (builder, calls) = builder_of(server);
    let client = builder.configure(|config| config).build().unwrap();
    let by_request = (client.post(server.url("/")).config().max_redirects(3).build(), calls, client);
    [by_agent, by_request]
}

#[test]
fn the_client_follows_by_itself_whatever_ureq_is_set_to() {
    let server = Server::start(|seen| match (seen.target.as_str(), seen.bearer()) {
        ("/", Some(_)) => Answer::redirect(303, "/there"),
        ("/there", Some(_)) => Answer::ok("found"),
        _ => Answer::refused(),
    });
    for (request, calls, _client) in with_ureqs_own_redirects(&server) {
        assert_eq!(text(request.send("once")), "found");
        assert_eq!(calls.count(), 1);
    }
    let told = ["POST / Bearer token-1", "GET /there Bearer token-1"];
    assert_eq!(server.told(), [told, told].concat(), "what was accepted is not sent twice");
}

#[test]
fn a_401_from_where_a_redirect_led_is_not_held_against_the_token_whatever_ureq_is_set_to() {
    let other = Server::start(|_| Answer::refused());
    let elsewhere = other.url("/there");
    let server = Server::start(move |_| Answer::redirect(303, elsewhere.clone()));
    for (request, calls, _client) in with_ureqs_own_redirects(&server) {
        assert!(matches!(request.send("once").unwrap_err(), UreqError::StatusCode(401)));
        assert_eq!(calls.count(), 1);
    }
    assert_eq!((server.count(), other.told()), (2, vec!["GET /there".into(), "GET /there".into()]));
}

#[test]
fn an_agent_whose_client_is_gone_does_not_send_the_token_where_a_requests_own_settings_lead() {
    let other = Server::start(|_| Answer::ok("stolen"));
    let elsewhere = other.url("/there");
    let server = Server::start(move |_| Answer::redirect(302, elsewhere.clone()));
    let (client, _) = client_of(&server);
    let agent = client.agent().clone();
    drop(client);
    let request = agent.get(server.url("/")).config().max_redirects(3);
    let answer = request.redirect_auth_headers(RedirectAuthHeaders::SameHost).build().call().unwrap();
    assert_eq!(answer.status(), 302, "nobody is left to follow it");
    assert_eq!((server.told(), other.count()), (vec!["GET / Bearer token-1".into()], 0));
}

#[test]
fn a_401_at_the_end_of_a_redirect_is_one_refresh_and_that_hop_again() {
    let server = Server::start(|seen| match (seen.target.as_str(), seen.bearer()) {
        ("/", Some(_)) => Answer::redirect(302, "/there"),
        ("/there", Some("token-2")) => Answer::ok("found"),
        _ => Answer::refused(),
    });
    let (client, calls) = client_of(&server);
    assert_eq!(text(client.post(server.url("/")).send("once")), "found");
    assert_eq!(
        server.told(),
        ["POST / Bearer token-1", "GET /there Bearer token-1", "GET /there Bearer token-2"],
        "what was accepted already is not sent twice"
    );
    assert_eq!(calls.count(), 2);
}

#[test]
fn a_redirect_after_a_replay_is_followed_with_the_new_token() {
    let server = Server::start(|seen| match (seen.target.as_str(), seen.bearer()) {
        ("/", Some("token-2")) => Answer::redirect(302, "/there"),
        ("/there", Some("token-2")) => Answer::ok("found"),
        _ => Answer::refused(),
    });
    let (client, _) = client_of(&server);
    assert_eq!(text(client.get(server.url("/")).call()), "found");
    assert_eq!(server.count(), 3);
}

#[test]
fn the_callers_own_authorization_passes_and_does_not_follow_a_redirect() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/" => Answer::redirect(302, "/there"),
        _ => Answer::refused(),
    });
    let (client, calls) = client_of(&server);
    let answer = client.get(server.url("/")).header("Authorization", "Basic b3du").call().unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(server.told(), ["GET / Basic b3du", "GET /there"]);
    assert_eq!(calls.count(), 0, "the session was not asked at all");
}

#[test]
fn an_agents_settings_do_not_take_the_token_to_another_port() {
    let other = Server::script([Answer::ok("found")]);
    let server = Server::script([Answer::redirect(302, other.url("/there"))]);
    let (builder, _) = builder_of(&server);
    let same_host =
        |config: ureq::config::ConfigBuilder<_>| config.redirect_auth_headers(RedirectAuthHeaders::SameHost);
    let client = builder.configure(move |config| same_host(config).max_redirects(3)).build().unwrap();
    assert_eq!(text(client.get(server.url("/")).call()), "found");
    assert_eq!(other.told(), ["GET /there"]);
}

#[test]
fn a_request_cannot_have_ureq_take_the_token_to_another_port() {
    let other = Server::script([Answer::ok("found")]);
    let server = Server::script([Answer::redirect(302, other.url("/there"))]);
    let (client, _) = client_of(&server);
    let request = client.get(server.url("/")).config().max_redirects(3);
    assert_eq!(text(request.redirect_auth_headers(RedirectAuthHeaders::SameHost).build().call()), "found");
    assert_eq!(other.told(), ["GET /there"]);
}

#[test]
fn a_foreign_address_is_followed_without_a_token_and_its_401_is_not_ours() {
    let foreign = Server::start(|seen| match seen.target.as_str() {
        "/" => Answer::redirect(302, "/there"),
        _ => Answer::refused(),
    });
    let (session, calls) = session();
    let client = Client::builder(session).origin("https://api.example").configure(plain_statuses).build().unwrap();
    assert_eq!(client.get(foreign.url("/")).call().unwrap().status(), 401);
    assert_eq!(foreign.told(), ["GET /", "GET /there"]);
    assert_eq!(calls.count(), 0);
}
