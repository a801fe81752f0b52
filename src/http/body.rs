//! Request bodies that can be sent twice, as far as that is possible.
//!
//! A `SendBody` can be read once and does not tell its length, so a small one is read ahead into memory and sent from
//! there. What is larger streams on; a body whose caller has said how it is framed may be live, and is recorded as it goes.

pub(crate) mod peek;

use std::io::{self, Read};

use ureq::http::header::{CONTENT_LENGTH, EXPECT, HeaderValue, TRANSFER_ENCODING};
use ureq::http::request::Parts;
use ureq::http::{HeaderMap, Method, Request};
use ureq::{Body, BodyBuilder, SendBody};
use zeroize::{Zeroize as _, Zeroizing};

/// What it takes to send a request's body again.
pub(crate) enum Payload<'a> {
    /// No body.
    Nothing,
    /// It went out as it came, and cannot be sent again.
    Untouched,
    /// It goes out by way of memory.
    Taped(Tape<'a>),
}

impl Payload<'_> {
    pub(crate) fn can_be_sent_again(&self) -> bool {
        match self {
            Payload::Nothing => true,
            Payload::Untouched => false,
            Payload::Taped(tape) => !tape.lost,
        }
    }
}

/// What is to be done with a body so that it can be sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// There is no body.
    Nothing,
    /// Nothing: it goes out as it came, and only once.
    Leave,
    /// It is recorded on its way out.
    Record,
    /// It is read into memory first: the caller has not said how it is framed.
    ReadAhead,
}

impl Plan {
    #[inline]
    pub(crate) fn of(request: &Request<SendBody<'_>>, limit: usize) -> Self {
        // ureq puts one extension into every request. Where it is the only one, nobody has forced a body on such a method.
        if !expects_body(request.method()) && request.extensions().len() <= 1 {
            return Plan::Nothing;
        }
        Self::of_headers(request.headers(), limit)
    }

    fn of_headers(headers: &HeaderMap, limit: usize) -> Self {
        // Reading ahead would ruin what the caller wants: the server's word before a byte of the body is taken.
        if headers.contains_key(EXPECT) {
            return Plan::Leave;
        }
        if headers.contains_key(TRANSFER_ENCODING) {
            return Plan::Record;
        }
        let Some(length) = headers.get(CONTENT_LENGTH) else { return Plan::ReadAhead };
        match length.to_str().ok().and_then(|length| length.trim_ascii().parse::<u64>().ok()) {
            Some(length) if length > limit as u64 => Plan::Leave,
            // ureq stops reading there. To look for the reader's end would wait for what a live one may never send.
            _ => Plan::Record,
        }
    }
}

/// Where the bytes of a body come from: `Read::read`, and none of the code that every other method of a reader brings along.
pub(crate) type Source<'a> = &'a mut dyn FnMut(&mut [u8]) -> io::Result<usize>;

/// Takes a body over, keeping what it takes to send it again, up to `limit` bytes.
///
/// # Errors
///
/// What reading the caller's body says; nothing was sent then.
pub(crate) fn take_over<'a>(plan: Plan, parts: &mut Parts, body: Source<'a>, limit: usize) -> io::Result<Payload<'a>> {
    let mut tape = Tape { tape: Zeroizing::default(), at: 0, rest: Some(body), limit, lost: false };
    if plan == Plan::ReadAhead {
        tape.read_ahead()?;
        if tape.is_empty() && !expects_body(&parts.method) {
            return Ok(Payload::Nothing);
        }
        // Where the whole is not here its length is not known: chunked.
        if tape.rest.is_none() {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(tape.tape.len()));
        }
    }
    Ok(Payload::Taped(tape))
}

fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// A body that is all here, as a tape.
pub(crate) fn whole(text: &str) -> Tape<'static> {
    let tape = Zeroizing::new(text.as_bytes().to_vec());
    Tape { limit: tape.len(), tape, at: 0, rest: None, lost: false }
}

/// A reader that remembers what it has read, up to a limit, and can begin again.
pub(crate) struct Tape<'a> {
    /// Wiped at the end: a body may be a form with a password.
    tape: Zeroizing<Vec<u8>>,
    at: usize,
    /// What is not read yet; none when all is on the tape.
    rest: Option<Source<'a>>,
    limit: usize,
    /// More went by than the tape holds: there is no beginning again.
    lost: bool,
}

