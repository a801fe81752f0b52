//! The kit that tests stores: this crate's own pass it, and stores that are broken on purpose do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "store_kit/broken.rs"]
mod broken;
#[path = "store_kit/files.rs"]
mod files;
#[path = "store_kit/flaws.rs"]
mod flaws;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use broken::Shelf;
use files::{Broken, FileFlaw};
use flaws::Flaw;
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
        flaw => {
            let flaw = FileFlaw::ALL.into_iter().find(|known| format!("{known:?}") == flaw).unwrap();
            store_kit::hold(&Broken::new(flaw, path)).unwrap();
        }
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

struct Memory(MemoryStore, MemoryStore);

impl Bench for Memory {
    fn open(&self) -> Box<dyn TokenStore> {
        Box::new(self.0.clone())
    }

    fn open_other(&self) -> Option<Box<dyn TokenStore>> {
        Some(Box::new(self.1.clone()))
    }
}

/// [`FileStore`] in this directory.
struct Files(Place);

impl Bench for Files {
    fn open(&self) -> Box<dyn TokenStore> {
        Box::new(FileStore::new(self.0.0.join("token")))
    }

    fn open_other(&self) -> Option<Box<dyn TokenStore>> {
        Some(Box::new(FileStore::new(self.0.0.join("other-token"))))
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

/// A store in files with this flaw.
struct BrokenFiles(FileFlaw, Place);

impl Bench for BrokenFiles {
    fn open(&self) -> Box<dyn TokenStore> {
        Box::new(Broken::new(self.0, self.1.0.join("token")))
    }

    fn holder(&self) -> Option<Command> {
        Some(holder(&format!("{:?}", self.0), &self.1.0.join("token")))
    }
}

const ENDS: &str = "every call ends";
const HOLDER_ENDS: &str = "a section ends with its holder, who may panic";
const EMPTY: &str = "an empty store is no error";
const WHOLE: &str = "a save is there for all, whole";
const LATEST: &str = "what was saved last is read, by whoever has read before";
const TEXTS: &str = "any text comes back as it was";
const TORN: &str = "a save is never seen half done";
const NOTHING_SAVED: &str = "a section that saves nothing changes nothing";
const GOES_ON: &str = "after a save, the section goes on";
const GIVES_WAY: &str = "after a save, the section gives way to who has saved since";
const LOGOUT: &str = "a logout empties the store for all";
const OTHER_LOGIN: &str = "another login's token is another's";
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
    let report = store_kit::run(&Memory(MemoryStore::new(), MemoryStore::new()));
    assert_passed(&report, &[FAILED_SAVE, FOREIGN, LATER, LOST, OWED, DEAD, STOPPED]);
    assert_eq!(report.cases().filter(|(_, verdict)| **verdict == Verdict::Passed).count(), 14);
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
        (Flaw::NoLock, &[GIVES_WAY, ONE, LOST, OWED, HUNDRED][..]),
        (Flaw::LockPerValue, &[GIVES_WAY, ONE, LOST, OWED, HUNDRED]),
        (Flaw::ReentrantValue, &[ONE, LOST, OWED]),
        (Flaw::ReentrantThread, &[GIVES_WAY, ONE, LOST, OWED]),
        (Flaw::OtherKind, &[ONE]),
        (Flaw::NeverWaits, &[ONE, HUNDRED]),
        (Flaw::NeverAtOnce, &[ONE]),
        (Flaw::TimeoutFrees, &[ONE, OWED]),
        (Flaw::NeverLeft, &[HOLDER_ENDS]),
        (Flaw::KeptByPanic, &[HOLDER_ENDS]),
        (Flaw::KeptByFailure, &[FAILED_SAVE]),
        (Flaw::PanicsAfterPanic, &[HOLDER_ENDS]),
        (Flaw::HalfSaves, &[TORN]),
        (
            Flaw::NoSave,
            &[
                WHOLE,
                LATEST,
                TEXTS,
                TORN,
                NOTHING_SAVED,
                GOES_ON,
                OTHER_LOGIN,
                ONE,
                FAILED_SAVE,
                FOREIGN,
                LOST,
                OWED,
                HUNDRED,
            ],
        ),
        (Flaw::SavesAtTheEnd, &[LATEST, GOES_ON]),
        (
            Flaw::SavesForItself,
            &[WHOLE, LATEST, TEXTS, TORN, NOTHING_SAVED, ONE, FAILED_SAVE, FOREIGN, LATER, LOST, OWED, HUNDRED],
        ),
        (Flaw::Stale, &[LATEST, ONE, LOST]),
        (Flaw::StaleInside, &[LATEST, ONE, FOREIGN, HUNDRED]),
        (Flaw::EmptyIsError, &[EMPTY, LATEST, GOES_ON, LOGOUT, OTHER_LOGIN, FOREIGN, LOST]),
        (Flaw::PrepareEmpties, &[NOTHING_SAVED, FAILED_SAVE, OWED]),
        (Flaw::Cuts, &[TEXTS]),
        (Flaw::Latin1, &[TEXTS]),
        (Flaw::LosesCase, &[TEXTS]),
        (Flaw::Trims, &[TEXTS]),
        (Flaw::DropsMembers, &[TEXTS]),
        (Flaw::OneRow, &[OTHER_LOGIN]),
        (Flaw::ForeignIsEmpty, &[FOREIGN, OWED]),
        (Flaw::ForeignIsEmptyInside, &[FOREIGN]),
        (Flaw::ForeignGoes, &[FOREIGN]),
        (Flaw::BlankIsEmpty, &[FOREIGN]),
        (Flaw::AsideStays, &[FOREIGN]),
        (Flaw::SaveLosesTheOld, &[FAILED_SAVE]),
        (Flaw::SaveSwallows, &[FAILED_SAVE]),
        (Flaw::RemoveSwallows, &[FAILED_SAVE]),
        (Flaw::Quotes, &[FAILED_SAVE]),
        (Flaw::CutIsEmpty, &[OWED]),
        (Flaw::RemoveStays, &[EMPTY, LATEST, GOES_ON, LOGOUT, OTHER_LOGIN, LOST]),
        (Flaw::RemoveHides, &[LATEST, LOGOUT, LOST]),
        (Flaw::LogoutIsAside, &[LOGOUT, FOREIGN]),
        (Flaw::OneSave, &[GOES_ON]),
        (Flaw::OneHold, &[GOES_ON]),
        (Flaw::SaveEnds, &[GIVES_WAY, LOST]),
        (Flaw::LateSave, &[LOST]),
        (Flaw::LateSaveIfFree, &[LOST]),
        (Flaw::LateSaveUnasked, &[LOST]),
        (Flaw::LateSaveIfEmpty, &[LOST]),
        (Flaw::LateRemove, &[LOST]),
        (Flaw::AlwaysStands, &[LOST, OWED]),
        (Flaw::Revives, &[LOST]),
        (Flaw::SpendsOwed, &[OWED]),
    ];
    // The kit looks on most of the time.
    let left = Mutex::new(flaws.into_iter());
    let next = || left.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some((flaw, cases)) = next() {
                    let report = store_kit::run(&Shelf::new(flaw));
                    assert_eq!(report.failed(), cases, "{flaw:?}\n{report}");
                }
            });
        }
    });
}

