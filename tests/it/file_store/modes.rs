//! Files and directories that are open to other users: what is narrowed, what is refused, what is logged.

use std::sync::Mutex;

use super::unix::*;
use super::*;

/// What the kubelet does to a volume at each start of a pod with `fsGroup`: the group may read and write, and files made in
/// a directory get its group.
fn start_pod(place: &Place) {
    fs::set_permissions(&place.0, Permissions::from_mode(0o2770)).unwrap();
    for name in place.names() {
        let path = place.0.join(name);
        fs::set_permissions(&path, Permissions::from_mode(mode(&path) | 0o660)).unwrap();
    }
}

#[test]
fn files_that_fs_group_has_opened_are_narrowed_where_that_is_set_and_refused_elsewhere() {
    let (place, clock) = (Place::new(), ManualClock::new(Some(WALL)));
    let ([plain], calls) = sessions(&place, &clock);
    plain.token().unwrap();
    start_pod(&place);
    assert_eq!((mode(&place.file()), mode(&place.beside(".lock"))), (0o660, 0o660));
    let error = place.store().load().unwrap_err();
    assert!(error.to_string().contains("FileStore::narrow_mode"), "it says what can be done in a pod: {error}");
    assert!(place.store().exclusive(LONG).is_err());
    assert_eq!(mode(&place.file()), 0o660, "nothing is changed unasked");

    let source = |_: Option<&Token>| -> Result<Token, SourceError> { Ok(Token::new("b1")?.with_refresh_token("r")) };
    let narrowing = || Session::builder(source).store(place.store().narrow_mode()).clock(clock.clone()).build();
    let session = narrowing().unwrap();
    assert_eq!(mode(&place.file()), 0o600, "narrowed by the build");
    assert_eq!(session.token().unwrap().secret(), "a1");
    // A second pod on this volume starts while the first one runs.
    start_pod(&place);
    clock.advance(Duration::from_secs(200));
    assert_eq!(session.token().unwrap().secret(), "b1");
    assert_eq!((mode(&place.file()), mode(&place.beside(".lock"))), (0o600, 0o600));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    start_pod(&place);
    assert_eq!(narrowing().unwrap().token().unwrap().secret(), "b1");
}

#[test]
fn whatever_mode_a_file_has_it_is_600_once_narrowed() {
    for rights in [0o640, 0o604, 0o620, 0o601, 0o666, 0o777, 0o4660] {
        let place = Place::new();
        place.write(&*stored("a1").to_text());
        fs::set_permissions(place.file(), Permissions::from_mode(rights)).unwrap();
        assert_eq!(access(&place.store().narrow_mode()).as_deref(), Some("a1"));
        assert_eq!(mode(&place.file()), 0o600, "from {rights:o}");
    }
}

