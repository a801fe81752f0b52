//! What the crate takes of a small device: threads, stack and heap. Each is the least or the most that can be, so that it is
//! asserted; the tables are in `docs/costs.md`.
//!
//! - `cargo bench --bench device` prints the heap's table. Its server is a thread of the same process.
//! - `--serve` is the other end as a process of its own; `--call` is the process whose threads `.ci/syscalls` counts.
//! - `--stack` prints the stack's table, `.ci/stack` builds it as a device would.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its figures")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

mod calls;
mod heap;
mod server;
mod stack;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--serve"] => server::serve_and_tell(),
        ["--call", origin, token_url, threads, resolver] => calls::call(origin, token_url, threads, resolver),
        ["--stack"] => stack::table(),
        ["--stack", way, tls, bytes] => stack::attempt(way, tls, bytes),
        // What cargo says to every bench.
        [] | ["--bench"] => heap::table(),
        _ => panic!("unknown arguments {arguments:?}: see the top of benches/device/main.rs"),
    }
}
