//! What a server can do to a connection besides answering.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::server::{Answer, LONG};

/// Ten gigabytes, in pieces.
const ENDLESS: u64 = 10 << 30;
const PIECE: usize = 64 * 1024;

/// What a TLS server says of a plain request: a fatal alert, `protocol_version`.
pub(crate) const TLS_ALERT: &[u8] = b"\x15\x03\x01\0\x02\x02\x46";

/// More than anybody waits for, be it read as a head or as a body.
const DRIPPING: &str = "HTTP/1.1 200 OK\r\nX-Padding: a minute's worth of bytes, at a byte a second\r\n";

/// The most that any client has let one endless answer send.
static MOST_TAKEN: AtomicU64 = AtomicU64::new(0);

/// The connection is cut when the request is in.
pub(crate) fn cut() -> Answer {
    cut_after("")
}

/// This much is sent, and then the connection is cut.
pub(crate) fn cut_after(text: impl Into<Vec<u8>>) -> Answer {
    let text = text.into();
    Answer::wire(move |mut stream| {
        let _gone = stream.write_all(&text);
    })
}

/// Nothing is sent, and the connection stays until the client goes.
pub(crate) fn silence() -> Answer {
    Answer::wire(until_gone)
}

/// `head` at once, and then a byte a second.
pub(crate) fn drip(head: &'static str) -> Answer {
    Answer::wire(move |mut stream| {
        // The pause between two bytes is a look at whether the client is still there.
        let paced = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let mut is_there = paced.and_then(|()| stream.write_all(head.as_bytes())).is_ok();
        for byte in DRIPPING.bytes() {
            is_there = is_there && stream.write_all(&[byte]).is_ok() && !matches!(stream.read(&mut [0]), Ok(0));
        }
    })
}

/// `head`, and ten gigabytes after it, for whoever takes them.
pub(crate) fn endless(head: &'static str) -> Answer {
    Answer::wire(move |mut stream| {
        let piece = vec![b'x'; PIECE];
        let mut is_there = stream.write_all(head.as_bytes()).is_ok();
        let mut taken = 0;
        while is_there && taken < ENDLESS {
            is_there = stream.write_all(&piece).is_ok();
            taken += PIECE as u64;
            MOST_TAKEN.fetch_max(taken, Ordering::SeqCst);
        }
    })
}

/// The same so far, what lies in the sockets' buffers included.
pub(crate) fn most_taken() -> u64 {
    MOST_TAKEN.load(Ordering::SeqCst)
}

fn until_gone(mut stream: &TcpStream) {
    while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
}

/// A port where nobody listens. Not one of those that connections get for their near end: among thousands of attempts, one
/// would connect to itself.
pub(crate) fn refusing() -> SocketAddr {
    let ports = 1..1024;
    let refuses = |address: &SocketAddr| TcpStream::connect(address).is_err();
    ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port))).find(refuses).expect("a low port where nobody listens")
}

/// Plain HTTP where TLS is expected: tells whoever connects that this was no request, and waits for it to go.
pub(crate) fn start_plain() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let ready = stream.set_read_timeout(Some(LONG)).and_then(|()| stream.read(&mut [0]));
                let _gone =
                    ready.and_then(|_| stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
                until_gone(&stream);
            });
        }
    });
    address
}
