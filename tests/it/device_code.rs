//! The device authorization grant against scripted answers. The clock is moved by the pauses alone, so no test waits.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ureq_auth::oauth2::{DeviceCode, DevicePrompt};
use ureq_auth::{Clock, Error, ErrorKind, ManualClock, Session, Tick, Token};

use crate::server::{Answer, Seen, Server};

pub(crate) const AUTHORIZATION: &str = r#"{"device_code":"hidden-device-code","user_code":"WDJB-MJHT",
    "verification_uri":"https://id.example.com/device",
    "verification_uri_complete":"https://id.example.com/device?c=WDJB-MJHT","expires_in":600,"interval":3}"#;
pub(crate) const TOKEN: &str =
    r#"{"access_token":"abc","token_type":"bearer","expires_in":60,"refresh_token":"first"}"#;

/// A login on a server whose token endpoint gives these answers, and when it was asked for each.
pub(crate) struct Login {
    pub(crate) server: Server,
    pub(crate) clock: ManualClock,
    polled: Arc<Mutex<Vec<u64>>>,
}

impl Login {
    pub(crate) fn new(authorization: &'static str, answers: impl IntoIterator<Item = Answer>) -> Self {
        let clock = ManualClock::new(None);
        let polled = Arc::new(Mutex::new(Vec::new()));
        let answers = Mutex::new(answers.into_iter().collect::<Vec<_>>().into_iter());
        let (times, seconds) = (Arc::clone(&polled), seconds_of(&clock));
        let server = Server::start(move |seen| match seen.target.as_str() {
            "/device" => Answer::ok(authorization),
            "/token" => {
                times.lock().unwrap().push(seconds());
                answers.lock().unwrap().next().expect("polled once too often")
            }
            other => panic!("asked for {other}"),
        });
        Login { server, clock, polled }
    }

    pub(crate) fn device(&self) -> DeviceCode {
        DeviceCode::new(self.server.url("/device"), self.server.url("/token"), "my-device").clock(self.clock.clone())
    }

    pub(crate) fn run(&self) -> Result<Token, Error> {
        self.device().log_in(|_| {})
    }

    /// The seconds from one poll to the next, beginning with the first pause.
    pub(crate) fn pauses(&self) -> Vec<u64> {
        let polled = self.polled.lock().unwrap();
        let before = std::iter::once(&0).chain(polled.iter());
        polled.iter().zip(before).map(|(at, before)| at - before).collect()
    }
}

fn seconds_of(clock: &ManualClock) -> impl Fn() -> u64 + Send + Sync + 'static {
    let (clock, begin) = (clock.clone(), clock.now());
    move || clock.now().since(begin).as_secs()
}

