//! What is left of secrets in a process that has used them and has let go of them.
//!
//! The process is searched from outside, by way of `/proc/PID/mem`, by the one that serves it: so neither the search nor the
//! server has copies of its own in there. It runs on an allocator that is set to keep what is freed, unwiped, which shows as
//! many copies as there ever can be found; then on one that is set to wipe, which shows those that are not even freed.
//!
//! What is ours is wiped: nothing is ever found of it. What a transport (ureq, rustls) has copied into its buffers it frees
//! without wiping, for us as for anybody who uses it: so beside this crate runs plain ureq, with the same requests and all
//! of its own secrets wiped, and what is found of both must be the same.
#![cfg(all(target_os = "linux", target_env = "gnu", feature = "rustls", feature = "gzip"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "memory/process.rs"]
mod process;
#[path = "memory/search.rs"]
mod search;
#[path = "memory/server.rs"]
mod server;
mod worker;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use server::{Manner, Server};
use worker::Worker;

/// Frees nothing to the system and wipes nothing.
const KEEPING: &str =
    "glibc.malloc.trim_threshold=4000000000:glibc.malloc.mmap_threshold=4000000000:glibc.malloc.arena_max=1";

/// Writes over all that is freed. Small pieces, too, which would otherwise be kept as they are for the next one who wants one.
const WIPING: &str = "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1";

/// What is looked for. Only the process that searches has them all, and in clear text, from the start.
#[derive(Clone)]
struct Secrets {
    access: [String; 2],
    refresh: [String; 3],
    client: String,
    /// The credentials in the header (RFC 6749 section 2.3.1).
    basic: String,
    body: String,
}

impl Secrets {
    fn new() -> Self {
        // The signs are some that a form encodes and a server may escape in JSON; the client secret has none, so that base64 is
        // all that happens to it.
        let [a1, a2, r1, r2, r3, body] = std::array::from_fn(|_| format!("{}+/{}", random(), random()));
        let client = random();
        let basic = BASE64_STANDARD.encode(format!("app:{client}"));
        Secrets { access: [a1, a2], refresh: [r1, r2, r3], client, basic, body }
    }

    fn needles(&self) -> Vec<(&'static str, &str)> {
        let Secrets { access: [a1, a2], refresh: [r1, r2, r3], client, basic, body } = self;
        vec![
            (ACCESS_1, a1),
            (ACCESS_2, a2),
            (REFRESH_1, r1),
            (REFRESH_2, r2),
            (REFRESH_3, r3),
            (CLIENT_SECRET, client),
            (BASIC, basic),
            (BODY, body),
        ]
    }
}

const ACCESS_1: &str = "the first access token";
const ACCESS_2: &str = "the second access token";
const REFRESH_1: &str = "the refresh token from the start";
const REFRESH_2: &str = "the second refresh token";
const REFRESH_3: &str = "the third refresh token";
const CLIENT_SECRET: &str = "the client secret";
const BASIC: &str = "the Basic credentials";
const BODY: &str = "a POST's body";
const VERIFIER: &str = "a login's verifier";

type Counts = BTreeMap<&'static str, usize>;

/// 32 letters and digits.
fn random() -> String {
    let digits = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    (0..32).map(|number| char::from(digits[(RandomState::new().hash_one(number) % 62) as usize])).collect()
}

/// What is found, of each secret that anything is found of, in a process that has done `what`. `None` where memory cannot be searched.
fn found(who: &str, what: &str, manner: Manner, allocator: &str) -> Option<Counts> {
    let secrets = Secrets::new();
    let server = Server::start(&secrets, manner);
    let Secrets { access: [a1, a2], refresh: [r1, r2, _], client, body, .. } = &secrets;
    let given = [a1, a2, r1, r2, client, body].map(|secret| process::masked(secret));
    let mut arguments = vec![who, what, &server.origin];
    arguments.extend(given.iter().map(String::as_str));
    let mut program = Command::new("env");
    program.arg(format!("GLIBC_TUNABLES={allocator}"));
    let mut worker = Worker::under(program, &arguments);
    let id = worker.says().expect("the process has failed").parse().unwrap();
    let (verifier, mut needles) = (server.verifier(), secrets.needles());
    needles.extend(verifier.as_deref().map(|verifier| (VERIFIER, verifier)));
    let counts = search::count(id, &needles);
    assert!(worker.end());
    assert_eq!(server.failures(), [""; 0]);
    match counts {
        Ok(counts) => Some(counts.into_iter().filter(|(_, count)| *count > 0).collect()),
        Err(error) => {
            let skipped =
                format!("\nSKIPPED: the memory of a child cannot be read here ({error}), so nothing was shown\n");
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
            None
        }
    }
}

