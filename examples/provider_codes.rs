//! A provider with codes of its own: a source around a grant says what they mean.
//!
//! `cargo run --example provider_codes`. Other providers, and what each of them needs, are in `docs/providers.md`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod loopback;

use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{Fetch, Session, SourceError, Token, TokenSource, Zeroizing};

type Failure = Box<dyn std::error::Error>;

/// A grant whose server has codes of its own for a dead refresh token: each with words of the description that goes with it.
struct DeadLogin {
    grant: RefreshToken,
    says: &'static [(&'static str, &'static str)],
}

impl TokenSource for DeadLogin {
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
        self.grant.fetch(request).map_err(|error| {
            let text = error.to_string();
            match self.says.iter().find(|(code, words)| error.code() == Some(*code) && text.contains(words)) {
                Some((code, _)) => SourceError::rejected(text).with_code(*code),
                None => error,
            }
        })
    }

    fn check(&self) -> ureq_auth::Result<()> {
        self.grant.check()
    }

    fn owner(&self) -> Option<String> {
        self.grant.owner()
    }

    fn refresh_token(&self) -> Option<Zeroizing<String>> {
        self.grant.refresh_token()
    }
}

fn main() -> Result<(), Failure> {
    // This provider says of a dead refresh token what others say of a client that may not use the grant (Atlassian was
    // reported to).
    let server = loopback::serve(|_path, _authorization, body| {
        if body.contains("refresh_token=good") {
            (200, r#"{"access_token":"a1","refresh_token":"good-2","expires_in":3600}"#.into())
        } else {
            (403, r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#.into())
        }
    })?;
    let grant = |refresh_token: &str| RefreshToken::new(format!("{server}/token"), "my-client", refresh_token);

    println!("the grant alone, with a dead refresh token:");
    show(&Session::new(grant("dead"))?);

    println!("the source around it:");
    let says = &[("unauthorized_client", "refresh_token is invalid")];
    let session = Session::new(DeadLogin { grant: grant("dead"), says })?;
    show(&session);

    println!("the same session, after a new login:");
    session.set(Token::new("from-the-login")?.with_refresh_token("good"))?;
    show(&session);
    Ok(())
}

fn show(session: &Session) {
    match session.token() {
        Ok(token) => println!("  token {}", token.generation()),
        Err(error) if error.is_login_required() => println!("  please log in: {error}"),
        Err(error) => println!("  {:?}: {error}", error.kind()),
    }
}
