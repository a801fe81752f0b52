//! ureq's own settings, for an agent and for one request, and middlewares of the user's own: all of it means what it
//! means in plain ureq, on each attempt.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ureq::http::{Request, Response, StatusCode};
use ureq::middleware::MiddlewareNext;
use ureq::{Body, Error as UreqError, SendBody};
use ureq_auth::{Client, ErrorKind};

use crate::again::this_program;
use crate::client::{builder_of, client_of, in_threads, plain_statuses, refuses_the_first, session, text};
use crate::overdue;
use crate::server::{Answer, Gate, LONG, Server};

#[test]
fn a_status_is_an_error_or_an_answer_as_the_agent_and_the_request_say() {
    // A refusal that is cured, one that is not the token's fault, and another status.
    let server = Server::start(|seen| match seen.target.as_str() {
        "/" => refuses_the_first(seen),
        "/scope" => Answer::new(401).header("WWW-Authenticate", "Bearer error=\"insufficient_scope\""),
        _ => Answer::new(404),
    });
    for (of_agent, of_request) in [(true, None), (false, None), (true, Some(false)), (false, Some(true))] {
        let (builder, _) = builder_of(&server);
        let client = builder.configure(move |config| config.http_status_as_error(of_agent)).build().unwrap();
        let call = |path| {
            let request = client.get(server.url(path));
            match of_request {
                Some(as_error) => request.config().http_status_as_error(as_error).build().call(),
                None => request.call(),
            }
        };
        assert_eq!(text(call("/")), "GET ");
        for (path, status) in [("/missing", 404), ("/scope", 401)] {
            match (call(path), of_request.unwrap_or(of_agent)) {
                (Err(UreqError::StatusCode(code)), true) => assert_eq!(code, status),
                (Ok(answer), false) => assert_eq!(answer.status(), status),
                (result, as_error) => panic!("{path}, {as_error}: {result:?}"),
            }
        }
    }
}

#[test]
fn a_requests_own_settings_hold_for_the_replay_too() {
    let server = Server::start(refuses_the_first);
    let (client, _) = client_of(&server);
    let request = client.get(server.url("/")).config().user_agent("of this request").accept("text/x").build();
    assert_eq!(text(request.header_raw("X-CaSe", b"kept").query("a", "1 2").call()), "GET ");
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!((seen.header("user-agent"), seen.header("accept")), (Some("of this request"), Some("text/x")));
        assert!(seen.headers.contains(&("X-CaSe".to_owned(), "kept".to_owned())), "{seen:?}");
        assert_eq!(seen.target, "/?a=1%202");
    }
}

#[test]
fn a_requests_own_time_out_holds_for_the_replay_too() {
    let server = Server::start(|seen| match seen.bearer() {
        Some("token-1") => Answer::refused(),
        _ => overdue::answer(),
    });
    let (builder, _) = builder_of(&server);
    let client = builder.make_agent(overdue::agent).build().unwrap();
    let request = client.get(server.url("/")).config().timeout_global(Some(LONG)).build();
    let error = request.call().unwrap_err();
    assert!(matches!(error, UreqError::Timeout(_)), "{error:?}");
    assert_eq!(server.count(), 2);
}

#[test]
fn extensions_of_the_caller_reach_each_attempt() {
    #[derive(Clone)]
    struct Mine(&'static str);

    let found: Arc<Mutex<Vec<&str>>> = Arc::default();
    let finding = Arc::clone(&found);
    let finder = move |request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
        finding.lock().unwrap().extend(request.extensions().get::<Mine>().map(|mine| mine.0));
        next.handle(request)
    };
    let server = Server::start(refuses_the_first);
    let (builder, _) = builder_of(&server);
    let client = builder.configure(|config| config.middleware(finder)).build().unwrap();
    client.get(server.url("/")).extension(Mine("here")).call().unwrap();
    assert_eq!(*found.lock().unwrap(), ["here", "here"]);
}

/// Notes the token of each request that passes, and the status of each answer.
fn spy(
    notes: &Arc<Mutex<Vec<String>>>,
) -> impl Fn(Request<SendBody<'_>>, MiddlewareNext<'_>) -> Result<Response<Body>, UreqError> + Send + Sync + 'static {
    let notes = Arc::clone(notes);
    move |mut request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
        let token = request.headers().get("authorization").unwrap().to_str().unwrap().to_owned();
        request.headers_mut().insert("X-Seen", "1".parse().unwrap());
        let result = next.handle(request);
        let status = match &result {
            Ok(answer) => answer.status().as_u16(),
            Err(UreqError::StatusCode(status)) => *status,
            Err(error) => panic!("{error}"),
        };
        notes.lock().unwrap().push(format!("{token} {status}"));
        result
    }
}

