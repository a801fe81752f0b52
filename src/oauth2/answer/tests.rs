use super::*;

const ANSWER: Answer<'static> = Answer {
    what: "token",
    status: 200,
    content_type: Some("application/json"),
    retry_after: None,
    date: None,
    is_private: true,
    token_type: None,
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
        ("\" 3600.5 \"", Some(Duration::from_secs(3600))),
        ("1e300", Some(year)),
        ("18446744073709551615", Some(year)),
        ("\"18446744073709551616\"", Some(year)),
        ("\"1e300\"", None),
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
    for fine in [r#""Bearer""#, r#""bearer""#, r#"" BEARER\n""#, r#""""#, r#"" ""#, "null"] {
        read(200, &format!(r#"{{"access_token":"a","token_type":{fine}}}"#)).unwrap();
    }
    read(200, r#"{"access_token":"a"}"#).unwrap();
    let body = r#"{"access_token":"a","token_type":"BearerToken","refresh_token":"next"}"#;
    let mut error = read(200, body).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Misconfigured);
    assert!(error.to_string().contains("\"BearerToken\"") && error.to_string().contains("token_type"), "{error}");
    assert_eq!(error.take_renewed().unwrap().secret(), "next", "the server has spent the old one");
    for named in ["BearerToken", "bearertoken"] {
        let answer = Answer { token_type: Some(named), body: body.as_bytes(), ..ANSWER };
        assert_eq!(answer.read().unwrap().refresh_secret(), Some("next"));
        let usual = br#"{"access_token":"a","token_type":"bearer"}"#;
        Answer { body: usual, ..answer }.read().unwrap();
    }
}

#[test]
fn outcomes_by_code() {
    use Outcome::{Misconfigured as M, Refused as F, Rejected as R, Unavailable as U};
    let table: [(&[u16], &[&str], Outcome); 9] = [
        (&[400, 401, 200, 500], &["invalid_grant", "expired_token", "invalid_token"], R),
        (&[400, 401, 200], &["bad_refresh_token", "invalid_refresh_token", "token_revoked"], R),
        (&[400, 403], &["login_required", "interaction_required", "consent_required"], R),
        // RFC 8628's for a login, and a rate limit's for a refresh; no verdict.
        (&[400, 403, 200], &["access_denied", "no_such_code", "internal_error"], F),
        (&[400, 401, 200], &["invalid_client", "unauthorized_client", "unsupported_grant_type"], M),
        (&[400, 401, 404], &["invalid_scope", "invalid_request", "invalid_target"], M),
        (&[400, 200, 503], &["temporarily_unavailable", "server_error", "slow_down"], U),
        (&[429, 500, 503], &["no_such_code", "access_denied"], U),
        (&[401, 404], &["no_such_code"], M),
    ];
    for (statuses, codes, outcome) in table {
        for (status, code) in statuses.iter().flat_map(|status| codes.iter().map(move |code| (*status, *code))) {
            let body = format!(r#"{{"error":"{code}","error_description":"the reason"}}"#);
            let error = read(status, &body).unwrap_err();
            assert_eq!(error.outcome(), outcome, "{status} {code}");
            // What is no code of the protocol's may be a router's word for an address that is not there.
            let hint =
                if (status, code) == (404, "no_such_code") { ": is this the token endpoint's address?" } else { "" };
            assert_eq!(error.to_string(), format!("the token endpoint answered {status} {code}: the reason{hint}"));
            assert_eq!(error.into_error(None).code(), Some(code));
        }
    }
}

#[test]
fn outcomes_by_status_alone() {
    use Outcome::{Misconfigured as M, Refused as R, Unavailable as U, Unreadable};
    let table = [(400, R), (403, R), (401, M), (404, M), (405, M), (413, M), (301, M), (302, M), (304, M), (307, M)];
    let later = [(408, U), (425, U), (429, U), (500, U), (502, U), (503, U), (599, U)];
    let lost = [(200, Unreadable), (201, Unreadable), (204, Unreadable)];
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
fn a_new_refresh_token_is_kept_whatever_is_wrong_with_the_rest() {
    for (rest, outcome) in [
        (r#""access_token":"a b""#, Outcome::Misconfigured),
        (r#""access_token":"""#, Outcome::Refused),
        (r#""token_type":"bearer""#, Outcome::Refused),
        (r#""access_token":"a","token_type":"mac""#, Outcome::Misconfigured),
        (r#""error":"internal_error""#, Outcome::Refused),
        (r#""error":"server_error""#, Outcome::Unavailable),
        // What was refused is the old one.
        (r#""error":"invalid_grant""#, Outcome::Refused),
    ] {
        let mut error = read(200, &format!(r#"{{{rest},"refresh_token":"next-secret"}}"#)).unwrap_err();
        assert_eq!(error.outcome(), outcome, "{rest}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        assert_eq!(error.take_renewed().unwrap().secret(), "next-secret", "{rest}");
    }
    // An error's status says that nothing was issued: what stands there is an echo.
    let mut error = read(400, r#"{"error":"invalid_grant","refresh_token":"r"}"#).unwrap_err();
    assert_eq!((error.outcome(), error.take_renewed().is_none()), (Outcome::Rejected, true));
}

#[test]
fn a_refusal_without_a_reason_may_mean_the_login_where_the_grant_has_worked() {
    let may_need_login = |status, body: &str| {
        let error = read(status, body).unwrap_err().of_a_grant_that_worked().into_error(Some(Duration::from_secs(1)));
        assert!(!error.is_login_required() && error.is_retryable(), "{error}");
        assert_eq!(error.may_need_login(), error.to_string().contains("log in again"), "{error}");
        error.may_need_login()
    };
    for (status, body) in
        [(400, ""), (403, ""), (401, ""), (401, "{}"), (400, r#"{"message":"Invalid refresh token"}"#)]
    {
        assert!(may_need_login(status, body), "{status} {body}");
    }
    for code in ["unauthorized_client", "invalid_request"] {
        assert!(may_need_login(403, &format!(r#"{{"error":"{code}"}}"#)), "{code}");
    }
    // The client, the address, a page, somebody who said "later" or why: a login would not help.
    for (status, body) in [(404, ""), (302, ""), (503, ""), (403, "<html>"), (400, r#"{"error":"rate_limited"}"#)] {
        assert!(!may_need_login(status, body), "{status} {body}");
    }
    assert!(!may_need_login(401, r#"{"error":"invalid_client"}"#));
    let error = read(403, "").unwrap_err().into_error(None);
    assert!(!error.may_need_login(), "it has never worked: {error}");
}

#[test]
fn a_success_without_a_token_is_unreadable() {
    for body in [
        r#"{"access_token":""}"#,
        r#"{"access_token":null}"#,
        r#"{"access_token":["a"]}"#,
        r#"{"access_token":"a","access_token":null}"#,
        r#"{"access_token":"a"}{}"#,
        r#"{"access_token":"a","expires_in":1e999}"#,
        r#"{"access_token":"a""#,
        "access_token=a",
    ] {
        assert_eq!(read(200, body).unwrap_err().outcome(), Outcome::Unreadable, "{body}");
    }
    // What came whole and cannot be sent is no lost answer: another attempt would bring the same.
    for body in [r#"{"access_token":"a b"}"#, r#"{"access_token":"a\r\nX: y"}"#] {
        assert_eq!(read(200, body).unwrap_err().outcome(), Outcome::Misconfigured, "{body}");
    }
    let mut long = format!("{}\"access_token\":\"a\"}}", "{");
    long.push_str(&" ".repeat(MAX_BODY - long.len()));
    read(200, &long).unwrap();
    long.push(' ');
    assert_eq!(read(200, &long).unwrap_err().outcome(), Outcome::Unreadable);
}

#[test]
fn an_answer_that_is_not_json_is_named_so() {
    let answer = Answer { status: 502, content_type: Some("text/html; charset=x"), body: b"<html>", ..ANSWER };
    let error = answer.read().unwrap_err().to_string();
    assert!(error.starts_with("the token endpoint answered 502 with something that is not a JSON object (text/html)"));
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
    // What is left out must not put a secret together: a server may wrap or escape what it echoes.
    assert_eq!(
        show("c", "s3\u{1}cret s3\\cret,s3\"\u{200b}cret"),
        format!("{head}c: [redacted] [redacted],[redacted]")
    );
    assert_eq!(show("s\u{e4}3cret", ""), format!("{head}[redacted]"));
    // At the cut, too, there is no half of a secret.
    assert!(!show("c", &format!("{}s3cret", "d".repeat(197))).contains("s3"));
    assert_eq!(show("ü", "x"), format!("{head}with JSON that has no error code"));
    // Blanks in front are not shown, however many, and hide nothing.
    let blanks = format!(" \u{1}{}", "\n ".repeat(999));
    assert_eq!(show(&format!("{blanks}c"), &format!("{blanks}why")), format!("{head}c: why"));
}

#[test]
fn a_secret_that_is_not_all_printable_is_found_by_what_is() {
    let body = r#"{"error":"c","error_description":"pa\tss\"word and pa ssword"}"#;
    let secrets = &["pa ss\"\u{fc}word", "\u{fc}"];
    let error = Answer { status: 400, body: body.as_bytes(), secrets, ..ANSWER }.read().unwrap_err();
    assert_eq!(error.to_string(), "the token endpoint answered 400 c: [redacted] and [redacted]");
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
        (400, Some("120"), date, Some(120)),
        (404, Some("120"), date, None),
    ] {
        let error = Answer { status, retry_after, date, ..ANSWER }.read().unwrap_err();
        assert_eq!(error.retry_after(), pause.map(Duration::from_secs), "{retry_after:?}");
    }
}

#[test]
fn the_servers_time_counts_only_if_it_is_the_servers() {
    let answer = Answer { date: Some("Thu, 01 Jan 1970 00:01:00 GMT"), body: b"{\"access_token\":\"a\"}", ..ANSWER };
    assert_eq!(answer.read().unwrap().server_time(), Some(Duration::from_secs(60)));
    assert_eq!(Answer { is_private: false, ..answer }.read().unwrap().server_time(), None);
    assert_eq!(Answer { date: Some("now"), ..answer }.read().unwrap().server_time(), None);
}

#[test]
fn a_secret_that_is_a_word_of_a_code_does_not_change_what_the_code_means() {
    let secrets = &["client", "d", "grant"];
    for (code, outcome) in [("invalid_client", Outcome::Misconfigured), ("invalid_grant", Outcome::Rejected)] {
        let body = format!(r#"{{"error":"{code}","error_description":"the client"}}"#);
        let error = Answer { status: 400, body: body.as_bytes(), secrets, ..ANSWER }.read().unwrap_err();
        assert_eq!((error.outcome(), error.into_error(None).code()), (outcome, Some(code)));
    }
}
