//! Answers whose meaning is known, and servers that echo what they were sent.

use serde_json::json;

use super::*;
use crate::oauth2::answer::Answer;
use crate::oauth2::device_code::Authorization;
use crate::oauth2::device_code::poll::{self, Meaning};
use crate::oauth2::revocation;
use crate::outcome::Outcome;

const ANSWER: Answer<'static> = Answer {
    what: "token",
    status: 200,
    content_type: Some("application/json"),
    retry_after: None,
    date: None,
    is_private: true,
    token_type: None,
    body: b"",
    secrets: &[],
};

/// The input of a target for this answer.
fn recorded(status: u16, sent: &[String], body: &[u8]) -> Vec<u8> {
    let sent: String = sent.iter().map(|secret| format!("Sent: {secret}\r\n")).collect();
    [format!("HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n{sent}\r\n").as_bytes(), body].concat()
}

/// Seconds in the ways that servers write them.
fn lifetime() -> impl Strategy<Value = (serde_json::Value, Duration)> {
    let life = Duration::from_secs;
    prop_oneof![
        (1..100_000_u64).prop_map(move |seconds| (json!(seconds), life(seconds))),
        (1..100_000_u64).prop_map(move |seconds| (json!(seconds as f64 + 0.5), life(seconds))),
        (1..100_000_u64).prop_map(move |seconds| (json!(seconds.to_string()), life(seconds))),
        (1..100_000_u64).prop_map(move |seconds| (json!(format!(" {seconds}.25")), life(seconds))),
        (MAX_LIFETIME.as_secs()..=u64::MAX).prop_map(|seconds| (json!(seconds), MAX_LIFETIME)),
    ]
}

fn scope() -> impl Strategy<Value = (serde_json::Value, String)> {
    vec("[!#-\\[\\]-~]{1,8}", 1..4).prop_flat_map(|words| {
        let text = words.join(" ");
        prop_oneof![Just((json!(text), text.clone())), Just((json!(words), text))]
    })
}

/// A secret, an echo of it with something put in that is blank or not printed, or other words.
fn echo(secrets: Vec<String>) -> impl Strategy<Value = String> {
    let noise = select(vec!["\u{1}", "\"", "\\", "\u{e4}", "\u{200b}", "\u{1b}", " ", "\n    ", "\t", "\u{a0}"]);
    let damaged = (select(secrets.clone()), any::<Index>(), noise).prop_map(|(mut secret, place, noise)| {
        let places: Vec<usize> = secret.char_indices().map(|(place, _)| place).collect();
        secret.insert_str(places[place.index(places.len())], noise);
        secret
    });
    prop_oneof![select(secrets), damaged, "[ -~\n]{0,6}"]
}

/// The three forms of RFC 9110 §5.6.7 from the first one.
fn forms(imf: &str) -> [String; 3] {
    let [day_name, day, month, year, time, _] = imf.split(' ').collect::<Vec<_>>()[..] else { panic!("{imf}") };
    let day_name = day_name.trim_end_matches(',');
    let long = match day_name {
        "Tue" => "Tuesday".to_owned(),
        "Wed" => "Wednesday".to_owned(),
        "Thu" => "Thursday".to_owned(),
        "Sat" => "Saturday".to_owned(),
        short => format!("{short}day"),
    };
    let padded = format!("{:>2}", day.trim_start_matches('0'));
    [
        imf.to_owned(),
        format!("{long}, {day}-{month}-{} {time} GMT", &year[2..]),
        format!("{day_name} {month} {padded} {time} {year}"),
    ]
}

