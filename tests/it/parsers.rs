//! The two parsers that read what a server sends: any text at all, well-formed text turned around, and very long text.
//!
//! The texts come from a generator with a fixed seed, so that a failure comes again; its number is in the message.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ureq_auth::challenge::{self, Challenge};
use ureq_auth::{ErrorKind, Token, jwt};

use crate::support::{aside, secs};

/// SplitMix64: good enough for texts.
struct Dice(u64);

impl Dice {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    /// Up to `most` of these characters, at least `least`.
    fn text(&mut self, alphabet: &str, least: usize, most: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        let length = least + self.below(most - least + 1);
        (0..length).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }

    /// Removes, doubles, swaps or replaces a few characters.
    fn mutated(&mut self, text: &str, alphabet: &str) -> String {
        let mut text: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(3) {
            if text.is_empty() {
                break;
            }
            let (at, other) = (self.below(text.len()), self.below(text.len()));
            match self.below(5) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, text[other]),
                2 => text.swap(at, other),
                3 => text.truncate(at),
                _ => text[at] = self.text(alphabet, 1, 1).remove(0),
            }
        }
        text.into_iter().collect()
    }
}

/// What has a meaning in a challenge, and some that has none.
const TROUBLE: &str = "aB1 \t,,==\"\"\\\\;:/+~-._!ä€\u{10ffff}\0\u{7f}\r\n";
const TOKEN: &str = "abcXYZ019!#$%&'*+-.^_`|~";
const TOKEN68: &str = "abcXYZ019-._~+/";

/// A challenge as it should come out, and beside it a text that means it, written in one of many ways.
fn well_formed(dice: &mut Dice) -> (String, String) {
    let scheme = dice.text(TOKEN, 1, 8);
    let (mut shown, mut written) = (format!("{scheme}|"), scheme);
    match dice.below(4) {
        0 => {}
        1 => {
            let token68 = dice.text(TOKEN68, 1, 12) + dice.one_of(&["", "=", "=="]);
            written += dice.one_of(&[" ", "  "]);
            written += &token68;
            shown += &token68;
        }
        _ => {
            for number in 0..=dice.below(4) {
                let name = dice.text(TOKEN, 1, 8);
                let (value, in_text) = if dice.below(2) == 0 {
                    let value = dice.text(TOKEN, 1, 8);
                    (value.clone(), value)
                } else {
                    quoted(dice)
                };
                written += if number == 0 { " " } else { dice.one_of(&[",", ", ", " ,\t", ",, ,"]) };
                written += &name;
                written += dice.one_of(&["=", " =", "= ", "\t=  "]);
                written += &in_text;
                shown += &format!("|{name}={value}");
            }
        }
    }
    (shown, written)
}

