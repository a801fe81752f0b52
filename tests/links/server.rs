//! A token endpoint and an API for bad lines. Refresh tokens rotate (RFC 9700 section 4.14.2). The previous one brings the same
//! tokens once more until the API has seen the new access token: so do servers that allow for lost answers.

use std::collections::{HashMap, HashSet};
use std::io::BufReader;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use super::http::{Request, Response};

/// Every so many calls of a thread need the next access token.
pub(crate) const CALLS_PER_TOKEN: u64 = 2;

/// The length of an access token and of a refresh token in bytes.
pub(crate) const TOKEN_LENGTH: usize = 64;

#[derive(Default)]
pub(crate) struct Server {
    state: Mutex<State>,
}

/// What the server has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Tokens issued; the newest has this number.
    pub(crate) issued: u64,
    /// The newest that the API has seen.
    used: u64,
    pub(crate) token_requests: u64,
    pub(crate) invalid_grant: u64,
    /// Calls accepted, by thread and number.
    pub(crate) accepted: HashSet<(u64, u64)>,
    /// Accepted once more.
    pub(crate) doubled: u64,
    pub(crate) refused: u64,
}

impl Server {
    /// Starts on a port that is free. Its threads end with their connections; the one that accepts ends with the process.
    pub(crate) fn start() -> (SocketAddr, Arc<Server>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, server) = (listener.local_addr().unwrap(), Arc::new(Server::default()));
        let for_acceptor = Arc::clone(&server);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&for_acceptor);
                thread::spawn(move || server.serve(&stream));
            }
        });
        (address, server)
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }

    fn serve(&self, stream: &TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(stream);
        // A cut connection is the end of it.
        while let Ok(Some(request)) = Request::read(&mut reader) {
            let response = match request.path.strip_prefix("/call/") {
                Some(call) => self.call(&request, call),
                None => self.token(&request),
            };
            if response.write(stream).is_err() || request.wants_close() {
                break;
            }
        }
    }

    fn token(&self, request: &Request) -> Response {
        let form: HashMap<_, _> = form_urlencoded::parse(&request.body).collect();
        let mut state = self.state.lock().unwrap();
        state.token_requests += 1;
        let number = form.get("refresh_token").and_then(|token| number_of(token, 'r'));
        let repeats = state.issued.checked_sub(1).filter(|_| state.used < state.issued);
        if number == Some(state.issued) {
            state.issued += 1;
        } else if number.is_none() || number != repeats {
            state.invalid_grant += 1;
            return Response::json("400 Bad Request", &json!({ "error": "invalid_grant" }));
        }
        let answer = json!({
            "access_token": token('a', state.issued),
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": token('r', state.issued),
        });
        Response::json("200 OK", &answer)
    }

    fn call(&self, request: &Request, call: &str) -> Response {
        let (thread, number) = call.split_once('/').unwrap();
        let call: (u64, u64) = (thread.parse().unwrap(), number.parse().unwrap());
        let token = request.header("authorization").and_then(|value| number_of(value.strip_prefix("Bearer ")?, 'a'));
        let mut state = self.state.lock().unwrap();
        let token = token.filter(|token| *token <= state.issued).expect("a token of this server");
        state.used = state.used.max(token);
        if token <= call.1 / CALLS_PER_TOKEN {
            state.refused += 1;
            let header = "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n".to_owned();
            return Response { header, ..Response::json("401 Unauthorized", &json!({})) };
        }
        let is_new = state.accepted.insert(call);
        state.doubled += u64::from(!is_new);
        Response::json("200 OK", &json!([call.0, call.1]))
    }
}

/// The refresh token of the login, and what follows it.
pub(crate) fn token(kind: char, number: u64) -> String {
    format!("{kind}{number:0>width$}", width = TOKEN_LENGTH - 1)
}

fn number_of(token: &str, kind: char) -> Option<u64> {
    token.strip_prefix(kind)?.parse().ok()
}
