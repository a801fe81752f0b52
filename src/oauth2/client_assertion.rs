//! Client authentication by a signed JWT, `private_key_jwt` (RFC 7523 §2.2), made anew for each request.

use std::sync::Arc;

use super::answer::Answer;
use super::attempt::{Attempt, ServerClock, by_servers_time};
use super::endpoint::{Call, Endpoint, Proof};
use crate::SourceError;
use crate::token::Secret;

/// RFC 7523 §2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

type MakeAssertion = dyn Fn(&Attempt<'_>) -> Result<String, SourceError> + Send + Sync;

/// What `client_assertion` puts into a grant's endpoint.
struct Assertion {
    make: Box<MakeAssertion>,
    clock: ServerClock,
}

pub(super) fn proof<F>(make: F) -> Arc<dyn Proof>
where
    F: Fn(&Attempt<'_>) -> Result<String, SourceError> + Send + Sync + 'static,
{
    Arc::new(Assertion { make: Box::new(make), clock: ServerClock::default() })
}

impl Proof for Assertion {
    fn send(&self, endpoint: &Endpoint, call: &Call<'_>, show: &mut dyn FnMut(&Answer<'_>)) -> Result<(), SourceError> {
        by_servers_time(&self.clock, call.time_left, |made, time_left| {
            let assertion = (self.make)(&Attempt { endpoint, previous: None, now: made.time })?;
            let mut proven = endpoint.clone();
            // No server may be sent two methods at once (RFC 6749 §2.3).
            (proven.proof, proven.client_secret) = (None, None);
            proven.params.push(("client_assertion_type".to_owned(), Secret::new(ASSERTION_TYPE.to_owned())));
            proven.params.push(("client_assertion".to_owned(), Secret::new(assertion)));
            let mut shown = None;
            proven.send_and_show(&Call { time_left, ..*call }, &mut |answer| {
                if !self.clock.blames(answer, made) {
                    shown = Some(());
                    show(answer);
                }
            })?;
            Ok(shown)
        })
    }
}
