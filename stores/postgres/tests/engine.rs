//! The store on a real engine, which `.ci/stores` starts: its address is in UREQ_AUTH_POSTGRES.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../shared/trials.rs"]
mod trials;

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use native_tls::{Certificate, TlsConnector};
use postgres::config::SslMode;
use postgres::{Client, Config, NoTls};
use postgres_native_tls::MakeTlsConnector;
use trials::{Engine, HOLDER};
use ureq_auth::TokenStore;
use ureq_auth::store_kit::{self, Bench};
use ureq_auth_postgres::{Pool, PostgresStore};

fn config(address: &str) -> Config {
    let (host, port) = address.split_once(':').unwrap();
    let mut config = Config::new();
    config.host(host).port(port.parse().unwrap()).user("app").password("secret").dbname("postgres");
    config.connect_timeout(Duration::from_secs(5));
    config
}

fn pool(address: &str) -> Pool {
    let config = config(address);
    Pool::new(move || config.connect(NoTls))
}

fn open(pool: &Pool, name: &str) -> Box<dyn TokenStore> {
    Box::new(PostgresStore::new(pool, name).table("kit's \"own\"").timeout(Duration::from_secs(5)))
}

fn administrator(address: &str) -> Client {
    config(address).connect(NoTls).unwrap()
}

/// Ends the connections of all who are in a section, and their claims: they have run out.
const END: &str = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE state = 'idle in transaction'; \
                   UPDATE \"kit's \"\"own\"\"\" SET claimed_until = clock_timestamp()";

struct Postgres {
    address: String,
    pool: Pool,
}

impl Postgres {
    fn run(&self, statements: &str) -> bool {
        administrator(&self.address).batch_execute(statements).is_ok()
    }
}

impl Bench for Postgres {
    fn open(&self) -> Box<dyn TokenStore> {
        open(&self.pool, "kit")
    }

    fn holder(&self) -> Option<Command> {
        Some(trials::holder(&self.address, "kit"))
    }

    fn put_text(&self, text: &str) -> bool {
        let update = "UPDATE \"kit's \"\"own\"\"\" SET token = $1 WHERE name = 'kit'";
        administrator(&self.address).execute(update, &[&text]).is_ok_and(|rows| rows == 1)
    }

    fn fail_saves(&self, fail: bool) -> bool {
        self.run(match fail {
            true => {
                "CREATE OR REPLACE FUNCTION deny() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION 'denied'; END $$; \
                 CREATE TRIGGER deny BEFORE UPDATE ON \"kit's \"\"own\"\"\" EXECUTE FUNCTION deny()"
            }
            false => "DROP TRIGGER deny ON \"kit's \"\"own\"\"\"",
        })
    }

    fn lose_section(&self) -> bool {
        self.run(END)
    }
}

/// The other process's part, and nothing where this is not that process.
#[test]
fn holder_of_a_section() {
    let Ok(what) = std::env::var(HOLDER) else { return };
    let (address, name) = what.split_once(' ').unwrap();
    store_kit::hold(&*open(&pool(address), name)).unwrap();
}

#[test]
fn the_kit_passes() {
    let Some(engine) = Engine::of("postgres") else { return };
    let report = store_kit::run(&Postgres { pool: pool(&engine.address), address: engine.address });
    assert!(report.is_passed() && report.not_tried().is_empty(), "\n{report}");
}

#[test]
fn ten_thousand_stores_share_a_pool() {
    let Some(engine) = Engine::of("postgres") else { return };
    let pool = pool(&engine.address);
    trials::many_logins(|name| open(&pool, name));
}

#[test]
fn an_engine_that_is_started_again_is_slow_or_cannot_be_reached_costs_no_login() {
    let Some(engine) = Engine::of("postgres") else { return };
    trials::bad_days(&engine, |address| open(&pool(address), "bad-days"));
}

#[test]
fn a_holder_whose_connection_is_ended_and_whose_claim_has_run_out_spends_nothing_twice() {
    let Some(engine) = Engine::of("postgres") else { return };
    let pool = pool(&engine.address);
    let address = engine.address.clone();
    trials::a_lease_that_runs_out(
        || open(&pool, "stopped"),
        move || {
            administrator(&address).batch_execute(END).unwrap();
        },
    );
}

#[test]
fn a_token_that_the_engine_was_not_there_for_is_saved_before_another_is_asked_for() {
    let Some(engine) = Engine::of("postgres") else { return };
    trials::an_engine_lost_in_a_token_request(engine, |address| open(&pool(address), "unsaved"));
}

#[test]
fn two_sessions_on_one_store_spend_nothing_twice() {
    let Some(engine) = Engine::of("postgres") else { return };
    let store = open(&pool(&engine.address), "shared");
    trials::two_sessions_on_one_store(engine, store.into());
}

/// The first connection goes through a proxy that is cut, the second one does not.
#[test]
fn a_connection_that_hangs_gives_its_place_back() {
    let Some(engine) = Engine::of("postgres") else { return };
    let proxy = trials::Proxy::start(&engine.address).unwrap();
    let (first, second) = (config(&proxy.address), config(&engine.address));
    let connected = AtomicUsize::new(0);
    let pool = Pool::of(1, move || match connected.fetch_add(1, SeqCst) {
        0 => first.connect(NoTls),
        _ => second.connect(NoTls),
    });
    let store = PostgresStore::new(&pool, "hangs").timeout(Duration::from_secs(1));
    let inside = store.exclusive(Duration::from_secs(30)).unwrap();
    proxy.be(trials::CUT);
    drop(inside);
    store.load().unwrap();
}

#[test]
fn tls_and_a_password_protect_the_way_to_the_engine() {
    let Some(engine) = Engine::of("postgres") else { return };
    let open = |certificate: &str| {
        let certificate = Certificate::from_pem(&engine.certificate(certificate)).unwrap();
        let connector = TlsConnector::builder().add_root_certificate(certificate).build().unwrap();
        let mut config = config(&engine.tls_address());
        config.ssl_mode(SslMode::Require);
        let pool = Pool::new(move || config.connect(MakeTlsConnector::new(connector.clone())));
        PostgresStore::new(&pool, "tls")
    };
    trials::over_tls(&open("ca.pem"), &open("other-ca.pem"));
    let mut config = config(&engine.address);
    config.password("guessed");
    trials::wrong_password(&PostgresStore::new(&Pool::new(move || config.connect(NoTls)), "tls"));
}
