//! The text form of a stored token: written and read here and nowhere else.
//!
//! A reader looks at `version` before anything else, whatever else is there, so that a later version may give every other
//! member a new meaning. Within version 1, a member that it does not know is passed over, and lost when the token is
//! next saved: a change for which that would do harm is a new version.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{Refusal, Stored};
use crate::json::{self, Value};
use crate::token::Secret;
use crate::{Error, Result, Token};

const VERSION: u64 = 1;

const MEMBERS: &str = "version access_token refresh_token scope lifetime_ms received_at_ms owner refused refused_code";

impl Stored {
    /// The text form: one line of JSON, tagged with its version, wiped on drop.
    ///
    /// ```json
    /// {"version":1,"access_token":"…","refresh_token":"…","scope":"…","lifetime_ms":3600000,"received_at_ms":1767225600000}
    /// ```
    ///
    /// `version` is always there, and `access_token` or `refresh_token`. `received_at_ms` is the time since 1970-01-01 00:00
    /// UTC at which the token was asked for, corrected by the server's clock where that is known. `owner` says whose token it
    /// is ([`TokenSource::owner`](crate::TokenSource::owner)). `refused` and `refused_code` are there once the authorization
    /// server has refused to renew it, with what it said: without them, the refresh token is tried again.
    pub fn to_text(&self) -> Zeroizing<String> {
        write(self)
    }

    /// Reads the text form. Members that it does not know are passed over, so that a member may be added without a new
    /// version; a version other than 1 has a meaning that this crate cannot know.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Store`](crate::ErrorKind::Store) if it is not that form, or of a later version. The store should keep
    /// the text in both cases: it may be worth a look, or a newer program's.
    pub fn from_text(text: &str) -> Result<Self> {
        read(text.as_bytes()).map_err(|unreadable| Error::store(format!("the stored token {unreadable}")))
    }
}

/// Why a text is not a stored token. Never quotes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unreadable {
    /// A later version: another program's, and good.
    Later(u64),
    /// Anything else.
    Foreign(&'static str),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Later(version) => {
                write!(f, "is of version {version}, written by a later program; this one reads version {VERSION}")
            }
            Unreadable::Foreign(why) => write!(f, "cannot be read: {why}"),
        }
    }
}

pub(crate) fn write(stored: &Stored) -> Zeroizing<String> {
    let Stored { access, refresh, scope, lifetime, received, owner, refused } = stored;
    let strings = [
        ("access_token", access.as_ref().map(Secret::secret)),
        ("refresh_token", refresh.as_ref().map(Secret::secret)),
        ("scope", scope.as_deref()),
        ("owner", owner.as_deref()),
        ("refused", refused.as_ref().map(|refusal| &*refusal.message)),
        ("refused_code", refused.as_ref().and_then(|refusal| refusal.code.as_deref())),
    ];
    let numbers = [("lifetime_ms", *lifetime), ("received_at_ms", *received)];
    // As much as it can become: a buffer that grew would leave a copy behind that nobody wipes.
    let length = 256 + strings.iter().filter_map(|(_, value)| Some(6 * (*value)?.len())).sum::<usize>();
    let mut text = Zeroizing::new(String::with_capacity(length));
    text.push_str("{\"version\":1");
    for (name, value) in strings {
        if let Some(value) = value {
            text.push_str(",\"");
            text.push_str(name);
            text.push_str("\":\"");
            escape(&mut text, value);
            text.push('"');
        }
    }
    for (name, value) in numbers {
        if let Some(value) = value {
            text.push_str(&format!(",\"{name}\":{}", u64::try_from(value.as_millis()).unwrap_or(u64::MAX)));
        }
    }
    text.push_str("}\n");
    text
}

/// RFC 8259 section 7: quotation mark, backslash and controls. By hand, so that no buffer of a serializer's keeps a secret.
fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\0'..='\u{1f}' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
}

