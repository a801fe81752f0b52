//! `WWW-Authenticate`. The input is a list of header values, one a line.

use super::{Yardstick, within};
use crate::http::challenge::{Challenge, parse};

/// A vector of challenges (56 bytes each, for two of text) that grows has, while it moves, three times its content.
const PER_BYTE: usize = 96;
/// A vector has room for four from the first one on.
const FIXED: usize = 512;

/// Nothing is made up, lost on the way back, or larger than the text accounts for; and a clear word on our own scheme
/// says whether the token is to blame, whatever comes after it.
pub fn challenge(input: &[u8], yardstick: &Yardstick) -> bool {
    let mut found = false;
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    for text in lines.iter().filter_map(|line| std::str::from_utf8(line).ok()) {
        let challenges = within(yardstick, text.len(), PER_BYTE, FIXED, || parse(text));
        assert_taken_from(text, &challenges);
        found |= !challenges.is_empty();
        let written = write(&challenges);
        assert_eq!(parse(&written), challenges, "{text:?} was written as {written:?}");
    }
    #[cfg(feature = "ureq")]
    {
        let blames = |first: &'static str| {
            crate::http::challenge::blames_token("Bearer", [first.as_bytes()].into_iter().chain(lines.iter().copied()))
        };
        assert!(blames("Bearer error=\"invalid_token\""));
        assert!(!blames("Bearer error=\"insufficient_scope\""));
        assert_eq!(
            blames(""),
            crate::http::challenge::blames_token("Bearer", lines.iter().copied()),
            "an empty line says nothing"
        );
    }
    found
}

/// Every piece is a piece of the text, or less than one where an escape was taken out, and each comes after the last.
fn assert_taken_from(text: &str, challenges: &[Challenge<'_>]) {
    let mut end = 0;
    let mut take = |piece: &str| {
        let begin = (piece.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
        assert!(begin >= end && begin + piece.len() <= text.len(), "{piece:?} is not where it should be in {text:?}");
        end = begin + piece.len();
    };
    for Challenge { scheme, token68, params, .. } in challenges {
        assert!(is_token(scheme), "{text:?}");
        take(scheme);
        if let Some(token68) = token68 {
            assert!(!token68.trim_end_matches('=').is_empty(), "{text:?}");
            take(token68);
        }
        for (name, value) in params {
            assert!(is_token(name), "{text:?}");
            take(name);
            if let std::borrow::Cow::Borrowed(value) = value {
                take(value);
            }
        }
    }
    let length = |c: &Challenge<'_>| c.params.iter().map(|(name, value)| name.len() + 1 + value.len()).sum::<usize>();
    assert!(challenges.iter().map(length).sum::<usize>() <= text.len(), "{text:?} became {challenges:?}");
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

/// The same list as RFC 9110 would have it written.
pub(super) fn write(challenges: &[Challenge<'_>]) -> String {
    let mut text = String::new();
    for Challenge { scheme, token68, params, .. } in challenges {
        text.push_str(if text.is_empty() { "" } else { ", " });
        text.push_str(scheme);
        if let Some(token68) = token68 {
            text.push(' ');
            text.push_str(token68);
        }
        for (number, (name, value)) in params.iter().enumerate() {
            text.push_str(if number == 0 && token68.is_none() { " " } else { ", " });
            let value = value.replace('\\', r"\\").replace('"', "\\\"");
            text.push_str(&format!("{name}=\"{value}\""));
        }
    }
    text
}
