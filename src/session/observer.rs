//! The log and the user's observer: a session tells them what happens, and they may make calls by the same session.

use crate::events::Event;
use crate::sync::{self, Leaf, ThreadId};

/// So often a thread is told something while it is being told. What happens beyond that is only counted: the telling of the
/// telling would go on until the stack overflows.
const DEPTH: usize = 2;

pub(crate) struct Observer {
    tell: Option<Tell>,
    /// The threads on which it is being told something, each as often as it is.
    told: Leaf<Vec<ThreadId>>,
}

pub(super) type Tell = Box<dyn Fn(&Event<'_>) + Send + Sync>;

impl Observer {
    pub(super) fn new(tell: Option<Tell>) -> Self {
        Observer { tell, told: Leaf::new(Vec::new()) }
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        let here = sync::current_thread();
        {
            let mut told = self.told.lock();
            if told.iter().filter(|thread| **thread == here).count() == DEPTH {
                return;
            }
            told.push(here);
        }
        // Unwinding included: an observer may panic.
        let _told = Told(self);
        log::log!(target: "ureq_auth::session", event.level(), "{event}");
        if let Some(tell) = &self.tell {
            tell(event);
        }
    }

    /// Is this call one that the log or the observer makes while it is told something? Then it must not wait for another
    /// thread, which may be waiting for the same log.
    pub(super) fn is_told_here(&self) -> bool {
        self.told.lock().contains(&sync::current_thread())
    }
}

struct Told<'a>(&'a Observer);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let mut told = self.0.told.lock();
        if let Some(here) = told.iter().position(|thread| *thread == sync::current_thread()) {
            told.swap_remove(here);
        }
    }
}
