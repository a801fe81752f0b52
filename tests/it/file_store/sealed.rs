//! A file that two closures seal and open.

use std::io;
use std::sync::atomic::AtomicU8;

use super::*;

/// A seal with this key: what is opened with another one is an error.
fn sealed(place: &Place, key: &Arc<AtomicU8>) -> FileStore {
    let (seals, opens) = (Arc::clone(key), Arc::clone(key));
    let seal = move |text: &[u8]| match seals.load(Ordering::SeqCst) {
        0 => Err(io::Error::other("the key is gone")),
        key => Ok([&[key], &*text.iter().map(|byte| byte ^ key).collect::<Vec<_>>()].concat()),
    };
    let open = move |sealed: &[u8]| match sealed.split_first() {
        Some((by, text)) if *by == opens.load(Ordering::SeqCst) => Ok(text.iter().map(|byte| byte ^ by).collect()),
        _ => Err(io::Error::other("another key")),
    };
    place.store().sealed(seal, open)
}

#[test]
fn a_sealed_file_holds_no_token_that_can_be_read() {
    let (place, key) = (Place::new(), Arc::new(AtomicU8::new(7)));
    save(&sealed(&place, &key), "a1").unwrap();
    let text = fs::read(place.file()).unwrap();
    assert_eq!(text[0], 7);
    assert!(!String::from_utf8_lossy(&text).contains("a1"));
    let found = sealed(&place, &key).load().unwrap().unwrap();
    assert!(found.to_text().contains("\"a1\""));
    assert_eq!(sealed(&place, &key).exclusive(LONG).unwrap().load().unwrap().unwrap().to_text(), found.to_text());
}

#[test]
fn a_seal_that_cannot_be_opened_is_an_error_and_the_file_is_left_alone() {
    let (place, key) = (Place::new(), Arc::new(AtomicU8::new(7)));
    save(&sealed(&place, &key), "a1").unwrap();
    let before = fs::read(place.file()).unwrap();
    key.store(8, Ordering::SeqCst);
    let store = sealed(&place, &key);
    let error = store.load().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("cannot be opened (another key)"), "{error}");
    let mut inside = store.exclusive(LONG).unwrap();
    assert!(inside.load().is_err() && inside.prepare().is_err() && inside.remove().is_err());
    assert!(inside.save(&Stored::from_text(r#"{"version":1,"access_token":"b1"}"#).unwrap()).is_err());
    drop(inside);
    assert_eq!(fs::read(place.file()).unwrap(), before);
    assert_eq!(place.names(), ["token.json", "token.json.lock"]);
    // Its key is back.
    key.store(7, Ordering::SeqCst);
    assert!(store.load().unwrap().is_some());
}

#[test]
fn without_the_key_to_seal_nothing_is_spent() {
    let (place, key) = (Place::new(), Arc::new(AtomicU8::new(0)));
    let store = sealed(&place, &key);
    let mut inside = store.exclusive(LONG).unwrap();
    let error = inside.prepare().unwrap_err();
    assert!(error.to_string().contains("could not be sealed: the key is gone"), "{error}");
}

#[test]
fn what_is_under_the_seal_and_is_no_token_is_moved_aside() {
    let (place, key) = (Place::new(), Arc::new(AtomicU8::new(7)));
    place.write([7, b'x' ^ 7]);
    assert!(sealed(&place, &key).load().unwrap_err().to_string().contains("corrupt-1"));
}
