//! One token in memory.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Exclusive, Stored, TokenStore};
use crate::clock::{Clock as _, SystemClock};
use crate::sync::{Condvar, Leaf, Mutex};
use crate::{Error, Result};

/// A store in memory: sessions of one process that share a login, and tests. Clones are one store.
#[derive(Clone)]
pub struct MemoryStore(Arc<Memory>);

struct Memory {
    stored: Leaf<Option<Stored>>,
    /// Somebody is in the exclusive section.
    busy: Mutex<bool>,
    left: Condvar,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        MemoryStore(Arc::new(Memory { stored: Leaf::new(None), busy: Mutex::new(false), left: Condvar::new() }))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl TokenStore for MemoryStore {
    fn load(&self) -> Result<Option<Stored>> {
        Ok(self.0.stored.lock().clone())
    }

    fn exclusive(&self, timeout: Duration) -> Result<Box<dyn Exclusive + '_>> {
        let deadline = SystemClock.now().after(timeout);
        let mut busy = self.0.busy.lock();
        while *busy {
            let left = deadline.since(SystemClock.now());
            if left.is_zero() {
                return Err(Error::store_busy(format!("another session has kept the store in memory for {timeout:?}")));
            }
            self.0.left.wait(&mut busy, Some(left));
        }
        *busy = true;
        Ok(Box::new(Inside(&self.0)))
    }
}

struct Inside<'a>(&'a Memory);

impl Inside<'_> {
    fn replace(&mut self, stored: Option<Stored>) {
        let old = std::mem::replace(&mut *self.0.stored.lock(), stored);
        drop(old);
    }
}

impl Exclusive for Inside<'_> {
    fn load(&mut self) -> Result<Option<Stored>> {
        Ok(self.0.stored.lock().clone())
    }

    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    fn save(&mut self, stored: &Stored) -> Result<()> {
        self.replace(Some(stored.clone()));
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        self.replace(None);
        Ok(())
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut busy = self.0.busy.lock();
        *busy = false;
        self.0.left.notify_all(&busy);
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A copy: what it is written to is the caller's code, and may be slow, or look here.
        let stored = self.0.stored.lock().clone();
        f.debug_struct("MemoryStore").field("stored", &stored).finish_non_exhaustive()
    }
}
