//! N processes as hosts, each with its own threads, and one token in the engine: how many token calls it takes.
//!
//! The main process is the authorization server and the API, both over lines of text. A refresh token is good once. A token
//! call is *needed* if the token that it replaces had lived for at least half its life, or is the first.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq_auth::{Policy, Session, SourceError, Token, TokenStore};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Opens the store of a login at an address of the engine's.
type Open = fn(&str, &str) -> Result<Box<dyn TokenStore>, Failure>;

const HOST: &str = "UREQ_AUTH_FLEET_HOST";
const USAGE: &str = "usage: fleet_of_hosts [--hosts N] [--threads N] [--seconds N] [--life MILLISECONDS] [--restart]";

struct Options {
    hosts: usize,
    threads: usize,
    seconds: u64,
    life: u64,
    restart: bool,
}

fn options() -> Result<Options, Failure> {
    let mut options = Options { hosts: 4, threads: 8, seconds: 60, life: 1000, restart: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--restart" {
            options.restart = true;
            continue;
        }
        let value: u64 = arguments.next().ok_or(USAGE)?.parse()?;
        match argument.as_str() {
            "--hosts" => options.hosts = usize::try_from(value)?,
            "--threads" => options.threads = usize::try_from(value)?,
            "--seconds" => options.seconds = value,
            "--life" => options.life = value,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

/// `engine` is the name that `stores/engine` knows it by; `open` opens the store of a login at this address.
pub(crate) fn main(engine: &str, open: Open) -> ExitCode {
    let done = match std::env::var(HOST) {
        Ok(told) => host(&told, open).map(|()| true),
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

#[derive(Default)]
struct Counts {
    newest: u64,
    issued: Option<Instant>,
    token_calls: u64,
    needed: u64,
    reused: u64,
    served: u64,
    refused: u64,
}

fn serve(stream: TcpStream, counts: &Mutex<Counts>, life: Duration) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let mut stream = stream;
    while let Some(Ok(line)) = lines.next() {
        let (what, number) = line.split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let age = counts.issued.map(|issued| issued.elapsed());
        let answer = match what {
            "refresh" => {
                counts.token_calls += 1;
                counts.reused += u64::from(number != counts.newest);
                counts.needed += u64::from(age.is_none_or(|age| age >= life / 2));
                counts.newest += 1;
                counts.issued = Some(Instant::now());
                counts.newest
            }
            _ => {
                // The one before is taken while a call with it may be on its way.
                let is_good =
                    number + 1 >= counts.newest && (number < counts.newest || age.is_some_and(|age| age < life));
                counts.served += u64::from(is_good);
                counts.refused += u64::from(!is_good);
                u64::from(is_good)
            }
        };
        drop(counts);
        stream.write_all(format!("{answer}\n").as_bytes()).ok()?;
    }
    Some(())
}

fn fleet(engine: &str, open: Open) -> Result<bool, Failure> {
    let options = options()?;
    let variable = format!("UREQ_AUTH_{}", engine.to_uppercase());
    let told = std::env::var(&variable)
        .map_err(|_| format!("{variable} is not set: \"ADDRESS DIRECTORY\", see .ci/stores"))?;
    let (address, directory) = told.split_once(' ').ok_or("no directory of the engine's")?;
    open(address, "fleet")?.exclusive(Duration::from_secs(30))?.remove()?;
    let life = Duration::from_millis(options.life);
    let counts = Arc::new(Mutex::new(Counts::default()));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = listener.local_addr()?.to_string();
    let counted = Arc::clone(&counts);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let counts = Arc::clone(&counted);
            thread::spawn(move || serve(stream, &counts, life));
        }
    });
    let mut hosts = Vec::new();
    for _ in 0..options.hosts {
        let told = format!("{address} {server} {} {} {}", options.threads, options.seconds, options.life);
        hosts.push(Command::new(std::env::current_exe()?).env(HOST, told).stdout(Stdio::piped()).spawn()?);
    }
    if options.restart {
        thread::sleep(Duration::from_secs(options.seconds / 2));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine");
        let port = address.rsplit(':').next().unwrap_or_default();
        for verb in ["stop", "start"] {
            if !Command::new(script).args([engine, verb, directory, port]).status()?.success() {
                return Err(format!("the engine does not {verb}").into());
            }
        }
    }
    let (mut failed, mut ended) = (0, true);
    for host in hosts {
        let output = host.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout).trim().parse::<u64>();
        ended &= output.status.success() && said.is_ok();
        failed += said.unwrap_or(0);
    }
    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let Counts { token_calls, needed, reused, served, refused, .. } = *counts;
    let table = format!(
        "{engine}: {} hosts x {} threads, tokens of {life:?}, {} s{}\n{token_calls:8} token calls\n{needed:8} expiries, the \
         first token included\n{reused:8} refresh tokens used twice\n{served:8} calls served, {refused} refused and \
         repeated\n{failed:8} failed\n",
        options.hosts,
        options.threads,
        options.seconds,
        if options.restart { ", the engine started again in the middle" } else { "" },
    );
    std::io::stdout().write_all(table.as_bytes())?;
    // A token of a second has expired before an engine is back: then a call fails, and nothing is sent.
    let may_fail = options.restart;
    Ok(ended && token_calls == needed && token_calls > 1 && reused == 0 && (failed == 0 || may_fail))
}

