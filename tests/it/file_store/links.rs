//! What a unix has in a file's place, beside it, and in its mode: links, pipes, other users' files.

use super::refused::not_overwritten;
use super::unix::*;
use super::*;

#[test]
fn a_symbolic_link_is_refused_also_one_to_nothing() {
    for there in [true, false] {
        for (_place, text) in refusals(|place| {
            if there {
                fs::write(place.0.join("elsewhere"), "secret").unwrap();
            }
            symlink(place.0.join("elsewhere"), place.file()).unwrap();
        }) {
            assert!(text.contains("symbolic link"), "{text}");
        }
    }
}

#[test]
fn links_beside_the_file_are_not_followed() {
    let place = Place::new();
    let elsewhere = place.0.join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    symlink(&elsewhere, place.beside(".tmp")).unwrap();
    save(&place.store(), "a1").unwrap();
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");

    fs::remove_file(place.beside(".lock")).unwrap();
    symlink(&elsewhere, place.beside(".lock")).unwrap();
    let error = place.store().exclusive(LONG).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("token.json.lock"), "{error}");
}

#[test]
fn a_pipe_is_refused() {
    for (_place, text) in refusals(|place| {
        assert!(Command::new("mkfifo").arg("-m").arg("600").arg(place.file()).status().unwrap().success());
    }) {
        assert!(text.contains("no ordinary file"), "{text}");
    }
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    for rights in [0o640, 0o604, 0o666, 0o610] {
        for (_place, text) in refusals(|place| {
            place.write(&*stored("secret").to_text());
            fs::set_permissions(place.file(), Permissions::from_mode(rights)).unwrap();
        }) {
            assert!(text.contains("chmod 600"), "{text}");
        }
    }
}

#[test]
fn a_file_of_another_user_is_refused() {
    let place = Place::new();
    place.write(&*stored("secret").to_text());
    if std::os::unix::fs::chown(place.file(), Some(54_321), None).is_err() {
        skipped("a_file_of_another_user_is_refused: only root can give a file away");
        return;
    }
    let error = place.store().load().unwrap_err();
    assert!(error.to_string().contains("belongs to user 54321"), "{error}");
}

#[test]
fn a_login_overwrites_no_link_and_nothing_that_others_can_read() {
    let (place, text) = not_overwritten(|place| symlink("elsewhere", place.file()).unwrap());
    assert!(text.contains("symbolic link"), "{text}");
    let error = place.store().exclusive(LONG).unwrap().remove().unwrap_err();
    assert!(error.to_string().contains("no ordinary file"), "nor does a logout take away the link alone: {error}");
    assert!(fs::symlink_metadata(place.file()).is_ok());

    let (_place, text) = not_overwritten(|place| {
        place.write(&*stored("a1").to_text());
        fs::set_permissions(place.file(), Permissions::from_mode(0o640)).unwrap();
    });
    assert!(text.contains("chmod 600"), "{text}");
}
