//! A commit whose answer is lost, on a real engine, which `.ci/stores` starts: its address is in UREQ_AUTH_POSTGRES.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use postgres::{Config, NoTls};
use ureq_auth::{Stored, TokenStore as _};
use ureq_auth_postgres::{Pool, PostgresStore};

/// All comes through.
const OPEN: u8 = 0;
/// The next commit comes through, and the connection ends with its answer.
const LOSES_COMMIT: u8 = 1;
const LOSES_ANSWER: u8 = 2;
const HAS_LOST: u8 = 3;

fn carry(mut from: TcpStream, mut to: TcpStream, way: &AtomicU8, is_answer: bool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let part = &buffer[..length];
        if is_answer && way.compare_exchange(LOSES_ANSWER, HAS_LOST, SeqCst, SeqCst).is_ok() {
            break;
        }
        if !is_answer && part.windows(6).any(|word| word == b"COMMIT") {
            let _may_be_open = way.compare_exchange(LOSES_COMMIT, LOSES_ANSWER, SeqCst, SeqCst);
        }
        if to.write_all(part).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _may_be_closed = stream.shutdown(Shutdown::Both);
    }
}

fn proxy(engine: &str) -> (String, Arc<AtomicU8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (way, engine) = (Arc::new(AtomicU8::new(OPEN)), engine.to_owned());
    let told = Arc::clone(&way);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(&engine).unwrap();
            let (answers, back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            for (from, to, is_answer) in [(client, server, false), (answers, back, true)] {
                let way = Arc::clone(&told);
                thread::spawn(move || carry(from, to, &way, is_answer));
            }
        }
    });
    (address, way)
}

fn a_text(number: u8) -> Stored {
    Stored::from_text(&format!(r#"{{"version":1,"access_token":"a{number}"}}"#)).unwrap()
}

#[test]
fn a_save_whose_answer_is_lost_is_found_by_its_repeat() {
    let Ok(told) = std::env::var("UREQ_AUTH_POSTGRES") else {
        assert!(std::env::var_os("CI").is_none(), "UREQ_AUTH_POSTGRES is not set: run .ci/stores");
        return;
    };
    let (address, way) = proxy(told.split(' ').next().unwrap());
    let (host, port) = address.split_once(':').unwrap();
    let mut config = Config::new();
    config.host(host).port(port.parse().unwrap()).user("app").password("secret").dbname("postgres");
    let pool = Pool::new(move || config.connect(NoTls));
    let (store, other) = (PostgresStore::new(&pool, "unheard"), PostgresStore::new(&pool, "unheard"));
    let mut inside = store.exclusive(Duration::from_secs(30)).unwrap();
    inside.hold_for(Duration::from_secs(30)).unwrap();
    way.store(LOSES_COMMIT, SeqCst);
    inside.save(&a_text(1)).unwrap();
    assert_eq!(way.load(SeqCst), HAS_LOST);
    drop(inside);
    // No claim is left.
    let mut inside = other.exclusive(Duration::ZERO).unwrap();
    assert!(inside.load().unwrap().unwrap().to_text().contains("a1"));
    inside.hold_for(Duration::from_secs(30)).unwrap();
}
