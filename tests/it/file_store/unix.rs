//! Modes, files that are removed while they are open, and paths from directories that are gone.

pub(super) use std::fs::Permissions;
pub(super) use std::io::Write as _;
pub(super) use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
pub(super) use std::process::Command;

use super::*;
use crate::again::this_program;

pub(super) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// Gives it the rights that a token file has.
pub(super) fn own(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[track_caller]
pub(super) fn assert_own(path: &Path, when: &str) {
    assert_eq!(mode(path), 0o600, "{when}");
}

/// Runs the test of that name again, in a process of its own which `script` makes ready; exit status 77 there says that it
/// cannot be made so here. `None`: the test is done, one way or the other. `Some`: this is that process.
pub(super) fn again(test: &str, shell: &[&str], script: &str) -> Option<Place> {
    if let Some(place) = std::env::var_os(PLACE) {
        return Some(Place(place.into()));
    }
    let program = this_program(test)?;
    let place = Place::new();
    let [shell, arguments @ ..] = shell else { panic!("no shell") };
    let ran = Command::new(shell)
        .args(arguments)
        .arg(format!("{script}\nexec \"$0\" --exact \"$1\" --nocapture"))
        .arg(program)
        .arg(format!("file_store::{test}"))
        .env(PLACE, &place.0)
        .current_dir(&place.0)
        .output();
    match ran {
        Ok(output) if output.status.success() => {
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
        }
        // Said by the script, by unshare, or by the shell where it cannot run the test at all.
        Ok(output) if matches!(output.status.code(), Some(1 | 77 | 126 | 127)) => {
            skipped(&format!(
                "{test}: it cannot be made so here: {}",
                String::from_utf8_lossy(&output.stderr).trim_end()
            ));
        }
        Err(error) => skipped(&format!("{test}: it cannot be made so here: {error}")),
        Ok(output) => panic!("{} {}", output.status, String::from_utf8_lossy(&output.stderr)),
    }
    None
}

/// `.ci/store` looks at its system calls.
#[test]
fn a_save_is_a_new_file_in_the_place_of_the_old_one() {
    let place = Place::new();
    let store = place.store();
    save(&store, "a1").unwrap();
    let old = fs::File::open(place.file()).unwrap();
    save(&store, "a2").unwrap();
    assert_eq!(
        std::io::read_to_string(old).unwrap(),
        *stored("a1").to_text(),
        "who has it open has the old one, whole"
    );
    assert_eq!(access(&store).as_deref(), Some("a2"));
}

#[test]
fn a_lock_file_that_was_removed_under_its_holder_locks_nobody_out() {
    let place = Place::new();
    let store = place.store();
    let _inside = store.exclusive(LONG).unwrap();
    fs::remove_file(place.beside(".lock")).unwrap();
    assert!(place.store().exclusive(Duration::ZERO).is_ok());
}

#[test]
fn who_holds_a_lock_file_that_was_removed_does_not_go_on_to_the_exchange() {
    let (place, clock) = (Place::new(), ManualClock::new(Some(WALL)));
    let store = place.store();
    let mut inside = store.exclusive(LONG).unwrap();
    inside.prepare().unwrap();
    fs::remove_file(place.beside(".lock")).unwrap();
    let error = inside.prepare().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("token.json.lock was removed"), "{error}");
    // Nor does it take the temporary file away from who has locked the next one.
    let other = place.store();
    let mut others = other.exclusive(Duration::ZERO).unwrap();
    others.prepare().unwrap();
    drop(inside);
    others.save(&stored("b1")).unwrap();
    drop(others);
    let ([session], calls) = sessions(&place, &clock);
    assert_eq!(session.token().unwrap().secret(), "b1");
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[test]
fn who_holds_a_lock_file_that_was_removed_writes_nothing_before_it_knows() {
    let place = Place::new();
    save(&place.store(), "a1").unwrap();
    // A process that has not yet found out whether the file can be replaced.
    let store = place.store();
    let mut inside = store.exclusive(LONG).unwrap();
    fs::remove_file(place.beside(".lock")).unwrap();
    let other = place.store();
    let mut others = other.exclusive(Duration::ZERO).unwrap();
    others.prepare().unwrap();
    assert!(inside.prepare().unwrap_err().to_string().contains("token.json.lock was removed"));
    others.save(&stored("b1")).unwrap();
    drop(inside);
    assert_eq!(access(&place.store()).as_deref(), Some("b1"));
}

#[test]
fn a_relative_path_counts_from_where_the_process_was() {
    let Some(place) = again("unix::a_relative_path_counts_from_where_the_process_was", &["sh", "-c"], "") else {
        return;
    };
    let store = FileStore::new("token.json");
    std::env::set_current_dir("/").unwrap();
    save(&store, "a1").unwrap();
    assert_eq!(place.names(), ["token.json", "token.json.lock"]);
    assert_eq!(store.path(), place.file());
}

/// A directory that is gone is no place to count from; another that the process changes to is not, either.
#[test]
fn a_relative_path_from_nowhere_is_refused() {
    let Some(place) = again("unix::a_relative_path_from_nowhere_is_refused", &["sh", "-c"], "") else {
        return;
    };
    fs::create_dir(place.0.join("gone")).unwrap();
    std::env::set_current_dir(place.0.join("gone")).unwrap();
    fs::remove_dir(place.0.join("gone")).unwrap();
    let store = FileStore::new("token.json");
    std::env::set_current_dir(&place.0).unwrap();
    assert!(store.exclusive(LONG).err().unwrap().to_string().contains("names no file"));
    assert!(place.names().is_empty());
}

#[test]
fn a_path_that_names_no_file_is_refused_and_nothing_is_made_of_it() {
    let place = Place::new();
    let below = place.0.join("below");
    fs::create_dir(&below).unwrap();
    for path in [PathBuf::new(), "/".into(), "..".into(), below.join(".."), below.join("../..")] {
        let store = FileStore::new(&path);
        for error in [store.load().unwrap_err(), store.exclusive(LONG).err().unwrap()] {
            assert_eq!(error.kind(), ErrorKind::Store);
            assert!(error.to_string().contains("names no file"), "{path:?}: {error}");
        }
    }
    assert_eq!(place.names(), ["below"]);
    assert!(!Path::new(".lock").exists());
}

#[test]
fn a_file_without_end_is_no_token() {
    for (place, _) in refusals(|place| {
        place.write("");
        OpenOptions::new().write(true).open(place.file()).unwrap().set_len(1 << 40).unwrap();
    }) {
        assert_eq!(place.names(), ["token.json.corrupt-1", "token.json.lock"]);
    }
}
