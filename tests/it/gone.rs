//! The end of connections whose clients were killed, also where the system does not end them.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{LONG, Server};

/// The server process of wine 8 keeps a socket that a process was waiting on when it was killed, so nobody sees the
/// connection end. Other systems close it.
const MAY_STAY_OPEN: bool = cfg!(windows);

/// How often a read asks whether there is anybody left to wait for.
const LOOK: Duration = if MAY_STAY_OPEN { Duration::from_millis(20) } else { LONG };

impl Server {
    /// Waits until all is answered that was sent by those who are connected, who all have been killed, and no connection is left.
    pub(crate) fn all_are_killed(&self) {
        self.shared.all_killed.store(true, Ordering::SeqCst);
        let begin = Instant::now();
        while self.open() > 0 {
            assert!(begin.elapsed() < LONG, "a connection does not end");
            thread::yield_now();
        }
        self.shared.all_killed.store(false, Ordering::SeqCst);
    }
}

pub(crate) struct Incoming<'a> {
    stream: TcpStream,
    /// Whoever is connected has been killed.
    all_killed: &'a AtomicBool,
}

impl<'a> Incoming<'a> {
    pub(crate) fn new(stream: &TcpStream, all_killed: &'a AtomicBool) -> Self {
        stream.set_read_timeout(Some(LOOK)).unwrap();
        Incoming { stream: stream.try_clone().unwrap(), all_killed }
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begin = Instant::now();
        loop {
            // Before the read: what a process had sent when it was killed is there then, so a read that finds nothing is the end.
            let is_killed = MAY_STAY_OPEN && self.all_killed.load(Ordering::SeqCst);
            match self.stream.read(buffer) {
                Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(error);
                }
                Err(_) if is_killed => return Ok(0),
                Err(_) if begin.elapsed() + LOOK <= LONG => {}
                done => return done,
            }
        }
    }
}
