//! The settings of a [`Policy`], each with its getter.

use std::time::Duration;

use super::jitter::Jitter;
use super::{Policy, Window};

impl Policy {
    /// The default policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether tokens are looked at before a call and refreshed when they are due. On unless switched off.
    #[must_use]
    pub fn with_proactive(mut self, on: bool) -> Self {
        self.proactive = on;
        self
    }

    /// Whether a refused token (a 401) leads to a refresh. On unless switched off. Even then, a request that was refused
    /// with a token which has been replaced meanwhile goes out again with the new one: that costs no refresh.
    #[must_use]
    pub fn with_reactive(mut self, on: bool) -> Self {
        self.reactive = on;
        self
    }

    /// The last part of a token's life in which one caller refreshes it while the others go on: `percent` of the life,
    /// at most `at_most`. 20 % and 5 minutes unless set; zero in either is no window. Each `Policy::new()` takes up to a third less,
    /// by chance, so that a fleet does not refresh in step. Some tokens are refreshed earlier still:
    /// [`with_spread`](Policy::with_spread) says which.
    ///
    /// A server may forbid early refreshes. That costs no caller an error: the old token serves, and the refresh is tried
    /// again at the latest when the token counts as expired. To spare such a server the attempts, make the window no longer
    /// than it allows, and a little shorter, since the server counts from its response: `with_stale_window(5,
    /// Duration::from_secs(25))` and `with_spread(0)` for one that refuses before the last 30 seconds of 10 minutes.
    #[must_use]
    pub fn with_stale_window(mut self, percent: u32, at_most: Duration) -> Self {
        self.stale = Window { percent, at_most };
        self
    }

    /// What keeps a fleet apart after an outage, when all of its devices get their tokens at about the same time and would come
    /// back for the next ones together, life after life. 75 unless set; at most 90; zero switches all of it off.
    ///
    /// - **After trouble**: by up to `percent` of the time before its stale window, by chance, a token is refreshed earlier that came
    ///   after callers had got an error, or after two refreshes ahead of time had failed, since the server was busy or out of reach.
    /// - **The first token** that a session has requested is refreshed at any time in the last fifth of its life, without the stale
    ///   window's bound: up to 12 minutes before the end of an hour, instead of 5. That does not depend on `percent`.
    /// - All others are refreshed in the stale window. So are all whose window is shorter than its bound, or that have none: 25 minutes
    ///   are such a life, unless set. There, the window's own jitter is a share of the life.
    ///
    /// `docs/fleet.md` has a million devices, with and without.
    #[must_use]
    pub fn with_spread(mut self, percent: u32) -> Self {
        self.spread = percent;
        self
    }

    /// The very last part, in which a token counts as expired already, since it must live until the server has read it:
    /// `percent` of the life, at most `at_most`. 5 % and 10 seconds unless set.
    #[must_use]
    pub fn with_leeway(mut self, percent: u32, at_most: Duration) -> Self {
        self.leeway = Window { percent, at_most };
        self
    }

    /// How many times one refresh asks the source when it is [unavailable](crate::SourceError::unavailable): 3 unless set.
    /// After an [unknown](crate::SourceError::unknown) outcome it is asked once more at most. A caller that refreshes ahead of
    /// time, with a token that lives, waits for no second attempt: that is another call's.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The pause after a failed refresh: `first`, doubled with each further failure up to `limit`, less up to a half by
    /// chance, and never less than the server's `Retry-After`. 1 second and 5 minutes unless set. Where nobody was reached,
    /// 30 seconds are the limit. Where only the token store is in the way and the token has expired, each pause is the first.
    /// Where the server refuses the client, the pause is the limit from the start.
    #[must_use]
    pub fn with_backoff(mut self, first: Duration, limit: Duration) -> Self {
        self.backoff_first = first;
        self.backoff_limit = limit;
        self
    }

    /// How long one refresh may take in all: 30 seconds unless set. At most three quarters of it go into waiting, for a store's
    /// lock or between attempts.
    #[must_use]
    pub fn with_budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// How long a caller waits for somebody else's refresh: 40 seconds unless set, and not less than the budget.
    #[must_use]
    pub fn with_wait_timeout(mut self, timeout: Duration) -> Self {
        self.wait_timeout = timeout;
        self
    }

