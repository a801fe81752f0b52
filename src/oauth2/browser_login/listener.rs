//! The port on this machine that the browser is sent back to (RFC 8252 §7.3).
//!
//! Whoever runs a program here can reach it, so everything is bounded: how many connections are kept, how much each may send,
//! and for how long. No thread and nothing that blocks: the caller looks in again and again.
//!
//! A flood of connections must not cost the browser its own. What a connection has sent is no reason to keep it, since anybody
//! can send something; only this login's `state` is. So:
//!
//! - A connection is read as soon as it is accepted. A request that is there already is answered, and takes no place.
//! - Whoever has to wait for more has a place for [`GRACE`], in which a browser sends its whole request.
//! - After that, the oldest goes when a place is needed, unless its request line is the callback of this login.
//! - While all places are younger than that, nobody else is accepted: the system keeps them in its queue.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use zeroize::Zeroizing;

use super::page;
use crate::clock::Tick;

/// How much of a request is kept: more than enough for its line.
const MAX_KEPT: usize = 16 * 1024;

/// How long a request's head may be: a browser sends the cookies of every program on this machine, whatever its port.
const MAX_HEAD: usize = 256 * 1024;

/// A browser opens a few, some of them in advance. macOS lets a program have 256 files open.
const MAX_CONNECTIONS: usize = 64;

/// How long a connection is kept even if its place is needed: until the port has been looked at twice.
const GRACE: Duration = Duration::from_millis(50);

/// How long a request may take from its connection on. (A browser also connects in advance, and sends nothing.)
const MAX_TIME: Duration = Duration::from_secs(30);

/// So many are looked at in one go, so that whoever connects without end does not keep the login from its deadline.
const MAX_AT_ONCE: usize = 256;

/// How much is taken after the request's head, such as a body. What is left unread makes the system drop the response.
const MAX_REST: usize = 8;

pub(super) struct Listener {
    socket: TcpListener,
    pub(super) port: u16,
    open: Vec<Connection>,
}

/// What a login makes of what has come on a connection.
pub(super) trait Visitors {
    /// The response to the request whose head begins like this; `None`: there is more to come.
    fn answer(&mut self, head: &[u8]) -> Option<String>;

    /// Is the request line there, and the callback of this login?
    fn is_awaited(&self, head: &[u8]) -> bool;

    /// Has who was waited for been here? Then nobody else is served: the browser may be back already for what comes next.
    fn is_over(&self) -> bool;
}

struct Connection {
    stream: TcpStream,
    since: Tick,
    /// As long as a request may be, or empty as long as nothing has come. The code is in there.
    head: Zeroizing<Vec<u8>>,
    length: usize,
    /// How much was left out of `head`.
    skipped: usize,
}

