//! A session alone, on a source that gets its tokens by plain ureq.

use common::{argument, fetch};
use ureq_auth::{Session, SourceError, Token};

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let agent = ureq::Agent::new_with_defaults();
    let (token_url, client_id, refresh_token) = (argument(2)?, argument(3)?, argument(4)?);
    let asked = agent.clone();
    let session = Session::new(move |_: Option<&Token>| -> Result<Token, SourceError> {
        Ok(Token::new(fetch(&asked, &token_url, &client_id, &refresh_token)?)?)
    })?;
    let authorization = session.token()?.header().clone();
    let answer: serde_json::Value =
        agent.get(argument(1)?).header("authorization", authorization).call()?.body_mut().read_json()?;
    println!("{answer}");
    Ok(())
}