/// Has this crate do `what`, and plain ureq beside it, and looks for what is left of the secrets. `transport`: how many copies
/// of each are the transport's, at most.
fn check(what: &str, manner: Manner, transport: &[(&'static str, usize)]) {
    let Some(ours) = found("ours", what, manner, KEEPING) else { return };
    let plain = found("plain", what, manner, KEEPING).unwrap();
    assert_eq!(ours, plain, "{what}, {manner:?}: this crate leaves what plain ureq leaves");
    let transport = transport.iter().copied().collect();
    assert_eq!(ours, transport, "{what}, {manner:?}: and no more than that");
    assert_eq!(found("ours", what, manner, WIPING), Some(Counts::new()), "{what}, {manner:?}: all of it is freed");
}

/// A search that finds nothing proves nothing, unless it finds what is there.
#[test]
fn what_is_there_is_found() {
    let Some(holding) = found("holding", "token", Manner::default(), WIPING) else { return };
    // Of each the one copy that is in use: in the token, and in the grant. The header with the credentials is gone.
    let alive = [(ACCESS_1, 1), (REFRESH_1, 1), (REFRESH_2, 1), (CLIENT_SECRET, 1)];
    assert_eq!(holding, alive.into_iter().collect());
}

#[test]
fn a_session_with_a_store_and_without_http_leaves_nothing() {
    for allocator in [KEEPING, WIPING] {
        assert!(found("ours", "alone", Manner::default(), allocator).is_none_or(|found| found.is_empty()));
    }
}

/// In one buffer of ureq's for what it sends, and one for what it receives.
#[test]
fn a_token_request_over_plain_http() {
    let transport = [(BASIC, 1), (REFRESH_1, 1), (ACCESS_1, 1), (REFRESH_2, 1)];
    check("token", Manner::default(), &transport);
    check("token", Manner { escaped: true, ..Manner::default() }, &transport);
    // There the buffer for what it receives has it compressed, and the decoder's window has it as it is.
    check("token", Manner { gzip: true, ..Manner::default() }, &transport);
}

/// Besides, in what rustls has deciphered, and in its queue of that.
#[test]
fn a_token_request_over_tls() {
    let tls = Manner { tls: true, ..Manner::default() };
    check("token", tls, &[(BASIC, 1), (REFRESH_1, 1), (ACCESS_1, 3), (REFRESH_2, 3)]);
    check("token", Manner { gzip: true, ..tls }, &[(BASIC, 1), (REFRESH_1, 1), (ACCESS_1, 1), (REFRESH_2, 1)]);
}

#[test]
fn a_token_request_that_is_refused_with_the_secret_in_the_reason() {
    for tls in [false, true] {
        let received = if tls { 3 } else { 1 };
        let manner = Manner { tls, refused: true, ..Manner::default() };
        check("token", manner, &[(BASIC, 1), (REFRESH_1, 1 + received)]);
    }
}

#[test]
fn a_token_request_that_is_never_answered() {
    for tls in [false, true] {
        check("token", Manner { tls, cut: true, ..Manner::default() }, &[(BASIC, 1), (REFRESH_1, 1)]);
    }
    check("unanswered", Manner { tls: true, silent: true, ..Manner::default() }, &[(BASIC, 1), (REFRESH_1, 1)]);
}

/// What ureq leaves of a token request is in its two buffers, as above; of the values that were made for it, and of the code that
/// the browser has brought, nothing else is left.
fn check_ours(what: &str, transport: &[(&'static str, usize)]) {
    let Some(ours) = found("ours", what, Manner::default(), KEEPING) else { return };
    assert_eq!(ours, transport.iter().copied().collect(), "{what}");
    assert_eq!(found("ours", what, Manner::default(), WIPING), Some(Counts::new()), "{what}: all of it is freed");
}

#[test]
fn a_grant_and_a_client_that_make_their_values_for_each_attempt() {
    check_ours("assertion", &[(REFRESH_1, 1), (CLIENT_SECRET, 1), (ACCESS_1, 1), (REFRESH_2, 1)]);
}

#[cfg(feature = "browser")]
#[test]
fn a_login_by_browser() {
    check_ours("browser", &[(BASIC, 1), (REFRESH_1, 1), (VERIFIER, 1), (ACCESS_1, 1), (REFRESH_2, 1)]);
}

/// A GET, a POST whose token is refused and which goes out again, and another POST.
#[test]
fn calls_of_an_api() {
    for tls in [false, true] {
        let manner = Manner { tls, ..Manner::default() };
        check("calls", manner, &[(ACCESS_2, 1), (BODY, 1)]);
        // ureq reads a chunked body into the buffer for what it receives, and then copies it.
        check("chunked", manner, &[(ACCESS_2, 1), (BODY, 2)]);
    }
}

#[test]
fn worker() {
    if let Some(arguments) = worker::arguments() {
        process::run(&arguments);
    }
}
