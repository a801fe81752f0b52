//! Stores that are broken on purpose, each in one way.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use ureq_auth::store_kit::Bench;
use ureq_auth::{Error, Exclusive, Result, Stored, TokenStore};

use crate::flaws::Flaw;

/// A text in memory, under a lease that the bench can take away.
pub(crate) struct Shelf {
    inner: Arc<Inner>,
    /// Another login's.
    other: Option<Arc<Inner>>,
    number: u64,
    /// The section of this value's that owes a save, and has kept the lease for the next one.
    owing: Mutex<Option<u64>>,
    /// What this value has read or saved, for the flaws that remember it.
    known: Mutex<Option<Option<String>>>,
}

struct Inner {
    flaw: Flaw,
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    text: Option<String>,
    /// What could not be read.
    aside: Option<String>,
    fails: bool,
    is_cut: bool,
    has_panicked: bool,
    holder: Option<Holder>,
    sections: u64,
    values: u64,
}

#[derive(Clone, Copy)]
struct Holder {
    section: u64,
    value: u64,
    thread: ThreadId,
}

impl State {
    fn is_held_by(&self, section: u64) -> bool {
        self.holder.is_some_and(|holder| holder.section == section)
    }
}

impl Shelf {
    pub(crate) fn new(flaw: Flaw) -> Self {
        let inner = || Arc::new(Inner { flaw, state: Mutex::default(), left: Condvar::new() });
        Self::of(inner(), Some(inner()))
    }

    fn of(inner: Arc<Inner>, other: Option<Arc<Inner>>) -> Self {
        let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.values += 1;
        let number = state.values;
        drop(state);
        Shelf { inner, other, number, owing: Mutex::default(), known: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.inner.flaw == flaw
    }

    /// Those that let two in do not hold it against either.
    fn lets_two_in(&self) -> bool {
        [Flaw::NoLock, Flaw::LockPerValue, Flaw::ReentrantValue, Flaw::ReentrantThread].contains(&self.inner.flaw)
    }

    fn is_taken(&self, state: &State) -> bool {
        let owing = *self.owing.lock().unwrap();
        state.holder.is_some_and(|holder| match self.inner.flaw {
            Flaw::NoLock => false,
            Flaw::LockPerValue => holder.value == self.number,
            Flaw::ReentrantValue => holder.value != self.number,
            Flaw::ReentrantThread => holder.thread != thread::current().id(),
            _ => owing != Some(holder.section),
        })
    }

    fn read(&self) -> Result<Option<Stored>> {
        let state = self.state();
        if state.is_cut {
            return if self.is(Flaw::CutIsEmpty) { Ok(None) } else { Err(Error::store("nobody answers")) };
        }
        let mut text = state.text.clone();
        drop(state);
        let known = self.known.lock().unwrap().clone();
        match self.inner.flaw {
            Flaw::SavesForItself => text = known.flatten(),
            Flaw::RemoveHides if known == Some(None) => text = None,
            _ => {}
        }
        match text.as_deref() {
            None if self.is(Flaw::EmptyIsError) => Err(Error::store("there is no token")),
            None => Ok(None),
            Some("") if self.is(Flaw::BlankIsEmpty) => Ok(None),
            Some(text) => Stored::from_text(text).map(Some),
        }
    }

    /// As what it is read once more.
    fn read_known(&self) -> Result<Option<Stored>> {
        let read = self.read()?.map(|stored| stored.to_text().to_string());
        let known = self.known.lock().unwrap().get_or_insert(read).clone();
        known.as_deref().map(Stored::from_text).transpose()
    }
}

impl Bench for Shelf {
    fn open(&self) -> Box<dyn TokenStore> {
        Box::new(Shelf::of(Arc::clone(&self.inner), None))
    }

    fn open_other(&self) -> Option<Box<dyn TokenStore>> {
        let other = if self.is(Flaw::OneRow) { &self.inner } else { self.other.as_ref()? };
        Some(Box::new(Shelf::of(Arc::clone(other), None)))
    }

    fn put_text(&self, text: &str) -> bool {
        self.state().text = Some(text.to_owned());
        true
    }

    fn fail_saves(&self, fail: bool) -> bool {
        self.state().fails = fail;
        true
    }

    fn lose_section(&self) -> bool {
        self.state().holder = None;
        self.inner.left.notify_all();
        true
    }

