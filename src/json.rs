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
    #[default]
    Other,
}

/// Hands each member of the object `text` that has one of the names `wanted` to `take`, which may refuse it by `None`. `None`
/// too if `text` is no object. All others are skipped, whatever is in them.
pub(crate) fn read_object(text: &[u8], wanted: &[&str], take: &mut dyn FnMut(&str, Value) -> Option<()>) -> Option<()> {
    let mut refused = false;
    let mut take = |name: &str, value| refused |= take(name, value).is_none();
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = Any { wanted, take: Some(&mut take) }.deserialize(&mut json).ok()?;
    json.end().ok()?;
    (matches!(value, Value::Object) && !refused).then_some(())
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

/// The members of these names, in this order; what is missing is [`Value::Other`]. `None` if the text is no JSON object.
///
/// A byte order mark in front is ignored, as RFC 8259 §8.1 lets us: some servers send one.
#[cfg(feature = "ureq")]
pub(crate) fn read_members<const N: usize>(text: &[u8], names: [&str; N]) -> Option<[Value; N]> {
    let (values, whole) = read_torn(text, names);
    whole.map(|()| values)
}

/// The same as far as the text can be read: it may be cut off, or followed by something else.
///
/// A text that is not UTF-8, as all JSON should be (RFC 8259 §8.1), is read as Latin-1: what matters in it is ASCII.
#[cfg(feature = "ureq")]
pub(crate) fn read_torn<const N: usize>(text: &[u8], names: [&str; N]) -> ([Value; N], Option<()>) {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let latin_1 = std::str::from_utf8(text).is_err().then(|| {
        // Enough from the start: a text that grows leaves a copy of itself behind.
        let mut decoded = Zeroizing::new(String::with_capacity(2 * text.len()));
        decoded.extend(text.iter().map(|byte| char::from(*byte)));
        decoded
    });
    let text = latin_1.as_ref().map_or(text, |decoded| decoded.as_bytes());
    let mut values = std::array::from_fn(|_| Value::default());
    let mut take = |name: &str, value| {
        let place = names.iter().position(|wanted| *wanted == name);
        if let Some(wanted) = place.and_then(|place| values.get_mut(place)) {
            *wanted = value;
        }
        Some(())
    };
    let whole = read_object(&without_needless_escapes(text), &names, &mut take);
    (values, whole)
}

/// Reads a value of any type: one visitor for all, which has no error of its own. In a small binary, the words of serde's
/// errors weigh as much as all the rest here.
struct Any<'t> {
    wanted: &'t [&'t str],
    /// Who gets the wanted members of an object; those of one within another are skipped.
    take: Option<&'t mut Take<'t>>,
}

type Take<'t> = dyn FnMut(&str, Value) + 't;

/// A value that is not the object itself.
const ONE: Any<'static> = Any { wanted: &[], take: None };

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
        match self.take {
            Some(take) => {
                while let Some(name) = map.next_key::<String>()? {
                    if self.wanted.contains(&&*name) {
                        take(&name, map.next_value_seed(ONE)?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
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

    fn names(text: &str) -> Option<Vec<String>> {
        let mut names = Vec::new();
        let mut take = |name: &str, _| {
            names.push(name.to_owned());
            (name != "no").then_some(())
        };
        read_object(text.as_bytes(), &["a", "b", "c", "no"], &mut take)?;
        Some(names)
    }

    #[test]
    fn every_member_comes_once_and_any_may_be_refused() {
        assert_eq!(names(r#" {"a":1,"\u0062":[[],{"x":{}}],"c":{"d":null},"a":""} "#).unwrap(), ["a", "b", "c", "a"]);
        assert_eq!(names("{}").unwrap(), [""; 0]);
        for refused in
            [r#"{"no":1}"#, "", "[]", "7", "{}{}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1e999}", "{\"a\":\"\n\"}"]
        {
            assert_eq!(names(refused), None, "{refused}");
        }
        // What nobody wants may be what it likes, as long as it is JSON.
        assert_eq!(names(r#"{"x":1e999,"y":"\ud83d","a":1}"#).unwrap(), ["a"]);
        assert_eq!(names(r#"{"x":01,"a":1}"#), None);
        // A bound on the stack.
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(names(&nested(100)).is_some());
        assert!(names(&nested(1_000_000)).is_none());
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
            let [found] = read_members(json.as_bytes(), ["a"]).unwrap();
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
            assert!(read_members(wrong.as_bytes(), ["a"]).is_none(), "{wrong}");
        }
    }

    #[cfg(feature = "ureq")]
    #[test]
    fn members_by_name_whatever_else_there_is() {
        let json = br#"{"x":{"a":"inner"},"b":["no text"],"a":"first","a":"last","c":7}"#;
        let [a, b, c, d] = read_members(json, ["a", "b", "c", "d"]).unwrap().map(Value::text);
        assert_eq!((a.as_deref(), b, c, d), (Some("last"), None, None, None));
        assert!(read_members(b"<html>", ["a"]).is_none());
        let [a] = read_members(b"\xef\xbb\xbf{\"a\":\"marked\"}", ["a"]).unwrap().map(Value::text);
        assert_eq!(a.as_deref(), Some("marked"));
        assert!(read_members(b"\xef\xbb\xbf\xef\xbb\xbf{}", ["a"]).is_none());
        let [a] = read_members(b"{\"b\":\"\xff\",\"a\":\"l\xe4sen\"}", ["a"]).unwrap().map(Value::text);
        assert_eq!(a.as_deref(), Some("l\u{e4}sen"));
    }

    #[cfg(feature = "ureq")]
    #[test]
    fn members_of_a_text_that_breaks_off() {
        let whole = br#"{"a":"1","x":[{"a":"inner"}],"b":"2"}"#;
        for end in 0..=whole.len() {
            let ([a, b], is_whole) = read_torn(&whole[..end], ["a", "b"]);
            assert_eq!(a.text().is_some(), end >= 8, "{end}");
            assert_eq!(b.text().is_some(), end >= 36, "{end}");
            assert_eq!(is_whole.is_some(), end == whole.len());
        }
        let ([a, b], is_whole) = read_torn(br#"{"a":"1"} and so on "b":"2""#, ["a", "b"]);
        assert_eq!((a.text().as_deref(), b.text(), is_whole), (Some("1"), None, None));
    }
}
