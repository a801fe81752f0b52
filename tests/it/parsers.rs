//! The two parsers that are public, on texts longer than a fuzzer tries: time and memory in proportion, no deep stack. What
//! they make of shorter ones is asserted in `src/proof/fuzzing.rs`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ureq_auth::challenge;
use ureq_auth::jwt;

use crate::support::{aside, secs};

#[test]
fn a_quoted_value_is_borrowed_unless_an_escape_must_go() {
    let challenges = challenge::parse(r#"Bearer a="plain", b="es\caped", c=bare"#);
    let borrowed = |(_, value): &(&str, Cow<'_, str>)| matches!(value, Cow::Borrowed(_));
    assert_eq!(challenges[0].params.iter().map(borrowed).collect::<Vec<_>>(), [true, false, true]);
}

/// A megabyte of `unit`, read by a thread that is given up after the watchdog's time: a parser that takes time in the
/// square of the length would be busy for hours. Returns how many challenges and how many parameters there are.
fn a_megabyte_of(before: &str, unit: &str) -> (usize, usize) {
    let count = (1 << 20) / unit.len();
    let text = before.to_owned() + &unit.repeat(count);
    aside(move || {
        let mut counts = (0, 0);
        let mut challenges = Vec::new();
        let memory = allocation_counter::measure(|| challenges = challenge::parse(&text));
        // A challenge is 56 bytes and needs two of text; a vector that grows has up to twice and, moving, three times that.
        assert!(memory.bytes_max <= 160 * text.len() as u64, "{memory:?} for {} bytes", text.len());
        counts.0 += challenges.len();
        counts.1 += challenges.iter().map(|challenge| challenge.params.len()).sum::<usize>();
        counts
    })
    .result()
}

#[test]
fn long_headers_take_time_and_memory_in_proportion() {
    const MEGA: usize = 1 << 20;
    let cases = [
        ("", ",", (0, 0)),
        ("", " ", (0, 0)),
        ("", "\"", (0, 0)),
        ("", "\\", (0, 0)),
        ("", "=", (0, 0)),
        ("", "\u{e4}", (0, 0)),
        ("", "a", (1, 0)),
        ("", "a ", (1, 0)),
        ("", "a,", (MEGA / 2, 0)),
        ("", "a b=\"\",", (MEGA / 7, MEGA / 7)),
        ("", "a b=", (1, MEGA / 4)),
        ("a ", "b=,", (1, MEGA / 3 - 1)), // "b=" right after a scheme is a token68
        ("a ", "b=c ", (1, MEGA / 4)),
        ("a ", "b=\"c\"", (1, MEGA / 5)),
        ("a ", "=", (0, 0)),   // a parameter of nothing
        ("a b=", "=", (1, 0)), // a token68 with much padding
        ("a b=c", "=", (1, 1)),
        ("a b=\"", "\\", (1, 1)),
        ("a b=\"", "\\\"", (1, 1)),
        ("a b=\"", ",", (1, 1)),
        ("a b", "\t", (1, 0)),
        ("a \"", "\\", (1, 0)),
        ("a ", "\"\"", (1, 0)),
        ("a ", "b\"\",", (MEGA / 4, 0)),
    ];
    for (before, unit, expected) in cases {
        assert_eq!(a_megabyte_of(before, unit), expected, "{before:?} and {unit:?}");
    }
}

/// An unsigned JWT around these bytes.
fn jwt_of(claims: &[u8]) -> String {
    format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
}

#[test]
fn a_jwt_of_any_length_takes_memory_in_proportion_and_no_deep_stack() {
    let nested = |depth, open: &str, close: &str| {
        jwt_of(format!("{{\"a\":{}1{},\"exp\":5}}", str::repeat(open, depth), str::repeat(close, depth)).as_bytes())
    };
    let (read, refused, either) = (&[Some(secs(5))][..], &[None][..], &[Some(secs(5)), None][..]);
    let texts = [
        (nested(100, "[", "]"), read),
        (nested(100, "{\"a\":", "}"), read),
        // A reader may have a bound on the depth or need none; what it may not do is end the process.
        (nested(20_000, "[", "]"), either),
        (nested(7_000, "{\"a\":", "}"), either),
        (nested(40_000, "[", ""), refused),
        (jwt_of(&[b' '; 48_000]), refused),
        (jwt_of(&[b'9'; 48_000]), refused),
        (jwt_of(&vec![b'['; 1 << 20]), refused),
        (".".repeat(1 << 20), refused),
        ("A.".repeat(1 << 20), refused),
    ];
    for (number, (text, expected)) in texts.into_iter().enumerate() {
        // On a thread of its own: an overflow of its small stack would end the whole test, a hang ends at the watchdog.
        let result = aside(move || {
            let mut result = Ok(jwt::Times::default());
            let memory = allocation_counter::measure(|| result = jwt::Times::read(&text));
            // The claims, and what the reader copies out of them; a longer text is not even decoded.
            assert!(memory.bytes_max <= 3 * jwt::MAX_LENGTH as u64, "number {number}: {memory:?}");
            result
        });
        let result = result.result();
        assert!(expected.contains(&result.as_ref().ok().and_then(|times| times.exp)), "number {number}: {result:?}");
        assert!(result.as_ref().is_ok_and(|times| times.exp.is_some()) || result.is_err(), "number {number}");
    }
}
