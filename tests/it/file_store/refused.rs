//! What is neither read nor overwritten, and what is kept.

use super::*;

#[test]
fn a_directory_is_refused() {
    for (_place, text) in refusals(|place| fs::create_dir(place.file()).unwrap()) {
        assert!(text.contains("no ordinary file"), "{text}");
    }
}

#[test]
fn what_is_no_token_is_an_error_and_kept_aside() {
    let whole = stored("secret-a").to_text();
    let texts: [&[u8]; 6] = [
        b"",
        b"\n",
        &whole.as_bytes()[..whole.len() / 2],
        b"secret of another program",
        b"{\"version\":0}",
        &[0; 4096],
    ];
    for content in texts {
        for (place, text) in refusals(|place| place.write(content)) {
            assert_eq!(place.names(), ["token.json.corrupt-1", "token.json.lock"]);
            assert_eq!(fs::read(place.beside(".corrupt-1")).unwrap(), content);
            assert!(text.contains("token.json.corrupt-1"), "{text}");
            // The error came; after it there is room for a login.
            assert!(place.store().load().unwrap().is_none());
            place.write(content);
            assert!(place.store().load().is_err());
            assert_eq!(place.names(), ["token.json.corrupt-1", "token.json.corrupt-2", "token.json.lock"]);
        }
    }
}

#[test]
fn what_looks_torn_from_outside_is_left_alone_while_somebody_is_inside() {
    let place = Place::new();
    let store = place.store();
    let mut section = store.exclusive(LONG).unwrap();
    place.write("torn");
    assert_eq!(place.store().load().unwrap_err().kind(), ErrorKind::Store);
    assert_eq!(fs::read_to_string(place.file()).unwrap(), "torn");
    section.save(&stored("a1")).unwrap();
    assert_eq!(access(&place.store()).as_deref(), Some("a1"));
}

#[test]
fn a_later_version_is_an_error_and_stays_where_it_is() {
    let later = r#"{"version":2,"tokens":["secret"]}"#;
    for (place, text) in refusals(|place| place.write(later)) {
        assert!(text.contains("version 2"), "{text}");
        assert_eq!(fs::read_to_string(place.file()).unwrap(), later);
    }
}

#[test]
fn a_directory_that_is_not_there() {
    let place = Place::new();
    let store = FileStore::new(place.0.join("none/token.json"));
    assert!(store.load().unwrap().is_none());
    let error = store.exclusive(LONG).err().unwrap();
    assert!(error.to_string().contains("create the directory"), "{error}");
}

/// What stands in the file's place, from before and after a save that did not look first.
pub(super) fn not_overwritten(make: impl Fn(&Place)) -> (Place, String) {
    let place = Place::new();
    make(&place);
    let before = place.names();
    let store = place.store();
    let error = store.exclusive(LONG).unwrap().save(&stored("secret-b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains(place.file().to_str().unwrap()), "{error}");
    let after: Vec<_> = place.names().into_iter().filter(|name| name != "token.json.lock").collect();
    assert_eq!(after, before);
    (place, error.to_string())
}

#[test]
fn a_login_overwrites_nothing_that_is_refused() {
    not_overwritten(|place| fs::create_dir(place.file()).unwrap());
    let later = r#"{"version":2}"#;
    let (place, _) = not_overwritten(|place| place.write(later));
    assert_eq!(fs::read_to_string(place.file()).unwrap(), later);
}

#[test]
fn a_login_keeps_what_is_no_token() {
    let place = Place::new();
    place.write("of another program");
    place.store().exclusive(LONG).unwrap().save(&stored("b1")).unwrap();
    assert_eq!(fs::read_to_string(place.beside(".corrupt-1")).unwrap(), "of another program");
    assert_eq!(access(&place.store()).as_deref(), Some("b1"));
}

#[test]
fn a_token_that_could_not_be_read_back_is_not_stored() {
    let place = Place::new();
    save(&place.store(), "a1").unwrap();
    let huge = "r".repeat(1024 * 1024);
    let text = format!(r#"{{"version":1,"access_token":"a2","refresh_token":"{huge}"}}"#);
    let error = place.store().exclusive(LONG).unwrap().save(&Stored::from_text(&text).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("too long"), "{error}");
    assert_eq!(access(&place.store()).as_deref(), Some("a1"));
}

#[test]
fn a_logout_leaves_no_token_behind_not_even_a_killed_processs_or_half_of_one() {
    let place = Place::new();
    let log_out = || place.store().exclusive(LONG).unwrap().remove();
    let whole = stored("a2").to_text();
    save(&place.store(), "a1").unwrap();
    fs::write(place.beside(".tmp"), &*whole).unwrap();
    for number in [1, 2, 100] {
        fs::write(place.beside(&format!(".corrupt-{number}")), &whole[..whole.len() - 3]).unwrap();
    }
    log_out().unwrap();
    assert_eq!(place.names(), ["token.json.lock"]);
    // Where the token itself is gone already, too.
    fs::write(place.beside(".corrupt-1"), &whole[..whole.len() - 3]).unwrap();
    log_out().unwrap();
    assert_eq!(place.names(), ["token.json.lock"]);
    // What cannot be removed is an error, after all else is gone.
    save(&place.store(), "a1").unwrap();
    fs::create_dir_all(place.beside(".corrupt-1")).unwrap();
    fs::write(place.beside(".corrupt-2"), &*whole).unwrap();
    assert!(log_out().unwrap_err().to_string().contains("token.json.corrupt-1"));
    assert_eq!(place.names(), ["token.json.corrupt-1", "token.json.lock"]);
}

#[test]
fn what_cannot_be_put_aside_is_not_overwritten() {
    let place = Place::new();
    for number in 1..=100 {
        fs::write(place.beside(&format!(".corrupt-{number}")), "").unwrap();
    }
    place.write("the last straw");
    assert!(place.store().load().unwrap_err().to_string().contains("too many"));
    let error = place.store().exclusive(LONG).unwrap().save(&stored("b1")).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
    assert_eq!(fs::read_to_string(place.file()).unwrap(), "the last straw");
}

#[test]
fn a_torn_file_that_one_process_moves_aside_is_no_logout_to_the_others() {
    let (place, clock) = (Place::new(), ManualClock::new(Some(WALL)));
    let ([first, second], calls) = sessions(&place, &clock);
    assert_eq!(first.token().unwrap().secret(), second.token().unwrap().secret());
    clock.advance(Duration::from_secs(200));
    place.write("{\"version\":1,\"access_tok");
    let error = first.token().unwrap_err();
    assert!(error.kind() == ErrorKind::Store && error.to_string().contains("token.json.corrupt-1"), "{error}");
    assert_eq!(second.token().unwrap().secret(), "a2", "it goes on with the refresh token that it holds");
    assert_eq!(first.token().unwrap().secret(), "a2", "and the first one finds that");
    assert_eq!(calls.load(Ordering::SeqCst), 2);

    // A logout is one, whatever was moved aside before.
    first.end().unwrap();
    clock.advance(Duration::from_secs(200));
    assert_eq!(second.token().unwrap_err().kind(), ErrorKind::LoggedOut);
}

#[test]
fn a_logout_does_not_remove_a_later_version() {
    let place = Place::new();
    save(&place.store(), "a1").unwrap();
    let session = Session::builder(|_: Option<&Token>| Err(SourceError::unavailable("no"))).store(place.store());
    let session = session.build().unwrap();
    let later = r#"{"version":2,"tokens":["secret"]}"#;
    place.write(later);
    let error = session.end().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("version 2"), "{error}");
    assert_eq!(fs::read_to_string(place.file()).unwrap(), later);
}
