//! The lock, and what others do to the file while one waits for it.

use super::*;

#[test]
fn the_lock_keeps_out_another_store_on_the_path_and_its_wait_has_an_end() {
    let place = Place::new();
    let store = place.store();
    let inside = store.exclusive(LONG).unwrap();
    let error = place.store().exclusive(Duration::from_millis(20)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("token.json.lock"), "{error}");
    assert!(store.exclusive(Duration::ZERO).is_err(), "nor is the same store let in twice");
    drop(inside);
    assert!(place.store().exclusive(Duration::ZERO).is_ok());
}

#[test]
fn sessions_of_one_process_with_a_store_each_make_one_token_call() {
    let (place, clock) = (Place::new(), ManualClock::new(Some(WALL)));
    let (sessions, calls) = sessions::<4>(&place, &clock);
    for round in 1..=5 {
        thread::scope(|scope| {
            for session in sessions.iter().cycle().take(16) {
                scope.spawn(|| assert_eq!(session.token().unwrap().secret(), format!("a{round}")));
            }
        });
        assert_eq!(calls.load(Ordering::SeqCst), round);
        clock.advance(Duration::from_secs(200));
    }
}

#[test]
fn a_file_replaced_while_we_wait_for_the_lock_is_read_anew() {
    let (place, clock) = (Place::new(), ManualClock::new(Some(WALL)));
    let ([session], calls) = sessions(&place, &clock);
    session.token().unwrap();
    clock.advance(Duration::from_secs(200));
    let store = place.store();
    let inside = store.exclusive(LONG).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| session.token());
        // By somebody who takes no lock.
        fs::write(place.beside(".mine"), "").unwrap();
        own(&place.beside(".mine"));
        fs::write(place.beside(".mine"), &*stored("b1").to_text()).unwrap();
        fs::rename(place.beside(".mine"), place.file()).unwrap();
        drop(inside);
        assert_eq!(waiting.join().unwrap().unwrap().secret(), "b1");
    });
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn a_file_removed_while_we_wait_for_the_lock_is_a_logout() {
    let (place, clock) = (Place::new(), ManualClock::new(Some(WALL)));
    let ([session], calls) = sessions(&place, &clock);
    session.token().unwrap();
    clock.advance(Duration::from_secs(200));
    let store = place.store();
    let inside = store.exclusive(LONG).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| session.token());
        fs::remove_file(place.file()).unwrap();
        drop(inside);
        assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::LoggedOut);
    });
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}
