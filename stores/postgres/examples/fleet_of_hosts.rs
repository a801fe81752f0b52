//! N processes as hosts, one token in PostgreSQL: `cargo run --example fleet_of_hosts -- --hosts 4 --threads 8 --seconds 60`.

#[path = "../../shared/fleet.rs"]
mod fleet;

use std::process::ExitCode;
use std::time::Duration;

use postgres::{Config, NoTls};
use ureq_auth_postgres::{Pool, PostgresStore};

fn main() -> ExitCode {
    fleet::main("postgres", |address, name, margin| {
        let (host, port) = address.split_once(':').ok_or("no port")?;
        let mut config = Config::new();
        config.host(host).port(port.parse()?).user("app").password("secret").dbname("postgres");
        config.connect_timeout(Duration::from_secs(5));
        let pool = Pool::new(move || config.connect(NoTls));
        Ok(Box::new(PostgresStore::new(&pool, name).margin(margin)))
    })
}
