//! The same, with a logout that the server knows of.

use common::argument;
use ureq_auth::{Client, Session, oauth2::{RefreshToken, Revocation}};

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let session = Session::new(RefreshToken::new(argument(2)?, argument(3)?, argument(4)?))?;
    let client = Client::new(session.clone(), &argument(5)?)?;
    let answer: serde_json::Value = client.get(argument(1)?).call()?.body_mut().read_json()?;
    println!("{answer}");
    Revocation::new(argument(6)?, argument(3)?).log_out(&session)?;
    Ok(())
}
