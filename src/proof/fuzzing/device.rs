//! Answers to the polls of a device login and to a revocation. The input is as in `answer`.

use serde_json::Value;

use super::answer::{FIXED, MAX_TEXT, Recorded, assert_hides_what_was_sent, without_mark};
use super::{PER_BYTE_OF_JSON, Yardstick, assert_plain, within};
use crate::oauth2::answer::Answer;
use crate::oauth2::device_code::poll::{self, Meaning};
use crate::oauth2::revocation;
use crate::{Error, ErrorKind};

/// Our own words in an error that ends a login or tells of a token that may live on, and the server's message.
const MAX_ERROR: usize = MAX_TEXT + 512;

/// The codes that end a login, each with the kind of the error.
const ENDING: [(&str, ErrorKind); 17] = [
    ("access_denied", ErrorKind::Rejected),
    ("authorization_declined", ErrorKind::Rejected),
    ("expired_token", ErrorKind::Rejected),
    ("invalid_grant", ErrorKind::Rejected),
    ("invalid_code_pair", ErrorKind::Rejected),
    ("code_expired", ErrorKind::Rejected),
    ("expired_device_code", ErrorKind::Rejected),
    ("invalid_client", ErrorKind::Misconfigured),
    ("unauthorized_client", ErrorKind::Misconfigured),
    ("unsupported_grant_type", ErrorKind::Misconfigured),
    ("invalid_scope", ErrorKind::Misconfigured),
    ("invalid_request", ErrorKind::Misconfigured),
    ("invalid_target", ErrorKind::Misconfigured),
    ("incorrect_client_credentials", ErrorKind::Misconfigured),
    ("device_flow_disabled", ErrorKind::Misconfigured),
    ("admin_policy_enforced", ErrorKind::Misconfigured),
    ("org_internal", ErrorKind::Misconfigured),
];

/// A poll goes on where any text of the answer says so, and ends only by a code that the answer holds as a whole text, or by
/// a token; every error is plain text without a secret.
pub fn device_poll(input: &[u8], yardstick: &Yardstick) -> bool {
    let recorded = Recorded::read(input);
    let answer = recorded.answer("token");
    let judged = within(yardstick, input.len(), PER_BYTE_OF_JSON, FIXED, || poll::judge(&answer));
    let refusal = match judged {
        Ok(token) => {
            assert_eq!(answer.read().ok().as_ref().map(|token| token.secret()), Some(token.secret()));
            return true;
        }
        Err(refusal) => refusal,
    };
    let texts = texts_of_json(&answer);
    let says = |code: &str| texts.iter().flatten().any(|text| text.trim_ascii() == code);
    let polling = says("authorization_pending") || says("slow_down");
    match refusal.meaning {
        Some((Meaning::Pending | Meaning::SlowDown, code)) => {
            let body = String::from_utf8_lossy(answer.body).to_lowercase();
            assert!(code.split('_').all(|word| body.contains(word)), "{code} is in no text");
        }
        meaning => assert!(!polling, "{meaning:?} where the answer says to poll"),
    }
    // A page ends nothing, and neither does what is in a text of many words.
    let is_page = without_mark(answer.body).trim_ascii_start().first() == Some(&b'<');
    assert!(!is_page || refusal.meaning.is_none());
    let plain = answer.read().expect_err("no token").to_string();
    assert_message(&refusal.error.to_string(), &plain, &answer);
    let Some(code) = refusal.meaning else {
        assert!(!ENDING.iter().any(|(code, _)| says(code)), "polled through: {texts:?}");
        return false;
    };
    let ending = ENDING.iter().find(|(known, _)| *known == code.1);
    let error = match code.0 {
        Meaning::Pending | Meaning::SlowDown | Meaning::Passing => {
            assert!(ending.is_none());
            return true;
        }
        Meaning::Unusable => {
            assert!(answer.is_success() && code.1.is_empty());
            let error = refusal.into_end(code);
            assert_eq!((error.kind(), error.code()), (ErrorKind::Misconfigured, None));
            error
        }
        Meaning::Denied | Meaning::Expired | Meaning::Misconfigured => {
            assert!(String::from_utf8_lossy(answer.body).contains(code.1), "{code:?} is no text of the answer");
            let error = refusal.into_end(code);
            assert_eq!((Some(error.kind()), error.code()), (ending.map(|(_, kind)| *kind), Some(code.1)));
            error
        }
    };
    assert_final(&error);
    true
}

/// What is taken for revoked is a success, or a text of the answer says that the token is dead; a server in trouble and one
/// that redirects have revoked nothing.
pub fn revocation(input: &[u8], yardstick: &Yardstick) -> bool {
    let recorded = Recorded::read(input);
    let answer = recorded.answer("revocation");
    let judged = within(yardstick, input.len(), PER_BYTE_OF_JSON, FIXED, || revocation::judge(&answer));
    let Err(refusal) = judged else {
        assert!(!matches!(answer.status, 100..200 | 300..400 | 408 | 425 | 429 | 500..), "{}", answer.status);
        if !answer.is_success() {
            let body = String::from_utf8_lossy(answer.body).to_lowercase();
            assert!(["token", "grant", "revoked"].iter().any(|word| body.contains(word)), "{body}");
        }
        return true;
    };
    assert!(!answer.is_success() || refusal.error.code().is_some(), "the status says it all, but for a code");
    let plain = answer.success().err().expect("no success").to_string();
    assert_message(&refusal.error.to_string(), &plain, &answer);
    let error = refusal.into_error("refresh_token");
    assert!(matches!(error.kind(), ErrorKind::Misconfigured | ErrorKind::Unavailable));
    assert!(error.retry_after().is_none() || error.kind() == ErrorKind::Unavailable);
    assert_final(&error);
    true
}

/// What the server adds to the error of an answer without a code holds no secret. (`answer` asserts the rest of it.)
fn assert_message(text: &str, plain: &str, answer: &Answer<'_>) {
    assert_plain(text);
    let message = text.strip_prefix(plain).expect("it begins as it does without a message");
    assert_hides_what_was_sent(message.strip_prefix(": ").unwrap_or(message), answer);
}

fn assert_final(error: &Error) {
    let text = error.to_string();
    assert_plain(&text);
    assert!(text.len() <= MAX_ERROR, "{} bytes: {text}", text.len());
}

/// The texts of the body as another reader reads them, of members that come twice the last; `None` if it does not read it, or
/// if there are escapes in it, which codes have none of.
fn texts_of_json(answer: &Answer<'_>) -> Option<Vec<String>> {
    fn collect(value: Value, texts: &mut Vec<String>) {
        match value {
            Value::String(text) => texts.push(text),
            Value::Array(values) => values.into_iter().for_each(|value| collect(value, texts)),
            Value::Object(members) => members.into_iter().for_each(|(_, value)| collect(value, texts)),
            _ => {}
        }
    }
    let mut texts = Vec::new();
    if answer.body.contains(&b'\\') {
        return None;
    }
    collect(serde_json::from_slice(without_mark(answer.body)).ok()?, &mut texts);
    Some(texts)
}
