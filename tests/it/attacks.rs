//! What somebody who is no friend could do over HTTP: with addresses in every spelling, by every builder; with redirects; with
//! the proxies of the environment; with what a token endpoint answers. The token is for its origin's listener alone, which is
//! looked for in the bytes on the wire.

mod addresses;
mod agents;
mod discovered;
mod lines;
mod listener;
mod middlewares;
mod recursion;
mod redirects;
mod secrets;
mod two_clients;
mod words;

use std::process::{Command, Output};

use crate::again::this_program;

/// Runs this test again in a process of its own, with these environment variables and no other that names a proxy. None in
/// that process itself, or where it cannot be started.
fn outcome_alone(test: &str, variables: &[(&str, &str)]) -> Option<Output> {
    if is_inside() {
        return None;
    }
    let mut again = Command::new(this_program(test)?);
    again.args(["--exact", &format!("attacks::{test}"), "--nocapture"]).env(INSIDE, "1");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        again.env_remove(name).env_remove(name.to_lowercase());
    }
    Some(again.envs(variables.iter().copied()).output().unwrap())
}

const INSIDE: &str = "UREQ_AUTH_INSIDE";

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

fn assert_passed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said} {}", String::from_utf8_lossy(&output.stderr));
}
