//! N processes as hosts, each with its own threads, and one token in the engine: how many token calls it takes, also where the
//! engine or a host fails while a token request is under way.

#[path = "fleet/host.rs"]
mod host;
#[path = "proxy.rs"]
mod proxy;
#[path = "fleet/server.rs"]
mod server;

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use proxy::Proxy;
use server::{Asked, Counts, Server};
use ureq_auth::TokenStore;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Opens the store of a login at an address of the engine's, with this margin.
type Open = fn(&str, &str, Duration) -> Result<Box<dyn TokenStore>, Failure>;

const HOST: &str = "UREQ_AUTH_FLEET_HOST";
const USAGE: &str = "usage: fleet_of_hosts [--hosts N] [--threads N] [--seconds N] [--life MILLISECONDS] \
                     [--budget SECONDS] [--margin SECONDS] \
                     [--restart | --kill | --cut SECONDS | --slow SECONDS | --stop SECONDS]";

/// The refresh token's login.
const LOGIN: &str = "fleet";

struct Options {
    hosts: u64,
    threads: u64,
    seconds: u64,
    /// Of a token, in milliseconds.
    life: u64,
    /// Of a refresh, and what a store keeps its claim for beyond that; in seconds.
    budget: u64,
    margin: u64,
    fault: Fault,
}

/// What happens while a token request is under way: the engine has been asked, and the save is to come.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Nothing,
    /// The engine is started again; and once more at another moment.
    Restart,
    /// The engine cannot be reached for so many seconds.
    Cut(u64),
    /// Each answer of the engine's takes two seconds, for so many.
    Slow(u64),
    /// The host dies, before the server has answered.
    Kill,
    /// The host is stopped for so many seconds.
    Stop(u64),
}

impl Options {
    /// How many hosts go on once the fault is over.
    fn survivors(&self) -> u64 {
        self.hosts - u64::from(self.fault == Fault::Kill)
    }
}

