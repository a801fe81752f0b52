//! What a path may look like, and where it counts from.

use super::*;

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
fn the_same_file_however_its_path_is_written() {
    let place = Place::new();
    for path in ["token.json/", "token.json/.", "./token.json", "below/../token.json"] {
        fs::create_dir_all(place.0.join("below")).unwrap();
        save(&FileStore::new(place.0.join(path)), "a1").unwrap();
        assert_eq!(place.names(), ["below", "token.json", "token.json.lock"], "{path}");
        fs::remove_file(place.file()).unwrap();
    }
}

#[test]
fn a_relative_path_counts_from_where_the_process_was() {
    let Some(place) = again("paths::a_relative_path_counts_from_where_the_process_was", &["sh", "-c"], "") else {
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
    let Some(place) = again("paths::a_relative_path_from_nowhere_is_refused", &["sh", "-c"], "") else {
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
