//! `RefreshToken` as the lines on the page know it, but what is meant for a provider's server goes to the test's.

use std::cell::RefCell;

use ureq_auth::oauth2;

thread_local! {
    static ORIGIN: RefCell<String> = RefCell::default();
}

/// From now on, this thread's grants ask the server there.
pub(super) fn answer_from(origin: String) {
    ORIGIN.set(origin);
}

pub(super) struct RefreshToken;

impl RefreshToken {
    /// The grant itself; only the origin is another.
    #[allow(clippy::new_ret_no_self, reason = "it stands in for the grant's own")]
    pub(super) fn new(token_url: &str, client_id: &str, refresh_token: &str) -> oauth2::RefreshToken {
        let (_host, path) = token_url.strip_prefix("https://").unwrap().split_once('/').unwrap();
        let url = ORIGIN.with_borrow(|origin| format!("{origin}/{path}"));
        oauth2::RefreshToken::new(url, client_id, refresh_token)
    }
}