/// Each of them keeps the kit waiting for as long as it waits for anything.
#[test]
fn a_call_that_does_not_end_fails_and_ends_the_kit() {
    thread::scope(|scope| {
        for flaw in [Flaw::WaitsForEver, Flaw::LoadWaits, Flaw::SaveWaits] {
            scope.spawn(move || {
                let report = store_kit::run(&Shelf::new(flaw));
                assert_eq!(report.failed(), [ENDS], "{flaw:?}\n{report}");
                assert_eq!(report.not_tried().len(), report.cases().count() - 1, "{flaw:?}\n{report}");
            });
        }
    });
}

#[test]
fn broken_files_fail() {
    let flaws = [
        (FileFlaw::Leftover, &[DEAD][..]),
        (FileFlaw::LookEnds, &[DEAD]),
        (FileFlaw::SavesAtTheEnd, &[LATEST, GOES_ON, DEAD]),
        (FileFlaw::OwnMemory, &[DEAD, STOPPED]),
        (FileFlaw::InPlace, &[TORN]),
    ];
    for (flaw, cases) in flaws {
        let report = store_kit::run(&BrokenFiles(flaw, Place::new(&format!("{flaw:?}"))));
        assert_eq!(report.failed(), cases, "{flaw:?}\n{report}");
    }
}
