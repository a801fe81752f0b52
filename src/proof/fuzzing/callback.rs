//! What reaches the port of a login by browser. The input is the path of the redirect address and the login's state, a line
//! each, and after that the head of a request.

use super::{Yardstick, assert_plain, within};
use crate::oauth2::callback::{self, Callback, Received};

/// A parameter of the query is decoded once, into memory of its own.
const PER_BYTE: usize = 4;

/// What may be shown of an error is cut to this.
const FIXED: usize = 1024;

/// A callback is one whose head holds the login's own state, and what is in it can be sent on or shown; whatever comes before
/// the end of the head is no request yet.
pub fn callback(input: &[u8], yardstick: &Yardstick) -> bool {
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let (Some(path), Some(state)) = (line(), line()) else { return false };
    let head = lines.next().unwrap_or_default();
    let received = within(yardstick, head.len(), PER_BYTE, FIXED, || callback::read(head, path, state));
    let Some(received) = received else {
        assert!(!head.ends_with(b"\r\n\r\n"), "the head has ended");
        return false;
    };
    // What has a place for good is what ends the login.
    assert_eq!(callback::is_awaited(head, path, state), matches!(received, Received::Callback(_)));
    let Received::Callback(Callback { result, issuer }) = received else { return false };
    // A login's own path begins with a slash, or the login has no path.
    let begin = if path.starts_with('/') { "GET /" } else { "GET " };
    assert!(head.starts_with(begin.as_bytes()), "a callback is a GET");
    match result {
        Ok(code) => assert!(!code.is_empty() && code.bytes().all(|byte| matches!(byte, b' '..=b'~'))),
        Err((error, description)) => {
            assert_plain(&error);
            assert_plain(&description);
            assert!(error.len() <= 200 && description.len() <= 200);
        }
    }
    assert!(issuer.is_none_or(|issuer| issuer.len() <= head.len()));
    // A state without escapes is there to the letter.
    if !state.is_empty() && head.windows(state.len()).all(|part| part != state.as_bytes()) {
        assert!(head.iter().any(|byte| matches!(byte, b'%' | b'+')), "accepted without the state");
    }
    // No other login's.
    let other = format!("{state}x");
    assert!(!matches!(callback::read(head, path, &other), Some(Received::Callback(_))));
    true
}
