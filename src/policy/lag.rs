//! A token that the API does not know yet: is its refusal waited out, and for how long?
//!
//! An API of several nodes may learn of a new token a second after the client has it. Another refresh does not help then: its
//! token would be newer still. A token that was revoked is refused in the same way, but nobody revokes a token that nobody
//! has used. So a young token that was not accepted before is sent again after a pause, and one that was accepted is replaced.

use std::sync::Arc;
use std::time::Duration;

use super::Policy;
use crate::clock::Tick;
use crate::token::Token;

/// The first pause. Each further one is this much longer than all before it, so that pauses double.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

impl Policy {
    /// How long a token counts as young: long enough for calls that begin late, short enough that a revoked token is not
    /// waited for.
    fn youth(&self) -> Duration {
        self.token_lag.saturating_mul(5) / 2
    }
}

/// How a refused request was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// The API had accepted the token before. What it has accepted since says nothing of that moment.
    pub(crate) was_accepted: bool,
    /// The call was refused with an earlier token before: two revocations in one call are less likely than a lag.
    pub(crate) replayed: bool,
    /// Its body, if any, can be sent again.
    pub(crate) repeatable: bool,
    /// How long the call has paused for this reason.
    pub(crate) waited: Duration,
    /// The token of its last pause, or 0.
    pub(crate) waited_for: u64,
}

/// What the call does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Sends the same token again after this pause.
    Pause(Duration),
    /// Sends the token before this one at once: that one lives, and the API knows it.
    Previous(Arc<Token>),
    /// Reports the refusal.
    Report,
}

/// What a session remembers of its API's lag.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    /// A token was refused first and accepted later: this API lags.
    is_known: bool,
    /// The generation that was judged to be too new. Others wait for it too, though a node has accepted it meanwhile.
    in_question: u64,
    /// The generation that is not waited for: pauses were in vain, or it was revoked.
    closed: u64,
    previous: Option<Previous>,
}

/// The token before one that came ahead of time.
#[derive(Debug)]
struct Previous {
    token: Arc<Token>,
    /// The generation that it can stand in for, and how long.
    generation: u64,
    until: Tick,
    was_sent: bool,
}

impl Lag {
    /// What becomes of a call that was refused with the present token.
    pub(crate) fn judge(&mut self, policy: &Policy, token: &Token, sent: Sent, now: Tick) -> Next {
        let generation = token.origin.generation;
        let young_until = token.life.arrived.map(|arrived| arrived.after(policy.youth()));
        if generation == self.closed || young_until.is_none_or(|until| now >= until) {
            return Next::Report;
        }
        if let Some(previous) = &mut self.previous {
            let serves = sent.repeatable && previous.generation == generation && now < previous.until;
            // One call tries whether the old token was revoked with the refresh, the others pause meanwhile.
            if serves && (self.is_known || !previous.was_sent) {
                previous.was_sent = true;
                self.in_question = generation;
                return Next::Previous(Arc::clone(&previous.token));
            }
        }
        let may_lag = !sent.was_accepted || sent.replayed || self.is_known || self.in_question == generation;
        if !may_lag {
            return Next::Report;
        }
        let left = policy.token_lag.saturating_sub(sent.waited);
        if left.is_zero() {
            // A pause for an earlier token says nothing of this one.
            if sent.waited_for == generation {
                self.close(generation);
            }
            return Next::Report;
        }
        self.in_question = generation;
        Next::Pause(sent.waited.saturating_add(FIRST_PAUSE).min(left))
    }

    /// The API has accepted a token that it had refused, or the previous one instead.
    pub(crate) fn learn(&mut self) {
        self.is_known = true;
    }

    /// From now on `generation` is not waited for.
    pub(crate) fn close(&mut self, generation: u64) {
        // Reports come from many threads: one of an earlier token may come late.
        self.closed = self.closed.max(generation);
    }

    /// Keeps the token that `next` has replaced ahead of time, if it can stand in for that.
    pub(crate) fn keep_previous(&mut self, policy: &Policy, token: Arc<Token>, next: &Token) {
        let Some(arrived) = next.life.arrived.filter(|_| token.was_accepted()) else { return };
        let young_until = arrived.after(policy.youth());
        // Its leeway counts: it has to live until the server has read it.
        let until = token.life.expired_at.map_or(young_until, |at| at.min(young_until));
        let generation = next.origin.generation;
        self.previous = (until > arrived).then_some(Previous { token, generation, until, was_sent: false });
    }

    /// The token before `generation` was refused as well: it does not stand in again, and is no sign of a lag.
    pub(crate) fn previous_refused(&mut self, generation: u64) {
        if self.previous.as_ref().is_some_and(|previous| previous.generation == generation) {
            self.previous = None;
        }
        if self.in_question == generation {
            self.in_question = 0;
        }
    }

    pub(crate) fn forget_previous(&mut self) {
        self.previous = None;
    }

    /// Lets go of the previous token once it cannot stand in any more; says whether it is still kept.
    pub(crate) fn keeps_previous(&mut self, now: Tick) -> bool {
        drop(self.previous.take_if(|previous| now >= previous.until));
        self.previous.is_some()
    }
}

#[cfg(test)]
mod tests;
