//! One host: a process with one session and its threads.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use ureq_auth::{Policy, Session, SourceError, Token};

use super::server::since_1970;
use super::{Failure, LOGIN, Open, USAGE};

/// Calls until its input is closed, and says how many have failed.
pub(super) fn run(told: &str, open: Open) -> Result<(), Failure> {
    let [engine, server, ref numbers @ ..] = told.split(' ').collect::<Vec<_>>()[..] else { return Err(USAGE.into()) };
    let numbers: Vec<u64> = numbers.iter().map(|number| number.parse()).collect::<Result<_, _>>()?;
    let [threads, life, budget, margin] = numbers[..] else { return Err(USAGE.into()) };
    let token_server = server.to_owned();
    let source = move |previous: Option<&Token>| -> Result<Token, SourceError> {
        let sent = since_1970().as_millis();
        let used = number(previous.and_then(Token::refresh_secret));
        let newest = ask(&token_server, &format!("refresh {used} {} {sent}\n", std::process::id()))?;
        let token = Token::new(format!("a{newest}"))?.with_refresh_token(format!("r{newest}"));
        Ok(token.with_expires_in(Duration::from_millis(life)))
    };
    let policy = Policy::new()
        .with_budget(Duration::from_secs(budget))
        .with_wait_timeout(Duration::from_secs(30))
        .with_patience(Duration::from_secs(30))
        .with_backoff(Duration::from_millis(100), Duration::from_millis(500));
    let store = open(engine, LOGIN, Duration::from_secs(margin))?;
    let session = Session::builder(source).store(store).policy(policy).build()?;
    let (is_over, failed) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _nothing_is_said = std::io::stdin().read_to_end(&mut Vec::new());
            is_over.store(true, SeqCst);
        });
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
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
    let with = |token: &Token| {
        let sent = since_1970().as_millis();
        ask(server, &format!("call {} {} {sent}\n", number(Some(token.secret())), std::process::id()))
    };
    let token = session.token().inspect_err(tell)?;
    if with(&token)? == 1 {
        return Ok(());
    }
    match with(&*session.rejected(&token).inspect_err(tell)?)? {
        1 => Ok(()),
        _ => Err("refused twice".into()),
    }
}

/// One line, and the number that answers it.
fn ask(server: &str, line: &str) -> Result<u64, std::io::Error> {
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    answer.trim().parse().map_err(|_| std::io::Error::other("no answer"))
}

fn number(token: Option<&str>) -> u64 {
    token.and_then(|token| token.get(1..)?.parse().ok()).unwrap_or(0)
}

fn tell(error: &ureq_auth::Error) {
    let _ = writeln!(std::io::stderr(), "{error}");
}
