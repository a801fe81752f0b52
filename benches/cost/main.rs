//! What the crate costs, each figure beside what it has to be measured against, in one run and in turn with it: so that a
//! machine which is busy with other things slows both.
//!
//! `cargo bench` prints the table without the counts of instructions, which `.ci/bench` adds. With names of sections
//! (`token`, `call`, `stampede`, `crowd`, `window`, `recovery`) it prints these alone, with `--quick` after few rounds. It
//! fails if a figure that is the same on every machine is not what it should be: how many times the token source was asked.
//!
//! `.ci/instructions` runs it as `--repeat WHAT COUNT [ADDRESS]` under callgrind, with `--serve` as the other end;
//! `.ci/syscalls` does so under strace.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

mod call;
mod careful;
mod crowd;
mod loopback;
mod recovery;
mod stampede;
mod statistics;
mod table;
mod token;
mod window;

use std::process::ExitCode;
use std::time::Duration;

use ureq_auth::{Session, SessionBuilder, SourceError, Token};

use table::{Instructions, Table};

/// As long as many are: what a header costs depends on its length.
const ACCESS_TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJpYXQiOjEwMDAsImV4cCI6MTMwMC41fQ.0123456789abcdef0123456789abcdef";

type Section = fn(&mut Table, Effort);

const SECTIONS: [(&str, Section); 6] = [
    ("token", token::section),
    ("call", call::section),
    ("stampede", stampede::section),
    ("crowd", crowd::section),
    ("window", window::section),
    ("recovery", recovery::section),
];

/// How many rounds to make.
#[derive(Clone, Copy)]
struct Effort {
    quick: bool,
}

impl Effort {
    fn rounds(self, thorough: usize, quick: usize) -> usize {
        if self.quick { quick } else { thorough }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--serve"] => loopback::serve_and_tell(),
        ["--repeat", what, count] => token::repeat(what, count.parse().unwrap()),
        ["--repeat", what, count, address] => call::repeat(what, count.parse().unwrap(), address),
        _ => return tabulate(&arguments),
    }
    ExitCode::SUCCESS
}

fn tabulate(arguments: &[&str]) -> ExitCode {
    let mut effort = Effort { quick: false };
    let mut instructions = Instructions::default();
    let mut wanted = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            // What cargo says to every bench.
            "--bench" => {}
            "--quick" => effort.quick = true,
            "--instructions" => instructions = Instructions::read(arguments.next().expect("--instructions FILE")),
            name if SECTIONS.iter().any(|(section, _)| *section == name) => wanted.push(name),
            unknown => panic!("unknown argument {unknown}: see the top of benches/cost/main.rs"),
        }
    }
    let mut table = Table::new(instructions);
    for (name, section) in SECTIONS {
        if wanted.is_empty() || wanted.contains(&name) {
            section(&mut table, effort);
        }
    }
    table.finish()
}

/// A session whose token is fresh for as long as a bench runs.
fn fresh_session(settings: impl FnOnce(SessionBuilder) -> SessionBuilder) -> Session {
    let builder = Session::builder(|_: Option<&Token>| -> Result<Token, SourceError> {
        Ok(Token::new(ACCESS_TOKEN)?.with_expires_in(Duration::from_secs(3600)))
    });
    settings(builder).build().unwrap()
}
