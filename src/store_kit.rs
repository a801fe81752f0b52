//! A kit that tests any [`TokenStore`](crate::TokenStore): what a store has to survive, tried on the store itself (feature `store-kit`).
//!
//! A test of the store's implements [`Bench`] and looks at the [`Report`] of [`run`]:
//!
//! ```
//! use ureq_auth::store_kit::{self, Bench};
//! use ureq_auth::{MemoryStore, TokenStore};
//!
//! struct Memory(MemoryStore);
//!
//! impl Bench for Memory {
//!     fn open(&self) -> Box<dyn TokenStore> {
//!         Box::new(self.0.clone())
//!     }
//! }
//!
//! let report = store_kit::run(&Memory(MemoryStore::new()));
//! assert!(report.is_passed(), "{report}");
//! ```
//!
//! `open` alone has most of it tried. The other methods say how to do to the store what a test cannot do by its trait: fail
//! its saves, put another program's text there, hold it from another process. What a bench does not offer is *not tried*,
//! and the report says so: look at it once.

mod bench;
mod cases;
mod entry;
mod faults;
mod holders;
mod sessions;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use self::bench::Bench;
use self::bench::{Case, Stop};
pub use self::holders::hold;

/// Tries all cases, one after the other. Takes some seconds, and with a lease a few times as long as that.
///
/// A call that does not return fails the first case, after half a minute. The other cases are not tried then, nor are those that
/// come after one that nobody leaves the section after.
pub fn run(bench: &dyn Bench) -> Report {
    let (mut report, mut can_go_on) = (Vec::new(), true);
    for (name, case) in entry::FIRST {
        let verdict = if can_go_on { tried(bench, *case) } else { STUCK };
        can_go_on &= verdict == Verdict::Passed;
        report.push((*name, verdict));
    }
    for (name, case) in cases::ALL.iter().chain(entry::ALL).chain(faults::ALL).chain(holders::ALL).chain(sessions::ALL)
    {
        let verdict = if can_go_on { tried(bench, *case) } else { STUCK };
        can_go_on &= !matches!(verdict, Verdict::Failed(_)) || can_be_entered(bench);
        report.push((*name, verdict));
    }
    Report(report)
}

const STUCK: Verdict = Verdict::NotTried("section that can be entered after the case before");

fn tried(bench: &dyn Bench, case: Case) -> Verdict {
    let panicked = |_| bench::failed("the store or the bench panics");
    Verdict::of(catch_unwind(AssertUnwindSafe(|| case(bench))).unwrap_or_else(panicked))
}

/// Otherwise each case that is left would wait for it.
fn can_be_entered(bench: &dyn Bench) -> bool {
    let timeout = bench::LONG + bench.lease().unwrap_or_default();
    catch_unwind(AssertUnwindSafe(|| bench.open().exclusive(timeout).is_ok())).unwrap_or(false)
}

/// What became of each case. Its `Display` is a line for each.
#[derive(Clone, Debug)]
pub struct Report(Vec<(&'static str, Verdict)>);

/// What became of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The store did what it has to.
    Passed,
    /// The bench does not offer what the case needs: this.
    NotTried(&'static str),
    /// The store did not, in this way.
    Failed(String),
}

impl Report {
    /// Did no case fail? Those that were not tried do not count.
    pub fn is_passed(&self) -> bool {
        !self.0.iter().any(|(_, verdict)| matches!(verdict, Verdict::Failed(_)))
    }

    /// The cases by name, in the order in which they were tried.
    pub fn cases(&self) -> impl Iterator<Item = (&'static str, &Verdict)> {
        self.0.iter().map(|(name, verdict)| (*name, verdict))
    }

    /// The names of the cases that failed.
    pub fn failed(&self) -> Vec<&'static str> {
        self.cases().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_))).map(|(name, _)| name).collect()
    }

    /// The names of the cases that were not tried.
    pub fn not_tried(&self) -> Vec<&'static str> {
        self.cases().filter(|(_, verdict)| matches!(verdict, Verdict::NotTried(_))).map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, verdict) in &self.0 {
            match verdict {
                Verdict::Passed => writeln!(f, "{name}: passed")?,
                Verdict::NotTried(why) => writeln!(f, "{name}: not tried: the bench has no {why}")?,
                Verdict::Failed(why) => writeln!(f, "{name}: FAILED: {why}")?,
            }
        }
        Ok(())
    }
}

impl Verdict {
    fn of(result: Result<(), Stop>) -> Self {
        match result {
            Ok(()) => Verdict::Passed,
            Err(Stop::NotTried(what)) => Verdict::NotTried(what),
            Err(Stop::Failed(why)) => Verdict::Failed(why),
        }
    }
}
