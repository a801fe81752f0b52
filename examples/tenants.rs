//! One program, many tenants: a session for each, made at its first call and dropped when it has been idle, and one pool of
//! connections for all of them.
//!
//! `cargo run --example tenants`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod loopback;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq_auth::oauth2::ClientCredentials;
use ureq_auth::{Client, Result, Session};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The clients of all tenants that have called lately.
struct Tenants {
    server: String,
    /// Its pool is everybody's. Its own token is this service's.
    first: Client,
    clients: Mutex<HashMap<String, (Client, Instant)>>,
}

impl Tenants {
    fn new(server: &str) -> Result<Self> {
        let own = ClientCredentials::new(format!("{server}/token"), "reports-service", "its secret");
        let first = Client::new(Session::new(own)?, server)?;
        Ok(Tenants { server: server.to_owned(), first, clients: Mutex::default() })
    }

    /// The tenant's client. Nothing is sent here, so the lock is held for a moment only: the tenant's first call gets the
    /// token, and if several threads make it at once, one of them.
    fn client(&self, tenant: &str, now: Instant) -> Result<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((client, used)) = clients.get_mut(tenant) {
            *used = now;
            return Ok(client.clone());
        }
        let source =
            ClientCredentials::new(format!("{}/token", self.server), tenant, secret_of(tenant)).secret_in_body();
        let client = self.first.with_session(Session::new(source)?)?;
        clients.insert(tenant.to_owned(), (client.clone(), now));
        Ok(client)
    }

    /// Forgets the tenants that have not called for so long: their tokens are wiped when the last call is over. (Where a
    /// refresh token must not be lost, the session needs a store.)
    fn drop_idle(&self, longest: Duration, now: Instant) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|_, (_, used)| now.saturating_duration_since(*used) < longest);
    }

    fn count(&self) -> usize {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// In a program of yours: from a vault, or a table.
fn secret_of(tenant: &str) -> String {
    format!("secret-of-{tenant}")
}

fn main() -> std::result::Result<(), Failure> {
    let server = loopback::serve(|path, authorization, body| match path {
        // Each client gets a token that shows whose it is.
        "/token" => {
            let mut fields = body.split('&').filter_map(|field| field.strip_prefix("client_id="));
            let token = format!("token-of-{}", fields.next_back().unwrap_or("nobody"));
            (200, format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#))
        }
        _ => (200, authorization.to_owned()),
    })?;
    let tenants = Tenants::new(&server)?;
    let names: Vec<String> = (1..=100).map(|number| format!("tenant-{number}")).collect();

    // Four threads, each with a call for every tenant.
    let begin = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| call_for_all(&tenants, &names, begin))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread has panicked")?)
    })?;
    let mut refreshes = 0;
    for name in &names {
        refreshes += tenants.client(name, begin)?.session().stats().refreshes;
    }
    println!("{} tenants, {refreshes} token requests, 400 calls", tenants.count());

    // A quarter of an hour later, two of them call again.
    let later = begin + Duration::from_secs(900);
    call_for_all(&tenants, names.get(..2).unwrap_or_default(), later)?;
    tenants.drop_idle(Duration::from_secs(600), later);
    println!("{} tenants are left", tenants.count());
    if refreshes == 100 && tenants.count() == 2 { Ok(()) } else { Err("one token request a tenant was enough".into()) }
}

fn call_for_all(tenants: &Tenants, names: &[String], now: Instant) -> std::result::Result<(), Failure> {
    for name in names {
        let client = tenants.client(name, now)?;
        // An error here is this tenant's alone.
        let seen = client.get(format!("{}/report", tenants.server)).call()?.body_mut().read_to_string()?;
        if seen != format!("Bearer token-of-{name}") {
            return Err(format!("{name} was taken for {seen}").into());
        }
    }
    Ok(())
}
