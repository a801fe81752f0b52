//! A store whose exclusive section can be lost while its holder lives.

use std::sync::Arc;
use std::time::Duration;

use super::pauses::persistent;
use super::refreshes::{Desk, token};
use super::stores::stored;
use super::{PlainClock, assert_unlocked, crowd};
use crate::store::{Exclusive, Stored, TokenStore};
use crate::sync::{Condvar, Mutex, Unseen};
use crate::{Error, ErrorKind, Result, SourceError, Token};

/// A lease in memory. It runs out when [`lapse`](Lease::lapse) says so; until somebody else has taken it, its holder can
/// still renew it.
#[derive(Clone)]
struct Lease(Arc<(Mutex<State>, Condvar)>);

struct State {
    stored: Option<Stored>,
    /// By the number of its section.
    holder: Option<usize>,
    sections: usize,
    has_lapsed: bool,
}

impl Lease {
    fn new(number: usize) -> Self {
        let state = State { stored: Some(stored(number)), holder: None, sections: 0, has_lapsed: false };
        Lease(Arc::new((Mutex::new(state), Condvar::new())))
    }

    fn lapse(&self) {
        let mut state = self.0.0.lock();
        state.has_lapsed = true;
        self.0.1.notify_all(&state);
    }

    fn secret(&self) -> Option<String> {
        self.load().ok()??.to_token().ok().map(|token| token.secret().to_owned())
    }
}

impl TokenStore for Lease {
    fn load(&self) -> Result<Option<Stored>> {
        assert_unlocked();
        Ok(self.0.0.lock().stored.clone())
    }

    fn exclusive(&self, _: Duration) -> Result<Box<dyn Exclusive + '_>> {
        assert_unlocked();
        let mut state = self.0.0.lock();
        while state.holder.is_some() && !state.has_lapsed {
            self.0.1.wait(&mut state, None);
        }
        state.sections += 1;
        let number = state.sections;
        (state.holder, state.has_lapsed) = (Some(number), false);
        Ok(Box::new(Section { lease: self, number }))
    }
}

struct Section<'a> {
    lease: &'a Lease,
    number: usize,
}

impl Section<'_> {
    /// In one step with the look whether it still stands.
    fn under(&self, act: impl FnOnce(&mut State)) -> Result<()> {
        assert_unlocked();
        let mut state = self.lease.0.0.lock();
        if state.holder != Some(self.number) {
            return Err(Error::store_busy("the lease is somebody else's"));
        }
        act(&mut state);
        Ok(())
    }
}

impl Exclusive for Section<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        self.lease.load()
    }

    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    fn hold_for(&mut self, _: Duration) -> Result<()> {
        self.under(|state| state.has_lapsed = false)
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        self.under(|state| state.stored = Some(stored.clone()))
    }

    fn remove(&mut self) -> Result<()> {
        self.under(|state| state.stored = None)
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let mut state = self.lease.0.0.lock();
        if state.holder == Some(self.number) {
            state.holder = None;
            self.lease.0.1.notify_all(&state);
        }
    }
}

/// Rules 2, 3: two sessions on one lease, which runs out while the first of them sits out the pause after a failed attempt. The
/// other one may take it over then; no refresh token is sent twice, and the store holds the newest one.
pub(super) fn session_store_lease_runs_out(threads: usize) {
    let lease = Lease::new(0);
    let newest = Arc::new(Unseen::new(0));
    let clock = PlainClock::default();
    let desks = [true, false].map(|is_stopped| {
        let (lapsing, newest) = (lease.clone(), Arc::clone(&newest));
        let source = move |number, previous: Option<&Token>| {
            if is_stopped && number == 1 {
                lapsing.lapse();
                return Err(SourceError::unavailable("busy"));
            }
            let sent = previous.and_then(Token::refresh_secret).unwrap_or_default();
            let mut newest = newest.lock();
            assert_eq!(sent, format!("r{newest}"), "rule 2: a refresh token is spent twice");
            *newest += 1;
            Ok(token(*newest).with_refresh_token(format!("r{newest}")))
        };
        let (clock, lease) = (clock.clone(), lease.clone());
        Desk::built(source, |builder| builder.clock(clock).policy(persistent()).store(lease))
    });
    let held = desks.each_ref().map(|desk| (desk.session.clone(), desk.session.current().expect("it was stored")));
    let answers = crowd(threads, move |number| {
        let [one, other] = &held;
        let (session, refused) = if number == 0 { one } else { other };
        session.rejected(refused).map(|token| token.secret().to_owned()).map_err(|error| error.kind())
    });
    for (number, answer) in answers.iter().enumerate() {
        let is_known = answer.as_deref() == Ok("t1") || (number == 0 && *answer == Err(ErrorKind::Unavailable));
        assert!(is_known, "rule 3: {answers:?}");
    }
    assert_eq!(lease.secret().as_deref(), Some("t1"), "the newest one is stored");
    desks.iter().for_each(Desk::nobody_overslept);
}
