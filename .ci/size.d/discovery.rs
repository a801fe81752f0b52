//! The same, with the server's word for where its token endpoint is.

use common::argument;
use ureq_auth::{Client, Session, oauth2::Issuer};

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let issuer = Issuer::discover(&argument(2)?)?;
    let session = Session::new(issuer.refresh_token(argument(3)?, argument(4)?))?;
    let client = Client::new(session, &argument(5)?)?;
    let answer: serde_json::Value = client.get(argument(1)?).call()?.body_mut().read_json()?;
    println!("{answer}");
    Ok(())
}