    fn cut_off(&self, is_cut: bool) -> bool {
        self.state().is_cut = is_cut;
        true
    }
}

impl TokenStore for Shelf {
    fn load(&self) -> Result<Option<Stored>> {
        if self.is(Flaw::LoadWaits) {
            drop(self.inner.left.wait_while(self.state(), |state| state.holder.is_some()));
        }
        match self.read() {
            // A later version's stays an error: this one knows that much.
            Err(error) if self.is(Flaw::ForeignIsEmpty) && !is_later(&error) => Ok(None),
            Ok(_) if self.is(Flaw::Stale) => self.read_known(),
            read => read,
        }
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        // Where nobody ever leaves, the kit's patience need not be waited for.
        let timeout = match self.inner.flaw {
            Flaw::NeverLeft | Flaw::KeptByPanic | Flaw::KeptByFailure => timeout.min(Duration::from_millis(500)),
            Flaw::NeverWaits => Duration::ZERO,
            Flaw::NeverAtOnce if timeout.is_zero() => return Err(Error::store_busy("there is no time")),
            Flaw::WaitsForEver => Duration::MAX,
            _ => timeout,
        };
        assert!(!self.is(Flaw::PanicsAfterPanic) || !self.state().has_panicked, "the shelf is poisoned");
        let waited = self.inner.left.wait_timeout_while(self.state(), timeout, |state| self.is_taken(state));
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if self.is_taken(&state) {
            if self.is(Flaw::TimeoutFrees) {
                state.holder = None;
            }
            let message = "the shelf is somebody else's";
            return Err(if self.is(Flaw::OtherKind) { Error::store(message) } else { Error::store_busy(message) });
        }
        // A second one that comes in takes nothing over.
        let owes_save = state.holder.is_some() && !self.lets_two_in();
        state.sections += 1;
        let section = state.sections;
        state.holder = Some(Holder { section, value: self.number, thread: thread::current().id() });
        drop(state);
        Ok(Box::new(Section {
            shelf: self,
            number: section,
            has_sent: false,
            owes_save,
            has_saved: false,
            has_failed: false,
            has_asked: false,
            knows_of_loss: false,
            written: None,
        }))
    }
}

fn is_later(error: &Error) -> bool {
    error.to_string().contains("version 2")
}

struct Section<'a> {
    shelf: &'a Shelf,
    number: u64,
    has_sent: bool,
    owes_save: bool,
    has_saved: bool,
    has_failed: bool,
    has_asked: bool,
    knows_of_loss: bool,
    /// What is saved when the section ends.
    written: Option<String>,
}

impl<'a> Section<'a> {
    fn held(&self) -> Result<MutexGuard<'a, State>> {
        let state = self.shelf.state();
        let goes_on = self.shelf.is(Flaw::SaveEnds) && self.has_saved;
        let is_held = state.is_held_by(self.number) || self.shelf.lets_two_in() || goes_on;
        if is_held { Ok(state) } else { Err(Error::store_busy("the section is lost")) }
    }

    /// For a save, which may be late.
    fn held_to_save(&self) -> Result<MutexGuard<'a, State>> {
        let state = self.shelf.state();
        let is_let = match self.shelf.inner.flaw {
            Flaw::LateSave => true,
            Flaw::LateSaveIfFree => state.holder.is_none(),
            Flaw::LateSaveUnasked => !self.knows_of_loss,
            Flaw::LateSaveIfEmpty => state.text.is_none(),
            _ => false,
        };
        drop(state);
        if is_let { Ok(self.shelf.state()) } else { self.held() }
    }
}

