//! What a device login does with each answer to a poll, as tables: the shapes are those of real servers.

use ureq_auth::ErrorKind;

use crate::device_code::{AUTHORIZATION, Login, TOKEN, error, pending, seconds_since_start};
use crate::overdue;
use crate::server::Answer;

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=UTF-8";
const TEXT: &str = "text/plain";
const FORM: &str = "application/x-www-form-urlencoded";

fn answer(status: u16, content_type: &str, body: &str) -> Answer {
    Answer::new(status).header("Content-Type", content_type).body(body)
}

#[test]
fn a_login_goes_on_at_its_pace_wherever_the_answer_says_so() {
    for (who, status, content_type, body) in [
        ("RFC 8628", 400, JSON, r#"{"error":"authorization_pending"}"#),
        ("GitHub", 200, JSON, r#"{"error":"authorization_pending","error_uri":"https://x"}"#),
        ("GitHub, asked for no JSON", 200, FORM, "error=authorization_pending&error_description=Still+pending."),
        ("Google", 428, JSON, r#"{"error":"authorization_pending","error_description":"Precondition Required"}"#),
        ("Auth0", 403, JSON, r#"{"error":"authorization_pending","error_description":"not yet"}"#),
        ("dex", 401, JSON, r#"{"error":"authorization_pending"}"#),
        ("Twitch: the code under another member", 400, JSON, r#"{"status":400,"message":"authorization_pending"}"#),
        ("a framework's error", 400, JSON, r#"{"status":400,"error":"Bad Request","message":"authorization_pending"}"#),
        ("an object", 400, JSON, r#"{"error":{"code":"authorization_pending","message":"wait"}}"#),
        ("an object, its code in capitals", 400, JSON, r#"{"error":{"code":"AUTHORIZATION_PENDING","message":""}}"#),
        ("an object with a message", 400, JSON, r#"{"error":{"code":400,"message":"authorization_pending"}}"#),
        ("deeper", 400, JSON, r#"{"detail":{"error":{"code":"authorization_pending"}}}"#),
        ("error_code", 400, JSON, r#"{"error_code":"authorization_pending"}"#),
        ("Ricoh", 400, JSON, r#"{"error":"invalid_grant","error_description":"authorization_pending"}"#),
        ("a list", 400, JSON, r#"{"success":false,"errors":[{"errorType":"authorization_pending"}]}"#),
        ("a sentence", 400, JSON, r#"{"message":"Authorization pending."}"#),
        ("a flag", 400, JSON, r#"{"error":true,"message":"authorization_pending"}"#),
        ("a success in name only", 200, JSON, r#"{"status":"error","message":"authorization_pending"}"#),
        ("accepted", 202, JSON, r#"{"status":"authorization_pending"}"#),
        ("a redirect's status", 302, JSON, r#"{"error":"authorization_pending"}"#),
        ("a server error's status", 500, JSON, r#"{"error":"authorization_pending"}"#),
        ("the wrong content type", 400, HTML, r#"{"error":"authorization_pending"}"#),
        ("a byte order mark", 400, TEXT, "\u{feff}{\"error\":\"authorization_pending\"}"),
        ("a bare code", 400, TEXT, "authorization_pending\n"),
        ("a JSON text", 400, JSON, "\"authorization_pending\""),
        ("not quite JSON", 400, JSON, r#"{"error":"authorization_pending",}"#),
    ] {
        let login = Login::new(AUTHORIZATION, [answer(status, content_type, body), pending(), Answer::ok(TOKEN)]);
        assert_eq!(login.run().unwrap().secret(), "abc", "{who}");
        assert_eq!(login.pauses(), [3, 3, 3], "{who}");
        let slower = body.replace("authorization_pending", "slow_down").replace("AUTHORIZATION_PENDING", "SLOW_DOWN");
        let slower = slower.replace("Authorization pending.", "Slow down!");
        let login = Login::new(AUTHORIZATION, [answer(status, content_type, &slower), pending(), Answer::ok(TOKEN)]);
        assert_eq!(login.run().unwrap().secret(), "abc", "{who}");
        assert_eq!(login.pauses(), [3, 8, 8], "{who}");
    }
}

#[test]
fn a_login_goes_on_more_slowly_past_what_is_not_the_servers_word() {
    for (who, status, content_type, body) in [
        ("a firewall's page between two polls", 403, HTML, "<html>"),
        ("one with words", 403, HTML, "<!DOCTYPE html><h1>Access denied</h1><p>access_denied</p>"),
        (
            "one that links to an error",
            200,
            HTML,
            "<a href=\"/?x&error=access_denied&y\">\"error\":\"access_denied\"</a>",
        ),
        ("a cloud firewall's JSON", 403, JSON, r#"{"__type":"ForbiddenException","message":"blocked"}"#),
        ("a gateway's words for it", 403, JSON, r#"{"message":"Access Denied"}"#),
        ("a gateway's code for it", 403, JSON, r#"{"code":"ACCESS_DENIED"}"#),
        ("an ingress without its backend", 404, HTML, "<html>default backend</html>"),
        ("a proxy's login page", 302, HTML, ""),
        ("a captive portal", 200, HTML, "<html>Welcome</html>"),
        ("an empty 400, which Trakt means as pending", 400, JSON, ""),
        ("an empty 401", 401, JSON, ""),
        ("an empty 403", 403, JSON, ""),
        ("a 405", 405, TEXT, "Method Not Allowed"),
        ("a 407", 407, HTML, "<html>"),
        ("a 410", 410, JSON, "{}"),
        ("a 418", 418, TEXT, ""),
        ("a 200 without a token", 200, JSON, "{}"),
        ("an empty 200", 200, JSON, ""),
        ("an empty 204", 204, JSON, ""),
        ("an empty token", 200, JSON, r#"{"access_token":""}"#),
        ("a code that nobody knows", 400, JSON, r#"{"error":"no_such_code"}"#),
        ("trouble in a 200", 200, JSON, r#"{"ok":false,"error":"internal_error"}"#),
        ("trouble that passes", 400, JSON, r#"{"error":"server_error"}"#),
        ("trouble that passes, with more words", 400, JSON, r#"{"error":"server_error","message":"access_denied"}"#),
        ("maintenance", 503, JSON, r#"{"error":"temporarily_unavailable"}"#),
        ("a rate limit", 429, JSON, r#"{"error":"too_many_requests"}"#),
        ("Google's rate limit", 403, JSON, r#"{"error_code":"rate_limit_exceeded"}"#),
        ("GitHub, for a code that is too new", 200, JSON, r#"{"error":"incorrect_device_code"}"#),
        ("Twitch, for a code that it does not know", 400, JSON, r#"{"status":400,"message":"invalid device code"}"#),
    ] {
        let trouble = || answer(status, content_type, body);
        let answers = [pending(), trouble(), trouble(), pending(), Answer::ok(TOKEN)];
        let login = Login::new(AUTHORIZATION, answers);
        assert_eq!(login.run().unwrap().secret(), "abc", "{who}");
        assert_eq!(login.pauses(), [3, 3, 6, 12, 3], "{who}");
    }
}

#[test]
fn a_login_goes_on_past_unreadable_answers() {
    for (who, trouble) in [
        ("cut off in the middle", Answer::ok(TOKEN).torn()),
        ("an error cut off in the middle", error(400, "access_denied").torn()),
        ("closed without a word", Answer::wire(|_| {})),
        ("garbage", Answer::wire(|mut stream| std::io::Write::write_all(&mut stream, b"\0\0\0\0\r\n\r\n").unwrap())),
        ("more than anybody reads", Answer::ok("x".repeat(70_000))),
    ] {
        let login = Login::new(AUTHORIZATION, [trouble.clone(), trouble, pending(), Answer::ok(TOKEN)]);
        assert_eq!(login.run().unwrap().secret(), "abc", "{who}");
        assert_eq!(login.pauses(), [3, 6, 12, 3], "{who}");
    }
}

#[test]
fn only_the_servers_code_ends_a_login() {
    let (rejected, misconfigured) = (ErrorKind::Rejected, ErrorKind::Misconfigured);
    for (who, status, content_type, body, kind, code) in [
        ("RFC 8628", 400, JSON, r#"{"error":"access_denied"}"#, rejected, "access_denied"),
        ("another status", 403, JSON, r#"{"error":"access_denied"}"#, rejected, "access_denied"),
        ("a server error's status", 500, JSON, r#"{"error":"access_denied"}"#, rejected, "access_denied"),
        ("a success", 200, JSON, r#"{"error":"access_denied"}"#, rejected, "access_denied"),
        ("the wrong content type", 400, HTML, r#"{"error":"access_denied"}"#, rejected, "access_denied"),
        ("form-urlencoded", 400, FORM, "error=access_denied&error_description=No.", rejected, "access_denied"),
        ("another member", 400, JSON, r#"{"status":400,"message":"access_denied"}"#, rejected, "access_denied"),
        ("an object", 400, JSON, r#"{"error":{"code":"access_denied"}}"#, rejected, "access_denied"),
        ("Entra", 400, JSON, r#"{"error":"authorization_declined"}"#, rejected, "authorization_declined"),
        ("expired", 400, JSON, r#"{"error":"expired_token"}"#, rejected, "expired_token"),
        ("expired, in words", 400, JSON, r#"{"error_code":"expired_token"}"#, rejected, "expired_token"),
        ("expired at Amazon", 400, JSON, r#"{"error":"invalid_code_pair"}"#, rejected, "invalid_code_pair"),
        ("a code that is dead", 400, JSON, r#"{"error":"invalid_grant"}"#, rejected, "invalid_grant"),
        ("RFC 6749", 401, JSON, r#"{"error":"invalid_client"}"#, misconfigured, "invalid_client"),
        ("not for this client", 400, JSON, r#"{"error":"unauthorized_client"}"#, misconfigured, "unauthorized_client"),
        ("not this grant", 400, JSON, r#"{"error":"unsupported_grant_type"}"#, misconfigured, "unsupported_grant_type"),
        ("GitHub", 200, JSON, r#"{"error":"device_flow_disabled"}"#, misconfigured, "device_flow_disabled"),
        ("Apigee", 401, JSON, r#"{"ErrorCode":"invalid_client","Error":"x"}"#, misconfigured, "invalid_client"),
    ] {
        let login = Login::new(AUTHORIZATION, [pending(), answer(status, content_type, body)]);
        let error = login.run().unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, Some(code)), "{who}: {error}");
        let advice = if kind == rejected { "start a new login" } else { "check the client's settings" };
        let text = error.to_string();
        assert!(
            text.contains(advice) && text.contains(&format!("the token endpoint answered {status}")),
            "{who}: {text}"
        );
        assert!(!format!("{error} {error:?}").contains("hidden"), "{who}: {error:?}");
    }
}

#[test]
fn a_login_goes_on_past_an_answer_that_takes_too_long() {
    let login = Login::new(AUTHORIZATION, [overdue::answer(), pending(), Answer::ok(TOKEN)]);
    let token = login.device().make_agent(overdue::agent).log_in(|_| {}).unwrap();
    assert_eq!((token.secret(), login.pauses()), ("abc", vec![3, 6, 3]));
}

/// To ask again would not help: the device code is spent.
#[test]
fn a_token_that_cannot_be_used_ends_the_login() {
    for body in [
        r#"{"access_token":"abc","token_type":"mac"}"#,
        r#"{"access_token":"a b","token_type":"bearer"}"#,
        r#"{"code":0,"data":{"access_token":"abc"}}"#,
    ] {
        let login = Login::new(AUTHORIZATION, [pending(), Answer::ok(body)]);
        let error = login.run().unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Misconfigured, None), "{error}");
    }
}

#[test]
fn a_login_that_meets_nothing_but_trouble_says_what_the_last_answer_was() {
    for (trouble, says) in [
        (answer(403, HTML, "<html>"), "answered 403 with something that is not a JSON object (text/html)"),
        (answer(404, HTML, "<html>"), "answered 404"),
        (answer(302, HTML, ""), "redirects are not followed, give the final address"),
        (answer(400, JSON, ""), "answered 400 with an empty body"),
        (answer(400, JSON, r#"{"message":"invalid device code"}"#), "no error code: invalid device code"),
        (answer(400, JSON, r#"{"error":"no_such_code","error_description":"Why."}"#), "400 no_such_code: Why."),
        (answer(400, JSON, r#"{"message":"hidden-device-code\u001b[2J is unknown"}"#), "is unknown"),
        (pending(), "400 authorization_pending"),
    ] {
        // 3, 6, 12, 24, 48, 60 seconds after one another, or every three.
        let login = Login::new(AUTHORIZATION, std::iter::repeat_n(trouble, 200));
        let error = login.run().unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("expired_token")), "{error}");
        assert!(error.is_login_required() && !error.is_retryable(), "{error}");
        let text = error.to_string();
        assert!(text.contains("expired") && text.contains("last answer:") && text.contains(says), "{text}");
        assert!(!text.contains("hidden") && !text.contains(char::is_control), "{text}");
        assert_eq!(seconds_since_start(&login.clock), 600, "{text}");
        assert!(login.pauses().iter().all(|pause| *pause <= 60), "{:?}", login.pauses());
    }
}

#[test]
fn the_scope_of_a_token_cannot_steer_a_terminal() {
    for (scope, expected) in [
        (r#""mail calendar.read https://x/y#z""#, Some("mail calendar.read https://x/y#z")),
        (r#"["mail","calendar"]"#, Some("mail calendar")),
        (r#""  mail   calendar ""#, Some("mail calendar")),
        (r#""mail \u001b[2J\u001b[31m calendar""#, Some("mail calendar")),
        (r#"["mail","cal\u0007endar"]"#, Some("mail")),
        // A word with something else in it is not made another word.
        ("\"mail ad\u{200b}min\"", Some("mail")),
        ("\"mail\u{2028}calendar\"", None),
        ("\"\u{202e}mail\"", None),
        ("\"\u{9b}2J\"", None),
        (r#""ma\"il\\""#, None),
        (r#""""#, None),
        ("7", None),
    ] {
        let body = format!(r#"{{"access_token":"abc","scope":{scope}}}"#);
        let login = Login::new(AUTHORIZATION, [Answer::ok(body)]);
        assert_eq!(login.run().unwrap().scope(), expected, "{scope}");
    }
}
