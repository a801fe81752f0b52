//! Answers of the token endpoint and its siblings. The input is an answer as `curl -i` shows it: a status line, headers,
//! an empty line, the body. A header `Sent`, which no server has, holds a secret that went out with the request.

use std::time::Duration;

use serde_json::Value;

use super::{PER_BYTE_OF_JSON, Yardstick, assert_good, assert_plain, within};
use crate::clock::{Clock as _, ManualClock};
use crate::oauth2::answer::{Answer, MAX_BODY};
use crate::oauth2::date;
use crate::oauth2::device_code::Authorization;
use crate::outcome::{Outcome, Retry};
use crate::policy::Policy;
use crate::token::MAX_LIFETIME;
use crate::{ErrorKind, SourceError, Stored, Token};

/// Our own words in an error.
pub(super) const FIXED: usize = 4096;

/// The longest error text: our own words, a code and a description.
pub(super) const MAX_TEXT: usize = 512;

/// No later than the year 9999 counted from 1970, which is as far as HTTP dates go, unless it is in seconds.
const MAX_DATE: Duration = Duration::from_secs(253_402_300_800);

/// A success is a token that can be sent, stored and planned; everything else is an error of an outcome that the status
/// allows, in plain text, without a secret.
pub fn token_answer(input: &[u8], yardstick: &Yardstick) -> bool {
    let recorded = Recorded::read(input);
    let mut issued = false;
    for is_private in [true, false] {
        let answer = Answer { is_private, ..recorded.answer("token") };
        let read = within(yardstick, input.len(), PER_BYTE_OF_JSON, FIXED, || answer.read());
        issued = read.is_ok();
        match read {
            Ok(token) => assert_issued(&token, &answer),
            Err(error) => assert_error(error, &answer),
        }
    }
    issued
}

/// The same for a device's first request: what the user is shown is printable ASCII, so that it cannot steer a terminal, hide
/// or reorder anything, and nothing is endless.
pub fn device_authorization(input: &[u8], yardstick: &Yardstick) -> bool {
    let recorded = Recorded::read(input);
    let answer = recorded.answer("device authorization");
    let Authorization { device_code, prompt, interval } =
        match within(yardstick, input.len(), PER_BYTE_OF_JSON, FIXED, || Authorization::read(&answer)) {
            Ok(authorization) => authorization,
            Err(error) => {
                assert_error(error, &answer);
                return false;
            }
        };
    assert!(answer.is_success() && answer.body.len() <= MAX_BODY);
    let day = Duration::from_secs(24 * 3600);
    for time in [interval, prompt.expires_in()] {
        assert!((Duration::from_secs(1)..=day).contains(&time), "{time:?}");
    }
    assert!(!device_code.secret().is_empty() && !prompt.user_code().is_empty());
    assert!(prompt.user_code().bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{prompt:?}");
    assert!(!prompt.user_code().trim_ascii().is_empty() && prompt.to_string().is_ascii());
    for address in [Some(prompt.verification_uri()), prompt.verification_uri_complete()].into_iter().flatten() {
        let scheme = address.split("://").next().unwrap_or_default().to_ascii_lowercase();
        assert!(matches!(&*scheme, "https" | "http") && address.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    let tree: Value = serde_json::from_slice(without_mark(answer.body)).unwrap_or_default();
    assert!(tree.is_null() || tree["device_code"] == device_code.secret());
    true
}

/// `Retry-After` and `Date` of an answer, whatever its status: a pause comes with "later" alone, and neither the
/// session's backoff nor any sum of times can be made endless by it.
pub fn retry_after(input: &[u8], yardstick: &Yardstick) -> bool {
    let recorded = Recorded::read(input);
    let answer = Answer { status: 503, body: b"", ..recorded.answer("token") };
    let error = within(yardstick, input.len(), 0, FIXED, || answer.read()).expect_err("503");
    assert_eq!(error.outcome(), Outcome::Unavailable);
    let pause = error.retry_after();
    let value = answer.retry_after.map(str::trim_ascii).filter(|value| !value.is_empty());
    match value {
        None => assert_eq!(pause, None),
        Some(value) if value.bytes().all(|byte| byte.is_ascii_digit()) => {
            // More than fits is still long.
            assert_eq!(pause, Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX))));
        }
        Some(_) => {
            assert!(pause.is_none_or(|pause| answer.date.is_some() && pause <= MAX_DATE), "{pause:?}");
            // Against itself, every date is now.
            let now = Answer { date: answer.retry_after, ..answer }.read().expect_err("503").retry_after();
            assert!(now.is_none_or(|now| now.is_zero()), "{now:?}");
            assert!(pause.is_none() || now.is_some(), "a date is a date in both places");
        }
    }
    for date in [answer.retry_after, answer.date].into_iter().flatten() {
        // Each takes something that the other does not: leap seconds here, any separator there.
        let (read, expected) = (date::since_1970(date), (yardstick.http_date)(date));
        assert!(read.is_none() || expected.is_none_or(|time| read == Some(time)), "{date:?}: {read:?}, {expected:?}");
        assert!(read.is_none_or(|time| time <= MAX_DATE), "{date:?} is {read:?}");
    }
    let (policy, clock) = (Policy::new().with_jitter_seed(7), ManualClock::new(None));
    for failures in [1, 5, u32::MAX] {
        let hour = Duration::from_secs(3600);
        let asked = pause.unwrap_or_default().min(hour);
        assert!(
            (asked..=hour).contains(&policy.pause_after(failures, Retry::Backoff, pause)),
            "{pause:?} after {failures}"
        );
        assert!(policy.pause(failures, pause) >= pause.unwrap_or_default());
        assert!(clock.now().after(policy.pause(failures, pause)) >= clock.now());
    }
    for status in [200, 301, 401, 404] {
        assert_eq!(Answer { status, ..answer }.read().expect_err("no token").retry_after(), None, "{status}");
    }
    pause.is_some()
}

