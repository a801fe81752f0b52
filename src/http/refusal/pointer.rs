//! The value at a JSON pointer (RFC 6901) in a text of which there may be more to come: found as soon as it is there.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// What is at a pointer.
pub(super) enum Found {
    Value(Value),
    /// Nothing, however much is still to come.
    Nothing,
    /// It may be in what is still to come.
    Torn,
}

/// Looks into the first JSON value of `text`, if that is an object or an array. `is_last`: nothing more is read.
pub(super) fn find(text: &[u8], pointer: &str, is_last: bool) -> Found {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
    match text.first() {
        None => return Found::Torn,
        Some(b'{' | b'[') => {}
        // The rest of a byte order mark may be on its way.
        Some(0xef) if text.len() < 3 => return Found::Torn,
        // A body that begins in another way is not waited for.
        Some(_) => return Found::Nothing,
    }
    let Some(path) = pointer.strip_prefix('/') else { return Found::Nothing };
    let path: Vec<String> = path.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    // To look again after each piece would cost more than it saves.
    if !is_last && !matches!(text.trim_ascii_end().last(), Some(b'}' | b']' | b',' | b'"')) {
        return Found::Torn;
    }
    // A number at the end may go on. In an object or an array, something else comes after it.
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let end = text.iter().rposition(|byte| !is_of_number(byte)).map_or(0, |last| last + 1);
    let (before, number) = text.split_at_checked(end).unwrap_or_default();
    // What has no digit may be the end of `true`.
    let text = if number.iter().any(u8::is_ascii_digit) { before } else { text };
    let text = String::from_utf8_lossy(text);
    let mut found = None;
    let result = Follow { path: &path, found: &mut found }.deserialize(&mut serde_json::Deserializer::from_str(&text));
    match (found, result) {
        (Some(value), _) => Found::Value(value),
        (None, Err(error)) if error.is_eof() => Found::Torn,
        (None, _) => Found::Nothing,
    }
}

/// Follows the rest of a pointer, and passes by what is beside it.
struct Follow<'a> {
    path: &'a [String],
    found: &'a mut Option<Value>,
}

impl<'de> DeserializeSeed<'de> for Follow<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        if !self.path.is_empty() {
            return input.deserialize_any(self);
        }
        *self.found = Some(Value::deserialize(input)?);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Follow<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Some((part, path)) = self.path.split_first() else { return Ok(()) };
        while let Some(name) = members.next_key::<String>()? {
            if name == *part {
                return members.next_value_seed(Follow { path, found: self.found });
            }
            members.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Some((part, path)) = self.path.split_first() else { return Ok(()) };
        // A leading zero is no number of an element.
        let index = part.parse().ok().filter(|index: &usize| index.to_string() == *part);
        let Some(index) = index else { return ignore(elements) };
        for _ in 0..index {
            if elements.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        elements.next_element_seed(Follow { path, found: self.found }).map(|_| ())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

fn ignore<'de, A: SeqAccess<'de>>(mut elements: A) -> Result<(), A::Error> {
    while elements.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &[u8], pointer: &str) -> String {
        match find(text, pointer, true) {
            Found::Value(value) => value.to_string(),
            Found::Nothing => "nothing".to_owned(),
            Found::Torn => "torn".to_owned(),
        }
    }

    #[test]
    fn a_whole_text_says_what_serde_jsons_own_pointer_says() {
        let text = r#"{"a/b":{"~":[1,{"c":null}],"":true},"d":-1.5,"e":"x","f":[]}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        for pointer in [
            "/a~1b",
            "/a~1b/~0",
            "/a~1b/~0/0",
            "/a~1b/~0/00",
            "/a~1b/~0/1/c",
            "/a~1b/~0/2",
            "/a~1b/~0/-",
            "/a~1b/",
            "/d",
            "/d/x",
            "/e",
            "/e/0",
            "/f",
            "/f/0",
            "/f/+0",
            "/none",
            "/a",
            "/",
        ] {
            let expected = value.pointer(pointer).map_or("nothing".to_owned(), Value::to_string);
            assert_eq!(shown(text.as_bytes(), pointer), expected, "{pointer}");
        }
        assert_eq!(shown(text.as_bytes(), ""), "nothing", "the whole is no value to compare");
        assert_eq!(shown(text.as_bytes(), "d"), "nothing");
    }

    #[test]
    fn a_torn_text_says_no_more_than_is_sure() {
        for (text, expected) in [
            ("", "torn"),
            ("\u{feff}", "torn"),
            ("<html>", "nothing"),
            ("\"a\"", "nothing"),
            ("{", "torn"),
            ("{\"a\"", "torn"),
            ("{\"a\":", "torn"),
            ("{\"a\":19", "torn"),
            ("{\"a\":190,", "190"),
            ("{\"a\":190}", "190"),
            ("\u{feff} {\"a\":\"x\"", "\"x\""),
            ("{\"a\":\"x", "torn"),
            ("{\"a\":tru", "torn"),
            ("{\"b\":[1,2,{}],\"a\":true", "true"),
            ("{\"b\":1}", "nothing"),
            ("{\"b\":1} {\"a\":1}", "nothing"),
            ("{]", "nothing"),
            ("[1,2", "torn"),
            ("[1,2]", "nothing"),
        ] {
            assert_eq!(shown(text.as_bytes(), "/a"), expected, "{text}");
        }
        assert_eq!(shown(b"\xef\xbb", "/a"), "torn");
        assert_eq!(shown(b"{\"b\":\"\xe9\",\"a\":\"expir\xe9\"}", "/a"), "\"expir\u{fffd}\"");
        assert_eq!(shown("[".repeat(10_000).as_bytes(), "/0/0"), "nothing", "deeper than any refusal");
    }
}
