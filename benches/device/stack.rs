//! The least stack that a thread needs for a call. An overflow ends its process, so each attempt is a process of its own.

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, process, thread};

use serde_json::{Value, json};
use ureq::config::ConfigBuilder;
use ureq::http::Response;
use ureq::typestate::AgentScope;
use ureq::{Agent, Body};
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{Client, ErrorKind, FileStore, Policy, Session, SessionBuilder, Token};

use crate::server;

/// In KiB, what a thread must do with, whatever its calls come to.
fn promised(way: &str, tls: &str) -> usize {
    match (way, tls) {
        // glibc's look-up by a name server is deeper than any connection.
        ("unknown" | "plain-unknown", "none") => 60,
        // What a small device can spare.
        (_, "none") => 48,
        (_, "rustls") => 80,
        _ => 68,
    }
}

/// Stacks come in pages, of which the C library takes four at least.
const PAGE: usize = 4 << 10;

/// Smaller than a page: the rest of it is spent before the call.
const STEP: usize = 1 << 10;
const MOST: usize = 1 << 20;

const WAYS: [(&str, &str); 8] = [
    ("plain-get", "plain ureq, a GET with a fixed header"),
    ("plain-post", "plain ureq, a POST of JSON"),
    ("plain-unknown", "plain ureq, a GET from a name that is unknown"),
    ("fresh", "a GET with a fresh token"),
    ("ahead", "session.token(), which refreshes and stores, then a GET"),
    ("refresh", "a GET that refreshes first"),
    ("unknown", "a POST that is refused, and the token endpoint's name is unknown"),
    ("deepest", "a POST that is refused, a refresh, the store, the replay"),
];

/// No name server knows it (RFC 6761 section 6.4).
const UNKNOWN: &str = "http://device.invalid/token";

pub(crate) fn table() {
    println!("least stack, in KiB");
    for tls in ["none", "rustls", "native-tls"] {
        // A program that could do TLS needs more without it, too: that is another program's figure.
        let is_there = match tls {
            "none" => cfg!(not(feature = "rustls")),
            "rustls" => cfg!(feature = "rustls"),
            _ => cfg!(all(feature = "rustls", feature = "native-tls")),
        };
        if !is_there {
            continue;
        }
        println!("TLS: {tls}");
        for (way, what) in WAYS {
            let least = least(way, tls).div_ceil(1 << 10);
            let promised = promised(way, tls);
            println!("  {what:<64} {least:>4}");
            assert!(least <= promised, "more than the {promised} KiB that are promised");
        }
        // As a thread of that size has it, with nothing spent before.
        assert!(suffices("deepest", tls, promised("deepest", tls) << 10));
    }
}

/// By bisection, in bytes.
fn least(way: &str, tls: &str) -> usize {
    let (mut enough, mut too_small) = (MOST / STEP, PAGE / STEP);
    assert!(suffices(way, tls, MOST), "{way} with TLS {tls} does not fit into any stack");
    assert!(!suffices(way, tls, PAGE), "{way} with TLS {tls} takes no stack at all: nothing was measured");
    while enough - too_small > 1 {
        let between = (enough + too_small) / 2;
        if suffices(way, tls, between * STEP) {
            enough = between;
        } else {
            too_small = between;
        }
    }
    enough * STEP
}

/// Whatever else goes wrong than an overflow is no answer.
fn suffices(way: &str, tls: &str, bytes: usize) -> bool {
    let mut attempt = Command::new(env::current_exe().unwrap());
    attempt.args(["--stack", way, tls, &bytes.to_string()]).stdout(Stdio::null()).stderr(Stdio::piped());
    // Where no name server answers, nobody waits for it.
    attempt.env("RES_OPTIONS", "timeout:1 attempts:1").env("LOCALDOMAIN", "");
    let attempt = attempt.spawn().unwrap();
    let directory = directory(attempt.id());
    let attempt = attempt.wait_with_output().unwrap();
    clear(&directory);
    let said = String::from_utf8_lossy(&attempt.stderr);
    // Code that is not Rust's may run into the guard page without a word.
    let overflowed = said.contains("overflowed its stack") || attempt.status.signal() == Some(11);
    assert!(attempt.status.success() || overflowed, "{way} with TLS {tls} and {bytes} bytes: {said}");
    attempt.status.success()
}

/// One attempt.
pub(crate) fn attempt(way: &str, tls: &str, bytes: &str) {
    // Each token is good for one call: the second call with it is refused, and sent again with the next.
    let port = server::start(1, tls != "none");
    let scheme = if tls == "none" { "http" } else { "https" };
    let device = Device {
        origin: format!("{scheme}://localhost:{port}"),
        tls: tls.to_owned(),
        directory: directory(process::id()),
    };
    // One that was interrupted may have left it, under a process number that has come again.
    clear(&device.directory);
    let (bytes, way) = (bytes.parse().unwrap(), way.to_owned());
    // All of it is on the small thread, which may be a device's only one.
    let call = move || match way.as_str() {
        "plain-get" => device.plain(|agent, url| agent.get(url).header("authorization", "Bearer a").call()),
        "plain-post" => {
            device.plain(|agent, url| agent.post(url).header("authorization", "Bearer a").send_json(body()))
        }
        "plain-unknown" => device.plain_unknown(),
        "fresh" => device.fresh(),
        "ahead" => device.ahead(),
        "refresh" => device.refresh(),
        "unknown" => device.unknown(),
        "deepest" => device.deepest(),
        other => panic!("{other} is not one of {WAYS:?}"),
    };
    let size = usize::next_multiple_of(bytes, PAGE).max(4 * PAGE);
    thread::Builder::new().stack_size(size).spawn(move || spend((size - bytes) / STEP, &call)).unwrap().join().unwrap();
}