pub(crate) fn error(status: u16, code: &str) -> Answer {
    Answer::new(status).body(format!(r#"{{"error":"{code}"}}"#))
}

pub(crate) fn pending() -> Answer {
    error(400, "authorization_pending")
}

#[test]
fn a_login_that_is_confirmed() {
    let login = Login::new(AUTHORIZATION, [pending(), pending(), Answer::ok(TOKEN)]);
    let mut shown = None;
    let device = login.device().scope("a b").param("resource", "urn:x");
    let token = device.log_in(|prompt: &DevicePrompt| shown = Some(prompt.clone())).unwrap();
    assert_eq!((token.secret(), token.refresh_secret()), ("abc", Some("first")));
    assert_eq!(login.pauses(), [3, 3, 3]);

    let prompt = shown.unwrap();
    assert_eq!((prompt.user_code(), prompt.expires_in()), ("WDJB-MJHT", Duration::from_secs(600)));
    assert_eq!(prompt.verification_uri(), "https://id.example.com/device");
    assert_eq!(prompt.verification_uri_complete(), Some("https://id.example.com/device?c=WDJB-MJHT"));
    assert_eq!(
        prompt.to_string(),
        "To log in, open https://id.example.com/device and enter the code WDJB-MJHT (valid for 10 min)"
    );

    let said: Vec<String> = login.server.seen().iter().map(Seen::text).collect();
    assert_eq!(said[0], "client_id=my-device&scope=a+b&resource=urn%3Ax");
    assert_eq!(
        said[1],
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=hidden-device-code\
         &client_id=my-device&resource=urn%3Ax"
    );
}

#[test]
fn a_session_goes_on_from_the_login() {
    let refreshed = r#"{"access_token":"def","refresh_token":"second"}"#;
    let login = Login::new(AUTHORIZATION, [Answer::ok(TOKEN), Answer::ok(refreshed)]);
    let device = login.device().client_secret("s").scope("offline_access");
    let session = Session::builder(device.source()).clock(login.clock.clone()).build().unwrap();
    assert_eq!(session.token().unwrap_err().kind(), ErrorKind::NotLoggedIn);
    assert_eq!(login.server.count(), 0, "nothing is sent before the login");

    session.set(device.log_in(|_| {}).unwrap()).unwrap();
    assert_eq!(session.token().unwrap().secret(), "abc");
    login.clock.advance(Duration::from_secs(60));
    assert_eq!(session.token().unwrap().secret(), "def");
    let seen = login.server.seen();
    let refresh = seen.last().unwrap();
    assert_eq!(refresh.text(), "grant_type=refresh_token&refresh_token=first", "no scope: what was granted stays");
    assert!(refresh.header("authorization").unwrap().starts_with("Basic "));
}

#[test]
fn the_server_sets_the_pace() {
    let slow_down = || error(400, "slow_down");
    let answers = [pending(), slow_down(), pending(), slow_down(), pending(), Answer::ok(TOKEN)];
    let login = Login::new(AUTHORIZATION, answers);
    login.run().unwrap();
    assert_eq!(login.pauses(), [3, 3, 8, 8, 13, 13], "for good");

    // Five seconds if no interval is given (RFC 8628 section 3.2), or a useless one.
    for interval in ["", r#","interval":0"#, r#","interval":null"#, r#","interval":-1"#] {
        let body = format!(
            r#"{{"device_code":"d","user_code":"u","verification_url":"https://x/#/d"{interval},"expires_in":"60"}}"#
        );
        let login = Login::new(body.leak(), [pending(), Answer::ok(TOKEN)]);
        login.run().unwrap();
        assert_eq!(login.pauses(), [5, 5], "{interval}");
    }
}

#[test]
fn pauses_double_while_the_server_is_in_trouble() {
    let later = Answer::new(503).header("Retry-After", "40");
    let broken = || Answer::new(502).body("<html>");
    let answers = [pending(), broken(), broken(), later, pending(), Answer::ok("<html>"), pending(), Answer::ok(TOKEN)];
    let login = Login::new(AUTHORIZATION, answers);
    assert_eq!(login.run().unwrap().secret(), "abc");
    assert_eq!(login.pauses(), [3, 3, 6, 12, 40, 3, 6, 3], "and are as before once it answers");
}

#[test]
fn a_server_that_is_gone_is_asked_until_the_code_has_expired() {
    // Bound and closed again: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let login = Login::new(AUTHORIZATION, []);
    let device = DeviceCode::new(login.server.url("/device"), format!("http://{nobody}/token"), "my-device")
        .clock(login.clock.clone());
    let error = device.log_in(|_| {}).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("expired_token")), "{error}");
    assert_eq!(seconds_since_start(&login.clock), 600);
    // Once, in its own text: no cause repeats it.
    assert!(error.to_string().contains("refused"), "{error:?}");
    assert!(std::error::Error::source(&error).is_none(), "{error:?}");
}

pub(crate) fn seconds_since_start(clock: &ManualClock) -> u64 {
    clock.now().since(Tick::from_zero(Duration::from_secs(1000))).as_secs()
}

