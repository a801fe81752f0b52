//! What a path may look like, and where it counts from.

use super::*;

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
