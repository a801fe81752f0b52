//! The store on a real engine, which `.ci/stores` starts: its address is in UREQ_AUTH_POSTGRES.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../shared/trials.rs"]
mod trials;

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use native_tls::{Certificate, TlsConnector};
use postgres::config::SslMode;
use postgres::{Client, Config, NoTls};
use postgres_native_tls::MakeTlsConnector;
use trials::{Engine, HOLDER};
use ureq_auth::store_kit::{self, Bench};
use ureq_auth::{Stored, TokenStore};
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

/// The first of that alone, as an engine does that is started again.
const TERMINATE: &str =
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE state = 'idle in transaction'";

/// The same with those that are idle.
const TERMINATE_ALL: &str = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

/// Longer than anything takes that is to happen at all.
const LONG: Duration = Duration::from_secs(30);

struct Postgres {
    address: String,
    pool: Pool,
    is_cut: Arc<AtomicBool>,
}

impl Postgres {
    fn new(address: String) -> Self {
        let (engine, nobody) = (config(&address), config("127.0.0.1:1"));
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        let pool = Pool::new(move || if cut.load(SeqCst) { &nobody } else { &engine }.connect(NoTls));
        Postgres { address, pool, is_cut }
    }

    fn run(&self, statements: &str) -> bool {
        administrator(&self.address).batch_execute(statements).is_ok()
    }
}

impl Bench for Postgres {
    fn open(&self) -> Box<dyn TokenStore> {
        open(&self.pool, "kit")
    }

    fn open_other(&self) -> Option<Box<dyn TokenStore>> {
        Some(open(&self.pool, "kit of another"))
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

    fn cut_off(&self, is_cut: bool) -> bool {
        self.is_cut.store(is_cut, SeqCst);
        !is_cut || self.run(TERMINATE_ALL)
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
    let report = store_kit::run(&Postgres::new(engine.address));
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

/// A pool of one connection. The first one goes through the proxy, the next one does not.
fn first_through_a_proxy(engine: &Engine) -> (trials::Proxy, Pool) {
    let proxy = trials::Proxy::start(&engine.address).unwrap();
    let (first, second) = (config(&proxy.address), config(&engine.address));
    let connected = AtomicUsize::new(0);
    let pool = Pool::of(1, move || match connected.fetch_add(1, SeqCst) {
        0 => first.connect(NoTls),
        _ => second.connect(NoTls),
    });
    (proxy, pool)
}

/// It hangs where its connection is cut, and another one is had.
#[test]
fn a_connection_that_hangs_gives_its_place_back() {
    let Some(engine) = Engine::of("postgres") else { return };
    let (proxy, pool) = first_through_a_proxy(&engine);
    let store = PostgresStore::new(&pool, "hangs").timeout(Duration::from_secs(1));
    let inside = store.exclusive(Duration::from_secs(30)).unwrap();
    proxy.be(trials::CUT);
    drop(inside);
    store.load().unwrap();
}

/// The same for one that nobody uses just then: its end is nothing to wait for.
#[test]
fn an_idle_connection_that_has_died_in_silence_leaves_time_for_another() {
    let Some(engine) = Engine::of("postgres") else { return };
    let (proxy, pool) = first_through_a_proxy(&engine);
    let store = PostgresStore::new(&pool, "silent").timeout(Duration::from_secs(4));
    store.load().unwrap();
    proxy.be(trials::CUT);
    store.load().unwrap();
}

/// A pool of one connection, and how often that was opened.
fn pool_of_one(engine: &Engine) -> (Pool, Arc<AtomicUsize>) {
    let (config, opened) = (config(&engine.address), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&opened);
    let connect = move || {
        let client = config.connect(NoTls);
        counter.fetch_add(1, SeqCst);
        client
    };
    (Pool::of(1, connect), opened)
}

/// One login's wait for another host is nothing to another login.
fn waits_without_its_connection(engine: &Engine, name: &str, end: impl FnOnce()) {
    let (pool, opened) = pool_of_one(engine);
    let (waiting, other) = (open(&pool, name), open(&pool, "beside"));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| waiting.exclusive(LONG).map(drop));
        while opened.load(SeqCst) == 0 {
            thread::yield_now();
        }
        for _ in 0..3 {
            other.exclusive(Duration::ZERO).unwrap().save(&a_text(1)).unwrap();
        }
        assert!(!waiter.is_finished());
        end();
        waiter.join().unwrap().unwrap();
    });
}

