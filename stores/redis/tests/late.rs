//! Commands that arrive late, twice or not at all, on a real engine, which `.ci/stores` starts: its address is in
//! UREQ_AUTH_REDIS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../shared/trials.rs"]
mod trials;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use trials::Engine;
use ureq_auth::{Stored, TokenStore as _};
use ureq_auth_redis::{Connections, Pool, RedisStore};

/// Longer than anything takes that is to happen at all.
const LONG: Duration = Duration::from_secs(30);

/// The lease of the store "way".
const LEASE: &str = "ureq-auth:{way}:lease";

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_millis(200);

/// A way to the engine that can be bad.
struct Way {
    pool: Arc<Pool>,
    /// What becomes of the next attempt to enter.
    next: Mutex<Fate>,
    /// Commands whose answers nobody waits for any more.
    late: Mutex<Vec<redis::Cmd>>,
}

#[derive(Default, PartialEq)]
enum Fate {
    #[default]
    Arrives,
    /// It is under way for longer than anybody waits.
    IsLate,
    /// It arrives, and its answer is lost.
    IsUnheard,
    /// It is lost on its way, and so are those that follow.
    IsLost,
    /// Its answer is lost, and it is sent again when most of the lease is over.
    ArrivesTwice,
    /// The same when the lease is over.
    OutlivesLease,
    /// It arrives, and its deadline has passed: somebody has set the engine's clock forward.
    IsOverdue,
    /// A copy of it, sent on a connection that has been given up, is still under way.
    HasCopy,
}

impl Way {
    fn new(engine: &Engine, next: Fate) -> Arc<Self> {
        let pool = Pool::open(format!("redis://:secret@{}/", engine.address)).unwrap();
        Arc::new(Way { pool: Arc::new(pool), next: Mutex::new(next), late: Mutex::default() })
    }

    fn be(&self, next: Fate) {
        *self.next.lock().unwrap() = next;
    }

    /// What was under way arrives.
    fn arrives(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        assert!(!late.is_empty());
        for command in late {
            self.pool.call(&command).unwrap();
        }
    }

    fn lease_left(&self) -> i64 {
        let left = self.pool.call(redis::cmd("PTTL").arg(LEASE)).unwrap();
        let redis::Value::Int(left) = left else { panic!("{left:?}") };
        left
    }
}

impl Connections for Way {
    fn call(&self, command: &redis::Cmd) -> redis::RedisResult<redis::Value> {
        let next = std::mem::take(&mut *self.next.lock().unwrap());
        match next {
            Fate::Arrives => {}
            Fate::IsLate => {
                self.late.lock().unwrap().push(command.clone());
                return time_out();
            }
            Fate::IsUnheard => {
                self.pool.call(command)?;
                return time_out();
            }
            Fate::IsLost => {
                self.be(Fate::IsLost);
                return time_out();
            }
            Fate::ArrivesTwice => {
                self.pool.call(command)?;
                self.pool.call(redis::cmd("PEXPIRE").arg(LEASE).arg(500))?;
            }
            Fate::OutlivesLease => {
                self.pool.call(command)?;
                self.pool.call(redis::cmd("DEL").arg(LEASE))?;
            }
            Fate::IsOverdue => {
                let answer = self.pool.call(&with_deadline(command, "1000"))?;
                assert!(matches!(&answer, redis::Value::Array(both) if both[0] == redis::Value::Int(-1)), "{answer:?}");
                return Ok(answer);
            }
            Fate::HasCopy => self.late.lock().unwrap().push(command.clone()),
        }
        self.pool.call(command)
    }

    fn timeout(&self) -> Duration {
        TIMEOUT
    }
}

fn time_out() -> redis::RedisResult<redis::Value> {
    Err(redis::RedisError::from((redis::ErrorKind::Io, "time-out")))
}

fn with_deadline(command: &redis::Cmd, deadline: &str) -> redis::Cmd {
    let mut other = redis::Cmd::new();
    for (index, argument) in command.args_iter().enumerate() {
        // EVAL, the script, how many keys, two keys, the name, the time.
        let redis::Arg::Simple(argument) = argument else { panic!("a cursor") };
        other.arg(if index == 7 { deadline.as_bytes() } else { argument });
    }
    other
}

