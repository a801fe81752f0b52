//! Reads the token endpoint's answer (RFC 6749 §5): pure, so that it can be fuzzed.
//!
//! | status | body | outcome |
//! | --- | --- | --- |
//! | 3xx | any | misconfigured: redirects are not followed |
//! | any other | an `error` code listed in [`of_code`] | what the code says, whatever the status |
//! | 2xx | a good token | the token |
//! | 2xx | another `error` code | rejected |
//! | 2xx | anything else | unknown: the refresh token may be spent |
//! | 400, 403 | anything else | rejected |
//! | 401 | anything else | misconfigured: this client was refused |
//! | 408, 425, 429, 5xx | anything else | unavailable, with the answer's `Retry-After` |
//! | other 4xx | anything else | misconfigured: most likely the wrong address |

use std::mem;
use std::time::{Duration, UNIX_EPOCH};

use super::fields::Fields;
use crate::source::Outcome;
use crate::{SourceError, Token};

/// The longest body that is read. A longer success is unknown, a longer error is judged by its status alone.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// The longest `error` code and `error_description` that are passed on.
const MAX_CODE: usize = 64;
const MAX_DESCRIPTION: usize = 200;

/// What an answer is judged by.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) retry_after: Option<&'a str>,
    pub(crate) date: Option<&'a str>,
    /// Did it come over TLS or loopback, so that its `Date` is the server's own?
    pub(crate) is_private: bool,
    /// Longer than [`MAX_BODY`], by a byte at least, if it was cut.
    pub(crate) body: &'a [u8],
    /// What was sent and must not come back in an error text: servers echo.
    pub(crate) secrets: &'a [&'a str],
}

