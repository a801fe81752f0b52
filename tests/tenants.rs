//! What a tenant costs: memory and connections, in a process of its own, since the counting allocator is the process's.
#![cfg(not(all(windows, target_env = "gnu")))]
#![cfg(all(feature = "rustls", not(feature = "cookies")))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use ureq_auth::oauth2::{ClientCredentials, Issuer};
use ureq_auth::{Client, Fetch, Session, Token, TokenSource};

#[path = "it/server.rs"]
mod server;

use server::{Answer, Server};

/// 10,000 of them have 60 MB.
const BUDGET: i64 = 6_000;
const TENANTS: usize = 1_000;

/// An https address where every handshake fails. By then a source has all that it keeps: its agent, and a TLS configuration.
fn closing_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/token", listener.local_addr().unwrap());
    thread::spawn(move || listener.incoming().for_each(drop));
    url
}

/// What each of the tenants keeps, in bytes: a session with a token, whose source has been asked once, and a client.
fn cost(first: &Client, source: impl Fn(usize) -> ClientCredentials) -> i64 {
    let mut kept = Vec::with_capacity(TENANTS);
    let tenant = |number| {
        let source = source(number);
        source.fetch(Fetch::new(None, Duration::from_secs(30))).unwrap_err();
        let token = Token::new(format!("{number:0>1000}")).unwrap().with_expires_in(Duration::from_secs(3600));
        let session = Session::builder(source).token(token).build().unwrap();
        session.token().unwrap();
        first.with_session(session).unwrap()
    };
    // What all share is not a tenant's.
    kept.push(tenant(0));
    let bytes = measure(|| kept.extend((1..TENANTS).map(tenant))).bytes_current;
    bytes / (TENANTS as i64 - 1)
}

fn first_client(origin: &str) -> Client {
    let session = Session::new(|_: Option<&Token>| Ok(Token::new("first")?)).unwrap();
    Client::new(session, origin).unwrap()
}

#[test]
fn ten_thousand_tenants_over_tls_stay_under_60_mb() {
    let url = closing_endpoint();
    let first = first_client("https://api.example.com");
    let bytes = cost(&first, |number| ClientCredentials::new(&url, format!("tenant-{number}"), "its secret"));
    assert!((1_000..=BUDGET).contains(&bytes), "{bytes} bytes for each");
}

#[test]
fn ten_thousand_tenants_of_one_issuer_with_settings_of_its_own_stay_under_60_mb() {
    let url = closing_endpoint();
    let server = Server::start(move |seen| {
        let issuer = format!("http://{}", seen.header("host").unwrap());
        Answer::ok(format!(r#"{{"issuer":"{issuer}","token_endpoint":"{url}"}}"#))
    });
    let issuer = Issuer::builder(server.origin()).configure(|config| config.user_agent("mine")).discover().unwrap();
    let first = first_client("https://api.example.com");
    let bytes = cost(&first, |number| issuer.client_credentials(format!("tenant-{number}"), "its secret"));
    assert!((1_000..=BUDGET).contains(&bytes), "{bytes} bytes for each");
}

#[test]
fn five_hundred_tenants_of_one_client_have_one_connection() {
    let server = Server::start(|seen| Answer::ok(seen.bearer().unwrap()));
    let first = first_client(&server.origin());
    for number in 0..500 {
        let name = format!("tenant-{number}");
        let session = Session::builder(|_: Option<&Token>| Ok(Token::new("none")?)).token(Token::new(&name).unwrap());
        let client = first.with_session(session.build().unwrap()).unwrap();
        assert_eq!(client.get(server.url("/")).call().unwrap().body_mut().read_to_string().unwrap(), name);
    }
    assert_eq!((server.count(), server.connections()), (500, 1));
}