fn a_text(number: u8) -> Stored {
    Stored::from_text(&format!(r#"{{"version":1,"access_token":"a{number}"}}"#)).unwrap()
}

#[test]
fn a_command_that_arrives_late_gives_nobody_a_lease_that_has_run_out() {
    let Some(engine) = Engine::of("redis") else { return };
    let way = Way::new(&engine, Fate::IsLate);
    let (store, other) = (RedisStore::new(&way, "way"), RedisStore::new(&way.pool, "way"));
    assert!(store.exclusive(Duration::ZERO).is_err(), "it is not heard");
    let mut stopped = store.exclusive(LONG).unwrap();
    stopped.hold_for(Duration::ZERO).unwrap();
    // It is stopped here for longer than its lease, and somebody else refreshes.
    way.pool.call(redis::cmd("DEL").arg("ureq-auth:{way}:lease")).unwrap();
    other.exclusive(Duration::ZERO).unwrap().save(&a_text(2)).unwrap();
    way.arrives();
    assert!(stopped.hold_for(Duration::ZERO).is_err(), "a lease that has run out stands");
    assert!(stopped.save(&a_text(1)).is_err(), "what was saved meanwhile is overwritten");
}

#[test]
fn an_attempt_to_enter_that_is_sent_again_prolongs_the_lease_that_it_has_got() {
    let Some(engine) = Engine::of("redis") else { return };
    let way = Way::new(&engine, Fate::ArrivesTwice);
    let store = RedisStore::new(&way, "way");
    let inside = store.exclusive(LONG).unwrap();
    let left = way.lease_left();
    assert!(left > 2000, "{left} ms");
    drop(inside);
    store.exclusive(Duration::ZERO).unwrap();
}

#[test]
fn a_save_is_tried_again_while_the_way_is_bad() {
    let Some(engine) = Engine::of("redis") else { return };
    let way = Way::new(&engine, Fate::Arrives);
    let (store, other) = (RedisStore::new(&way, "again"), RedisStore::new(&way.pool, "again"));
    let mut inside = store.exclusive(LONG).unwrap();
    inside.hold_for(LONG).unwrap();
    way.be(Fate::IsUnheard);
    inside.save(&a_text(1)).unwrap();
    drop(inside);
    let found = other.exclusive(Duration::ZERO).unwrap().load().unwrap();
    assert!(found.is_some_and(|found| found.to_text().contains("a1")));
}

#[test]
fn attempts_that_are_not_heard_do_not_make_a_store_forget_what_it_owes() {
    let Some(engine) = Engine::of("redis") else { return };
    let way = Way::new(&engine, Fate::Arrives);
    let store = RedisStore::new(&way, "owed");
    let mut inside = store.exclusive(LONG).unwrap();
    inside.hold_for(LONG).unwrap();
    way.be(Fate::IsLost);
    assert!(inside.save(&a_text(1)).is_err());
    drop(inside);
    way.be(Fate::IsUnheard);
    assert!(store.exclusive(Duration::ZERO).is_err(), "it is not heard");
    way.be(Fate::IsLost);
    for _ in 0..100 {
        assert!(store.exclusive(Duration::ZERO).is_err(), "it does not arrive");
    }
    way.be(Fate::Arrives);
    let mut inside = store.exclusive(Duration::ZERO).expect("the lease is this store's");
    assert!(inside.prepare().is_err(), "what was replaced may be spent");
    inside.save(&a_text(1)).unwrap();
}

#[test]
fn a_refusal_that_cannot_be_saved_keeps_nobody_out() {
    let Some(engine) = Engine::of("redis") else { return };
    let way = Way::new(&engine, Fate::Arrives);
    let (store, other) = (RedisStore::new(&way, "refused"), RedisStore::new(&way.pool, "refused"));
    let mut inside = store.exclusive(LONG).unwrap();
    inside.hold_for(LONG).unwrap();
    way.be(Fate::IsLost);
    let refused = r#"{"version":1,"access_token":"a0","refused":"revoked","refused_code":"invalid_grant"}"#;
    assert!(inside.save(&Stored::from_text(refused).unwrap()).is_err());
    way.be(Fate::Arrives);
    drop(inside);
    other.exclusive(Duration::ZERO).unwrap();
}

#[test]
fn a_save_that_arrives_late_overwrites_no_later_one_of_its_section() {
    let Some(engine) = Engine::of("redis") else { return };
    let way = Way::new(&engine, Fate::Arrives);
    let store = RedisStore::new(&way, "way");
    for fate in [Fate::HasCopy, Fate::IsLate] {
        let mut inside = store.exclusive(LONG).unwrap();
        way.be(fate);
        let _may_be_unheard = inside.save(&a_text(1));
        inside.hold_for(LONG).unwrap();
        inside.save(&a_text(2)).unwrap();
        way.arrives();
        let found = store.load().unwrap().unwrap();
        assert!(found.to_text().contains("a2"), "a later save is overwritten");
    }
}

#[test]
fn a_removal_that_arrives_late_removes_nothing_that_was_saved_since() {
    let Some(engine) = Engine::of("redis") else { return };
    let way = Way::new(&engine, Fate::Arrives);
    let store = RedisStore::new(&way, "way");
    let mut inside = store.exclusive(LONG).unwrap();
    way.be(Fate::HasCopy);
    inside.remove().unwrap();
    assert!(store.load().unwrap().is_none());
    inside.save(&a_text(1)).unwrap();
    way.arrives();
    assert!(store.load().unwrap().is_some(), "what was saved since is removed");
}

#[test]
fn a_lease_is_not_prolonged_by_what_arrives_after_the_save() {
    let Some(engine) = Engine::of("redis") else { return };
    let way = Way::new(&engine, Fate::HasCopy);
    let store = RedisStore::new(&way, "way");
    let mut inside = store.exclusive(LONG).unwrap();
    way.be(Fate::HasCopy);
    inside.prepare().unwrap();
    way.be(Fate::HasCopy);
    inside.hold_for(LONG).unwrap();
    inside.save(&a_text(1)).unwrap();
    way.arrives();
    let left = way.lease_left();
    assert!(left <= 1000, "{left} ms");
}

#[test]
fn the_repeat_of_a_save_finds_that_it_is_saved_though_the_lease_has_run_out() {
    let Some(engine) = Engine::of("redis") else { return };
    let way = Way::new(&engine, Fate::Arrives);
    let (store, other) = (RedisStore::new(&way, "way"), RedisStore::new(&way.pool, "way"));
    let mut inside = store.exclusive(LONG).unwrap();
    inside.hold_for(LONG).unwrap();
    way.be(Fate::OutlivesLease);
    inside.save(&a_text(1)).unwrap();
    assert!(inside.save(&a_text(2)).is_err(), "the lease has run out");
    assert!(inside.remove().is_err(), "the lease has run out");
    drop(inside);
    let mut inside = other.exclusive(Duration::ZERO).unwrap();
    assert!(inside.load().unwrap().unwrap().to_text().contains("a1"));
    // What another host has saved meanwhile is not taken for it.
    inside.save(&a_text(1)).unwrap();
    drop(inside);
    let mut inside = store.exclusive(LONG).unwrap();
    inside.hold_for(LONG).unwrap();
    way.pool.call(redis::cmd("DEL").arg(LEASE)).unwrap();
    other.exclusive(Duration::ZERO).unwrap().save(&a_text(2)).unwrap();
    assert!(inside.save(&a_text(3)).is_err(), "another's token is overwritten");
    assert!(store.load().unwrap().unwrap().to_text().contains("a2"));
}

#[test]
fn the_repeat_of_a_removal_finds_that_it_is_done_though_the_lease_has_run_out() {
    let Some(engine) = Engine::of("redis") else { return };
    let way = Way::new(&engine, Fate::Arrives);
    let store = RedisStore::new(&way, "way");
    let mut inside = store.exclusive(LONG).unwrap();
    inside.save(&a_text(1)).unwrap();
    way.be(Fate::OutlivesLease);
    inside.remove().unwrap();
    assert!(store.load().unwrap().is_none());
}

#[test]
fn an_attempt_to_enter_that_nobody_waits_for_any_more_gets_no_lease() {
    let Some(engine) = Engine::of("redis") else { return };
    let way = Way::new(&engine, Fate::Arrives);
    let (store, other) = (RedisStore::new(&way, "way"), RedisStore::new(&way.pool, "way"));
    // The engine has told the time.
    drop(store.exclusive(LONG).unwrap());
    way.be(Fate::IsLate);
    assert!(store.exclusive(Duration::ZERO).is_err(), "it is not heard");
    drop(store);
    // It takes its time: nothing comes, and it says so after a second.
    way.pool.call(redis::cmd("BLPOP").arg("nothing comes").arg(1)).unwrap();
    way.arrives();
    other.exclusive(Duration::ZERO).expect("a session that has gone holds the lease");
}

#[test]
fn an_engine_whose_clock_is_set_forward_is_entered_all_the_same() {
    let Some(engine) = Engine::of("redis") else { return };
    let way = Way::new(&engine, Fate::Arrives);
    let store = RedisStore::new(&way, "way");
    drop(store.exclusive(LONG).unwrap());
    way.be(Fate::IsOverdue);
    store.exclusive(Duration::ZERO).expect("it is sent again, without a deadline");
}
