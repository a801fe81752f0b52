//! Who comes to the port of a login, before the browser has come back and after that.

use super::listener::Visitors;
use super::page;
use crate::oauth2::callback::{self, Callback, Received};

/// Until the browser comes back with this login's `state`.
pub(super) struct Awaited<'a> {
    pub(super) path: &'a str,
    pub(super) state: &'a str,
    pub(super) came: Option<Callback>,
    /// How many callbacks were of another login.
    pub(super) refused: u32,
}

impl Visitors for Awaited<'_> {
    fn answer(&mut self, head: &[u8]) -> Option<String> {
        Some(match callback::read(head, self.path, self.state)? {
            Received::Callback(callback) => {
                self.came = Some(callback);
                page::redirect()
            }
            Received::Stranger => {
                if self.refused == 0 {
                    // Once: whoever sends a thousand of them must not fill the log.
                    log::warn!("a callback was refused at the login's port: it is of another login");
                }
                self.refused = self.refused.saturating_add(1);
                page::page("400 Bad Request", "This is not the login that is waited for.")
            }
            Received::End | Received::NotFound => page::page("404 Not Found", "Not found."),
            Received::NotAllowed => page::page("405 Method Not Allowed", "Not allowed."),
        })
    }

    fn is_awaited(&self, head: &[u8]) -> bool {
        callback::is_awaited(head, self.path, self.state)
    }

    fn is_over(&self) -> bool {
        self.came.is_some()
    }
}

/// After that, until the browser has its last page.
pub(super) struct Last<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    pub(super) is_shown: bool,
}

impl Visitors for Last<'_> {
    fn answer(&mut self, head: &[u8]) -> Option<String> {
        Some(match callback::read(head, self.path, "")? {
            Received::End => {
                self.is_shown = true;
                page::page("200 OK", self.text)
            }
            _ => page::page("404 Not Found", "Not found."),
        })
    }

    fn is_awaited(&self, _head: &[u8]) -> bool {
        // The callback is over, and anybody can ask for the last page.
        false
    }

    fn is_over(&self) -> bool {
        self.is_shown
    }
}
