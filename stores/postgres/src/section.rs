//! The exclusive section: a transaction that has the row locked, and a claim in the row while a token request is under way.
//!
//! The lock ends with its connection, and so with the engine: then the claim keeps the others out. Both are needed, for a
//! claim has an end, and a holder that is stopped does not see it.

use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use postgres::error::SqlState;
use postgres::types::Type;
use ureq_auth::{Error, ErrorKind, Exclusive, Result, Stored, TokenStore as _};

use crate::PostgresStore;
use crate::left::Claim;
use crate::link::Link;
use crate::row::{self, Answer, Locked};

/// The pauses between two looks at another's claim: from here, doubled each time, up to there.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// For how long a wait for another's lock has a connection, before others may use that.
const ONE_WAIT: Duration = Duration::from_secs(1);

pub(crate) struct Section<'a> {
    store: &'a PostgresStore,
    /// None while this section waits for another's claim, and once the connection is closed.
    link: Option<Link>,
    /// What this section's claim is called.
    name: i64,
    /// Of the row, when it was last locked or saved.
    version: i64,
    is_locked: bool,
    /// The connection is gone, and the lock with it.
    is_lost: bool,
    /// There may be a claim of this section's in the row.
    has_claim: bool,
    /// The claim in the row is one that an earlier section of this store has left: this one.
    took_over: Option<i64>,
    /// A token could not be saved, here or in the section whose claim this one took over: nobody may spend the one that it has
    /// replaced. So nothing is sent before a save, and the claim stays, for the store's next section.
    owes_save: bool,
}

impl<'a> Section<'a> {
    pub(crate) fn enter(store: &'a PostgresStore, timeout: Duration) -> Result<Self> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| Error::store(format!("the system has no randomness: {error}")))?;
        let mut section = Section {
            store,
            link: None,
            name: i64::from_ne_bytes(name),
            version: 0,
            is_locked: false,
            is_lost: false,
            has_claim: false,
            took_over: None,
            owes_save: false,
        };
        section.version = section.lock(timeout)?;
        section.is_locked = true;
        Ok(section)
    }

