//! The promises on generated inputs: anything at all, seeds with a few changes, and well-formed inputs whose meaning is
//! known, so that what comes out can be compared with what went in.
//!
//! The same inputs on every run. `PROPTEST_RNG_SEED=N` takes others, `PROPTEST_CASES=N` more.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;

use super::*;

#[cfg(feature = "ureq")]
mod addresses;
#[cfg(feature = "ureq")]
mod answers;
mod challenges;
mod stored_tokens;
mod times;

fn config() -> ProptestConfig {
    cases(1)
}

/// So many times proptest's usual number of cases.
fn cases(times: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    let config = ProptestConfig { failure_persistence: None, cases: config.cases.saturating_mul(times), ..config };
    match config.rng_seed {
        RngSeed::Random => ProptestConfig { rng_seed: RngSeed::Fixed(1), ..config },
        RngSeed::Fixed(_) => config,
    }
}

const YARDSTICK: Yardstick = Yardstick {
    peak: |work| allocation_counter::measure(work).bytes_max,
    http_date: |date| httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok(),
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/seeds")
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(root().join(target)).expect(target);
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seeds");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn seeds_keep_the_promises() {
    for (name, target) in TARGETS {
        let good = seeds(name).iter().filter(|seed| target(seed, &YARDSTICK)).count();
        assert!(good > 0, "{name} promises nothing where nothing is ever read");
    }
}

/// Else they would be run by nobody.
#[cfg(feature = "ureq")]
#[test]
fn every_directory_of_seeds_has_a_target() {
    for directory in fs::read_dir(root()).unwrap() {
        let name = directory.unwrap().file_name();
        assert!(TARGETS.iter().any(|(target, _)| name == **target), "{name:?}");
    }
}

/// An input, shown as a text.
#[derive(Clone)]
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// What has a meaning in one of the inputs, and some that has none.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let words: [&[u8]; 59] = [
        b"\"",
        b"\\",
        b",",
        b"=",
        b" ",
        b"\t",
        b"\r\n",
        b"\n",
        b":",
        b"/",
        b"//",
        b"..",
        b".",
        b"@",
        b"?",
        b"#",
        b"[",
        b"]",
        b"{",
        b"}",
        b"-",
        b"0",
        b"9999999999999999999999",
        b"1e300",
        b"1e-9",
        b"-1",
        b"null",
        b"true",
        b"\\u0000",
        b"\\ud800",
        b"\xc3\xa4",
        b"\xe2\x82\xac",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\0",
        b"\x7f",
        b"\xc2\x9b",
        b"%2e",
        b"Bearer ",
        b"error=",
        b"invalid_grant",
        b"insufficient_scope",
        b"https://",
        b"http://",
        b"localhost",
        b":443",
        b":0",
        b"Sent: a\n",
        b"fake",
        b"Retry-After: 5\n",
        b"\"expires_in\":",
        b"\"scope\":[\"\",\"a\"],",
        b"\"version\":2,",
        b"HTTP/1.1 400 x\n",
        b"\n\n{",
        b"\"error\":\"",
        b"https://a.example\n",
        b"e30.",
        b".c2ln",
    ];
    prop_oneof![4 => select(words.map(<[u8]>::to_vec).to_vec()), 1 => vec(any::<u8>(), 1..8)]
}

/// One of the seeds, damaged on its way: pieces taken out, doubled, replaced, cut off.
fn damaged(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Input> {
    let change = (0..4, any::<Index>(), any::<Index>(), fragment());
    (select(seeds), vec(change, 0..5)).prop_map(|(mut text, changes)| {
        for (kind, from, length, fragment) in changes {
            let from = from.index(text.len() + 1);
            let to = (from + length.index(12)).min(text.len());
            match kind {
                0 => drop(text.drain(from..to)),
                1 => drop(text.splice(from..from, text[from..to].to_vec())),
                2 => drop(text.splice(from..to, fragment)),
                _ => drop(text.splice(from..from, fragment)),
            }
        }
        Input(text)
    })
}

/// The input is read by all targets, whichever one it is for: to the others it is anything at all.
fn keeps_the_promises(input: &Input) {
    for (_, target) in TARGETS {
        target(&input.0, &YARDSTICK);
    }
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn anything_at_all_keeps_the_promises(pieces in vec(fragment(), 0..24)) {
        keeps_the_promises(&Input(pieces.concat()));
    }

    #[test]
    fn damaged_seeds_keep_the_promises(input in damaged(TARGETS.iter().flat_map(|(name, _)| seeds(name)).collect())) {
        keeps_the_promises(&input);
    }
}

/// The most memory for the least text: lists of the smallest things, and one more than a vector had room for.
#[test]
fn long_lists_of_next_to_nothing_keep_to_the_bounds() {
    for count in [5, 65, 1025, 8193] {
        let list = format!("{{\"version\":1,\"access_token\":\"a\",\"scope\":[{}\"\"]}}", "\"\",".repeat(count - 1));
        for input in [
            list.clone(),
            format!("HTTP/1.1 200 x\n\n{list}"),
            format!("http://localhost\n{list}"),
            "a,".repeat(count),
            "a b=,".repeat(count),
            format!("a {}", "b=,".repeat(count)),
        ] {
            keeps_the_promises(&Input(input.into_bytes()));
        }
    }
}

/// The claims of a JWT that is just too long, and of one that just is not.
#[test]
fn a_jwt_is_read_up_to_its_bound() {
    for length in [49_100, 49_200] {
        let claims = format!("{{\"iat\":1,\"exp\":5,\"x\":\"{}\"}}", "a".repeat(length - 24));
        assert_eq!(jwt(claims.as_bytes(), &YARDSTICK), length == 49_100);
    }
}

#[test]
fn a_target_that_takes_too_much_is_found() {
    let greedy = || within(&YARDSTICK, 10, 1, 0, || Vec::<u8>::with_capacity(11));
    assert!(std::panic::catch_unwind(greedy).is_err());
    assert_eq!(within(&YARDSTICK, 10, 1, 0, || Vec::<u8>::with_capacity(10)).len(), 0);
}
