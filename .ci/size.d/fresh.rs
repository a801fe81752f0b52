//! What this crate adds: the same GET, with a token that is kept fresh from a refresh token.

use ureq_auth::{Client, Session, oauth2::RefreshToken};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: fresh URL TOKEN-URL CLIENT-ID REFRESH-TOKEN ORIGIN");
    let url = next()?;
    let session = Session::new(RefreshToken::new(next()?, next()?, next()?))?;
    let answer: serde_json::Value = Client::new(session, &next()?)?.get(&url).call()?.body_mut().read_json()?;
    println!("{answer}");
    Ok(())
}
