//! The port on this machine that the browser is sent back to (RFC 8252 §7.3).
//!
//! Whoever runs a program here can reach it, so everything is bounded: how many connections are kept, how much each may send,
//! and for how long. No thread and nothing that blocks: the caller looks in again and again.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use zeroize::Zeroizing;

use super::page;
use crate::clock::Tick;

/// A request of at most this size is read: a browser sends the cookies of every program on this machine.
const MAX_HEAD: usize = 16 * 1024;

/// A browser opens a few, some of them in advance. When there are more, the oldest has to go.
const MAX_CONNECTIONS: usize = 16;

/// How long a request may take from its connection on. (A browser also connects in advance, and sends nothing.)
const MAX_TIME: Duration = Duration::from_secs(30);

/// So many are looked at in one go, so that whoever connects without end does not keep the login from its deadline.
const MAX_AT_ONCE: usize = 64;

pub(super) struct Listener {
    socket: TcpListener,
    pub(super) port: u16,
    open: Vec<Connection>,
}

struct Connection {
    stream: TcpStream,
    since: Tick,
    /// As long as a request may be. The code is in there.
    head: Zeroizing<Vec<u8>>,
    length: usize,
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

    /// Reads what has come meanwhile, and answers each request with what `answer` makes of its head. `None`: there is more to come.
    pub(super) fn serve(&mut self, now: Tick, answer: &mut dyn FnMut(&[u8]) -> Option<String>) {
        for _ in 0..MAX_AT_ONCE {
            // An error is of one connection, or of this machine, which may have too many files open for now.
            let Ok((stream, _)) = self.socket.accept() else { break };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            if self.open.len() >= MAX_CONNECTIONS {
                self.open.remove(0);
            }
            self.open.push(Connection { stream, since: now, head: Zeroizing::new(vec![0; MAX_HEAD]), length: 0 });
        }
        self.open.retain_mut(|connection| now.since(connection.since) < MAX_TIME && connection.serve(answer));
    }
}

impl Connection {
    /// Is it to be kept?
    fn serve(&mut self, answer: &mut dyn FnMut(&[u8]) -> Option<String>) -> bool {
        let Connection { stream, head, length, .. } = self;
        loop {
            let Some(rest) = head.get_mut(*length..).filter(|rest| !rest.is_empty()) else {
                send(stream, &page::page("431 Request Header Fields Too Large", "The request is too long."));
                return false;
            };
            match stream.read(rest) {
                Ok(0) => return false,
                Ok(read) => *length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
            if let Some(response) = answer(head.get(..*length).unwrap_or_default()) {
                send(stream, &response);
                return false;
            }
        }
    }
}

/// Small enough for the buffer of a connection that nothing was sent on yet: whoever does not take it does not get it.
fn send(stream: &mut TcpStream, response: &str) {
    if let Err(error) = stream.write_all(response.as_bytes()) {
        log::debug!("a request to the login's port could not be answered: {error}");
    }
}
