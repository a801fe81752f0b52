//! The members of a token answer (RFC 6749 §5.1, §5.2), read straight into wiped memory.

use std::ops::Deref;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::json::{self, Value};

/// What an answer may hold. A member of another type than it should have is as good as not there.
///
/// Of members that come twice the last one counts.
pub(crate) struct Fields {
    pub(crate) access_token: Option<Zeroizing<String>>,
    pub(crate) token_type: Option<Wiped>,
    pub(crate) refresh_token: Option<Zeroizing<String>>,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) scope: Option<String>,
    pub(crate) error: Option<Wiped>,
    pub(crate) error_description: Option<Wiped>,
}

/// A text that is no secret, unless a server has put one there.
pub(crate) struct Wiped(Zeroizing<String>);

impl Deref for Wiped {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Fields {
    /// The members of `text`; `None` if that is no JSON object.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let [access_token, token_type, refresh_token, expires_in, scope, error, error_description] =
            json::read_members(text, "access_token token_type refresh_token expires_in scope error error_description")?;
        Some(Fields {
            access_token: access_token.secret(),
            token_type: token_type.secret().map(Wiped),
            refresh_token: refresh_token.secret(),
            expires_in: expires_in.lifetime(),
            scope: scope.scope(),
            error: error.secret().map(Wiped),
            error_description: error_description.secret().map(Wiped),
        })
    }
}

/// The refresh token in an answer that is cut off, or in which something else follows.
pub(crate) fn refresh_token_in(text: &[u8]) -> Option<Zeroizing<String>> {
    let mut refresh_token = [Value::Missing];
    json::read_torn(text, "refresh_token", &mut refresh_token);
    let [refresh_token] = refresh_token;
    refresh_token.secret()
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
            _ => None,
        }
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
    }

    /// Words with blanks between them (RFC 6749 §3.3); some servers send a list of words. A word with a character that no
    /// scope may have, such as a control, is left out: what is shown of the rest cannot steer a terminal, and no word is
    /// turned into another.
    fn scope(self) -> Option<String> {
        let mut scope = String::new();
        match self {
            Value::List(texts) => texts.iter().for_each(|text| push_words(&mut scope, text)),
            Value::Text(text) => push_words(&mut scope, &text),
            _ => {}
        }
        Some(scope).filter(|scope| !scope.is_empty())
    }
}

fn push_words(scope: &mut String, text: &str) {
    for word in text.split(' ') {
        let is_allowed = word.bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~'));
        if word.is_empty() || !is_allowed {
            continue;
        }
        if !scope.is_empty() {
            scope.push(' ');
        }
        scope.push_str(word);
    }
}
