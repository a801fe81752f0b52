//! The same by another grant, whose values are made for each attempt.

use common::argument;
use ureq_auth::oauth2::Grant;
use ureq_auth::{Client, Session};

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let subject_token = argument(4)?;
    let source = Grant::new(argument(2)?, Grant::TOKEN_EXCHANGE).client_id(argument(3)?);
    let session = Session::new(source.params(move |_| Ok([("subject_token", subject_token.clone())])))?;
    let client = Client::new(session, &argument(5)?)?;
    let answer: serde_json::Value = client.get(argument(1)?).call()?.body_mut().read_json()?;
    println!("{answer}");
    Ok(())
}
