//! A WebSocket whose handshake carries the token. Before the token ends, and the server would hang up, the next connection is
//! open: then the old one is closed in order, with all replies.
//!
//! `cargo run --example websocket` has a server of its own, whose tokens live for two seconds.
//! `cargo run --example websocket -- ws://HOST/PATH TOKEN_ENDPOINT CLIENT_ID SECONDS` connects to yours, which echoes. The
//! client secret is in the environment, as CLIENT_SECRET.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod loopback;
mod websocket_server;

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::client::IntoClientRequest;
use tungstenite::http::header::{AUTHORIZATION, HeaderValue};
use tungstenite::http::{StatusCode, Uri};
use tungstenite::{HandshakeError, Message, WebSocket};
use ureq_auth::oauth2::ClientCredentials;
use ureq_auth::{Session, Token};

type Failure = Box<dyn std::error::Error>;

/// Between two messages.
const PERIOD: Duration = Duration::from_millis(20);
/// The longest wait for the server.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => {
            let endpoint = loopback::serve(|_, _, _| {
                let token = websocket_server::issue(Duration::from_secs(2));
                (200, format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":2}}"#))
            })?;
            let session = Session::new(ClientCredentials::new(format!("{endpoint}/token"), "device-7", "its secret"))?;
            run(&session, &format!("ws://{}/feed", websocket_server::start()?), Duration::from_secs(6))?;
            if websocket_server::hang_ups() == 0 { Ok(()) } else { Err("the server has hung up".into()) }
        }
        [url, endpoint, id, seconds] => {
            let secret = std::env::var("CLIENT_SECRET")?;
            run(
                &Session::new(ClientCredentials::new(endpoint, id, secret))?,
                url,
                Duration::from_secs(seconds.parse()?),
            )
        }
        _ => Err("usage: websocket [URL TOKEN_ENDPOINT CLIENT_ID SECONDS]".into()),
    }
}

/// Sends numbers, which the server sends back: so a lost one is seen.
fn run(session: &Session, url: &str, duration: Duration) -> Result<(), Failure> {
    let end = Instant::now() + duration;
    let (mut token, mut socket) = connect(session, url, session.token()?)?;
    let (mut sent, mut returned, mut connections) = (0_u32, Vec::new(), 1);
    while Instant::now() < end {
        match session.wait_for_change(&token, PERIOD) {
            Ok(None) => {
                sent += 1;
                // A server that has hung up makes this an error. A program of yours pauses then, and connects again.
                socket.send(Message::text(sent.to_string()))?;
                // Replies are read one message late, so that there is one on its way whenever the connection changes.
                if sent > 1 + u32::try_from(returned.len())? {
                    returned.push(reply(&mut socket)?);
                }
            }
            Ok(Some(next)) => {
                let new = connect(session, url, next)?;
                close(&mut socket, &mut returned)?;
                (token, socket) = new;
                connections += 1;
                println!("connected with token {} after {sent} messages", token.generation());
            }
            Err(error) if error.is_login_required() => return Err(error.into()),
            // The next call waits for the end of the pause, and tries again.
            Err(error) => println!("no token yet: {error}"),
        }
    }
    close(&mut socket, &mut returned)?;
    println!("{sent} sent, {} returned, {connections} connections", returned.len());
    if returned.into_iter().eq(1..=sent) { Ok(()) } else { Err("messages were lost, or out of order".into()) }
}

/// With the next token if the server refuses this one. A server that refuses them all ends in `RefusedTooOften`.
fn connect(session: &Session, url: &str, mut token: Arc<Token>) -> Result<(Arc<Token>, WebSocket<TcpStream>), Failure> {
    let uri: Uri = url.parse()?;
    let host = uri.host().ok_or("the address has no host")?;
    loop {
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80)))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut request = url.into_client_request()?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.secret()))?;
        // In no Debug output.
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => {
                session.accepted(&token);
                return Ok((token, socket));
            }
            Err(HandshakeError::Failure(tungstenite::Error::Http(response)))
                if response.status() == StatusCode::UNAUTHORIZED =>
            {
                token = session.rejected(&token)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The server's close comes after all its replies (RFC 6455 section 5.5.1).
fn close(socket: &mut WebSocket<TcpStream>, returned: &mut Vec<u32>) -> Result<(), Failure> {
    socket.close(None)?;
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => returned.push(text.parse()?),
            Ok(_) => {}
            Err(tungstenite::Error::ConnectionClosed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn reply(socket: &mut WebSocket<TcpStream>) -> Result<u32, Failure> {
    loop {
        if let Message::Text(text) = socket.read()? {
            return Ok(text.parse()?);
        }
    }
}
