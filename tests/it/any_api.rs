//! APIs that say it in another way: what a refusal looks like.

use std::io::Write as _;

use ureq_auth::{Client, ClientBuilder, Clock as _, ManualClock, NotReplayed, Session, Token};

use crate::client::{Calls, builder_of, numbered, plain_statuses, text};
use crate::server::{Answer, Server};
use crate::support::secs;

type Rule = fn(ClientBuilder) -> ClientBuilder;

fn json(status: u16, body: &str) -> Answer {
    Answer::new(status).header("Content-Type", "application/json").body(body)
}

fn challenge(status: u16, line: &str) -> Answer {
    Answer::new(status).header("WWW-Authenticate", line)
}

/// An expired token as the API tells it, another response that is no refusal, and the rule that tells them apart.
fn kinds() -> Vec<(Answer, Answer, Rule)> {
    vec![
        (challenge(401, "Token"), challenge(401, "Bearer error=\"insufficient_scope\""), |client| {
            client.refused_if(|answer| answer.status() == 401 && answer.has_challenge("token"))
        }),
        (
            json(403, r#"{"error":{"code":3,"message":"Access token expired"}}"#),
            json(403, r#"{"error":{"code":4,"message":"Not yours"}}"#),
            |client| client.refused_if(|answer| answer.status() == 403 && answer.json_is("/error/code", "3")),
        ),
        (
            challenge(400, "OAuth \"Platform\" \"invalid_token\" \"Session has expired\"")
                .body(r#"{"error":{"code":190}}"#),
            challenge(400, "OAuth \"Platform\" \"invalid_request\" \"No such field\""),
            |client| client.refused_if(|answer| answer.header("www-authenticate").contains("\"invalid_token\"")),
        ),
        (json(498, r#"{"error":{"code":498}}"#), json(499, "{}"), |client| {
            client.refused_if(|answer| answer.status() == 498)
        }),
        (
            json(200, r#"{"ok":false,"error":"token_expired"}"#),
            json(200, r#"{"ok":false,"error":"channel_not_found"}"#),
            |client| client.refused_if(|answer| answer.json_is("/error", "token_expired")),
        ),
        (Answer::new(419), Answer::new(418), |client| {
            client.refused_if(|answer| [419, 440].contains(&answer.status().as_u16()))
        }),
        (
            json(200, "\u{feff} {\"errors\":[{\"extensions\":{\"code\":\"UNAUTHENTICATED\"}}],\"data\":null}"),
            json(200, r#"{"errors":[{"extensions":{"code":"FORBIDDEN"}}],"data":null}"#),
            |client| client.refused_if(|answer| answer.json_is("/errors/0/extensions/code", "UNAUTHENTICATED")),
        ),
        (Answer::new(302).header("Location", "/login"), Answer::new(304).header("Location", "/other"), |client| {
            client.refused_if(|answer| answer.status() == 302 && answer.header("location").ends_with("/login"))
        }),
        (
            Answer::new(500).body("<fault>Session expired</fault>"),
            Answer::new(500).body("<fault>No such table</fault>"),
            |client| client.refused_if(|answer| answer.status() == 500 && answer.body().starts_with(b"<fault>Session")),
        ),
        (json(401, "{}"), challenge(401, "Bearer").body("quota"), |client| {
            client.refused_only_if(|answer| answer.is_refused_by_default() && !answer.has_challenge("Bearer"))
        }),
    ]
}

/// Gives the first response to `token-1`, and echoes the request of any other.
fn refusing(refusal: Answer) -> Server {
    Server::start(move |seen| match seen.bearer() {
        Some("token-1") => refusal.clone(),
        _ => Answer::ok(format!("{} {}", seen.method, seen.text())),
    })
}

#[test]
fn each_kind_of_refusal_is_a_rule_of_three_lines_and_the_body_is_sent_twice() {
    for (number, (refusal, _, rule)) in kinds().into_iter().enumerate() {
        for method in ["GET", "POST"] {
            let server = refusing(refusal.clone());
            let (builder, calls) = builder_of(&server);
            let client = rule(builder.configure(plain_statuses)).build().unwrap();
            let answer = match method {
                "GET" => client.get(server.url("/")).call(),
                _ => client.post(server.url("/")).send("body"),
            };
            let body = if method == "GET" { "" } else { "body" };
            assert_eq!(text(answer), format!("{method} {body}"), "{number}");
            assert_eq!(server.told(), [format!("{method} / Bearer token-1"), format!("{method} / Bearer token-2")]);
            assert!(server.seen().iter().all(|seen| seen.text() == body), "{number}");
            assert_eq!(calls.count(), 2, "{number}");
        }
    }
}

#[test]
fn a_response_that_is_no_refusal_reaches_its_caller_whole() {
    for (number, (_, other, rule)) in kinds().into_iter().enumerate() {
        let server = Server::script([other.clone(), other]);
        let (builder, calls) = builder_of(&server);
        let client = rule(builder.configure(plain_statuses)).build().unwrap();
        let (plain, _) = builder_of(&server);
        let plain = plain.refused_only_if(|_| false).configure(plain_statuses).build().unwrap();
        let [mut ruled, mut untouched] = [client, plain].map(|client| client.get(server.url("/")).call().unwrap());
        assert_eq!(ruled.status(), untouched.status(), "{number}");
        assert_eq!(ruled.headers(), untouched.headers(), "{number}");
        assert_eq!(ruled.body().content_length(), untouched.body().content_length(), "{number}");
        let read = |body: &mut ureq::Body| body.read_to_vec().unwrap();
        assert_eq!(read(ruled.body_mut()), read(untouched.body_mut()), "{number}");
        assert_eq!((calls.count(), server.count()), (1, 2), "{number}");
    }
}

/// A body sent as `Transfer-Encoding: chunked`, in pieces of that size, on a connection that ends with it.
fn chunked(head: &'static str, body: Vec<u8>, piece: usize) -> Answer {
    Answer::wire(move |mut stream| {
        let mut wire =
            format!("HTTP/1.1 200 OK\r\n{head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
        for piece in body.chunks(piece) {
            wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            wire.extend_from_slice(piece);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        stream.write_all(&wire).unwrap();
    })
}

#[test]
fn a_body_that_a_rule_has_looked_at_is_whole_however_it_was_framed() {
    let looks: [Rule; 3] = [
        |client| client.refused_if(|answer| answer.body().len() > 16 * 1024),
        |client| client.refused_if(|answer| answer.json_is("/error", "expired")),
        |client| {
            client.refused_if(|answer| answer.body() == b"no" && answer.json_is("/a", "1") && answer.body().is_empty())
        },
    ];
    let long = || format!(r#"{{"error":"none","rest":"{}"}}"#, "x".repeat(40_000)).into_bytes();
    for body in [Vec::new(), b"{}".to_vec(), b"[1,".to_vec(), vec![0xff; 3000], vec![b'y'; 16 * 1024], long()] {
        for (number, look) in looks.into_iter().enumerate() {
            let server = Server::script([
                Answer::ok(&body),
                chunked("", body.clone(), 700),
                chunked("Content-Type: application/json; charset=utf-8\r\n", body.clone(), 16),
            ]);
            let (builder, calls) = builder_of(&server);
            let client = look(builder).build().unwrap();
            for _ in 0..3 {
                let mut answer = client.get(server.url("/")).call().unwrap();
                assert_eq!(answer.body_mut().read_to_vec().unwrap(), body, "{number}");
            }
            assert_eq!((calls.count(), server.count()), (1, 3));
        }
    }
}

#[cfg(feature = "gzip")]
#[test]
fn a_rule_sees_a_compressed_body_decoded_and_so_does_the_caller() {
    // gzip of {"error":"none"}, stored without compression.
    let plain = br#"{"error":"none"}"#;
    let mut zipped = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1, 16, 0, 0xef, 0xff];
    zipped.extend_from_slice(plain);
    zipped.extend_from_slice(&crc32(plain).to_le_bytes());
    zipped.extend_from_slice(&16_u32.to_le_bytes());
    let server = Server::script([Answer::ok(&zipped).header("Content-Encoding", "gzip")]);
    let (builder, _) = builder_of(&server);
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let looks = seen.clone();
    let client = builder.refused_if(move |answer| {
        *looks.lock().unwrap() = answer.body().to_vec();
        answer.json_is("/error", "expired")
    });
    let mut answer = client.build().unwrap().get(server.url("/")).call().unwrap();
    assert_eq!(answer.body_mut().read_to_vec().unwrap(), plain);
    assert_eq!(*seen.lock().unwrap(), plain);
}

#[cfg(feature = "gzip")]
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn a_body_that_breaks_off_under_a_rules_eyes_breaks_off_for_the_caller_where_it_broke() {
    let server = Server::script([Answer::ok("{\"a\":1").torn()]);
    let (builder, _) = builder_of(&server);
    let client = builder.refused_if(|answer| answer.json_is("/a", "1")).build().unwrap();
    let mut answer = client.get(server.url("/")).call().unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut answer.body_mut().as_reader(), &mut bytes).unwrap_err();
    assert_eq!(bytes, b"{\"a\":1");
}

#[test]
fn a_rule_that_reads_json_does_not_wait_for_what_comes_after_the_first_value() {
    let server = Server::script([Answer::wire(|mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"a\":1}\n\r\n").unwrap();
        // Nothing more until the client hangs up.
        let _end = std::io::Read::read(&mut stream, &mut [0; 64]);
    })]);
    let (builder, _) = builder_of(&server);
    let client = builder.refused_if(|answer| answer.json_is("/a", "2")).build().unwrap();
    assert_eq!(client.get(server.url("/")).call().unwrap().status(), 200);
}

#[test]
fn a_missing_page_costs_no_refresh_while_the_token_is_young() {
    let server = Server::start(|seen| match (&*seen.target, seen.bearer()) {
        ("/mine", Some("token-2")) => Answer::ok("mine"),
        _ => Answer::new(404),
    });
    // With a lifetime that the server tells, and without one.
    for lifetime in [Some(secs(10_000)), None] {
        let (clock, calls) = (ManualClock::new(None), Calls::default());
        let source = numbered(calls.clone());
        let source = move |token: Option<&Token>| {
            let token = source(token)?;
            Ok(match lifetime {
                Some(lifetime) => token.with_expires_in(lifetime),
                None => token,
            })
        };
        let session = Session::builder(source).clock(clock.clone()).build().unwrap();
        let client = Client::builder(session)
            .origin(server.origin())
            .refused_if(|answer| answer.status() == 404 && answer.token_age() >= secs(3600));
        let client = client.configure(plain_statuses).build().unwrap();
        for _ in 0..20 {
            assert_eq!(client.get(server.url("/mine")).call().unwrap().status(), 404);
        }
        assert_eq!(calls.count(), 1);
        clock.advance(secs(3600));
        assert_eq!(text(client.get(server.url("/mine")).call()), "mine");
        for _ in 0..20 {
            assert_eq!(client.get(server.url("/missing")).call().unwrap().status(), 404);
        }
        assert_eq!(calls.count(), 2);
    }
}

#[test]
fn with_statuses_as_errors_a_rule_has_the_status_and_all_of_a_200() {
    let rule: Rule = |client| {
        client.refused_if(|answer| {
            assert_eq!(answer.headers().is_none(), answer.status().is_client_error());
            answer.status() == 498 || answer.json_is("/error", "token_expired")
        })
    };
    for refusal in [Answer::new(498), json(200, r#"{"error":"token_expired"}"#)] {
        let server = refusing(refusal);
        let (builder, calls) = builder_of(&server);
        assert_eq!(text(rule(builder).build().unwrap().post(server.url("/")).send("body")), "POST body");
        assert_eq!(calls.count(), 2);
    }
    let server = Server::script([Answer::new(499), json(403, r#"{"error":"token_expired"}"#)]);
    let (builder, calls) = builder_of(&server);
    let client = rule(builder).build().unwrap();
    for status in [499, 403] {
        let error = client.get(server.url("/")).call().unwrap_err();
        assert!(matches!(error, ureq::Error::StatusCode(code) if code == status), "{error:?}");
    }
    assert_eq!(calls.count(), 1);
}

#[test]
fn a_refusal_in_a_200_is_replayed_once_and_counts_as_no_acceptance() {
    let server = Server::start(|_| json(200, r#"{"error":"token_expired"}"#));
    let (builder, calls) = builder_of(&server);
    let client = builder.refused_if(|answer| answer.json_is("/error", "token_expired")).build().unwrap();
    for _ in 0..50 {
        assert_eq!(text(client.get(server.url("/")).call()), r#"{"error":"token_expired"}"#);
    }
    assert!(calls.count() < 10, "the loop breaker holds: {}", calls.count());
}

#[test]
fn a_body_that_cannot_be_sent_twice_is_marked_whatever_the_status() {
    let server = refusing(json(200, r#"{"error":"token_expired"}"#));
    let (builder, calls) = builder_of(&server);
    let client = builder.replay_limit(0).refused_if(|answer| answer.json_is("/error", "token_expired"));
    let answer = client.build().unwrap().post(server.url("/")).send("body").unwrap();
    assert!(answer.extensions().get::<NotReplayed>().is_some());
    assert_eq!(text(Ok(answer)), r#"{"error":"token_expired"}"#);
    assert_eq!((calls.count(), server.count()), (2, 1));
}

#[test]
fn a_token_has_an_age_once_it_is_published() {
    let clock = ManualClock::new(None);
    assert_eq!(Token::new("t").unwrap().age(clock.now()), None);
    let session = Session::builder(numbered(Calls::default())).clock(clock.clone()).build().unwrap();
    let token = session.token().unwrap();
    assert_eq!(token.age(clock.now()), Some(secs(0)));
    clock.advance(secs(70));
    assert_eq!(token.age(clock.now()), Some(secs(70)));
}
