//! A refused token: one refresh for all threads, and every call goes on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use ureq_auth::{Client, Error, ErrorKind, NotReplayed, Session, SourceError, Token};

use crate::client::{
    Calls, builder_of, client_of, in_threads, numbered, plain_statuses, refuses_the_first, session, text,
};
use crate::server::{Answer, Gate, Server};

#[test]
fn a_refused_call_is_sent_again_with_the_next_token() {
    let server = Server::start(refuses_the_first);
    let (client, calls) = client_of(&server);
    assert_eq!(text(client.get(server.url("/me?a=1&b=%20")).call()), "GET ");
    assert_eq!(server.told(), ["GET /me?a=1&b=%20 Bearer token-1", "GET /me?a=1&b=%20 Bearer token-2"]);
    assert_eq!(calls.count(), 2);
    let stats = client.session().stats();
    assert_eq!((stats.replays, stats.refreshes_after_refusal), (1, 1));
}

#[test]
fn sixty_four_threads_with_a_revoked_token_cost_one_refresh_and_all_get_their_answer() {
    let all_are_in = Gate::new(64);
    let server = Server::start(move |seen| {
        if seen.bearer() == Some("token-1") {
            // Nobody is refused before everybody has asked with the revoked token.
            all_are_in.arrive();
        }
        refuses_the_first(seen)
    });
    let (client, calls) = client_of(&server);
    client.session().token().unwrap();
    assert_eq!(calls.count(), 1);

    let answers =
        in_threads(64, |number| text(client.post(server.url(&format!("/{number}"))).send(number.to_string())));

    let expected: Vec<String> = (0..64).map(|number| format!("POST {number}")).collect();
    assert_eq!(answers, expected);
    assert_eq!(calls.count(), 2, "one refresh for all");
    let refused = server.seen().iter().filter(|seen| seen.bearer() == Some("token-1")).count();
    assert_eq!((refused, server.count()), (64, 128));
}

#[test]
fn a_refusal_that_arrives_late_costs_no_refresh() {
    let (is_held, held) = mpsc::channel();
    let refuse_now = Gate::new(1);
    let gate = refuse_now.clone();
    let is_held = Mutex::new(is_held);
    let server = Server::start(move |seen| {
        if seen.target == "/late" && seen.bearer() == Some("token-1") {
            is_held.lock().unwrap().send(()).unwrap();
            gate.wait();
        }
        refuses_the_first(seen)
    });
    let (client, calls) = client_of(&server);
    thread::scope(|scope| {
        let late = scope.spawn(|| text(client.get(server.url("/late")).call()));
        held.recv().unwrap();
        assert_eq!(text(client.get(server.url("/now")).call()), "GET ");
        assert_eq!(calls.count(), 2);
        refuse_now.open();
        assert_eq!(late.join().unwrap(), "GET ");
    });
    assert_eq!(calls.count(), 2, "the later generation was out already");
    assert_eq!(client.session().stats().late_refusals, 1);
    assert_eq!(server.told().last().unwrap(), "GET /late Bearer token-2");
}

#[test]
fn an_api_that_refuses_every_token_costs_a_handful_of_refreshes_and_every_caller_has_its_401() {
    let server = Server::start(|_| Answer::refused());
    let (client, calls) = client_of(&server);
    in_threads(64, |_| {
        for _ in 0..20 {
            let mut answer = client.get(server.url("/")).call().unwrap();
            assert_eq!(answer.status(), 401);
            assert_eq!(answer.headers()["www-authenticate"], "Bearer error=\"invalid_token\"");
            assert_eq!(answer.headers()["content-length"], "12");
            assert_eq!(answer.body().content_length(), Some(12));
            assert_eq!(answer.body_mut().read_to_string().unwrap(), "who are you?");
            assert!(answer.extensions().get::<NotReplayed>().is_none(), "to send it again would not help");
        }
    });
    assert!(calls.count() <= 5, "{} tokens", calls.count());
    assert!(client.session().stats().ignored_refusals > 0);
}

#[test]
fn tokens_that_worked_and_are_revoked_are_replaced_each_time() {
    // Ten in a row: far more than the breaker grants to tokens that never worked.
    let answers = (0..10).flat_map(|_| [Answer::ok("fine"), Answer::refused()]).chain([Answer::ok("fine")]);
    let server = Server::script(answers);
    let (client, calls) = client_of(&server);
    for _ in 0..11 {
        assert_eq!(text(client.get(server.url("/")).call()), "fine");
    }
    assert_eq!(calls.count(), 11);
}

#[test]
fn a_token_that_was_accepted_only_behind_a_redirect_counts_as_one_that_worked() {
    let once = || [Answer::redirect(302, "/there"), Answer::ok("fine"), Answer::refused()];
    let server = Server::script((0..10).flat_map(|_| once()).chain([Answer::ok("fine")]));
    let (client, calls) = client_of(&server);
    for _ in 0..11 {
        assert_eq!(text(client.get(server.url("/")).call()), "fine");
    }
    assert_eq!(calls.count(), 11);
}

#[test]
fn an_api_that_refuses_every_token_is_a_401_error_where_a_status_is_one() {
    let server = Server::start(|_| Answer::refused());
    let (builder, calls) = builder_of(&server);
    let client = builder.build().unwrap();
    in_threads(16, |_| {
        for _ in 0..5 {
            let error = client.get(server.url("/")).call().unwrap_err();
            assert!(matches!(error, ureq::Error::StatusCode(401)), "{error:?}");
        }
    });
    assert!(calls.count() <= 5, "{} tokens", calls.count());
}

