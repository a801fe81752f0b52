//! Connections that die without a word, on a real engine, which `.ci/stores` starts: its address is in UREQ_AUTH_REDIS.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;

use redis::Value;
use ureq_auth::TokenStore as _;
use ureq_auth_redis::{Connections as _, Pool, RedisStore};

/// What forgets its connections, as a firewall does: they stay open, and nothing comes through.
#[derive(Default)]
struct Firewall {
    opened: AtomicUsize,
    forgotten: AtomicUsize,
}

impl Firewall {
    fn start(engine: &str) -> (Arc<Firewall>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (this, engine) = (Arc::new(Firewall::default()), engine.to_owned());
        let firewall = Arc::clone(&this);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let number = firewall.opened.fetch_add(1, SeqCst);
                let server = TcpStream::connect(&engine).unwrap();
                for (from, to) in [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))] {
                    let (from, to, firewall) = (from.unwrap(), to.unwrap(), Arc::clone(&firewall));
                    thread::spawn(move || firewall.carry(number, from, to));
                }
            }
        });
        (this, address)
    }

    fn carry(&self, number: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if number >= self.forgotten.load(SeqCst) && to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _may_be_closed = to.shutdown(Shutdown::Both);
    }
}

#[test]
fn idle_connections_that_have_died_in_silence_fail_no_call() {
    let Ok(told) = std::env::var("UREQ_AUTH_REDIS") else {
        assert!(std::env::var_os("CI").is_none(), "UREQ_AUTH_REDIS is not set: run .ci/stores");
        return;
    };
    let (firewall, address) = Firewall::start(told.split(' ').next().unwrap());
    let pool = Arc::new(Pool::open(format!("redis://:secret@{address}/")).unwrap());
    let store = RedisStore::new(&pool, "silence");
    // Each has a connection until all have asked.
    let begin = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                begin.wait();
                assert!(matches!(pool.call(redis::cmd("BLPOP").arg("silence").arg(1)), Ok(Value::Nil)));
            });
        }
    });
    let before = firewall.opened.load(SeqCst);
    assert!(before > 1, "there are no others");
    firewall.forgotten.store(before, SeqCst);
    for _ in 0..before {
        store.load().unwrap();
    }
    assert_eq!(firewall.opened.load(SeqCst), before + 1, "the others are dropped, and the new one serves on");
}
