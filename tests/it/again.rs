//! For tests that run again in a process of their own.

use std::io::Write as _;
#[cfg(any(feature = "ureq", not(windows)))]
use std::{path::PathBuf, process::Command};

/// The program that runs this test, to run it again in a process of its own. Where an emulator runs it the system may know
/// nothing of it, and a shell would take it for a script: then the test is skipped.
#[cfg(any(feature = "ureq", not(windows)))]
pub(crate) fn this_program(test: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().unwrap();
    if Command::new(&program).arg("--list").output().is_ok_and(|listed| listed.status.success()) {
        return Some(program);
    }
    skipped(&format!("{test}: the system can't run {}", program.display()));
    None
}

/// Past the test harness, which keeps what is printed to itself.
pub(crate) fn skipped(what: &str) {
    std::io::stderr().write_all(format!("\nSKIPPED {what}\n").as_bytes()).unwrap();
}