#[test]
fn a_code_that_nobody_enters_expires() {
    let short = r#"{"device_code":"d","user_code":"u","verification_uri":"https://x","expires_in":10,"interval":4}"#;
    let login = Login::new(short, [pending(), pending(), pending()]);
    let error = login.run().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("expired_token")));
    assert!(error.is_login_required() && error.to_string().contains("expired"), "{error}");
    assert_eq!(login.pauses(), [4, 4, 2], "the last poll comes at the end");
}

#[test]
fn a_login_ends_when_its_code_does_however_long_the_server_wants_to_be_left_alone() {
    let later = || Answer::new(429).header("Retry-After", "86400");
    let slow = || error(400, "slow_down").header("Retry-After", "9999999999999999999999");
    for (interval, answers, pauses) in [
        ("86400", vec![pending()], vec![600]),
        ("9999999999999999999999", vec![pending()], vec![600]),
        ("5", vec![pending(), later(), pending()], vec![5, 5, 590]),
        ("5", vec![slow(), pending()], vec![5, 595]),
        ("590", vec![error(400, "slow_down"), error(400, "slow_down")], vec![590, 10]),
    ] {
        let body = format!(
            r#"{{"device_code":"d","user_code":"u","verification_uri":"https://x","expires_in":600,"interval":{interval}}}"#
        );
        let login = Login::new(body.leak(), answers);
        let error = login.run().unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Rejected, Some("expired_token")), "{error}");
        assert_eq!((login.pauses(), seconds_since_start(&login.clock)), (pauses, 600), "{interval}");
    }
}

#[test]
fn the_caller_can_stop_at_any_time() {
    let login = Login::new(AUTHORIZATION, [pending()]);
    let seconds = seconds_of(&login.clock);
    let error = login.device().log_in_while(|_| {}, || seconds() < 5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotLoggedIn, "{error}");
    assert_eq!((login.pauses(), seconds()), (vec![3], 5), "within a second");

    let error = login.device().log_in_while(|_| {}, || false).unwrap_err();
    assert!(error.to_string().contains("stopped"), "{error}");
}

