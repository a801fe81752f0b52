//! What may not become of a login in a soak: it ends by the server's word alone, and the store never loses its token.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use portable_atomic::AtomicU64;
use serde_json::{Value, json};
use ureq_auth::{Error, ErrorKind, Exclusive, MemoryStore, Result, Session, Stored, TokenStore};

use crate::server::ledger::Counts;

/// What is watched.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Seen>);

#[derive(Default)]
struct Seen {
    store: MemoryStore,
    /// Times a token was stored.
    saves: AtomicU64,
    /// Of these, without a refresh token.
    without_refresh_token: AtomicU64,
    /// Of these, with the mark that the server has refused it.
    marked: AtomicU64,
    /// Times the store was emptied.
    emptied: AtomicU64,
    /// Times the session ended: because the server refused the login with a code.
    rejected: AtomicU64,
    /// Because the answer was lost twice in a row.
    lost_twice: AtomicU64,
    /// For anything else.
    unfounded: AtomicU64,
}

/// What it came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Login {
    pub(crate) saves: u64,
    pub(crate) without_refresh_token: u64,
    pub(crate) marked: u64,
    pub(crate) emptied: u64,
    pub(crate) rejected: u64,
    pub(crate) lost_twice: u64,
    pub(crate) unfounded: u64,
    /// Does the store hold what the session holds, in the end?
    pub(crate) is_stored: bool,
}

impl Watch {
    /// Notes a failed refresh. Does somebody have to log in?
    pub(crate) fn note(&self, error: &Error) -> bool {
        let has_ended = error.retry_after().is_none();
        if has_ended {
            let by_a_code = error.kind() == ErrorKind::Rejected && error.code() == Some("invalid_grant");
            let ends = match error.kind() {
                _ if by_a_code => &self.0.rejected,
                ErrorKind::Unknown if error.is_login_required() => &self.0.lost_twice,
                _ => &self.0.unfounded,
            };
            ends.fetch_add(1, Relaxed);
        }
        has_ended
    }

    /// When nobody calls any more.
    pub(crate) fn finish(&self, session: &Session) -> Login {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let seen = &*self.0;
        let stored = seen.store.load().ok().flatten().and_then(|stored| member(&stored, "access_token"));
        let held = session.current().map(|token| token.secret().to_owned());
        Login {
            saves: count(&seen.saves),
            without_refresh_token: count(&seen.without_refresh_token),
            marked: count(&seen.marked),
            emptied: count(&seen.emptied),
            rejected: count(&seen.rejected),
            lost_twice: count(&seen.lost_twice),
            unfounded: count(&seen.unfounded),
            is_stored: held.is_some() && stored == held,
        }
    }
}

impl Login {
    /// What was wrong. `lost`: token calls without a whole answer.
    pub(crate) fn breaches(&self, server: &Counts, lost: u64) -> Vec<String> {
        let Login { without_refresh_token, marked, emptied, rejected, lost_twice, unfounded, .. } = self;
        let invalid_grant = server.invalid_grant;
        let all = [
            (*unfounded > 0, format!("a login was given up {unfounded} times without the server's word")),
            (
                *rejected > invalid_grant,
                format!("{rejected} logins were refused, but the server refused {invalid_grant}"),
            ),
            (2 * lost_twice > lost, format!("{lost_twice} logins ended by two lost answers, but {lost} were lost")),
            (*emptied > 0, format!("the store was emptied {emptied} times")),
            (*marked > invalid_grant, format!("{marked} tokens were marked, but the server refused {invalid_grant}")),
            (*without_refresh_token > 0, format!("{without_refresh_token} tokens were stored without a refresh token")),
            (!self.is_stored, "the store does not hold the session's token".to_owned()),
        ];
        all.into_iter().filter(|(is_breach, _)| *is_breach).map(|(_, what)| what).collect()
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "saves": self.saves,
            "marked": self.marked,
            "ended_by_code": self.rejected,
            "ended_by_two_lost_answers": self.lost_twice,
        })
    }
}

/// A member of the stored text.
fn member(stored: &Stored, name: &str) -> Option<String> {
    let text: Value = serde_json::from_str(&stored.to_text()).ok()?;
    text.get(name)?.as_str().map(str::to_owned)
}

impl TokenStore for Watch {
    fn load(&self) -> Result<Option<Stored>> {
        self.0.store.load()
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        Ok(Box::new(Inside { inside: self.0.store.exclusive(timeout)?, seen: &self.0 }))
    }
}

struct Inside<'a> {
    inside: Box<dyn Exclusive + 'a>,
    seen: &'a Seen,
}

impl Exclusive for Inside<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        self.inside.load()
    }

    fn prepare(&mut self) -> Result<()> {
        self.inside.prepare()
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        self.seen.saves.fetch_add(1, Relaxed);
        self.seen.without_refresh_token.fetch_add(u64::from(member(stored, "refresh_token").is_none()), Relaxed);
        self.seen.marked.fetch_add(u64::from(member(stored, "refused").is_some()), Relaxed);
        self.inside.save(stored)
    }

    fn remove(&mut self) -> Result<()> {
        self.seen.emptied.fetch_add(1, Relaxed);
        self.inside.remove()
    }
}
