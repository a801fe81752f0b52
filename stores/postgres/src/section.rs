//! The exclusive section: a transaction that has the row locked, and a claim in the row while a token request is under way.
//!
//! The lock ends with its connection, and so with the engine: then the claim keeps the others out. Both are needed, for a
//! claim has an end, and a holder that is stopped does not see it.

use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use postgres::error::SqlState;
use postgres::types::Type;
use ureq_auth::{Error, Exclusive, Result, Stored, TokenStore as _};

use crate::PostgresStore;
use crate::left::Claim;
use crate::link::Link;
use crate::row::{self, Answer, Locked};

/// The pauses between two looks at another's claim: from here, doubled each time, up to there.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Section<'a> {
    store: &'a PostgresStore,
    link: Link,
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
        let (name, link) = (i64::from_ne_bytes(name), store.link()?);
        let mut section = Section {
            store,
            link,
            name,
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
            self.link.is_in_transaction(true);
            // Looked at before: what is left after that may be in the row by then.
            let left_behind = self.store.left.all();
            let locked = self.lock_once(left)?;
            let ours = left_behind.iter().find(|ours| Some(ours.name) == locked.claim).copied();
            self.store.left.keep(&left_behind, ours);
            if locked.claim.is_none_or(|claim| claim == self.name) {
                return Ok(locked.version);
            }
            if let Some(ours) = ours {
                (self.took_over, self.owes_save) = (Some(ours.name), ours.owes_save);
                return Ok(locked.version);
            }
            self.answer(self.store.timeout, |client| client.batch_execute("ROLLBACK"))?;
            self.link.is_in_transaction(false);
            if left.is_zero() {
                return Err(Error::store_busy(format!(
                    "another host has {} claimed: it refreshes the token, or has died in that, and its claim runs out",
                    self.store.place()
                )));
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn lock_once(&mut self, timeout: Duration) -> Result<Locked> {
        let (name, table, schema) = (self.store.name.clone(), self.store.table.clone(), self.store.schema());
        let call = self.store.timeout;
        let job = move |client: &mut Client| -> Answer<Option<Locked>> {
            // For the table, for the row, and with both.
            for attempt in 0..3 {
                match row::lock(client, &table, &name, timeout, call) {
                    Ok(Some(locked)) => return Ok(Some(locked)),
                    Ok(None) if attempt < 2 => {
                        client.batch_execute("ROLLBACK")?;
                        let insert = format!("INSERT INTO {table} (name) VALUES ($1) ON CONFLICT DO NOTHING");
                        client.query_typed(&insert, &[(&name, Type::TEXT)])?;
                    }
                    Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) && attempt < 2 => {
                        client.batch_execute("ROLLBACK")?;
                        // Somebody else may be at it: then it is there.
                        let _may_be_there = client.batch_execute(&schema);
                    }
                    Err(error) => {
                        client.batch_execute("ROLLBACK")?;
                        return Err(error);
                    }
                    Ok(None) => {}
                }
            }
            client.batch_execute("ROLLBACK")?;
            row::lock(client, &table, &name, timeout, call)
        };
        // The engine's own time-outs come first.
        self.answer(timeout.saturating_add(2 * call), job)?.ok_or_else(|| {
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
        if self.is_lost {
            return Err(self.lost());
        }
        let (answer, is_closed) = self
            .link
            .call(timeout, move |client| {
                let answer = job(client);
                (answer, client.is_closed())
            })
            .inspect_err(|_| self.is_lost = true)?;
        self.is_lost |= is_closed;
        answer.map_err(|error| self.store.failed(&error))
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

    /// A save takes the claim out of the row in the same step.
    fn write(&mut self, text: Option<String>) -> Result<()> {
        // Without a claim of its own, nothing was sent.
        self.owes_save |= text.is_some() && self.has_claim;
        self.under_lock()?;
        let (name, table, version) = (self.store.name.clone(), self.store.table.clone(), self.version);
        // Two answers.
        let written =
            self.answer(2 * self.store.timeout, move |client| row::write(client, &table, &name, version, text));
        // By commit or by rollback.
        self.is_locked = false;
        match written? {
            Some(version) => {
                self.link.is_in_transaction(false);
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
            // To look is no harm: whoever has the lock now may have a token for all.
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
        let (time, call) = (needed.saturating_add(self.store.margin), self.store.timeout);
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

    fn save(&mut self, stored: &Stored) -> Result<()> {
        self.write(Some(stored.to_text().to_string()))
    }

    fn remove(&mut self) -> Result<()> {
        self.write(None)
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let (name, table, claim) = (self.store.name.clone(), self.store.table.clone(), self.name);
        let (took_over, gives_up) = (self.took_over, (self.has_claim || self.took_over.is_some()) && !self.owes_save);
        let mut is_free = !self.has_claim;
        if self.is_locked && !self.is_lost {
            // Here, so that it is over when this returns. The connection's end would do it too.
            let done = self.link.call(2 * self.store.timeout, move |client| match gives_up {
                true => row::give_up(client, &table, &name, claim, took_over),
                false => client.batch_execute("ROLLBACK"),
            });
            let is_done = matches!(done, Ok(Ok(())));
            is_free |= gives_up && is_done;
            self.link.is_in_transaction(!is_done);
        }
        if !is_free {
            self.store.left.leave(Claim { name: claim, owes_save: self.owes_save });
        }
    }
}
