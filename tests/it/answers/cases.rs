//! Answers of real servers, and of what stands between: `cases.jsonl` holds those that had cost logins, `more.jsonl` others
//! of the same kinds.
//!
//! A line says what is answered (`status`, `headers`, `body`; or `wire`, all of it; `base64`, a body that is no text;
//! `pad`, how much longer the body is), and
//! what becomes of it: `then` is the outcome, or `token`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{ErrorKind, Session, Token};

use super::*;

const CASES: &str = include_str!("cases.jsonl");
const MORE: &str = include_str!("more.jsonl");

struct Case {
    name: String,
    answer: Answer,
    then: Then,
    data: Value,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Token,
    Rejected,
    Refused,
    Misconfigured,
    Unavailable,
    Unreadable,
    Unknown,
}

impl Case {
    fn all(lines: &str) -> Vec<Self> {
        lines
            .lines()
            .map(|line| Self::read(serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))))
            .collect()
    }

    fn read(data: Value) -> Self {
        let known = "name status headers body pad base64 wire then says code may_need_login keeps access refresh lifetime pause";
        for member in data.as_object().unwrap().keys() {
            assert!(known.split(' ').any(|known| known == member), "nobody reads {member}");
        }
        let text = |name: &str| data[name].as_str();
        let answer = match (text("wire"), text("status")) {
            (Some(wire), None) => cut_after(wire),
            (None, Some(status)) => {
                let status = status.split(' ').next().unwrap().parse().unwrap();
                let mut body = match text("base64") {
                    Some(body) => BASE64_STANDARD.decode(body).unwrap(),
                    None => text("body").unwrap_or_default().as_bytes().to_vec(),
                };
                body.resize(body.len() + data["pad"].as_u64().unwrap_or_default() as usize, b'x');
                let headers = data["headers"].as_array().into_iter().flatten();
                headers.fold(Answer::new(status).body(body), |answer, line| {
                    let (name, value) = line.as_str().unwrap().split_once(": ").unwrap();
                    answer.header(name, value)
                })
            }
            other => panic!("{other:?}"),
        };
        let then = match text("then").unwrap() {
            "token" => Then::Token,
            "rejected" => Then::Rejected,
            "refused" => Then::Refused,
            "misconfigured" => Then::Misconfigured,
            "unavailable" => Then::Unavailable,
            "unreadable" => Then::Unreadable,
            "unknown" => Then::Unknown,
            other => panic!("{other}"),
        };
        Case { name: text("name").unwrap().to_owned(), answer, then, data }
    }

    fn text(&self, member: &str) -> Option<&str> {
        self.data[member].as_str()
    }

    /// The refresh token that is used next, if no token came.
    fn next(&self) -> &str {
        self.text("keeps").unwrap_or("r1")
    }

    fn kind(&self) -> ErrorKind {
        match self.then {
            Then::Token => panic!("{}: no error", self.name),
            Then::Rejected => ErrorKind::Rejected,
            Then::Refused | Then::Unavailable => ErrorKind::Unavailable,
            Then::Misconfigured => ErrorKind::Misconfigured,
            Then::Unreadable | Then::Unknown => ErrorKind::Unknown,
        }
    }

    /// How many times a flight asks while it meets this.
    fn attempts(&self) -> usize {
        match self.then {
            // What a flight has no time for is a pause.
            Then::Unavailable if self.data["pause"].as_u64() >= Some(30) => 1,
            Then::Unavailable => 3,
            Then::Unreadable | Then::Unknown => 2,
            _ => 1,
        }
    }

    fn assert_says(&self, error: &Error) {
        let (name, text) = (&self.name, error.to_string());
        assert_eq!(error.kind(), self.kind(), "{name}: {text}");
        assert_eq!(error.code(), self.text("code"), "{name}: {text}");
        for says in self.data["says"].as_array().into_iter().flatten() {
            assert!(text.contains(says.as_str().unwrap()), "{name}: {text}");
        }
        let may = self.data["may_need_login"] == true || matches!(self.then, Then::Rejected | Then::Unreadable);
        assert_eq!(error.may_need_login(), may || error.is_login_required(), "{name}: {text}");
        assert_agrees(error, name);
        // A pause that the server asks for, or the backoff's.
        let asked = Duration::from_secs(self.data["pause"].as_u64().unwrap_or_default());
        assert!(
            error.retry_after().is_none_or(|pause| pause >= asked && pause <= LIMIT.max(asked)),
            "{name}: {error:?}"
        );
    }

    /// The store holds what it has held, but for what the answer says.
    fn assert_stored(&self, world: &World, before: &str) {
        let name = &self.name;
        match (self.then, self.text("keeps")) {
            (Then::Token, _) => {
                let (access, refresh) = (self.text("access").unwrap(), self.text("refresh").unwrap());
                assert_eq!(world.stored(), both(access, refresh), "{name}");
            }
            (Then::Rejected, _) => {
                assert_eq!(world.stored(), both("a1", "r1"), "{name}");
                assert_eq!(world.member("refused_code").as_deref(), self.text("code"), "{name}");
                assert!(world.member("refused").is_some(), "{name}");
            }
            (_, Some(keeps)) => {
                assert_eq!(world.stored(), both("a1", keeps), "{name}");
                assert_eq!(world.member("refused"), None, "{name}");
            }
            (_, None) => assert_eq!(world.text(), before, "{name}"),
        }
    }

    fn assert_issued(&self, session: &Session) {
        let (name, token) = (&self.name, session.token().unwrap());
        assert_eq!(Some(token.secret()), self.text("access"), "{name}");
        assert_eq!(token.refresh_secret(), self.text("refresh"), "{name}");
        assert_eq!(token.lifetime(), self.data["lifetime"].as_u64().map(secs), "{name}");
    }
}