/// Text and the quoted string that means it.
fn quoted(dice: &mut Dice) -> (String, String) {
    let value = dice.text("ab, =\"\\/ä", 0, 8);
    let mut quoted = String::from("\"");
    for c in value.chars() {
        // Some characters must be escaped, and any may be.
        if c == '"' || c == '\\' || dice.below(6) == 0 {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    (value, quoted + "\"")
}

fn shown(challenge: &Challenge<'_>) -> String {
    let params = challenge.params.iter().map(|(name, value)| format!("|{name}={value}"));
    format!("{}|{}", challenge.scheme, challenge.token68.unwrap_or_default()) + &params.collect::<String>()
}

/// What holds for any text: nothing is made up, and nothing is empty that must not be.
fn assert_sane(text: &str, challenges: &[Challenge<'_>]) {
    let mut length = 0;
    for Challenge { scheme, token68, params, .. } in challenges {
        assert!(
            !scheme.is_empty() && scheme.chars().all(|c| TOKEN.contains(c) || c.is_ascii_alphanumeric()),
            "{text:?}"
        );
        assert!(token68.is_none_or(|token68| !token68.is_empty()), "{text:?}");
        length += scheme.len() + token68.map_or(0, str::len);
        length += params.iter().map(|(name, value)| name.len() + 1 + value.len()).sum::<usize>();
    }
    assert!(length <= text.len(), "{text:?} became {challenges:?}");
}

#[test]
fn well_formed_challenges_come_out_as_they_went_in() {
    let mut dice = Dice(1);
    for number in 0..5000 {
        let list: Vec<(String, String)> = (0..=dice.below(4)).map(|_| well_formed(&mut dice)).collect();
        let mut text = String::from(dice.one_of(&["", " ", ", ", ",,\t"]));
        for (place, (_, written)) in list.iter().enumerate() {
            text += if place == 0 { "" } else { dice.one_of(&[",", ", ", " , ,"]) };
            text += written;
        }
        text += dice.one_of(&["", " ", ",", " , \t"]);
        let challenges = challenge::parse(&text);
        let expected: Vec<&String> = list.iter().map(|(shown, _)| shown).collect();
        assert_eq!(
            challenges.iter().map(shown).collect::<Vec<_>>(),
            expected.into_iter().cloned().collect::<Vec<_>>(),
            "number {number}: {text:?}"
        );
        assert_sane(&text, &challenges);
    }
}

#[test]
fn a_quoted_value_is_borrowed_unless_an_escape_must_go() {
    let challenges = challenge::parse(r#"Bearer a="plain", b="es\caped", c=bare"#);
    let borrowed = |(_, value): &(&str, Cow<'_, str>)| matches!(value, Cow::Borrowed(_));
    assert_eq!(challenges[0].params.iter().map(borrowed).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn challenges_can_be_read_from_any_text_without_a_panic() {
    let mut dice = Dice(2);
    for _ in 0..20_000 {
        let text = dice.text(TROUBLE, 0, 40);
        assert_sane(&text, &challenge::parse(&text));
    }
}

#[test]
fn challenges_that_were_damaged_on_their_way_make_no_panic() {
    let mut dice = Dice(3);
    for _ in 0..10_000 {
        let (_, written) = well_formed(&mut dice);
        let text = dice.mutated(&written, TROUBLE);
        assert_sane(&text, &challenge::parse(&text));
    }
}

#[test]
fn what_cannot_be_read_does_not_hide_what_comes_after_it() {
    let mut dice = Dice(4);
    let without_quotes = TROUBLE.replace('"', "");
    for number in 0..20_000 {
        let rubbish = dice.text(&without_quotes, 0, 30);
        let text = format!("{rubbish}, Bearer error=\"invalid_token\"");
        let challenges = challenge::parse(&text);
        let last = challenges.last().unwrap();
        assert_eq!(shown(last), "Bearer||error=invalid_token", "number {number}: {text:?}");
    }
}

#[test]
fn a_comma_inside_of_quotes_does_not_end_what_cannot_be_read() {
    let mut dice = Dice(8);
    for number in 0..5000 {
        let text = format!("({}, Bearer error=invalid_token", quoted(&mut dice).1);
        let challenges: Vec<String> = challenge::parse(&text).iter().map(shown).collect();
        assert_eq!(challenges, ["Bearer||error=invalid_token"], "number {number}: {text:?}");
    }
    assert_eq!(challenge::parse("a/b").iter().map(shown).collect::<Vec<_>>(), ["a|"], "and b has no blank before it");
}

/// A megabyte of `unit`, read by a thread that is given up after the watchdog's time: a parser that takes time in the
/// square of the length would be busy for hours. Returns how many challenges and how many parameters there are.
fn a_megabyte_of(before: &str, unit: &str) -> (usize, usize) {
    let count = (1 << 20) / unit.len();
    let text = before.to_owned() + &unit.repeat(count);
    aside(move || {
        let mut counts = (0, 0);
        let mut challenges = Vec::new();
        let memory = allocation_counter::measure(|| challenges = challenge::parse(&text));
        assert_sane(&text, &challenges);
        // A challenge is 56 bytes and needs two of text; a vector that grows has up to twice and, moving, three times that.
        assert!(memory.bytes_max <= 160 * text.len() as u64, "{memory:?} for {} bytes", text.len());
        counts.0 += challenges.len();
        counts.1 += challenges.iter().map(|challenge| challenge.params.len()).sum::<usize>();
        counts
    })
    .result()
}

#[test]
fn long_headers_take_time_and_memory_in_proportion() {
    const MEGA: usize = 1 << 20;
    let cases = [
        ("", ",", (0, 0)),
        ("", " ", (0, 0)),
        ("", "\"", (0, 0)),
        ("", "\\", (0, 0)),
        ("", "=", (0, 0)),
        ("", "\u{e4}", (0, 0)),
        ("", "a", (1, 0)),
        ("", "a ", (1, 0)),
        ("", "a,", (MEGA / 2, 0)),
        ("", "a b=\"\",", (MEGA / 7, MEGA / 7)),
        ("", "a b=", (1, MEGA / 4)),
        ("a ", "b=,", (1, MEGA / 3 - 1)), // "b=" right after a scheme is a token68
        ("a ", "b=c ", (1, MEGA / 4)),
        ("a ", "b=\"c\"", (1, MEGA / 5)),
        ("a ", "=", (0, 0)),   // a parameter of nothing
        ("a b=", "=", (1, 0)), // a token68 with much padding
        ("a b=c", "=", (1, 1)),
        ("a b=\"", "\\", (1, 1)),
        ("a b=\"", "\\\"", (1, 1)),
        ("a b=\"", ",", (1, 1)),
        ("a b", "\t", (1, 0)),
        ("a \"", "\\", (1, 0)),
        ("a ", "\"\"", (1, 0)),
        ("a ", "b\"\",", (MEGA / 4, 0)),
    ];
    for (before, unit, expected) in cases {
        assert_eq!(a_megabyte_of(before, unit), expected, "{before:?} and {unit:?}");
    }
}

/// An unsigned JWT around these bytes.
fn jwt_of(claims: &[u8]) -> String {
    format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
}

/// Claims as an issuer might write them, and what they say.
fn claims(dice: &mut Dice) -> (String, [Option<Duration>; 3]) {
    let mut times = [None; 3];
    let mut members = Vec::new();
    for (name, time) in ["exp", "iat", "nbf"].into_iter().zip(&mut times) {
        // As an integer every time up to 2^53 is exact.
        let seconds = dice.bits() >> (11 + dice.below(43));
        match dice.below(5) {
            0 => {}
            1 => members.push(format!("\"{name}\": null")),
            2 => {
                // A quarter of a second is exact in binary, while all its digits fit into 2^53.
                let seconds = seconds >> 10;
                *time = Some(secs(seconds) + Duration::from_millis(250));
                members.push(format!("\"{name}\":{seconds}.25"));
            }
            _ => {
                *time = Some(secs(seconds));
                members.push(format!("\"{name}\" : {seconds}"));
            }
        }
    }
    for _ in 0..dice.below(4) {
        let other = [r#""sub":"exp""#, r#""aud":["a",{"exp":1}]"#, r#""act":{"iat":[null,-1e9]}"#, r#""":"\"}\u00e4""#];
        members.insert(dice.below(members.len() + 1), dice.one_of(&other).to_owned());
    }
    (format!("{{{}}}", members.join(dice.one_of(&[",", " ,\n"]))), times)
}

#[test]
fn times_come_out_as_they_went_in_whatever_stands_around_them() {
    let mut dice = Dice(5);
    for number in 0..5000 {
        let (claims, [exp, iat, nbf]) = claims(&mut dice);
        let times = jwt::Times::read(&jwt_of(claims.as_bytes())).unwrap();
        assert_eq!((times.exp, times.iat, times.nbf), (exp, iat, nbf), "number {number}: {claims}");
        let life = exp.zip(iat).and_then(|(exp, iat)| exp.checked_sub(iat)).filter(|life| !life.is_zero());
        assert_eq!(times.lifetime(), life, "number {number}: {claims}");
    }
}

#[test]
fn claims_that_were_damaged_are_read_or_refused_and_never_shown() {
    let mut dice = Dice(6);
    let (mut read, mut refused) = (0, 0);
    for number in 0..10_000 {
        let (claims, _) = claims(&mut dice);
        let claims = dice.mutated(&claims, "{}[]\",:0-+.eE\\u nä\0");
        match jwt::Times::read(&jwt_of(claims.as_bytes())) {
            Ok(times) => {
                read += 1;
                let _no_panic = times.lifetime();
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "number {number}: {claims}");
                assert!(!error.to_string().contains("aud"), "the claims are the user's own: {error}");
            }
        }
    }
    assert!(read > 500 && refused > 500, "{read} and {refused}: damage that is always or never found proves little");
}

#[test]
fn a_jwt_can_be_any_text_without_a_panic() {
    let mut dice = Dice(7);
    for _ in 0..20_000 {
        let (claims, _) = claims(&mut dice);
        let valid = jwt_of(claims.as_bytes());
        let texts = [dice.text(TROUBLE, 0, 30), dice.text("eyJ90-_=+/..", 0, 40), dice.mutated(&valid, TROUBLE)];
        for text in texts {
            // Also as a token: one that is no JWT is opaque, not an error.
            let times = jwt::Times::read(&text).unwrap_or_default();
            if let Ok(token) = Token::new(text.as_str()) {
                assert_eq!(token.times(), times, "{text:?}");
            }
        }
        let bytes: Vec<u8> = (0..dice.below(40)).map(|_| dice.bits() as u8).collect();
        if let Err(error) = jwt::Times::read(&jwt_of(&bytes)) {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }
}

#[test]
fn a_jwt_of_any_length_takes_memory_in_proportion_and_no_deep_stack() {
    let nested = |depth, open: &str, close: &str| {
        jwt_of(format!("{{\"a\":{}1{},\"exp\":5}}", str::repeat(open, depth), str::repeat(close, depth)).as_bytes())
    };
    let (read, refused, either) = (&[Some(secs(5))][..], &[None][..], &[Some(secs(5)), None][..]);
    let texts = [
        (nested(100, "[", "]"), read),
        (nested(100, "{\"a\":", "}"), read),
        // A reader may have a bound on the depth or need none; what it may not do is end the process.
        (nested(20_000, "[", "]"), either),
        (nested(7_000, "{\"a\":", "}"), either),
        (nested(40_000, "[", ""), refused),
        (jwt_of(&[b' '; 48_000]), refused),
        (jwt_of(&[b'9'; 48_000]), refused),
        (jwt_of(&vec![b'['; 1 << 20]), refused),
        (".".repeat(1 << 20), refused),
        ("A.".repeat(1 << 20), refused),
    ];
    for (number, (text, expected)) in texts.into_iter().enumerate() {
        // On a thread of its own: an overflow of its small stack would end the whole test, a hang ends at the watchdog.
        let result = aside(move || {
            let mut result = Ok(jwt::Times::default());
            let memory = allocation_counter::measure(|| result = jwt::Times::read(&text));
            // The claims, and what the reader copies out of them; a longer text is not even decoded.
            assert!(memory.bytes_max <= 3 * jwt::MAX_LENGTH as u64, "number {number}: {memory:?}");
            result
        });
        let result = result.result();
        assert!(expected.contains(&result.as_ref().ok().and_then(|times| times.exp)), "number {number}: {result:?}");
        assert!(result.as_ref().is_ok_and(|times| times.exp.is_some()) || result.is_err(), "number {number}");
    }
}