impl Answer<'_> {
    /// The token, or what the answer says instead.
    pub(crate) fn read(&self) -> Result<Token, SourceError> {
        if (300..400).contains(&self.status) {
            return Err(SourceError::misconfigured(format!(
                "the token endpoint answered {}: redirects are not followed, give the final address",
                self.status
            )));
        }
        match self.fields() {
            Ok(fields) => match fields.error.as_deref().and_then(|code| self.clean(code, MAX_CODE)) {
                Some(code) => Err(self.refusal(code, fields.error_description.as_deref())),
                None if self.is_success() => self.token(fields),
                None => Err(self.failure("with JSON that has no error code")),
            },
            Err(what) => Err(self.failure(&what)),
        }
    }

    /// The body's members, or what stands in their place.
    fn fields(&self) -> Result<Fields, String> {
        if self.body.len() > MAX_BODY {
            return Err(format!("with more than {MAX_BODY} bytes"));
        }
        if self.body.trim_ascii().is_empty() {
            return Err("with an empty body".to_owned());
        }
        // Some servers put a byte order mark in front; RFC 8259 §8.1 lets us ignore it.
        let body = self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(self.body);
        // serde's own error may quote what it stumbled over, and that may be a token.
        serde_json::from_slice(body).map_err(|_| {
            let essence = self.content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
            let content_type = self.clean(essence, MAX_CODE).unwrap_or_else(|| "no content type".to_owned());
            format!("with something that is not a JSON object ({content_type}): is it the token endpoint's address?")
        })
    }

    fn token(&self, mut fields: Fields) -> Result<Token, SourceError> {
        // RFC 6749 §5.1 asks for a type, compared without case; servers that leave it out mean Bearer.
        let token_type = fields.token_type.as_deref().filter(|token_type| !token_type.is_empty()).unwrap_or("bearer");
        if !token_type.eq_ignore_ascii_case("bearer") {
            let token_type = self.clean(token_type, MAX_CODE).unwrap_or_default();
            return Err(SourceError::misconfigured(format!(
                "the token endpoint issued a token of type {token_type:?}, which cannot be sent as a Bearer token"
            )));
        }
        let Some(access_token) = &mut fields.access_token else {
            return Err(self.failure("with JSON that has no access_token"));
        };
        // Moved, not copied: what is left behind in the wiped field is empty.
        let mut token = Token::new(mem::take(&mut **access_token))?;
        if let Some(refresh_token) = &mut fields.refresh_token {
            token = token.with_refresh_token(mem::take(&mut **refresh_token));
        }
        if let Some(lifetime) = fields.expires_in {
            token = token.with_expires_in(lifetime);
        }
        if let Some(scope) = fields.scope.take() {
            token = token.with_scope(scope);
        }
        if let Some(time) = self.date.filter(|_| self.is_private).and_then(since_1970) {
            token = token.with_server_time(time);
        }
        Ok(token)
    }

    /// An error with a code (RFC 6749 §5.2).
    fn refusal(&self, code: String, description: Option<&str>) -> SourceError {
        let outcome = of_code(&code).unwrap_or_else(|| match self.status {
            // Some servers send their errors with 200; the code says that no token was issued.
            200..300 => Outcome::Rejected,
            status => of_status(status),
        });
        let description = description.and_then(|text| self.clean(text, MAX_DESCRIPTION));
        let description = description.map(|text| format!(": {text}")).unwrap_or_default();
        self.error(outcome, format!("the token endpoint answered {} {code}{description}", self.status)).with_code(code)
    }

    /// Anything that is neither a token nor an error code.
    fn failure(&self, what: &str) -> SourceError {
        let outcome = if self.is_success() { Outcome::Unknown } else { of_status(self.status) };
        self.error(outcome, format!("the token endpoint answered {} {what}", self.status))
    }

    fn error(&self, outcome: Outcome, message: String) -> SourceError {
        let error = match outcome {
            Outcome::Rejected => SourceError::rejected(message),
            Outcome::Misconfigured => SourceError::misconfigured(message),
            Outcome::Unavailable => SourceError::unavailable(message),
            Outcome::Unknown | Outcome::Reentrant => SourceError::unknown(message),
        };
        match self.pause() {
            Some(pause) if outcome == Outcome::Unavailable => error.with_retry_after(pause),
            _ => error,
        }
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// `Retry-After`: seconds, or a date, which is read against the answer's own `Date` (RFC 9110 §10.2.3). Our own clock
    /// may be wrong.
    fn pause(&self) -> Option<Duration> {
        let value = self.retry_after?.trim_ascii();
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            // More digits than fit are still "long": the session has a limit of its own.
            return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
        }
        Some(since_1970(value)?.saturating_sub(since_1970(self.date?)?))
    }

    /// A text of the server's, fit for an error: only what RFC 6749 §5.2 allows in it (ASCII without controls, `"` and
    /// `\`), no secret, not longer than `limit`. None if nothing is left.
    fn clean(&self, text: &str, limit: usize) -> Option<String> {
        let mut clean = String::new();
        let mut rest = text;
        // One pass for all secrets, so that one is never searched for in another's place; the longest that fits goes.
        while let Some(c) = rest.chars().next() {
            let secrets = self.secrets.iter().filter(|secret| rest.starts_with(**secret));
            let secret = secrets.map(|secret| secret.len()).max().unwrap_or(0);
            let (head, tail) = rest.split_at_checked(secret.max(c.len_utf8()))?;
            rest = tail;
            let piece = match c {
                _ if secret > 0 => REDACTED,
                ' ' | '!' | '#'..='[' | ']'..='~' => head,
                // A line break between two words must not make one word of them.
                c if c.is_whitespace() => " ",
                _ => "",
            };
            if clean.len() + piece.len() > limit {
                break;
            }
            clean.push_str(piece);
        }
        Some(clean.trim()).filter(|clean| !clean.is_empty()).map(str::to_owned)
    }
}

const REDACTED: &str = "[redacted]";