impl Tape<'_> {
    /// The body from its beginning, to be sent the first time or again.
    pub(crate) fn rewind(&mut self) -> SendBody<'_> {
        self.at = 0;
        SendBody::from_reader(self)
    }

    /// Has anybody taken a byte since it began?
    pub(crate) fn was_begun(&self) -> bool {
        self.at > 0
    }

    /// Reads to the end, or past the limit.
    fn read_ahead(&mut self) -> io::Result<()> {
        // Most bodies that are read ahead are smaller, and it is cleared for each.
        let mut piece = [0; 1024];
        while self.rest.is_some() && !self.lost {
            let count = self.read_on(&mut piece)?;
            let Some(read) = piece.get_mut(..count) else { break };
            if self.lost {
                // Too much to remember, but not sent yet.
                self.remember(read);
            }
            read.zeroize();
        }
        Ok(())
    }

    /// Puts it on the tape. By hand: a vector that grows leaves a copy of itself behind.
    fn remember(&mut self, read: &[u8]) {
        let length = self.tape.len() + read.len();
        if length > self.tape.capacity() {
            let mut longer = Zeroizing::new(Vec::with_capacity(length.max(2 * self.tape.len())));
            longer.extend_from_slice(&self.tape);
            self.tape = longer;
        }
        self.tape.extend_from_slice(read);
    }

    fn read_on(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(read) = &mut self.rest else { return Ok(0) };
        let count = loop {
            match read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if count == 0 && !buffer.is_empty() {
            self.rest = None;
        }
        self.lost |= count > self.limit.saturating_sub(self.tape.len());
        if let Some(read) = buffer.get(..count).filter(|_| !self.lost) {
            self.remember(read);
            self.at = self.tape.len();
        }
        Ok(count)
    }

    fn is_empty(&self) -> bool {
        self.tape.is_empty() && self.rest.is_none()
    }
}

impl Read for Tape<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.tape.get(self.at..) {
            Some(mut rest) if !rest.is_empty() => {
                let count = rest.read(buffer)?;
                self.at += count;
                Ok(count)
            }
            _ => {
                if self.lost {
                    // Sent, and not needed any more.
                    self.tape = Zeroizing::default();
                    self.at = 0;
                }
                self.read_on(buffer)
            }
        }
    }

    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        read_to_end(self, bytes)
    }

    fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
        read_to_string(self, text)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        read_exact(self, buffer)
    }
}

/// The beginning of a body like one that was read: its text is decoded then, and must not be decoded twice.
pub(crate) fn like(mime_type: Option<&str>, charset: Option<&str>) -> BodyBuilder {
    let Some(mime_type) = mime_type else { return Body::builder() };
    let like = |charset: Option<&str>| {
        let like = Body::builder().mime_type(mime_type);
        if let Some(charset) = charset { like.charset(charset) } else { like }
    };
    // Any crate of a program may have switched ureq's decoder on, so it is tried: what it makes is UTF-8, which this is not.
    let mut decoded = [0; 1];
    let is_decoded = charset.is_some()
        && like(charset).data([0xe9]).into_reader().read(&mut decoded).is_ok_and(|_| decoded != [0xe9]);
    like(if is_decoded { Some("utf-8") } else { charset })
}

/// What every reader has by default, once for the crate's readers: in a program that is optimised for size it is more
/// than the rest of them.
pub(super) fn read_to_end(reader: &mut dyn Read, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let (begin, mut piece) = (bytes.len(), [0; 1024]);
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(bytes.len() - begin),
            Ok(count) => bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn read_to_string(reader: &mut dyn Read, text: &mut String) -> io::Result<usize> {
    let mut bytes = Vec::new();
    let result = read_to_end(reader, &mut bytes);
    text.push_str(std::str::from_utf8(&bytes).map_err(|_| io::ErrorKind::InvalidData)?);
    result
}

pub(super) fn read_exact(reader: &mut dyn Read, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match reader.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_left_comes_at_once_as_of_every_reader() {
        let text = "abc".repeat(1000);
        let mut tape = whole(&text);
        let mut bytes = b"before".to_vec();
        assert_eq!(tape.read_to_end(&mut bytes).unwrap(), text.len());
        assert_eq!(bytes, format!("before{text}").as_bytes());
        assert_eq!(tape.read_to_end(&mut bytes).unwrap(), 0);

        tape.at = 1;
        let mut shown = "before".to_owned();
        assert_eq!(tape.read_to_string(&mut shown).unwrap(), text.len() - 1);
        assert_eq!(shown, format!("before{}", &text[1..]));

        let (mut first, mut rest) = ([0; 2000], [0; 2000]);
        tape.at = 0;
        tape.read_exact(&mut first).unwrap();
        assert_eq!(first, text.as_bytes()[..2000]);
        assert_eq!(tape.read_exact(&mut rest).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn an_interrupted_read_is_made_again() {
        struct Script(Vec<io::Result<usize>>);

        impl Read for Script {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                self.0.pop().unwrap()
            }
        }

        let mut script = Script(vec![Ok(0), Err(io::ErrorKind::Interrupted.into()), Ok(3)]);
        let mut bytes = Vec::new();
        assert_eq!(read_to_end(&mut script, &mut bytes).unwrap(), 3);
        assert_eq!(bytes.len(), 3);
    }
}