fn assert_issued(token: &Token, answer: &Answer<'_>) {
    assert!(answer.is_success() && answer.body.len() <= MAX_BODY, "{}", answer.status);
    assert_good(token);
    assert!(answer.is_private || token.server_time().is_none(), "that `Date` may be anybody's");
    // As it is saved, and as the next process finds it.
    let clock = ManualClock::new(Some(Duration::from_secs(1_700_000_000)));
    let stored = Stored::of(token, clock.now(), clock.wall());
    let back = Stored::from_text(&stored.to_text()).and_then(|stored| stored.to_token()).expect("it can be stored");
    assert_eq!((back.secret(), back.refresh_secret()), (token.secret(), token.refresh_secret()));
    assert_eq!(back.scope(), token.scope());

    // What is passed over may hold what another reader refuses, such as a number that is too large.
    let Ok(tree) = serde_json::from_slice::<Value>(without_mark(answer.body)) else { return };
    let text = |name: &str| tree[name].as_str().filter(|text| !text.is_empty());
    assert_eq!(text("access_token"), Some(token.secret()));
    assert_eq!(text("refresh_token"), token.refresh_secret());
    let is_bearer = |named: &str| named.trim_ascii().is_empty() || named.trim_ascii().eq_ignore_ascii_case("bearer");
    assert!(text("token_type").is_none_or(is_bearer));
    assert!(text("error").is_none_or(|code| readable(code).trim_ascii().is_empty()), "an error is no success");
    if let Some(seconds) = tree["expires_in"].as_f64() {
        let life = Duration::from_secs(seconds as u64).min(MAX_LIFETIME);
        assert_eq!(token.expires_in(), Some(life).filter(|life| !life.is_zero()));
    }
    if let Some(scope) = tree["scope"].as_str() {
        // Whole words, and only those that RFC 6749 §3.3 allows.
        let allowed = |c: char| c.is_ascii_graphic() && !"\"\\".contains(c);
        let words = scope.split(' ').filter(|word| !word.is_empty() && word.chars().all(allowed));
        assert_eq!(token.scope().unwrap_or_default(), words.collect::<Vec<_>>().join(" "));
        assert_ne!(token.scope(), Some(""));
    }
}

fn assert_error(mut error: SourceError, answer: &Answer<'_>) {
    let (status, outcome, pause) = (answer.status, error.outcome(), error.retry_after());
    let new = error.take_renewed();
    let has_new = new.is_some();
    assert!(new.is_none_or(|new| !answer.secrets.contains(&new.secret())), "what was sent is not new");
    assert!(answer.is_success() || !has_new, "an error's status says that nothing was issued");
    let allowed = match (error.code().filter(|code| LISTED.contains(code)), status) {
        (_, 300..400) => outcome == Outcome::Misconfigured && error.code().is_none(),
        // What was refused is the old one.
        (Some(_), 200..300) if has_new && outcome == Outcome::Refused => true,
        (Some(_), _) => matches!(outcome, Outcome::Rejected | Outcome::Misconfigured | Outcome::Unavailable),
        // To say "rejected" would end a session that may still be good.
        (None, 200..300) => match error.code() {
            Some(_) => outcome == Outcome::Refused,
            None => matches!(
                outcome,
                // The latter if it names a refresh token, new or old.
                Outcome::Unreadable | Outcome::Misconfigured | Outcome::Refused | Outcome::Unavailable
            ),
        },
        (None, 400 | 403) => outcome == Outcome::Refused,
        (None, 408 | 425 | 429 | 500..) => outcome == Outcome::Unavailable,
        (None, _) => outcome == Outcome::Misconfigured,
    };
    assert!(allowed, "{status} became {error:?}");
    assert!(pause.is_none() || matches!(outcome, Outcome::Unavailable | Outcome::Refused));

    let text = error.to_string();
    assert_plain(&text);
    assert!(text.len() <= MAX_TEXT, "{} bytes: {text}", text.len());
    let code = error.code().map(str::to_owned);
    for foreign in foreign_parts(&text, answer, code.as_deref()) {
        assert_hides_what_was_sent(foreign, answer);
    }
    let error = error.into_error(None);
    assert_eq!(error.code(), code.as_deref());
    assert!(error.to_string().starts_with(&text) && error.kind() != ErrorKind::InvalidInput);
}

