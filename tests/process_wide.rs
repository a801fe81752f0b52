//! The process-wide client, in a process of its own: the order of its calls is the whole test.
#![cfg(feature = "ureq")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::thread;

use ureq_auth::{Client, ErrorKind, Session, Token};

#[path = "it/server.rs"]
mod server;

use server::{Answer, Server};

#[test]
fn a_process_has_one_client_from_its_first_init_on() {
    let error = ureq_auth::client().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotInitialized);
    assert!(error.to_string().contains("call ureq_auth::init in main"), "{error}");

    let server = Server::start(|seen| Answer::ok(seen.bearer().unwrap_or_default()));
    ureq_auth::init(client("first", &server)).unwrap();
    let error = ureq_auth::init(client("second", &server)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyInitialized);
    assert!(error.to_string().contains("once, in main"), "{error}");

    let call =
        || ureq_auth::client().unwrap().get(server.url("/")).call().unwrap().body_mut().read_to_string().unwrap();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(call)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), "first");
        }
    });
}

fn client(token: &'static str, server: &Server) -> Client {
    let session = Session::new(move |_: Option<&Token>| Ok(Token::new(token)?)).unwrap();
    Client::new(session, &server.origin()).unwrap()
}
