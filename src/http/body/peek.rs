//! A look at the first bytes of a response's body, which its caller gets all the same.

use std::io::{self, Cursor, Read};

use ureq::{Body, BodyReader};

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
}

impl Peek {
    /// Takes the body out of `body`.
    pub(crate) fn into(body: &mut Body) -> Self {
        let (mime_type, charset) = (body.mime_type().map(str::to_owned), body.charset().map(str::to_owned));
        let length = body.content_length();
        let rest = std::mem::replace(body, Body::builder().data(Vec::new())).into_reader();
        Peek { begin: Vec::new(), rest, end: None, mime_type, charset, length }
    }

    /// Reads on until `is_enough`, up to the limit. A short body of known length is read whole, so that its connection is free.
    pub(crate) fn read(&mut self, is_enough: &mut dyn FnMut(&[u8]) -> bool) -> &[u8] {
        let is_short = self.length.is_some_and(|length| length <= LIMIT as u64);
        let mut piece = [0; 1024];
        while self.end.is_none() && self.begin.len() < LIMIT && (is_short || !is_enough(&self.begin)) {
            let space = piece.len().min(LIMIT - self.begin.len());
            match self.rest.read(piece.get_mut(..space).unwrap_or_default()) {
                Ok(0) => self.end = Some(Ok(())),
                Ok(count) => self.begin.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.end = Some(Err(error)),
            }
        }
        &self.begin
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
