//! Holders of the section in processes of their own, which die, are stopped, and wake too late.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use super::bench::{Bench, Case, LONG, SHORT, Stop, begin, check, done, failed, is_same, number_of, stored};
use crate::{Error, Exclusive, Result, TokenStore};

pub(super) const ALL: &[(&str, Case)] = &[
    ("a holder that dies leaves no lock and nothing torn", dead),
    ("a holder that is stopped keeps the section, or loses it for good", stopped),
];

/// The number of what a holder saves.
const LATE: usize = 77;

/// What a holder says begins with this: whatever starts it may write to the same pipe.
const MARK: &str = "store-kit: ";

/// The other process's part: enters the section and does there what the kit says on standard input, until that ends.
///
/// # Errors
///
/// What the store says when it is entered; [`ErrorKind::Store`](crate::ErrorKind::Store) if standard input or output fails.
pub fn hold(store: &dyn TokenStore) -> Result<()> {
    let mut inside = store.exclusive(LONG)?;
    say("inside")?;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| Error::store(format!("standard input: {error}")))?;
        let done = match line.as_str() {
            "look" => {
                say(&format!("reads {:?}", look(store, &mut *inside)?))?;
                continue;
            }
            "prepare" => inside.prepare(),
            "hold" => inside.hold_for(Duration::ZERO),
            "save" => {
                stored(LATE, 0).map_err(|_| Error::store("the kit's own text")).and_then(|late| inside.save(&late))
            }
            _ => break,
        };
        say(if done.is_ok() { "done" } else { "refused" })?;
    }
    drop(inside);
    say("left")
}

/// The number of the token there, read in each way; and what else an innocent program does.
fn look(store: &dyn TokenStore, inside: &mut dyn Exclusive) -> Result<Vec<usize>> {
    drop(store.exclusive(Duration::ZERO));
    Ok(vec![number_of(store.load()?.as_ref()), number_of(inside.load()?.as_ref())])
}

fn say(what: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    // In one piece, and past what a test harness captures.
    let said = out.write_all(format!("\n{MARK}{what}\n").as_bytes()).and_then(|()| out.flush());
    said.map_err(|error| Error::store(format!("standard output: {error}")))
}

struct Holder {
    child: Child,
    lines: Receiver<String>,
}

impl Holder {
    fn start(mut command: Command) -> Result<Self, Stop> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.or_else(|error| failed(format!("the holder's process does not start: {error}")))?;
        let (said, lines) = mpsc::channel();
        let Some(output) = child.stdout.take() else { return failed("the holder's process has no output") };
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(io::Result::ok) {
                if let Some(line) = line.strip_prefix(MARK) {
                    let _nobody_listens = said.send(line.to_owned());
                }
            }
        });
        let holder = Holder { child, lines };
        match holder.hears()?.as_str() {
            "inside" => Ok(holder),
            other => failed(format!("the holder says {other}")),
        }
    }

    fn hears(&self) -> Result<String, Stop> {
        self.lines.recv_timeout(LONG).or_else(|_| failed("the holder's process says nothing more"))
    }

    fn tell(&mut self, what: &str) -> Result<String, Stop> {
        let told = self.child.stdin.as_mut().map(|input| writeln!(input, "{what}"));
        check(matches!(told, Some(Ok(()))), "the holder's process is gone")?;
        self.hears()
    }

    /// By the program of that name: there is no other way without unsafe code. False: this machine has no such program.
    fn signal(&self, signal: &str) -> bool {
        Command::new("kill").args([signal, &self.child.id().to_string()]).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _may_be_gone = self.child.kill();
        let _may_be_gone = self.child.wait();
    }
}

const NO_HOLDER: Stop = Stop::NotTried("process that holds the section (Bench::holder)");

fn dead(bench: &dyn Bench) -> Result<(), Stop> {
    let [before, after] = [stored(1, 0)?, stored(2, 0)?];
    let store = begin(bench, Some(&before))?;
    let Some(command) = bench.holder() else { return Err(NO_HOLDER) };
    let mut holder = Holder::start(command)?;
    check(store.exclusive(SHORT).is_err(), "two processes are in the exclusive section at once")?;
    check(holder.tell("look")? == "reads [1, 1]", "another process does not read what was saved")?;
    check(store.exclusive(SHORT).is_err(), "a process that only looks lets another into its section")?;
    check(holder.tell("prepare")? == "done", "another process cannot prepare a save")?;
    drop(holder);
    let mut inside = enter_after(bench, &*store)?;
    check(is_same(inside.load()?.as_ref(), &before), "a dead process has torn what is stored")?;
    inside.prepare()?;
    inside.save(&after)?;
    drop(inside);
    check(is_same(store.load()?.as_ref(), &after), "what was saved after that is not there")?;
    let Some(command) = bench.holder() else { return Err(NO_HOLDER) };
    let mut holder = Holder::start(command)?;
    check(holder.tell("save")? == "done", "another process cannot save")?;
    drop(holder);
    let mut inside = enter_after(bench, &*store)?;
    check(is_same(inside.load()?.as_ref(), &stored(LATE, 0)?), "what a process has saved is lost with it")
}

fn enter_after<'a>(bench: &dyn Bench, store: &'a dyn TokenStore) -> Result<Box<dyn Exclusive + 'a>, Stop> {
    done(store.exclusive(LONG + bench.lease().unwrap_or_default()), "the lock of a dead process stays")
}

fn stopped(bench: &dyn Bench) -> Result<(), Stop> {
    let [before, newer] = [stored(1, 0)?, stored(2, 0)?];
    let store = begin(bench, Some(&before))?;
    let Some(command) = bench.holder() else { return Err(NO_HOLDER) };
    let mut holder = Holder::start(command)?;
    check(holder.tell("hold")? == "done", "a section that nobody has taken does not stand")?;
    if !holder.signal("-STOP") {
        return Err(Stop::NotTried("signals, by the program kill"));
    }
    let Some(lease) = bench.lease() else {
        let entered = store.exclusive(SHORT).is_ok();
        let woken = holder.signal("-CONT");
        check(!entered, "a process that is stopped loses the section, and Bench::lease does not say so")?;
        check(woken && holder.tell("save")? == "done", "a process that was stopped cannot save any more")?;
        check(holder.tell("leave")? == "left", "the holder does not leave")?;
        let mut inside = store.exclusive(LONG)?;
        return check(is_same(inside.load()?.as_ref(), &stored(LATE, 0)?), "what it has saved is not there");
    };
    let mut inside = match store.exclusive(LONG + lease) {
        Ok(inside) => inside,
        Err(error) => return failed(format!("the lease of a stopped process does not end: {error}")),
    };
    inside.save(&newer)?;
    check(holder.signal("-CONT"), "the holder cannot be woken")?;
    check(holder.tell("hold")? == "refused", "a lost section is said to stand")?;
    check(holder.tell("save")? == "refused", "a process that was stopped saves over its successor's token")?;
    check(is_same(inside.load()?.as_ref(), &newer), "a process that was stopped has changed what is stored")?;
    check(holder.tell("leave")? == "left", "the holder does not leave")?;
    check(bench.open().exclusive(Duration::ZERO).is_err(), "the end of a lost section ends the next one")
}
