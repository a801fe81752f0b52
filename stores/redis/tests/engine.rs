//! The store on a real engine, which `.ci/stores` starts: its address is in UREQ_AUTH_REDIS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../shared/trials.rs"]
mod trials;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use redis::{Client, TlsCertificates};
use trials::{Engine, HOLDER};
use ureq_auth::store_kit::{self, Bench};
use ureq_auth::{Stored, TokenStore};
use ureq_auth_redis::{Connections, Pool, RedisStore};

/// Short: holders die here on purpose.
const MARGIN: Duration = Duration::from_secs(2);

/// Longer than anything takes that is to happen at all.
const LONG: Duration = Duration::from_secs(30);

fn pool(address: &str) -> Arc<Pool> {
    Arc::new(Pool::open(format!("redis://:secret@{address}/")).unwrap())
}

fn open(pool: &Arc<Pool>, name: &str) -> Box<dyn TokenStore> {
    Box::new(RedisStore::new(pool, name).margin(MARGIN))
}

struct Redis {
    address: String,
    pool: Arc<Pool>,
}

impl Redis {
    fn send(&self, command: &redis::Cmd) -> bool {
        self.pool.call(command).is_ok()
    }
}

impl Bench for Redis {
    fn open(&self) -> Box<dyn TokenStore> {
        open(&self.pool, "kit")
    }

    fn open_other(&self) -> Option<Box<dyn TokenStore>> {
        Some(open(&self.pool, "kit of another"))
    }

    fn holder(&self) -> Option<Command> {
        Some(trials::holder(&self.address, "kit"))
    }

    fn lease(&self) -> Option<Duration> {
        Some(MARGIN + Connections::timeout(&*self.pool))
    }

    fn put_text(&self, text: &str) -> bool {
        self.send(redis::cmd("SET").arg("ureq-auth:{kit}").arg(text))
    }

    /// No write is taken while fewer replicas are there than are asked for.
    fn fail_saves(&self, fail: bool) -> bool {
        self.send(redis::cmd("CONFIG").arg("SET").arg("min-replicas-to-write").arg(u8::from(fail)))
    }

    fn lose_section(&self) -> bool {
        self.send(redis::cmd("DEL").arg("ureq-auth:{kit}:lease"))
    }