pub(crate) fn read(text: &[u8]) -> Result<Stored, Unreadable> {
    if text.trim_ascii().is_empty() {
        return Err(Unreadable::Foreign("it is empty"));
    }
    let mut members: [Value; 9] = std::array::from_fn(|_| Value::Missing);
    json::read_object(text, MEMBERS, &mut members).ok_or(Unreadable::Foreign("it is no JSON object"))?;
    let [version, members @ ..] = members;
    match version {
        Value::Number(1.0) => {}
        Value::Number(later) if later >= 2.0 && later.fract() == 0.0 => {
            return Err(Unreadable::Later(later as u64));
        }
        _ => return Err(Unreadable::Foreign("it has no version that there ever was")),
    }
    of_version_1(members).ok_or(Unreadable::Foreign(
        "a member is not what version 1 says, or access_token is no access token or missing",
    ))
}

/// `None` if a member is of another type than version 1 says. They come in the order of [`MEMBERS`].
fn of_version_1(members: [Value; 8]) -> Option<Stored> {
    let [access, refresh, scope, lifetime, received, owner, refused, code] = members;
    let access = optional(access, text)?.map(Secret::from);
    let refresh = optional(refresh, text)?.filter(|refresh| !refresh.is_empty()).map(Secret::from);
    match &access {
        // What no header may carry was not written by us.
        Some(access) => drop(Token::new(access.secret()).ok()?),
        None => drop(refresh.as_ref()?),
    }
    let code = optional(code, string)?;
    Some(Stored {
        access,
        refresh,
        scope: optional(scope, string)?,
        lifetime: optional(lifetime, milliseconds)?,
        received: optional(received, milliseconds)?,
        owner: optional(owner, string)?,
        refused: optional(refused, string)?.map(|message| Refusal { message, code }),
    })
}

/// A member that may be missing, but not be of another type. `None` if it is.
fn optional<T>(member: Value, read: fn(Value) -> Option<T>) -> Option<Option<T>> {
    match member {
        Value::Missing => Some(None),
        value => read(value).map(Some),
    }
}

fn text(value: Value) -> Option<Zeroizing<String>> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// What is no secret.
fn string(value: Value) -> Option<String> {
    text(value).map(|mut text| std::mem::take(&mut *text))
}