fn options() -> Result<Options, Failure> {
    let (mut arguments, nothing) = (std::env::args().skip(1), Fault::Nothing);
    let mut options = Options { hosts: 4, threads: 8, seconds: 60, life: 1000, budget: 10, margin: 30, fault: nothing };
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u64, Failure> { Ok(arguments.next().ok_or(USAGE)?.parse()?) };
        match argument.as_str() {
            "--hosts" => options.hosts = number()?,
            "--threads" => options.threads = number()?,
            "--seconds" => options.seconds = number()?,
            "--life" => options.life = number()?,
            "--budget" => options.budget = number()?,
            "--margin" => options.margin = number()?,
            "--restart" => options.fault = Fault::Restart,
            "--cut" => options.fault = Fault::Cut(number()?),
            "--slow" => options.fault = Fault::Slow(number()?),
            "--kill" => options.fault = Fault::Kill,
            "--stop" => options.fault = Fault::Stop(number()?),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

/// `engine` is the name that `stores/engine` knows it by; `open` opens the store of a login at this address.
pub(crate) fn main(engine: &str, open: Open) -> ExitCode {
    let done = match std::env::var(HOST) {
        Ok(told) => host::run(&told, open).map(|()| true),
        Err(_) => fleet(engine, open),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "fleet_of_hosts: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An engine as `stores/engine` knows it.
struct Engine<'a> {
    name: &'a str,
    address: &'a str,
    directory: &'a str,
}

impl Engine<'_> {
    fn does(&self, verb: &str) -> Result<(), Failure> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine");
        let port = self.address.rsplit(':').next().unwrap_or_default();
        let done = Command::new(script).args([self.name, verb, self.directory, port]).status()?;
        if done.success() { Ok(()) } else { Err(format!("the engine does not {verb}").into()) }
    }
}

fn fleet(engine: &str, open: Open) -> Result<bool, Failure> {
    let options = options()?;
    let variable = format!("UREQ_AUTH_{}", engine.to_uppercase());
    let told = std::env::var(&variable)
        .map_err(|_| format!("{variable} is not set: \"ADDRESS DIRECTORY\", see .ci/stores"))?;
    let (address, directory) = told.split_once(' ').ok_or("no directory of the engine's")?;
    let engine = Engine { name: engine, address, directory };
    open(address, LOGIN, Duration::ZERO)?.exclusive(Duration::from_secs(30))?.remove()?;
    let server = Server::start(Duration::from_millis(options.life))?;
    let proxy = Proxy::start(address)?;
    let mut hosts = Hosts::default();
    for _ in 0..options.hosts {
        let Options { threads, life, budget, margin, .. } = options;
        let told = format!("{} {} {threads} {life} {budget} {margin}", proxy.address, server.address);
        let mut host = Command::new(std::env::current_exe()?);
        hosts.0.push(host.env(HOST, told).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    }
    let begin = Instant::now();
    let third = Duration::from_secs(options.seconds / 3);
    let killed = match options.fault {
        Fault::Nothing => None,
        fault => {
            thread::sleep(third);
            let asked = server.next_refresh()?;
            let by = asked.host;
            befall(fault, asked, &engine, &proxy)?;
            server.is_over();
            if fault == Fault::Restart {
                thread::sleep(third);
                engine.does("stop")?;
                engine.does("start")?;
                server.is_over();
            }
            (fault == Fault::Kill).then_some(by)
        }
    };
    // On a busy machine a fault takes longer than it should: they end only when they have gone on.
    if options.fault != Fault::Nothing {
        server.wait_until_all_go_on(options.survivors());
    }
    thread::sleep(Duration::from_secs(options.seconds).saturating_sub(begin.elapsed()));
    let (failed, ended) = hosts.collect(killed);
    let counts = server.counts();
    std::io::stdout().write_all(table(&engine, &options, &counts, failed).as_bytes())?;
    Ok(ended && is_right(&options, &counts, engine.name, failed))
}

/// Their processes, which end with this: one that is stopped would stay for ever.
#[derive(Default)]
struct Hosts(Vec<Child>);

impl Hosts {
    /// Their own counts of failed calls, and whether all came to their end but the one that was killed.
    fn collect(&mut self, killed: Option<u32>) -> (u64, bool) {
        let (mut failed, mut ended) = (0, true);
        for host in &mut self.0 {
            drop(host.stdin.take());
        }
        for host in &mut self.0 {
            let is_killed = killed == Some(host.id());
            let mut said = String::new();
            let is_read = host.stdout.take().is_some_and(|mut output| output.read_to_string(&mut said).is_ok());
            let is_well = host.wait().is_ok_and(|status| status.success());
            let said = said.trim().parse::<u64>();
            ended &= is_killed || (is_read && is_well && said.is_ok());
            failed += said.unwrap_or(0);
        }
        (failed, ended)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in &mut self.0 {
            let _may_be_over = host.kill();
            let _may_be_over = host.wait();
        }
    }
}

/// The fault, from its begin to its end. The server goes on with the request once it has begun.
fn befall(fault: Fault, asked: Asked, engine: &Engine<'_>, proxy: &Proxy) -> Result<(), Failure> {
    let wait = |seconds| thread::sleep(Duration::from_secs(seconds));
    let signal = |name: &str| Command::new("kill").args([name, &asked.host.to_string()]).status().map(drop);
    match fault {
        Fault::Nothing => asked.go_on(true),
        Fault::Restart => {
            engine.does("stop")?;
            asked.go_on(true);
            engine.does("start")?;
        }
        Fault::Cut(seconds) | Fault::Slow(seconds) => {
            proxy.be(if matches!(fault, Fault::Cut(_)) { proxy::CUT } else { proxy::SLOW });
            asked.go_on(true);
            wait(seconds);
            proxy.be(proxy::OPEN);
        }
        Fault::Kill => {
            signal("-KILL")?;
            asked.go_on(false);
        }
        Fault::Stop(seconds) => {
            signal("-STOP")?;
            asked.go_on(true);
            wait(seconds);
            signal("-CONT")?;
        }
    }
    Ok(())
}

/// What one call to the engine may take: a lease lasts for that much longer. In seconds.
const CALL: u64 = 5;

/// Each token call was needed, and no refresh token was sent twice. There is one exception, and it is exact: a lease that ends
/// while its holder is stopped behind its own token request costs that one refresh token. PostgreSQL's row lock does not end.
fn is_right(options: &Options, counts: &Counts, engine: &str, failed: u64) -> bool {
    let outlasts_lease =
        matches!(options.fault, Fault::Stop(seconds) if seconds > options.budget + options.margin + CALL);
    let reused = u64::from(outlasts_lease && engine == "redis");
    // A token of a second has expired before an engine is back: then a call fails, and nothing is sent.
    let may_fail = options.fault != Fault::Nothing;
    counts.token_calls == counts.needed
        && counts.token_calls > 1
        && counts.reused == reused
        && (failed == 0 || may_fail)
        && (options.fault == Fault::Nothing || counts.went_on.len() as u64 >= options.survivors())
}

fn table(engine: &Engine<'_>, options: &Options, counts: &Counts, failed: u64) -> String {
    let Options { hosts, threads, seconds, life, .. } = options;
    let fault = match options.fault {
        Fault::Nothing => String::new(),
        Fault::Restart => ", the engine started again twice".to_owned(),
        Fault::Cut(seconds) => format!(", the engine out of reach for {seconds} s"),
        Fault::Slow(seconds) => format!(", 2 s an answer of the engine's for {seconds} s"),
        Fault::Kill => ", a host killed in its token request".to_owned(),
        Fault::Stop(seconds) => format!(", a host stopped for {seconds} s in its token request"),
    };
    let Counts { token_calls, needed, reused, served, refused, .. } = counts;
    let went_on = match counts.went_on.values().max() {
        Some(last) => {
            format!("{:8} ms from the fault's end until {} hosts go on\n", last.as_millis(), counts.went_on.len())
        }
        None => String::new(),
    };
    format!(
        "{}: {hosts} hosts x {threads} threads, tokens of {life} ms, {seconds} s{fault}\n{token_calls:8} token calls\n\
         {needed:8} expiries, the first token included\n{reused:8} refresh tokens used twice\n{served:8} calls served, {refused} \
         refused and repeated\n{failed:8} failed\n{went_on}",
        engine.name,
    )
}
