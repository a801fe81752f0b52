//! Calls that meet a flight: deadlines, a source that panics, a source that goes through its own client.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ureq_auth::{Client, ErrorKind, Event, Policy, Session, SourceError, Token};

use crate::client::{Calls, in_threads, kind, numbered, text};
use crate::server::{Answer, Gate, LONG, Server};

/// Accepts every token, and nobody without one.
pub(crate) fn fine() -> Server {
    Server::start(|seen| match seen.bearer() {
        Some(_) => Answer::ok("fine"),
        None => Answer::refused(),
    })
}

#[test]
fn waiters_are_back_by_their_deadline_while_the_source_is_still_out() {
    let server = fine();
    let (release, gate) = (Gate::new(1), Gate::new(1));
    let (leads, source_gate) = (gate.clone(), release.clone());
    let source = move |_: Option<&Token>| {
        leads.open();
        source_gate.wait();
        Ok(Token::new("late")?)
    };
    let short = Duration::from_millis(50);
    let policy = Policy::new().with_budget(short).with_wait_timeout(short);
    let session = Session::builder(source).policy(policy).build().unwrap();
    let client = Client::new(session, &server.origin()).unwrap();
    thread::scope(|scope| {
        let leader = scope.spawn(|| text(client.get(server.url("/")).call()));
        gate.wait();
        let begin = Instant::now();
        let kinds = in_threads(16, |_| kind(client.get(server.url("/")).call()));
        assert_eq!(kinds, [ErrorKind::Timeout; 16]);
        assert!(begin.elapsed() < LONG / 2, "the source never came back before that");
        assert_eq!(server.count(), 0, "nothing was sent without a token");
        release.open();
        assert_eq!(leader.join().unwrap(), "fine");
    });
    assert_eq!(client.session().stats().wait_timeouts, 16);
}

#[test]
fn when_the_leader_panics_one_of_those_who_wait_takes_over() {
    let server = fine();
    let calls = Calls::default();
    let (all_wait, leads) = (Gate::new(8), Gate::new(1));
    let (waiting, leading) = (all_wait.clone(), leads.clone());
    let counted = calls.clone();
    let source = move |_: Option<&Token>| {
        if counted.next() == 1 {
            leading.open();
            waiting.wait();
            panic!("the source is broken");
        }
        Ok(Token::new("of-the-second-leader")?)
    };
    let session = Session::builder(source).observer(move |event| {
        if let Event::WaitStarted = event {
            all_wait.open();
        }
    });
    let client = Client::new(session.build().unwrap(), &server.origin()).unwrap();
    thread::scope(|scope| {
        let leader = scope.spawn(|| client.get(server.url("/")).call().map(drop));
        leads.wait();
        let answers = in_threads(8, |_| text(client.get(server.url("/")).call()));
        assert_eq!(answers, ["fine"; 8]);
        leader.join().unwrap_err();
    });
    assert_eq!(calls.count(), 2, "one that panicked, one for all others");
}

#[test]
fn a_source_that_calls_elsewhere_through_its_own_client_works() {
    let issuer = Server::script([Answer::ok("issued")]);
    let server = fine();
    let own: Arc<OnceLock<(Client, String)>> = Arc::default();
    let itself = Arc::clone(&own);
    let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
        let (client, url) = itself.get().unwrap();
        let token = client.get(url).call()?.body_mut().read_to_string()?;
        Ok(Token::new(token)?)
    };
    let client = Client::new(Session::new(source).unwrap(), &server.origin()).unwrap();
    own.set((client.clone(), issuer.url("/token"))).unwrap();
    assert_eq!(text(client.get(server.url("/")).call()), "fine");
    assert_eq!((issuer.told(), server.told()), (vec!["GET /token".to_owned()], vec!["GET / Bearer issued".to_owned()]));
}

#[test]
fn a_token_that_is_near_its_end_is_refreshed_by_one_call_while_the_others_go_on() {
    let server = fine();
    let clock = ureq_auth::ManualClock::new(None);
    let (is_out, out) = mpsc::channel();
    let release = Gate::new(1);
    let (gate, is_out) = (release.clone(), Mutex::new(is_out));
    let calls = Calls::default();
    let issue = numbered(calls.clone());
    let first = AtomicBool::new(true);
    let source = move |previous: Option<&Token>| {
        if !first.swap(false, Ordering::SeqCst) {
            is_out.lock().unwrap().send(()).unwrap();
            gate.wait();
        }
        Ok(issue(previous)?.with_expires_in(Duration::from_secs(100)))
    };
    let session = Session::builder(source).clock(clock.clone()).build().unwrap();
    let client = Client::new(session, &server.origin()).unwrap();
    assert_eq!(text(client.get(server.url("/")).call()), "fine");
    clock.advance(Duration::from_secs(90));
    thread::scope(|scope| {
        let refreshing = scope.spawn(|| text(client.get(server.url("/new")).call()));
        out.recv().unwrap();
        in_threads(8, |_| text(client.get(server.url("/old")).call()));
        release.open();
        assert_eq!(refreshing.join().unwrap(), "fine");
    });
    let told = server.told();
    assert_eq!(told.iter().filter(|told| *told == "GET /old Bearer token-1").count(), 8);
    assert_eq!(told.last().unwrap(), "GET /new Bearer token-2");
    assert_eq!((calls.count(), client.session().stats().joined_waits), (2, 0));
}
