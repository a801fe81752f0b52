//! application/x-www-form-urlencoded (RFC 6749 appendix B), written into memory that is wiped.

use zeroize::Zeroizing;

/// `text` as application/x-www-form-urlencoded has it.
pub(super) fn encoded(text: &str) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(3 * text.len()));
    push_encoded(&mut encoded, text);
    encoded
}

/// Puts it behind what is there. The target is to have the room: one that grows leaves a copy of itself behind.
pub(super) fn push_encoded(target: &mut String, text: &str) {
    for piece in form_urlencoded::byte_serialize(text.as_bytes()) {
        target.push_str(piece);
    }
}
