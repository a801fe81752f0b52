//! The other end of the example: issues tokens, sends every message back, and hangs up when the token ends.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, Result};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tungstenite::http::StatusCode;
use tungstenite::http::header::AUTHORIZATION;

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct State {
    /// What the `Authorization` header has to be, and until when.
    tokens: HashMap<String, Instant>,
    hang_ups: usize,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn issue(life: Duration) -> String {
    let mut state = state();
    let token = format!("token-{}", state.tokens.len() + 1);
    state.tokens.insert(format!("Bearer {token}"), Instant::now() + life);
    token
}

/// How many connections were closed because their token had ended.
pub(crate) fn hang_ups() -> usize {
    state().hang_ups
}

pub(crate) fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || talk(stream));
        }
    });
    Ok(address)
}

/// Lets in whoever has a token that lives.
struct Doorman<'a>(&'a mut Instant);

impl Callback for Doorman<'_> {
    // The type is tungstenite's.
    #[allow(clippy::result_large_err)]
    fn on_request(self, request: &Request, response: Response) -> std::result::Result<Response, ErrorResponse> {
        let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        match authorization.and_then(|value| state().tokens.get(value).copied()) {
            Some(end) if end > Instant::now() => {
                *self.0 = end;
                Ok(response)
            }
            _ => {
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() = StatusCode::UNAUTHORIZED;
                Err(refusal)
            }
        }
    }
}

fn talk(stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_nodelay(true)?;
    let mut ends_at = Instant::now();
    let mut socket = tungstenite::accept_hdr(stream.try_clone()?, Doorman(&mut ends_at))
        .map_err(|_| Error::other("no handshake"))?;
    loop {
        let left = ends_at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            state().hang_ups += 1;
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        match socket.read() {
            Ok(message) if message.is_text() => socket.send(message).map_err(Error::other)?,
            // tungstenite answers pings and the close by itself.
            Ok(_) => {}
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(Error::other(error)),
        }
    }
}
