//! Reads the body of an answer.

use std::io::{self, Read};

use ureq::Body;
use ureq::http::Response;
use zeroize::Zeroizing;

use crate::oauth2::answer::MAX_BODY;
use crate::{Outcome, SourceError};

/// A buffer that most answers fit into: a small device has no more to spare, and the longest take eight times as much.
pub(super) const SMALL: usize = 8 * 1024;

/// Reads the answer's body. When that breaks off, zeros follow what has come.
pub(super) fn read_body(
    what: &str,
    response: &mut Response<Body>,
    body: &mut Zeroizing<Vec<u8>>,
) -> Result<(), SourceError> {
    let status = response.status();
    read_as_it_comes(body, &mut response.body_mut().as_reader()).map_err(|error| {
        let message = format!("the {what} endpoint's answer ({}) broke off: {error}", status.as_u16());
        let outcome = match SourceError::from(ureq::Error::from(error)).outcome() {
            // An error's status says already that no token was issued: to ask again is safe, and tells why.
            _ if !status.is_success() => Outcome::Unavailable,
            // It came, and cannot be decoded; or it is somebody's page, of which the rest would be no token either.
            Outcome::Unreadable => Outcome::Unreadable,
            _ if body.trim_ascii_start().starts_with(b"<") => Outcome::Unreadable,
            _ => Outcome::Unknown,
        };
        SourceError::new(outcome, message)
    })
}

/// Reads to the end, or up to [`MAX_BODY`] and one byte more, which says that it was cut.
pub(in crate::oauth2) fn read_as_it_comes(buffer: &mut Zeroizing<Vec<u8>>, reader: &mut impl Read) -> io::Result<()> {
    let mut length = 0;
    while length <= MAX_BODY {
        if length == buffer.len() {
            // By hand: a vector that grows leaves copies of tokens behind.
            let mut longer = Zeroizing::new(vec![0; if length < SMALL { SMALL } else { MAX_BODY + 1 }]);
            longer.iter_mut().zip(buffer.iter()).for_each(|(to, from)| *to = *from);
            *buffer = longer;
        }
        match reader.read(buffer.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(length);
    Ok(())
}
