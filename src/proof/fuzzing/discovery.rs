//! An issuer's metadata. The input is the issuer as the user names it, a line, and after that the body of the answer.

use super::{PER_BYTE_OF_JSON, Yardstick, assert_plain, within};
use crate::ErrorKind;
use crate::http::origin::{self, Origin};
use crate::oauth2::Issuer;

/// Our own words in an error.
const FIXED: usize = 4096;

/// What was found is this issuer's to the letter, and every address in it one that a secret may be sent to; an error is
/// in plain text, but for the issuer as the user wrote it.
pub fn discovery(input: &[u8], yardstick: &Yardstick) -> bool {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let body = input.get(line.len() + 1..).unwrap_or_default();
    let Ok(asked) = std::str::from_utf8(line) else { return false };
    let Ok((_, origin)) = origin::parse_url(asked, "the issuer's URL") else { return false };
    if origin.check_private(false).is_err() {
        return false;
    }
    let builder = Issuer::builder(asked);
    match within(yardstick, input.len(), PER_BYTE_OF_JSON, FIXED, || builder.read(asked, &origin, body)) {
        Ok(issuer) => {
            assert_eq!(issuer.issuer(), asked);
            let addresses = [issuer.device_authorization_endpoint(), issuer.revocation_endpoint()];
            for address in addresses.into_iter().flatten().chain([issuer.token_endpoint()]) {
                assert_safe(address, &origin);
            }
            true
        }
        Err(failure) => {
            let error = failure.into_error(asked);
            assert_eq!(error.kind(), ErrorKind::Misconfigured);
            let text = error.to_string();
            let own = text.replace(asked, "");
            assert_plain(&own);
            assert!(own.len() <= 1024, "{own}");
            false
        }
    }
}

/// May secrets go there? Over TLS, or where the issuer has none itself, to this machine.
fn assert_safe(address: &str, issuer: &Origin) {
    let (_, origin) = origin::parse_url(address, "").expect("an address that can be asked");
    assert!(origin.is_https() || (origin.is_loopback() && !issuer.is_https()), "{address} beside {issuer}");
}
