//! What is logged, in a process of its own, for a logger is the process's: an operator's lines, and no secret in any.
#![cfg(feature = "ureq")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use ureq_auth::oauth2::Grant;
use ureq_auth::{Client, ManualClock, Policy, Session, SourceError, Token};

#[path = "it/server.rs"]
mod server;

use server::{Answer, Server};

struct Lines(Mutex<Vec<(Level, String, String)>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = (record.level(), record.target().to_owned(), record.args().to_string());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

#[test]
fn no_line_of_a_whole_run_holds_a_token_or_a_secret() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Trace);
    a_run_of_mixed_calls();
    values_that_are_made_for_each_attempt();
    #[cfg(feature = "browser")]
    let made = logins_by_browser();
    #[cfg(not(feature = "browser"))]
    let made = [""; 0];

    let lines = LINES.0.lock().unwrap();
    let of_ours = || lines.iter().filter(|(_, target, _)| target.starts_with("ureq_auth"));
    for (level, target, line) in lines.iter() {
        // ureq writes the wire at trace; what is ours keeps silent at every level.
        if *level <= Level::Debug || target.starts_with("ureq_auth") {
            assert!(!line.contains("hunter2"), "{level} {target}: {line}");
            assert!(!made.iter().any(|made| line.contains(made)), "{level} {target}: {line}");
        }
    }
    // That nothing is found must not be because nothing is there: ureq shows its headers, we each kind of event.
    assert!(lines.iter().any(|(level, target, _)| *level == Level::Debug && target.starts_with("ureq::")));
    assert!(lines.iter().any(|(level, _, line)| *level == Level::Trace && line.contains("hunter2")));
    for part in [
        "refreshing the token (First)",
        "refreshing the token (Refused)",
        "next attempt in",
        "obtained in",
        "sending the refused request again with token 2",
        "cannot be sent again",
        "the API refuses too often",
        "the refresh failed",
        "the server has another time",
        "so the grant itself is used again",
    ] {
        assert!(
            of_ours().any(|(_, _, line)| line.contains(part)),
            "{part:?} is not in {:?}",
            of_ours().collect::<Vec<_>>()
        );
    }
    assert!(of_ours().all(|(level, _, line)| (*level == Level::Warn)
        == (line.contains("failed")
            || line.contains("a callback was refused")
            || line.contains("too often")
            || line.contains("a new login is needed"))));
}

/// Every token and refresh token holds "hunter2".
fn a_run_of_mixed_calls() {
    let server = Server::start(|seen| match (seen.target.as_str(), seen.bearer()) {
        ("/never", _) | (_, None | Some("hunter2-1")) => Answer::refused(),
        ("/moved", _) => Answer::redirect(302, "/"),
        _ => Answer::ok("fine"),
    });
    let calls = AtomicUsize::new(0);
    let source = move |_: Option<&Token>| match calls.fetch_add(1, Ordering::SeqCst) + 1 {
        2 => Err(SourceError::unavailable("HTTP status 503")),
        6.. => Err(SourceError::rejected("HTTP status 400").with_code("invalid_grant")),
        number => Ok(Token::new(format!("hunter2-{number}"))?.with_refresh_token("refresh-hunter2")),
    };
    // A refusal is met at once.
    let policy =
        Policy::new().with_backoff(Duration::from_millis(1), Duration::from_millis(1)).with_token_lag(Duration::ZERO);
    // On a clock that stands: on a busy machine, a longer run would be given another refresh.
    let session = Session::builder(source).policy(policy).clock(ManualClock::new(None)).build().unwrap();
    let client = Client::builder(session.clone())
        .origin(server.origin())
        .replay_limit(8)
        .configure(|config| config.http_status_as_error(false))
        .build()
        .unwrap();
    let statuses = |path: &str| client.get(server.url(path)).call().map(|answer| answer.status().as_u16());

    assert_eq!(statuses("/").unwrap(), 200);
    assert_eq!(statuses("/moved").unwrap(), 200);
    assert_eq!(client.post(server.url("/never")).send("more than eight bytes").unwrap().status(), 401);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..5).for_each(|_| assert_eq!(statuses("/never").unwrap(), 401)));
        }
    });
    // A session of its own, whose source has nothing to give.
    let ended = Session::new(|_: Option<&Token>| -> Result<Token, SourceError> {
        Err(SourceError::rejected("HTTP status 400").with_code("invalid_grant"))
    });
    let client = Client::new(ended.unwrap(), &server.origin()).unwrap();
    client.get(server.url("/")).call().unwrap_err();
}

/// Assertions, a subject token and a refresh token that the server refuses, once with all of them in its reason.
fn values_that_are_made_for_each_attempt() {
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |seen| match asked.fetch_add(1, Ordering::SeqCst) {
        // The first are made for another time, and the first refresh token is refused.
        0 | 2 => Answer::new(400)
            .header("Date", "Sun, 06 Nov 2061 08:49:37 GMT")
            .body(format!(r#"{{"error":"invalid_grant","error_description":"{}"}}"#, seen.text())),
        _ => Answer::ok(r#"{"access_token":"hunter2-a","refresh_token":"hunter2-r","token_type":"Bearer"}"#),
    });
    let grant = Grant::new(server.url("/token"), Grant::TOKEN_EXCHANGE)
        .client_id("me")
        .params(|_| Ok([("subject_token", "hunter2-subject")]))
        .client_assertion(|_| Ok("hunter2.assertion.x".to_owned()));
    let session = Session::new(grant).unwrap();
    let token = session.token().unwrap();
    session.accepted(&token);
    session.rejected(&token).unwrap();
}

/// One that fails and one that does not, with callbacks of others in between. Returns what they have made themselves.
#[cfg(feature = "browser")]
fn logins_by_browser() -> Vec<String> {
    use std::io::{Read as _, Write as _};

    let server = Server::start(|seen| match seen.text() {
        form if form.contains("code=hunter2-bad") => {
            Answer::new(400).body(format!(r#"{{"error":"invalid_grant","error_description":"{form}"}}"#))
        }
        _ => Answer::ok(r#"{"access_token":"hunter2-a","refresh_token":"hunter2-r","token_type":"Bearer"}"#),
    });
    let login = ureq_auth::oauth2::BrowserLogin::new(server.url("/auth"), server.url("/token"), "me");
    let mut made = Vec::new();
    for (code, succeeds) in [("hunter2-bad", false), ("hunter2-good", true)] {
        let open = |url: &str| {
            let value = |name: &str| url.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)).unwrap().to_owned();
            let port: u16 = value("redirect_uri=http%3A%2F%2F127.0.0.1%3A").split('%').next().unwrap().parse().unwrap();
            let state = value("state=");
            made.push(state.clone());
            thread::spawn(move || {
                let callbacks = ["code=hunter2-stranger&state=x".to_owned(), format!("code={code}&state={state}")];
                let targets = callbacks.map(|query| format!("/callback?{query}")).into_iter();
                for target in targets.chain(["/login-finished".to_owned()]) {
                    let mut browser = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
                    browser.write_all(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
                    browser.read_to_end(&mut Vec::new()).unwrap();
                }
            });
            Ok(())
        };
        assert_eq!(login.log_in(open).is_ok(), succeeds);
    }
    let verifier =
        |form: String| form.split('&').find_map(|pair| pair.strip_prefix("code_verifier=").map(str::to_owned));
    made.extend(server.seen().iter().filter_map(|seen| verifier(seen.text())));
    assert_eq!(made.len(), 4);
    made
}