#[test]
fn no_code_no_login() {
    let with = |status: u16, body: &str| {
        let server = Server::script([Answer::new(status).body(body)]);
        let device = DeviceCode::new(server.url("/device"), server.url("/token"), "c");
        device.log_in(|prompt| panic!("there is nothing to show: {prompt}")).unwrap_err()
    };
    let missing = |body: &str| {
        let error = with(200, body);
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error}");
        error.to_string()
    };
    assert!(missing("{}").contains("no usable device_code"));
    assert!(missing(r#"{"device_code":"hidden"}"#).contains("no usable user_code"));
    let uri = |uri: &str| missing(&format!(r#"{{"device_code":"hidden","user_code":"u","verification_uri":"{uri}"}}"#));
    for bad in ["", "javascript:alert(1)", "file:///etc/passwd", "https://x/\\u001b[2J", "https://x y"] {
        assert!(uri(bad).contains("no usable verification_uri"), "{bad}");
    }
    // What would steer a terminal, hide or reorder a part of the code, or is nothing at all.
    for bad in [
        "\\u001b]0;x\\u0007",
        "A\u{202e}B",
        "A\u{2028}B",
        "A\u{200b}B",
        "A\u{9b}2JB",
        "A\u{85}B",
        "A\u{ad}B",
        "A\u{feff}B",
        "A\u{7f}B",
        "A\u{e0041}B",
        "A\u{3164}B",
        "\u{410}\u{412}",
        "A\\nB",
        " ",
        "",
    ] {
        let body = format!(r#"{{"device_code":"hidden","user_code":"{bad}","verification_uri":"https://x"}}"#);
        assert!(missing(&body).contains("no usable user_code"), "{bad:?}");
    }
}

#[test]
fn an_error_of_the_first_request_says_whether_it_may_pass() {
    let (refused, passes) = (ErrorKind::Misconfigured, ErrorKind::Unavailable);
    for (status, body, kind, code, says) in [
        (401, r#"{"error":"invalid_client"}"#, refused, Some("invalid_client"), "registration"),
        (400, r#"{"error":"invalid_scope"}"#, refused, Some("invalid_scope"), "settings"),
        (403, r#"{"error":"access_denied"}"#, refused, Some("access_denied"), "settings"),
        (
            400,
            r#"{"ErrorCode":"invalid_client","Error":"ClientId is Invalid"}"#,
            refused,
            Some("invalid_client"),
            "400",
        ),
        (404, "<html>", refused, None, "is this the device authorization endpoint's address?"),
        (302, "", refused, None, "redirects are not followed"),
        (401, "", refused, None, "401"),
        (503, "", passes, None, "try again later"),
        (429, r#"{"error":"slow_down"}"#, passes, Some("slow_down"), "later"),
        (403, r#"{"error_code":"rate_limit_exceeded"}"#, passes, None, "rate_limit_exceeded"),
        (403, "<html>", passes, None, "text/html"),
        (400, "", passes, None, "empty body"),
        (200, r#"{"ok":false,"error":"internal_error"}"#, passes, Some("internal_error"), "200 internal_error"),
        (400, r#"{"error":"temporarily_unavailable"}"#, passes, Some("temporarily_unavailable"), "later"),
        (200, "<html>", passes, None, "text/html"),
    ] {
        let answer = Answer::new(status).header("Content-Type", "text/html").header("Retry-After", "7").body(body);
        let server = Server::script([answer]);
        let device = DeviceCode::new(server.url("/device"), server.url("/token"), "c");
        let error = device.log_in(|prompt| panic!("there is nothing to show: {prompt}")).unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, code), "{error}");
        let text = error.to_string();
        assert!(text.contains("the device authorization endpoint answered") && text.contains(says), "{text}");
        assert_eq!(error.retry_after(), error.is_retryable().then_some(Duration::from_secs(7)), "{text}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let device = DeviceCode::new(format!("http://{nobody}"), "https://x/token", "c");
    let error = device.log_in(|prompt| panic!("there is nothing to show: {prompt}")).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (passes, true), "{error}");
}

#[test]
fn unusable_settings_are_told_before_anything_is_sent() {
    let log_in = |device: DeviceCode| device.log_in(|_| {}).unwrap_err();
    for (device, says) in [
        (DeviceCode::new("device", "https://x/token", "c"), "the device authorization URL"),
        (DeviceCode::new("http://x.example/device", "https://x/token", "c"), "plain http"),
        (DeviceCode::new("https://x/device", "", "c"), "the token URL is empty"),
        (DeviceCode::new("https://x/device", "https://x/token", ""), "the client id is empty"),
        (DeviceCode::new("https://x/device", "https://x/token", "c").param("device_code", "x"), "device_code"),
        (DeviceCode::new("https://x/device", "https://x/token", "c").timeout(Duration::ZERO), "time-out"),
    ] {
        let error = log_in(device);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let device = DeviceCode::new("https://x/device?key=hidden", "https://x/token", "c").client_secret("hidden");
    assert!(!format!("{device:?}").contains("hidden"), "{device:?}");
}

#[test]
fn the_source_of_a_login_has_settings_of_its_own() {
    let refreshed = r#"{"access_token":"def","refresh_token":"second"}"#;
    let login = Login::new(AUTHORIZATION, [Answer::ok(TOKEN), Answer::ok(refreshed)]);
    let device = login.device().configure(|config| config.user_agent("login"));
    let source = device.source().configure(|config| config.user_agent("session"));
    let session = Session::builder(source).clock(login.clock.clone()).build().unwrap();
    session.set(device.log_in(|_| {}).unwrap()).unwrap();
    login.clock.advance(Duration::from_secs(60));
    assert_eq!(session.token().unwrap().secret(), "def");
    let agents: Vec<_> = login.server.seen().iter().map(|seen| seen.header("user-agent").unwrap().to_owned()).collect();
    assert_eq!(agents, ["login", "login", "session"]);
}
