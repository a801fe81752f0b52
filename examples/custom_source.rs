//! An API with a refresh call of its own: any closure is a token source.
//!
//! `cargo run --example custom_source`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod loopback;

use std::time::Duration;

use serde_json::{Value, json};
use ureq_auth::{Client, Session, SourceError, Token};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // This API wants its own JSON with a key in it, and answers with names and units of its own.
    let server = loopback::serve(|path, authorization, body| match path {
        "/login/renew" if body.contains("device-7") => (200, r#"{"jwt":"short-lived","validMs":60000}"#.into()),
        "/login/renew" => (400, "{}".into()),
        _ if authorization == "Bearer short-lived" => (200, r#"{"temperature":21.5}"#.into()),
        _ => (401, "{}".into()),
    })?;

    // A plain agent: the source must not call through the client that waits for it. And with a time-out, for all wait.
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .max_idle_connections(0)
        .build()
        .into();
    let renew = format!("{server}/login/renew");
    let source = move |_previous: Option<&Token>| -> Result<Token, SourceError> {
        // `?` sorts out what a failure means: nothing sent, refused, or an answer lost on the way.
        let answer: Value = agent.post(&renew).send_json(json!({ "key": "device-7" }))?.body_mut().read_json()?;
        let (Some(jwt), Some(millis)) =
            (answer.get("jwt").and_then(Value::as_str), answer.get("validMs").and_then(Value::as_u64))
        else {
            return Err(SourceError::unknown("the answer has no jwt or no validMs"));
        };
        Ok(Token::new(jwt)?.with_expires_in(Duration::from_millis(millis)))
    };

    let client = Client::new(Session::new(source)?, &server)?;
    for _ in 0..3 {
        let reading: Value = client.get(format!("{server}/reading")).call()?.body_mut().read_json()?;
        println!("{reading}");
    }
    println!("{:?}", client.session().current());
    Ok(())
}
