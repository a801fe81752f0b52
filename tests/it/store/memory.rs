//! The store in memory.

use ureq_auth::MemoryStore;

use super::*;

#[test]
fn two_sessions_on_one_store_in_memory_make_one_token_call() {
    let (clock, store) = (ManualClock::new(Some(WALL)), MemoryStore::new());
    let calls = Arc::new(Mutex::new(0));
    let session = || {
        let calls = Arc::clone(&calls);
        let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
            *calls.lock().unwrap() += 1;
            Ok(token(&format!("a{}", calls.lock().unwrap()), "r"))
        };
        Session::builder(source).store(store.clone()).clock(clock.clone()).build().unwrap()
    };
    let (one, two) = (session(), session());
    assert_eq!((secret(one.token()), secret(two.token())), ("a1".into(), "a1".into()));
    clock.advance(LATER);
    assert_eq!((secret(two.token()), secret(one.token())), ("a2".into(), "a2".into()));
    assert_eq!(*calls.lock().unwrap(), 2);
}

#[test]
fn the_store_in_memory_lets_one_in_at_a_time() {
    let store = MemoryStore::new();
    let inside = store.exclusive(Duration::ZERO).unwrap();
    let error = store.exclusive(Duration::from_millis(1)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    drop(inside);
    assert!(store.exclusive(Duration::ZERO).is_ok());
    assert!(store.load().unwrap().is_none());
}
