//! What the lines of some providers need. Both stand on the page as they stand here, the first one also in
//! `examples/provider_codes.rs`.

use std::io::Read;

use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::middleware::{Middleware, MiddlewareNext};
use ureq::{Body, SendBody};
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{Fetch, SourceError, Token, TokenSource, Zeroizing};

// DeadLogin: begin
/// A grant whose server has codes of its own for a dead refresh token: each with words of the description that goes with it.
pub(super) struct DeadLogin {
    pub(super) grant: RefreshToken,
    pub(super) says: &'static [(&'static str, &'static str)],
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
// DeadLogin: end

// refusal: begin
/// For a server whose refusals have no `error` code: where the JSON of one has this value at this place (RFC 6901), the
/// grant gets to read the code that RFC 6749 §5.2 has for it.
pub(super) fn refusal(place: &'static str, dead: impl Into<Value>) -> impl Middleware {
    let dead = dead.into();
    move |request: Request<SendBody>, next: MiddlewareNext| -> Result<Response<Body>, ureq::Error> {
        let (head, body) = next.handle(request)?.into_parts();
        if !head.status.is_client_error() {
            return Ok(Response::from_parts(head, body));
        }
        let mut text = Vec::new();
        // An answer that breaks off is not final: the grant reads what there is of it.
        let _broken = body.into_reader().take(64 * 1024).read_to_end(&mut text);
        if serde_json::from_slice::<Value>(&text).is_ok_and(|json| json.pointer(place) == Some(&dead)) {
            text = br#"{"error":"invalid_grant"}"#.to_vec();
        }
        Ok(Response::from_parts(head, Body::builder().data(text)))
    }
}
// refusal: end
