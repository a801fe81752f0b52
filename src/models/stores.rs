//! The session's store, where several things happen to it at once.

use std::sync::Arc;
use std::time::Duration;

use super::refreshes::{Desk, token};
use super::{PlainClock, crowd};
use crate::store::{Exclusive, Stored, TokenStore};
use crate::sync::{self, Condvar, Mutex};
use crate::{Error, ErrorKind, Result};

/// A store whose exclusive section is waited for without an end: `MemoryStore` waits with a time-out, which cannot be
/// modelled. The time-out does not come here: nobody stays inside.
#[derive(Clone)]
struct Shelf(Arc<State>);

struct State {
    content: Mutex<Content>,
    left: Condvar,
}

#[derive(Default)]
struct Content {
    stored: Option<Stored>,
    busy: bool,
}

impl Shelf {
    fn new() -> Self {
        Shelf(Arc::new(State { content: Mutex::new(Content::default()), left: Condvar::new() }))
    }

    fn secret(&self) -> Option<String> {
        let stored = self.0.content.lock().stored.clone()?;
        stored.to_token().ok().map(|token| token.secret().to_owned())
    }
}

impl TokenStore for Shelf {
    fn load(&self) -> Result<Option<Stored>> {
        Ok(self.0.content.lock().stored.clone())
    }

    fn exclusive(&self, _: Duration) -> Result<Box<dyn Exclusive + '_>> {
        let mut content = self.0.content.lock();
        while content.busy {
            sync::wait(&self.0.left, &mut content, None);
        }
        content.busy = true;
        Ok(Box::new(Inside(&self.0)))
    }
}

struct Inside<'a>(&'a State);

impl Exclusive for Inside<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        Ok(self.0.content.lock().stored.clone())
    }

    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        self.0.content.lock().stored = Some(stored.clone());
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        self.0.content.lock().stored = None;
        Ok(())
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.content.lock().busy = false;
        self.0.left.notify_all();
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
