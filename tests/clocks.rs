//! Whole processes with a wrong wall clock: a device without a battery begins in 1970, others are days off, and a clock is set
//! while a refresh is under way. By libfaketime; the monotonic clock is left alone, as it is on such devices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../examples/storm/http.rs"]
#[allow(dead_code, reason = "no header is looked at but one")]
mod http;
#[cfg(feature = "rustls")]
#[path = "it/tls.rs"]
mod tls;
mod worker;

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{Client, Policy, Session};

use http::{Request, Response};
use worker::{Place, Worker};

/// Long ago, and two days off either way.
const CLOCKS: [&str; 3] = ["@1970-01-01 12:00:00", "-2d", "+2d"];

/// Calls of one worker; the API takes each token for two of them.
const CALLS: u64 = 6;

#[test]
fn a_process_with_a_wrong_clock_makes_the_refreshes_that_are_needed_and_no_other() {
    for clock in CLOCKS {
        let Some(worker) = with_clock(clock) else { return };
        let (address, server) = serve(|_| ());
        let said = Worker::under(worker, &["calls", &address.to_string()]).all();
        assert!(is_day(&said[0], clock) && is_day(&said[1], clock), "{clock}: {said:?}");
        assert_eq!(server.join().unwrap(), CALLS / 2, "token requests, by {clock}");
    }
}

#[test]
fn a_clock_that_is_set_while_a_refresh_is_under_way_changes_nothing() {
    for (before, after) in
        [("@1970-01-01 12:00:00", "+0"), ("+0", "+2d"), ("+0", "-2d"), ("+2d", "@1970-01-01 12:00:00")]
    {
        let place = Place::new("clocks");
        let file = place.path().join("clock");
        std::fs::write(&file, before).unwrap();
        let Some(worker) = with_clock_file(&file) else { return };
        // The second token request is the one under way.
        let (address, server) = serve(move |number| {
            if number == 2 {
                std::fs::write(&file, after).unwrap();
            }
        });
        let said = Worker::under(worker, &["calls", &address.to_string()]).all();
        assert!(is_day(&said[0], before) && is_day(&said[1], after), "{before}, then {after}: {said:?}");
        assert_eq!(server.join().unwrap(), CALLS / 2, "token requests, by {before}, then {after}");
    }
}

#[cfg(feature = "rustls")]
#[test]
fn a_certificate_that_a_wrong_clock_refuses_is_blamed_on_the_clock() {
    let providers = if cfg!(feature = "native-tls") { ["rustls", "native-tls"].as_slice() } else { &["rustls"] };
    for provider in providers {
        // The certificate is valid from 2020 to 2126.
        for (clock, words) in [
            ("@1970-01-01 12:00:00", ["unavailable", "not", "this machine's clock is behind"]),
            ("@2130-01-01 12:00:00", ["unavailable", "expired", "if this machine's clock is ahead"]),
            ("-2d", ["token abc", "", ""]),
            ("+2d", ["token abc", "", ""]),
        ] {
            let Some(worker) = with_clock(clock) else { return };
            let (address, server) = tls::serve_one(TOKEN);
            let said = Worker::under(worker, &["tls", provider, &address.to_string()]).all().join("\n");
            server.join().unwrap();
            assert!(words.iter().all(|word| said.contains(word)), "{provider}, {clock}: {said}");
        }
    }
}

/// What is under way ends by the connection that it has; the next one is judged by the new clock.
#[cfg(feature = "rustls")]
#[test]
fn a_clock_that_is_set_while_a_refresh_is_under_way_over_tls_costs_at_most_a_call_and_no_login() {
    let providers = if cfg!(feature = "native-tls") { ["rustls", "native-tls"].as_slice() } else { &["rustls"] };
    for provider in providers {
        // The last column: how many handshakes that clock breaks off, and how many calls fail by it. The refresh that begins
        // in 1970 has its second attempt by the right clock, and no call fails.
        for (before, after, expected) in [
            ("+0", "+2d", (0, 0)),
            ("+0", "-2d", (0, 0)),
            ("+0", "@1970-01-01 12:00:00", (1, 1)),
            ("+0", "@2130-01-01 12:00:00", (1, 1)),
            ("@1970-01-01 12:00:00", "+0", (1, 0)),
        ] {
            let place = Place::new("clocks-tls");
            let file = place.path().join("clock");
            std::fs::write(&file, before).unwrap();
            let Some(worker) = with_clock_file(&file) else { return };
            let (sender, breaks) = std::sync::mpsc::channel();
            let (address, server) = serve_over(tls::accept, move |asked| match asked {
                Asked::Token(2) if before == "+0" => std::fs::write(&file, after).unwrap(),
                // Whoever finds the clock wrong has it set.
                Asked::BrokenOff => {
                    std::fs::write(&file, "+0").unwrap();
                    sender.send(()).unwrap();
                }
                Asked::Token(_) => {}
            });
            let said = Worker::under(worker, &["calls over tls", provider, &address.to_string()]).all();
            let case = format!("{provider}, {before}, then {after}: {said:?}");
            assert_eq!(server.join().unwrap(), CALLS / 2, "token requests, by {case}");
            let failed = said.iter().filter(|line| line.contains("certificate")).count();
            assert_eq!((breaks.iter().count(), failed), expected, "{case}");
            // The first and the last tell the day.
            assert_eq!(said.len(), 2 + failed, "{case}");
            let last = if expected.0 == 0 { after } else { "+0" };
            assert!(is_day(&said[0], before) && is_day(&said[said.len() - 1], last), "{case}");
        }
    }
}

