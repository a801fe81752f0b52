//! What the server has seen. Calls are judged as they come: a long run shall not take more memory than a short one.

use std::collections::{HashMap, VecDeque};

use super::issuer::Need;

/// The counts so far.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Counts {
    /// Connections on which the API was called.
    pub(crate) connections: u64,
    /// Connections on which the token endpoint was called.
    pub(crate) token_connections: u64,
    pub(crate) token_calls: u64,
    /// How many of them there were at the same time, at most.
    pub(crate) token_calls_at_once: u64,
    pub(crate) invalid_grant: u64,
    /// Of these, for a refresh token that this server has spent without an answer.
    pub(crate) invalid_grant_excused: u64,
    /// Pairs of tokens issued.
    pub(crate) refreshes: u64,
    /// Of these, for a reason that the server can see, the first of each login included.
    pub(crate) refreshes_needed: u64,
    /// Of these, for the age of the token.
    pub(crate) expiries: u64,
    /// Of these, for a revoked token.
    pub(crate) replaced_after_revocation: u64,
    /// Pairs of tokens issued whose answer was lost by a fault.
    pub(crate) refreshes_lost: u64,
    /// The smallest share of its life after which a token was replaced for its age.
    pub(crate) youngest_replaced: Option<f64>,
    /// Tokens revoked.
    pub(crate) revocations: u64,
    /// Numbered calls accepted.
    pub(crate) accepted: u64,
    /// Calls answered with 401.
    pub(crate) refused: u64,
    /// Accepted calls whose answer was spoilt by a fault.
    pub(crate) accepted_and_spoilt: u64,
    /// All calls that a fault has cost their answer.
    pub(crate) spoilt: u64,
    /// See [`Ledger`].
    pub(crate) doubled: u64,
    pub(crate) out_of_order: u64,
    pub(crate) repeated: u64,
}

impl Counts {
    pub(crate) fn count_refresh(&mut self, need: Need, share_lived: Option<f64>) {
        self.refreshes += 1;
        self.refreshes_needed += u64::from(need != Need::None);
        match need {
            Need::Age => {
                self.expiries += 1;
                let share = share_lived.unwrap_or(1.0);
                self.youngest_replaced = Some(self.youngest_replaced.map_or(share, |least| least.min(share)));
            }
            Need::Revoked => self.replaced_after_revocation += 1,
            Need::First | Need::Lost | Need::None => {}
        }
    }
}

/// So many of a thread's calls are remembered. What comes again later than that is taken for doubled.
const REMEMBERED: usize = 64;

/// A call of one thread: its number, and which attempt at it this is. A caller who was told of an error makes the next one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) attempt: u64,
}

/// The numbered calls that the API has accepted.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By thread, in the order of acceptance.
    recent: HashMap<u64, VecDeque<Call>>,
    highest: HashMap<u64, Call>,
    /// Calls that were accepted more than once, each time beyond the first.
    pub(crate) doubled: u64,
    /// Calls first accepted after a higher one of the same thread.
    pub(crate) out_of_order: u64,
    /// Calls that were accepted again in a later attempt: legal where the caller never saw the first one's answer.
    pub(crate) repeated: u64,
}

impl Ledger {
    pub(crate) fn accept(&mut self, thread: u64, call: Call) {
        let recent = self.recent.entry(thread).or_default();
        let highest = self.highest.get(&thread).copied();
        let is_remembered = recent.contains(&call);
        let is_older = recent.len() == REMEMBERED && recent.iter().all(|other| call < *other);
        if is_remembered || is_older {
            self.doubled += 1;
        } else if highest.is_some_and(|highest| call < highest) {
            self.out_of_order += 1;
        } else if recent.iter().any(|other| other.number == call.number) {
            self.repeated += 1;
        }
        if recent.len() == REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(call);
        self.highest.insert(thread, highest.map_or(call, |highest| highest.max(call)));
    }

    /// Is this among the latest calls that were accepted?
    pub(crate) fn has(&self, thread: u64, call: Call) -> bool {
        self.recent.get(&thread).is_some_and(|recent| recent.contains(&call))
    }
}
