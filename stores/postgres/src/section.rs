//! The exclusive section: a transaction that has the row locked.

use std::time::Duration;

use postgres::types::Type;
use postgres::{Client, Row};
use ureq_auth::{Error, Exclusive, Result, Stored, TokenStore as _};

use crate::PostgresStore;
use crate::link::Link;

pub(crate) struct Section<'a> {
    store: &'a PostgresStore,
    link: Link,
    /// Of the row, when it was last locked or saved.
    version: i64,
    is_locked: bool,
    /// The connection is gone, and the lock with it.
    is_lost: bool,
}

type Answer<T> = std::result::Result<T, postgres::Error>;

impl<'a> Section<'a> {
    pub(crate) fn enter(store: &'a PostgresStore, timeout: Duration) -> Result<Self> {
        let link = store.link()?;
        let mut section = Section { store, link, version: 0, is_locked: false, is_lost: false };
        section.version = section.lock(timeout)?;
        section.is_locked = true;
        Ok(section)
    }

    /// Locks the row, and gives back its version.
    fn lock(&mut self, timeout: Duration) -> Result<i64> {
        let (name, table, schema) = (self.store.name.clone(), self.store.table.clone(), self.store.schema());
        let call = self.store.timeout;
        let job = move |client: &mut Client| -> Answer<Option<i64>> {
            // For the table, for the row, and with both.
            for attempt in 0..3 {
                match try_lock(client, &table, &name, timeout, call) {
                    Ok(Some(version)) => return Ok(Some(version)),
                    Ok(None) if attempt < 2 => {
                        client.batch_execute("ROLLBACK")?;
                        let insert = format!("INSERT INTO {table} (name) VALUES ($1) ON CONFLICT DO NOTHING");
                        client.query_typed(&insert, &[(&name, Type::TEXT)])?;
                    }
                    Err(error) if error.code() == Some(&postgres::error::SqlState::UNDEFINED_TABLE) && attempt < 2 => {
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
            try_lock(client, &table, &name, timeout, call)
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
        self.is_lost = true;
        Err(self.lost())
    }

    fn lost(&self) -> Error {
        Error::store_busy(format!("the lock on {} is lost, with its connection or to another host", self.store.place()))
    }

    fn write(&mut self, text: Option<String>) -> Result<()> {
        self.under_lock()?;
        let (name, version) = (self.store.name.clone(), self.version);
        let update = format!(
            "UPDATE {} SET token = $2, version = version + 1 WHERE name = $1 AND version = $3 RETURNING version",
            self.store.table
        );
        // Two answers.
        let written = self.answer(2 * self.store.timeout, move |client| {
            let text = text.map(zeroize::Zeroizing::new);
            let text = text.as_ref().map(|text| text.as_str());
            let row = client.query_typed(&update, &[(&name, Type::TEXT), (&text, Type::TEXT), (&version, Type::INT8)]);
            let row = row.and_then(|rows| {
                client.batch_execute("COMMIT")?;
                rows.first().map(|row| row.try_get::<_, i64>(0)).transpose()
            });
            if row.is_err() {
                let _may_be_closed = client.batch_execute("ROLLBACK");
            }
            row
        });
        // By commit or by rollback.
        self.is_locked = false;
        match written? {
            Some(version) => {
                self.version = version;
                Ok(())
            }
            None => Err(self.lost()),
        }
    }
}

fn try_lock(client: &mut Client, table: &str, name: &str, timeout: Duration, call: Duration) -> Answer<Option<i64>> {
    let milliseconds = |time: Duration| time.as_millis().clamp(1, 2_000_000_000);
    client.batch_execute(&format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}; \
         SET LOCAL idle_in_transaction_session_timeout = 0; \
         SELECT set_config('transaction_timeout', '0', true) WHERE current_setting('transaction_timeout', true) IS NOT NULL; \
         SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'",
        milliseconds(timeout),
        milliseconds(timeout.saturating_add(call))
    ))?;
    let lock = format!("SELECT version FROM {table} WHERE name = $1 FOR UPDATE");
    let rows = client.query_typed(&lock, &[(&name, Type::TEXT)])?;
    rows.first().map(|row| row.try_get(0)).transpose()
}

/// The first column, which is a token's text or null.
pub(crate) fn read(row: &Row) -> Result<Option<Stored>> {
    let text: Option<String> =
        row.try_get(0).map_err(|_| Error::store("the column token is no text: it is another program's table"))?;
    text.map(zeroize::Zeroizing::new).map(|text| Stored::from_text(&text)).transpose()
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
        rows.first().map_or(Ok(None), read)
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

    fn hold_for(&mut self, _: Duration) -> Result<()> {
        self.under_lock()?;
        self.answer(self.store.timeout, |client| client.batch_execute("SELECT 1"))
            .map_err(|error| if self.is_lost { self.lost() } else { error })
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
        if self.is_locked && !self.is_lost {
            // Here, so that it is over when this returns. The connection's end would do it too.
            let _ends_with_the_connection =
                self.link.call(self.store.timeout, |client| client.batch_execute("ROLLBACK"));
        }
    }
}
