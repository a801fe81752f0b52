//! The session's store, where several things happen to it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as PlainCounter, Ordering};
use std::time::Duration;

use super::refreshes::{Desk, token};
use super::{LONG, PlainClock, assert_unlocked, crowd};
use crate::store::{Exclusive, MemoryStore, Stored, TokenStore};
use crate::sync::Unseen;
use crate::{Error, ErrorKind, Result};

/// The store in memory, and the assertion that no lock of the session's is held when it is used. That the wait for its
/// exclusive section has an end is not modelled: nobody stays inside.
#[derive(Clone)]
pub(super) struct Shelf {
    memory: MemoryStore,
    /// Goes for what is stored, until something else is.
    slipped_in: Arc<Unseen<Option<Stored>>>,
}

impl TokenStore for Shelf {
    fn load(&self) -> Result<Option<Stored>> {
        assert_unlocked();
        self.memory.load()
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        assert_unlocked();
        Ok(Box::new(Inside { inside: self.memory.exclusive(timeout)?, shelf: self }))
    }
}

struct Inside<'a> {
    inside: Box<dyn Exclusive + 'a>,
    shelf: &'a Shelf,
}

impl Exclusive for Inside<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        assert_unlocked();
        let slipped_in = self.shelf.slipped_in.lock().clone();
        if slipped_in.is_some() { Ok(slipped_in) } else { self.inside.load() }
    }

    fn prepare(&mut self) -> Result<()> {
        assert_unlocked();
        self.inside.prepare()
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        assert_unlocked();
        *self.shelf.slipped_in.lock() = None;
        self.inside.save(stored)
    }

    fn remove(&mut self) -> Result<()> {
        assert_unlocked();
        *self.shelf.slipped_in.lock() = None;
        self.inside.remove()
    }
}

/// A token that is renewed with a refresh token, as `FileStore` writes it.
pub(super) fn stored(number: usize) -> Stored {
    let text = format!(r#"{{"version":1,"access_token":"t{number}","refresh_token":"r{number}"}}"#);
    Stored::from_text(&text).expect("as FileStore writes it")
}

impl Shelf {
    pub(super) fn new() -> Self {
        Shelf { memory: MemoryStore::new(), slipped_in: Arc::default() }
    }

    pub(super) fn put(&self, number: usize) {
        let mut inside = self.memory.exclusive(LONG).expect("nobody is inside");
        inside.save(&stored(number)).expect("it is in memory");
    }

    /// Past the exclusive section, as somebody does who copies files.
    pub(super) fn slip_in(&self, number: usize) {
        *self.slipped_in.lock() = Some(stored(number));
    }

    pub(super) fn stored(&self) -> Option<Stored> {
        self.memory.load().expect("it is in memory")
    }

    pub(super) fn secret(&self) -> Option<String> {
        self.stored()?.to_token().ok().map(|token| token.secret().to_owned())
    }
}

/// Two sessions on one store, as two processes have them, and one server that numbers its tokens.
fn two_desks(shelf: &Shelf) -> [Desk; 2] {
    let issued = Arc::new(PlainCounter::new(0));
    [(), ()].map(|()| {
        let issued = Arc::clone(&issued);
        let source = move |_| Ok(token(issued.fetch_add(1, Ordering::SeqCst) + 1));
        Desk::stored(PlainClock::default(), source, shelf.clone())
    })
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

/// Rules 2, 3: two sessions on one store find their token refused. One of their flights fetches the next one, the other takes
/// it from the store.
pub(super) fn session_store_is_shared(threads: usize) {
    let shelf = Shelf::new();
    shelf.put(0);
    let desks = two_desks(&shelf);
    let held = desks.each_ref().map(|desk| (desk.session.clone(), desk.session.current().expect("it was stored")));
    let tokens = crowd(threads, move |number| {
        let [one, other] = &held;
        let (session, refused) = if number == 0 { one } else { other };
        let token = session.rejected(refused).unwrap_or_else(|error| panic!("rule 8: {error}"));
        token.secret().to_owned()
    });
    assert!(tokens.iter().all(|token| token == "t1"), "rule 3: {tokens:?}");
    let [one, other] = &desks;
    assert_eq!(one.fetches() + other.fetches(), 1, "rule 2: one flight across both");
    assert_eq!(shelf.secret().as_deref(), Some("t1"));
    desks.iter().for_each(Desk::nobody_overslept);
}

/// Rules 2, 6: one session logs out while another on the same store refreshes. The other has its token or learns of the
/// logout; in the end the store is empty, and so, at their next refresh, are both.
pub(super) fn session_store_logout_elsewhere(threads: usize) {
    let shelf = Shelf::new();
    shelf.put(0);
    let desks = two_desks(&shelf);
    let held = desks.each_ref().map(|desk| (desk.session.clone(), desk.session.current().expect("it was stored")));
    let answers = crowd(threads, move |number| {
        let [(one, _), (other, refused)] = &held;
        if number == 0 {
            one.end().expect("the store is there");
            return Err(ErrorKind::LoggedOut);
        }
        other.rejected(refused).map(|token| token.secret().to_owned()).map_err(|error| error.kind())
    });
    let known = |answer: &std::result::Result<String, _>| match answer {
        Ok(token) => token == "t1",
        Err(kind) => *kind == ErrorKind::LoggedOut,
    };
    assert!(answers.iter().all(known), "rule 6: {answers:?}");
    assert_eq!(shelf.secret(), None, "a logout is undone");
    let [one, other] = &desks;
    if let Some(current) = other.session.current() {
        let answer = other.session.rejected(&current).map(drop).map_err(|error| error.kind());
        assert_eq!(answer, Err(ErrorKind::LoggedOut), "rule 6: a logout is not heard of");
    }
    assert_eq!(one.session.token().map(drop).map_err(|error| error.kind()), Err(ErrorKind::LoggedOut));
    assert!(one.fetches() == 0 && other.fetches() <= 1, "nothing is sent after a logout");
    desks.iter().for_each(Desk::nobody_overslept);
}