#[test]
fn a_wait_for_anothers_claim_takes_no_connection() {
    let Some(engine) = Engine::of("postgres") else { return };
    let store = open(&pool(&engine.address), "claimed");
    let mut claimed = store.exclusive(LONG).unwrap();
    claimed.hold_for(LONG).unwrap();
    let mut administrator = administrator(&engine.address);
    administrator.batch_execute(TERMINATE).unwrap();
    waits_without_its_connection(&engine, "claimed", || administrator.batch_execute(END).unwrap());
}

#[test]
fn a_wait_for_anothers_lock_leaves_its_connection_to_others_now_and_then() {
    let Some(engine) = Engine::of("postgres") else { return };
    let store = open(&pool(&engine.address), "locked");
    let inside = store.exclusive(LONG).unwrap();
    waits_without_its_connection(&engine, "locked", || drop(inside));
}

/// Another one takes three answers of the engine's, and more with TLS: too long where each takes two seconds.
#[test]
fn whoever_comes_next_gets_the_connection_that_was_given_back() {
    let Some(engine) = Engine::of("postgres") else { return };
    let (opened, config) = (Arc::new(AtomicUsize::new(0)), config(&engine.address));
    let counter = Arc::clone(&opened);
    let pool = Pool::new(move || {
        counter.fetch_add(1, SeqCst);
        config.connect(NoTls)
    });
    let store = open(&pool, "next");
    for _ in 0..100 {
        store.load().unwrap();
        drop(store.exclusive(LONG).unwrap());
    }
    assert_eq!(opened.load(SeqCst), 1);
}

#[test]
fn a_lost_connection_does_not_keep_its_place_in_the_pool() {
    let Some(engine) = Engine::of("postgres") else { return };
    let (pool, _) = pool_of_one(&engine);
    let store = open(&pool, "lost");
    let mut inside = store.exclusive(LONG).unwrap();
    administrator(&engine.address).batch_execute(TERMINATE).unwrap();
    assert!(inside.load().is_err(), "the lock is lost");
    inside.load().unwrap();
    assert!(inside.hold_for(Duration::ZERO).is_err());
}

/// Nothing is sent under a claim whose lock was not had again: it keeps nobody out.
#[test]
fn a_claim_without_its_lock_is_given_up() {
    let Some(engine) = Engine::of("postgres") else { return };
    let pool = pool(&engine.address);
    let store = PostgresStore::new(&pool, "between").table("between").timeout(Duration::from_secs(1));
    let mut inside = store.exclusive(LONG).unwrap();
    let (locked, is_locked) = mpsc::channel();
    let (end, is_over) = mpsc::channel::<()>();
    // The next one in the queue for the table, as a migration is.
    let mut between = administrator(&engine.address);
    let migration = thread::spawn(move || {
        let mut transaction = between.transaction().unwrap();
        transaction.batch_execute("SET LOCAL lock_timeout = 30000; LOCK TABLE between IN EXCLUSIVE MODE").unwrap();
        locked.send(()).unwrap();
        is_over.recv().unwrap();
    });
    let waits =
        "SELECT 1 FROM pg_locks WHERE relation = 'between'::regclass AND mode = 'ExclusiveLock' AND NOT granted";
    let mut administrator = administrator(&engine.address);
    while administrator.query(waits, &[]).unwrap().is_empty() {
        thread::yield_now();
    }
    assert!(inside.hold_for(LONG).is_err(), "somebody else has the row");
    is_locked.recv().unwrap();
    end.send(()).unwrap();
    migration.join().unwrap();
    drop(inside);
    let other = PostgresStore::new(&pool, "between").table("between");
    other.exclusive(Duration::ZERO).unwrap().prepare().unwrap();
}

#[test]
fn a_time_out_without_an_end_is_a_long_one() {
    let Some(engine) = Engine::of("postgres") else { return };
    let store = PostgresStore::new(&pool(&engine.address), "for ever").timeout(Duration::MAX).margin(Duration::MAX);
    let mut inside = store.exclusive(Duration::MAX).unwrap();
    inside.hold_for(Duration::MAX).unwrap();
    inside.save(&a_text(1)).unwrap();
    drop(inside);
    assert!(store.load().unwrap().is_some());
}

fn a_text(number: u8) -> Stored {
    Stored::from_text(&format!(r#"{{"version":1,"access_token":"a{number}"}}"#)).unwrap()
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
