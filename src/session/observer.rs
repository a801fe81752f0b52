//! Whom a session tells what happens, and who is being told right now.

use crate::events::Event;
use crate::sync::{self, Leaf, ThreadId};

pub(crate) struct Observer {
    tell: Box<dyn Fn(&Event<'_>) + Send + Sync>,
    /// The threads on which it is being told something, each as often as it is.
    told: Leaf<Vec<ThreadId>>,
}

impl Observer {
    pub(super) fn new(tell: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        Observer { tell: Box::new(tell), told: Leaf::new(Vec::new()) }
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        self.told.lock().push(sync::current_thread());
        // Unwinding included: an observer may panic.
        let _told = Told(self);
        (self.tell)(event);
    }

    /// Is this call the observer's own?
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
