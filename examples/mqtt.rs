//! An MQTT connection whose password is the token. Before the token ends, and the broker would hang up, the next connection
//! takes over: no message is lost between the two.
//!
//! `cargo run --example mqtt` has a broker of its own, whose tokens live for two seconds.
//! `cargo run --example mqtt -- ADDRESS COMMAND SECONDS` connects to yours. COMMAND prints a token and its life in seconds.
//! With `listen` after that, it publishes nothing, and others send the numbers: 1, 2, 3 ...

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod mqtt_broker;
mod mqtt_connection;
mod mqtt_packets;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_broker::Broker;
use mqtt_connection::Connection;
use ureq_auth::{Session, SourceError, Token};

type Failure = Box<dyn std::error::Error>;
type Issued = Result<Token, SourceError>;

/// Between two messages.
const PERIOD: Duration = Duration::from_millis(20);

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => {
            let (broker, life) = (Broker::default(), Duration::from_secs(2));
            let issuer = broker.clone();
            let source = move |_previous: Option<&Token>| -> Issued {
                Ok(Token::new(issuer.issue(life))?.with_expires_in(life))
            };
            run(&Session::new(source)?, &broker.start()?.to_string(), life * 3, true)?;
            if broker.hang_ups() == 0 { Ok(()) } else { Err("the broker has hung up".into()) }
        }
        [address, command, seconds, role @ ..] if role.is_empty() || role == ["listen"] => {
            let command = command.clone();
            // A session waits for its source: have the command give up in time by itself.
            let source = move |_previous: Option<&Token>| -> Issued {
                let output =
                    Command::new(&command).output().map_err(|error| SourceError::unavailable(error.to_string()))?;
                let output = String::from_utf8(output.stdout).unwrap_or_default();
                match output.trim().split_once(' ').map(|(token, life)| (token, life.parse())) {
                    Some((token, Ok(life))) => Ok(Token::new(token)?.with_expires_in(Duration::from_secs(life))),
                    _ => Err(SourceError::unavailable("the command printed no token and its life in seconds")),
                }
            };
            run(&Session::new(source)?, address, Duration::from_secs(seconds.parse()?), role.is_empty())
        }
        _ => Err("usage: mqtt [ADDRESS COMMAND SECONDS [listen]]".into()),
    }
}

/// Publishes numbers to a topic that it has subscribed to itself, so that a lost one is seen.
fn run(session: &Session, address: &str, duration: Duration, publishes: bool) -> Result<(), Failure> {
    let end = Instant::now() + duration;
    let mut connection = connect(session, address, session.token()?)?;
    let (mut sent, mut returned, mut connections, mut hang_ups) = (0, Vec::new(), 1, 0);
    while Instant::now() < end {
        // Waits on this thread. One that is busy otherwise leaves the wait to a second one, with a longer timeout.
        let next = match session.wait_for_change(&connection.token, PERIOD) {
            Ok(next) => next,
            Err(error) if error.is_login_required() => return Err(error.into()),
            // The next call waits for the end of the pause, and tries again.
            Err(error) => {
                println!("no token yet: {error}");
                continue;
            }
        };
        let is_open = match &next {
            Some(_) => connection.settle(&mut returned).is_ok(),
            None => connection.exchange(publishes.then_some(sent + 1), &mut returned).is_ok(),
        };
        if is_open && next.is_none() {
            sent += u32::from(publishes);
            continue;
        }
        if !is_open {
            hang_ups += 1;
            println!("the broker has hung up");
        }
        // A program of yours pauses and tries again if the network is away.
        let token = next.unwrap_or_else(|| Arc::clone(&connection.token));
        let old = std::mem::replace(&mut connection, connect(session, address, token)?);
        // The broker closes the old connection: what it sent there comes before the rest.
        returned.extend(old.incoming.iter().flatten());
        connections += 1;
        println!("connected with token {} after {sent} messages", connection.token.generation());
    }
    connection.settle(&mut returned)?;
    connection.close()?;
    println!("{sent} sent, {} returned, {connections} connections, {hang_ups} hang-ups", returned.len());
    let expected = match returned.as_slice() {
        [first, .., last] if !publishes => *first..=*last,
        _ => 1..=sent,
    };
    if returned.into_iter().eq(expected) { Ok(()) } else { Err("messages were lost, or out of order".into()) }
}

/// With the next token if the broker refuses this one. A broker that refuses them all ends in `RefusedTooOften`.
fn connect(session: &Session, address: &str, mut token: Arc<Token>) -> Result<Connection, Failure> {
    loop {
        if let Some(connection) = Connection::open(address, &token)? {
            session.accepted(&token);
            return Ok(connection);
        }
        token = session.rejected(&token)?;
    }
}