/// A secret may be a word of ours, or a piece of the mark that stands in its place.
#[test]
fn our_own_words_may_be_secrets() {
    let words = "the token endpoint answered with an empty body is this address? begin https:// redirects are not followed: \
        JSON that has no error code content type (RFC 6749 appendix A.12) [redacted] redacted [ ] [r d] a e d ' , ? ( ) 404 \
        no_such token_type access_token refresh usable final more than bytes such";
    let bodies = [
        "",
        "{}",
        "<html>",
        r#"{"error":"no_such"}"#,
        r#"{"error":"no_such","error_description":"the address is [redacted], [red and [reda[redacted]cted]"}"#,
        r#"{"error":"no_such","error_description":"a plain HTTP request was sent to HTTPS port"}"#,
        r#"{"error":"invalid_grant","error_description":"token is a"}"#,
        r#"{"error_description":"is this the token endpoint's address?"}"#,
        r#"{"message":"the token endpoint answered 404 [redacted]"}"#,
        r#"{"access_token":"a","token_type":"a token of type (x) [redacted]"}"#,
        r#"{"access_token":"a b"}"#,
        r#"{"refresh_token":"a","x":"#,
    ];
    let words = words.split_ascii_whitespace().map(str::to_owned);
    let secrets = words.clone().map(|word| vec![word]).chain([words.collect(), vec!["token endpoint".to_owned()]]);
    for sent in secrets {
        for (body, status) in bodies.iter().flat_map(|body| [200, 302, 400, 404, 500].map(|status| (body, status))) {
            for target in [token_answer, device_authorization, device_poll, super::super::revocation] {
                target(&recorded(status, &sent, body.as_bytes()), &YARDSTICK);
            }
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_token_has_what_the_answer_says(
        access in "[a-zA-Z0-9._~+/-]{1,40}={0,2}",
        refresh in prop::option::of("[ -~]{1,40}"),
        (life, expires_in) in lifetime(),
        (scope, granted) in scope(),
        token_type in select(vec!["Bearer", "bearer", "BEARER", ""]),
        mark in select(vec!["", "\u{feff}"]),
    ) {
        let answer = json!({ "access_token": access, "token_type": token_type, "refresh_token": refresh,
            "expires_in": life, "scope": scope, "error": null, "more": [{}, [1]] });
        let body = format!("{mark}{answer}");
        let token = Answer { body: body.as_bytes(), ..ANSWER }.read().unwrap();
        prop_assert_eq!((token.secret(), token.refresh_secret()), (&*access, refresh.as_deref()));
        prop_assert_eq!((token.expires_in(), token.scope()), (Some(expires_in), Some(&*granted)));
        token_answer(&recorded(200, &[], body.as_bytes()), &YARDSTICK);
    }

    #[test]
    fn a_server_that_echoes_secrets_shows_none(
        (sent, echoes) in vec("[ -~\u{e4}]{1,12}", 1..4)
            .prop_flat_map(|sent| (Just(sent.clone()), vec(echo(sent), 1..8))),
        status in select(vec![200_u16, 400, 401, 500]),
        code in select(vec!["invalid_grant", "no_such_code"]),
    ) {
        let text = echoes.concat();
        for error in [json!({ "error": code, "error_description": text }), json!({ "error": text }), json!({ "message": text })] {
            let input = recorded(status, &sent, error.to_string().as_bytes());
            for target in [token_answer, device_authorization, device_poll, super::super::revocation] {
                target(&input, &YARDSTICK);
            }
        }
        let wrong_type = json!({ "access_token": "a", "token_type": text });
        token_answer(&recorded(200, &sent, wrong_type.to_string().as_bytes()), &YARDSTICK);
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_not_shown(
        bad in "[a-z]{20}[ \n\u{e4}\u{7f}][a-z]{20}",
        status in select(vec![200_u16, 400]),
    ) {
        let body = json!({ "access_token": bad, "refresh_token": bad }).to_string();
        let error = Answer { status, body: body.as_bytes(), ..ANSWER }.read().unwrap_err();
        prop_assert!(!format!("{error} {error:?}").contains(&bad[..20]), "{:?}", error);
    }

    #[test]
    fn a_listed_code_says_the_same_whatever_the_status(
        code in select(vec!["invalid_grant", "invalid_client", "slow_down"]),
        status in prop_oneof![100..300_u16, 400..1000_u16],
    ) {
        let body = json!({ "error": code }).to_string();
        let secrets = &["invalid", "a"];
        let error = Answer { status, body: body.as_bytes(), secrets, ..ANSWER }.read().unwrap_err();
        let expected = match code {
            "invalid_grant" => Outcome::Rejected,
            "invalid_client" => Outcome::Misconfigured,
            _ => Outcome::Unavailable,
        };
        prop_assert_eq!((error.outcome(), error.code()), (expected, Some(code)));
    }

    #[test]
    fn every_status_goes_with_every_body(
        status in 100..1000_u16,
        body in select(vec![
            "", "{}", "<html>", "[]", r#"{"access_token":"a"}"#, r#"{"error":"c"}"#, r#"{"error":"slow_down"}"#,
        ]),
        seconds in "[0-9]{1,30}",
    ) {
        let input = format!("HTTP/1.1 {status} x\nRetry-After: {seconds}\n\n{body}");
        for target in [token_answer, device_authorization, device_poll, super::super::revocation, retry_after] {
            target(input.as_bytes(), &YARDSTICK);
        }
    }

    #[test]
    fn retry_after_is_the_time_between_two_dates(
        // The second form has two digits for the year.
        date in 0..3_124_224_000_u64, later in prop_oneof![0..10_000_u64, any::<u64>()], earlier in 0..10_000_u64,
    ) {
        let end = date.saturating_add(later).saturating_sub(earlier).min(253_402_300_799);
        let written = |seconds| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        let pause = |end: &str, date: &str| {
            Answer { status: 503, retry_after: Some(end), date: Some(date), ..ANSWER }.read().unwrap_err().retry_after()
        };
        let expected = Some(Duration::from_secs(end.saturating_sub(date)));
        let (ends, dates) = (forms(&written(end)), forms(&written(date)));
        for (form, end) in ends.iter().enumerate().filter(|(form, _)| *form != 1 || end < 3_124_224_000) {
            for date in &dates {
                prop_assert_eq!(pause(end, date), expected, "{} {} {}", form, end, date);
            }
        }
    }

    #[test]
    fn metadata_is_the_issuers_or_an_error(
        path in "(/[a-z\u{9b}\u{e4}\"]{0,4}){0,2}",
        own in prop::option::of("(/[a-z\u{9b}\u{e4}\"]{0,4}){0,2}"),
        token in select(vec!["https://a.example/t", "http://a.example/t", "http://localhost/t", "https://\u{e4}/"]),
        device in select(vec![json!("https://b.example/d"), json!("http://b.example/"), json!("/d"), json!(7)]),
        scheme in select(vec!["https", "http"]),
    ) {
        let issuer = |path: &str| format!("{scheme}://localhost:4000{path}");
        let body = json!({ "issuer": issuer(own.as_ref().unwrap_or(&path)), "token_endpoint": token,
            "device_authorization_endpoint": device, "revocation_endpoint": device });
        discovery(format!("{}\n{body}", issuer(&path)).as_bytes(), &YARDSTICK);
    }

    #[test]
    fn a_device_is_told_what_the_answer_says(
        (life, expires_in) in lifetime(),
        (interval, between) in lifetime(),
        mark in select(vec!["", "\u{feff}"]),
    ) {
        let body = json!({ "device_code": "d", "user_code": "u", "verification_uri": "https://a.example/d",
            "expires_in": life, "interval": interval });
        let body = format!("{mark}{body}");
        let read = Authorization::read(&Answer { body: body.as_bytes(), ..ANSWER }).unwrap();
        let day = Duration::from_secs(24 * 3600);
        prop_assert_eq!((read.prompt.expires_in(), read.interval), (expires_in.min(day), between.min(day)));
        device_authorization(&recorded(200, &[], body.as_bytes()), &YARDSTICK);
    }

    #[test]
    fn a_user_code_is_shown_only_if_it_is_printable(
        code in "[ -~\u{0}-\u{1f}\u{7f}-\u{a0}\u{ad}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}\u{feff}\u{e0041}a-z]{0,4}",
    ) {
        let body = json!({ "device_code": "d", "user_code": code, "verification_uri": "https://a.example/d" }).to_string();
        let read = Authorization::read(&Answer { body: body.as_bytes(), ..ANSWER });
        let is_printable = code.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !code.trim_ascii().is_empty();
        prop_assert_eq!(read.ok().map(|read| read.prompt.user_code().to_owned()), is_printable.then_some(code));
        device_authorization(&recorded(200, &[], body.as_bytes()), &YARDSTICK);
    }

    #[test]
    fn a_poll_is_judged_by_its_code_wherever_that_is(
        code in select(vec!["authorization_pending", "slow_down", "access_denied", "invalid_client", "no_such_code"]),
        status in 100..1000_u16,
        shape in 0..8_usize,
    ) {
        let text = match shape {
            0 => json!({ "error": code }).to_string(),
            1 => json!({ "status": status, "message": code }).to_string(),
            2 => json!({ "error": { "code": code, "message": "more words" } }).to_string(),
            3 => json!({ "error": "Bad Request", "error_code": code }).to_string(),
            4 => json!({ "errors": [[1, { "x": [code] }]] }).to_string(),
            5 => format!("error={code}&error_description=more+words"),
            6 => format!(" {code}\r\n"),
            _ => format!("<html>{code}</html>"),
        };
        let meaning = poll::judge(&Answer { status, body: text.as_bytes(), ..ANSWER }).unwrap_err().meaning;
        let expected = match code {
            _ if shape == 7 => None,
            "authorization_pending" => Some(Meaning::Pending),
            "slow_down" => Some(Meaning::SlowDown),
            "access_denied" => Some(Meaning::Denied),
            "invalid_client" => Some(Meaning::Misconfigured),
            _ => None,
        };
        prop_assert_eq!(meaning, expected.map(|expected| (expected, code)), "{}", text);
        device_poll(&recorded(status, &[], text.as_bytes()), &YARDSTICK);
    }

    #[test]
    fn a_revocation_is_done_if_the_token_is_dead(
        (word, dead) in select(vec![
            ("invalid_token", true), ("invalid_grant", true), ("Token already revoked.", true),
            ("invalid_client", false), ("unsupported_token_type", false), ("no_such_code", false),
        ]),
        status in 100..1000_u16,
        shape in 0..3_usize,
    ) {
        let body = match shape {
            0 => json!({ "error": word }),
            1 => json!({ "status": status, "message": word }),
            _ => json!({ "error": { "code": word } }),
        };
        let body = body.to_string();
        let judged = revocation::judge(&Answer { what: "revocation", status, body: body.as_bytes(), ..ANSWER });
        let done = match status {
            200..300 => dead || shape != 0,
            408 | 425 | 429 => false,
            400..500 => dead,
            _ => false,
        };
        prop_assert_eq!(judged.is_ok(), done, "{} {}", status, body);
        super::super::revocation(&recorded(status, &[], body.as_bytes()), &YARDSTICK);
    }
}