/// One line, and the number that answers it.
fn ask(server: &str, line: String) -> Result<u64, std::io::Error> {
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    answer.trim().parse().map_err(|_| std::io::Error::other("no answer"))
}

fn number(token: Option<&str>) -> u64 {
    token.and_then(|token| token.get(1..)?.parse().ok()).unwrap_or(0)
}

/// One host: says how many calls have failed.
fn host(told: &str, open: Open) -> Result<(), Failure> {
    let [address, server, threads, seconds, life] = told.split(' ').collect::<Vec<_>>()[..] else {
        return Err(USAGE.into());
    };
    let (threads, seconds, life): (u64, u64, u64) = (threads.parse()?, seconds.parse()?, life.parse()?);
    let token_server = server.to_owned();
    let source = move |previous: Option<&Token>| -> Result<Token, SourceError> {
        let newest = ask(&token_server, format!("refresh {}\n", number(previous.and_then(Token::refresh_secret))))?;
        let token = Token::new(format!("a{newest}"))?.with_refresh_token(format!("r{newest}"));
        Ok(token.with_expires_in(Duration::from_millis(life)))
    };
    let policy = Policy::new()
        .with_budget(Duration::from_secs(10))
        .with_wait_timeout(Duration::from_secs(30))
        .with_patience(Duration::from_secs(30))
        .with_backoff(Duration::from_millis(100), Duration::from_millis(500));
    let session = Session::builder(source).store(open(address, "fleet")?).policy(policy).build()?;
    let (end, failed) = (Instant::now() + Duration::from_secs(seconds), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while Instant::now() < end {
                    if call(&session, server).is_err() {
                        failed.fetch_add(1, SeqCst);
                    }
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    writeln!(std::io::stdout(), "{}", failed.load(SeqCst))?;
    Ok(())
}

/// A call, and one repeat of it with a new token.
fn call(session: &Session, server: &str) -> Result<(), Failure> {
    let token = session.token().inspect_err(tell)?;
    if ask(server, format!("call {}\n", number(Some(token.secret()))))? == 1 {
        return Ok(());
    }
    let token = session.rejected(&token).inspect_err(tell)?;
    match ask(server, format!("call {}\n", number(Some(token.secret()))))? {
        1 => Ok(()),
        _ => Err("refused twice".into()),
    }
}

fn tell(error: &ureq_auth::Error) {
    let _ = writeln!(std::io::stderr(), "{error}");
}
