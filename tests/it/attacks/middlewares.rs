//! A middleware of the user's that leads the request elsewhere: the last look at where the token goes is the client's.

use ureq::http::{Request, Response, Uri};
use ureq::middleware::MiddlewareNext;
use ureq::{Body, Error as UreqError, SendBody};
use ureq_auth::{Client, Error, ErrorKind};

use crate::client::{plain_statuses, session, text};
use crate::server::{Answer, Server};

type Handled = Result<Response<Body>, UreqError>;

/// Puts another address into the request that it got.
fn rewriting(to: String) -> impl Fn(Request<SendBody<'_>>, MiddlewareNext<'_>) -> Handled {
    move |mut request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
        *request.uri_mut() = to.parse().unwrap();
        next.handle(request)
    }
}

/// Builds a request of its own from what it got: the headers go along, the extensions do not.
fn rebuilding(to: String) -> impl Fn(Request<SendBody<'_>>, MiddlewareNext<'_>) -> Handled {
    move |request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
        let (parts, body) = request.into_parts();
        let mut request = Request::new(body);
        *request.method_mut() = parts.method;
        *request.uri_mut() = to.parse().unwrap();
        *request.headers_mut() = parts.headers;
        next.handle(request)
    }
}

fn client(origins: &[&str], middleware: impl ureq::middleware::Middleware) -> Client {
    let builder = origins.iter().fold(Client::builder(session().0), |builder, origin| builder.origin(*origin));
    builder.configure(move |config| plain_statuses(config).middleware(middleware)).build().unwrap()
}

fn refused(client: &Client, url: &str) {
    let error = client.get(url).call().unwrap_err();
    let error = Error::in_ureq(&error).unwrap_or_else(|| panic!("{error}"));
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("ClientBuilder::origin"), "{error}");
}

#[test]
fn a_middleware_does_not_take_the_token_to_another_origin() {
    let (api, other) = (Server::start(|_| Answer::ok("found")), Server::untouched());
    for to in [other.url("/"), api.other_host() + "/", other.url("/").replace("//", "//me:pw@")] {
        refused(&client(&[&api.origin()], rewriting(to.clone())), &api.url("/"));
        refused(&client(&[&api.origin()], rebuilding(to)), &api.url("/"));
    }
    assert_eq!((api.count(), other.count()), (0, 0));
}

#[test]
fn nor_on_the_way_of_a_redirect_or_of_a_replay() {
    let other = Server::untouched();
    let elsewhere = other.url("/");
    let second = move |request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
        let is_second = request.uri().path() == "/there" || request.headers()["authorization"] == "Bearer token-2";
        if is_second { rewriting(elsewhere.clone())(request, next) } else { next.handle(request) }
    };
    let api = Server::start(|seen| match seen.target.as_str() {
        "/moved" => Answer::redirect(302, "/there"),
        _ => Answer::refused(),
    });
    let client = client(&[&api.origin()], second);
    refused(&client, &api.url("/moved"));
    refused(&client, &api.url("/"));
    assert_eq!((api.count(), other.count()), (2, 0));
}

#[test]
fn a_middleware_may_take_it_to_another_of_its_origins_however_that_is_written() {
    let api = Server::start(|seen| Answer::ok(seen.bearer().unwrap_or("none")));
    let to = api.other_host().replace("localhost", "LOCALHOST") + "/";
    let origins = [&*api.origin(), &*api.other_host()];
    assert_eq!(text(client(&origins, rewriting(to.clone())).get(api.url("/")).call()), "token-1");
    assert_eq!(text(client(&origins, rebuilding(to)).get(api.url("/")).call()), "token-1");
    assert_eq!(api.seen()[0].header("host"), Some(&*format!("localhost:{}", api.address().port())));
}

#[test]
fn a_scheme_that_ureq_does_not_take_for_https_is_mended_after_a_middleware_too() {
    let api = Server::start(|seen| Answer::ok(seen.bearer().unwrap_or("none")));
    let spelling = |mut request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some("HTTP".parse().unwrap());
        *request.uri_mut() = Uri::from_parts(parts).unwrap();
        next.handle(request)
    };
    assert_eq!(text(client(&[&api.origin()], spelling).get(api.url("/")).call()), "token-1");
}

#[test]
fn requests_without_the_token_go_where_a_middleware_leads_them() {
    let (api, other) =
        (Server::untouched(), Server::start(|seen| Answer::ok(seen.header("authorization").unwrap_or("none"))));
    for middleware in [true, false] {
        let to = other.url("/there");
        let client = if middleware {
            client(&[&api.origin()], rewriting(to))
        } else {
            client(&["https://api.example"], |mut request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
                // As one that signs requests to a place of its own.
                request.headers_mut().insert("Authorization", "Bearer its-own".parse().unwrap());
                next.handle(request)
            })
        };
        let url = if middleware { api.url("/") } else { other.url("/there") };
        let request = client.get(url).header("Authorization", "Basic own");
        assert_eq!(text(request.call()), if middleware { "Basic own" } else { "Bearer its-own" });
    }
}
