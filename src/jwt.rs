//! `exp`, `iat` and `nbf` of a JWT, read *without verifying anything*: a hint about time, nothing more.
//!
//! A client must not rely on what is inside an access token (RFC 9068 §6). These three are used to plan a refresh; if
//! they are wrong, a 401 puts it right. An opaque token works as well.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::json::{self, Value};
use crate::{Error, Result};

/// The longest JWT that is read. A longer one would not fit into a request's header either.
pub const MAX_LENGTH: usize = 64 * 1024;

/// base64url as RFC 7515 §2 has it. Padding is tolerated, since some issuers pad; the standard alphabet is not.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The registered claims about time (RFC 7519 §4.1.4–4.1.6), each as the time since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Times {
    /// The token is not to be accepted at or after this.
    pub exp: Option<Duration>,
    /// When it was issued.
    pub iat: Option<Duration>,
    /// It is not to be accepted before this.
    pub nbf: Option<Duration>,
}

/// What is wrong with a text that is no JWT.
pub(crate) enum Flaw {
    Length,
    Parts,
    Encoding,
    Claims,
}

impl Times {
    /// Reads the claims of `token`, which must be a JWS in compact form: three parts, two dots (RFC 7515 §7.1).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), saying what is wrong, if it is longer than [`MAX_LENGTH`], has
    /// not three parts, is not base64url or not a JSON object inside, or has a claim that is no time: negative, not a
    /// number, or further away than a clock can count.
    ///
    /// ```
    /// // {"alg":"none"} . {"iat":1000,"exp":1300.5} . (no signature)
    /// let times = ureq_auth::jwt::Times::read("eyJhbGciOiJub25lIn0.eyJpYXQiOjEwMDAsImV4cCI6MTMwMC41fQ.")?;
    /// assert_eq!(times.lifetime(), Some(std::time::Duration::from_millis(300_500)));
    /// # Ok::<(), ureq_auth::Error>(())
    /// ```
    pub fn read(token: &str) -> Result<Self> {
        Self::of(token).map_err(|flaw| match flaw {
            Flaw::Length => {
                Error::invalid(format!("the JWT is {} bytes long; {MAX_LENGTH} at most are read", token.len()))
            }
            Flaw::Parts => {
                let parts = token.split('.').count();
                Error::invalid(format!("a JWT has three parts with dots between them, this one has {parts}"))
            }
            Flaw::Encoding => Error::invalid("the JWT's second part is not base64url (RFC 7515 section 2)"),
            Flaw::Claims => Error::invalid(
                "the JWT's claims are not a JSON object with exp, iat and nbf as numbers of seconds since 1970",
            ),
        })
    }

    /// The same, for those who have no use for an error in words: most tokens are not JWTs.
    pub(crate) fn of(token: &str) -> Result<Self, Flaw> {
        if token.len() > MAX_LENGTH {
            return Err(Flaw::Length);
        }
        let mut parts = token.split('.');
        let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(Flaw::Parts);
        };
        let claims = BASE64URL.decode(claims).map_err(|_| Flaw::Encoding)?;
        let mut times = [Value::Missing, Value::Missing, Value::Missing];
        json::read_object(&claims, "exp iat nbf", &mut times).ok_or(Flaw::Claims)?;
        let [exp, iat, nbf] = &times;
        Ok(Times { exp: time(exp)?, iat: time(iat)?, nbf: time(nbf)? })
    }

    /// How long the token lives from its making to its end, which needs no clock at all: `exp - iat`.
    pub fn lifetime(&self) -> Option<Duration> {
        self.exp?.checked_sub(self.iat?).filter(|lifetime| !lifetime.is_zero())
    }
}

/// Seconds since 1970, possibly with a fraction (RFC 7519 §2).
fn time(claim: &Value) -> Result<Option<Duration>, Flaw> {
    match *claim {
        Value::Number(seconds) if (0.0..u64::MAX as f64).contains(&seconds) => {
            let whole = seconds as u64;
            let nanoseconds = (seconds - whole as f64) * 1e9;
            Ok(Some(Duration::from_secs(whole).saturating_add(Duration::from_nanos(nanoseconds as u64))))
        }
        // As good as not there.
        Value::Null | Value::Missing => Ok(None),
        _ => Err(Flaw::Claims),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", BASE64URL.encode(claims))
    }

    fn read(claims: &str) -> Result<Times> {
        Times::read(&jwt(claims))
    }

    #[test]
    fn numeric_dates_are_numbers_not_integers() {
        let times = read(r#"{"exp":1700000300.25,"iat":1.7e9,"nbf":0,"sub":{"exp":[1]}}"#).unwrap();
        assert_eq!(times.exp, Some(Duration::new(1_700_000_300, 250_000_000)));
        assert_eq!(times.lifetime(), Some(Duration::new(300, 250_000_000)));
        assert_eq!(times.nbf, Some(Duration::ZERO));
    }

    #[test]
    fn missing_and_null_claims_are_read_as_absent() {
        assert_eq!(read("{}").unwrap(), Times::default());
        assert_eq!(read(r#"{"exp":null}"#).unwrap(), Times::default());
        assert_eq!(read(r#"{"exp":100,"iat":200}"#).unwrap().lifetime(), None, "a life that ends before it begins");
    }

    #[test]
    fn an_escaped_name_is_the_same_name() {
        assert_eq!(read(r#"{"e\u0078p":5}"#).unwrap().exp, Some(Duration::from_secs(5)));
    }

    #[test]
    fn what_is_no_time_is_refused_and_nothing_panics() {
        for claims in [r#"{"exp":1e300}"#, r#"{"exp":-1}"#, r#"{"exp":"soon"}"#, r#"{"exp":1e999}"#, "[]", "", "{", "7"]
        {
            let error = read(claims).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{claims}");
            assert!(error.to_string().contains("seconds since 1970"), "{error}");
        }
    }

    #[test]
    fn the_form_is_checked_and_named() {
        let cases =
            [("a.b", "has 2"), ("opaque", "has 1"), ("a.b.c.d", "has 4"), ("e30.+/+/.x", "base64url"), ("..", "JSON")];
        for (token, part) in cases {
            let error = Times::read(token).unwrap_err().to_string();
            assert!(error.contains(part), "{token}: {error}");
        }
        let long = format!("a.{}.c", "A".repeat(10 << 20));
        assert!(Times::read(&long).unwrap_err().to_string().contains("10485764 bytes"));
    }

    #[test]
    fn padding_is_tolerated() {
        let padded = "e30.eyJleHAiOjF9.c2ln".replace("eyJleHAiOjF9", "eyJleHAiOjE1fQ==");
        assert_eq!(Times::read(&padded).unwrap().exp, Some(Duration::from_secs(15)));
    }
}
