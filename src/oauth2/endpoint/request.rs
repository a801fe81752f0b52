//! What a request says: its form, and the client's credentials.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::super::form::push_encoded;

/// The scheme that the credentials begin with (RFC 7617 §2).
pub(super) const BASIC: &str = "Basic ";

/// Visits each name and value of a form.
type Fields<'a> = &'a dyn Fn(&mut dyn FnMut(&str, &str));

/// The request's body. Built here, since ureq's send_form would leave a copy that is not wiped.
pub(super) fn form(each_field: Fields<'_>) -> Zeroizing<String> {
    // Enough from the start: a text that grows leaves a copy of itself behind.
    let mut longest = 0;
    each_field(&mut |name, value| longest += 3 * (name.len() + value.len()) + 2);
    let mut form = Zeroizing::new(String::with_capacity(longest));
    each_field(&mut |name, value| {
        if !form.is_empty() {
            form.push('&');
        }
        push_encoded(&mut form, name);
        form.push('=');
        push_encoded(&mut form, value);
    });
    form
}

/// The value of the `Authorization` header. Client id and secret are form-urlencoded *before* base64 (RFC 6749 §2.3.1,
/// appendix B), so that a colon in the client id stays one.
pub(super) fn credentials(client_id: &str, secret: &str) -> Zeroizing<String> {
    let longest = 3 * (client_id.len() + secret.len()) + 1;
    let mut pair = Zeroizing::new(String::with_capacity(longest));
    push_encoded(&mut pair, client_id);
    pair.push(':');
    push_encoded(&mut pair, secret);

    // Into a text of its own, as ureq does: to encode in pieces, behind the scheme, weighs a kilobyte.
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(&*pair));
    let mut header = Zeroizing::new(String::with_capacity(BASIC.len() + encoded.len()));
    header.push_str(BASIC);
    header.push_str(&encoded);
    header
}
