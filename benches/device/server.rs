//! The other end: a token endpoint and an API in one. A token is good for so many calls, then the API refuses it.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[cfg(feature = "rustls")]
#[path = "../../tests/it/tls.rs"]
#[allow(dead_code, reason = "only its certificates are needed here")]
pub(crate) mod tls;

/// As long as many JWTs are.
pub(crate) const TOKEN_LENGTH: usize = 1_000;

/// Starts one on a port of its own, which it returns. Each token is good for `life` calls. With `tls` by the certificate that
/// `tests/it/tls.rs` has.
pub(crate) fn start(life: usize, tls: bool) -> u16 {
    let (listener, server) = Server::bind(life);
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || server.accept(&listener, tls));
    port
}

/// A process of its own, which says its port.
pub(crate) fn serve_and_tell() {
    let (listener, server) = Server::bind(usize::MAX);
    println!("{}", listener.local_addr().unwrap().port());
    server.accept(&listener, false);
}

struct Server {
    life: usize,
    issued: AtomicUsize,
    used: AtomicUsize,
}

impl Server {
    fn bind(life: usize) -> (TcpListener, Arc<Server>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (listener, Arc::new(Server { life, issued: AtomicUsize::new(0), used: AtomicUsize::new(0) }))
    }

    fn accept(self: Arc<Self>, listener: &TcpListener, tls: bool) {
        for stream in listener.incoming().map_while(Result::ok) {
            let server = Arc::clone(&self);
            // The other end says whether something went wrong.
            thread::spawn(move || drop(server.shake_hands(stream, tls)));
        }
    }

    fn shake_hands(&self, stream: TcpStream, tls: bool) -> Result<()> {
        stream.set_nodelay(true)?;
        if !tls {
            return self.answer(stream);
        }
        #[cfg(feature = "rustls")]
        return self.answer(tls::accept(stream));
        #[cfg(not(feature = "rustls"))]
        panic!("this server speaks TLS by rustls");
    }

    fn answer(&self, stream: impl Read + Write) -> Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut first = String::new();
            if stream.read_line(&mut first)? == 0 {
                return Ok(());
            }
            let (mut bearer, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line)?;
                match line.trim_end().split_once(": ") {
                    Some((name, value)) if name.eq_ignore_ascii_case("authorization") => bearer = value.into(),
                    Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                        length = value.parse().unwrap()
                    }
                    Some(_) => {}
                    None => break,
                }
            }
            stream.read_exact(&mut vec![0; length])?;
            let answer = match first.as_str() {
                "POST /token HTTP/1.1\r\n" => self.issue(),
                "DELETE /token HTTP/1.1\r\n" => self.revoke(),
                _ => self.call(&bearer),
            };
            let stream = stream.get_mut();
            stream.write_all(answer.as_bytes())?;
            stream.flush()?;
        }
    }

    fn issue(&self) -> String {
        let number = self.issued.fetch_add(1, Ordering::SeqCst) + 1;
        self.used.store(0, Ordering::SeqCst);
        let token = token(number);
        let body = format!(
            r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600,"refresh_token":"r{number:0>9}","scope":"a b"}}"#
        );
        response("200 OK", &body)
    }

    /// The API refuses the newest token from now on.
    fn revoke(&self) -> String {
        self.used.store(self.life, Ordering::SeqCst);
        response("200 OK", "{}")
    }

    fn is_good(&self) -> bool {
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| (used < self.life).then_some(used + 1))
            .is_ok()
    }

    fn call(&self, bearer: &str) -> String {
        let is_newest = bearer.strip_prefix("Bearer ") == Some(&token(self.issued.load(Ordering::SeqCst)));
        if is_newest && self.is_good() {
            response("200 OK", r#"{"ok":true}"#)
        } else {
            response("401 Unauthorized\r\nWWW-Authenticate: Bearer error=\"invalid_token\"", r#"{"ok":false}"#)
        }
    }
}

/// The token of that number. Number 0 is good without a token request.
pub(crate) fn token(number: usize) -> String {
    format!("{number:0>TOKEN_LENGTH$}")
}

fn response(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}