#[test]
fn middlewares_of_the_user_see_each_attempt_once() {
    for as_error in [true, false] {
        let notes = Arc::default();
        let spy = spy(&notes);
        let server = Server::start(refuses_the_first);
        let (builder, _) = builder_of(&server);
        let configure =
            move |config: ureq::config::ConfigBuilder<_>| config.middleware(spy).http_status_as_error(as_error);
        let client = builder.configure(configure).build().unwrap();
        assert_eq!(text(client.post(server.url("/")).send("x")), "POST x");
        assert_eq!(*notes.lock().unwrap(), ["Bearer token-1 401", "Bearer token-2 200"]);
        for seen in server.seen() {
            let marks = seen.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-seen"));
            assert_eq!(marks.count(), 1, "{seen:?}");
        }
    }
}

#[test]
fn a_middleware_may_change_the_address_and_the_401_still_counts() {
    let versioned = |mut request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
        *request.uri_mut() = format!("{}?v=2", request.uri()).parse().unwrap();
        next.handle(request)
    };
    let server = Server::start(|seen| match seen.target.as_str() {
        "/moved?v=2" => Answer::redirect(302, "/there"),
        _ => refuses_the_first(seen),
    });
    let (builder, calls) = builder_of(&server);
    let client = builder.configure(move |config| plain_statuses(config).middleware(versioned)).build().unwrap();
    assert_eq!(text(client.get(server.url("/")).call()), "GET ");
    assert_eq!(server.told(), ["GET /?v=2 Bearer token-1", "GET /?v=2 Bearer token-2"]);
    assert_eq!(calls.count(), 2);
    assert_eq!(text(client.get(server.url("/moved")).call()), "GET ");
    assert_eq!(server.told()[3], "GET /there?v=2 Bearer token-2");
}

/// An answer that never came near a server, as of a cache or of a mock.
#[derive(Clone)]
struct FromCache;

#[test]
fn answers_that_a_middleware_makes_by_itself_are_no_reason_to_panic() {
    for marked in [false, true] {
        for status in [200, 302, 401, 404] {
            let made = Arc::new(AtomicUsize::new(0));
            let making = Arc::clone(&made);
            let cache = move |_: Request<SendBody<'_>>, _: MiddlewareNext<'_>| {
                making.fetch_add(1, Ordering::SeqCst);
                let mut answer = Response::new(Body::builder().data("cached"));
                *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                if marked {
                    answer.extensions_mut().insert(FromCache);
                }
                Ok(answer)
            };
            let server = Server::untouched();
            let (builder, _) = builder_of(&server);
            let client = builder.configure(|config| config.middleware(cache)).build().unwrap();
            let answer = client.get(server.url("/")).call().unwrap();
            assert_eq!(answer.status(), status);
            assert_eq!(answer.extensions().get::<FromCache>().is_some(), marked);
            assert_eq!(text(Ok(answer)), "cached");
            let attempts = if status == 401 { 2 } else { 1 };
            assert_eq!(made.load(Ordering::SeqCst), attempts, "{status}");
        }
    }
}

#[test]
fn a_middleware_that_fails_is_heard() {
    let failing = |_: Request<SendBody<'_>>, _: MiddlewareNext<'_>| -> Result<Response<Body>, UreqError> {
        Err(UreqError::Other("out of order".into()))
    };
    let server = Server::untouched();
    let (builder, calls) = builder_of(&server);
    let client = builder.configure(move |config| config.middleware(failing)).build().unwrap();
    assert!(client.get(server.url("/")).call().unwrap_err().to_string().contains("out of order"));
    assert_eq!(calls.count(), 1);
}

#[test]
fn the_401s_connection_serves_the_replay() {
    let server = Server::start(refuses_the_first);
    let (client, _) = client_of(&server);
    assert_eq!(text(client.post(server.url("/")).send("x")), "POST x");
    assert_eq!((server.count(), server.connections()), (2, 1));
}

