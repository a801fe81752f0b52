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

/// Copies the token to where `put` says, in a request that is the middleware's own or not, and takes it out of `Authorization`.
fn copying(
    to: String,
    is_new: bool,
    put: fn(&mut Request<SendBody<'_>>, &str),
) -> impl Fn(Request<SendBody<'_>>, MiddlewareNext<'_>) -> Handled {
    move |request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
        let (mut parts, body) = request.into_parts();
        let token = parts.headers.remove("authorization").unwrap().to_str().unwrap()["Bearer ".len()..].to_owned();
        parts.uri = to.parse().unwrap();
        let mut request = if is_new { Request::new(body) } else { Request::from_parts(parts.clone(), body) };
        *request.uri_mut() = parts.uri;
        put(&mut request, &token);
        next.handle(request)
    }
}

const COPIES: [fn(&mut Request<SendBody<'_>>, &str); 4] = [
    |request, token| drop(request.headers_mut().insert("x-api-token", token.parse().unwrap())),
    |request, token| {
        drop(request.headers_mut().insert("cookie", format!("a=b; session={token}; c=d").parse().unwrap()))
    },
    |request, token| drop(request.headers_mut().insert("authorization", format!("Token {token}").parse().unwrap())),
    |request, token| *request.uri_mut() = format!("{}?access_token={token}&a=b", request.uri()).parse().unwrap(),
];

#[test]
fn a_copy_of_the_token_does_not_leave_its_origins_either_in_whichever_header_or_in_the_query() {
    for (number, put) in COPIES.into_iter().enumerate() {
        for is_new in [false, true] {
            let (api, other) = (Server::untouched(), Server::untouched());
            refused(&client(&[&api.origin()], copying(other.url("/"), is_new, put)), &api.url("/"));
            // Within them it may go wherever the middleware wants it.
            let api = Server::start(|seen| Answer::ok(format!("{} {:?}", seen.target, seen.headers)));
            let answer = client(&[&api.origin()], copying(api.url("/"), is_new, put)).get(api.url("/")).call();
            assert!(text(answer).contains("token-1"), "{number}");
        }
    }
}

#[cfg(not(feature = "cookies"))]
#[test]
fn nor_does_a_copy_of_the_token_of_another_session_on_the_same_pool() {
    let source = |_: Option<&ureq_auth::Token>| Ok(ureq_auth::Token::new("tenant-1")?);
    let (api, other) = (Server::untouched(), Server::untouched());
    let base = client(&[&api.origin()], copying(other.url("/"), false, COPIES[0]));
    refused(&base.with_session(ureq_auth::Session::new(source).unwrap()).unwrap(), &api.url("/"));
}

#[test]
fn what_a_middleware_sends_elsewhere_without_the_token_goes_there() {
    let (api, other) =
        (Server::untouched(), Server::start(|seen| Answer::ok(format!("{} {seen}", seen.headers.len()))));
    for is_new in [false, true] {
        let put = |request: &mut Request<SendBody<'_>>, _: &str| {
            request.headers_mut().insert("x-api-token", "its-own".parse().unwrap());
        };
        let answer = client(&[&api.origin()], copying(other.url("/there"), is_new, put)).get(api.url("/")).call();
        assert!(text(answer).ends_with("GET /there"));
    }
}
