//! The same, with the token in a file that outlives the process and is shared with others.

use common::argument;
use ureq_auth::{Client, FileStore, Session, oauth2::RefreshToken};

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = RefreshToken::new(argument(2)?, argument(3)?, argument(4)?);
    let session = Session::builder(source).store(FileStore::new(argument(6)?)).build()?;
    let client = Client::new(session, &argument(5)?)?;
    let answer: serde_json::Value = client.get(argument(1)?).call()?.body_mut().read_json()?;
    println!("{answer}");
    Ok(())
}
