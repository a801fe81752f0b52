//! Forms in which APIs tell that a token has expired, each with the rule that says so to the client: three lines at most. And
//! the forms in which they want the token.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::http::header::AUTHORIZATION;
use ureq_auth::{Answer as Shown, TokenIn};

use crate::client::{builder_of, plain_statuses, text};
use crate::server::{Answer, Seen, Server};

/// Name, response to an expired token, another response that is no refusal, and the rule.
type Form = (&'static str, Answer, Answer, fn(&mut Shown<'_>) -> bool);

fn json(status: u16, body: &str) -> Answer {
    Answer::new(status).header("Content-Type", "application/json").body(body)
}

fn challenge(status: u16, line: &str) -> Answer {
    Answer::new(status).header("WWW-Authenticate", line)
}

fn chunked(status: &str, body: &str) -> Answer {
    let head = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let wire = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    Answer::written(move |mut stream| std::io::Write::write_all(&mut stream, wire.as_bytes()).unwrap())
}

fn statuses_and_headers() -> Vec<Form> {
    vec![
        ("419", Answer::new(419), Answer::new(418), |answer| answer.status() == 419),
        ("440", Answer::new(440), Answer::new(444), |answer| answer.status() == 440),
        ("498", json(498, r#"{"error":{"code":498}}"#), json(497, "{}"), |answer| answer.status() == 498),
        ("499", json(499, r#"{"error":{"code":499}}"#), json(404, "{}"), |answer| answer.status() == 499),
        ("407", challenge(407, "Bearer"), Answer::new(409), |answer| answer.status() == 407),
        ("Token", challenge(401, "Token"), challenge(401, "Basic"), |answer| {
            answer.status() == 401 && answer.has_challenge("Token")
        }),
        ("lower case", challenge(401, "token realm=x"), challenge(401, "Basic"), |answer| {
            answer.has_challenge("Token")
        }),
        ("ApiKey", challenge(401, "ApiKey realm=\"a, b\""), challenge(403, "ApiKeys"), |answer| {
            answer.has_challenge("ApiKey")
        }),
        (
            "several in one line",
            challenge(401, "Basic realm=\"x\", JWT realm=\"api\""),
            challenge(401, "Basic"),
            |answer| answer.has_challenge("JWT"),
        ),
        (
            "several lines",
            challenge(401, "Basic realm=x").header("WWW-Authenticate", "DPoP error=\"invalid_token\""),
            challenge(401, "Basic realm=x").header("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\""),
            |answer| answer.has_challenge("DPoP") && answer.header_contains("www-authenticate", "invalid_token"),
        ),
        ("any 401", challenge(401, "Basic realm=x"), challenge(403, "Basic realm=x"), |answer| answer.status() == 401),
        (
            "a challenge with a 400",
            challenge(400, "OAuth \"Platform\" \"invalid_token\" \"Session has expired\"").body("{}"),
            challenge(400, "OAuth \"Platform\" \"invalid_request\" \"No such field\"").body("{}"),
            |answer| answer.header_contains("www-authenticate", "invalid_token"),
        ),
        (
            "a challenge with a 403",
            challenge(403, "Bearer error=\"invalid_token\", error_description=\"expir\u{e9}\""),
            challenge(403, "Bearer error=\"insufficient_scope\", error_description=\"refus\u{e9}\""),
            |answer| answer.status() == 403 && answer.header_contains("www-authenticate", "invalid_token"),
        ),
        (
            "a header of its own",
            Answer::new(401).header("WWW-Authenticate", "X").header("X-Token-Expired", "true"),
            challenge(401, "X").header("X-Token-Expired", "false"),
            |answer| answer.header("x-token-expired") == "true",
        ),
        (
            "an error type",
            Answer::new(403).header("X-Amzn-ErrorType", "ExpiredTokenException:http://internal/"),
            Answer::new(403).header("X-Amzn-ErrorType", "AccessDeniedException"),
            |answer| answer.header_contains("x-amzn-errortype", "ExpiredToken"),
        ),
        (
            "gRPC over HTTP",
            Answer::ok("").header("grpc-status", "16"),
            Answer::ok("").header("grpc-status", "5"),
            |answer| answer.header("grpc-status") == "16",
        ),
        (
            "a cookie taken away",
            Answer::new(403).header("Set-Cookie", "theme=dark").header("Set-Cookie", "session=; Max-Age=0"),
            Answer::new(403).header("Set-Cookie", "theme=dark").header("Set-Cookie", "session=abc"),
            |answer| answer.header_contains("set-cookie", "session=;"),
        ),
        ("to a login page", Answer::redirect(302, "/login?next=%2F"), Answer::redirect(302, "/there"), |answer| {
            answer.status().is_redirection() && answer.header_contains("location", "/login")
        }),
        (
            "to a login page elsewhere",
            Answer::redirect(307, "https://id.example.invalid/authorize?a=b"),
            Answer::redirect(307, "/there"),
            |answer| answer.status() == 307 && answer.header("location").starts_with("https://id.example.invalid/"),
        ),
    ]
}

fn json_bodies() -> Vec<Form> {
    let late = |code: &str| json(400, &format!(r#"{{"trace":"{}","code":"{code}"}}"#, "x".repeat(12_000)));
    let early = |code: &str| json(401, &format!(r#"{{"code":"{code}","trace":"{}"}}"#, "x".repeat(60_000)));
    vec![
        (
            "a 403 with a code",
            json(403, r#"{"error":{"code":3,"message":"Access token expired"}}"#),
            json(403, r#"{"error":{"code":4,"message":"Not yours"}}"#),
            |answer| answer.status() == 403 && answer.json_is("/error/code", "3"),
        ),
        (
            "a 400 with a code",
            json(400, r#"{"error":{"code":190}}"#),
            json(400, r#"{"error":{"code":100}}"#),
            |answer| answer.json_is("/error/code", "190"),
        ),
        (
            "a number as text",
            json(400, r#"{"error":{"code":"190"}}"#),
            json(400, r#"{"error":{"code":"1900"}}"#),
            |answer| answer.json_is("/error/code", "190"),
        ),
        (
            "a code in a 200",
            json(200, r#"{"errcode":42001,"errmsg":"expired"}"#),
            json(200, r#"{"errcode":0}"#),
            |answer| answer.json_is("/errcode", "42001"),
        ),
        (
            "an error in a 200",
            json(200, r#"{"ok":false,"error":"token_expired"}"#),
            json(200, r#"{"ok":false,"error":"channel_not_found"}"#),
            |answer| answer.json_is("/ok", "false") && answer.json_is("/error", "token_expired"),
        ),
        (
            "nothing but false",
            json(200, r#"{"authenticated":false}"#),
            json(200, r#"{"authenticated":true}"#),
            |answer| answer.json_is("/authenticated", "false"),
        ),
        ("null", json(200, r#"{"user":null}"#), json(200, r#"{"user":"ada"}"#), |answer| {
            answer.json_is("/user", "null")
        }),
        (
            "an array",
            json(401, r#"[{"message":"Session expired","errorCode":"INVALID_SESSION_ID"}]"#)
                .header("WWW-Authenticate", "Token"),
            json(400, r#"[{"message":"No such field","errorCode":"INVALID_FIELD"}]"#),
            |answer| answer.json_is("/0/errorCode", "INVALID_SESSION_ID"),
        ),
        (
            "GraphQL",
            json(200, r#"{"errors":[{"extensions":{"code":"UNAUTHENTICATED"}}],"data":null}"#),
            json(200, r#"{"errors":[{"extensions":{"code":"FORBIDDEN"}}],"data":null}"#),
            |answer| answer.json_is("/errors/0/extensions/code", "UNAUTHENTICATED"),
        ),
        (
            "GraphQL, another error first",
            json(200, r#"{"data":{"a":1},"errors":[{"message":"x"},{"extensions":{"code":"UNAUTHENTICATED"}}]}"#),
            json(200, r#"{"data":{"a":1},"errors":[{"message":"x"}]}"#),
            |answer| answer.body_contains("\"UNAUTHENTICATED\""),
        ),
        (
            "problem details",
            json(403, r#"{"type":"https://api.example.com/problems/token-expired","status":403}"#),
            json(403, r#"{"type":"about:blank","status":403}"#),
            |answer| answer.json_is("/type", "https://api.example.com/problems/token-expired"),
        ),
        (
            "a name with a slash",
            json(403, r#"{"x/error":{"a~b":"expired"}}"#),
            json(403, r#"{"x":{"error":"expired"}}"#),
            |answer| answer.json_is("/x~1error/a~0b", "expired"),
        ),
        (
            "words in a message",
            json(400, r#"{"message":"Error validating access token: Session has expired on Friday"}"#),
            json(400, r#"{"message":"Error validating field"}"#),
            |answer| answer.status() == 400 && answer.body_contains("Session has expired"),
        ),
        ("a byte order mark", json(403, "\u{feff} {\"code\":40101}"), json(403, "\u{feff}{\"code\":1}"), |answer| {
            answer.json_is("/code", "40101")
        }),
        ("no content type", Answer::new(403).body(r#"{"code":7}"#), Answer::new(403).body("7"), |answer| {
            answer.json_is("/code", "7")
        }),
        ("chunked", chunked("403 No", r#"{"code":7}"#), chunked("403 No", r#"{"code":77}"#), |answer| {
            answer.json_is("/code", "7")
        }),
        ("a late member", late("expired"), late("other"), |answer| answer.json_is("/code", "expired")),
        (
            "an early member of a long body",
            early("expired").header("WWW-Authenticate", "X"),
            early("other").header("WWW-Authenticate", "X"),
            |answer| answer.json_is("/code", "expired"),
        ),
    ]
}

fn other_bodies() -> Vec<Form> {
    vec![
        (
            "a fault in XML",
            Answer::new(500).body("<?xml version=\"1.0\"?><s:Fault><faultcode>InvalidSecurityToken</faultcode></s:Fault>"),
            Answer::new(500).body("<?xml version=\"1.0\"?><s:Fault><faultcode>Server</faultcode></s:Fault>"),
            |answer| answer.status() == 500 && answer.body_contains("InvalidSecurityToken"),
        ),
        (
            "plain text",
            Answer::new(403).header("Content-Type", "text/plain").body("Token expired\n"),
            Answer::new(403).header("Content-Type", "text/plain").body("Quota exceeded\n"),
            |answer| answer.status() == 403 && answer.body_contains("expired"),
        ),
        (
            "a login page with a 200",
            Answer::ok("<!DOCTYPE html><form action=\"/login\">").header("Content-Type", "text/html; charset=utf-8"),
            Answer::ok("<!DOCTYPE html><p>found").header("Content-Type", "text/html; charset=utf-8"),
            |answer| answer.header("content-type").starts_with("text/html") && answer.body_contains("action=\"/login\""),
        ),
        ("JSON behind a guard", Answer::ok(")]}',\n{\"auth\":false}"), Answer::ok(")]}',\n{\"auth\":true}"), |answer| {
            answer.body_contains("\"auth\":false")
        }),
        ("a batch", Answer::ok("--b\r\n\r\nHTTP/1.1 401 No\r\n"), Answer::ok("--b\r\n\r\nHTTP/1.1 200 OK\r\n"), |answer| {
            answer.body_contains("HTTP/1.1 401")
        }),
        (
            "Latin-1",
            Answer::new(403).header("Content-Type", "text/xml; charset=iso-8859-1").body(b"<e>SESSION expir\xe9e</e>"),
            Answer::new(403).header("Content-Type", "text/xml; charset=iso-8859-1").body(b"<e>refus\xe9</e>"),
            |answer| answer.body_contains("SESSION"),
        ),
        #[cfg(feature = "gzip")]
        (
            "gzip",
            // who are you?
            Answer::new(403).header("Content-Encoding", "gzip").body(
                b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\x2b\xcf\xc8\x57\x48\x2c\x4a\x55\xa8\xcc\x2f\xb5\x07\x00\x78\x17\xd1\x2c\x0c\x00\x00\x00",
            ),
            Answer::new(403).body("no"),
            |answer| answer.body_contains("who are you?"),
        ),
    ]
}

fn forms() -> Vec<Form> {
    [statuses_and_headers(), json_bodies(), other_bodies()].concat()
}

fn ruled(server: &Server, rule: fn(&mut Shown<'_>) -> bool) -> (ureq_auth::Client, crate::client::Calls) {
    let (builder, calls) = builder_of(server);
    let client = builder.max_redirects(0).configure(plain_statuses).refused_if(rule).build().unwrap();
    (client, calls)
}

#[test]
fn each_form_of_a_refusal_is_a_rule_of_three_lines_at_most() {
    for (name, refusal, _, rule) in forms() {
        for method in ["GET", "POST"] {
            let refusal = refusal.clone();
            let server = Server::start(move |seen| match seen.bearer() {
                Some("token-1") => refusal.clone(),
                _ => Answer::ok(seen.text()),
            });
            let (client, calls) = ruled(&server, rule);
            let (answer, body) = match method {
                "GET" => (client.get(server.url("/")).call(), ""),
                _ => (client.post(server.url("/")).send("body"), "body"),
            };
            assert_eq!(text(answer), body, "{name}");
            assert_eq!(server.told(), [1, 2].map(|token| format!("{method} / Bearer token-{token}")), "{name}");
            assert!(server.seen().iter().all(|seen| seen.text() == body), "{name}: replayed once, with its body");
            assert_eq!(calls.count(), 2, "{name}");
        }
    }
}

#[test]
fn the_same_rule_leaves_other_responses_alone_and_whole() {
    for (name, _, other, rule) in forms() {
        let server = Server::script([other.clone(), other]);
        let (client, calls) = ruled(&server, rule);
        let mut ruled = client.get(server.url("/")).call().unwrap();
        let plain = builder_of(&server).0.max_redirects(0).configure(plain_statuses).refused_only_if(|_| false);
        let mut plain = plain.build().unwrap().get(server.url("/")).call().unwrap();
        assert_eq!((ruled.status(), ruled.headers()), (plain.status(), plain.headers()), "{name}");
        let [ruled, plain] = [&mut ruled, &mut plain].map(|answer| answer.body_mut().read_to_vec().unwrap());
        assert_eq!(ruled, plain, "{name}");
        assert_eq!((calls.count(), server.count()), (1, 2), "{name}");
    }
}

/// Name, how the token goes in, and the header that the API has to get for `token-1`.
fn ways_in() -> Vec<(&'static str, TokenIn, &'static str, String)> {
    let basic = BASE64_STANDARD.encode("token-1:");
    vec![
        ("a header", TokenIn::header("X-Auth-Token"), "x-auth-token", "token-1".into()),
        ("another", TokenIn::header("PRIVATE-TOKEN"), "private-token", "token-1".into()),
        ("no scheme", TokenIn::header("Authorization"), "authorization", "token-1".into()),
        ("a scheme", TokenIn::scheme("Token"), "authorization", "Token token-1".into()),
        ("in lower case", TokenIn::scheme("token"), "authorization", "token token-1".into()),
        ("with a hyphen", TokenIn::scheme("Zoho-oauthtoken"), "authorization", "Zoho-oauthtoken token-1".into()),
        ("a cookie", TokenIn::cookie("sid"), "cookie", "sid=token-1".into()),
        (
            "a parameter",
            TokenIn::with("Authorization", |request, token| {
                request.insert(AUTHORIZATION, format!("Token token=\"{}\"", token.secret()).parse()?);
                Ok(())
            }),
            "authorization",
            "Token token=\"token-1\"".into(),
        ),
        (
            "as a user's name",
            TokenIn::with("Authorization", |request, token| {
                let basic = BASE64_STANDARD.encode(format!("{}:", token.secret()));
                request.insert(AUTHORIZATION, format!("Basic {basic}").parse()?);
                Ok(())
            }),
            "authorization",
            format!("Basic {basic}"),
        ),
        (
            "Bearer in another header",
            TokenIn::with("X-Forwarded-Authorization", |request, token| {
                request.insert("x-forwarded-authorization".parse()?, token.header().clone());
                Ok(())
            }),
            "x-forwarded-authorization",
            "Bearer token-1".into(),
        ),
    ]
}

#[test]
fn each_form_in_which_an_api_wants_the_token_is_one_line_or_a_closure_of_three() {
    for (name, way, header, value) in ways_in() {
        let next = value
            .replace("token-1", "token-2")
            .replace(&BASE64_STANDARD.encode("token-1:"), &BASE64_STANDARD.encode("token-2:"));
        let (first, second) = (value.clone(), next.clone());
        let server = Server::start(move |seen: &Seen| match seen.header(header) {
            Some(value) if value == first => Answer::new(401),
            Some(value) if value == second => Answer::ok(seen.text()),
            other => panic!("{other:?}"),
        });
        let (builder, calls) = builder_of(&server);
        let client = builder.token_in(way).configure(plain_statuses).build().unwrap();
        assert_eq!(text(client.post(server.url("/")).send("body")), "body", "{name}");
        let sent: Vec<_> =
            server.seen().iter().map(|seen| seen.header(header).unwrap_or_default().to_owned()).collect();
        assert_eq!(sent, [value, next], "{name}");
        assert_eq!(calls.count(), 2, "{name}");
    }
}
