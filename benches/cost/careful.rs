//! What a good programmer writes by hand around a token endpoint: a mutex that is held while one thread refreshes, and a
//! look, under it, at whether the token that was refused is still the one in force.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) struct CarefulMutex<F> {
    state: Mutex<Option<State>>,
    fetch: F,
}

struct State {
    token: Arc<str>,
    due: Instant,
}

impl<E, F: Fn() -> Result<(String, Duration), E>> CarefulMutex<F> {
    pub(crate) fn new(fetch: F) -> Self {
        CarefulMutex { state: Mutex::new(None), fetch }
    }

    /// A token to use now; another than the one that was `refused`.
    pub(crate) fn token(&self, refused: Option<&str>) -> Result<Arc<str>, E> {
        let mut state = self.state.lock().unwrap();
        match &*state {
            Some(State { token, due }) if Instant::now() < *due && refused != Some(token) => Ok(Arc::clone(token)),
            _ => {
                let (token, lifetime) = (self.fetch)()?;
                // The same leeway as a session's.
                let due = Instant::now() + lifetime - (lifetime / 20).min(Duration::from_secs(10));
                let token = Arc::from(token);
                *state = Some(State { token: Arc::clone(&token), due });
                Ok(token)
            }
        }
    }
}
