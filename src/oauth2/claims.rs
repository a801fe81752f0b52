//! The claims of a JWT that a client makes itself, and the text that is signed (RFC 7519, RFC 7515 §7.1).

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::SourceError;

/// Long enough for a slow request, and short enough for servers that want at most three minutes.
const LIFETIME: Duration = Duration::from_secs(120);

/// The claims of an assertion (RFC 7523 §3): who says it (`iss`), about which subject (`sub`), to which server (`aud`), and for how long.
///
/// ```
/// use ureq_auth::SourceError;
/// use ureq_auth::oauth2::{Claims, Grant};
///
/// # fn sign_in_the_hsm(input: &[u8]) -> Result<Vec<u8>, SourceError> { Ok(input.to_vec()) }
/// let source = Grant::new("https://id.example.com/token", Grant::JWT_BEARER).params(|attempt| {
///     let claims = Claims::new(attempt.now()).issuer("my-service").subject("alice").audience(attempt.token_url());
///     Ok([("assertion", claims.sign(&[("alg", "ES256"), ("kid", "key-1")], sign_in_the_hsm)?)])
/// });
/// # ureq_auth::Session::new(source)?;
/// # Ok::<(), ureq_auth::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    issued_at: Duration,
    lifetime: Duration,
    /// All others, as members of a JSON object with a comma before each.
    others: String,
}

impl Claims {
    /// Claims that were made at this time since 1970-01-01 00:00 UTC (`iat`), most likely [`Attempt::now`](super::Attempt::now),
    /// and hold for two minutes (`exp`).
    #[must_use]
    pub fn new(issued_at: Duration) -> Self {
        Claims { issued_at, lifetime: LIFETIME, others: String::new() }
    }

    /// How long they hold, from their making: in whole seconds.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Who says so (`iss`).
    #[must_use]
    pub fn issuer(self, issuer: &str) -> Self {
        self.claim("iss", issuer)
    }

    /// Sets the subject (`sub`).
    #[must_use]
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject)
    }

    /// Which server is to believe it (`aud`).
    #[must_use]
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// What tells this assertion from all others (`jti`): a server that has seen it does not take it again.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.claim("jti", id)
    }

    /// Any other claim whose value is a text.
    #[must_use]
    pub fn claim(mut self, name: &str, value: &str) -> Self {
        self.others.push(',');
        push_member(&mut self.others, name, value);
        self
    }

    /// The JWT, in compact form (RFC 7515 §7.1): its header has these members, of which `alg` is one, and `sign` gets the text
    /// to be signed. What it returns is the bare signature: for ES256 two numbers of 32 bytes each (RFC 7518 §3.4), no DER.
    ///
    /// # Errors
    ///
    /// Those of `sign`.
    pub fn sign(
        &self,
        header: &[(&str, &str)],
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, SourceError>,
    ) -> Result<String, SourceError> {
        let mut jwt = self.signing_input(header);
        let signature = sign(jwt.as_bytes())?;
        jwt.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        Ok(jwt)
    }

    /// Has room for the signature of any key: a text that grows leaves a copy of itself behind.
    fn signing_input(&self, header: &[(&str, &str)]) -> String {
        let mut members = String::from(r#"{"typ":"JWT""#);
        for (name, value) in header {
            members.push(',');
            push_member(&mut members, name, value);
        }
        members.push('}');
        let claims = self.json();
        let mut input = String::with_capacity(4 * (members.len() + claims.len()) / 3 + 2048);
        BASE64_URL_SAFE_NO_PAD.encode_string(members, &mut input);
        input.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(claims, &mut input);
        input
    }

    fn json(&self) -> String {
        let issued_at = self.issued_at.as_secs();
        let end = issued_at.saturating_add(self.lifetime.as_secs());
        format!(r#"{{"iat":{issued_at},"exp":{end}{}}}"#, self.others)
    }
}

/// `"name":"value"`.
fn push_member(target: &mut String, name: &str, value: &str) {
    push_text(target, name);
    target.push(':');
    push_text(target, value);
}

/// A JSON string (RFC 8259 §7).
fn push_text(target: &mut String, text: &str) {
    target.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => target.extend(['\\', c]),
            // To write into a String does not fail.
            c if c.is_control() => drop(write!(target, "\\u{:04x}", c as u32)),
            c => target.push(c),
        }
    }
    target.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claims_are_a_json_object() {
        let claims = Claims::new(Duration::from_millis(1_000_900)).issuer("a \"b\" \\").subject("ü\n\u{85}").id("1");
        let text = claims.audience("https://x/t").claim("scope", "a b").lifetime(Duration::from_secs(9)).json();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "iat": 1000, "exp": 1009, "iss": "a \"b\" \\", "sub": "ü\n\u{85}", "jti": "1", "aud": "https://x/t", "scope": "a b"
        });
        assert_eq!(read, expected);
        let least = Claims::new(Duration::MAX).json();
        assert_eq!(least, format!(r#"{{"iat":{0},"exp":{0}}}"#, u64::MAX));
    }

    #[test]
    fn what_is_signed_is_what_is_sent() {
        let claims = Claims::new(Duration::from_secs(1)).issuer("x");
        let mut signed = String::new();
        let jwt = claims.sign(&[("alg", "none"), ("kid", "k")], |input| {
            signed.push_str(std::str::from_utf8(input).unwrap());
            Ok(vec![0xfb, 0xff])
        });
        let jwt = jwt.unwrap();
        assert_eq!(jwt, format!("{signed}.-_8"));
        let parts: Vec<_> = signed.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        assert_eq!(parts[0], br#"{"typ":"JWT","alg":"none","kid":"k"}"#);
        assert_eq!(parts[1], br#"{"iat":1,"exp":121,"iss":"x"}"#);
        assert!(claims.sign(&[], |_| Err(SourceError::unavailable("busy"))).is_err());
    }
}
