//! Reads the body of an answer.

use std::io::{self, Read};

use ureq::Body;
use ureq::http::Response;

use crate::{Outcome, SourceError};

/// Reads the answer's body, up to the buffer's size.
pub(super) fn read_body(what: &str, response: &mut Response<Body>, buffer: &mut [u8]) -> Result<usize, SourceError> {
    let status = response.status();
    fill(buffer, &mut response.body_mut().as_reader()).map_err(|error| {
        let message = format!("the {what} endpoint's answer ({}) broke off: {error}", status.as_u16());
        // An error's status says already that no token was issued: to ask again is safe, and tells why.
        if !status.is_success() {
            return SourceError::unavailable(message);
        }
        // It came, and cannot be decoded; or it is somebody's page, of which the rest would be no token either.
        let is_page = buffer.trim_ascii_start().starts_with(b"<");
        match SourceError::from(ureq::Error::from(error)).outcome() {
            Outcome::Unreadable => SourceError::unreadable(message),
            _ if is_page => SourceError::unreadable(message),
            _ => SourceError::unknown(message),
        }
    })
}

/// Reads until the buffer is full or the reader is at its end.
pub(in crate::oauth2) fn fill(buffer: &mut [u8], reader: &mut impl Read) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
