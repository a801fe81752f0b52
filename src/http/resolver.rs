//! Where the crate's agents look names up: on the calling thread, unless the user has asked for a time-out of look-ups.
//!
//! ureq's own resolver starts a thread as soon as there is any time-out, which a token request always has, even for an address
//! that needs no look-up, and panics where no thread may be started. A caller that waits for the system's resolver longer
//! than its time-out is the lesser evil: that wait has an end of its own (`docs/costs.md`), and most devices never see it.

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::vec::IntoIter;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

use crate::sync::{Condvar, Mutex};
use crate::{Clock, SystemClock};

/// The system's resolver, by way of std.
#[derive(Debug)]
pub(crate) struct OnCallingThread;

impl Resolver for OnCallingThread {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let place = uri.scheme().zip(uri.authority());
        // Scheme and host were looked at before, and a proxy's too.
        let place = place.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let Some(place) = place else { return Err(Error::HostNotFound) };
        let look_up = |place: &str| place.to_socket_addrs();
        let start = |work| thread::Builder::new().spawn(work).map(drop);
        let start = config.timeouts().resolve.map(|_| start);
        let found = find(*timeout.after, &place, look_up, start, &SystemClock)?;
        let mut addresses = self.empty();
        for address in config.ip_family().keep_wanted(found) {
            // As many as there is room for, as ureq has it.
            if addresses.try_push(address).is_err() {
                break;
            }
        }
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
}

type Found = IntoIter<SocketAddr>;
type Work = Box<dyn FnOnce() + Send>;

/// A look-up on another thread. A channel of std's would do, and is 13 KB of a small binary.
struct Reply {
    state: Mutex<LookUp>,
    over: Condvar,
}

struct LookUp {
    found: Option<io::Result<Found>>,
    is_over: bool,
}

/// The other thread's end, which tells however that one ends.
struct Ask(Arc<Reply>);

impl Drop for Ask {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_over = true;
        self.0.over.notify_all(&state);
    }
}

/// Tells more than that a request's whole time is over, as ureq would say: nothing was sent, so no refresh token is spent.
const TOO_LATE: Error = Error::Timeout(Timeout::Resolve);

/// On this thread, unless `place` is a name and there is a way to `start` one that the caller can leave behind.
fn find(
    timeout: Duration,
    place: &str,
    look_up: impl FnOnce(&str) -> io::Result<Found> + Copy + Send + 'static,
    start: Option<impl FnOnce(Work) -> io::Result<()>>,
    clock: &impl Clock,
) -> Result<Found, Error> {
    if let Some(start) = start.filter(|_| place.parse::<SocketAddr>().is_err()) {
        let reply = Arc::new(Reply { state: Mutex::new(LookUp { found: None, is_over: false }), over: Condvar::new() });
        let (ask, name) = (Ask(Arc::clone(&reply)), place.to_owned());
        // Perhaps nobody waits for it any more.
        let work = move || {
            let found = look_up(&name);
            ask.0.state.lock().found = Some(found);
        };
        if start(Box::new(work)).is_ok() {
            let mut state = reply.state.lock();
            if !state.is_over {
                reply.over.wait(&mut state, Some(timeout));
            }
            return match (state.found.take(), state.is_over) {
                (Some(found), _) => Ok(found?),
                (None, false) => Err(TOO_LATE),
                // The thread has ended without a word, as with a panic in a look-up that is not std's.
                (None, true) => Err(Error::HostNotFound),
            };
        }
        // No thread to be had: then the system's own time-outs have to do, as they have for everybody else.
    }
    let began = clock.now();
    let found = look_up(place)?;
    // It could not be cut short.
    if clock.now().since(began) > timeout { Err(TOO_LATE) } else { Ok(found) }
}