    /// How long a caller without a usable token waits for the pause after a failed refresh to end: 2 seconds unless set,
    /// once a call. If the pause is longer, the caller gets the error at once. Zero: always. Three quarters of the budget
    /// are the most.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The loop breaker: how many points are granted per `period`, 30 per 30 seconds unless set. Each refused token that is
    /// replaced costs some. One that was never accepted costs 10, or all if there are fewer: then the trouble is the API's, and
    /// a new token will not cure it. One that was accepted first was revoked, most likely, and costs a tenth of a point.
    ///
    /// The points of one period can be spent at once, and come back evenly. So with the default, 3 tokens that were never
    /// accepted are replaced at once, and one more each 10 seconds: 6 in the first 30 seconds, and 3 in each 30 seconds after.
    /// Of tokens that were accepted it is 300 at once and 10 a second.
    #[must_use]
    pub fn with_refusals(mut self, refusals: u32, period: Duration) -> Self {
        self.refusals = refusals;
        self.refusal_period = period;
        self
    }

    /// How long one call waits, in all, for an API that does not know a new token yet: 2 seconds unless set. Zero switches
    /// that off.
    ///
    /// A token that has just come, and that the API had not accepted when a request was sent with it, may be refused because
    /// the API's nodes do not have it yet. The client then pauses for 100, 200, 400 ms and so on, and sends the same token
    /// again; only after that it asks for another one. If the refresh was ahead of time, the previous token is sent instead, at
    /// once, while it lives. A token counts as new for two and a half times as long as set here. One that was accepted and is
    /// refused later was revoked, and is replaced at once, unless the API is known to lag: it has refused a new token and
    /// accepted the same one later.
    ///
    /// A client does this; [`Session::rejected`](crate::Session::rejected) does not. As with the wait for a refresh, the
    /// timeouts of `ureq` do not count the pauses.
    #[must_use]
    pub fn with_token_lag(mut self, lag: Duration) -> Self {
        self.token_lag = lag;
        self
    }

    /// Fixes what is otherwise drawn for each [`Policy::new`]: the seed of all jitter. A fleet may use its devices' numbers, a test
    /// any number.
    #[must_use]
    pub fn with_jitter_seed(mut self, seed: u64) -> Self {
        self.jitter = Jitter::new(seed);
        self
    }

    /// See [`with_proactive`](Policy::with_proactive).
    pub fn proactive(&self) -> bool {
        self.proactive
    }

    /// See [`with_reactive`](Policy::with_reactive).
    pub fn reactive(&self) -> bool {
        self.reactive
    }

    /// The per cent and the upper bound of [`with_stale_window`](Policy::with_stale_window).
    pub fn stale_window(&self) -> (u32, Duration) {
        (self.stale.percent, self.stale.at_most)
    }

    /// See [`with_spread`](Policy::with_spread).
    pub fn spread(&self) -> u32 {
        self.spread
    }

    /// The per cent and the upper bound of [`with_leeway`](Policy::with_leeway).
    pub fn leeway(&self) -> (u32, Duration) {
        (self.leeway.percent, self.leeway.at_most)
    }

    /// See [`with_attempts`](Policy::with_attempts).
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The first pause and the limit of [`with_backoff`](Policy::with_backoff).
    pub fn backoff(&self) -> (Duration, Duration) {
        (self.backoff_first, self.backoff_limit)
    }

    /// See [`with_budget`](Policy::with_budget).
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// See [`with_wait_timeout`](Policy::with_wait_timeout).
    pub fn wait_timeout(&self) -> Duration {
        self.wait_timeout
    }

    /// See [`with_patience`](Policy::with_patience).
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The number and the period of [`with_refusals`](Policy::with_refusals).
    pub fn refusals(&self) -> (u32, Duration) {
        (self.refusals, self.refusal_period)
    }

    /// See [`with_token_lag`](Policy::with_token_lag).
    pub fn token_lag(&self) -> Duration {
        self.token_lag
    }
}