#[cfg(feature = "rustls")]
const TOKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 22\r\nconnection: close\r\n\r\n{\"access_token\":\"abc\"}";

#[test]
fn worker() {
    let Some(arguments) = worker::arguments() else { return };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["calls", address] => calls(&format!("http://{address}")),
        #[cfg(feature = "rustls")]
        ["calls over tls", provider, address] => calls_over_tls(provider, &format!("https://{address}")),
        #[cfg(feature = "rustls")]
        ["tls", provider, address] => over_tls(provider, &format!("https://{address}/token")),
        _ => panic!("{arguments:?}"),
    }
}

fn calls(origin: &str) {
    let source = RefreshToken::new(format!("{origin}/token"), "clocks", "r0");
    let policy = Policy::default().with_token_lag(Duration::ZERO);
    let client = Client::new(Session::builder(source).policy(policy).build().unwrap(), origin).unwrap();
    worker::say(&today().to_string());
    for number in 0..CALLS {
        client.get(format!("{origin}/{number}")).call().unwrap();
    }
    // The server ends when it is told to.
    client.agent().get(format!("{origin}/end")).call().unwrap();
    worker::say(&today().to_string());
}

/// The same, but that a call which fails is made once more.
#[cfg(feature = "rustls")]
fn calls_over_tls(provider: &str, origin: &str) {
    let source = RefreshToken::new(format!("{origin}/token"), "clocks", "r0").configure(trusting(provider));
    let policy = Policy::default().with_token_lag(Duration::ZERO);
    let client = Client::builder(Session::builder(source).policy(policy).build().unwrap()).origin(origin);
    let client = client.configure(trusting(provider)).build().unwrap();
    worker::say(&today().to_string());
    let call = |path: &str| client.get(format!("{origin}/{path}")).call();
    for path in (0..CALLS).map(|number| number.to_string()).chain(["end".to_owned()]) {
        if let Err(error) = call(&path) {
            worker::say(&format!("{path}: {error}"));
            call(&path).unwrap();
        }
    }
    worker::say(&today().to_string());
}

#[cfg(feature = "rustls")]
type Settings = ureq::config::ConfigBuilder<ureq::typestate::AgentScope>;

#[cfg(feature = "rustls")]
fn trusting(provider: &str) -> impl Fn(Settings) -> Settings + Send + Sync + use<> {
    use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

    let provider = if provider == "rustls" { TlsProvider::Rustls } else { TlsProvider::NativeTls };
    move |config| {
        let roots = RootCerts::new_with_certs(&[Certificate::from_der(&tls::ca()).to_owned()]);
        config.tls_config(TlsConfig::builder().provider(provider).root_certs(roots).build())
    }
}

#[cfg(feature = "rustls")]
fn over_tls(provider: &str, token_url: &str) {
    let source = RefreshToken::new(token_url, "clocks", "r0").configure(trusting(provider));
    // One attempt: this server is asked once.
    let policy = Policy::default().with_attempts(1).with_patience(Duration::ZERO);
    match Session::builder(source).policy(policy).build().unwrap().token() {
        Ok(token) => worker::say(&format!("token {}", token.secret())),
        Err(error) => {
            assert!(error.is_retryable() && !error.is_login_required(), "{error}");
            assert_eq!(error.kind(), ureq_auth::ErrorKind::Unavailable, "{error}");
            worker::say(&format!("unavailable: {error}"));
        }
    }
}

