//! Files that another program has open, which can be neither replaced nor removed there, and directories that others can read.

use std::os::windows::fs::{OpenOptionsExt as _, symlink_file};

use super::*;

/// Nothing to do: rights are inherited.
pub(super) fn own(_path: &Path) {}

#[track_caller]
pub(super) fn assert_own(path: &Path, when: &str) {
    assert!(fs::symlink_metadata(path).unwrap().is_file(), "{when}");
}

/// Opens it as programs do that share it for reading and writing only: then it cannot be replaced, whatever Windows it is.
fn keep_open(path: &Path) -> fs::File {
    const FILE_SHARE_READ_AND_WRITE: u32 = 3;
    OpenOptions::new().read(true).share_mode(FILE_SHARE_READ_AND_WRITE).open(path).unwrap()
}

/// A directory that is in nobody's profile.
fn outside() -> Place {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let drive = std::env::var("SystemDrive").unwrap();
    let place = Place(format!("{drive}\\ureq-auth-{}-{number}", std::process::id()).into());
    fs::create_dir(&place.0).unwrap();
    place
}

#[test]
fn a_directory_outside_of_the_profile_is_refused_and_nothing_is_made_in_it() {
    let place = outside();
    let store = place.store();
    for error in [store.load().unwrap_err(), store.exclusive(LONG).err().unwrap(), save(&store, "a1").unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Store);
        let text = error.to_string();
        assert!(text.contains("%LOCALAPPDATA%") && text.contains("FileStore::private_directory"), "{text}");
        assert!(text.contains(place.0.to_str().unwrap()), "{text}");
    }
    assert!(place.names().is_empty());
    let session = Session::builder(|_: Option<&Token>| Err(SourceError::unavailable("no"))).store(place.store());
    assert_eq!(session.build().err().map(|error| error.kind()), Some(ErrorKind::Store));
}

#[test]
fn a_directory_that_the_program_calls_private_is_used_whichever_setting_comes_first() {
    let place = outside();
    save(&place.store().private_directory(), "a1").unwrap();
    assert_eq!(access(&place.store().narrow_mode().private_directory()).as_deref(), Some("a1"));
    assert_eq!(access(&place.store().private_directory().narrow_mode()).as_deref(), Some("a1"));
    assert!(place.store().narrow_mode().load().is_err(), "there is no mode to narrow");
}

#[test]
fn a_path_that_leaves_the_profile_by_dots_is_outside() {
    let (place, elsewhere) = (Place::new(), outside());
    let mut dots = place.0.clone();
    dots.extend(place.0.components().skip(2).map(|_| ".."));
    let store = FileStore::new(dots.join(elsewhere.0.file_name().unwrap()).join("token.json"));
    assert!(store.exclusive(LONG).err().unwrap().to_string().contains("not in the profile"));
}

#[test]
fn a_path_that_names_no_file_is_refused() {
    for path in [PathBuf::new(), "/".into(), "C:\\".into()] {
        let store = FileStore::new(&path);
        for error in [store.load().unwrap_err(), store.exclusive(LONG).err().unwrap()] {
            assert_eq!(error.kind(), ErrorKind::Store);
            assert!(error.to_string().contains("names no file"), "{path:?}: {error}");
        }
    }
}

#[test]
fn a_lock_file_can_be_neither_removed_nor_replaced_while_somebody_is_inside() {
    let place = Place::new();
    let store = place.store();
    let inside = store.exclusive(LONG).unwrap();
    fs::write(place.beside(".mine"), "").unwrap();
    fs::remove_file(place.beside(".lock")).unwrap_err();
    fs::rename(place.beside(".mine"), place.beside(".lock")).unwrap_err();
    assert_eq!(place.store().exclusive(Duration::ZERO).err().unwrap().kind(), ErrorKind::Timeout);
    drop(inside);
    fs::remove_file(place.beside(".lock")).unwrap();
}

#[test]
fn a_program_that_keeps_the_lock_file_to_itself_is_waited_for() {
    let place = Place::new();
    drop(place.store().exclusive(LONG).unwrap());
    let alone = OpenOptions::new().read(true).share_mode(0).open(place.beside(".lock")).unwrap();
    assert_eq!(place.store().exclusive(Duration::ZERO).err().unwrap().kind(), ErrorKind::Timeout);
    drop(alone);
    assert!(place.store().exclusive(Duration::ZERO).is_ok());
}

#[test]
fn readers_without_pause_stop_no_save_and_see_each_token_whole() {
    let place = Place::new();
    save(&place.store(), "a0").unwrap();
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        let readers = [(); 2].map(|()| {
            scope.spawn(|| {
                let (store, mut seen) = (place.store(), 0);
                while done.load(Ordering::SeqCst) == 0 {
                    assert!(access(&store).unwrap().starts_with('a'));
                    seen += 1;
                }
                seen
            })
        });
        let store = place.store();
        let saved: Result<Vec<()>> = (1..=100).map(|number| save(&store, &format!("a{number}"))).collect();
        done.store(1, Ordering::SeqCst);
        assert_eq!(saved.unwrap().len(), 100);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 0));
    });
    assert_eq!(access(&place.store()).as_deref(), Some("a100"));
    assert_eq!(place.names(), ["token.json", "token.json.lock"]);
}

#[test]
fn a_program_that_keeps_the_file_open_leaves_the_old_token_there_whole() {
    let place = Place::new();
    save(&place.store(), "a1").unwrap();
    let kept = keep_open(&place.file());
    let error = save(&place.store(), "a2").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains("another program has it open"), "{error}");
    assert_eq!(access(&place.store()).as_deref(), Some("a1"));
    assert_eq!(place.names(), ["token.json", "token.json.lock"]);
    let error = place.store().exclusive(LONG).unwrap().remove().unwrap_err();
    assert!(error.to_string().contains("another program has it open"), "{error}");
    drop(kept);
    save(&place.store(), "a3").unwrap();
    assert_eq!(access(&place.store()).as_deref(), Some("a3"));
}

#[test]
fn a_token_that_could_not_take_the_place_of_an_open_file_serves_and_is_saved_later() {
    let (place, clock) = (Place::new(), ManualClock::new(Some(WALL)));
    let ([session], calls) = sessions(&place, &clock);
    session.token().unwrap();
    clock.advance(Duration::from_secs(200));
    let kept = keep_open(&place.file());
    assert_eq!(session.token().unwrap().secret(), "a2");
    assert_eq!(access(&place.store()).as_deref(), Some("a1"));
    drop(kept);
    session.flush().unwrap();
    assert_eq!(access(&place.store()).as_deref(), Some("a2"));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[test]
fn a_symbolic_link_is_refused() {
    let name = "a_symbolic_link_is_refused";
    for there in [true, false] {
        let place = Place::new();
        let elsewhere = place.0.join("elsewhere");
        if there {
            fs::write(&elsewhere, "secret").unwrap();
        }
        // Wine 8 says that it has made one, and has not.
        let made = symlink_file(&elsewhere, place.file()).and_then(|()| fs::symlink_metadata(place.file()));
        if let Err(error) = made {
            skipped(&format!("{name}: none can be made here: {error}"));
            return;
        }
        for error in [place.store().load().unwrap_err(), save(&place.store(), "a1").unwrap_err()] {
            assert!(error.to_string().contains("symbolic link"), "{error}");
        }
    }
}
