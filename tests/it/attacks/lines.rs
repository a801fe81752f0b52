//! What ureq writes to the log of a token request, as the crate's documentation says: nobody finds out by a leak.

use std::sync::Mutex;

use log::{Level, LevelFilter, Log, Metadata, Record};
use ureq_auth::Session;
use ureq_auth::oauth2::ClientCredentials;

use super::{assert_passed, is_inside, outcome_alone};
use crate::server::{Answer, Server};

/// A logger that filters in `log` alone.
struct Lines(Mutex<Vec<(Level, String)>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{}: {}", record.target(), record.args());
        self.0.lock().unwrap().push((record.level(), line));
    }

    fn flush(&self) {}
}

/// The debug lines of a token request, with this level in force.
fn debug_lines(level: LevelFilter) -> Vec<String> {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(level);
    let answer = Answer::ok(r#"{"access_token":"issued-hunter2"}"#).header("X-Key", "header-hunter2");
    let server = Server::script([answer.header("Server", "a-server")]);
    let source = ClientCredentials::new(server.url("/token?key=query-hunter2"), "client", "secret-hunter2");
    Session::new(source).unwrap().token().unwrap();
    let lines = LINES.0.lock().unwrap();
    lines.iter().filter(|(level, _)| *level <= Level::Debug).map(|(_, line)| line.clone()).collect()
}

fn alone(test: &str, inside: impl FnOnce()) {
    if is_inside() {
        return inside();
    }
    if let Some(output) = outcome_alone(&format!("lines::{test}"), &[]) {
        assert_passed(&output);
    }
}

#[test]
fn a_debug_line_shows_the_address_and_harmless_headers() {
    alone("a_debug_line_shows_the_address_and_harmless_headers", || {
        let lines = debug_lines(LevelFilter::Debug);
        assert!(lines.iter().any(|line| line.starts_with("ureq::") && line.contains("http://127.0.0.1:")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("a-server")), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("hunter2") || line.contains("/token")), "{lines:?}");
    });
}

#[test]
fn a_debug_line_shows_the_query_as_well_while_trace_is_on() {
    alone("a_debug_line_shows_the_query_as_well_while_trace_is_on", || {
        let lines = debug_lines(LevelFilter::Trace);
        assert!(lines.iter().any(|line| line.contains("query-hunter2")), "the documentation may warn less: {lines:?}");
        for secret in ["issued-hunter2", "header-hunter2", "secret-hunter2"] {
            assert!(!lines.iter().any(|line| line.contains(secret)), "{lines:?}");
        }
        assert!(!lines.iter().any(|line| line.starts_with("ureq_auth") && line.contains("hunter2")), "{lines:?}");
    });
}
