//! N processes as hosts, one token in Redis: `cargo run --example fleet_of_hosts -- --hosts 4 --threads 8 --seconds 60`.

#[path = "../../shared/fleet.rs"]
mod fleet;

use std::process::ExitCode;
use std::sync::Arc;

use ureq_auth_redis::{Pool, RedisStore};

fn main() -> ExitCode {
    fleet::main("redis", |address, name, margin| {
        let pool = Arc::new(Pool::open(format!("redis://:secret@{address}/"))?);
        Ok(Box::new(RedisStore::new(&pool, name).margin(margin)))
    })
}
