//! The members of a token answer (RFC 6749 §5.1, §5.2), read straight into wiped memory.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

/// What an answer may hold. A member of another type than it should have is as good as not there.
///
/// Of members that come twice the last one counts. serde_json keeps a text that has escapes in it in a buffer of its own
/// while it reads, which is not wiped; tokens have none, unless a server escapes the `/`.
#[derive(Default)]
pub(crate) struct Fields {
    pub(crate) access_token: Option<Zeroizing<String>>,
    pub(crate) token_type: Option<String>,
    pub(crate) refresh_token: Option<Zeroizing<String>>,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) scope: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) error_description: Option<String>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(name) = map.next_key::<Name>()? {
                    match name {
                        Name::AccessToken => fields.access_token = map.next_value::<Value>()?.secret(),
                        Name::TokenType => fields.token_type = map.next_value::<Value>()?.text(),
                        Name::RefreshToken => fields.refresh_token = map.next_value::<Value>()?.secret(),
                        Name::ExpiresIn => fields.expires_in = map.next_value::<Value>()?.lifetime(),
                        Name::Scope => fields.scope = map.next_value::<Value>()?.scope(),
                        Name::Error => fields.error = map.next_value::<Value>()?.text(),
                        Name::ErrorDescription => fields.error_description = map.next_value::<Value>()?.text(),
                        Name::Other => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

enum Name {
    AccessToken,
    TokenType,
    RefreshToken,
    ExpiresIn,
    Scope,
    Error,
    ErrorDescription,
    Other,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(match name {
                    "access_token" => Name::AccessToken,
                    "token_type" => Name::TokenType,
                    "refresh_token" => Name::RefreshToken,
                    "expires_in" => Name::ExpiresIn,
                    "scope" => Name::Scope,
                    "error" => Name::Error,
                    "error_description" => Name::ErrorDescription,
                    _ => Name::Other,
                })
            }
        }

        deserializer.deserialize_identifier(Text)
    }
}

/// A member's value, whatever its type: what cannot be used must not make the rest of the answer unreadable.
#[derive(Default)]
pub(crate) enum Value {
    Text(Zeroizing<String>),
    Number(f64),
    List(Vec<Value>),
    #[default]
    Other,
}

impl Value {
    pub(crate) fn secret(self) -> Option<Zeroizing<String>> {
        match self {
            Value::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    pub(crate) fn text(self) -> Option<String> {
        self.secret().map(|mut text| std::mem::take(&mut *text))
    }

    /// Seconds, as a number or as text. What is no time to come, such as zero, is not given; what no clock can count is
    /// as long as can be, and the token sets the limit.
    pub(crate) fn lifetime(self) -> Option<Duration> {
        match self {
            // A fraction of a second is as good as none. (A conversion from f64 stops at the ends of the scale.)
            Value::Number(seconds) => Some(seconds as u64),
            // By hand: to read a text as f64 costs a small binary 16 KB of tables.
            Value::Text(text) => {
                let (digits, fraction) = text.trim_ascii().split_once('.').unwrap_or((&**text, ""));
                let digits = digits.trim_ascii();
                let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
                (!digits.is_empty() && is_number(digits) && is_number(fraction))
                    .then(|| digits.parse().unwrap_or(u64::MAX))
            }
            Value::List(_) | Value::Other => None,
        }
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
    }

    /// Words with blanks between them (RFC 6749 §3.3); some servers send a list of words.
    fn scope(self) -> Option<String> {
        match self {
            Value::List(words) => {
                let words: Vec<String> = words.into_iter().filter_map(Value::text).collect();
                (!words.is_empty()).then(|| words.join(" "))
            }
            other => other.text(),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
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

            fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Value::List(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }
        }

        deserializer.deserialize_any(Any)
    }
}
