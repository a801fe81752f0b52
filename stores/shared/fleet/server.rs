//! The authorization server and the API, both over lines of text. A refresh token is good once.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::Failure;

/// Longer than anything takes that is to happen at all.
const LONG: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: String,
    state: Arc<Mutex<State>>,
    went_on: Arc<Condvar>,
    life: Duration,
}

#[derive(Default)]
struct State {
    counts: Counts,
    newest: u64,
    /// When each token was made, and when the request for the newest one was sent: since 1970.
    issued: BTreeMap<u64, Duration>,
    sent: Option<Duration>,
    /// Who wants to know of the next token request.
    wanted: Option<Sender<Asked>>,
    fault_ended: Option<Instant>,
}

#[derive(Clone, Default)]
pub(super) struct Counts {
    pub(super) token_calls: u64,
    /// Token calls that were sent when the token that they replace was at least half its life old, by its holder's clock: its
    /// life counts from when the request for it was sent, however long that was under way. And the first one.
    pub(super) needed: u64,
    pub(super) reused: u64,
    pub(super) served: u64,
    pub(super) refused: u64,
    /// When each host had its first call served after the last fault's end.
    pub(super) went_on: BTreeMap<u32, Duration>,
}

/// A token request that waits for what is to happen.
pub(super) struct Asked {
    /// Its process.
    pub(super) host: u32,
    reply: Sender<bool>,
}

impl Asked {
    /// False: the request is lost before the server has read it.
    pub(super) fn go_on(&self, is_read: bool) {
        let _is_waited_for = self.reply.send(is_read);
    }
}

impl Server {
    pub(super) fn start(life: Duration) -> Result<Server, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = Server {
            address: listener.local_addr()?.to_string(),
            state: Arc::default(),
            went_on: Arc::default(),
            life,
        };
        let shared = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = shared.clone();
                thread::spawn(move || server.serve(stream));
            }
        });
        Ok(server)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// Waits for the next token request, which waits in turn.
    pub(super) fn next_refresh(&self) -> Result<Asked, Failure> {
        let (wanted, asked) = mpsc::channel();
        self.state().wanted = Some(wanted);
        Ok(asked.recv_timeout(LONG)?)
    }

    /// The fault has ended.
    pub(super) fn is_over(&self) {
        let mut state = self.state();
        state.counts.went_on.clear();
        state.fault_ended = Some(Instant::now());
    }

    /// So many hosts, or it takes too long.
    pub(super) fn wait_until_all_go_on(&self, hosts: u64) {
        let is_short = |state: &mut State| (state.counts.went_on.len() as u64) < hosts;
        drop(self.went_on.wait_timeout_while(self.state(), LONG, is_short));
    }

    /// One line, and a number as its answer.
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut line = String::new();
        BufReader::new(stream.try_clone().ok()?).read_line(&mut line).ok()?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match *words.as_slice() {
            ["refresh", number, host, sent] => {
                self.refresh(number.parse().ok()?, host.parse().ok()?, Duration::from_millis(sent.parse().ok()?))?
            }
            ["call", number, host, sent] => u64::from(self.call(
                number.parse().ok()?,
                host.parse().ok()?,
                Duration::from_millis(sent.parse().ok()?),
            )),
            _ => return None,
        };
        let mut stream = stream;
        stream.write_all(format!("{answer}\n").as_bytes()).ok()
    }

    fn refresh(&self, number: u64, host: u32, sent: Duration) -> Option<u64> {
        let wanted = self.state().wanted.take();
        if let Some(wanted) = wanted {
            let (reply, go_on) = mpsc::channel();
            wanted.send(Asked { host, reply }).ok()?;
            if !go_on.recv_timeout(LONG).ok()? {
                return None;
            }
        }
        let mut state = self.state();
        let age = state.sent.map(|before| sent.saturating_sub(before));
        let (is_reused, is_needed) = (number != state.newest, age.is_none_or(|age| age >= self.life / 2));
        if is_reused || !is_needed {
            let newest = state.newest;
            let told = format!(
                "host {host} sends refresh token {number} of {newest}, {age:?} after the newest was asked for\n"
            );
            let _may_be_closed = std::io::stderr().write_all(told.as_bytes());
        }
        state.counts.token_calls += 1;
        state.counts.reused += u64::from(is_reused);
        state.counts.needed += u64::from(is_needed);
        state.newest += 1;
        let newest = state.newest;
        state.issued.insert(newest, since_1970());
        state.sent = Some(sent);
        Some(newest)
    }

    /// A token is good for what is sent while it lives, however long that is under way on a busy machine.
    fn call(&self, number: u64, host: u32, sent: Duration) -> bool {
        let mut state = self.state();
        let is_good = state.issued.get(&number).is_some_and(|issued| sent < *issued + self.life);
        state.counts.served += u64::from(is_good);
        state.counts.refused += u64::from(!is_good);
        if let (true, Some(ended)) = (is_good, state.fault_ended) {
            state.counts.went_on.entry(host).or_insert_with(|| ended.elapsed());
            self.went_on.notify_all();
        }
        is_good
    }
}

pub(super) fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
