//! Logins by the browser on this machine: a scripted server, and a browser that does what a test says.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ureq_auth::oauth2::{BrowserLogin, Issuer};

use crate::server::{Answer, LONG, Seen, Server};

mod answers;
mod attacks;
mod flood;
mod port;
mod requests;

const TOKEN: &str = r#"{"access_token":"abc","refresh_token":"r-1","token_type":"Bearer","expires_in":300}"#;

/// A server with metadata of this kind, and this answer to each request for a token.
struct Site {
    server: Server,
}

impl Site {
    fn start(more: &str, token: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let own = Arc::new(OnceLock::<String>::new());
        let (origin, more) = (Arc::clone(&own), more.to_owned());
        let server = Server::start(move |seen| {
            let origin = origin.get().unwrap();
            match seen.target.as_str() {
                "/.well-known/oauth-authorization-server" => Answer::ok(format!(
                    r#"{{"issuer":"{origin}","authorization_endpoint":"{origin}/auth","token_endpoint":"{origin}/token",
                        "pushed_authorization_request_endpoint":"{origin}/par"{more}}}"#
                )),
                _ => token(seen),
            }
        });
        own.set(server.origin()).unwrap();
        Site { server }
    }

    fn with(more: &str) -> Self {
        Self::start(more, |_| Answer::ok(TOKEN))
    }

    fn login(&self) -> BrowserLogin {
        let login = Issuer::discover(&self.server.origin()).unwrap().browser_login("me").unwrap();
        // Not for ever, if a browser fails.
        login.patience(LONG)
    }

    /// What was asked but the metadata.
    fn asked(&self) -> Vec<Seen> {
        self.server.seen().into_iter().filter(|seen| !seen.target.starts_with("/.well-known")).collect()
    }
}

fn fields(text: &str) -> HashMap<String, String> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

/// What the browser was told to open, taken apart.
#[derive(Clone, Debug)]
struct Page {
    url: String,
    query: HashMap<String, String>,
}

impl Page {
    fn of(url: &str) -> Self {
        Page { url: url.to_owned(), query: fields(url.split_once('?').unwrap().1) }
    }

    fn port(&self) -> u16 {
        let rest = self.query["redirect_uri"].strip_prefix("http://127.0.0.1:").unwrap();
        rest.split('/').next().unwrap().parse().unwrap()
    }

    /// The target of the callback that brings these parameters and the state.
    fn back(&self, with: &str) -> String {
        format!("/callback?{with}&state={}", self.query["state"])
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Sends these bytes on a connection of its own, and returns all that comes back.
    fn send(&self, bytes: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    fn get(&self, target: &str) -> String {
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\n\r\n"))
    }

    /// Comes back with these parameters, and goes where it is sent on: the last page.
    fn come_back(&self, with: &str) -> String {
        let response = self.get(&self.back(with));
        assert!(response.starts_with("HTTP/1.1 303 "), "{response}");
        assert!(!response.contains("code") && !response.contains(&self.query["state"]), "{response}");
        let location = response.split_once("Location: ").unwrap().1.split_once("\r\n").unwrap().0;
        assert_eq!(location, "/login-finished");
        self.get(location)
    }
}

/// A browser that does this on a thread of its own with what it is told to open.
struct Browser<T> {
    work: Arc<Mutex<Option<JoinHandle<T>>>>,
}

fn browser<T: Send + 'static>(
    act: impl FnOnce(Page) -> T + Send + 'static,
) -> (Browser<T>, impl FnOnce(&str) -> std::io::Result<()>) {
    let work = Arc::new(Mutex::new(None));
    let started = Arc::clone(&work);
    let open = move |url: &str| {
        let page = Page::of(url);
        *started.lock().unwrap() = Some(thread::spawn(move || act(page)));
        Ok(())
    };
    (Browser { work }, open)
}

impl<T> Browser<T> {
    fn result(self) -> T {
        self.work.lock().unwrap().take().expect("nothing was opened").join().unwrap()
    }
}

/// An unsigned ID token.
fn id_token(claims: &str) -> String {
    format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
}
