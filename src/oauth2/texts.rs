//! The texts in the body of an answer, wherever they are: servers put their error codes into `error` (RFC 6749 §5.2), into
//! `message`, into an object within `error`, or send no JSON at all.
//!
//! A scan, not a second JSON reader: it costs a small binary less, allocates nothing, and also reads what is no valid JSON.

use super::answer::Answer;
use crate::SourceError;

/// Where servers say in words what is wrong, if not in `error` and `error_description`.
const MESSAGES: &str = "message error_description error_code detail msg";

/// The longest of them that is passed on.
const MAX_MESSAGE: usize = 200;

/// Is there a text that `wanted` says yes to? It gets each with the name of its member, in the order of the body; the items
/// of a list have the list's name.
///
/// - JSON: every text at any depth, as it is written (an escape in it stays one).
/// - Form-urlencoded: every value; a text without a name, such as a bare code, has the name `""`.
/// - Anything with markup or blanks in it, such as a firewall's page: nothing.
pub(super) fn any_text<'a>(body: &'a [u8], wanted: &mut dyn FnMut(&'a str, &'a str) -> bool) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    let is_form = |byte: &u8| byte.is_ascii_graphic() && !b"<>\"".contains(byte);
    match body.first() {
        Some(b'{' | b'[' | b'"') => any_string(body, wanted).is_some(),
        Some(_) if body.iter().all(is_form) => body.split(|byte| *byte == b'&').any(|pair| {
            let (name, value) = split_at_byte(pair, b'=').unwrap_or((b"", pair));
            wanted(readable(name), readable(value))
        }),
        _ => false,
    }
}

/// The same for the strings of a JSON text: `None` at its end.
fn any_string<'a>(mut rest: &'a [u8], wanted: &mut dyn FnMut(&'a str, &'a str) -> bool) -> Option<()> {
    let mut name = "";
    loop {
        let (_, string) = split_at_byte(rest, b'"')?;
        let mut end = 0;
        loop {
            match string.get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        let text = readable(string.get(..end)?);
        rest = string.get(end + 1..)?.trim_ascii_start();
        if rest.first() == Some(&b':') {
            name = text;
        } else if wanted(name, text) {
            return Some(());
        }
    }
}

/// What is before the first such byte, and what is after it.
fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|other| *other == byte)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// A text that is not UTF-8 is no word of anybody's.
fn readable(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}

/// The first of the codes in `codes`, which has blanks between them, that `wanted` says yes to. (A table of texts weighs more
/// in a small binary.)
pub(super) fn find_code(codes: &'static str, wanted: &mut dyn FnMut(&'static str) -> bool) -> Option<&'static str> {
    codes.split(' ').find(|code| wanted(code))
}

/// Has `text` the words of `code`, in any case, with anything between them, and with no others but those in `fillers`?
/// `Authorization pending.` has those of `authorization_pending`.
pub(super) fn has_words_of(text: &str, code: &str, fillers: &'static str) -> bool {
    let (mut text, mut code) = (text.as_bytes(), code.as_bytes());
    loop {
        let word = next_word(&mut text);
        if find_code(fillers, &mut |filler| !word.is_empty() && word.eq_ignore_ascii_case(filler.as_bytes())).is_some()
        {
            continue;
        }
        if !word.eq_ignore_ascii_case(next_word(&mut code)) {
            return false;
        }
        if word.is_empty() {
            return true;
        }
    }
}

/// The next run of letters and digits; empty at the end.
fn next_word<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let start = text.iter().position(u8::is_ascii_alphanumeric).unwrap_or(text.len());
    let rest = text.get(start..).unwrap_or_default();
    let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let (word, rest) = rest.split_at_checked(end).unwrap_or_default();
    *text = rest;
    word
}

/// The error of an answer without a code, with what the server says instead.
pub(super) fn with_message(answer: &Answer<'_>, error: SourceError) -> SourceError {
    if error.code().is_some() {
        return error;
    }
    let mut message = None;
    any_text(answer.body, &mut |name, text| {
        if find_code(MESSAGES, &mut |known| known == name).is_some() {
            message = answer.clean(text, MAX_MESSAGE);
        }
        message.is_some()
    });
    match message {
        Some(message) => SourceError::new(error.outcome(), format!("{error}: {message}")),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Vec<(&str, &str)> {
        let mut all = Vec::new();
        let found = any_text(body, &mut |name, text| {
            all.push((name, text));
            false
        });
        assert!(!found);
        all
    }

    #[test]
    fn texts_of_all_forms() {
        let cases: [(&str, &[(&str, &str)]); 22] = [
            ("", &[]),
            ("{}", &[]),
            (r#"{"error":"a"}"#, &[("error", "a")]),
            ("\u{feff} { \"error\" : \"a\" , \"message\"\n:\t\"b c\" } ", &[("error", "a"), ("message", "b c")]),
            (r#"{"status":400,"ok":false,"message":"a"}"#, &[("message", "a")]),
            (r#"{"error":{"code":"a","more":[{"x":"b"}]},"y":"c"}"#, &[("code", "a"), ("x", "b"), ("y", "c")]),
            (r#"{"error":["a","b"],"c":null}"#, &[("error", "a"), ("error", "b")]),
            (r#"["a",["b"]]"#, &[("", "a"), ("", "b")]),
            (r#""a""#, &[("", "a")]),
            (r#"{"a":"x\"y\\","b":"z\n"}"#, &[("a", r#"x\"y\\"#), ("b", "z\\n")]),
            (r#"{"a":"","":"b"}"#, &[("a", ""), ("", "b")]),
            // Not valid, and readable all the same.
            (r#"{"error":"a",}{"b":"c"}"#, &[("error", "a"), ("b", "c")]),
            (r#"{"error":"a","b":"#, &[("error", "a")]),
            (r#"{"error":"a"#, &[]),
            (r#"{"error":"a\"#, &[]),
            (r#"{"error":"a\""#, &[]),
            (
                "error=a&error_description=b+c&d=&&e",
                &[("error", "a"), ("error_description", "b+c"), ("d", ""), ("", ""), ("", "e")],
            ),
            ("slow_down\r\n", &[("", "slow_down")]),
            ("error=a=b", &[("error", "a=b")]),
            ("<a href=\"/?x=1&error=a&y=2\">", &[]),
            ("see /?x=1&error=a&y=2", &[]),
            ("\u{e4}", &[]),
        ];
        for (body, expected) in cases {
            assert_eq!(read(body.as_bytes()), expected, "{body}");
        }
        assert_eq!(read(b"{\"a\":\"\xe4\",\"b\":\"c\"}"), [("a", ""), ("b", "c")], "the rest of it is read");
        assert!(any_text(b"a=b&c=d&e=f", &mut |name, _| name == "c"), "and no further than wanted");
    }

    #[test]
    fn words_with_anything_between_them() {
        for text in ["slow_down", "SLOW_DOWN", "Slow down.", " slow-down "] {
            assert!(has_words_of(text, "slow_down", ""), "{text}");
        }
        for text in ["", "slow", "down", "slowdown", "slow_down_", "do_slow_down", "slow_down_now", "slow\u{e4}"] {
            assert_eq!(has_words_of(text, "slow_down", ""), text == "slow_down_", "{text}");
        }
        assert!(has_words_of("The token is revoked", "token_revoked", "the is"));
        assert!(!has_words_of("The token is not revoked", "token_revoked", "the is"));
    }
}
