//! The kit that tests stores: this crate's own pass it, and stores that are broken on purpose do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "store_kit/broken.rs"]
mod broken;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use broken::{Flaw, Leftover, Shelf};
use ureq_auth::store_kit::{self, Bench, Report, Verdict};
use ureq_auth::{FileStore, MemoryStore, TokenStore};

/// What the process that holds a section opens.
const HOLDER: &str = "UREQ_AUTH_HOLDER";

/// Runs `holder_of_a_section` of this binary in a process of its own.
fn holder(store: &str, path: &std::path::Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "holder_of_a_section", "--nocapture"]).env(HOLDER, format!("{store} {}", path.display()));
    command
}

/// The other process's part, and nothing where this is not that process.
#[test]
fn holder_of_a_section() {
    let Ok(what) = std::env::var(HOLDER) else { return };
    let (store, path) = what.split_once(' ').unwrap();
    match store {
        "file" => store_kit::hold(&FileStore::new(path)).unwrap(),
        _ => store_kit::hold(&Leftover::new(path)).unwrap(),
    }
}

/// A directory that is removed in the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ureq-auth-kit-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Place(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

struct Memory(MemoryStore);

impl Bench for Memory {
    fn open(&self) -> Box<dyn TokenStore> {
        Box::new(self.0.clone())
    }
}

/// [`FileStore`] in this directory.
struct Files(Place);

impl Bench for Files {
    fn open(&self) -> Box<dyn TokenStore> {
        Box::new(FileStore::new(self.0.0.join("token")))
    }

    fn holder(&self) -> Option<Command> {
        Some(holder("file", &self.0.0.join("token")))
    }

    fn put_text(&self, text: &str) -> bool {
        // Into the file that is there, whose rights are right.
        fs::write(self.0.0.join("token"), text).is_ok()
    }

    /// Nothing can be written where a directory is in the way, whoever runs the test.
    fn fail_saves(&self, fail: bool) -> bool {
        let temporary = self.0.0.join("token.tmp");
        let done = if fail { fs::create_dir(temporary) } else { fs::remove_dir(temporary) };
        done.is_ok()
    }
}

/// A store whose locks are files that their holder removes.
struct Leftovers(Place);

impl Bench for Leftovers {
    fn open(&self) -> Box<dyn TokenStore> {
        Box::new(Leftover::new(self.0.0.join("token")))
    }

    fn holder(&self) -> Option<Command> {
        Some(holder("leftover", &self.0.0.join("token")))
    }
}

const LOST: &str = "a lost section saves nothing";
const OWED: &str = "before a save is made up for, nobody sends";
const FAILED_SAVE: &str = "a failed save leaves what was there";
const FOREIGN: &str = "another program's text is an error";
const LATER: &str = "a later version is an error and stays";
const DEAD: &str = "a holder that dies leaves no lock and nothing torn";
const STOPPED: &str = "a holder that is stopped keeps the section, or loses it for good";
const ONE: &str = "one at a time is inside, and who waits too long hears so";
const HUNDRED: &str = "a hundred sessions spend each refresh token once";

fn assert_passed(report: &Report, not_tried: &[&str]) {
    assert!(report.is_passed(), "\n{report}");
    assert_eq!(report.not_tried(), not_tried, "\n{report}");
}

#[test]
fn the_store_in_memory_passes() {
    let report = store_kit::run(&Memory(MemoryStore::new()));
    assert_passed(&report, &[FAILED_SAVE, FOREIGN, LATER, LOST, OWED, DEAD, STOPPED]);
    assert_eq!(report.cases().filter(|(_, verdict)| **verdict == Verdict::Passed).count(), 6);
}

#[test]
fn the_token_file_passes() {
    let report = store_kit::run(&Files(Place::new("files")));
    // Nothing takes a lock of the system's away from a process that lives, and there is no way to it that could break. Windows
    // stops no process from outside.
    assert_passed(&report, if cfg!(windows) { &[LOST, OWED, STOPPED] } else { &[LOST, OWED] });
}

#[test]
fn a_store_with_a_lease_passes() {
    assert_passed(&store_kit::run(&Shelf::new(Flaw::Nothing)), &[DEAD, STOPPED]);
}

/// Each is noticed, in these cases and no others.
#[test]
fn broken_stores_fail() {
    let flaws = [
        (Flaw::HalfSaves, &["a save is never seen half done"][..]),
        (Flaw::SaveLosesTheOld, &[FAILED_SAVE]),
        (Flaw::NoLock, &[ONE, LOST, OWED, HUNDRED]),
        (Flaw::ForeignIsEmpty, &[FOREIGN]),
        (Flaw::LateSave, &[LOST]),
        (Flaw::SpendsOwed, &[OWED]),
        (Flaw::OtherKind, &[ONE]),
    ];
    for (flaw, cases) in flaws {
        let report = store_kit::run(&Shelf::new(flaw));
        assert_eq!(report.failed(), cases, "{flaw:?}\n{report}");
    }
}

#[test]
fn a_lock_that_a_dead_process_leaves_behind_fails() {
    let report = store_kit::run(&Leftovers(Place::new("leftovers")));
    assert_eq!(report.failed()[0], DEAD, "\n{report}");
}
