//! Request bodies that can be sent twice, as far as that is possible, and answers that can be put aside.
//!
//! A `SendBody` can be read once and does not tell its length, so a small one is read ahead into memory and sent from
//! there. What is larger streams on; a body whose caller has said how it is framed may be live, and is recorded as it goes.

use std::io::{self, Cursor, Read};

use ureq::http::header::{CONTENT_LENGTH, EXPECT, HeaderValue, TRANSFER_ENCODING};
use ureq::http::request::Parts;
use ureq::http::{Method, Request, Response};
use ureq::middleware::MiddlewareNext;
use ureq::{Agent, Body, SendBody};

/// How much of an answer that is not needed is read, so that its connection can be used again.
const DRAIN_LIMIT: u64 = 16 * 1024;

/// What is left of a request's body after it was sent once.
pub(crate) enum Sent<'a> {
    /// There was none.
    Nothing,
    /// It is in memory.
    Buffered(Vec<u8>),
    /// It was recorded; what was not read yet is still in the reader.
    Recorded(Recorder<'a>),
    /// It cannot be sent again.
    Spent,
}

impl Sent<'_> {
    pub(crate) fn can_be_sent_again(&self) -> bool {
        match self {
            Sent::Nothing | Sent::Buffered(_) => true,
            Sent::Recorded(recorder) => !recorder.overflown,
            Sent::Spent => false,
        }
    }

    /// Sends the body again, with this head.
    pub(crate) fn send_again(&mut self, agent: &Agent, head: Request<()>) -> Result<Response<Body>, ureq::Error> {
        match self {
            Sent::Nothing | Sent::Spent => agent.run(head),
            Sent::Buffered(buffer) => agent.run(head.map(|()| &buffer[..])),
            Sent::Recorded(recorder) => {
                let rest: &mut dyn Read = if recorder.ended { &mut io::empty() } else { &mut recorder.reader };
                let mut whole = Cursor::new(&recorder.record).chain(rest);
                agent.run(head.map(|()| SendBody::from_reader(&mut whole)))
            }
        }
    }
}

/// Sends a request for the first time, keeping what it takes to send it again, up to `limit` bytes.
pub(crate) fn send<'a>(
    mut parts: Parts,
    body: SendBody<'a>,
    next: MiddlewareNext<'_>,
    limit: usize,
) -> (Result<Response<Body>, ureq::Error>, Sent<'a>) {
    match plan(&parts, limit) {
        Plan::Bodyless => (next.handle(Request::from_parts(parts, body)), Sent::Nothing),
        Plan::Leave => (next.handle(Request::from_parts(parts, body)), Sent::Spent),
        Plan::Record => {
            let mut recorder = Recorder::new(Box::new(body.into_reader()), limit);
            let result = next.handle(Request::from_parts(parts, SendBody::from_reader(&mut recorder)));
            (result, Sent::Recorded(recorder))
        }
        Plan::ReadAhead => {
            let mut reader = body.into_reader();
            let mut buffer = Vec::new();
            // One more than the limit: only that tells a body of exactly this length from a longer one.
            let ahead = (limit as u64).saturating_add(1);
            if let Err(error) = reader.by_ref().take(ahead).read_to_end(&mut buffer) {
                return (Err(error.into()), Sent::Spent);
            }
            if buffer.len() > limit {
                // Its length is not known to us: chunked, unless the caller has said it.
                let mut whole = Cursor::new(buffer).chain(reader);
                return (next.handle(Request::from_parts(parts, SendBody::from_reader(&mut whole))), Sent::Spent);
            }
            if buffer.is_empty() && !expects_body(&parts.method) {
                return (next.handle(Request::from_parts(parts, SendBody::none())), Sent::Nothing);
            }
            if !parts.headers.contains_key(CONTENT_LENGTH) {
                parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(buffer.len()));
            }
            let result = next.handle(Request::from_parts(parts, SendBody::from_reader(&mut &buffer[..])));
            (result, Sent::Buffered(buffer))
        }
    }
}

enum Plan {
    Bodyless,
    Leave,
    Record,
    ReadAhead,
}

fn plan(parts: &Parts, limit: usize) -> Plan {
    let headers = &parts.headers;
    // ureq puts one extension into every request. Where it is the only one, nobody has forced a body on such a method.
    if !expects_body(&parts.method) && parts.extensions.len() <= 1 {
        return Plan::Bodyless;
    }
    // Reading ahead would ruin what the caller wants: the server's word before a byte of the body is taken.
    if headers.contains_key(EXPECT) {
        return Plan::Leave;
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        return Plan::Record;
    }
    match headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse::<u64>().ok()) {
        Some(length) if length > limit as u64 => Plan::Leave,
        // ureq stops reading there. To look for the reader's end would wait for what a live one may never send.
        Some(_) => Plan::Record,
        None => Plan::ReadAhead,
    }
}

fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// A reader that remembers what went through it, up to a limit.
pub(crate) struct Recorder<'a> {
    reader: Box<dyn Read + 'a>,
    record: Vec<u8>,
    limit: usize,
    overflown: bool,
    ended: bool,
}

impl<'a> Recorder<'a> {
    fn new(reader: Box<dyn Read + 'a>, limit: usize) -> Self {
        Recorder { reader, record: Vec::new(), limit, overflown: false, ended: false }
    }
}

impl Read for Recorder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.ended |= count == 0 && !buffer.is_empty();
        if self.record.len().saturating_add(count) > self.limit {
            self.overflown = true;
            self.record = Vec::new();
        } else if let (false, Some(read)) = (self.overflown, buffer.get(..count)) {
            self.record.extend_from_slice(read);
        }
        Ok(count)
    }
}

/// Reads a small answer to its end, so that its connection is free for the next request, and gives it back as it was: the
/// caller may get it after all.
pub(crate) fn put_aside(response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    if body.content_length().is_some_and(|length| length > DRAIN_LIMIT) {
        return Response::from_parts(parts, body);
    }
    let builder = Body::builder();
    let builder = match body.mime_type() {
        Some(mime_type) => builder.mime_type(mime_type.to_owned()),
        None => builder,
    };
    let builder = match body.charset() {
        Some(charset) => builder.charset(charset.to_owned()),
        None => builder,
    };
    let mut reader = body.into_reader();
    let mut start = Vec::new();
    let body = match reader.by_ref().take(DRAIN_LIMIT + 1).read_to_end(&mut start) {
        Ok(_) if start.len() as u64 <= DRAIN_LIMIT => builder.data(start),
        Ok(_) => builder.reader(Cursor::new(start).chain(reader)),
        // Whoever reads it gets the error where it happened.
        Err(error) => builder.reader(Cursor::new(start).chain(Broken(Some(error)))),
    };
    Response::from_parts(parts, body)
}

/// The rest of an answer that broke off.
struct Broken(Option<io::Error>);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
