//! What is between a host and its engine, and can be bad: a proxy of test code.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// All comes through.
pub(crate) const OPEN: u8 = 0;
/// Nothing comes through, and nobody says so. What is sent meanwhile arrives afterwards, as TCP has it.
pub(crate) const CUT: u8 = 1;
/// Two seconds an answer.
pub(crate) const SLOW: u8 = 2;

/// How long an answer takes that is slow.
const DELAY: Duration = Duration::from_secs(2);

pub(crate) struct Proxy {
    pub(crate) address: String,
    way: Arc<Way>,
}

#[derive(Default)]
struct Way {
    mode: AtomicU8,
    changed: Condvar,
    lock: Mutex<()>,
}

impl Proxy {
    pub(crate) fn start(engine: &str) -> std::io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let (way, engine) = (Arc::new(Way::default()), engine.to_owned());
        let told = Arc::clone(&way);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (engine, told) = (engine.clone(), Arc::clone(&told));
                thread::spawn(move || {
                    // Where the engine is not there, the client's connection ends with this.
                    let server = TcpStream::connect(&engine)?;
                    let (answers, back) = (server.try_clone()?, client.try_clone()?);
                    let way = Arc::clone(&told);
                    thread::spawn(move || carry(answers, back, &way, true));
                    carry(client, server, &told, false);
                    std::io::Result::Ok(())
                });
            }
        });
        Ok(Proxy { address, way })
    }

    pub(crate) fn be(&self, mode: u8) {
        let _lock = self.way.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.way.mode.store(mode, SeqCst);
        self.way.changed.notify_all();
    }
}

impl Way {
    fn wait_while_cut(&self) {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(lock, |()| self.mode.load(SeqCst) == CUT));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, way: &Way, is_answer: bool) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer);
        way.wait_while_cut();
        if is_answer && way.mode.load(SeqCst) == SLOW {
            thread::sleep(DELAY);
        }
        let Ok(length @ 1..) = read else { break };
        let Some(part) = buffer.get(..length) else { break };
        if to.write_all(part).is_err() {
            break;
        }
    }
    let _may_be_closed = to.shutdown(Shutdown::Both);
}