    /// Locks the row, waits for the end of another's claim, and gives back the row's version.
    fn lock(&mut self, timeout: Duration) -> Result<i64> {
        let (begin, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let left = timeout.saturating_sub(begin.elapsed());
            let is_in_the_way = match self.look(left.min(ONE_WAIT)) {
                Ok(Some(version)) => return Ok(version),
                Ok(None) => Error::store_busy(format!(
                    "another host has {} claimed: it refreshes the token, or has died in that, and its claim runs out",
                    self.store.place()
                )),
                // No connection is free, or somebody else has the row locked.
                Err(error) if error.kind() == ErrorKind::Timeout && !self.is_lost => error,
                Err(error) => return Err(error),
            };
            // Others may use it meanwhile.
            self.give_back()?;
            if left.is_zero() {
                return Err(is_in_the_way);
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Locks the row and gives back its version, if it is not claimed by another.
    fn look(&mut self, timeout: Duration) -> Result<Option<i64>> {
        // Looked at before: what is left after that may be in the row by then.
        let left_behind = self.store.left.all();
        let Locked { version, claim } = self.lock_once(timeout)?;
        let ours = left_behind.iter().find(|ours| Some(ours.name) == claim).copied();
        self.store.left.keep(&left_behind, ours);
        if let Some(ours) = ours {
            (self.took_over, self.owes_save) = (Some(ours.name), ours.owes_save);
        }
        let is_free = ours.is_some() || claim.is_none_or(|claim| claim == self.name);
        Ok(is_free.then_some(version))
    }

    fn give_back(&mut self) -> Result<()> {
        if self.link.as_ref().is_some_and(Link::may_be_in_transaction) {
            self.answer(self.store.timeout, |client| client.batch_execute("ROLLBACK"))?;
            self.may_be_in_transaction(false);
        }
        self.link = None;
        Ok(())
    }

    fn may_be_in_transaction(&self, may_be: bool) {
        if let Some(link) = &self.link {
            link.is_in_transaction(may_be);
        }
    }

    fn lock_once(&mut self, timeout: Duration) -> Result<Locked> {
        let (name, table, schema) = (self.store.name.clone(), self.store.table.clone(), self.store.schema());
        let call = self.store.timeout;
        if self.link.is_none() && !self.is_lost {
            self.link = Some(self.store.link()?);
        }
        self.may_be_in_transaction(true);
        let job = move |client: &mut Client| -> Answer<Option<Locked>> {
            // For the table, for the row, with both, and once more where others are at it as well.
            for is_last in [false, false, false, true] {
                let locked = row::lock(client, &table, &name, timeout, call);
                if let Ok(Some(locked)) = locked {
                    return Ok(Some(locked));
                }
                client.batch_execute("ROLLBACK")?;
                match locked {
                    Ok(_) if !is_last => {
                        let insert = format!("INSERT INTO {table} (name) VALUES ($1) ON CONFLICT DO NOTHING");
                        client.query_typed(&insert, &[(&name, Type::TEXT)])?;
                    }
                    Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) && !is_last => {
                        // Somebody else may be at it: then it is there.
                        let _may_be_there = client.batch_execute(&schema);
                    }
                    locked => return locked,
                }
            }
            Ok(None)
        };
        // The engine's own time-outs come first.
        let locked = self.answer(timeout.saturating_add(2 * call), job);
        self.may_be_in_transaction(matches!(locked, Ok(Some(_))));
        locked?.ok_or_else(|| {
            // Without a row there is no lock on one.
            Error::store(format!(
                "{} cannot be seen after it was put there: see the table's policies",
                self.store.place()
            ))
        })
    }

    fn answer<T: Send + 'static>(
        &mut self,
        timeout: Duration,
        job: impl FnOnce(&mut Client) -> Answer<T> + Send + 'static,
    ) -> Result<T> {
        let Some(link) = self.link.as_ref().filter(|_| !self.is_lost) else { return Err(self.lost()) };
        let answer = link.call(timeout, move |client| {
            let answer = job(client);
            (answer, client.is_closed())
        });
        if !matches!(answer, Ok((_, false))) {
            // The lock went with it, and so may its place in the pool.
            self.is_lost = true;
            self.link = None;
        }
        answer?.0.map_err(|error| self.store.failed(&error))
    }

    /// The row is locked, and nobody has saved since this section last knew.
    fn under_lock(&mut self) -> Result<()> {
        if self.is_locked {
            return Ok(());
        }
        let version = self.lock(self.store.timeout)?;
        self.is_locked = true;
        if version == self.version {
            return Ok(());
        }
        Err(self.lose())
    }

    fn lost(&self) -> Error {
        Error::store_busy(format!("the lock on {} is lost, with its connection or to another host", self.store.place()))
    }

    /// What this section holds on to is another's by now, or there is nothing to hold on to.
    fn lose(&mut self) -> Error {
        (self.is_lost, self.owes_save) = (true, false);
        self.lost()
    }

    fn is_there(&mut self, text: &str) -> bool {
        matches!(self.load(), Ok(Some(found)) if found.to_text().as_str() == text)
    }

    /// A save takes the claim out of the row in the same step.
    fn write(&mut self, text: Option<String>) -> Result<()> {
        self.under_lock()?;
        let (name, table, version) = (self.store.name.clone(), self.store.table.clone(), self.version);
        // Two answers.
        let written =
            self.answer(2 * self.store.timeout, move |client| row::write(client, &table, &name, version, text));
        // By commit or by rollback.
        self.is_locked = false;
        match written? {
            Some(version) => {
                self.may_be_in_transaction(false);
                (self.version, self.has_claim, self.took_over, self.owes_save) = (version, false, None, false);
                Ok(())
            }
            None => Err(self.lose()),
        }
    }
}

impl Exclusive for Section<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        if self.is_lost {
            // To look is no harm: whoever has the lock now may have a token for all. One connection has to do.
            self.link = None;
            return self.store.load();
        }
        self.under_lock()?;
        let (query, name) =
            (format!("SELECT token FROM {} WHERE name = $1", self.store.table), self.store.name.clone());
        let rows = self.answer(self.store.timeout, move |client| client.query_typed(&query, &[(&name, Type::TEXT)]))?;
        rows.first().map_or(Ok(None), row::read)
    }

    /// That the row can be written to, in a part of the transaction that is taken back.
    fn prepare(&mut self) -> Result<()> {
        self.under_lock()?;
        let (name, table) = (self.store.name.clone(), self.store.table.clone());
        // Three answers.
        self.answer(2 * self.store.timeout, move |client| {
            client.batch_execute("SAVEPOINT prepare")?;
            let update = format!("UPDATE {table} SET token = token WHERE name = $1");
            let written = client.query_typed(&update, &[(&name, Type::TEXT)]);
            client.batch_execute("ROLLBACK TO prepare")?;
            written
        })
        .map(drop)
    }

    /// Commits a claim, and locks the row again. Who was in between has seen the claim, and has let go.
    fn hold_for(&mut self, needed: Duration) -> Result<()> {
        self.under_lock()?;
        if self.owes_save {
            return Err(Error::store_busy(format!(
                "{} has been replaced, and its successor is not saved yet: the session that has that saves it with its next call",
                self.store.place()
            )));
        }
        let (name, table, claim, version) =
            (self.store.name.clone(), self.store.table.clone(), self.name, self.version);
        let call = self.store.timeout;
        // A save may wait for a call before it fails, and can be made up for.
        let time = needed.saturating_add(self.store.margin).saturating_add(call);
        self.has_claim = true;
        // The claim, and the lock with the engine's own time-outs.
        let locked = self.answer(4 * call, move |client| {
            row::claim(client, &table, &name, claim, time)?;
            row::lock(client, &table, &name, call, call)
        });
        self.is_locked = matches!(locked, Ok(Some(_)));
        match locked {
            Ok(Some(locked)) if locked.claim == Some(claim) && locked.version == version => {
                self.took_over = None;
                Ok(())
            }
            Err(error) if !self.is_lost => {
                self.is_lost = true;
                Err(error)
            }
            _ => {
                self.is_lost = true;
                Err(self.lost())
            }
        }
    }

    /// If its connection has gone, and the lock with it, the claim still keeps the others out: it is done again on another one.
    /// The session may make no call in time that would make up for it.
    fn save(&mut self, stored: &Stored) -> Result<()> {
        // Without a claim of its own, nothing was sent. A mark that a token is refused has none that replaces it.
        self.owes_save |= self.has_claim && !stored.is_refused();
        let (text, begin) = (stored.to_text(), Instant::now());
        // What was lost before may be another's by now.
        let stood = self.owes_save && !self.is_lost;
        loop {
            let written = self.write(Some(text.to_string()));
            // The row is past its version. By a commit whose answer was lost, perhaps, and that was this section's.
            if written.is_err() && stood && !self.owes_save && self.is_there(&text) {
                (self.has_claim, self.took_over) = (false, None);
                return Ok(());
            }
            if written.is_ok() || !stood || !self.owes_save || begin.elapsed() >= self.store.timeout {
                return written;
            }
            (self.link, self.is_locked, self.is_lost) = (None, false, false);
            thread::sleep(LONGEST_PAUSE);
        }
    }

    fn remove(&mut self) -> Result<()> {
        self.write(None)
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let (table, name, claim, took_over) =
            (self.store.table.clone(), self.store.name.clone(), self.name, self.took_over);
        let (is_locked, call) = (self.is_locked, self.store.timeout);
        let gives_up = (self.has_claim || self.took_over.is_some()) && !self.owes_save;
        let mut is_free = !self.has_claim;
        let link = self.link.take();
        if let Some(link) = link.filter(|link| gives_up || link.may_be_in_transaction()) {
            // Here, so that it is over when this returns. The connection's end would do it too, but for the claim.
            let answers = if gives_up && !is_locked { 4 } else { 2 };
            let done = link.call(answers * call, move |client| {
                if gives_up && is_locked && row::give_up(client, &table, &name, claim, took_over).is_ok() {
                    return Ok(());
                }
                client.batch_execute("ROLLBACK")?;
                if gives_up {
                    row::begin(client, call, call)?;
                    row::give_up(client, &table, &name, claim, took_over)?;
                }
                Ok::<_, postgres::Error>(())
            });
            let is_done = matches!(done, Ok(Ok(())));
            is_free |= gives_up && is_done;
            link.is_in_transaction(!is_done);
        }
        if !is_free {
            self.store.left.leave(Claim { name: claim, owes_save: self.owes_save });
        }
    }
}
