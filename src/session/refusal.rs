//! What becomes of a token that a server has refused or accepted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Session;
use super::shared::Shared;
use super::view::{Replaces, Request};
use crate::clock::Tick;
use crate::events::{Event, Reason};
use crate::policy::Address;
#[cfg(any(feature = "ureq", test))]
use crate::policy::{Next, Sent};
use crate::token::{Publication, Token};
use crate::{Error, ErrorKind, Result};

/// What becomes of a refusal that was reported.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The token had been replaced already.
    Late,
    /// It is to be replaced.
    Replace,
    /// The address refuses every token.
    OfAddress,
    /// It is the API's own trouble, or refreshing after a refusal is switched off.
    Ignored,
}

impl Session {
    /// Reports that a server refused `token`, and gets the next one: by a refresh, or without one where the token has been
    /// replaced already.
    ///
    /// # Errors
    ///
    /// As [`token`](Session::token), and [`RefusedTooOften`](ErrorKind::RefusedTooOften) if the loop breaker
    /// ([`Policy::with_refusals`](crate::Policy::with_refusals)) finds that new tokens do not help, or refreshing after a refusal is switched off.
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the token is not of this session.
    pub fn rejected(&self, token: &Token) -> Result<Arc<Token>> {
        self.rejected_at(token, None)
    }

    /// The same for a server with several addresses, topics or methods, of which one may refuse every token: then that one
    /// costs no refresh. Any text that names it will do. Report what it accepts too, with [`accepted_by`](Session::accepted_by).
    ///
    /// An address that has refused two tokens in a row, while the second is accepted elsewhere, gets no refresh for five
    /// minutes, as long as others go on to be accepted. The last sixteen are remembered.
    ///
    /// # Errors
    ///
    /// As [`rejected`](Session::rejected), and [`RefusedTooOften`](ErrorKind::RefusedTooOften) if the address refuses every
    /// token.
    pub fn rejected_by(&self, token: &Token, address: &str) -> Result<Arc<Token>> {
        self.rejected_at(token, Some(Address::of(&[address])))
    }

    pub(crate) fn rejected_at(&self, token: &Token, address: Option<Address>) -> Result<Arc<Token>> {
        let shared = &*self.0;
        let Publication { session, generation } = token.origin;
        if session != shared.id {
            return Err(Error::invalid(
                "the refused token is not of this session: report it to the session it came from",
            ));
        }
        match shared.judge_refusal(token, address) {
            Refusal::Replace => {}
            Refusal::Late => shared.emit(Event::LateRefusal { generation }),
            Refusal::OfAddress => {
                shared.emit(Event::AddressRefuses { generation });
                return Err(Error::new(
                    ErrorKind::RefusedTooOften,
                    "this address refuses every token, while others accept the present one: see what it says with its 401, \
                     and whether the token has the scope that it wants",
                ));
            }
            Refusal::Ignored => {
                shared.emit(Event::RefusalIgnored { generation });
                return Err(Error::new(
                    ErrorKind::RefusedTooOften,
                    "the API refused the token, and another one is not fetched for it: new tokens were refused as well, or \
                     refreshing after a refusal is switched off; see what the API says with its 401",
                ));
            }
        }
        let next = self.obtain(Request { replaces: Replaces::Refused(generation), ..Request::default() });
        if next.is_err() {
            // During a pause no flight tells those who watch that the token is known to be bad. Them alone: a whole crowd may
            // come here, one by one.
            shared.flight.poke(false);
        }
        next
    }

    /// Reports that a server accepted `token`. A client does so by itself; for other protocols it tells the loop breaker
    /// that a later refusal is a revocation.
    #[inline]
    pub fn accepted(&self, token: &Token) {
        token.mark_accepted();
        if self.looks_at_successes() {
            self.0.note_success(None);
        }
    }

    /// The same for one of several addresses: see [`rejected_by`](Session::rejected_by).
    pub fn accepted_by(&self, token: &Token, address: &str) {
        token.mark_accepted();
        if self.looks_at_successes() {
            self.0.note_success(Some(Address::of(&[address])));
        }
    }

