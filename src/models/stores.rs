//! The session's store, where several things happen to it at once.

use std::time::Duration;

use super::refreshes::{Desk, token};
use super::{PlainClock, assert_unlocked, crowd};
use crate::store::{Exclusive, MemoryStore, Stored, TokenStore};
use crate::{Error, ErrorKind, Result};

/// The store in memory, and the assertion that no lock of the session's is held when it is used. That the wait for its
/// exclusive section has an end is not modelled: nobody stays inside.
#[derive(Clone)]
struct Shelf(MemoryStore);

impl TokenStore for Shelf {
    fn load(&self) -> Result<Option<Stored>> {
        assert_unlocked();
        self.0.load()
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        assert_unlocked();
        Ok(Box::new(Inside(self.0.exclusive(timeout)?)))
    }
}

struct Inside<'a>(Box<dyn Exclusive + 'a>);

impl Exclusive for Inside<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        assert_unlocked();
        self.0.load()
    }

    fn prepare(&mut self) -> Result<()> {
        assert_unlocked();
        self.0.prepare()
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        assert_unlocked();
        self.0.save(stored)
    }

    fn remove(&mut self) -> Result<()> {
        assert_unlocked();
        self.0.remove()
    }
}

impl Shelf {
    fn new() -> Self {
        Shelf(MemoryStore::new())
    }

    fn secret(&self) -> Option<String> {
        let stored = self.0.load().expect("it is in memory")?;
        stored.to_token().ok().map(|token| token.secret().to_owned())
    }
}

fn desk(shelf: &Shelf) -> Desk {
    Desk::stored(PlainClock::default(), |number| Ok(token(number)), shelf.clone())
}

/// What is in force and what is stored.
fn both(desk: &Desk, shelf: &Shelf) -> (Option<String>, Option<String>) {
    (desk.session.current().map(|token| token.secret().to_owned()), shelf.secret())
}

/// Rules 1, 2: a login, a logout and refreshes at once. When all is done, the store holds what the session holds: a logout
/// that the store forgot would be undone by the next start of the program.
pub(super) fn session_store_follows(threads: usize) {
    let shelf = Shelf::new();
    let desk = desk(&shelf);
    let session = desk.session.clone();
    crowd(threads, move |number| match number {
        0 => session.set(token(0)).expect("the store is there"),
        1 => drop(session.end().expect("the store is there")),
        _ => match session.token().map_err(|error| error.kind()) {
            Ok(_) | Err(ErrorKind::LoggedOut) => {}
            Err(kind) => panic!("rule 8: {kind:?}"),
        },
    });
    let (held, stored) = both(&desk, &shelf);
    assert_eq!(held, stored, "the store has not followed the session");
    desk.nobody_overslept();
}

/// Rules 1, 2, 3: the same with refreshes of a refused token in the place of the logout.
pub(super) fn session_store_keeps_the_login(threads: usize) {
    let shelf = Shelf::new();
    let desk = desk(&shelf);
    desk.session.set(token(0)).expect("the store is there");
    let refused = desk.session.token().expect("it was set");
    let session = desk.session.clone();
    crowd(threads, move |number| match number {
        0 => session.set(token(9)).expect("the store is there"),
        _ => drop(session.rejected(&refused).unwrap_or_else(|error: Error| panic!("rule 8: {error}"))),
    });
    let (held, stored) = both(&desk, &shelf);
    assert_eq!(held.as_deref(), Some("t9"), "rule 2: the refresh was begun before the login");
    assert_eq!(held, stored, "the store has not followed the session");
    assert!(desk.fetches() <= 1, "rule 3");
    desk.nobody_overslept();
}
