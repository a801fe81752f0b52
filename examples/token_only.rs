//! No HTTP client at all: a session keeps the password of an MQTT connection fresh.
//!
//! `cargo run --example token_only --no-default-features`: that is also all it needs in a small binary.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use ureq_auth::{Event, ManualClock, Session, SourceError, Token};

fn main() -> Result<(), ureq_auth::Error> {
    // Where the password comes from: a file, a secure element, a blocking call of any kind.
    let source = |previous: Option<&Token>| -> Result<Token, SourceError> {
        let number = previous.map_or(1, |token| token.generation() + 1);
        Ok(Token::new(format!("password-{number}"))?.with_expires_in(Duration::from_secs(600)))
    };
    // A clock moved by hand, so that an example of ten minutes takes none. Leave that line out for the real one.
    let clock = ManualClock::new(None);
    let session = Session::builder(source)
        .clock(clock.clone())
        .observer(|event: &Event<'_>| println!("  session: {event}"))
        .build()?;

    for minute in [0, 6, 12] {
        println!("minute {minute}");
        connect(session.token()?.secret());
        clock.advance(Duration::from_secs(6 * 60));
    }

    println!("a broker refuses the password before its time");
    let refused = session.token()?;
    connect(session.rejected(&refused)?.secret());

    println!("a transfer that takes eight minutes wants a password that lives as long");
    connect(session.token_valid_for(Duration::from_secs(8 * 60))?.secret());
    Ok(())
}

/// Stands for an MQTT library's connect call.
fn connect(password: &str) {
    println!("  CONNECT with a password of {} bytes", password.len());
}
