//! Reads one JSON object into whatever its members are for: the claims of a JWT, the answer of a token endpoint, a stored
//! token.
//!
//! Straight into their fields by serde, so that no tree of values keeps an unwiped secret; and by one reader for all
//! of them, which in a small binary weighs a third of three.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

/// A member's value, as far as anybody here needs it: what cannot be used must not make the rest unreadable.
#[derive(Default)]
pub(crate) enum Value {
    Text(Zeroizing<String>),
    Number(f64),
    /// The texts in it.
    #[cfg_attr(not(feature = "ureq"), allow(dead_code, reason = "only a token answer has one that matters"))]
    List(Vec<Zeroizing<String>>),
    Null,
    #[cfg(feature = "browser")]
    True,
    Object,
    Other,
    #[default]
    Missing,
}

/// Puts the members of the object `text` into `values`, in the order of `names`, which has blanks between them; what is missing
/// there stays as it is. `None` if `text` is no object. All other members are skipped, whatever is in them; of those that come
/// twice the last one counts. (A table of names weighs more in a small binary, and so does a closure that takes the values.)
pub(crate) fn read_object(text: &[u8], names: &str, values: &mut [Value]) -> Option<()> {
    debug_assert_eq!(names.split(' ').count(), values.len());
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = Any(Some((names, values))).deserialize(&mut json).ok()?;
    json.end().ok()?;
    matches!(value, Value::Object).then_some(())
}

/// The same text with its needless escapes resolved: those of printable ASCII characters other than quotation mark and backslash.
///
/// serde_json reads a string that has escapes into a buffer of its own, which nobody wipes. Tokens have needless ones at most,
/// from servers that escape `/` or `+`.
#[cfg(feature = "ureq")]
fn without_needless_escapes(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut resolved = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut is_string = false;
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        let mut byte = *byte;
        if byte == b'"' {
            is_string = !is_string;
        } else if byte == b'\\' {
            let resolves_to = if is_string { character(&mut rest) } else { None };
            byte = resolves_to.unwrap_or_else(|| {
                resolved.push(b'\\');
                // Not looked at: it may be a quotation mark that does not end the string.
                rest.next().copied().unwrap_or_default()
            });
        }
        resolved.push(byte);
    }
    resolved
}

/// The character that a backslash before this stands for (RFC 8259 section 7), if it needs none.
#[cfg(feature = "ureq")]
fn character(rest: &mut std::slice::Iter<'_, u8>) -> Option<u8> {
    let mut behind = rest.clone();
    let character = match behind.next()? {
        b'/' => b'/',
        b'u' => {
            let mut code = 0;
            for _ in 0..4 {
                code = 16 * code + char::from(*behind.next()?).to_digit(16)?;
            }
            u8::try_from(code).ok().filter(|c| matches!(c, b' '..=b'~') && !matches!(c, b'"' | b'\\'))?
        }
        _ => return None,
    };
    *rest = behind;
    Some(character)
}

/// The members of these names, as [`read_object`] has them. `None` if the text is no JSON object.
#[cfg(feature = "ureq")]
pub(crate) fn read_members<const N: usize>(text: &[u8], names: &str) -> Option<[Value; N]> {
    let mut values = std::array::from_fn(|_| Value::default());
    read_torn(text, names, &mut values)?;
    Some(values)
}

/// The same as far as the text can be read: it may be cut off, or followed by something else.
///
/// A byte order mark in front is ignored, as RFC 8259 §8.1 lets us: some servers send one. A text that is not UTF-8, as all JSON
/// should be, is read as Latin-1: what matters in it is ASCII.
#[cfg(feature = "ureq")]
pub(crate) fn read_torn(text: &[u8], names: &str, values: &mut [Value]) -> Option<()> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let latin_1 = std::str::from_utf8(text).is_err().then(|| {
        // Enough from the start: a text that grows leaves a copy of itself behind.
        let mut decoded = Zeroizing::new(String::with_capacity(2 * text.len()));
        decoded.extend(text.iter().map(|byte| char::from(*byte)));
        decoded
    });
    let text = latin_1.as_ref().map_or(text, |decoded| decoded.as_bytes());
    read_object(&without_needless_escapes(text), names, values)
}

/// Reads a value of any type: one visitor for all, which has no error of its own. In a small binary, the words of serde's
/// errors weigh as much as all the rest here.
///
/// Of an object, it takes the members of these names; of one within another, none.
struct Any<'t>(Option<(&'t str, &'t mut [Value])>);

