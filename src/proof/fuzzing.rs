//! What must hold for everything that a server, a file or a user hands in: one function for each parser of such input.
//! It takes any bytes at all, has the parser read them, and panics if the parser does not keep its header's promises.
//!
//! Written once, run three times: by libFuzzer on inputs that it makes up (`fuzz/`, `.ci/fuzz`), by `cargo test` on those
//! that proptest does (`properties`), and on what real servers have answered (`tests/seeds`, a directory each). Inputs
//! are texts that can be read and edited; each file says in which form.
//!
//! No user's build has this module: `cfg(fuzzing)` is set by a build of the fuzzers alone.

#[cfg(feature = "ureq")]
mod address;
#[cfg(feature = "ureq")]
mod answer;
#[cfg(feature = "ureq")]
mod callback;
mod challenge;
#[cfg(feature = "ureq")]
mod device;
#[cfg(feature = "ureq")]
mod discovery;
mod jwt;
#[cfg(test)]
mod properties;
mod stored;

use std::time::Duration;

#[cfg(feature = "ureq")]
pub use address::address;
#[cfg(feature = "ureq")]
pub use answer::{device_authorization, retry_after, token_answer};
#[cfg(feature = "ureq")]
pub use callback::callback;
pub use challenge::challenge;
#[cfg(feature = "ureq")]
pub use device::{device_poll, revocation};
#[cfg(feature = "ureq")]
pub use discovery::discovery;
pub use jwt::jwt;
pub use stored::stored;

use crate::clock::Tick;
use crate::policy::{History, Policy};
use crate::token::{Life, MAX_LIFETIME, Token};

/// What is measured with. The fuzzers and the tests bring it along: the library itself depends on neither.
#[derive(Debug)]
pub struct Yardstick {
    /// Does the work, and says how many bytes of heap it had at most at one time.
    pub peak: fn(&mut dyn FnMut()) -> u64,
    /// An HTTP date as another reader reads it, since 1970-01-01 00:00 UTC.
    pub http_date: fn(&str) -> Option<Duration>,
}

/// What is to be done with an input. Says whether it was what the parser is for: a token, a challenge, a redirect, …
pub type Target = fn(&[u8], &Yardstick) -> bool;

/// All of them. Each has a fuzzer and a directory of seeds of its own name.
pub const TARGETS: &[(&str, Target)] = &[
    ("challenge", challenge),
    ("jwt", jwt),
    ("stored", stored),
    #[cfg(feature = "ureq")]
    ("address", address),
    #[cfg(feature = "ureq")]
    ("callback", callback),
    #[cfg(feature = "ureq")]
    ("device_authorization", device_authorization),
    #[cfg(feature = "ureq")]
    ("device_poll", device_poll),
    #[cfg(feature = "ureq")]
    ("discovery", discovery),
    #[cfg(feature = "ureq")]
    ("retry_after", retry_after),
    #[cfg(feature = "ureq")]
    ("revocation", revocation),
    #[cfg(feature = "ureq")]
    ("token_answer", token_answer),
];

/// The heap that JSON may take for each of its bytes: a list of empty texts has 24 for three, and three times that while its
/// vector moves. Other texts are once in it, and once in what becomes of them.
const PER_BYTE_OF_JSON: usize = 28;

/// What `parse` returns, which may have had `per_byte` bytes of heap at one time for each of the input's `length` and
/// `fixed` besides.
fn within<T>(yardstick: &Yardstick, length: usize, per_byte: usize, fixed: usize, parse: impl FnOnce() -> T) -> T {
    let mut parse = Some(parse);
    let mut parsed = None;
    let peak = (yardstick.peak)(&mut || parsed = parse.take().map(|parse| parse()));
    let bound = per_byte * length + fixed;
    assert!(peak <= bound as u64, "{peak} bytes of heap for {length} bytes of input: more than {bound}");
    parsed.expect("the yardstick does the work")
}

/// A token that came from outside is one that a header can carry in one piece (RFC 6749 appendix A.12), and its life is a
/// plan.
fn assert_good(token: &Token) {
    let secret = token.secret();
    assert!(!secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic()), "no access token");
    assert!(secret.len() <= crate::jwt::MAX_LENGTH, "no header takes a token of {} bytes", secret.len());
    #[cfg(feature = "ureq")]
    {
        assert_eq!(token.header().as_bytes(), format!("Bearer {secret}").as_bytes());
        assert!(token.header().is_sensitive());
    }
    assert_ne!(token.refresh_secret(), Some(""), "an empty refresh token is no refresh token");
    assert!(token.expires_in().is_none_or(|life| !life.is_zero() && life <= MAX_LIFETIME));
    // The scope is shown, with its quotation marks and escapes; what stands in it is the server's own doing.
    let shown = format!("{token:?}").replace(&format!("{:?}", token.scope()), "");
    assert_not_shown(secret, &shown);
    assert_planned(token);
}

/// Whatever a server says of a token's life, and whatever the clocks say: no arithmetic goes wrong, the windows are in
/// order, and nothing is planned for ever.
fn assert_planned(token: &Token) {
    let times = [Duration::ZERO, Duration::from_secs(1000), Duration::from_secs(1_700_000_000), Duration::MAX];
    let policy = Policy::new().with_jitter_seed(7);
    for (wall, at) in times.iter().flat_map(|wall| times.iter().map(move |at| (*wall, *at))) {
        let (sent, arrived) = (Tick::from_zero(at), Tick::from_zero(at.saturating_add(Duration::from_secs(30))));
        for wall in [None, Some(wall)] {
            let mut history = History::default();
            if let Some(time) = token.server_time() {
                history.learn_server_time(arrived, time);
            }
            assert_in_order(&policy.life(token, sent, arrived, &history, wall), arrived);
            assert_in_order(&policy.restored_life(token, arrived, &history, wall), arrived);
        }
    }
}

fn assert_in_order(life: &Life, arrived: Tick) {
    assert!(life.stale_at <= life.expired_at && life.expired_at <= life.ends_at, "{life:?}");
    assert_eq!(life.ends_at.is_some(), life.lifetime.is_some(), "{life:?}");
    assert!(life.lifetime.is_none_or(|lifetime| lifetime <= MAX_LIFETIME), "{life:?}");
    assert!(life.ends_at.is_none_or(|end| end.since(arrived) <= MAX_LIFETIME), "{life:?}");
}

/// A long secret without a blank is not part of the text by chance.
fn assert_not_shown(secret: &str, text: &str) {
    assert!(secret.len() < 32 || secret.contains(' ') || !text.contains(secret), "a secret is shown: {text}");
}

/// Is it fit for a terminal and a log?
#[cfg(feature = "ureq")]
fn assert_plain(text: &str) {
    assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "not printable ASCII: {text:?}");
}