/// Both ways of reading refuse it, and what it names keeps its mode.
fn not_narrowed(place: &Place, target: &Path, says: &str) {
    let before = mode(target);
    let store = place.store().narrow_mode();
    for error in [store.load().unwrap_err(), store.exclusive(LONG).and_then(|mut inside| inside.load()).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    assert_eq!(mode(target), before);
}

#[test]
fn only_an_ordinary_file_of_ones_own_with_one_name_is_narrowed() {
    let place = Place::new();
    let elsewhere = place.0.join("elsewhere");
    let write = |path: &Path| {
        fs::write(path, &*stored("a1").to_text()).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    };
    write(&elsewhere);
    symlink(&elsewhere, place.file()).unwrap();
    not_narrowed(&place, &elsewhere, "symbolic link");
    fs::remove_file(place.file()).unwrap();

    fs::hard_link(&elsewhere, place.file()).unwrap();
    not_narrowed(&place, &elsewhere, "another name");
    fs::remove_file(place.file()).unwrap();

    fs::create_dir(place.file()).unwrap();
    not_narrowed(&place, &place.file(), "no ordinary file");
    fs::remove_dir(place.file()).unwrap();

    write(&place.file());
    if std::os::unix::fs::chown(place.file(), Some(54321), None).is_err() {
        skipped("only_an_ordinary_file_of_ones_own_with_one_name_is_narrowed: only root can give a file away");
        return;
    }
    not_narrowed(&place, &place.file(), "belongs to user 54321");
}

/// A file system that keeps no modes, mounted so that each file has the mode `mode`, in namespaces of the test's own: FAT where
/// the kernel has it, else bindfs, which ignores each chmod as FAT does.
fn without_modes(test: &str, mode: &str) -> Option<Place> {
    let script = format!(
        r#"mask=$(printf %03o $((0777 - 0{mode})))
        if mkfs.vfat -C image 1440 >/dev/null 2>&1 && mount -o loop,umask=$mask image "$UREQ_AUTH_PLACE" 2>/dev/null; then
            echo "on FAT" >&2
        elif ! bindfs --perms=0{mode} --chmod-ignore "$UREQ_AUTH_PLACE" "$UREQ_AUTH_PLACE" >&2; then
            echo "neither a FAT file system nor bindfs can be mounted" >&2
            exit 77
        fi"#
    );
    // In a process namespace, so that bindfs ends with the test.
    again(test, &["unshare", "-rmpf", "--kill-child", "--mount-proc", "sh", "-c"], &script)
}

#[test]
fn where_chmod_has_no_effect_the_error_names_the_mount_option() {
    let Some(place) = without_modes("modes::where_chmod_has_no_effect_the_error_names_the_mount_option", "755") else {
        return;
    };
    // A new store: its lock file is the first file there is.
    let error = place.store().exclusive(LONG).err().unwrap().to_string();
    assert!(error.contains("token.json.lock") && error.contains("fmask=077"), "{error}");
    place.write(&*stored("a1").to_text());
    assert_eq!(mode(&place.file()), 0o755, "this is such a file system");
    let error = place.store().load().unwrap_err().to_string();
    assert!(error.contains("If chmod has no effect") && error.contains("fmask=077"), "{error}");
    let error = place.store().narrow_mode().load().unwrap_err().to_string();
    assert!(error.contains("chmod has no effect") && error.contains("fmask=077"), "{error}");
    assert!(!error.contains("chmod 600"), "what cannot be followed is not advised: {error}");
}

#[test]
fn with_that_mount_option_all_works() {
    let Some(place) = without_modes("modes::with_that_mount_option_all_works", "700") else { return };
    let clock = ManualClock::new(Some(WALL));
    let ([session], _) = sessions(&place, &clock);
    session.token().unwrap();
    clock.advance(Duration::from_secs(200));
    assert_eq!(session.token().unwrap().secret(), "a2");
    assert_eq!((access(&place.store()).as_deref(), mode(&place.file())), (Some("a2"), 0o700));
    place.store().exclusive(LONG).unwrap().remove().unwrap();
}

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Warnings;

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            WARNINGS.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// In a process of its own, for a logger is the process's.
#[test]
fn a_directory_that_others_can_write_is_warned_of_once_per_store() {
    let name = "modes::a_directory_that_others_can_write_is_warned_of_once_per_store";
    let Some(place) = again(name, &["sh", "-c"], "") else { return };
    log::set_logger(&Warnings).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let group = fs::metadata(&place.0).unwrap().uid() + 1;
    let can_chown = std::os::unix::fs::chown(&place.0, None, Some(group)).is_ok();
    if !can_chown {
        skipped(&format!("{name}: only root can give a directory to a group of another number"));
    }
    let warned = |rights: u32, store: FileStore| {
        fs::set_permissions(&place.0, Permissions::from_mode(rights)).unwrap();
        assert!(store.load().is_ok());
        save(&store, "a1").unwrap();
        assert!(store.load().is_ok());
        std::mem::take(&mut *WARNINGS.lock().unwrap())
    };
    for rights in [0o777, 0o707, 0o2777] {
        let warnings = warned(rights, place.store());
        assert_eq!(warnings.len(), 1, "{rights:o}: {warnings:?}");
        let said = [place.0.to_str().unwrap(), "every user can", &format!("{rights:o}"), "chmod it to 700"];
        assert!(said.iter().all(|part| warnings[0].contains(part)), "{warnings:?}");
        assert_eq!(warned(rights, place.store().narrow_mode()).len(), 1, "a pod's group is no excuse for that");
    }
    if can_chown {
        let warnings = warned(0o770, place.store());
        assert!(warnings.len() == 1 && warnings[0].contains("of its group"), "{warnings:?}");
        assert!(warned(0o2770, place.store().narrow_mode()).is_empty(), "a pod's group is meant");
    }
    for rights in [0o700, 0o755, 0o1777] {
        assert!(warned(rights, place.store()).is_empty(), "{rights:o}");
    }
    // Many systems give each user a group of the same number.
    if std::os::unix::fs::chown(&place.0, None, Some(group - 1)).is_ok() {
        assert!(warned(0o770, place.store()).is_empty());
    }
    // One that is not there yet is looked at when it is.
    let store = FileStore::new(place.0.join("later/token.json"));
    assert!(store.load().unwrap().is_none());
    fs::create_dir(place.0.join("later")).unwrap();
    fs::set_permissions(place.0.join("later"), Permissions::from_mode(0o777)).unwrap();
    assert!(store.load().unwrap().is_none());
    assert_eq!(WARNINGS.lock().unwrap().len(), 1);
}