impl Exclusive for Section<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        if let Some(written) = &self.written {
            return Stored::from_text(written).map(Some);
        }
        let read = if self.shelf.is(Flaw::StaleInside) { self.shelf.read_known() } else { self.shelf.read() };
        let Err(error) = read else { return read };
        let flaw = self.shelf.inner.flaw;
        let mut state = self.shelf.state();
        if is_later(&error) || state.is_cut || flaw == Flaw::EmptyIsError {
            return Err(error);
        }
        match flaw {
            Flaw::ForeignIsEmpty | Flaw::ForeignIsEmptyInside => return Ok(None),
            Flaw::ForeignGoes => state.text = None,
            _ => state.aside = state.text.take(),
        }
        Err(error)
    }

    fn prepare(&mut self) -> Result<()> {
        if self.shelf.is(Flaw::PrepareEmpties) {
            self.held()?.text = None;
        }
        Ok(())
    }

    fn hold_for(&mut self, _: Duration) -> Result<()> {
        let holder = Holder { section: self.number, value: self.shelf.number, thread: thread::current().id() };
        match self.shelf.inner.flaw {
            Flaw::AlwaysStands => return Ok(()),
            Flaw::Revives => drop(self.shelf.state().holder.get_or_insert(holder)),
            Flaw::OneHold if self.has_asked => return Err(Error::store_busy("there is no more time")),
            _ => {}
        }
        let stands = self.held().map(drop);
        self.knows_of_loss |= stands.is_err();
        stands?;
        if self.owes_save && !self.shelf.is(Flaw::SpendsOwed) {
            return Err(Error::store_busy("a save is owed"));
        }
        (self.has_sent, self.has_asked) = (true, true);
        Ok(())
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        let (flaw, text) = (self.shelf.inner.flaw, self.shelf.inner.flaw.kept(&stored.to_text()));
        if self.shelf.state().is_cut {
            self.owes_save |= self.has_sent;
            return Err(Error::store("nobody answers"));
        }
        if flaw == Flaw::OneSave && self.has_saved {
            return Err(Error::store("the transaction is over"));
        }
        if flaw == Flaw::SaveWaits {
            drop(self.shelf.inner.left.wait_while(self.shelf.state(), |state| state.holder.is_some()));
        }
        let mut state = self.held_to_save()?;
        if state.fails {
            drop(state);
            self.has_failed = true;
            match flaw {
                Flaw::SaveLosesTheOld => self.shelf.state().text = None,
                Flaw::SaveSwallows => return Ok(()),
                Flaw::Quotes => return Err(Error::store(format!("there is no room for {text}"))),
                _ => {}
            }
            return Err(Error::store("there is no room"));
        }
        if flaw == Flaw::HalfSaves {
            state.text = Some(text[..text.len() / 2].to_owned());
            drop(state);
            // So that it is seen: a disk is as slow.
            thread::sleep(Duration::from_millis(1));
            state = self.held()?;
        }
        if matches!(flaw, Flaw::Stale | Flaw::StaleInside | Flaw::SavesForItself) {
            *self.shelf.known.lock().unwrap() = Some(Some(text.clone()));
        }
        match flaw {
            Flaw::NoSave => {}
            Flaw::RemoveHides => {
                state.text = Some(text);
                *self.shelf.known.lock().unwrap() = None;
            }
            Flaw::SavesAtTheEnd => {
                drop(state);
                self.written = Some(text);
            }
            Flaw::SaveEnds => {
                state.text = Some(text);
                if state.is_held_by(self.number) {
                    state.holder = None;
                    self.shelf.inner.left.notify_all();
                }
            }
            _ => state.text = Some(text),
        }
        (self.has_sent, self.owes_save, self.has_saved) = (false, false, true);
        Ok(())
    }

    fn was_set_aside(&mut self) -> bool {
        self.shelf.is(Flaw::LogoutIsAside) || self.shelf.state().aside.is_some()
    }

    fn remove(&mut self) -> Result<()> {
        let flaw = self.shelf.inner.flaw;
        let mut state = match flaw {
            Flaw::LateRemove => self.shelf.state(),
            _ => self.held()?,
        };
        if state.fails {
            return if flaw == Flaw::RemoveSwallows { Ok(()) } else { Err(Error::store("it cannot be written to")) };
        }
        // For the flaws that go by what the value knows.
        *self.shelf.known.lock().unwrap() = Some(None);
        if !matches!(flaw, Flaw::RemoveStays | Flaw::RemoveHides) {
            state.text = None;
        }
        if flaw != Flaw::AsideStays {
            state.aside = None;
        }
        Ok(())
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let mut state = self.shelf.state();
        if let Some(written) = self.written.take() {
            state.text = Some(written);
        }
        state.has_panicked |= thread::panicking();
        let is_kept = match self.shelf.inner.flaw {
            Flaw::NeverLeft => true,
            Flaw::KeptByPanic => thread::panicking(),
            Flaw::KeptByFailure => self.has_failed,
            _ => false,
        };
        if state.is_held_by(self.number) && self.owes_save {
            *self.shelf.owing.lock().unwrap() = Some(self.number);
        } else if state.is_held_by(self.number) && !is_kept {
            state.holder = None;
            self.shelf.inner.left.notify_all();
        }
    }
}
