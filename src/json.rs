//! Reads one JSON object (RFC 8259) into whatever its members are for: the claims of a JWT, the answer of a token endpoint.
//!
//! serde_json would leave copies behind that are not wiped, of each text with an escape in it, and with its types for these
//! two objects weighs 8 KB more in a small binary. What this reader takes and refuses is what serde_json does; the tests
//! hold the two side by side.

use std::mem;

use zeroize::Zeroizing;

/// How deep lists and objects may be in each other: a bound on the stack.
const MAX_DEPTH: u32 = 128;

/// A member's value, as far as anybody here needs it.
pub(crate) enum Value {
    /// One that is not UTF-8 is empty, and as good as not there.
    Text(Zeroizing<String>),
    Number(f64),
    /// The texts in it.
    #[cfg_attr(not(feature = "ureq"), allow(dead_code, reason = "only a token answer has one that matters"))]
    List(Vec<Zeroizing<String>>),
    Null,
    Other,
}

/// Reads `text`, an object and nothing else, and hands each member to `take`, which may refuse it by `None`.
///
/// # Errors
///
/// At which byte it is no JSON, or was refused. Not what stands there: that may be a secret.
pub(crate) fn read_object(text: &[u8], take: &mut dyn FnMut(&str, Value) -> Option<()>) -> Result<(), usize> {
    let mut reader = Reader(text);
    reader.document(take).ok_or_else(|| text.len() - reader.0.len())
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn document(&mut self, take: &mut dyn FnMut(&str, Value) -> Option<()>) -> Option<()> {
        self.sign(b'{')?;
        self.object(MAX_DEPTH, take)?;
        self.blanks();
        self.0.is_empty().then_some(())
    }

    /// The members of an object, and its closing brace.
    fn object(&mut self, depth: u32, take: &mut dyn FnMut(&str, Value) -> Option<()>) -> Option<()> {
        if self.sign(b'}').is_some() {
            return Some(());
        }
        loop {
            self.sign(b'"')?;
            let name = self.text()?;
            self.sign(b':')?;
            take(&name, self.value(depth)?)?;
            if self.sign(b',').is_none() {
                return self.sign(b'}');
            }
        }
    }

    fn value(&mut self, depth: u32) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        if self.sign(b'"').is_some() {
            self.text().map(Value::Text)
        } else if self.sign(b'{').is_some() {
            self.object(depth, &mut |_, _| Some(())).map(|()| Value::Other)
        } else if self.sign(b'[').is_some() {
            self.list(depth).map(Value::List)
        } else {
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
            match self.take(is_part) {
                b"null" => Some(Value::Null),
                b"true" | b"false" => Some(Value::Other),
                word => number(word).map(Value::Number),
            }
        }
    }

    /// The values of a list, and its closing bracket.
    fn list(&mut self, depth: u32) -> Option<Vec<Zeroizing<String>>> {
        let mut texts = Vec::new();
        if self.sign(b']').is_some() {
            return Some(texts);
        }
        loop {
            if let Value::Text(text) = self.value(depth)? {
                texts.push(text);
            }
            if self.sign(b',').is_none() {
                return self.sign(b']').map(|()| texts);
            }
        }
    }

    /// The inside of a text, and its closing quote (§7).
    fn text(&mut self) -> Option<Zeroizing<String>> {
        let mut end = 0;
        loop {
            match self.0.get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                0..b' ' => return None,
                _ => end += 1,
            }
        }
        let (inside, rest) = self.0.split_at_checked(end)?;
        // No escape is shorter than what it stands for, so this is enough.
        let mut text = Zeroizing::new(Vec::with_capacity(end));
        let mut inside = Reader(inside);
        while let Some(byte) = inside.byte() {
            if byte == b'\\' {
                let escaped = inside.escaped()?;
                text.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(byte);
            }
        }
        self.0 = rest;
        self.byte()?;
        Some(Zeroizing::new(String::from_utf8(mem::take(&mut *text)).unwrap_or_else(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            String::new()
        })))
    }

    /// What stands after a backslash.
    fn escaped(&mut self) -> Option<char> {
        Some(match self.byte()? {
            plain @ (b'"' | b'\\' | b'/') => plain.into(),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hex()?;
                // What is beyond 16 bits comes as a pair of surrogates; one alone is no character.
                let code = if (0xD800..0xDC00).contains(&unit) {
                    self.0 = self.0.strip_prefix(b"\\u")?;
                    let low = self.hex()?.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
                    0x10000 + ((unit - 0xD800) << 10) + low
                } else {
                    unit
                };
                char::from_u32(code)?
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |code, _| Some(code * 16 + char::from(self.byte()?).to_digit(16)?))
    }

    /// One of the signs that JSON is made of, and the blanks in front of it, if that is what comes next.
    fn sign(&mut self, sign: u8) -> Option<()> {
        self.blanks();
        self.0 = self.0.strip_prefix(&[sign])?;
        Some(())
    }

    /// What stands after the `e` of a number.
    fn exponent(&mut self) -> Option<i32> {
        let negative = self.sign(b'-').is_some();
        if !negative {
            self.sign(b'+');
        }
        let digits = Some(self.take(u8::is_ascii_digit)).filter(|digits| !digits.is_empty())?;
        let exponent =
            digits.iter().fold(0, |number: i32, digit| number.saturating_mul(10).saturating_add((digit - b'0').into()));
        Some(if negative { -exponent } else { exponent })
    }

    fn blanks(&mut self) {
        self.take(|byte| b" \t\n\r".contains(byte));
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// All bytes that fit.
    fn take(&mut self, fits: impl Fn(&u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !fits(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at_checked(end).unwrap_or_default();
        self.0 = rest;
        taken
    }
}

/// A number (§6). By hand: to have std read an f64 costs a small binary 16 KB of tables. The last bits may differ from what
/// it would read, for numbers of more than 15 digits; one that no f64 can hold is refused.
fn number(word: &[u8]) -> Option<f64> {
    let mut rest = Reader(word);
    let negative = rest.sign(b'-').is_some();
    let whole = rest.take(u8::is_ascii_digit);
    let fraction = match rest.sign(b'.') {
        Some(()) => Some(rest.take(u8::is_ascii_digit)).filter(|digits| !digits.is_empty())?,
        None => b"",
    };
    let exponent = match rest.sign(b'e').or_else(|| rest.sign(b'E')) {
        Some(()) => rest.exponent()?,
        None => 0,
    };
    if !rest.0.is_empty() || whole.is_empty() || (whole.len() > 1 && whole.starts_with(b"0")) {
        return None;
    }
    let digits = whole.iter().chain(fraction);
    let digits = digits.fold(0.0, |number, digit| number * 10.0 + f64::from(digit - b'0'));
    let exponent = exponent.saturating_sub(fraction.len().try_into().ok()?);
    // Powers of ten are exact and their reciprocals are not.
    let scale = 10_f64.powi(exponent.abs());
    let number = if exponent < 0 { digits / scale } else { digits * scale };
    number.is_finite().then_some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What was read, the last of members that come twice; lists by their texts alone.
    fn ours(text: &[u8]) -> Option<BTreeMap<String, serde_json::Value>> {
        let mut members = BTreeMap::new();
        let mut take = |name: &str, value| {
            let value = match value {
                Value::Text(text) => text.as_str().into(),
                Value::Number(number) => number.into(),
                Value::List(texts) => texts.iter().map(|text| text.as_str()).collect(),
                Value::Null => serde_json::Value::Null,
                Value::Other => true.into(),
            };
            members.insert(name.to_owned(), value);
            Some(())
        };
        read_object(text, &mut take).ok().map(|()| members)
    }

    fn theirs(text: &[u8]) -> Option<BTreeMap<String, serde_json::Value>> {
        let members: BTreeMap<String, serde_json::Value> = serde_json::from_slice(text).ok()?;
        let plain = |value| match value {
            serde_json::Value::Number(number) => number.as_f64().unwrap().into(),
            serde_json::Value::Array(values) => values.into_iter().filter(|value| value.is_string()).collect(),
            serde_json::Value::Bool(_) | serde_json::Value::Object(_) => true.into(),
            other => other,
        };
        Some(members.into_iter().map(|(name, value)| (name, plain(value))).collect())
    }

    const SAMPLE: &str = r#" {"a" : "b\u00fc\"\\\/\b\f\n\r\t\ud83d\ude00ü", "n":-1.25e+2, "z":[ "x",[],{"k":[1]},"y" ],
        "e":{}, "t":true,"f":false , "o":null,"0":0,"a":10E-1} "#;

    #[test]
    fn reads_what_serde_json_reads() {
        assert_eq!(ours(SAMPLE.as_bytes()).unwrap().len(), 8);
        for text in [
            SAMPLE,
            "{}",
            "",
            "{",
            "[]",
            "7",
            "{}{}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":1e}",
            "{\"a\":1e+}",
            "{\"a\":1e-+1}",
            "{\"a\":+1}",
            "{\"a\":-}",
            "{\"a\":1e22}",
            "{\"a\":1e999}",
            "{\"a\":1e-999}",
            "{\"a\":18446744073709551616}",
            "{\"a\":1700000300.25}",
            "{\"a\":NaN}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\\ud83dx\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\n\"}",
            "{\"a\":[1,]}",
            "{\"a\":[}",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "{\"a\":tru}",
            "{\"a\":True}",
        ] {
            assert_eq!(ours(text.as_bytes()), theirs(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn no_slip_of_a_byte_is_judged_otherwise_than_by_serde_json() {
        for place in 0..SAMPLE.len() {
            let mut cut = SAMPLE.as_bytes().to_vec();
            cut.remove(place);
            // A text that is not UTF-8 is where the two differ.
            if str::from_utf8(&cut).is_ok() {
                assert_eq!(ours(&cut), theirs(&cut), "{}", cut.escape_ascii());
            }
            for slip in b"\"\\{}[]:,01-+.eEutn \n\0" {
                let mut text = SAMPLE.as_bytes().to_vec();
                text[place] = *slip;
                if str::from_utf8(&text).is_ok() {
                    assert_eq!(ours(&text), theirs(&text), "{}", text.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn numbers_at_the_ends_of_the_scale() {
        let read = |word: &str| number(word.as_bytes());
        assert!(read("1e300").is_some_and(|number| (number / 1e300 - 1.0).abs() < 1e-14));
        assert_eq!(
            (read("1e309"), read("-1e309"), read("1e-999"), read("1e99999999999")),
            (None, None, Some(0.0), None)
        );
    }

    #[test]
    fn a_text_that_is_not_utf_8_is_empty_and_spoils_nothing() {
        let members = ours(b"{\"a\":\"\xfc\",\"\xfc\":1,\"b\":\"c\"}").unwrap();
        assert_eq!((&members["a"], &members["b"]), (&"".into(), &"c".into()));
    }

    #[test]
    fn depth_has_a_bound() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
        assert!(ours(&nested(100)).is_some());
        assert!(ours(&nested(1_000_000)).is_none());
    }

    #[test]
    fn errors_say_where() {
        let refuse = &mut |name: &str, _: Value| (name != "b").then_some(());
        assert_eq!(read_object(br#"{"a":1,"b":22,"c":3}"#, refuse), Err(13));
        assert_eq!(read_object(br#"{"a":x}"#, refuse), Err(6));
    }
}
