//! A look at the first bytes of a response's body, which its caller gets all the same.

use std::io::{self, Cursor, Read};

use ureq::{Body, BodyReader};

use crate::http::aside::has_timed_out;
use crate::http::connector::at_most_a_moment;

use super::like;

/// How much of a body is looked at.
const LIMIT: usize = 16 * 1024;

/// A body whose first bytes were read.
pub(crate) struct Peek {
    begin: Vec<u8>,
    rest: BodyReader<'static>,
    /// What ended the reading: nothing more to come, or an error.
    end: Option<io::Result<()>>,
    mime_type: Option<String>,
    charset: Option<String>,
    length: Option<u64>,
    /// Can the wait for its rest be cut short? Only then is it read for its connection's sake, and until it was once.
    bounded: bool,
}

impl Peek {
    /// Takes the body out of `body`.
    pub(crate) fn into(body: &mut Body, bounded: bool) -> Self {
        let (mime_type, charset) = (body.mime_type().map(str::to_owned), body.charset().map(str::to_owned));
        let length = body.content_length();
        let rest = std::mem::replace(body, Body::builder().data(Vec::new())).into_reader();
        Peek { begin: Vec::new(), rest, end: None, mime_type, charset, length, bounded }
    }

    /// Reads on until `is_enough`, up to the limit. What is left of a short body of known length is read if it is there, so that
    /// its connection is free.
    pub(crate) fn read(&mut self, is_enough: &mut dyn FnMut(&[u8]) -> bool) -> &[u8] {
        while self.has_more() && !is_enough(&self.begin) {
            if let Some(error) = self.read_on() {
                self.end = Some(Err(error));
            }
        }
        let is_short = self.length.is_some_and(|length| length <= LIMIT as u64);
        // To look for the end of what is all here waits for nothing.
        let is_all_here = self.length == Some(self.begin.len() as u64);
        if is_short && (self.bounded || is_all_here) {
            at_most_a_moment(|| {
                while self.has_more() {
                    match self.read_on() {
                        // The next one to read it may have more time. But not the rule's next question: its call waits.
                        Some(error) if has_timed_out(&error) => {
                            self.bounded = false;
                            break;
                        }
                        Some(error) => self.end = Some(Err(error)),
                        None => {}
                    }
                }
            });
        }
        &self.begin
    }

    fn has_more(&self) -> bool {
        self.end.is_none() && (self.begin.len() < LIMIT || self.length == Some(self.begin.len() as u64))
    }

    /// Reads a piece, and gives back what went wrong.
    fn read_on(&mut self) -> Option<io::Error> {
        let mut piece = [0; 1024];
        let space = piece.len().min(LIMIT.saturating_sub(self.begin.len()).max(1));
        match self.rest.read(piece.get_mut(..space).unwrap_or_default()) {
            Ok(0) => self.end = Some(Ok(())),
            Ok(count) => self.begin.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Some(error),
        }
        None
    }

    /// The body from its beginning.
    pub(crate) fn into_body(self) -> Body {
        let builder = like(self.mime_type.as_deref(), self.charset.as_deref());
        match (self.end, self.length) {
            // It keeps its length.
            (Some(Ok(())), Some(_)) => builder.data(self.begin),
            (Some(Ok(())), None) => builder.reader(Cursor::new(self.begin)),
            (end, _) => {
                let error = end.and_then(Result::err);
                builder.reader(Rest { begin: Cursor::new(self.begin), error, rest: self.rest })
            }
        }
    }
}

/// What was looked at, and then the rest: an error where it happened, or what is still to come.
struct Rest {
    begin: Cursor<Vec<u8>>,
    error: Option<io::Error>,
    rest: BodyReader<'static>,
}

impl Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.begin.read(buffer)? {
            0 => self.error.take().map_or_else(|| self.rest.read(buffer), Err),
            count => Ok(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A body that halts after its first bytes, and counts how often it is waited for.
    struct Halting(Cursor<&'static [u8]>, Arc<AtomicUsize>);

    impl Read for Halting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => {
                    self.1.fetch_add(1, Ordering::SeqCst);
                    Err(io::Error::other(ureq::Error::Timeout(ureq::Timeout::RecvBody)))
                }
                count => Ok(count),
            }
        }
    }

    #[test]
    fn the_rest_of_a_body_is_waited_for_once_however_many_questions_are_asked() {
        let waits = Arc::new(AtomicUsize::new(0));
        let body = Halting(Cursor::new(b"{\"code\":7}"), Arc::clone(&waits));
        let rest = Body::builder().reader(body).into_reader();
        let mut peek = Peek {
            begin: Vec::new(),
            rest,
            end: None,
            mime_type: None,
            charset: None,
            length: Some(99),
            bounded: true,
        };
        for _ in 0..5 {
            assert_eq!(peek.read(&mut |begin| begin.ends_with(b"}")), b"{\"code\":7}");
        }
        assert_eq!(waits.load(Ordering::SeqCst), 1);
    }
}
