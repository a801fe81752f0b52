//! The same for a client that shows a key in the place of a secret.

use common::argument;
use ureq_auth::oauth2::{RefreshToken, SigningKey};
use ureq_auth::{Client, Session};

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = SigningKey::from_pem(&std::fs::read_to_string("key.pem")?)?;
    let source = RefreshToken::new(argument(2)?, argument(3)?, argument(4)?).client_assertion(key.client_assertion());
    let client = Client::new(Session::new(source)?, &argument(5)?)?;
    let answer: serde_json::Value = client.get(argument(1)?).call()?.body_mut().read_json()?;
    println!("{answer}");
    Ok(())
}