impl Listener {
    /// On the first of the ports that is free; 0 is any.
    pub(super) fn bind(ports: &[u16]) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for port in ports {
            // The literal: a name may be looked up, and may be another machine's (RFC 8252 §8.3).
            match TcpListener::bind((Ipv4Addr::LOCALHOST, *port)) {
                Ok(socket) => {
                    socket.set_nonblocking(true)?;
                    let port = socket.local_addr()?.port();
                    return Ok(Listener { socket, port, open: Vec::new() });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Reads what has come meanwhile, and answers each request that is whole.
    pub(super) fn serve(&mut self, now: Tick, visitors: &mut dyn Visitors) {
        self.open.retain_mut(|connection| {
            now.since(connection.since) < MAX_TIME && (visitors.is_over() || connection.serve(visitors))
        });
        for _ in 0..MAX_AT_ONCE {
            if visitors.is_over() {
                return;
            }
            if self.open.len() >= MAX_CONNECTIONS && !self.make_room(now, visitors) {
                return;
            }
            // An error is of one connection, or of this machine, which may have too many files open for now.
            let Ok((stream, _)) = self.socket.accept() else { return };
            let mut connection = Connection { stream, since: now, head: Zeroizing::default(), length: 0, skipped: 0 };
            if connection.stream.set_nonblocking(true).is_ok() && connection.serve(visitors) {
                self.open.push(connection);
            }
        }
    }

    /// Gives up the oldest that may go.
    fn make_room(&mut self, now: Tick, visitors: &dyn Visitors) -> bool {
        let oldest = self
            .open
            .iter()
            .position(|connection| now.since(connection.since) >= GRACE && !visitors.is_awaited(connection.come()));
        oldest.map(|place| self.open.remove(place)).is_some()
    }
}

impl Connection {
    fn come(&self) -> &[u8] {
        self.head.get(..self.length).unwrap_or_default()
    }

    /// Is it to be kept?
    fn serve(&mut self, visitors: &mut dyn Visitors) -> bool {
        loop {
            if self.head.is_empty() {
                // Memory is for those who send something.
                match self.stream.peek(&mut [0]) {
                    Ok(0) => return false,
                    Ok(_) => self.head = Zeroizing::new(vec![0; MAX_KEPT]),
                    Err(error) => return is_for_later(&error),
                }
            }
            if self.length == MAX_KEPT && !self.skip() {
                self.send(&page::page("431 Request Header Fields Too Large", "The request is too long."));
                return false;
            }
            match self.stream.read(self.head.get_mut(self.length..).unwrap_or_default()) {
                Ok(0) => return false,
                Ok(read) => self.length += read,
                Err(error) => return is_for_later(&error),
            }
            if let Some(response) = visitors.answer(self.come()) {
                self.send(&response);
                return false;
            }
        }
    }

    /// Makes room: of what comes after the request line, only the end of the head is looked for. False if it is too long.
    fn skip(&mut self) -> bool {
        let line = self.come().iter().position(|byte| *byte == b'\n').map_or(MAX_KEPT, |end| end + 1);
        // The end may have begun already. What stands before it keeps the line's own end from being taken for a part of it.
        let end = self.length.saturating_sub(3)..self.length;
        let Some(kept) = self.head.get_mut(line..).filter(|rest| rest.len() > 1 + end.len()) else { return false };
        let begin = kept.len() - end.len();
        kept.copy_within(begin.., 1);
        kept.iter_mut().take(1).for_each(|byte| *byte = b'-');
        self.length = line + 1 + end.len();
        self.skipped += end.end - self.length;
        self.skipped <= MAX_HEAD - MAX_KEPT
    }

    /// Small enough for the buffer of a connection that nothing was sent on yet: whoever does not take it does not get it.
    fn send(&mut self, response: &str) {
        if let Err(error) = self.stream.write_all(response.as_bytes()) {
            log::debug!("a request to the login's port could not be answered: {error}");
            return;
        }
        let _ = self.stream.shutdown(Shutdown::Write);
        for _ in 0..MAX_REST {
            if !matches!(self.stream.read(&mut self.head), Ok(1..)) {
                return;
            }
        }
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Instant;

    /// Answers whatever is whole, and waits for one address.
    #[derive(Default)]
    struct Awaiting {
        answered: Vec<String>,
    }

    impl Visitors for Awaiting {
        fn answer(&mut self, head: &[u8]) -> Option<String> {
            let line = std::str::from_utf8(head).unwrap().strip_suffix("\r\n\r\n")?;
            self.answered.push(line.split(' ').nth(1).unwrap().to_owned());
            Some("HTTP/1.1 204 -\r\n\r\n".to_owned())
        }

        fn is_awaited(&self, head: &[u8]) -> bool {
            head.starts_with(b"GET /awaited HTTP/1.1\r\n")
        }

        fn is_over(&self) -> bool {
            self.answered.iter().any(|path| path == "/last")
        }
    }

    struct Port {
        listener: Listener,
        awaiting: Awaiting,
    }

    impl Port {
        fn open() -> Self {
            Port { listener: Listener::bind(&[0]).unwrap(), awaiting: Awaiting::default() }
        }

        fn connect(&self, text: &str) -> TcpStream {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.listener.port)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            stream
        }

        /// More than there are places, and less than the system keeps in its queue.
        fn flood(&self, text: &str) -> Vec<TcpStream> {
            (0..MAX_CONNECTIONS + 20).map(|_| self.connect(text)).collect()
        }

        /// Looks at the port at this time, until what was sent has come through the system.
        fn look(&mut self, time: Duration, until: impl Fn(&Self) -> bool) {
            let start = Instant::now();
            loop {
                self.listener.serve(Tick::from_zero(time), &mut self.awaiting);
                if until(self) {
                    return;
                }
                assert!(start.elapsed() < Duration::from_secs(30), "it never comes to that");
                thread::yield_now();
            }
        }

        fn is_answered(&self, path: &str) -> bool {
            self.awaiting.answered.iter().any(|answered| answered == path)
        }
    }

    fn is_closed(stream: &mut TcpStream) -> bool {
        matches!(stream.read(&mut [0]), Ok(0) | Err(_))
    }

    #[test]
    fn who_has_just_come_keeps_its_place_whoever_comes_after_it() {
        let mut port = Port::open();
        let mut first = port.connect("");
        port.look(Duration::ZERO, |port| port.listener.open.len() == 1);
        let _flood = port.flood("GET /x");
        let just_before = GRACE - Duration::from_millis(1);
        port.look(just_before, |port| port.listener.open.len() == MAX_CONNECTIONS);
        first.write_all(b"GET /first HTTP/1.1\r\n\r\n").unwrap();
        port.look(just_before, |port| port.is_answered("/first"));
        let mut response = String::new();
        first.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 204"), "{response}");
    }

    #[test]
    fn the_oldest_goes_unless_it_is_the_one_that_is_waited_for() {
        let mut port = Port::open();
        let mut awaited = port.connect("GET /awaited HTTP/1.1\r\nHost: x");
        port.look(Duration::ZERO, |port| port.listener.open.iter().any(|connection| connection.length > 0));
        let mut other = port.connect("GET /other HTTP/1.1\r\nHost: x");
        port.look(Duration::ZERO, |port| port.listener.open.len() == 2);
        let mut floods = Vec::new();
        for round in 1..=2 {
            floods.push(port.flood(""));
            port.look(round * GRACE, |port| port.listener.open.len() == MAX_CONNECTIONS);
        }
        assert!(is_closed(&mut other));
        awaited.write_all(b"\r\n\r\n").unwrap();
        port.look(2 * GRACE, |port| port.is_answered("/awaited"));
    }

    #[test]
    fn nobody_is_served_once_it_is_over() {
        let mut port = Port::open();
        let mut open = port.connect("");
        port.look(Duration::ZERO, |port| port.listener.open.len() == 1);
        let _last = port.connect("GET /last HTTP/1.1\r\n\r\n");
        port.look(Duration::ZERO, |port| port.is_answered("/last"));
        open.write_all(b"GET /next HTTP/1.1\r\n\r\n").unwrap();
        let _queued = port.connect("GET /queued HTTP/1.1\r\n\r\n");
        (0..100).for_each(|_| port.look(Duration::ZERO, |_| true));
        assert_eq!(port.awaiting.answered, ["/last"]);
        // Whoever comes next finds them both.
        port.awaiting = Awaiting::default();
        port.look(Duration::ZERO, |port| port.is_answered("/next") && port.is_answered("/queued"));
    }

    #[test]
    fn a_place_is_kept_for_a_bounded_time() {
        let mut port = Port::open();
        let mut awaited = port.connect("GET /awaited HTTP/1.1\r\n");
        port.look(Duration::ZERO, |port| port.listener.open.len() == 1);
        port.look(MAX_TIME, |port| port.listener.open.is_empty());
        assert!(is_closed(&mut awaited));
    }
}