/// Since 1970.
fn today() -> u128 {
    worker::nanos() / (24 * 3600 * 1_000_000_000)
}

/// Does a worker with this clock tell this day? Midnight may have come meanwhile.
fn is_day(said: &str, clock: &str) -> bool {
    let day = match clock {
        "+0" => today(),
        "-2d" => today() - 2,
        "+2d" => today() + 2,
        _ => 0,
    };
    said.parse().is_ok_and(|said: u128| said == day || said + 1 == day)
}

/// What a server tells, as it happens.
enum Asked {
    /// A token is asked for: the how-manieth, from 1 on.
    Token(u64),
    /// A connection ended before its request: over TLS, its client did not like the certificate.
    BrokenOff,
}

fn serve(asked: impl Fn(u64) + Send + 'static) -> (SocketAddr, JoinHandle<u64>) {
    let asked = move |what| match what {
        Asked::Token(number) => asked(number),
        Asked::BrokenOff => panic!("a connection without a request"),
    };
    serve_over(|stream| stream, asked)
}

/// A token endpoint and an API by this machine's real clock. It tells `asked` what happens, and counts the token requests.
/// Tokens are JWTs of an hour.
fn serve_over<S: Read + Write>(
    accept: impl Fn(TcpStream) -> S + Send + 'static,
    asked: impl Fn(Asked) + Send + 'static,
) -> (SocketAddr, JoinHandle<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut issued = 0;
        // One thread calls, and the token endpoint's connection is another one: they are served in turn.
        loop {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(accept(stream));
            let Ok(Some(request)) = Request::read(&mut reader) else {
                asked(Asked::BrokenOff);
                continue;
            };
            let response = match request.path.as_str() {
                "/end" => Response::json("200 OK", &json!({})),
                "/token" => {
                    issued += 1;
                    asked(Asked::Token(issued));
                    Response::json("200 OK", &tokens(issued))
                }
                call => {
                    let number: u64 = call[1..].parse().unwrap();
                    let is_newest =
                        request.header("authorization").is_some_and(|value| value.ends_with(&suffix(issued)));
                    match is_newest && number < issued * 2 {
                        true => Response::json("200 OK", &json!({})),
                        false => refusal(),
                    }
                }
            };
            let close = Response { header: format!("{}Connection: close\r\n", response.header), ..response };
            reader.get_mut().write_all(&close.bytes()).unwrap();
            if request.path == "/end" {
                return issued;
            }
        }
    });
    (address, server)
}

fn refusal() -> Response {
    let header = "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n".to_owned();
    Response { header, ..Response::json("401 Unauthorized", &json!({})) }
}

fn tokens(number: u64) -> serde_json::Value {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;

    let now = (worker::nanos() / 1_000_000_000) as u64;
    let claims = BASE64URL.encode(json!({ "iat": now, "exp": now + 3600 }).to_string());
    let header = BASE64URL.encode(json!({ "alg": "none" }).to_string());
    json!({
        "access_token": format!("{header}.{claims}{}", suffix(number)),
        "token_type": "Bearer",
        "refresh_token": format!("r{number}"),
    })
}

/// The end of a token's text: where a signature would be.
fn suffix(number: u64) -> String {
    format!(".{number:04}")
}

/// A command that runs another one by this clock; none where there is no faketime.
fn with_clock(clock: &str) -> Option<Command> {
    let mut command = with_faketime()?;
    command.env("FAKETIME", clock);
    Some(command)
}

/// By the clock that this file tells, which may change.
fn with_clock_file(file: &Path) -> Option<Command> {
    let mut command = with_faketime()?;
    command.env("FAKETIME_TIMESTAMP_FILE", file).env("FAKETIME_NO_CACHE", "1");
    Some(command)
}

fn with_faketime() -> Option<Command> {
    // It fails where a process of its own number has left its shared memory behind.
    let library = || Command::new("faketime").args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]).output().ok();
    let library = (0..5).find_map(|_| library().filter(|output| output.status.success()));
    let Some(library) = library else {
        let text = "\nSKIPPED: there is no faketime here, so nothing was shown about a process with a wrong clock\n";
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        assert!(std::env::var_os("CI").is_none(), "CI installs faketime");
        return None;
    };
    let mut command = Command::new("env");
    command.env("LD_PRELOAD", String::from_utf8(library.stdout).unwrap().trim());
    // The clock that waits are reckoned with is right everywhere.
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Some(command)
}
