//! What this crate is for: the same GET, with a token that is kept fresh from a refresh token.

use common::argument;
use ureq_auth::{Client, Session, oauth2::RefreshToken};

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let session = Session::new(RefreshToken::new(argument(2)?, argument(3)?, argument(4)?))?;
    let client = Client::new(session, &argument(5)?)?;
    let answer: serde_json::Value = client.get(argument(1)?).call()?.body_mut().read_json()?;
    println!("{answer}");
    Ok(())
}