/// What the codes say that need no look at the status. Where they come from: RFC 6749 §5.2, RFC 8628 §3.5, RFC 8707 §2,
/// OpenID Connect Core §3.1.2.6; the last of each list is one server's own.
fn of_code(code: &str) -> Option<Outcome> {
    Some(match code {
        "invalid_grant"
        | "access_denied"
        | "expired_token"
        | "login_required"
        | "interaction_required"
        | "consent_required"
        | "invalid_token" => Outcome::Rejected,
        "invalid_client"
        | "unauthorized_client"
        | "unsupported_grant_type"
        | "invalid_scope"
        | "invalid_request"
        | "invalid_target"
        | "incorrect_client_credentials" => Outcome::Misconfigured,
        "temporarily_unavailable" | "server_error" | "slow_down" => Outcome::Unavailable,
        _ => return None,
    })
}

/// What an error status says by itself.
fn of_status(status: u16) -> Outcome {
    match status {
        400 | 403 => Outcome::Rejected,
        408 | 425 | 429 | 500.. => Outcome::Unavailable,
        _ => Outcome::Misconfigured,
    }
}

/// An HTTP date (RFC 9110 §5.6.7) as the time since 1970-01-01 00:00 UTC.
fn since_1970(date: &str) -> Option<Duration> {
    httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: Answer<'static> = Answer {
        status: 200,
        content_type: Some("application/json"),
        retry_after: None,
        date: None,
        is_private: true,
        body: b"",
        secrets: &["s3cret", "s3cret+more"],
    };

    fn read(status: u16, body: &str) -> Result<Token, SourceError> {
        Answer { status, body: body.as_bytes(), ..ANSWER }.read()
    }

    fn good(members: &str) -> Token {
        let body = format!(r#"{{"access_token":"abc","token_type":"Bearer"{members}}}"#);
        read(200, &body).unwrap_or_else(|error| panic!("{body}: {error}"))
    }

    #[test]
    fn everything_a_token_can_come_with() {
        let token = good(r#","expires_in":3600,"refresh_token":"r","scope":"a b","id_token":"x","extra":{"a":[1]}"#);
        assert_eq!((token.secret(), token.refresh_secret(), token.scope()), ("abc", Some("r"), Some("a b")));
        assert_eq!(token.expires_in(), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn lifetimes_as_servers_send_them() {
        let year = Duration::from_secs(366 * 24 * 3600);
        for (given, lifetime) in [
            ("3600", Some(Duration::from_secs(3600))),
            ("3600.0", Some(Duration::from_secs(3600))),
            ("\"3600\"", Some(Duration::from_secs(3600))),
            ("\" 3600.5 \"", Some(Duration::from_millis(3_600_500))),
            ("1e300", Some(year)),
            ("18446744073709551615", Some(year)),
            ("\"1e300\"", Some(year)),
            ("0", None),
            ("-0.0", None),
            ("\"0\"", None),
            ("-3600", None),
            ("-1e300", None),
            ("1e-300", None),
            ("null", None),
            ("true", None),
            ("[]", None),
            ("{\"a\":1}", None),
            ("\"\"", None),
            ("\"soon\"", None),
            ("\"inf\"", None),
            ("\"NaN\"", None),
            ("\"-inf\"", None),
            ("\"1h\"", None),
        ] {
            assert_eq!(good(&format!(",\"expires_in\":{given}")).expires_in(), lifetime, "{given}");
        }
        assert_eq!(good("").expires_in(), None);
    }

    #[test]
    fn members_of_other_types_and_twice() {
        assert_eq!(good(r#","refresh_token":null"#).refresh_secret(), None);
        assert_eq!(good(r#","refresh_token":"""#).refresh_secret(), None);
        assert_eq!(good(r#","refresh_token":7"#).refresh_secret(), None);
        assert_eq!(good(r#","scope":["a","b",1]"#).scope(), Some("a b"));
        assert_eq!(good(r#","scope":[]"#).scope(), None);
        assert_eq!(good(r#","scope":"""#).scope(), None);
        assert_eq!(good(r#","error":null,"error_description":null"#).secret(), "abc");
        assert_eq!(good(r#","error":"""#).secret(), "abc");
        assert_eq!(good(r#","access_token":"last","expires_in":"x","expires_in":5"#).secret(), "last");
        assert_eq!(read(200, r#"{"access\u005ftoken":"a\/b"}"#).unwrap().secret(), "a/b");
        assert_eq!(read(200, "\u{feff} {\"access_token\":\"a\"}\r\n").unwrap().secret(), "a");
    }

    #[test]
    fn token_types() {
        for fine in [r#""Bearer""#, r#""bearer""#, r#""BEARER""#, r#""""#, "null"] {
            read(200, &format!(r#"{{"access_token":"a","token_type":{fine}}}"#)).unwrap();
        }
        read(200, r#"{"access_token":"a"}"#).unwrap();
        let error = read(200, r#"{"access_token":"a","token_type":"DPoP"}"#).unwrap_err();
        assert_eq!(error.outcome(), Outcome::Misconfigured);
        assert!(error.to_string().contains("\"DPoP\""), "{error}");
    }

    #[test]
    fn outcomes_by_code() {
        use Outcome::{Misconfigured as M, Rejected as R, Unavailable as U};
        let table: [(&[u16], &[&str], Outcome); 7] = [
            (&[400, 401, 200, 500], &["invalid_grant", "access_denied", "expired_token", "invalid_token"], R),
            (&[400, 403], &["login_required", "interaction_required", "consent_required", "no_such_code"], R),
            (&[400, 401, 200], &["invalid_client", "unauthorized_client", "unsupported_grant_type"], M),
            (&[400, 401, 404], &["invalid_scope", "invalid_request", "invalid_target"], M),
            (&[400, 200, 503], &["temporarily_unavailable", "server_error", "slow_down"], U),
            (&[429, 500, 503], &["no_such_code"], U),
            (&[401, 404], &["no_such_code"], M),
        ];
        for (statuses, codes, outcome) in table {
            for (status, code) in statuses.iter().flat_map(|status| codes.iter().map(move |code| (*status, *code))) {
                let body = format!(r#"{{"error":"{code}","error_description":"the reason"}}"#);
                let error = read(status, &body).unwrap_err();
                assert_eq!(error.outcome(), outcome, "{status} {code}");
                assert_eq!(error.to_string(), format!("the token endpoint answered {status} {code}: the reason"));
                assert_eq!(error.into_error(None).code(), Some(code));
            }
        }
    }

    #[test]
    fn outcomes_by_status_alone() {
        use Outcome::{Misconfigured as M, Rejected as R, Unavailable as U, Unknown};
        let table =
            [(400, R), (403, R), (401, M), (404, M), (405, M), (413, M), (301, M), (302, M), (304, M), (307, M)];
        let later = [(408, U), (425, U), (429, U), (500, U), (502, U), (503, U), (599, U)];
        let lost = [(200, Unknown), (201, Unknown), (204, Unknown)];
        let long = " ".repeat(MAX_BODY + 1);
        for (status, outcome) in table.into_iter().chain(later).chain(lost) {
            for body in ["", " ", "<html>", "{}", "[]", "7", "{\"error\":", "{\"error\":{\"code\":7}}", &long] {
                let error = read(status, body).unwrap_err();
                assert_eq!(error.outcome(), outcome, "{status} {body:.20}");
                assert!(error.to_string().contains(&status.to_string()), "{error}");
            }
        }
    }

    #[test]
    fn a_success_without_a_good_token_is_unknown() {
        for body in [
            r#"{"access_token":""}"#,
            r#"{"access_token":null}"#,
            r#"{"access_token":["a"]}"#,
            r#"{"access_token":"a","access_token":null}"#,
            r#"{"access_token":"a b"}"#,
            r#"{"access_token":"a\r\nX: y"}"#,
            r#"{"access_token":"a"}{}"#,
            r#"{"access_token":"a","expires_in":1e999}"#,
            r#"{"access_token":"a""#,
            "access_token=a",
        ] {
            assert_eq!(read(200, body).unwrap_err().outcome(), Outcome::Unknown, "{body}");
        }
        let mut long = format!("{}\"access_token\":\"a\"}}", "{");
        long.push_str(&" ".repeat(MAX_BODY - long.len()));
        read(200, &long).unwrap();
        long.push(' ');
        assert_eq!(read(200, &long).unwrap_err().outcome(), Outcome::Unknown);
    }

    #[test]
    fn what_is_no_json_is_said_to_be_none() {
        let answer = Answer { status: 502, content_type: Some("text/html; charset=x"), body: b"<html>", ..ANSWER };
        let error = answer.read().unwrap_err().to_string();
        assert!(
            error.starts_with("the token endpoint answered 502 with something that is not a JSON object (text/html)")
        );
        let error = Answer { content_type: None, ..answer }.read().unwrap_err().to_string();
        assert!(error.contains("(no content type)"), "{error}");
        assert!(read(302, "").unwrap_err().to_string().contains("redirects are not followed, give the final address"));
        assert!(read(400, "").unwrap_err().to_string().contains("an empty body"));
    }

    #[test]
    fn texts_are_cut_cleaned_and_scrubbed() {
        let show = |code: &str, description: &str| {
            let text = |text: &str| serde_json::to_string(text).unwrap();
            let body = format!(r#"{{"error":{},"error_description":{}}}"#, text(code), text(description));
            read(400, &body).unwrap_err().to_string()
        };
        let head = "the token endpoint answered 400 ";
        assert_eq!(show("c", "token s3cret is bad"), format!("{head}c: token [redacted] is bad"));
        assert_eq!(show("c", "s3cret+more,s3cret"), format!("{head}c: [redacted],[redacted]"));
        assert_eq!(show("s3cret", ""), format!("{head}[redacted]"));
        assert_eq!(show("c", "a\r\nb\u{1b}[31m\"ü\\"), format!("{head}c: a  b[31m"));
        assert_eq!(show(&"c".repeat(999), &"d".repeat(9999)), format!("{head}{}: {}", "c".repeat(64), "d".repeat(200)));
        // At the cut, too, there is no half of a secret.
        assert!(!show("c", &format!("{}s3cret", "d".repeat(197))).contains("s3"));
        assert_eq!(show("ü", "x"), format!("{head}with JSON that has no error code"));
    }

    #[test]
    fn retry_after_in_both_forms() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (status, retry_after, date, pause) in [
            (503, Some("120"), None, Some(120)),
            (429, Some(" 0 "), None, Some(0)),
            (503, Some("99999999999999999999999"), None, Some(u64::MAX)),
            (503, Some("Sun, 06 Nov 1994 08:51:37 GMT"), date, Some(120)),
            (503, Some("Sun, 06 Nov 1994 08:51:37 GMT"), None, None),
            (503, Some("Sat, 05 Nov 1994 08:51:37 GMT"), date, Some(0)),
            (503, Some("-5"), date, None),
            (503, Some("soon"), date, None),
            (503, Some(""), date, None),
            (503, None, date, None),
            (400, Some("120"), date, None),
        ] {
            let error = Answer { status, retry_after, date, ..ANSWER }.read().unwrap_err();
            assert_eq!(error.retry_after(), pause.map(Duration::from_secs), "{retry_after:?}");
        }
    }

    #[test]
    fn the_servers_time_counts_only_if_it_is_the_servers() {
        let answer =
            Answer { date: Some("Thu, 01 Jan 1970 00:01:00 GMT"), body: b"{\"access_token\":\"a\"}", ..ANSWER };
        assert_eq!(answer.read().unwrap().server_time(), Some(Duration::from_secs(60)));
        assert_eq!(Answer { is_private: false, ..answer }.read().unwrap().server_time(), None);
        assert_eq!(Answer { date: Some("now"), ..answer }.read().unwrap().server_time(), None);
    }
}
