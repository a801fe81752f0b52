//! An authorization server whose refresh tokens are numbered, and what a store holds of them.
#![allow(dead_code, reason = "each test binary uses its share of it")]

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ureq_auth::{Exclusive, FileStore, Stored, TokenStore as _};

use crate::server::{Answer, Seen, Server};
use crate::worker;

/// The authorization server's side: refresh tokens are numbered, and each is good once.
#[derive(Default)]
pub(crate) struct Issuer {
    pub(crate) newest: u64,
    /// When each was issued, since 1970 in nanoseconds.
    pub(crate) issued_at: Vec<u128>,
    /// A token stays good until one that came for it is used: for clients that did not get the answer.
    pub(crate) grace: bool,
    pub(crate) used_last: u64,
    pub(crate) refused: u64,
}

impl Issuer {
    pub(crate) fn answer(&mut self, seen: &Seen) -> Answer {
        let body = seen.text();
        let sent = body.split('&').find_map(|field| field.strip_prefix("refresh_token=rt")).unwrap();
        let sent: u64 = sent.parse().unwrap();
        if !self.is_good(sent) {
            self.refused += 1;
            return Answer::new(400).body(r#"{"error":"invalid_grant"}"#);
        }
        self.used_last = sent;
        let newest = self.issue();
        Answer::ok(format!(
            r#"{{"access_token":"at{newest}","token_type":"bearer","refresh_token":"rt{newest}","expires_in":3600}}"#
        ))
    }

    pub(crate) fn is_good(&self, number: u64) -> bool {
        number == self.newest || (self.grace && number >= self.used_last)
    }

    pub(crate) fn issue(&mut self) -> u64 {
        self.newest += 1;
        self.issued_at.push(worker::nanos());
        self.newest
    }
}

pub(crate) fn serve(issuer: &Arc<Mutex<Issuer>>) -> Server {
    let issuer = Arc::clone(issuer);
    Server::start(move |seen| match seen.target.as_str() {
        "/token" => issuer.lock().unwrap().answer(seen),
        _ => Answer::ok(""),
    })
}

/// Waits until the server has carried out what the killed process had sent.
pub(crate) fn settle(server: &Server) {
    // Connections are accepted in their order: when one of ours is answered, those of the dead process have been accepted,
    // and each of them ends.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"GET /settled HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    std::io::read_to_string(stream).unwrap();
    server.all_are_killed();
}

/// Stores a new login, whose access token has expired long ago.
pub(crate) fn log_in(store: &FileStore, issuer: &Mutex<Issuer>) {
    let number = issuer.lock().unwrap().issue();
    let text = format!(
        r#"{{"version":1,"access_token":"at{number}","refresh_token":"rt{number}","lifetime_ms":1000,"received_at_ms":1}}"#
    );
    store.exclusive(Duration::ZERO).unwrap().save(&Stored::from_text(&text).unwrap()).unwrap();
}

pub(crate) fn stored_number(inside: &mut dyn Exclusive) -> u64 {
    number(&inside.load().expect("the file is torn").expect("the file is gone"))
}

pub(crate) fn number(stored: &Stored) -> u64 {
    let value: serde_json::Value = serde_json::from_str(&stored.to_text()).unwrap();
    value["refresh_token"].as_str().unwrap().strip_prefix("rt").unwrap().parse().unwrap()
}
