//! The client, on a source that gets its tokens by plain ureq.

use common::{argument, fetch};
use ureq_auth::{Client, Session, SourceError, Token};

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let agent = ureq::Agent::new_with_defaults();
    let (token_url, client_id, refresh_token) = (argument(2)?, argument(3)?, argument(4)?);
    let session = Session::new(move |_: Option<&Token>| -> Result<Token, SourceError> {
        Ok(Token::new(fetch(&agent, &token_url, &client_id, &refresh_token)?)?)
    })?;
    let client = Client::new(session, &argument(5)?)?;
    let answer: serde_json::Value = client.get(argument(1)?).call()?.body_mut().read_json()?;
    println!("{answer}");
    Ok(())
}
