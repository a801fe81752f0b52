//! The traps that other systems fell into (one test each, named after it), as far as HTTP takes part.

use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use mockito::Matcher;
use ureq::{Agent, SendBody};
use ureq_auth::oauth2::ClientCredentials;
use ureq_auth::{
    Client, Error, ErrorKind, Event, ManualClock, NotReplayed, Policy, Session, SourceError, Token, TokenSource,
};

use crate::client::{Calls, client_of, in_threads, kind, plain_statuses, session, text};
use crate::client_flight::fine;
use crate::overdue;
use crate::server::{Answer, Gate, LONG, Server};

#[test]
fn trap_late_401_with_an_older_generation_after_two_newer_ones_are_out() {
    let (is_held, held) = mpsc::channel();
    let refuse_now = Gate::new(1);
    let (gate, is_held) = (refuse_now.clone(), Mutex::new(is_held));
    // Each path accepts one token only.
    let server = Server::start(move |seen| {
        if seen.target == "/token-3" && seen.bearer() == Some("token-1") {
            is_held.lock().unwrap().send(()).unwrap();
            gate.wait();
        }
        if Some(&seen.target[1..]) == seen.bearer() { Answer::ok("fine") } else { Answer::refused() }
    });
    let (client, calls) = client_of(&server);
    let answers = thread::scope(|scope| {
        let late = scope.spawn(|| text(client.get(server.url("/token-3")).call()));
        held.recv().unwrap();
        let answers = ["/token-2", "/token-3"].map(|path| text(client.get(server.url(path)).call()));
        refuse_now.open();
        (answers, late.join().unwrap())
    });
    assert_eq!(answers, (["fine".to_owned(), "fine".to_owned()], "fine".to_owned()));
    assert_eq!((calls.count(), client.session().stats().late_refusals), (3, 1));
    assert_eq!(server.told().last().unwrap(), "GET /token-3 Bearer token-3");
}

#[test]
fn trap_401_for_the_new_token_is_the_answer_and_no_loop() {
    let mut server = mockito::Server::new();
    let old =
        server.mock("GET", "/").match_header("authorization", "Bearer token-1").with_status(401).expect(1).create();
    let new = server.mock("GET", "/").match_header("authorization", "Bearer token-2").with_status(401);
    let new = new.with_body("never").expect(1).create();
    let (session, calls) = session();
    let client = Client::builder(session).origin(server.url()).configure(plain_statuses).build().unwrap();
    let answer = client.get(server.url()).call().unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(text(Ok(answer)), "never");
    old.assert();
    new.assert();
    assert_eq!(calls.count(), 2);
}

/// A session of one attempt a flight, whose callers sit out no pause.
fn impatient(source: impl TokenSource + 'static) -> Session {
    let policy = Policy::new().with_attempts(1).with_patience(Duration::ZERO);
    Session::builder(source).policy(policy).build().unwrap()
}

#[test]
fn trap_refresh_endpoint_itself_answers_401() {
    let mut issuer = mockito::Server::new();
    let endpoint = issuer.mock("POST", "/token").with_status(401).with_body("{}").expect(1).create();
    let url = issuer.url() + "/token";
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        let token = Agent::new_with_defaults().post(&url).send_empty()?.body_mut().read_to_string()?;
        Ok(Token::new(token)?)
    };
    let api = Server::untouched();
    let client = Client::new(impatient(source), &api.origin()).unwrap();
    for _ in 0..3 {
        let error = client.get(api.url("/")).call().unwrap_err();
        let error = Error::in_ureq(&error).unwrap();
        assert_eq!((error.kind(), error.may_need_login()), (ErrorKind::Unavailable, true), "{error}");
    }
    endpoint.assert();
}

#[test]
fn trap_leader_times_out_after_send() {
    let issuer = Server::start(|_| overdue::answer());
    let url = issuer.url("/token");
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        let agent = overdue::agent(Agent::config_builder().build());
        let request = agent.post(&url).config().timeout_recv_response(Some(LONG));
        let token = request.build().send("refresh")?.body_mut().read_to_string()?;
        Ok(Token::new(token)?)
    };
    let api = Server::untouched();
    let client = Client::new(impatient(source), &api.origin()).unwrap();
    for _ in 0..3 {
        assert_eq!(kind(client.get(api.url("/")).call()), ErrorKind::Unknown);
    }
    assert_eq!(issuer.count(), 1, "the refresh token may be spent: it is not sent again at once");
}