fn milliseconds(value: Value) -> Option<Duration> {
    match value {
        Value::Number(number) if number >= 0.0 && number.fract() == 0.0 => Some(Duration::from_millis(number as u64)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn stored() -> Stored {
        Stored {
            access: Some(Secret::new("secret-access".to_owned())),
            refresh: Some(Secret::new("secret \"refresh\" \\ \n \u{1} ü".to_owned())),
            scope: Some("mail calendar".to_owned()),
            lifetime: Some(Duration::from_millis(3_600_500)),
            received: Some(Duration::from_millis(1_767_225_600_123)),
            owner: Some("my-client at https://id.example.com/token".to_owned()),
            refused: Some(Refusal { message: "refused: expired".to_owned(), code: Some("invalid_grant".to_owned()) }),
        }
    }

    #[test]
    fn the_text_is_json_of_version_1_and_comes_back_as_it_was() {
        let text = stored().to_text();
        let lengths = 13 + stored().key().len() + 13 + 41 + 16 + 13;
        assert_eq!(text.capacity(), 256 + 6 * lengths, "it never grew");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "version": 1, "access_token": "secret-access", "refresh_token": stored().key(),
                "scope": "mail calendar", "lifetime_ms": 3_600_500, "received_at_ms": 1_767_225_600_123_u64,
                "owner": "my-client at https://id.example.com/token",
                "refused": "refused: expired", "refused_code": "invalid_grant",
            })
        );
        let back = Stored::from_text(&text).unwrap();
        assert!(back.is_same_as(&stored()));
        assert_eq!(
            (&back.scope, back.lifetime, back.received),
            (&stored().scope, stored().lifetime, stored().received)
        );
        assert_eq!((&back.owner, &back.refused), (&stored().owner, &stored().refused));
        assert!(back.is_refused());
    }

    #[test]
    fn what_may_be_missing() {
        let back = Stored::from_text("{\"access_token\":\"a\",\"version\":1}").unwrap();
        assert_eq!(*back.to_text(), "{\"version\":1,\"access_token\":\"a\"}\n");
        assert_eq!((back.lifetime, back.received), (None, None));
        assert!(!back.is_refused());
        assert!(back.to_token().unwrap().refresh_secret().is_none());
        let back = Stored::from_text("{\"refresh_token\":\"r\",\"version\":1}").unwrap();
        assert_eq!(*back.to_text(), "{\"version\":1,\"refresh_token\":\"r\"}\n");
        let token = back.to_token().unwrap();
        assert_eq!((token.has_access(), token.refresh_secret()), (false, Some("r")));
    }

    #[test]
    fn members_that_are_not_known_are_passed_over() {
        let text = "{\"note\":[{\"a\":1}],\"version\":1,\"access_token\":\"a\",\"dpop_key\":null}";
        assert!(Stored::from_text(text).is_ok());
    }

    #[test]
    fn a_later_version_is_told_apart_whatever_it_holds() {
        for text in ["{\"access_token\":7,\"version\":2}", "{\"version\":99}", "{\"version\":2,\"version\":3}"] {
            assert!(matches!(read(text.as_bytes()), Err(Unreadable::Later(2 | 3 | 99))), "{text}");
        }
        let error = Stored::from_text("{\"version\":2}").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(error.to_string().contains("version 2"), "{error}");
    }

    #[test]
    fn every_torn_text_is_an_error_that_quotes_nothing() {
        let whole = stored().to_text();
        let whole = whole.trim_end();
        for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            let error = Stored::from_text(&whole[..end]).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn foreign_texts_are_errors() {
        for text in [
            "[]",
            "null",
            "7",
            "secret-text",
            "{}",
            "{\"version\":0}",
            "{\"version\":-1}",
            "{\"version\":\"1\"}",
            "{\"version\":1.5,\"access_token\":\"a\"}",
            "{\"version\":1e999,\"access_token\":\"a\"}",
            "{\"version\":true,\"access_token\":\"a\"}",
            "{\"version\":1}",
            "{\"version\":1,\"access_token\":\"\"}",
            "{\"version\":1,\"access_token\":\"a b\"}",
            "{\"version\":1,\"access_token\":\"a\\r\\nX: 1\"}",
            "{\"version\":1,\"access_token\":null}",
            "{\"version\":1,\"access_token\":\"a\",\"refresh_token\":7}",
            "{\"version\":1,\"access_token\":\"a\",\"refresh_token\":null}",
            "{\"version\":1,\"access_token\":\"a\",\"scope\":[\"a\"]}",
            "{\"version\":1,\"access_token\":\"a\",\"received_at_ms\":1.5}",
            "{\"version\":1,\"access_token\":\"a\",\"lifetime_ms\":false}",
            "{\"version\":1,\"access_token\":\"a\",\"lifetime_ms\":-1}",
            "{\"version\":1,\"access_token\":\"a\",\"owner\":7}",
            "{\"version\":1,\"access_token\":\"a\",\"refused\":true}",
            "{\"version\":1,\"refresh_token\":\"\"}",
            "{\"version\":1,\"access_token\":\"a\"} trailing",
            "\0\0\0\0",
        ] {
            assert!(matches!(read(text.as_bytes()), Err(Unreadable::Foreign(_))), "{text}");
        }
        assert!(matches!(read(b"{\"version\":1,\"access_token\":\"\xff\"}"), Err(Unreadable::Foreign(_))));
    }

    #[test]
    fn debug_shows_no_secret() {
        let debug = format!("{:?}", stored());
        assert!(!debug.contains("secret"), "{debug}");
    }
}