/// The codes that are passed on as they are, for they say nothing that a server could have made up.
const LISTED: [&str; 22] = [
    "invalid_grant",
    "bad_refresh_token",
    "invalid_refresh_token",
    "token_revoked",
    "bad_client_secret",
    "invalid_client_id",
    "expired_token",
    "login_required",
    "interaction_required",
    "consent_required",
    "invalid_token",
    "invalid_client",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_request",
    "invalid_target",
    "incorrect_client_credentials",
    "temporarily_unavailable",
    "server_error",
    "slow_down",
    "authorization_pending",
];

/// What of an error's text is the server's: its code and description, its content type, or its token's type.
fn foreign_parts<'a>(text: &'a str, answer: &Answer<'_>, code: Option<&'a str>) -> Vec<&'a str> {
    let own = format!("the {} endpoint answered {} ", answer.what, answer.status);
    if let Some(code) = code {
        let rest = text.strip_prefix(&own).and_then(|text| text.strip_prefix(code)).expect("the code comes first");
        let foreign_code = Some(code).filter(|code| !LISTED.contains(code));
        // Our own advice may hold a word that is a secret, too.
        let advice =
            [&format!(": is this the {} endpoint's address?", answer.what), ": begin the address with https://"];
        let rest =
            advice.iter().filter(|_| foreign_code.is_some()).find_map(|own| rest.strip_suffix(own)).unwrap_or(rest);
        let description = rest.strip_prefix(": ").unwrap_or(rest);
        return [description].into_iter().chain(foreign_code).collect();
    }
    let (open, close) = if text.contains("a token of type \"") { ('"', '"') } else { ('(', ')') };
    let part = text.split_once(open).and_then(|(_, rest)| rest.rsplit_once(close)).map(|(part, _)| part);
    // Our own words in the same place.
    part.filter(|part| !matches!(*part, "no content type" | "RFC 6749 appendix A.12")).into_iter().collect()
}

/// What an error shows of the server's words holds no secret that went out, whatever blanks are between its letters. A secret of
/// blanks alone is in every text and hides nothing.
pub(super) fn assert_hides_what_was_sent(foreign: &str, answer: &Answer<'_>) {
    let dense = |text: &str| text.replace(' ', "");
    // What stands in a secret's place may itself be part of another.
    let shown = dense(&foreign.replace("[redacted]", "\n"));
    for secret in answer.secrets.iter().map(|secret| dense(&readable(secret))).filter(|secret| !secret.is_empty()) {
        assert!(!shown.contains(&secret), "{secret:?} is shown: {foreign}");
    }
}

/// A text as an error may hold it (RFC 6749 §5.2): blanks for what is blank, and without what is not printable.
pub(super) fn readable(text: &str) -> String {
    let fits = |c: &char| *c == ' ' || c.is_ascii_graphic() && !"\"\\".contains(*c);
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(fits).collect()
}

pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// An answer taken apart, as far as anybody here looks at it.
pub(super) struct Recorded<'a> {
    status: u16,
    headers: Vec<(&'a str, &'a str)>,
    sent: Vec<&'a str>,
    body: &'a [u8],
}

impl<'a> Recorded<'a> {
    pub(super) fn read(input: &'a [u8]) -> Self {
        let end_of_line = |text: &[u8]| text.iter().position(|byte| *byte == b'\n');
        let (mut status, mut headers, mut rest) = (None, Vec::new(), input);
        while let Some(end) = end_of_line(rest) {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            // A value that is no visible text is as good as none, here as in the endpoint.
            let line = std::str::from_utf8(line).unwrap_or("x").trim_ascii();
            match line.split_once(':') {
                _ if line.is_empty() => break,
                _ if status.is_none() => {
                    let number = line.split(' ').nth(1).and_then(|number| number.parse().ok());
                    status = Some(number.filter(|status| (100..=999).contains(status)).unwrap_or(200));
                }
                Some((name, value)) => headers.push((name, value.trim_ascii())),
                None => {}
            }
        }
        let sent = headers.iter().filter(|(name, _)| *name == "Sent").map(|(_, value)| *value).collect();
        headers.retain(|(_, value)| value.bytes().all(|byte| byte == b'\t' || (32..127).contains(&byte)));
        Recorded { status: status.unwrap_or(200), headers, sent, body: rest }
    }

    pub(super) fn answer(&self, what: &'static str) -> Answer<'_> {
        let header =
            |name: &str| self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        Answer {
            what,
            status: self.status,
            content_type: header("Content-Type"),
            retry_after: header("Retry-After"),
            date: header("Date"),
            is_private: true,
            token_type: None,
            body: self.body,
            secrets: &self.sent,
        }
    }
}
