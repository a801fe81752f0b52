//! The statements on the row. All but [`lock`] run under its lock.

use std::time::Duration;

use postgres::types::Type;
use postgres::{Client, Row};
use ureq_auth::{Error, Result, Stored};

pub(crate) type Answer<T> = std::result::Result<T, postgres::Error>;

/// The row, once it is locked.
pub(crate) struct Locked {
    pub(crate) version: i64,
    /// Whose token request may be under way.
    pub(crate) claim: Option<i64>,
}

/// Begins a transaction that waits for the row for no longer than this, and for an answer.
pub(crate) fn begin(client: &mut Client, timeout: Duration, call: Duration) -> Answer<()> {
    // A connection whose host has died is found out in half a minute, and not in two hours. Where it is no TCP, that is ignored.
    client.batch_execute(&format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}; \
         SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL tcp_keepalives_idle = 10; \
         SET LOCAL tcp_keepalives_interval = 5; SET LOCAL tcp_keepalives_count = 4; \
         SELECT set_config('transaction_timeout', '0', true) WHERE current_setting('transaction_timeout', true) IS NOT NULL; \
         SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'",
        milliseconds(timeout),
        milliseconds(timeout.saturating_add(call))
    ))
}

/// Begins a transaction and locks the row in it. `None`: there is no row.
pub(crate) fn lock(
    client: &mut Client,
    table: &str,
    name: &str,
    timeout: Duration,
    call: Duration,
) -> Answer<Option<Locked>> {
    begin(client, timeout, call)?;
    let lock = format!(
        "SELECT version, CASE WHEN claimed_until > clock_timestamp() THEN claim END FROM {table} WHERE name = $1 FOR UPDATE"
    );
    let rows = client.query_typed(&lock, &[(&name, Type::TEXT)])?;
    rows.first().map(|row| Ok(Locked { version: row.try_get(0)?, claim: row.try_get(1)? })).transpose()
}

/// Puts a claim into the row for so long, by the engine's clock. That ends the transaction.
pub(crate) fn claim(client: &mut Client, table: &str, name: &str, claim: i64, time: Duration) -> Answer<()> {
    let update = format!(
        "UPDATE {table} SET claim = $2, claimed_until = clock_timestamp() + $3 * interval '1 millisecond' WHERE name = $1"
    );
    #[allow(clippy::cast_possible_wrap, reason = "it is clamped")]
    let time = milliseconds(time) as i64;
    let done = client.query_typed(&update, &[(&name, Type::TEXT), (&claim, Type::INT8), (&time, Type::INT8)]);
    end(client, done.map(drop))
}

/// Takes the claim out of the row, or the one that it took over. That ends the transaction.
pub(crate) fn give_up(client: &mut Client, table: &str, name: &str, claim: i64, took_over: Option<i64>) -> Answer<()> {
    let update = format!("UPDATE {table} SET claim = NULL, claimed_until = NULL WHERE name = $1 AND claim IN ($2, $3)");
    let took_over = took_over.unwrap_or(claim);
    let done = client.query_typed(&update, &[(&name, Type::TEXT), (&claim, Type::INT8), (&took_over, Type::INT8)]);
    end(client, done.map(drop))
}

/// Saves the text, or none, if the row has this version, and takes the claim out. That ends the transaction. Gives back the
/// new version.
pub(crate) fn write(
    client: &mut Client,
    table: &str,
    name: &str,
    version: i64,
    text: Option<String>,
) -> Answer<Option<i64>> {
    let update = format!(
        "UPDATE {table} SET token = $2, version = version + 1, claim = NULL, claimed_until = NULL \
         WHERE name = $1 AND version = $3 RETURNING version"
    );
    let text = text.map(zeroize::Zeroizing::new);
    let text = text.as_ref().map(|text| text.as_str());
    let done = client.query_typed(&update, &[(&name, Type::TEXT), (&text, Type::TEXT), (&version, Type::INT8)]);
    let version = done.and_then(|rows| rows.first().map(|row| row.try_get::<_, i64>(0)).transpose());
    end(client, version)
}

/// The first column, which is a token's text or null.
pub(crate) fn read(row: &Row) -> Result<Option<Stored>> {
    let text: Option<String> =
        row.try_get(0).map_err(|_| Error::store("the column token is no text: it is another program's table"))?;
    text.map(zeroize::Zeroizing::new).map(|text| Stored::from_text(&text)).transpose()
}

/// Commits what was done, or takes it back.
fn end<T>(client: &mut Client, done: Answer<T>) -> Answer<T> {
    let done = done.and_then(|done| client.batch_execute("COMMIT").map(|()| done));
    if done.is_err() {
        let _may_be_closed = client.batch_execute("ROLLBACK");
    }
    done
}

fn milliseconds(time: Duration) -> u128 {
    time.as_millis().clamp(1, 2_000_000_000)
}
