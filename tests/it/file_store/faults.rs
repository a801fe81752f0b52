//! Disks that are full or read-only.

use super::*;

/// Runs this very test again with a file system of 64 KiB at `place`, in a mount namespace of its own. False: here it is.
fn on_a_small_disk(name: &str, place: &Place) -> bool {
    const DISK: &str = "UREQ_AUTH_SMALL_DISK";
    if std::env::var_os(DISK).is_some() {
        return false;
    }
    let script =
        r#"mount -t tmpfs -o size=64k none "$UREQ_AUTH_SMALL_DISK" || exit 77; exec "$0" --exact "$1" --nocapture"#;
    let ran = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(format!("file_store::faults::{name}"))
        .env(DISK, &place.0)
        .output();
    match ran {
        Ok(output) if output.status.success() => {
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
        }
        Ok(output) if output.status.code() == Some(101) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        other => skipped(&format!("{name}: no mount namespace to be had here: {other:?}")),
    }
    true
}

fn small_disk() -> Place {
    Place(std::env::var_os("UREQ_AUTH_SMALL_DISK").unwrap().into())
}

fn fill(place: &Place) {
    let mut filler = OpenOptions::new().create(true).append(true).open(place.0.join("filler")).unwrap();
    while filler.write_all(&[0; 512]).is_ok() {}
}

#[test]
fn a_full_disk_leaves_the_refresh_token_unspent() {
    if on_a_small_disk("a_full_disk_leaves_the_refresh_token_unspent", &Place::new()) {
        return;
    }
    let (place, clock) = (small_disk(), ManualClock::new(Some(WALL)));
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
    std::mem::forget(place);
}

#[test]
fn a_disk_that_fills_up_during_the_exchange_has_room_for_the_token() {
    if on_a_small_disk("a_disk_that_fills_up_during_the_exchange_has_room_for_the_token", &Place::new()) {
        return;
    }
    let place = small_disk();
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
    std::mem::forget(place);
}

#[test]
fn a_read_only_disk_leaves_the_refresh_token_unspent() {
    if on_a_small_disk("a_read_only_disk_leaves_the_refresh_token_unspent", &Place::new()) {
        return;
    }
    let (place, clock) = (small_disk(), ManualClock::new(Some(WALL)));
    let ([session], calls) = sessions(&place, &clock);
    session.token().unwrap();
    let status = Command::new("mount").args(["-o", "remount,ro"]).arg(&place.0).status();
    assert!(status.unwrap().success());
    clock.advance(Duration::from_secs(200));
    let error = session.token().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("needs to write"), "{error}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    std::mem::forget(place);
}
