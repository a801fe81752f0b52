//! The text of a stored token, as `FileStore` reads it from a file and `Stored::from_text` from wherever a store has it.
//! The input is that text.

use std::time::Duration;

use serde_json::Value;

use super::{PER_BYTE_OF_JSON, Yardstick, assert_good, within};
use crate::store::text::{self, Unreadable};
use crate::{ErrorKind, Stored};

const FIXED: usize = 1024;

/// Either a token that may be sent, which comes back as it was when it is stored again, or an error that tells a later
/// version from rubbish. (That it quotes nothing needs no test: its texts are static.)
pub fn stored(input: &[u8], yardstick: &Yardstick) -> bool {
    let read = within(yardstick, input.len(), PER_BYTE_OF_JSON, FIXED, || text::read(input));
    let tree = serde_json::from_slice(input).ok();
    if let Ok(text) = std::str::from_utf8(input) {
        match (&read, Stored::from_text(text)) {
            (Ok(stored), Ok(same)) => assert!(same.is_same_as(stored)),
            (Err(unreadable), Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Store);
                assert!(error.to_string().ends_with(&unreadable.to_string()));
            }
            (read, _) => panic!("as a text and as bytes it reads differently: {:?}", read.is_ok()),
        }
    }
    match &read {
        Ok(stored) => {
            assert_comes_back(stored, yardstick);
            assert_as_another_reads(stored, tree);
        }
        Err(Unreadable::Later(version)) => assert!(*version > 1),
        Err(Unreadable::Foreign(_)) => {}
    }
    read.is_ok()
}

pub(super) fn assert_comes_back(stored: &Stored, yardstick: &Yardstick) {
    let token = stored.to_token().expect("what was read can be used");
    if token.has_access() {
        assert_good(&token);
    } else {
        assert!(token.refresh_secret().is_some(), "it has to say how to get the next one");
    }
    assert!(stored.has_access_of(&token) && stored.has_key_of(&token));
    let before = format!("{stored:?}");
    let refusal =
        stored.refusal().map_or(0, |refusal| refusal.message.len() + refusal.code.as_ref().map_or(0, String::len));
    let length = [Some(token.secret()), token.refresh_secret(), token.scope(), stored.owner()];
    let length = length.into_iter().flatten().map(str::len).sum::<usize>() + refusal;
    // An escape takes six bytes; and no more, for a buffer that grew would leave an unwiped copy behind.
    let text = within(yardstick, length, 6, FIXED, || stored.to_text());
    assert_eq!(text.capacity(), 256 + 6 * length, "it never grew");
    let back = Stored::from_text(&text).expect("what was written can be read");
    assert!(back.is_same_as(stored));
    // Scope and times.
    assert_eq!((format!("{back:?}"), back.to_text()), (before, text));
}

fn assert_as_another_reads(stored: &Stored, tree: Option<Value>) {
    // What is passed over may hold what another reader refuses, such as a number that is too large.
    let Some(tree) = tree else { return };
    let token = stored.to_token().expect("what was read can be used");
    let text = |name: &str| tree[name].as_str();
    let access = text("access_token").unwrap_or_default();
    assert_eq!((tree["version"].as_f64(), access), (Some(1.0), token.secret()));
    assert_eq!(text("owner"), stored.owner());
    assert_eq!(text("refused"), stored.refusal().map(|refusal| &*refusal.message));
    assert_eq!(text("refresh_token").filter(|token| !token.is_empty()), token.refresh_secret());
    assert_eq!(text("scope"), token.scope());
    let received = tree["received_at_ms"].as_f64().map(|milliseconds| Duration::from_millis(milliseconds as u64));
    assert_eq!(received, token.received_at());
}
