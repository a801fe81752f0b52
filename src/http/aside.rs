//! Answers that are not needed, as it seems: put aside, so that their connections are free, until that is sure.

use std::io::{self, Cursor, Read};

use ureq::http::Response;
use ureq::{Body, BodyReader};

use super::body::{like, read_exact, read_to_end, read_to_string};
use super::connector::at_most_a_moment;

/// How long the body of such an answer may be, in bytes.
const LIMIT: usize = 16 * 1024;

/// Reads a small answer to its end, so that its connection is free for the next request, and gives it back as it was: the
/// caller may get it after all. One that is longer than 16 KiB, or is not here soon, keeps its connection.
///
/// `bounded`: is it of a [`SharedConnector`](super::connector::SharedConnector)? Only then is an answer read: with a connector
/// of the user's, a body that halts would hold the call for as long as ureq's time-outs allow, and they may allow for ever.
pub(crate) fn put_aside(response: Response<Body>, bounded: bool) -> Response<Body> {
    let length = response.body().content_length();
    if !bounded || length.is_some_and(|length| length > LIMIT as u64) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let builder = like(body.mime_type(), body.charset());
    let mut aside = Aside { text: Cursor::default(), error: None, rest: None };
    at_most_a_moment(|| aside.read_ahead(body));
    // Where the length was not known, it stays so.
    let body = match aside {
        Aside { text, error: None, rest: None } if length.is_some() => builder.data(text.into_inner()),
        aside => builder.reader(aside),
    };
    Response::from_parts(parts, body)
}

/// A body of which the beginning was read: whoever reads it gets that, and what comes after it.
struct Aside {
    text: Cursor<Vec<u8>>,
    /// Where it broke off.
    error: Option<io::Error>,
    /// What is not read yet.
    rest: Option<BodyReader<'static>>,
}

impl Aside {
    fn read_ahead(&mut self, body: Body) {
        let text = self.text.get_mut();
        // A decoder reads already when it is made.
        let mut rest = body.into_reader();
        let mut piece = [0; 1024];
        while text.len() <= LIMIT {
            match rest.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => text.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if has_timed_out(&error) => {
                    // The next one to read it may have more time. But a decoder that was cut short at its first byte is at
                    // its end from then on, as if there were nothing: then it is this error.
                    self.error = text.is_empty().then_some(error);
                    break;
                }
                Err(error) => {
                    self.error = Some(error);
                    return;
                }
            }
        }
        self.rest = Some(rest);
    }
}

pub(super) fn has_timed_out(error: &io::Error) -> bool {
    matches!(error.get_ref().and_then(|error| error.downcast_ref()), Some(ureq::Error::Timeout(_)))
}

impl Read for Aside {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = self.text.read(buffer)?;
        if let Some(rest) = self.rest.as_mut().filter(|_| count == 0) {
            count = rest.read(buffer)?;
        }
        if count == 0 && !buffer.is_empty() {
            return self.error.take().map_or(Ok(0), Err);
        }
        if self.rest.is_some() {
            self.error = None;
        }
        Ok(count)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn torn(text: Vec<u8>, error: Option<io::ErrorKind>) -> Aside {
        Aside { text: Cursor::new(text), error: error.map(io::Error::from), rest: None }
    }

    #[test]
    fn what_is_no_text_leaves_the_callers_as_it_was() {
        let mut shown = "before".to_owned();
        let error = torn(vec![0xff; 2000], None).read_to_string(&mut shown).unwrap_err();
        assert_eq!((error.kind(), &*shown), (io::ErrorKind::InvalidData, "before"));
    }

    #[test]
    fn what_came_before_an_error_is_there() {
        let torn = || torn(vec![b'x'; 2000], Some(io::ErrorKind::BrokenPipe));
        let (mut bytes, mut text) = (Vec::new(), String::new());
        assert_eq!(torn().read_to_end(&mut bytes).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(torn().read_to_string(&mut text).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!((bytes.len(), text.len()), (2000, 2000));
        assert_eq!(torn().read_exact(&mut [0; 2001]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn the_rest_comes_after_what_was_read_and_clears_the_time_out() {
        let rest = || Some(Body::builder().data("the rest").into_reader());
        let timed_out = || Some(ureq::Error::Timeout(ureq::Timeout::RecvBody).into_io());
        let mut aside = Aside { text: Cursor::new(b"begun, ".to_vec()), error: None, rest: rest() };
        let mut text = String::new();
        aside.read_to_string(&mut text).unwrap();
        assert_eq!(text, "begun, the rest");

        text.clear();
        Aside { text: Cursor::default(), error: timed_out(), rest: rest() }.read_to_string(&mut text).unwrap();
        assert_eq!(text, "the rest");

        // A decoder that gave up says that there is nothing, which is not so.
        let nothing = Body::builder().data("").into_reader();
        let mut aside = Aside { text: Cursor::default(), error: timed_out(), rest: Some(nothing) };
        assert!(has_timed_out(&aside.read(&mut [0; 8]).unwrap_err()));
    }
}