/// The token lives, the answer comes once: no caller notices, and the session goes on when its pause is over.
fn met_once_while_the_token_lives(case: &Case) {
    let (name, world) = (&case.name, World::new());
    let (one, two, before) = (world.client(), world.client(), world.text());
    world.clock.advance(LIFE - REST);
    world.meets(&case.answer, 1);
    if case.then == Then::Token {
        assert_eq!(world.call(&one).unwrap(), case.text("access").unwrap(), "{name}");
        case.assert_issued(one.session());
        case.assert_stored(&world, &before);
        assert_eq!(world.call(&two).unwrap(), case.text("access").unwrap(), "{name}: from the store");
        assert_eq!(two.session().token().unwrap().refresh_secret(), case.text("refresh"), "{name}");
        return assert_eq!(world.endpoint.count(), 1, "{name}");
    }
    assert_eq!(world.call(&one).unwrap(), "a1", "{name}");
    assert_eq!(world.endpoint.count(), 1, "{name}: whoever has a token waits for no second attempt");
    case.assert_stored(&world, &before);
    assert_eq!(two.session().current().unwrap().secret(), "a1", "{name}");
    assert_eq!(world.session().current().unwrap().secret(), "a1", "{name}: a new process");
    let failure = one.session().failure().unwrap();
    case.assert_says(&failure);
    if case.then == Then::Rejected {
        return stays_refused(case, &world, &[one, two]);
    }
    world.clock.advance(failure.retry_after().unwrap());
    assert_eq!(world.call(&one).unwrap(), "a2", "{name}");
    assert_eq!(world.call(&two).unwrap(), "a2", "{name}: from the store");
    assert_eq!(world.sent(), ["r1", case.next()], "{name}");
    assert_eq!(world.stored(), both("a2", "r2"), "{name}");
}

/// The old token serves to its end in every process; then all hear the same, and nothing is sent. A login is the way out.
fn stays_refused(case: &Case, world: &World, clients: &[Client; 2]) {
    let (name, [one, two]) = (&case.name, clients);
    let count = world.endpoint.count();
    assert_eq!(world.call(two).unwrap_or("a1".into()), "a1", "{name}");
    let heard = one.session().failure().unwrap();
    for pause in [REST, LIMIT, LIMIT] {
        world.clock.advance(pause);
        for client in clients {
            let error = world.call(client).unwrap_err();
            assert_eq!((error.to_string(), error.code()), (heard.to_string(), heard.code()), "{name}");
            assert!(error.is_login_required() && !error.is_retryable(), "{name}");
        }
    }
    let error = world.session().token().unwrap_err();
    assert_eq!(error.to_string(), heard.to_string(), "{name}: a new process");
    assert_eq!(world.endpoint.count(), count, "{name}: nothing is sent after a verdict");
    let login = Token::new("login").unwrap().with_refresh_token("login-refresh").with_expires_in(LIFE);
    one.session().set(login).unwrap();
    assert_eq!(world.call(one).unwrap(), "login", "{name}");
    world.clock.advance(LIMIT);
    assert_eq!(world.call(two).unwrap(), "login", "{name}: a login in one process is one in all");
}

/// The token has expired, and the answer comes until the session pauses: what callers hear, and that it ends.
fn met_until_the_pause(case: &Case) {
    let (name, world) = (&case.name, World::new());
    let (one, two, before) = (world.client(), world.client(), world.text());
    world.clock.advance(LIFE);
    world.meets(&case.answer, usize::MAX);
    if case.then == Then::Token {
        assert_eq!(world.call(&one).unwrap(), case.text("access").unwrap(), "{name}");
        return assert_eq!(world.endpoint.count(), 1, "{name}");
    }
    let error = world.call(&one).unwrap_err();
    case.assert_says(&error);
    assert_eq!(world.endpoint.count(), case.attempts(), "{name}");
    case.assert_stored(&world, &before);
    let of_others = world.call(&two).unwrap_err();
    case.assert_says(&of_others);
    case.assert_stored(&world, &before);
    world.is_well();
    match case.then {
        Then::Rejected => {
            assert_eq!(of_others.to_string(), error.to_string(), "{name}");
            stays_refused(case, &world, &[one, two]);
        }
        // The second lost answer of a token that may rotate.
        Then::Unknown => {
            assert!(error.is_login_required(), "{name}");
            world.clock.advance(LIMIT);
            let count = world.endpoint.count();
            assert_eq!(world.call(&one).unwrap_err().to_string(), error.to_string(), "{name}");
            assert_eq!(world.endpoint.count(), count, "{name}");
        }
        _ => {
            // Between attempts of a flight, the clock goes on.
            assert!(case.attempts() > 1 || world.call(&one).is_err(), "{name}: not before the pause is over");
            world.clock.advance(error.retry_after().unwrap().max(of_others.retry_after().unwrap()));
            let count = world.endpoint.count();
            assert_eq!(world.call(&one).unwrap(), "a2", "{name}");
            assert_eq!(world.call(&two).unwrap(), "a2", "{name}");
            assert_eq!(world.sent()[count..], [case.next()], "{name}");
        }
    }
}

