//! A broker for the example: it issues tokens, takes them as passwords, and hangs up when they end.

use std::collections::HashMap;
use std::io::{ErrorKind, Result};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::mqtt_packets::{
    CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PROTOCOL, PUBLISH, Packet, SUBACK, SUBSCRIBE, malformed,
};

#[derive(Clone, Default)]
pub(crate) struct Broker(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    tokens: HashMap<String, Instant>,
    /// By client identifier. A session outlives its connection.
    sessions: HashMap<String, Kept>,
    hang_ups: usize,
}

struct Kept {
    stream: TcpStream,
    topics: Vec<String>,
}

impl Broker {
    pub(crate) fn start(&self) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let broker = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let broker = broker.clone();
                thread::spawn(move || broker.talk(&stream));
            }
        });
        Ok(address)
    }

    pub(crate) fn issue(&self, life: Duration) -> String {
        let mut state = self.state();
        let token = format!("token-{}", state.tokens.len() + 1);
        state.tokens.insert(token.clone(), Instant::now() + life);
        token
    }

    /// How many connections were closed because their token had ended.
    pub(crate) fn hang_ups(&self) -> usize {
        self.state().hang_ups
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn talk(&self, stream: &TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let Some((client, ends_at)) = self.welcome(stream)? else { return stream.shutdown(Shutdown::Both) };
        loop {
            let left = ends_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.state().hang_ups += 1;
                return stream.shutdown(Shutdown::Both);
            }
            stream.set_read_timeout(Some(left))?;
            match Packet::receive(stream) {
                Ok(packet) if packet.first == DISCONNECT => return stream.shutdown(Shutdown::Both),
                Ok(packet) => self.answer(&client, &packet, stream)?,
                // Its token has ended while it was quiet.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The client's identifier and its token's end, if the password is a token that lives.
    fn welcome(&self, stream: &TcpStream) -> Result<Option<(String, Instant)>> {
        let connect = Packet::receive(stream)?;
        let mut fields = connect.fields();
        // After the protocol's name and level: one byte of flags, two of keep-alive.
        if connect.first != CONNECT || fields.take(PROTOCOL.len())? != PROTOCOL || fields.take(3)?.len() != 3 {
            return Err(malformed("no CONNECT of MQTT 3.1.1"));
        }
        let (client, _user, password) = (fields.text()?.to_owned(), fields.text()?, fields.text()?);
        let mut state = self.state();
        let Some(ends_at) = state.tokens.get(password).copied().filter(|end| *end > Instant::now()) else {
            // 5: not authorized (section 3.2.2.3).
            Packet::new(CONNACK).bytes(&[0, 5]).send(stream)?;
            return Ok(None);
        };
        // The newer connection takes the session over, and the older one is closed (section 3.1.4).
        let old = state.sessions.remove(&client);
        Packet::new(CONNACK).bytes(&[u8::from(old.is_some()), 0]).send(stream)?;
        let topics = old.map_or(Vec::new(), |old| {
            let _ = old.stream.shutdown(Shutdown::Both);
            old.topics
        });
        state.sessions.insert(client.clone(), Kept { stream: stream.try_clone()?, topics });
        Ok(Some((client, ends_at)))
    }

    fn answer(&self, client: &str, packet: &Packet, stream: &TcpStream) -> Result<()> {
        let mut fields = packet.fields();
        let mut state = self.state();
        match packet.first {
            PINGREQ => Packet::new(PINGRESP).send(stream),
            SUBSCRIBE => {
                let id = fields.take(2)?;
                let topic = fields.text()?.to_owned();
                if let Some(session) = state.sessions.get_mut(client) {
                    session.topics.push(topic);
                }
                Packet::new(SUBACK).bytes(id).bytes(&[0]).send(stream)
            }
            PUBLISH => {
                let topic = fields.text()?;
                for session in state.sessions.values().filter(|session| session.topics.iter().any(|own| own == topic)) {
                    // A subscriber that has gone misses a message without acknowledgement.
                    let _ = packet.send(&session.stream);
                }
                Ok(())
            }
            _ => Err(malformed("a packet that this broker does not know")),
        }
    }
}
