//! Disks that are full or read-only, and whatever else keeps a token from being stored.

use super::unix::*;
use super::*;

/// A file system of 64 KiB, in a mount namespace of the process's own.
fn on_a_small_disk(test: &str) -> Option<Place> {
    again(test, &["unshare", "-rm", "sh", "-c"], r#"mount -t tmpfs -o size=64k none "$UREQ_AUTH_PLACE" || exit 77"#)
}

fn fill(place: &Place) {
    let mut filler = OpenOptions::new().create(true).append(true).open(place.0.join("filler")).unwrap();
    while filler.write_all(&[0; 512]).is_ok() {}
}

#[test]
fn a_full_disk_leaves_the_refresh_token_unspent() {
    let Some(place) = on_a_small_disk("faults::a_full_disk_leaves_the_refresh_token_unspent") else { return };
    let clock = ManualClock::new(Some(WALL));
    let ([session], calls) = sessions(&place, &clock);
    session.token().unwrap();
    fill(&place);
    clock.advance(Duration::from_secs(200));
    let error = session.token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("make room"), "{error}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    fs::remove_file(place.0.join("filler")).unwrap();
    clock.advance(Duration::from_secs(200));
    assert_eq!(session.token().unwrap().secret(), "a2");
}

#[test]
fn a_disk_that_fills_up_during_the_exchange_has_room_for_the_token() {
    let Some(place) = on_a_small_disk("faults::a_disk_that_fills_up_during_the_exchange_has_room_for_the_token") else {
        return;
    };
    save(&place.store(), "a1").unwrap();
    let store = place.store();
    let mut inside = store.exclusive(LONG).unwrap();
    inside.prepare().unwrap();
    fill(&place);
    let huge = "b".repeat(40 * 1024);
    assert!(inside.save(&stored(&huge)).unwrap_err().to_string().contains("make room"), "but not for a huge one");
    assert_eq!(access(&store).as_deref(), Some("a1"), "and then the old one is there, whole");
    fs::remove_file(place.0.join("filler")).unwrap();
    inside.prepare().unwrap();
    fill(&place);
    inside.save(&stored("a2")).unwrap();
    assert_eq!(access(&store).as_deref(), Some("a2"));
}

#[test]
fn a_read_only_disk_leaves_the_refresh_token_unspent() {
    let Some(place) = on_a_small_disk("faults::a_read_only_disk_leaves_the_refresh_token_unspent") else { return };
    let clock = ManualClock::new(Some(WALL));
    let ([session], calls) = sessions(&place, &clock);
    session.token().unwrap();
    let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&place.0).status();
    assert!(status.unwrap().success());
    clock.advance(Duration::from_secs(200));
    let error = session.token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("needs to write"), "{error}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

/// `docker run -v token.json:/token.json`: the file can be written, but nothing can take its place.
#[test]
fn a_file_that_is_a_mount_of_its_own_leaves_the_refresh_token_unspent() {
    let Some(place) = on_a_small_disk("faults::a_file_that_is_a_mount_of_its_own_leaves_the_refresh_token_unspent")
    else {
        return;
    };
    let clock = ManualClock::new(Some(WALL));
    save(&place.store(), "a0").unwrap();
    let status = Command::new("mount").arg("--bind").args([place.file(), place.file()]).status();
    assert!(status.unwrap().success());
    let ([session], calls) = sessions(&place, &clock);
    session.token().unwrap();
    session.rejected(&session.current().unwrap()).unwrap_err();
    let error = session.token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("mount its directory"), "{error}");
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

/// As somebody who is not root, so that file permissions apply.
fn as_nobody(test: &str) -> Option<Place> {
    let script = r#"chown 65534:65534 "$UREQ_AUTH_PLACE" || exit 77
        test -x "$0" && setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$0" || exit 77
        exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" --exact "$1" --nocapture"#;
    again(test, &["sh", "-c"], script)
}

#[test]
fn a_directory_without_the_rights_that_a_save_needs_leaves_the_refresh_token_unspent() {
    let name = "faults::a_directory_without_the_rights_that_a_save_needs_leaves_the_refresh_token_unspent";
    let Some(place) = as_nobody(name) else { return };
    // Neither written nor, for the sync, opened.
    for rights in [0o500, 0o300] {
        let clock = ManualClock::new(Some(WALL));
        let ([session], calls) = sessions(&place, &clock);
        session.token().unwrap();
        let before = calls.load(Ordering::SeqCst);
        fs::set_permissions(&place.0, Permissions::from_mode(rights)).unwrap();
        clock.advance(Duration::from_secs(200));
        let error = session.token().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(error.to_string().contains("needs to write in that directory, and to read it"), "{rights:o}: {error}");
        assert_eq!(calls.load(Ordering::SeqCst), before);
        fs::set_permissions(&place.0, Permissions::from_mode(0o700)).unwrap();
        place.store().exclusive(LONG).unwrap().remove().unwrap();
    }
}

#[test]
fn a_file_in_the_place_of_the_directory() {
    let place = Place::new();
    place.write("");
    let store = FileStore::new(place.file().join("token.json"));
    assert!(store.load().unwrap_err().to_string().contains("token.json"));
    assert_eq!(store.exclusive(LONG).err().unwrap().kind(), ErrorKind::Store);
}

#[test]
fn whatever_the_umask_the_files_are_the_owners_own() {
    for script in ["umask 0", "umask 0777"] {
        let Some(place) = again("faults::whatever_the_umask_the_files_are_the_owners_own", &["sh", "-c"], script)
        else {
            continue;
        };
        let store = place.store();
        let mut inside = store.exclusive(LONG).unwrap();
        inside.prepare().unwrap();
        assert_eq!(mode(&place.beside(".tmp")), 0o600);
        inside.save(&stored("a1")).unwrap();
        assert_eq!((mode(&place.file()), mode(&place.beside(".lock"))), (0o600, 0o600));
        return;
    }
}
