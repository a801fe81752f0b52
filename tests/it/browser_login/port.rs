//! Everything that reaches a port of this machine: none of it ends the login, keeps it waiting, or gets anything.

use std::sync::mpsc;

use ureq_auth::{ErrorKind, ManualClock};

use super::*;
use crate::support::secs;

#[test]
fn whatever_else_is_asked_gets_an_answer_without_a_word() {
    let site = Site::with("");
    let (browser, open) = browser(|page| {
        for (request, status) in [
            ("GET /favicon.ico HTTP/1.1\r\n\r\n", 404),
            ("GET / HTTP/1.1\r\n\r\n", 404),
            ("GET /login-finished HTTP/1.1\r\n\r\n", 404),
            ("GET http://127.0.0.1/callback HTTP/1.1\r\n\r\n", 404),
            ("OPTIONS * HTTP/1.1\r\n\r\n", 405),
            ("HEAD /callback HTTP/1.1\r\n\r\n", 405),
            ("POST /callback HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
            ("PRI * HTTP/2.0\r\n\r\n", 405),
            ("\u{16}\u{3}\u{1}\0\n\n", 405),
        ] {
            let response = page.send(request);
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {response}");
            assert!(response.contains("Connection: close"), "{response}");
        }
        let long = page.send(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(16 * 1024 - 16)));
        assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
        page.come_back("code=1")
    });
    site.login().log_in(open).unwrap();
    assert!(browser.result().contains("200 OK"));
}

#[test]
fn connections_that_send_nothing_or_slowly_keep_nobody_waiting() {
    let site = Site::with("");
    let (browser, open) = browser(|page| {
        // More than are kept: the oldest go.
        let mut silent: Vec<TcpStream> = (0..40).map(|_| page.connect()).collect();
        for stream in silent.iter_mut().skip(30) {
            stream.write_all(b"GET /callback?code=bad&state=").unwrap();
        }
        let last = page.come_back("code=good");
        // One that comes in pieces is read all the same, as long as the login goes on.
        drop(silent);
        last
    });
    site.login().log_in(open).unwrap();
    assert!(browser.result().contains("200 OK"));
    assert_eq!(fields(&site.asked()[0].text())["code"], "good");
}

#[test]
fn a_request_may_come_in_pieces() {
    let site = Site::with("");
    let (seen, is_seen) = mpsc::channel();
    let (browser, open) = browser(move |page| {
        let mut stream = page.connect();
        let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", page.back("code=1"));
        for piece in request.as_bytes().chunks(40) {
            // The login has looked at the port since the last one.
            (0..2).for_each(|_| is_seen.recv_timeout(LONG).unwrap());
            stream.write_all(piece).unwrap();
        }
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 303 "), "{response}");
        page.get("/login-finished")
    });
    let result = site.login().log_in_while(open, |_| {
        let _ = seen.send(());
        true
    });
    result.unwrap();
    assert!(browser.result().contains("200 OK"));
}

#[test]
fn a_connection_is_not_kept_for_ever() {
    let site = Site::with("");
    let clock = ManualClock::new(None);
    let (gone, is_gone) = mpsc::channel();
    let (browser, open) = browser(move |page| {
        let mut stream = page.connect();
        stream.write_all(b"GET /").unwrap();
        // Closed from the other side, without a word.
        let read = stream.read(&mut [0; 1]);
        gone.send(()).unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    });
    let login = site.login().clock(clock).patience(secs(1_000_000_000));
    let error = login.log_in_while(open, |_| is_gone.try_recv().is_err()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotLoggedIn);
    browser.result();
}

#[test]
fn the_second_of_two_callbacks_is_not_used() {
    let site = Site::with("");
    let (browser, open) = browser(|page| {
        let (mut one, mut other) = (page.connect(), page.connect());
        let request = |code| format!("GET {} HTTP/1.1\r\n\r\n", page.back(code));
        // Both are there before the login looks again, or the second one finds the login over.
        one.write_all(request("code=1").as_bytes()).unwrap();
        other.write_all(request("code=2").as_bytes()).unwrap();
        let mut response = String::new();
        one.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 303 "), "{response}");
        let mut response = String::new();
        let _ = other.read_to_string(&mut response);
        assert!(!response.contains("303"), "{response}");
        page.get("/login-finished")
    });
    site.login().log_in(open).unwrap();
    assert!(browser.result().contains("200 OK"));
    let codes: Vec<String> = site.asked().iter().map(|seen| fields(&seen.text())["code"].clone()).collect();
    assert_eq!(codes, ["1"]);
}

#[test]
fn the_port_is_closed_when_the_login_is_over() {
    let site = Site::with("");
    let (browser, open) = browser(|page| (page.come_back("code=1"), page).1.port());
    site.login().log_in(open).unwrap();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, browser.result())).is_err());
}

#[test]
fn a_browser_that_does_not_fetch_the_last_page_does_not_keep_the_token() {
    let site = Site::with("");
    let clock = ManualClock::new(None);
    let (browser, open) = browser(|page| page.get(&page.back("code=1")));
    let token = site.login().clock(clock).patience(secs(1_000_000_000)).log_in(open).unwrap();
    assert_eq!(token.secret(), "abc");
    browser.result();
}
