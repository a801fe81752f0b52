//! Ctrl-C: the first ends the run, and its report comes; the second ends the program.

use std::error::Error;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// # Errors
    ///
    /// The system's, and that there is such a handler already.
    pub(crate) fn by_ctrl_c() -> Result<Self, Box<dyn Error>> {
        let interrupt = Interrupt::default();
        let come = interrupt.clone();
        ctrlc::set_handler(move || {
            if come.come() {
                // What a shell reports of a program that SIGINT has ended.
                process::exit(130);
            }
        })?;
        Ok(interrupt)
    }

    /// Returns whether it had come before.
    pub(crate) fn come(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn has_come(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
