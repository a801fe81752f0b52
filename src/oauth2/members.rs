//! Picks single members out of a JSON object, whatever else is in it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::fields::Value;

/// The members of these names, in this order; what is missing is [`Value::Other`]. `None` if the text is no JSON object.
pub(crate) fn read<const N: usize>(json: &[u8], names: [&str; N]) -> Option<[Value; N]> {
    let mut values = std::array::from_fn(|_| Value::default());
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Wanted { names: &names, values: &mut values }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(values)
}

/// Slices, so that there is one copy of this code for all lengths.
struct Wanted<'a> {
    names: &'a [&'a str],
    values: &'a mut [Value],
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(place) = map.next_key_seed(Place(self.names))? {
            match place.and_then(|place| self.values.get_mut(place)) {
                Some(value) => *value = map.next_value()?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A member's name as its place among the wanted ones.
struct Place<'a>(&'a [&'a str]);

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Place<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|wanted| *wanted == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_by_name_whatever_else_there_is() {
        let text = |value: Value| value.text();
        let json = br#"{"x":{"a":"inner"},"b":["no text"],"a":"first","a":"last","c":7}"#;
        let [a, b, c, d] = read(json, ["a", "b", "c", "d"]).unwrap().map(text);
        assert_eq!((a.as_deref(), b, c, d), (Some("last"), None, None, None));
    }

    #[test]
    fn what_is_no_object_gives_nothing() {
        for json in ["", "[]", "\"a\"", "null", "{", "{}x", "<html>", "{\"a\":}"] {
            assert!(read(json.as_bytes(), ["a"]).is_none(), "{json}");
        }
    }
}
