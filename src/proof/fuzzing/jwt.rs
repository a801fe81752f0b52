//! A JWT's claims about time. The input is read twice: as the token itself, and as the claims inside of one.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{Yardstick, assert_good, assert_not_shown, within};
use crate::jwt::{MAX_LENGTH, Times};
use crate::{ErrorKind, Token};

/// A list of empty texts: 24 bytes for three of JSON, three times that while its vector moves, and the JSON itself.
const PER_BYTE: usize = 20;
const FIXED: usize = 1024;

/// Either three times that a clock can count, or an error that quotes nothing; what is no JWT is an opaque token, and
/// what another reader of JSON finds in it, this one does.
pub fn jwt(input: &[u8], yardstick: &Yardstick) -> bool {
    let whole = std::str::from_utf8(input).ok().and_then(|text| read(text, yardstick));
    let text = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(input));
    let times = read(&text, yardstick);
    match serde_json::from_slice(input) {
        _ if text.len() > MAX_LENGTH => assert_eq!(times, None, "no header takes it"),
        Ok(Value::Object(claims)) => assert_as_another_reads(input, &claims, times),
        _ => {}
    }
    whole.or(times).is_some_and(|times| times.lifetime().is_some())
}

fn read(text: &str, yardstick: &Yardstick) -> Option<Times> {
    let times = within(yardstick, text.len(), PER_BYTE, FIXED, || Times::read(text));
    match &times {
        Ok(times) => {
            let furthest = Duration::from_secs(u64::MAX);
            assert!([times.exp, times.iat, times.nbf].iter().flatten().all(|time| *time <= furthest));
            let life = times.exp.zip(times.iat).and_then(|(exp, iat)| exp.checked_sub(iat));
            assert_eq!(times.lifetime(), life.filter(|life| !life.is_zero()));
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            for part in text.split('.') {
                assert_not_shown(part, &format!("{error} {error:?}"));
            }
        }
    }
    let times = times.ok();
    if let Ok(token) = Token::new(text) {
        assert_eq!((token.secret(), token.times()), (text, times.unwrap_or_default()));
        assert_good(&token);
    }
    times
}

/// serde_json's tree holds the last of several members of one name, while here each has to be a time: such claims, and
/// names that are written with escapes, are left out.
fn assert_as_another_reads(text: &[u8], claims: &serde_json::Map<String, Value>, times: Option<Times>) {
    let count = |name: &[u8]| text.windows(name.len()).filter(|window| *window == name).count();
    if text.contains(&b'\\') || [&b"\"exp\""[..], b"\"iat\"", b"\"nbf\""].iter().any(|name| count(name) > 1) {
        return;
    }
    let time = |name: &str| match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        // What is left of 2^64 is no number of seconds.
        Some(Value::Number(seconds)) => {
            let seconds = seconds.as_f64().filter(|seconds| (0.0..u64::MAX as f64).contains(seconds));
            seconds.map(Some).ok_or(())
        }
        Some(_) => Err(()),
    };
    let expected = ["exp", "iat", "nbf"].map(time);
    assert_eq!(times.is_some(), expected.iter().all(Result::is_ok), "{claims:?}");
    let Some(times) = times else { return };
    for (time, expected) in [times.exp, times.iat, times.nbf].into_iter().zip(expected) {
        let seconds = time.map(|time| time.as_secs_f64());
        let expected = expected.expect("all are times");
        let close = |(a, b): (f64, f64)| (a - b).abs() <= 1e-6 * b.max(1.0);
        assert!(seconds.is_some() == expected.is_some() && seconds.zip(expected).is_none_or(close), "{claims:?}");
    }
}