#[test]
fn trap_64_waiters_and_a_refresh_error() {
    let server = fine();
    let calls = Calls::default();
    let (all_wait, leads) = (Gate::new(63), Gate::new(1));
    let (waiting, leading, counted) = (all_wait.clone(), leads.clone(), calls.clone());
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        if counted.next() == 1 {
            leading.open();
            waiting.wait();
        }
        Err(SourceError::unavailable("HTTP status 503").with_retry_after(Duration::from_secs(60)))
    };
    let policy = Policy::new().with_attempts(1);
    let session = Session::builder(source).policy(policy).observer(move |event| {
        if let Event::WaitStarted = event {
            all_wait.open();
        }
    });
    let client = Client::new(session.build().unwrap(), &server.origin()).unwrap();
    let errors = thread::scope(|scope| {
        let leader = scope.spawn(|| client.get(server.url("/")).call().unwrap_err());
        leads.wait();
        let mut errors = in_threads(63, |_| client.get(server.url("/")).call().unwrap_err());
        errors.push(leader.join().unwrap());
        errors
    });
    let texts: Vec<String> = errors.iter().map(|error| Error::in_ureq(error).unwrap().to_string()).collect();
    assert!(texts.iter().all(|text| *text == texts[0] && text.contains("try again later")), "{texts:?}");
    assert_eq!(kind(client.get(server.url("/")).call()), ErrorKind::Unavailable);
    assert_eq!((calls.count(), server.count()), (1, 0), "and no further call before the pause is over");
}

#[test]
fn trap_refresh_called_through_the_same_client() {
    let server = Server::untouched();
    let own: Arc<OnceLock<(Client, String)>> = Arc::default();
    let itself = Arc::clone(&own);
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        let (client, url) = itself.get().unwrap();
        let token = client.get(url).call()?.body_mut().read_to_string()?;
        Ok(Token::new(token)?)
    };
    let client = Client::new(Session::new(source).unwrap(), &server.origin()).unwrap();
    own.set((client.clone(), server.url("/token"))).unwrap();
    for _ in 0..3 {
        let error = client.get(server.url("/")).call().unwrap_err();
        let error = Error::in_ureq(&error).unwrap();
        assert_eq!(error.kind(), ErrorKind::Reentrant);
        assert!(error.to_string().contains("its own agent"), "{error}");
    }
}

#[test]
fn trap_redirect_302_same_host() {
    let mut server = mockito::Server::new();
    let with_token = Matcher::Exact("Bearer token-1".to_owned());
    let here = server.mock("GET", "/here").match_header("authorization", with_token.clone());
    let here = here.with_status(302).with_header("Location", "/there").expect(1).create();
    let there =
        server.mock("GET", "/there").match_header("authorization", with_token).with_body("found").expect(1).create();
    let (session, _) = session();
    let client = Client::new(session, &server.url()).unwrap();
    assert_eq!(text(client.get(server.url() + "/here").call()), "found");
    here.assert();
    there.assert();
}

#[test]
fn trap_307_with_one_shot_body() {
    // The first is refused, so that the body is spent when the redirect could come.
    let server = Server::script([Answer::refused(), Answer::redirect(307, "/there")]);
    let (builder, calls) = crate::client::builder_of(&server);
    let client = builder.replay_limit(4).configure(plain_statuses).build().unwrap();
    let send = || client.put(server.url("/")).send(SendBody::from_owned_reader(&b"one shot"[..]));
    let answer = send().unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.extensions().get::<NotReplayed>().is_some());
    let error = send().unwrap_err();
    assert!(matches!(error, ureq::Error::RedirectFailed), "{error:?}");
    assert_eq!(calls.count(), 2);
    assert!(server.seen().iter().all(|seen| seen.text() == "one shot"), "never an empty body in its place");
}

#[test]
fn trap_expires_in_as_a_string() {
    let mut issuer = mockito::Server::new();
    let endpoint = issuer.mock("POST", "/token").expect(2);
    let endpoint = endpoint.with_body(r#"{"access_token":"a","token_type":"bearer","expires_in":"3600"}"#).create();
    let clock = ManualClock::new(None);
    let source = ClientCredentials::new(issuer.url() + "/token", "client", "secret");
    let session = Session::builder(source).clock(clock.clone()).build().unwrap();
    assert_eq!(session.token().unwrap().lifetime(), Some(Duration::from_secs(3600)));
    // Neither due on every call, nor good for ever.
    clock.advance(Duration::from_secs(1800));
    assert_eq!(session.token().unwrap().generation(), 1);
    clock.advance(Duration::from_secs(1800));
    assert_eq!(session.token().unwrap().generation(), 2);
    endpoint.assert();
}
