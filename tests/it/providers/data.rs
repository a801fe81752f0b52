//! What a provider answers, and what is to come of it: one file for each.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::lines::{App, Lines, PROVIDERS};
use crate::server::{Answer, Seen};

pub(super) const APP: App = App { client_id: "my-client", client_secret: "my-secret", refresh_token: "fake-first" };

pub(super) struct Provider {
    /// The name of its file, and of its lines.
    pub(super) key: &'static str,
    pub(super) lines: Lines,
    data: Value,
}

/// What a provider answers instead of a token, and what follows from it.
pub(super) struct Refusal<'a>(&'a Value);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    Final,
    Refused,
    Misconfigured,
    Later,
}

impl Provider {
    pub(super) fn all() -> Vec<Self> {
        let providers: Vec<Self> = PROVIDERS.into_iter().map(|(key, lines)| Self::read(key, lines)).collect();
        let mut files: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        assert_eq!(files.len(), providers.len(), "a file of answers without lines of Rust: {files:?}");
        providers
    }

    fn read(key: &'static str, lines: Lines) -> Self {
        let text = fs::read(folder().join(key).with_extension("json")).unwrap();
        let data: Value = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{key}: {error}"));
        let known = "name lives renews auth form headers notes success lifetime refusals sources";
        for member in data.as_object().unwrap().keys() {
            assert!(known.split(' ').any(|known| known == member), "{key}: nobody reads {member}");
        }
        Provider { key, lines, data }
    }

    pub(super) fn text(&self, member: &str) -> &str {
        self.data[member].as_str().unwrap_or_else(|| panic!("{}: no {member}", self.key))
    }

    pub(super) fn texts(&self, member: &str) -> Vec<&str> {
        let texts: Vec<_> = self.data[member].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        assert!(!texts.is_empty(), "{}: no {member}", self.key);
        texts
    }

    pub(super) fn is_basic(&self) -> bool {
        match self.text("auth") {
            "basic" => true,
            "post" => false,
            other => panic!("{}: {other}", self.key),
        }
    }

    /// Checks that `seen` is what the provider wants to be asked, with this refresh token in it.
    pub(super) fn check_request(&self, seen: &Seen, refresh_token: &str) {
        let basic = "Basic bXktY2xpZW50Om15LXNlY3JldA==";
        let mut wanted = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        if !self.is_basic() {
            wanted.extend([("client_id", APP.client_id), ("client_secret", APP.client_secret)]);
        }
        wanted.extend(members(&self.data["form"]));
        let form: Vec<(String, String)> = form_urlencoded::parse(&seen.body).into_owned().collect();
        let mut sent: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        wanted.sort_unstable();
        sent.sort_unstable();
        assert_eq!(sent, wanted, "{}", self.key);
        assert_eq!(seen.header("authorization"), self.is_basic().then_some(basic), "{}", self.key);
        for (name, value) in members(&self.data["headers"]) {
            assert_eq!(seen.header(name), Some(value), "{}: {name}", self.key);
        }
    }

    pub(super) fn success(&self) -> Answer {
        answer(200, &Value::Null, &self.data["success"])
    }

    pub(super) fn access_token(&self) -> &str {
        self.data["success"]["access_token"].as_str().unwrap()
    }

    /// The refresh token that is in force after a success.
    pub(super) fn next_refresh_token(&self) -> &str {
        self.data["success"]["refresh_token"].as_str().unwrap_or(APP.refresh_token)
    }

    pub(super) fn lifetime(&self) -> Option<Duration> {
        let lifetime = &self.data["lifetime"];
        assert!(lifetime.is_u64() || lifetime.is_null(), "{}: {lifetime}", self.key);
        lifetime.as_u64().map(Duration::from_secs)
    }

    pub(super) fn refusals(&self) -> Vec<Refusal<'_>> {
        let refusals: Vec<_> = self.data["refusals"].as_array().unwrap().iter().map(Refusal).collect();
        assert!(!refusals.is_empty(), "{}: no refusals", self.key);
        refusals
    }
}

impl Refusal<'_> {
    pub(super) fn of(&self) -> &str {
        self.0["of"].as_str().unwrap()
    }

    pub(super) fn status(&self) -> u16 {
        self.0["status"].as_u64().unwrap().try_into().unwrap()
    }

    pub(super) fn body(&self) -> String {
        body(&self.0["body"])
    }

    pub(super) fn then(&self) -> Then {
        match self.0["then"].as_str().unwrap() {
            "final" => Then::Final,
            "refused" => Then::Refused,
            "misconfigured" => Then::Misconfigured,
            "later" => Then::Later,
            other => panic!("{other}"),
        }
    }

    pub(super) fn answer(&self) -> Answer {
        answer(self.status(), &self.0["headers"], &self.0["body"])
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/providers")
}

fn members(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
}

fn answer(status: u16, headers: &Value, content: &Value) -> Answer {
    let mut answer = Answer::new(status).body(body(content));
    if content.is_object() {
        answer = answer.header("Content-Type", "application/json");
    }
    for line in headers.as_array().into_iter().flatten() {
        let (name, value) = line.as_str().unwrap().split_once(": ").unwrap();
        answer = answer.header(name, value);
    }
    answer
}

/// An object is JSON; a text is sent as it stands.
fn body(content: &Value) -> String {
    content.as_str().map_or_else(|| content.to_string(), str::to_owned)
}
