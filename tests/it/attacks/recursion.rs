//! Who is told what happens may ask for the next call: a `log` backend, or an observer, that ships its lines through the same
//! client. Whatever comes of that call, it is over soon.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use log::{LevelFilter, Log, Metadata, Record};
use ureq_auth::{Client, ErrorKind, Event, Session, Token};

use super::{assert_passed, is_inside, outcome_alone};
use crate::client::{Calls, kind, numbered, plain_statuses};
use crate::server::{Answer, Gate, Server};
use crate::support::aside;

/// A backend that ships each line of this crate's as a request of the client's.
struct Shipping;

static SHIPPING: Shipping = Shipping;
static COLLECTOR: OnceLock<(Client, String)> = OnceLock::new();
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static DEEPEST: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

impl Log for Shipping {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if !record.target().starts_with("ureq_auth") {
            return;
        }
        LINES.lock().unwrap().push(record.args().to_string());
        ship();
    }

    fn flush(&self) {}
}

fn ship() {
    let depth = DEPTH.get() + 1;
    DEPTH.set(depth);
    DEEPEST.fetch_max(depth, Ordering::SeqCst);
    if let Some((client, url)) = COLLECTOR.get() {
        // A backend has nobody to tell of what failed.
        let _lost = client.get(url).call();
    }
    DEPTH.set(depth - 1);
}

fn lines(part: &str) -> usize {
    LINES.lock().unwrap().iter().filter(|line| line.contains(part)).count()
}

/// A client on this session, which the lines are shipped by, at this level.
fn shipping(session: Session, server: &Server, level: LevelFilter) -> Client {
    log::set_logger(&SHIPPING).unwrap();
    log::set_max_level(level);
    let client = Client::builder(session).origin(server.origin()).configure(plain_statuses).build().unwrap();
    assert!(COLLECTOR.set((client.clone(), server.url("/log"))).is_ok());
    client
}

/// Runs it in a process of its own, which ends if the stack overflows.
fn alone(test: &str, inside: impl FnOnce() + Send + 'static) {
    if is_inside() {
        return aside(inside).result();
    }
    if let Some(output) = outcome_alone(&format!("recursion::{test}"), &[]) {
        assert_passed(&output);
    }
}

#[test]
fn lines_that_are_shipped_to_an_api_that_refuses_for_ever() {
    alone("lines_that_are_shipped_to_an_api_that_refuses_for_ever", || {
        let server = Server::start(|_| Answer::refused());
        let client = shipping(Session::new(numbered(Calls::default())).unwrap(), &server, LevelFilter::Warn);
        for _ in 0..10 {
            assert_eq!(client.get(server.url("/")).call().unwrap().status(), 401);
        }
        assert!(lines("refuses too often") > 0);
        assert_eq!(DEEPEST.load(Ordering::SeqCst), 2);
        // What the shipping of a shipped line meets is counted, and not told.
        let stats = client.session().stats();
        assert!(stats.ignored_refusals as usize > lines("refuses too often"), "{stats:?}");
    });
}

#[test]
fn lines_that_are_shipped_while_threads_wait() {
    alone("lines_that_are_shipped_while_threads_wait", || {
        let (leads, refresh) = (Gate::new(1), Gate::new(1));
        let (leading, gate) = (leads.clone(), refresh.clone());
        let session = Session::new(move |_: Option<&Token>| {
            leading.open();
            gate.wait();
            Ok(Token::new("fresh")?)
        });
        let server =
            Server::start(|seen| if seen.bearer() == Some("fresh") { Answer::ok("") } else { Answer::refused() });
        let client = shipping(session.unwrap(), &server, LevelFilter::Debug);
        let ask = || {
            let (client, url) = (client.clone(), server.url("/"));
            aside(move || client.get(url).call().unwrap().status().as_u16())
        };
        let leader = ask();
        leads.wait();
        let waiters: Vec<_> = (0..4).map(|_| ask()).collect();
        while lines("waiting for the refresh") < waiters.len() {
            std::thread::yield_now();
        }
        refresh.open();
        let statuses: Vec<_> = waiters.into_iter().chain([leader]).map(|caller| caller.result()).collect();
        assert_eq!(statuses, [200; 5]);
        assert_eq!(DEEPEST.load(Ordering::SeqCst), 1);
        assert!(server.count() > 5, "the lines after the refresh have arrived");
    });
}

#[test]
fn an_observer_that_calls_an_api_that_refuses_for_ever() {
    alone("an_observer_that_calls_an_api_that_refuses_for_ever", || {
        let server = Server::start(|_| Answer::refused());
        let ignored = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ignored);
        let session = Session::builder(numbered(Calls::default())).observer(move |event| {
            if let Event::RefusalIgnored { .. } = event {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            ship();
        });
        let builder = Client::builder(session.build().unwrap()).origin(server.origin());
        let client = builder.configure(plain_statuses).build().unwrap();
        assert!(COLLECTOR.set((client.clone(), server.url("/log"))).is_ok());
        for _ in 0..10 {
            assert_eq!(client.get(server.url("/")).call().unwrap().status(), 401);
        }
        assert_eq!(DEEPEST.load(Ordering::SeqCst), 2);
        let stats = client.session().stats();
        assert!(stats.ignored_refusals as usize > ignored.load(Ordering::SeqCst), "{stats:?}");
    });
}

#[test]
fn a_line_of_the_leader_itself_gets_an_error_instead_of_waiting_for_itself() {
    alone("a_line_of_the_leader_itself_gets_an_error_instead_of_waiting_for_itself", || {
        let server = Server::start(|_| Answer::ok(""));
        let own: Arc<OnceLock<Client>> = Arc::default();
        let (itself, url) = (Arc::clone(&own), server.url("/log"));
        let kinds = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&kinds);
        let session = Session::builder(numbered(Calls::default())).observer(move |event| {
            let result = itself.get().unwrap().get(&url).call();
            match event {
                Event::RefreshStarted { .. } => noted.lock().unwrap().push(kind(result)),
                _ => drop(result.unwrap()),
            }
        });
        let client = Client::new(session.build().unwrap(), &server.origin()).unwrap();
        assert!(own.set(client.clone()).is_ok());
        client.get(server.url("/")).call().unwrap();
        assert_eq!(*kinds.lock().unwrap(), [ErrorKind::Reentrant]);
    });
}
