//! MQTT 3.1.1 packets, as far as the example needs them: written by hand, because the blocking MQTT crates bring a runtime or
//! a C library. Section numbers are those of the OASIS standard.

use std::io::{Error, ErrorKind, Read, Result, Write};

// The first byte of a packet: its type, and the flags that the standard fixes for it (section 2.2).
pub(crate) const CONNECT: u8 = 0x10;
pub(crate) const CONNACK: u8 = 0x20;
pub(crate) const PUBLISH: u8 = 0x30;
pub(crate) const SUBSCRIBE: u8 = 0x82;
pub(crate) const SUBACK: u8 = 0x90;
pub(crate) const PINGREQ: u8 = 0xC0;
pub(crate) const PINGRESP: u8 = 0xD0;
pub(crate) const DISCONNECT: u8 = 0xE0;

/// The protocol's name and level, at the beginning of a CONNECT (section 3.1.2).
pub(crate) const PROTOCOL: &[u8] = b"\0\x04MQTT\x04";

/// What the other end may send us at once. The standard allows 256 MB.
const LONGEST: usize = 64 * 1024;

/// No `Debug`: a CONNECT holds the token.
pub(crate) struct Packet {
    pub(crate) first: u8,
    pub(crate) body: Vec<u8>,
}

impl Packet {
    pub(crate) fn new(first: u8) -> Self {
        Packet { first, body: Vec::new() }
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.body.extend_from_slice(bytes);
        self
    }

    /// A text or a password, with its length before it (section 1.5.3).
    pub(crate) fn text(self, text: &str) -> Result<Self> {
        let length = u16::try_from(text.len()).map_err(|_| Error::new(ErrorKind::InvalidInput, "too long for MQTT"))?;
        Ok(self.bytes(&length.to_be_bytes()).bytes(text.as_bytes()))
    }

    /// A message without acknowledgement (QoS 0).
    pub(crate) fn publish(topic: &str, payload: &[u8]) -> Result<Self> {
        Ok(Packet::new(PUBLISH).text(topic)?.bytes(payload))
    }

    /// In one piece, so that no other packet gets between.
    pub(crate) fn send(&self, mut to: impl Write) -> Result<()> {
        let mut whole = vec![self.first];
        // Seven bits a byte, the lowest first (section 2.2.3).
        let mut length = self.body.len();
        loop {
            let low = u8::try_from(length & 0x7F).unwrap_or_default();
            length >>= 7;
            whole.push(if length > 0 { low | 0x80 } else { low });
            if length == 0 {
                break;
            }
        }
        whole.extend_from_slice(&self.body);
        to.write_all(&whole)
    }

    pub(crate) fn receive(mut from: impl Read) -> Result<Self> {
        let first = byte(&mut from)?;
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let next = byte(&mut from)?;
            length |= usize::from(next & 0x7F) << shift;
            if next & 0x80 == 0 {
                break;
            }
            if shift == 21 {
                return Err(malformed("a length of more than four bytes"));
            }
        }
        if length > LONGEST {
            return Err(malformed("a packet that is too long for this example"));
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body)?;
        Ok(Packet { first, body })
    }

    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields(&self.body)
    }
}

fn byte(from: &mut impl Read) -> Result<u8> {
    let mut one = [0];
    from.read_exact(&mut one)?;
    Ok(u8::from_be_bytes(one))
}

/// Takes a body apart, from its beginning. Foreign bytes: each step says whether there were enough.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| malformed("a packet that is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        let length = self.take(2)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        std::str::from_utf8(self.take(length)?).map_err(|_| malformed("a text that is not UTF-8"))
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

pub(crate) fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("MQTT: the other end sent {what}"))
}