#[test]
fn a_session_that_has_ended_is_one_source_call_and_a_clear_error_for_every_caller() {
    let server = Server::start(|_| Answer::refused());
    let calls = Calls::default();
    let counted = calls.clone();
    let session = Session::builder(move |_: Option<&Token>| -> Result<Token, SourceError> {
        counted.next();
        Err(SourceError::rejected("the refresh token is revoked").with_code("invalid_grant"))
    })
    .token(Token::new("revoked").unwrap());
    let client =
        Client::builder(session.build().unwrap()).origin(server.origin()).configure(plain_statuses).build().unwrap();

    let errors = in_threads(64, |_| {
        let call = || client.get(server.url("/")).call().unwrap_err();
        (0..20).map(|_| call()).collect::<Vec<_>>()
    });

    let errors: Vec<_> = errors.into_iter().flatten().collect();
    assert_eq!(errors.len(), 1280);
    for error in &errors {
        let error = Error::in_ureq(error).unwrap();
        assert!(error.is_login_required());
        assert_eq!(error.code(), Some("invalid_grant"));
        assert!(error.to_string().contains("log in again"));
    }
    assert_eq!(calls.count(), 1);
    assert!(server.count() <= 64, "{} requests after the session had ended", server.count());
}

#[test]
fn nothing_is_sent_while_there_is_no_token_to_send() {
    let server = Server::untouched();
    let session = Session::new(|_: Option<&Token>| -> Result<Token, SourceError> {
        Err(SourceError::misconfigured("no such client"))
    });
    let client = Client::new(session.unwrap(), &server.origin()).unwrap();
    let error = client.post(server.url("/")).send("body").unwrap_err();
    assert_eq!(Error::in_ureq(&error).unwrap().kind(), ErrorKind::Misconfigured);
    assert_eq!((server.count(), server.connections()), (0, 0));
}

#[test]
fn calls_of_one_thread_arrive_in_order_and_are_accepted_once_each_whatever_is_refreshed() {
    // Every seventh request revokes the token that is in force, behind the client's back.
    let revoked = AtomicUsize::new(0);
    let requests = AtomicUsize::new(0);
    let accepted: Arc<Mutex<Vec<(usize, usize)>>> = Arc::default();
    let seen_calls = Arc::clone(&accepted);
    let server = Server::start(move |seen| {
        let number: usize = seen.bearer().unwrap().strip_prefix("token-").unwrap().parse().unwrap();
        if requests.fetch_add(1, Ordering::SeqCst) % 7 == 6 {
            revoked.fetch_max(number, Ordering::SeqCst);
        }
        if number <= revoked.load(Ordering::SeqCst) {
            return Answer::refused();
        }
        let body = if seen.method == "GET" { seen.target[1..].to_owned() } else { seen.text() };
        let (thread, call) = body.split_once('-').unwrap();
        seen_calls.lock().unwrap().push((thread.parse().unwrap(), call.parse().unwrap()));
        Answer::ok(body)
    });
    // The breaker is not what this is about: it may refresh as often as it must.
    let calls = Calls::default();
    // And a refusal is met at once.
    let policy = ureq_auth::Policy::new()
        .with_refusals(1_000_000, std::time::Duration::from_secs(1))
        .with_token_lag(std::time::Duration::ZERO);
    let session = Session::builder(numbered(calls)).policy(policy).build().unwrap();
    let client = Client::builder(session).origin(server.origin()).configure(plain_statuses).build().unwrap();

    in_threads(8, |thread| {
        for call in 0..50 {
            // A replay that falls victim to the next revocation is a 401 for its caller, who sends it again.
            loop {
                let body = format!("{thread}-{call}");
                let mut answer = match call % 2 {
                    0 => client.get(server.url(&format!("/{body}"))).call().unwrap(),
                    _ => client.post(server.url("/")).send(&body).unwrap(),
                };
                if answer.status() == 200 {
                    assert_eq!(answer.body_mut().read_to_string().unwrap(), body);
                    break;
                }
                assert_eq!(answer.status(), 401);
            }
        }
    });

    let accepted = accepted.lock().unwrap();
    for thread in 0..8 {
        let calls: Vec<_> = accepted.iter().filter(|(own, _)| *own == thread).map(|(_, call)| *call).collect();
        assert_eq!(calls, (0..50).collect::<Vec<_>>(), "thread {thread}");
    }
    assert!(client.session().stats().replays > 10);
}

#[test]
fn a_client_that_is_dropped_while_its_agent_lives_hands_back_what_comes() {
    let server = Server::script([Answer::refused(), Answer::redirect(302, "/there"), Answer::ok("fine")]);
    let (client, calls) = client_of(&server);
    let agent = client.agent().clone();
    drop(client);

    let answer = agent.get(server.url("/")).call().unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.extensions().get::<NotReplayed>().is_some(), "the token is fresh now");
    assert_eq!(calls.count(), 2);
    assert_eq!(agent.get(server.url("/")).call().unwrap().status(), 302);
    assert_eq!(text(agent.get(server.url("/")).call()), "fine");
    assert!(server.told()[1..].iter().all(|told| told == "GET / Bearer token-2"), "{:?}", server.told());
}

#[test]
fn a_second_client_of_the_same_session_shares_its_token() {
    let server = Server::start(refuses_the_first);
    let (session, calls) = session();
    let clients = [0, 1].map(|_| Client::new(session.clone(), &server.origin()).unwrap());
    for client in &clients {
        assert_eq!(text(client.get(server.url("/")).call()), "GET ");
    }
    assert_eq!(calls.count(), 2);
    assert_eq!(server.count(), 3);
}