    /// Does a success have to be noted with its address?
    #[inline]
    pub(crate) fn looks_at_successes(&self) -> bool {
        self.0.looks_at_successes.load(Ordering::Relaxed)
    }
}

/// What only a client asks: it can send a request again.
#[cfg(any(feature = "ureq", test))]
impl Session {
    /// What a call does next that was refused with `token`; the pause is over when this returns.
    pub(crate) fn wait_for_lag(&self, token: &Token, address: Address, sent: Sent) -> Next {
        let shared = &*self.0;
        let generation = token.origin.generation;
        // One that has been replaced is nobody's question any more.
        if !shared.policy.reactive || shared.flight.current().1 != generation {
            return Next::Report;
        }
        let now = shared.clock.now();
        let next = {
            let mut history = shared.history.lock();
            match history.addresses.is_quiet(address, now) {
                true => Next::Report,
                false => history.lag.judge(&shared.policy, token, sent, now),
            }
        };
        match &next {
            Next::Report => {}
            Next::Previous(_) => shared.emit(Event::TokenLag { generation, pause: std::time::Duration::ZERO }),
            Next::Pause(pause) => {
                shared.emit(Event::TokenLag { generation, pause: *pause });
                shared.clock.sleep(*pause);
            }
        }
        next
    }
}

#[cfg(feature = "ureq")]
impl Session {
    /// The API lags: it has accepted what it had refused.
    pub(crate) fn learn_lag(&self) {
        self.0.history.lock().lag.learn();
    }

    /// The token before `token` was refused in its place.
    pub(crate) fn previous_refused(&self, token: &Token) {
        self.0.history.lock().lag.previous_refused(token.origin.generation);
    }

    /// Notes that a call was refused with its second token too, which its caller is told.
    pub(crate) fn note_refusal(&self, token: &Token, address: Address) {
        let shared = &*self.0;
        let generation = token.origin.generation;
        let now = shared.clock.now();
        if shared.flight.current().1 == generation && shared.is_of_address(token, address, now) {
            shared.emit(Event::AddressRefuses { generation });
        }
    }

    #[cold]
    pub(crate) fn note_success(&self, address: Address) {
        self.0.note_success(Some(address));
    }
}

impl Shared {
    fn judge_refusal(&self, token: &Token, address: Option<Address>) -> Refusal {
        let generation = token.origin.generation;
        let now = self.clock.now();
        if self.flight.current().1 > generation {
            return Refusal::Late;
        }
        if !self.policy.reactive {
            return Refusal::Ignored;
        }
        if address.is_some_and(|address| self.is_of_address(token, address, now)) {
            return Refusal::OfAddress;
        }
        let mut history = self.history.lock();
        // Reports of later tokens may overtake this one here: the loop breaker tells by the generation.
        if !history.may_replace(&self.policy, generation, token.was_accepted(), now) {
            return Refusal::Ignored;
        }
        history.lag.close(generation);
        Refusal::Replace
    }

    /// Notes that `address` has refused the present token, and says whether it refuses every one.
    fn is_of_address(&self, token: &Token, address: Address, now: Tick) -> bool {
        let mut history = self.history.lock();
        self.looks_at_successes.store(true, Ordering::Relaxed);
        history.addresses.refuse(address, token.origin.generation, token.was_accepted(), now)
    }

    #[cold]
    fn note_success(&self, address: Option<Address>) {
        let now = self.clock.now();
        let mut history = self.history.lock();
        history.addresses.accept(address, now);
        let keeps_previous = history.lag.keeps_previous(now);
        // Under the lock: a refusal that is noted meanwhile must not be lost.
        self.looks_at_successes.store(keeps_previous || !history.addresses.is_empty(), Ordering::Relaxed);
    }

    /// A flight has put `token` in the place of `replaced`.
    pub(super) fn note_replaced(&self, reason: Reason, replaced: Option<Arc<Token>>, token: &Token) {
        let mut history = self.history.lock();
        history.lag.forget_previous();
        if reason == Reason::Requested {
            history.addresses.forget();
        }
        if let (Reason::Stale, Some(replaced)) = (reason, replaced) {
            history.lag.keep_previous(&self.policy, replaced, token);
            self.looks_at_successes.store(true, Ordering::Relaxed);
        }
    }
}