#[test]
fn after_a_flight_the_connections_stay_near_the_number_of_threads() {
    // In each round all calls are under way at once, and none begins before the last one's connections are all in the
    // pool: a small one would have thrown most of them away.
    let gates = || (0..4).map(|_| Gate::new(16)).collect::<Vec<_>>();
    let (rounds, ends) = (gates(), gates());
    let server = Server::start(move |seen| {
        let round: usize = seen.target[1..].parse().unwrap();
        if round > 0 || seen.bearer() == Some("token-1") {
            rounds[round].arrive();
        }
        refuses_the_first(seen)
    });
    let (client, calls) = client_of(&server);
    in_threads(16, |_| {
        for (round, end) in ends.iter().enumerate() {
            assert_eq!(text(client.get(server.url(&format!("/{round}"))).call()), "GET ");
            end.arrive();
        }
    });
    assert_eq!(calls.count(), 2);
    assert_eq!(server.count(), 16 + 64);
    assert!(server.connections() <= 16 + 2, "{} connections", server.connections());
}

#[test]
fn the_pool_keeps_a_connection_for_each_of_two_hundred_callers() {
    let gates = || [Gate::new(200), Gate::new(200)];
    let (rounds, ends) = (gates(), gates());
    let server = Server::start(move |seen| {
        rounds[usize::from(seen.target == "/second")].arrive();
        Answer::ok("fine")
    });
    let (client, _) = client_of(&server);
    client.session().token().unwrap();
    in_threads(200, |_| {
        for (end, path) in ends.iter().zip(["/first", "/second"]) {
            assert_eq!(text(client.get(server.url(path)).call()), "fine");
            end.arrive();
        }
    });
    assert_eq!((server.count(), server.connections()), (400, 200));
}

#[test]
fn the_users_own_pool_size_is_left_as_it_is() {
    let (builder, _) = builder_of(&Server::untouched());
    let client: Client = builder.configure(|config| config.max_idle_connections_per_host(5)).build().unwrap();
    assert_eq!(client.agent().config().max_idle_connections_per_host(), 5);
}

/// In a process of its own, with these variables and no other that names a proxy.
fn with_proxy(test: &str, variables: &[(&str, &str)]) -> bool {
    const INSIDE: &str = "UREQ_AUTH_INSIDE";

    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let Some(program) = this_program(test) else { return false };
    let mut again = Command::new(program);
    again.args(["--exact", &format!("client_settings::{test}"), "--nocapture"]).env(INSIDE, "1");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        again.env_remove(name).env_remove(name.to_lowercase());
    }
    let output = again.envs(variables.iter().copied()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said} {}", String::from_utf8_lossy(&output.stderr));
    false
}

const PROXY: (&str, &str) = ("ALL_PROXY", "http://proxy.example:3128");
const MIXED: [&str; 2] = ["https://api.example", "http://localhost:8080"];

fn client_to(origins: &[&str]) -> ureq_auth::Result<Client> {
    origins.iter().fold(Client::builder(session().0), |builder, origin| builder.origin(*origin)).build()
}

#[test]
fn a_proxy_of_the_environment_gets_no_token_in_the_clear() {
    if !with_proxy("a_proxy_of_the_environment_gets_no_token_in_the_clear", &[PROXY]) {
        return;
    }
    assert!(client_to(&["http://127.0.0.1:8080", "http://[::1]"]).unwrap().agent().config().proxy().is_none());
    assert!(client_to(&["https://api.example"]).unwrap().agent().config().proxy().is_some());
    let error = client_to(&MIXED).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("in the clear: set NO_PROXY"), "{error}");
    // The user's own word.
    let builder = MIXED.iter().fold(Client::builder(session().0), |builder, origin| builder.origin(*origin));
    assert!(builder.configure(|config| config.proxy(None)).build().is_ok());
}

#[test]
fn a_proxy_of_the_environment_serves_the_origins_that_it_may() {
    let name = "a_proxy_of_the_environment_serves_the_origins_that_it_may";
    if with_proxy(name, &[PROXY, ("NO_PROXY", "localhost")]) {
        assert!(client_to(&MIXED).unwrap().agent().config().proxy().is_some());
    }
}

#[test]
fn a_password_in_the_address_is_the_callers_own_authorization() {
    let server = Server::script([Answer::ok("found")]);
    let (client, calls) = client_of(&server);
    assert_eq!(text(client.get(server.url("/").replace("//", "//own:pw@")).call()), "found");
    assert_eq!((server.told(), calls.count()), (vec!["GET / Basic b3duOnB3".into()], 0));
}