    fn cut_off(&self, is_cut: bool) -> bool {
        self.fail_saves(is_cut)
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
    let Some(engine) = Engine::of("redis") else { return };
    let report = store_kit::run(&Redis { pool: pool(&engine.address), address: engine.address });
    assert!(report.is_passed() && report.not_tried().is_empty(), "\n{report}");
}

#[test]
fn ten_thousand_stores_share_a_pool() {
    let Some(engine) = Engine::of("redis") else { return };
    let pool = pool(&engine.address);
    trials::many_logins(|name| open(&pool, name));
}

#[test]
fn an_engine_that_is_started_again_is_slow_or_cannot_be_reached_costs_no_login() {
    let Some(engine) = Engine::of("redis") else { return };
    trials::bad_days(&engine, |address| Box::new(RedisStore::new(&pool(address), "bad-days")));
}

#[test]
fn a_holder_that_is_stopped_spends_nothing_twice() {
    let Some(engine) = Engine::of("redis") else { return };
    let pool = pool(&engine.address);
    let other = Arc::clone(&pool);
    trials::a_lease_that_runs_out(
        || open(&pool, "stopped"),
        move || {
            other.call(redis::cmd("DEL").arg("ureq-auth:{stopped}:lease")).unwrap();
        },
    );
}

#[test]
fn a_token_that_the_engine_was_not_there_for_is_saved_before_another_is_asked_for() {
    let Some(engine) = Engine::of("redis") else { return };
    trials::an_engine_lost_in_a_token_request(engine, |address| open(&pool(address), "unsaved"));
}

#[test]
fn two_sessions_on_one_store_spend_nothing_twice() {
    let Some(engine) = Engine::of("redis") else { return };
    let store = RedisStore::new(&pool(&engine.address), "shared");
    trials::two_sessions_on_one_store(engine, Arc::new(store));
}

fn a_text(number: u8) -> Stored {
    Stored::from_text(&format!(r#"{{"version":1,"access_token":"a{number}"}}"#)).unwrap()
}

#[test]
fn a_section_that_has_lost_its_lease_keeps_nobody_elses() {
    let Some(engine) = Engine::of("redis") else { return };
    let pool = pool(&engine.address);
    let (store, other) = (open(&pool, "lost"), open(&pool, "lost"));
    let mut lost = store.exclusive(LONG).unwrap();
    lost.hold_for(Duration::ZERO).unwrap();
    pool.call(redis::cmd("DEL").arg("ureq-auth:{lost}:lease")).unwrap();
    let inside = store.exclusive(Duration::ZERO).unwrap();
    assert!(lost.save(&a_text(1)).is_err());
    drop((inside, lost));
    other.exclusive(Duration::ZERO).unwrap();
}

#[test]
fn a_lease_lasts_for_as_long_as_the_token_request_the_margin_and_a_save_that_fails() {
    let Some(engine) = Engine::of("redis") else { return };
    let pool = pool(&engine.address);
    let store = open(&pool, "length");
    let mut inside = store.exclusive(LONG).unwrap();
    inside.prepare().unwrap();
    for needed in [LONG, Duration::ZERO] {
        inside.hold_for(needed).unwrap();
        let left = pool.call(redis::cmd("PTTL").arg("ureq-auth:{length}:lease")).unwrap();
        let redis::Value::Int(left) = left else { panic!("{left:?}") };
        // A save waits for as long as one call may take before it fails, and can be made again.
        let (least, longest) = (needed + MARGIN, needed + MARGIN + Connections::timeout(&*pool));
        assert!(left > least.as_millis() as i64 && left <= longest.as_millis() as i64, "{left} of {longest:?}");
    }
}

/// Whoever asks for what a session of the same store owes does not keep the others out for longer.
#[test]
fn a_lease_that_owes_a_save_ends_when_it_would_have_ended() {
    let Some(engine) = Engine::of("redis") else { return };
    let pool = pool(&engine.address);
    let (store, other) = (open(&pool, "owing"), open(&pool, "owing"));
    let mut inside = store.exclusive(LONG).unwrap();
    inside.hold_for(LONG).unwrap();
    let deny = |fail| pool.call(redis::cmd("CONFIG").arg("SET").arg("min-replicas-to-write").arg(u8::from(fail)));
    deny(true).unwrap();
    assert!(inside.save(&a_text(1)).is_err());
    drop(inside);
    deny(false).unwrap();
    pool.call(redis::cmd("PEXPIRE").arg("ureq-auth:{owing}:lease").arg(1500)).unwrap();
    for _ in 0..3 {
        let mut inside = store.exclusive(Duration::ZERO).unwrap();
        assert!(inside.prepare().is_err() && inside.hold_for(LONG).is_err(), "what was replaced may be spent");
    }
    let left = pool.call(redis::cmd("PTTL").arg("ureq-auth:{owing}:lease")).unwrap();
    assert!(matches!(left, redis::Value::Int(..=1500)), "{left:?}");
    let mut inside = other.exclusive(LONG).unwrap();
    inside.hold_for(Duration::ZERO).unwrap();
}

#[test]
fn a_time_out_without_an_end_is_a_long_one() {
    let Some(engine) = Engine::of("redis") else { return };
    let pool = Pool::open(format!("redis://:secret@{}/", engine.address)).unwrap().timeout(Duration::MAX);
    let store = RedisStore::new(&Arc::new(pool), "for ever").margin(Duration::MAX);
    let mut inside = store.exclusive(Duration::MAX).unwrap();
    inside.hold_for(Duration::MAX).unwrap();
    inside.save(&a_text(1)).unwrap();
    drop(inside);
    assert!(store.load().unwrap().is_some());
}

#[test]
fn tls_and_a_password_protect_the_way_to_the_engine() {
    let Some(engine) = Engine::of("redis") else { return };
    let open = |certificate: &str| {
        let trusted = TlsCertificates { client_tls: None, root_cert: Some(engine.certificate(certificate)) };
        let client = Client::build_with_tls(format!("rediss://:secret@{}/", engine.tls_address()), trusted).unwrap();
        RedisStore::new(&Arc::new(Pool::with_client(client)), "tls")
    };
    trials::over_tls(&open("ca.pem"), &open("other-ca.pem"));
    let pool = Pool::open(format!("redis://:guessed@{}/", engine.address)).unwrap();
    trials::wrong_password(&RedisStore::new(&Arc::new(pool), "tls"));
}
