//! One MQTT connection: its token as the password, and a thread that reads.

use std::io::{self, BufReader, ErrorKind, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use ureq_auth::Token;

use super::mqtt_packets::{
    CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PROTOCOL, PUBLISH, Packet, SUBACK, SUBSCRIBE, malformed,
};

const CLIENT: &str = "device-7";
const TOPIC: &str = "device-7/readings";
/// The longest wait for the broker.
const PATIENCE: Duration = Duration::from_secs(10);
/// In seconds. Each message is traffic: a quiet connection has to send a PINGREQ that often (section 3.1.2.10).
const KEEP_ALIVE: u16 = 30;

pub(crate) struct Connection {
    pub(crate) token: Arc<Token>,
    stream: TcpStream,
    /// What a thread of its own reads, until the connection ends: the number of a message, or `None` for a PINGRESP.
    pub(crate) incoming: Receiver<Option<u32>>,
}

impl Connection {
    /// `None` if the broker refuses the token.
    pub(crate) fn open(address: &str, token: &Arc<Token>) -> io::Result<Option<Self>> {
        let address = address.to_socket_addrs()?.next().ok_or_else(|| malformed("no address"))?;
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        // Here messages come all the time. Where it may be quiet, the read waits longer than KEEP_ALIVE.
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        // A user name and a password follow. No clean session: the broker hands its subscription to the next connection.
        let head = Packet::new(CONNECT).bytes(PROTOCOL).bytes(&[0xC0]).bytes(&KEEP_ALIVE.to_be_bytes());
        head.text(CLIENT)?.text(CLIENT)?.text(token.secret())?.send(&stream)?;
        let answer = Packet::receive(&stream)?;
        let is_resumed = match (answer.first, answer.body.as_slice()) {
            (CONNACK, [flags, 0]) => flags & 1 == 1,
            // A wrong password, or not authorized.
            (CONNACK, [_, 4 | 5]) => return Ok(None),
            _ => return Err(malformed("no CONNACK, or another refusal than the token's")),
        };
        if !is_resumed {
            Packet::new(SUBSCRIBE).bytes(&[0, 1]).text(TOPIC)?.bytes(&[0]).send(&stream)?;
        }
        let (send, incoming) = channel();
        let mut reader = BufReader::new(stream.try_clone()?);
        thread::spawn(move || {
            while let Ok(news) = read(&mut reader) {
                let _ = send.send(news);
            }
        });
        Ok(Some(Connection { token: Arc::clone(token), stream, incoming }))
    }

    /// Sends the number, if there is one, and takes what has come meanwhile. An error says that the connection is closed.
    pub(crate) fn exchange(&self, number: Option<u32>, returned: &mut Vec<u32>) -> io::Result<()> {
        loop {
            match self.incoming.try_recv() {
                Ok(news) => returned.extend(news),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        let Some(number) = number else { return Ok(()) };
        Packet::publish(TOPIC, number.to_string().as_bytes())?.send(&self.stream)
    }

    pub(crate) fn close(&self) -> io::Result<()> {
        Packet::new(DISCONNECT).send(&self.stream)
    }

    /// Waits for a PINGRESP. A broker answers in order: it has then read all messages before it, and loses none of them when
    /// another connection takes over.
    pub(crate) fn settle(&self, returned: &mut Vec<u32>) -> io::Result<()> {
        Packet::new(PINGREQ).send(&self.stream)?;
        loop {
            match self.incoming.recv_timeout(PATIENCE) {
                Ok(Some(number)) => returned.push(number),
                Ok(None) => return Ok(()),
                Err(_) => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

/// The next message or PINGRESP.
fn read(reader: &mut impl Read) -> io::Result<Option<u32>> {
    loop {
        let packet = Packet::receive(&mut *reader)?;
        let mut fields = packet.fields();
        match packet.first {
            SUBACK if packet.body.ends_with(&[0]) => {}
            PINGRESP => return Ok(None),
            PUBLISH if fields.text()? == TOPIC => {
                let number = std::str::from_utf8(fields.rest()).ok().and_then(|text| text.parse().ok());
                return number.map(Some).ok_or_else(|| malformed("a message that is no number"));
            }
            _ => return Err(malformed("a packet that this example does not know")),
        }
    }
}