/// Calls with so many steps less of the stack.
fn spend(steps: usize, call: &dyn Fn()) {
    #[inline(never)]
    fn spend_one(steps: usize, call: &dyn Fn()) {
        let spent = [0_u8; STEP];
        black_box(&spent);
        spend(steps - 1, call);
        black_box(&spent);
    }

    if steps == 0 { call() } else { spend_one(steps, call) }
}

/// Of an attempt's token file.
fn directory(process: u32) -> PathBuf {
    env::temp_dir().join(format!("ureq-auth-stack-{process}"))
}

fn clear(directory: &Path) {
    if directory.exists() {
        fs::remove_dir_all(directory).unwrap();
    }
}

struct Device {
    origin: String,
    tls: String,
    directory: PathBuf,
}

impl Device {
    fn plain(&self, call: impl FnOnce(&Agent, String) -> Result<Response<Body>, ureq::Error>) {
        read(call(&self.agent(), self.url()), false);
    }

    fn plain_unknown(&self) {
        self.agent().get(UNKNOWN).call().unwrap_err();
    }

    #[inline(never)]
    fn agent(&self) -> Agent {
        let config = settings(Agent::config_builder(), &self.tls).http_status_as_error(false);
        Agent::new_with_config(config.build())
    }

    #[inline(never)]
    fn fresh(&self) {
        let token = Token::new(server::token(0)).unwrap().with_expires_in(Duration::from_secs(3600));
        let client = self.client(Session::builder(self.source()).token(token));
        read(client.get(self.url()).call(), true);
        assert_eq!(client.session().stats().refreshes, 0);
    }

    #[inline(never)]
    fn ahead(&self) {
        let client = self.client(Session::builder(self.source()).store(self.store()));
        client.session().token().unwrap();
        read(client.get(self.url()).call(), true);
        assert_eq!(client.session().stats().refreshes, 1);
    }

    #[inline(never)]
    fn refresh(&self) {
        let client = self.client(Session::builder(self.source()));
        read(client.get(self.url()).call(), true);
        assert_eq!(client.session().stats().refreshes, 1);
    }

    #[inline(never)]
    fn deepest(&self) {
        let client = self.client(Session::builder(self.source()).store(self.store()));
        for _ in 0..2 {
            read(client.post(self.url()).send_json(body()), true);
        }
        let stats = client.session().stats();
        assert_eq!((stats.refreshes, stats.replays, stats.save_failures), (2, 1, 0));
        drop(client);
        // What was stored is read, by a session that has begun with nothing.
        let session = Session::builder(self.source()).store(self.store()).build().unwrap();
        assert_eq!(session.token().unwrap().secret(), server::token(2));
    }

    #[inline(never)]
    fn unknown(&self) {
        let source = RefreshToken::new(UNKNOWN, "device", "r0").allow_plain_http();
        let token = Token::new(server::token(0)).unwrap().with_expires_in(Duration::from_secs(3600));
        let policy = Policy::new().with_attempts(1).with_patience(Duration::ZERO);
        let client = self.client(Session::builder(source).token(token).policy(policy).store(self.store()));
        read(client.post(self.url()).send_json(body()), true);
        client.post(self.url()).send_json(body()).unwrap_err();
        assert_eq!(client.session().failure().unwrap().kind(), ErrorKind::Unavailable);
    }

    fn url(&self) -> String {
        format!("{}/x", self.origin)
    }

    fn source(&self) -> RefreshToken {
        let tls = self.tls.clone();
        RefreshToken::new(format!("{}/token", self.origin), "device", "r0")
            .configure(move |config| settings(config, &tls))
    }

    fn store(&self) -> FileStore {
        fs::create_dir_all(&self.directory).unwrap();
        FileStore::new(self.directory.join("token.json"))
    }

    /// By itself, so that what a build needs is not on the stack of a call.
    #[inline(never)]
    fn client(&self, session: SessionBuilder) -> Client {
        let tls = self.tls.clone();
        let client = Client::builder(session.build().unwrap()).origin(&self.origin);
        client.configure(move |config| settings(config, &tls)).build().unwrap()
    }
}

type Settings = ConfigBuilder<AgentScope>;

#[cfg(not(feature = "rustls"))]
pub(crate) fn settings(config: Settings, tls: &str) -> Settings {
    assert_eq!(tls, "none", "TLS needs the feature rustls: the server speaks it by that");
    config.proxy(None)
}

#[cfg(feature = "rustls")]
pub(crate) fn settings(config: Settings, tls: &str) -> Settings {
    use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

    let provider = if tls == "native-tls" { TlsProvider::NativeTls } else { TlsProvider::Rustls };
    let roots = RootCerts::new_with_certs(&[Certificate::from_der(&server::tls::ca()).to_owned()]);
    config.proxy(None).tls_config(TlsConfig::builder().provider(provider).root_certs(roots).build())
}

fn body() -> Value {
    json!({ "a": 1 })
}

fn read(response: Result<Response<Body>, ureq::Error>, ok: bool) {
    let body: Value = response.unwrap().body_mut().read_json().unwrap();
    assert_eq!(body, json!({ "ok": ok }));
}
