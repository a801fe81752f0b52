//! Starts and stops the servers, and talks to them behind the client's back.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use ureq::Agent;
use ureq_auth::oauth2::Issuer as Discovered;
use ureq_auth::{Client, Session};

/// Where the servers are installed; `None` says so, once, past the test runner's capture.
pub(crate) fn installed() -> Option<PathBuf> {
    static SAID: Once = Once::new();
    let place = std::env::var_os("UREQ_AUTH_REAL").map(PathBuf::from);
    if place.is_none() {
        SAID.call_once(|| {
            let line =
                "\nSKIPPED: no real servers, so these tests have shown nothing. Run .ci/real, which installs them.\n";
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        });
    }
    place
}

/// A server in a process of its own, which ends with this.
pub(crate) struct Process {
    child: Child,
    told: Value,
}

impl Process {
    pub(crate) fn start(place: &Path, script: &str, options: &Value, environment: &[(&str, PathBuf)]) -> Self {
        let mut command = if script.ends_with(".py") {
            let mut command = Command::new(place.join("python/bin/python"));
            command.arg("-B");
            command
        } else {
            let mut command = Command::new("node");
            command.arg("--no-warnings").env("NODE_ENV", "production");
            command
        };
        command.arg(place.join(script)).arg(options.to_string());
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        // Its standard input ends with this process, however that ends, and it with its input.
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the server cannot be started");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{script} did not start: {line:?}"));
        Process { child, told }
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.told[name].as_str().unwrap().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The authorization server.
pub(crate) struct Issuer {
    place: PathBuf,
    options: Value,
    process: Option<Process>,
    url: String,
}

impl Issuer {
    /// Starts one; `None` if this machine cannot start one. The options are those of `issuer.mjs`.
    pub(crate) fn start(options: Value) -> Option<Self> {
        let place = installed()?;
        let process = Process::start(&place, "issuer.mjs", &options, &[]);
        let url = process.text("url");
        Some(Issuer { place, options, process: Some(process), url })
    }

    /// A file that keeps what the server knows, so that it survives a restart.
    pub(crate) fn state() -> Option<PathBuf> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = installed()?.join(format!("state-{}-{number}.json", std::process::id()));
        let _ = std::fs::remove_file(&file);
        Some(file)
    }

    #[cfg(feature = "rustls")]
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    #[cfg(feature = "browser")]
    pub(crate) fn origin(&self) -> String {
        self.url.clone()
    }

    /// Another script that is installed beside it.
    #[cfg(feature = "browser")]
    pub(crate) fn script(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again at the same address, with a new signing key, and with what its state file holds.
    pub(crate) fn start_again(&mut self) {
        let port: u16 = self.url.rsplit(':').next().unwrap().parse().unwrap();
        self.options["port"] = json!(port);
        self.process = Some(Process::start(&self.place, "issuer.mjs", &self.options, &[]));
    }

    pub(crate) fn discover(&self) -> Discovered {
        Discovered::discover(&self.url).unwrap()
    }

    /// Does something with it that no client can; see `actions` in `issuer.mjs`.
    pub(crate) fn control(&self, action: &str, mut given: Value) -> Value {
        given["action"] = json!(action);
        let mut answer = Agent::new_with_defaults().post(format!("{}/control", self.url)).send_json(given).unwrap();
        answer.body_mut().read_json().unwrap()
    }

    /// The refresh token of a login from before.
    pub(crate) fn login(&self) -> String {
        self.login_of("device")
    }

    pub(crate) fn login_of(&self, client: &str) -> String {
        self.control("login", json!({ "client": client }))["refreshToken"].as_str().unwrap().to_owned()
    }

    /// A session on a login from before.
    pub(crate) fn session(&self) -> Session {
        Session::new(self.discover().refresh_token("device", self.login())).unwrap()
    }

    /// What happens to its next token answers.
    pub(crate) fn next(&self, step: Value) {
        self.control("next", step);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts(self.control("counts", json!({})))
    }
}

/// What the authorization server counted.
#[derive(Debug)]
pub(crate) struct Counts(Value);

impl Counts {
    pub(crate) fn token_calls(&self) -> u64 {
        self.number("/token")
    }

    pub(crate) fn refreshes(&self) -> u64 {
        self.number("/ok/refresh_token")
    }

    pub(crate) fn needless(&self) -> u64 {
        self.number("/needless")
    }

    pub(crate) fn at_once(&self) -> u64 {
        self.number("/atOnce")
    }

    pub(crate) fn revoked(&self) -> u64 {
        self.number("/revoked")
    }

    pub(crate) fn errors(&self, code: &str) -> u64 {
        self.number(&format!("/errors/{code}"))
    }

    fn number(&self, pointer: &str) -> u64 {
        self.0.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }
}

/// The API.
pub(crate) struct Api {
    _process: Process,
    url: String,
}

impl Api {
    pub(crate) fn start(issuer: &Issuer) -> Self {
        let told = &issuer.process.as_ref().unwrap().told;
        let options = json!({ "issuer": issuer.url, "audience": told["audience"] });
        // For an issuer with a private CA, whose keys it fetches.
        let tls = issuer.options["tls"].as_str().map(|place| ("NODE_EXTRA_CA_CERTS", Path::new(place).join("ca.pem")));
        let process = Process::start(&issuer.place, "api.mjs", &options, tls.as_slice());
        let url = process.text("url");
        Api { _process: process, url }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A client of this API; every status is an answer.
    pub(crate) fn client(&self, session: &Session) -> Client {
        let builder = Client::builder(session.clone()).origin(&self.url);
        builder.configure(|config| config.http_status_as_error(false)).build().unwrap()
    }

    pub(crate) fn status(&self, client: &Client, path: &str) -> Result<u16, ureq::Error> {
        let mut answer = client.get(self.url(path)).call()?;
        answer.body_mut().read_to_vec()?;
        Ok(answer.status().as_u16())
    }
}
