//! A listener that keeps every byte that it is sent, be it HTTP, a TLS handshake or a proxy's CONNECT.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::server::LONG;

/// What a TLS handshake begins with (RFC 8446 §5.1).
const HANDSHAKE: u8 = 0x16;

pub(super) struct Listener {
    address: SocketAddr,
    /// Whose connection is the last.
    last: Arc<Mutex<Option<SocketAddr>>>,
    accepting: JoinHandle<Vec<Heard>>,
}

/// What came over one connection.
pub(super) struct Heard(Vec<u8>);

type Reply = Arc<dyn Fn(&str) -> String + Send + Sync>;

impl Listener {
    /// Says `reply` to each head of a request. A TLS handshake has no reply.
    pub(super) fn start(reply: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1", reply)
    }

    pub(super) fn on(ip: &str, reply: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let last = Arc::default();
        let (until, reply): (Arc<Mutex<_>>, Reply) = (Arc::clone(&last), Arc::new(reply));
        let accepting = thread::spawn(move || {
            let mut connections = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if *until.lock().unwrap() == stream.peer_addr().ok() {
                    break;
                }
                let reply = Arc::clone(&reply);
                connections.push(thread::spawn(move || listen(stream, &*reply)));
            }
            connections.into_iter().map(|connection| connection.join().unwrap()).collect()
        });
        Listener { address, last, accepting }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// All that it heard. Whoever it talked to must be gone: connections are read to their end.
    pub(super) fn heard(self) -> Vec<Heard> {
        let mut last = self.last.lock().unwrap();
        let own = TcpStream::connect(self.address).unwrap();
        *last = Some(own.local_addr().unwrap());
        drop(last);
        self.accepting.join().unwrap()
    }
}

impl Heard {
    /// How often it holds this text.
    pub(super) fn count(&self, text: &str) -> usize {
        self.0.windows(text.len()).filter(|bytes| *bytes == text.as_bytes()).count()
    }

    pub(super) fn is_handshake(&self) -> bool {
        self.0.first() == Some(&HANDSHAKE)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

fn listen(mut stream: TcpStream, reply: &(dyn Fn(&str) -> String + Send + Sync)) -> Heard {
    stream.set_read_timeout(Some(LONG)).unwrap();
    let (mut heard, mut replied_to, mut piece) = (Vec::new(), 0, [0; 4096]);
    // A client that hangs up in the middle has said all it has to say.
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        heard.extend_from_slice(&piece[..count]);
        if heard[0] == HANDSHAKE {
            break;
        }
        let rest = String::from_utf8_lossy(&heard[replied_to..]).into_owned();
        if let Some(end) = rest.find("\r\n\r\n") {
            replied_to = heard.len();
            if stream.write_all(reply(&rest[..end]).as_bytes()).is_err() {
                break;
            }
        }
    }
    Heard(heard)
}

/// An answer without a body.
pub(super) fn answer(status: u16, header: &str) -> String {
    format!(
        "HTTP/1.1 {status} Status\r\n{header}{}Content-Length: 0\r\n\r\n",
        if header.is_empty() { "" } else { "\r\n" }
    )
}
