//! `POST /token`.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portable_atomic::AtomicU64;
use serde_json::json;

use super::faults::{Drawn, Fault, Faults, Sends};
use super::http::{Request, Response};
use super::issuer::{Blame, InvalidGrant, Issued};
use super::{Shared, lock};

/// The header in which a client may say when it asked, since 1970 in nanoseconds. It counts a token's life from then, and on a
/// busy machine a request is long on its way: whether a refresh came early is judged by this.
pub(crate) const ASKED_AT: &str = "asked-at";

impl Shared {
    /// The answer, and what is to be sent in its place, if anything is.
    pub(super) fn token_call(&self, request: &Request) -> (Response, Option<Sends>) {
        let _counted = self.count_token_call();
        if request.method != "POST" {
            return (Response::json("405 Method Not Allowed", &json!({ "error": "invalid_request" })), None);
        }
        let form: HashMap<_, _> = form_urlencoded::parse(&request.body).collect();
        let field = |name: &str| form.get(name).map(|value| &**value).unwrap_or_default();
        if field("grant_type") != "refresh_token" {
            return (Response::json("400 Bad Request", &json!({ "error": "unsupported_grant_type" })), None);
        }
        if field("client_id") != self.options.client_id {
            return (Response::json("401 Unauthorized", &json!({ "error": "invalid_client" })), None);
        }
        let drawn = self.faults.as_ref().and_then(Faults::for_token_call);
        if let Some(Drawn { fault: Fault::Before(sends), .. }) = drawn {
            self.met(drawn);
            return (Response::json("500 Internal Server Error", &json!({})), Some(sends));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let asked_at = self.started.elapsed().saturating_sub(travelled(request.header(ASKED_AT), now));
        match self.refresh(field("refresh_token"), asked_at, drawn) {
            // Without expires_in, which OAuth only recommends and counts in whole seconds: the JWT tells it better.
            Ok(issued) => {
                let mut answer = json!({
                    "access_token": issued.access_token,
                    "token_type": "Bearer",
                    "refresh_token": issued.refresh_token,
                });
                if let Some(Drawn { fault: Fault::Unfit(member, value), .. }) = drawn {
                    self.waste(&issued.refresh_token);
                    answer.as_object_mut().and_then(|members| members.insert(member.to_owned(), json!(value)));
                }
                self.met(drawn);
                (Response::json("200 OK", &answer), self.lose(field("refresh_token"), drawn))
            }
            Err(InvalidGrant(why, blame)) => {
                let mut counts = lock(&self.counts);
                counts.invalid_grant += 1;
                counts.invalid_grant_excused += u64::from(blame == Blame::Server);
                let answer = json!({ "error": "invalid_grant", "error_description": why });
                (Response::json("400 Bad Request", &answer), None)
            }
        }
    }

    fn refresh(&self, refresh_token: &str, asked_at: Duration, drawn: Option<Drawn>) -> Result<Issued, InvalidGrant> {
        let redeemed = lock(&self.issuer).redeem(refresh_token, asked_at)?;
        thread::sleep(self.options.refresh_delay);
        let now = self.started.elapsed();
        let issued = match drawn {
            Some(Drawn { fault: Fault::Expired, .. }) => lock(&self.issuer).issue_expired(&redeemed, now)?,
            _ => lock(&self.issuer).issue(&redeemed, now)?,
        };
        lock(&self.counts).count_refresh(redeemed.need, redeemed.share_lived);
        Ok(issued)
    }

    /// The tokens are issued, and the client will not hear of it. Noted before it can come again.
    fn lose(&self, refresh_token: &str, drawn: Option<Drawn>) -> Option<Sends> {
        let Drawn { fault: Fault::After(sends), .. } = drawn? else { return None };
        let grace = self.faults.as_ref().is_some_and(Faults::has_grace);
        lock(&self.issuer).lose(refresh_token, grace);
        lock(&self.counts).refreshes_lost += 1;
        Some(sends)
    }

    /// The access token is issued, and the client can only keep the refresh token that comes with it.
    fn waste(&self, new_refresh_token: &str) {
        lock(&self.issuer).waste(new_refresh_token);
        lock(&self.counts).refreshes_lost += 1;
    }

    fn count_token_call(&self) -> impl Drop {
        struct Counted<'a>(&'a AtomicU64);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        let at_once = self.token_calls_now.fetch_add(1, Relaxed) + 1;
        let mut counts = lock(&self.counts);
        counts.token_calls += 1;
        counts.token_calls_at_once = counts.token_calls_at_once.max(at_once);
        Counted(&self.token_calls_now)
    }
}

/// For how long a request has been on its way `now`, since 1970, if it says when it was made.
pub(crate) fn travelled(asked_at: Option<&str>, now: Duration) -> Duration {
    let asked_at = asked_at.and_then(|nanos| nanos.parse().ok()).map(Duration::from_nanos);
    asked_at.map_or(Duration::ZERO, |asked_at| now.saturating_sub(asked_at))
}