/// The token has expired, the answer comes once: where a repeat may help, it is nobody's error.
fn met_once(case: &Case) {
    let (name, world) = (&case.name, World::new());
    let client = world.client();
    world.clock.advance(LIFE);
    world.meets(&case.answer, 1);
    let first = world.call(&client);
    if case.then == Then::Token {
        assert_eq!(first.unwrap(), case.text("access").unwrap(), "{name}");
    } else if case.attempts() > 1 {
        assert_eq!(first.unwrap(), "a2", "{name}");
        assert_eq!(world.sent(), ["r1", case.next()], "{name}");
    } else {
        let error = first.unwrap_err();
        case.assert_says(&error);
        if case.then != Then::Rejected {
            world.clock.advance(error.retry_after().unwrap());
            assert_eq!(world.call(&client).unwrap(), "a2", "{name}");
        }
    }
}

/// All of them, so that one run shows all that is wrong.
fn meet(cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        for way in [met_once_while_the_token_lives, met_until_the_pause, met_once] {
            if catch_unwind(AssertUnwindSafe(|| way(case))).is_err() {
                wrong.push(&case.name);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn what_had_cost_logins() {
    let cases = Case::all(CASES);
    assert_eq!(cases.len(), 10);
    meet(&cases);
}

#[test]
fn what_else_may_be_answered() {
    let cases = Case::all(MORE);
    assert!(cases.len() >= 25, "{}", cases.len());
    meet(&cases);
}

#[test]
fn a_token_type_of_its_own_is_a_setting_of_the_grant() {
    let cases = Case::all(CASES);
    let case = cases.iter().find(|case| case.text("keeps") == Some("next")).unwrap();
    for (named, is_taken) in [("BearerToken", true), (" bearertoken ", true), ("OtherToken", false)] {
        let world = World::new();
        let source = RefreshToken::after_login(world.endpoint.url("/token"), CLIENT_ID).with_token_type(named);
        let client = world.client_of(world.builder(source).build().unwrap());
        world.clock.advance(LIFE);
        world.meets(&case.answer, 1);
        if is_taken {
            assert_eq!(world.call(&client).unwrap(), "abc");
            assert_eq!(client.session().token().unwrap().lifetime(), Some(secs(3599)));
            assert_eq!(world.stored(), both("abc", "next"));
        } else {
            assert!(world.call(&client).unwrap_err().to_string().contains("with_token_type"));
            assert_eq!(world.stored(), both("a1", "next"));
        }
    }
}

/// The endpoint is asked for none, and some encode all the same.
#[cfg(feature = "gzip")]
#[test]
fn what_is_encoded() {
    let rows = r#"
{"name":"gzip","status":"200 OK","headers":["Content-Encoding: gzip"],"base64":"H4sIAAAAAAACA6tWSkxOTi0uji/Jz07NU7JSSlTSUSpKTStKLc6AixUZAQVTKwoygaLxmUARYzMDg1oAEUbTgTsAAAA=","then":"token","access":"a","refresh":"r2","lifetime":3600}
{"name":"a verdict, gzip","status":"400 Bad Request","headers":["Content-Encoding: gzip"],"base64":"H4sIAAAAAAACA6tWSi0qyi9SslLKzCtLzMlMiU8vSswrUaoFAJK4agAZAAAA","then":"rejected","code":"invalid_grant"}
{"name":"gzip by its header alone","status":"200 OK","headers":["Content-Encoding: gzip"],"body":"{\"access_token\":\"a\",\"refresh_token\":\"r2\"}","then":"unreadable","says":["200"]}
{"name":"a verdict, gzip by its header alone","status":"400 Bad Request","headers":["Content-Encoding: gzip"],"body":"{\"error\":\"invalid_grant\"}","then":"unavailable"}
{"name":"an encoding that nobody knows","status":"200 OK","headers":["Content-Encoding: x-odd"],"body":"\u0001\u0002","then":"unreadable"}
"#;
    meet(&Case::all(rows.trim()));
}