/// A value that is not the object itself.
const ONE: Any<'static> = Any(None);

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_bool<E>(self, _flag: bool) -> Result<Value, E> {
        #[cfg(feature = "browser")]
        if _flag {
            return Ok(Value::True);
        }
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(value) = list.next_element_seed(ONE)? {
            if let Value::Text(text) = value {
                texts.push(text);
            }
        }
        Ok(Value::List(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        match self.0 {
            Some((names, values)) => {
                while let Some(name) = map.next_key::<String>()? {
                    let place = names.split(' ').position(|known| known == name);
                    match place.and_then(|place| values.get_mut(place)) {
                        Some(value) => *value = map.next_value_seed(ONE)?,
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
            }
            None => while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {},
        }
        Ok(Value::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<[Value; 3]> {
        let mut values = [Value::Missing, Value::Missing, Value::Missing];
        read_object(text.as_bytes(), "a b c", &mut values)?;
        Some(values)
    }

    #[test]
    fn every_member_is_read_and_the_last_of_those_that_come_twice_counts() {
        let [a, b, c] = read(r#" {"a":1,"\u0062":[[],{"x":{}},"y"],"c":{"a":null},"a":""} "#).unwrap();
        assert!(matches!(a, Value::Text(text) if text.is_empty()));
        assert!(matches!(b, Value::List(texts) if texts.len() == 1 && *texts[0] == "y"));
        assert!(matches!(c, Value::Object));
        let [a, b, c] = read(r#"{"b":null,"c":false,"a b":1,"":2}"#).unwrap();
        assert!(matches!((a, b, c), (Value::Missing, Value::Null, Value::Other)));
        #[cfg(feature = "browser")]
        assert!(matches!(read(r#"{"a":true}"#).unwrap(), [Value::True, ..]));
        assert!(matches!(read("{}").unwrap(), [Value::Missing, Value::Missing, Value::Missing]));
        for refused in ["", "[]", "7", "{}{}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1e999}", "{\"a\":\"\n\"}"] {
            assert!(read(refused).is_none(), "{refused}");
        }
        // What nobody wants may be what it likes, as long as it is JSON.
        assert!(matches!(read(r#"{"x":1e999,"y":"\ud83d","a":1}"#).unwrap(), [Value::Number(1.0), ..]));
        assert!(read(r#"{"x":01,"a":1}"#).is_none());
        // A bound on the stack.
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(100)).is_some());
        assert!(read(&nested(1_000_000)).is_none());
    }

    #[cfg(feature = "ureq")]
    #[test]
    fn escapes_mean_the_same_whether_they_are_needed_or_not() {
        for (text, means) in [
            (r"a\/b\u002Bc\u002b\u0041", "a/b+c+A"),
            (r"\\/\\u002b", r"\/\u002b"),
            (r#"\"\u0022\u005c\\"#, r#"""\\"#),
            (r"\u00fc\ud83d\ude00\u007f\u0000\n", "\u{fc}\u{1f600}\u{7f}\0\n"),
        ] {
            let json = format!(r#"{{"a":"{text}"}}"#);
            let [found] = read_members(json.as_bytes(), "a").unwrap();
            assert!(matches!(found, Value::Text(text) if *text == means), "{json}");
        }
        // A string that serde_json need not unescape is one that it keeps no copy of.
        assert_eq!(*without_needless_escapes(br#"{"a\u002f":"\/\u002B\u007e"}"#), br#"{"a/":"/+~"}"#);
        for wrong in [
            r#"{"a":"\u"}"#,
            r#"{"a":"\u00"}"#,
            r#"{"a":"\u00+1"}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\"#,
            r#"{\u0020}"#,
            r#"{\/}"#,
        ] {
            assert!(read_members::<1>(wrong.as_bytes(), "a").is_none(), "{wrong}");
        }
    }

    #[cfg(feature = "ureq")]
    #[test]
    fn members_by_name_whatever_else_there_is() {
        let json = br#"{"x":{"a":"inner"},"b":["no text"],"a":"first","a":"last","c":7}"#;
        let [a, b, c, d] = read_members(json, "a b c d").unwrap().map(Value::text);
        assert_eq!((a.as_deref(), b, c, d), (Some("last"), None, None, None));
        assert!(read_members::<1>(b"<html>", "a").is_none());
        let [a] = read_members(b"\xef\xbb\xbf{\"a\":\"marked\"}", "a").unwrap().map(Value::text);
        assert_eq!(a.as_deref(), Some("marked"));
        assert!(read_members::<1>(b"\xef\xbb\xbf\xef\xbb\xbf{}", "a").is_none());
        let [a] = read_members(b"{\"b\":\"\xff\",\"a\":\"l\xe4sen\"}", "a").unwrap().map(Value::text);
        assert_eq!(a.as_deref(), Some("l\u{e4}sen"));
    }

    #[cfg(feature = "ureq")]
    #[test]
    fn members_of_a_text_that_breaks_off() {
        let torn = |text: &[u8]| {
            let mut values = [Value::Missing, Value::Missing];
            let is_whole = read_torn(text, "a b", &mut values);
            (values, is_whole)
        };
        let whole = br#"{"a":"1","x":[{"a":"inner"}],"b":"2"}"#;
        for end in 0..=whole.len() {
            let ([a, b], is_whole) = torn(&whole[..end]);
            assert_eq!(a.text().is_some(), end >= 8, "{end}");
            assert_eq!(b.text().is_some(), end >= 36, "{end}");
            assert_eq!(is_whole.is_some(), end == whole.len());
        }
        let ([a, b], is_whole) = torn(br#"{"a":"1"} and so on "b":"2""#);
        assert_eq!((a.text().as_deref(), b.text(), is_whole), (Some("1"), None, None));
    }
}
