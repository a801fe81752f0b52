//! A storm of calls: many threads, one API, tokens that expire and are revoked all the time. Each call is answered once and
//! in order, and one thread refreshes while the others wait. Run it, and look at the picture.
//!
//! ```text
//! cargo run --release --example storm
//! cargo run --release --example storm -- --help
//! ```
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program, and that is how it talks")]

#[cfg(test)]
mod fault_tests;
mod interrupt;
mod login;
mod options;
mod picture;
mod record;
mod report;
mod server;
#[cfg(test)]
mod server_tests;
mod soak;
mod trace;
#[cfg(test)]
mod trace_tests;
mod workers;

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{Client, ErrorKind, Policy, Session};

use interrupt::Interrupt;
use options::{Mode, Options, Target};
use picture::Picture;
use record::Recorder;
use report::Report;
use server::Server;
use soak::Soak;
use trace::{Sample, Trace};
use workers::Workers;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("storm: {problem}");
            return ExitCode::from(2);
        }
    };
    match Interrupt::by_ctrl_c().and_then(|interrupt| run(&options, &interrupt)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("storm: {error}");
            // An unusable address is bad usage as well, though only the crate can tell.
            let invalid = error.downcast_ref::<ureq_auth::Error>().map(ureq_auth::Error::kind);
            ExitCode::from(if invalid == Some(ErrorKind::InvalidInput) { 2 } else { 1 })
        }
    }
}

/// True if all is well.
fn run(options: &Options, interrupt: &Interrupt) -> Result<bool, Box<dyn Error>> {
    let server = start_server(options)?;
    let mut soak = options.faults().map(Soak::new);
    // A soak may last for days: it has no picture.
    let recorder = Arc::new(Recorder::new(if soak.is_some() { 0 } else { options.threads }, options.trace.is_some()));
    let client = client(options, server.as_ref(), &recorder, soak.as_ref())?;
    let workers = Workers::start(options, &client, server.as_ref(), &recorder, interrupt)?;

    let Attended { revoked, samples, length } =
        attend(options, server.as_ref(), &workers, &recorder, interrupt, soak.as_mut())?;
    let results = workers.finish();

    let report = Report {
        threads: options.threads,
        seconds: recorder.now().as_secs_f64(),
        calls: results.calls,
        answered: results.answered,
        failed: results.failed,
        lost: results.lost,
        soak: soak.zip(server.as_ref()).map(|(soak, server)| soak.finish(server, client.session(), &results)),
        first_failure: results.first_failure,
        stats: client.session().stats(),
        server: server.as_ref().map(Server::counts),
    };
    let title = title(options, &report);
    if let Some(path) = &options.trace {
        let (title, revoked, end) = (title.clone(), revoked.clone(), recorder.now());
        let trace = Trace { title, lanes: recorder.lanes(), samples, revoked, end };
        let write = |file: File| {
            let mut file = BufWriter::new(file);
            trace.write(&mut file)?;
            file.flush()
        };
        File::create(path).and_then(write).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    show(options, &Picture { title, tracks: recorder.tracks(), length, revoked }, &report)
}

fn start_server(options: &Options) -> io::Result<Option<Server>> {
    let Target::Own { ttl, refresh_delay, faults, .. } = options.target else { return Ok(None) };
    let usual = server::Options::default();
    let server = server::Options {
        life: ttl,
        // The policy's default: the last fifth of a life, at most five minutes, and jitter only makes it shorter. Tokens that live
        // longer than 25 minutes may be refreshed earlier, which no storm lives to see.
        early: match options.mode {
            Mode::ReactiveOnly => Duration::ZERO,
            Mode::Both | Mode::ProactiveOnly => (ttl / 5).min(Duration::from_secs(300)),
        },
        refresh_delay,
        think: Duration::from_millis(1),
        // Some 401s shall come when the refresh is over. Where nobody acts on a 401, no call may be that slow.
        queue_every: if options.mode == Mode::ProactiveOnly { 0 } else { 101 },
        queue: refresh_delay + Duration::from_millis(30),
        // A busy machine makes one token request wait longer than the next, and the client counts from before it. A refresh
        // too many, of a token that has just come, looks early by far more. A soak may share its machine for long.
        travel: if faults.is_some() { ttl / 6 } else { usual.travel.max(ttl / 10) },
        faults,
        ..usual
    };
    Server::start(server).map(Some)
}

fn client(
    options: &Options,
    server: Option<&Server>,
    recorder: &Arc<Recorder>,
    soak: Option<&Soak>,
) -> Result<Client, Box<dyn Error>> {
    let (source, origin) = match (&options.target, server) {
        (Target::Real { token_url, api, client_id, client_secret, refresh_token }, _) => {
            let source = RefreshToken::new(token_url, client_id, refresh_token);
            let source = match client_secret {
                Some(secret) => source.client_secret(secret),
                None => source,
            };
            (source, origin(api).to_owned())
        }
        (Target::Own { .. }, Some(server)) => {
            (RefreshToken::new(server.token_url(), "storm", server.refresh_token()), server.api_url())
        }
        (Target::Own { .. }, None) => return Err("the server is not running".into()),
    };
    let policy = policy(options);
    let observer = Arc::clone(recorder);
    let session = match soak {
        None => Session::builder(source).policy(policy).observer(move |event| observer.observe(event)),
        Some(soak) => Session::builder(soak.source(source))
            .policy(Soak::policy(policy))
            .store(soak.store())
            .observer(soak.observer()),
    };
    let session = session.build()?;
    Ok(Client::new(session, &origin)?)
}

fn policy(options: &Options) -> Policy {
    let policy = match options.mode {
        Mode::Both => Policy::default(),
        Mode::ProactiveOnly => Policy::default().with_reactive(false),
        Mode::ReactiveOnly => Policy::default().with_proactive(false),
    };
    let Target::Own { ttl, revoke_every, .. } = options.target else { return policy };
    // The loop breaker takes an API that refuses more than a token a second for broken. This one may be set to do so.
    let per_second = |every: Duration| 1.0 / every.as_secs_f64().max(0.001);
    let ends = if options.mode == Mode::ReactiveOnly { per_second(ttl) } else { 0.0 };
    let refusals = 30.0 * (ends + revoke_every.map_or(0.0, per_second));
    if refusals <= 25.0 { policy } else { policy.with_refusals(refusals as u32 * 2, Duration::from_secs(30)) }
}

fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |scheme| scheme + 3);
    let length = url.get(start..).and_then(|rest| rest.find(['/', '?', '#']));
    length.and_then(|length| url.get(..start + length)).unwrap_or(url)
}

/// What happened while the threads were at work.
struct Attended {
    /// When the token in use was revoked.
    revoked: Vec<Duration>,
    samples: Vec<Sample>,
    /// Until when they were.
    length: Duration,
}

/// Revokes tokens and tells of the progress until the time is up, or somebody has interrupted it.
///
/// # Errors
///
/// In a soak, that a thread is stuck.
fn attend(
    options: &Options,
    server: Option<&Server>,
    workers: &Workers,
    recorder: &Recorder,
    interrupt: &Interrupt,
    mut soak: Option<&mut Soak>,
) -> Result<Attended, String> {
    let revoke_every = match options.target {
        Target::Own { revoke_every, .. } => revoke_every,
        Target::Real { .. } => None,
    };
    let in_place = io::stderr().is_terminal();
    let tell_every = Duration::from_millis(if in_place { 200 } else { 1000 });
    let (mut revoked, mut next_telling) = (Vec::new(), tell_every);
    let mut next_revocation = revoke_every;
    let mut samples: Vec<Sample> = Vec::new();
    while recorder.now() < options.seconds && !interrupt.has_come() {
        thread::sleep(Duration::from_millis(5));
        let now = recorder.now();
        // Ten times a second, for an hour at most.
        let is_due = samples.last().is_none_or(|last| now >= last.at + Duration::from_millis(100));
        if options.trace.is_some() && is_due && samples.len() < 36_000 {
            let ((calls, failed), stats) = (workers.so_far(), workers.client().session().stats());
            let (refreshes, waits) = (stats.refreshes, stats.joined_waits);
            samples.push(Sample { at: now, calls, failed, refreshes, waits });
        }
        // A token that has just come to its end is not worth revoking: then the next one, a moment later.
        if next_revocation.is_some_and(|at| now >= at) && server.is_some_and(Server::revoke) {
            revoked.push(now);
            next_revocation = revoke_every.map(|every| now + every);
        }
        if let (Some(soak), Some(server)) = (&mut soak, server) {
            soak.attend(now, server, workers.client().session(), workers)?;
        }
        if now >= next_telling {
            next_telling = now + tell_every;
            let (calls, failed) = workers.so_far();
            let refreshes = workers.client().session().stats().refreshes;
            let line = format!(
                "{:.1} of {:.1} s: {calls} calls, {failed} failed, {refreshes} refreshes",
                now.as_secs_f64(),
                options.seconds.as_secs_f64()
            );
            // Whoever has closed stderr does not want to know.
            let _ = match in_place {
                true => write!(io::stderr(), "\r{line}\x1b[K"),
                false => writeln!(io::stderr(), "{line}"),
            };
        }
    }
    if in_place {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    Ok(Attended { revoked, samples, length: recorder.now().min(options.seconds) })
}

fn title(options: &Options, report: &Report) -> String {
    let mode = match options.mode {
        Mode::Both => "",
        Mode::ProactiveOnly => ", proactive only",
        Mode::ReactiveOnly => ", reactive only",
    };
    let tokens = match options.target {
        Target::Own { ttl, revoke_every: None, .. } => format!("a token lives {} s", ttl.as_secs_f64()),
        Target::Own { ttl, revoke_every: Some(every), .. } => {
            format!("a token lives {} s, and one is revoked every {} s", ttl.as_secs_f64(), every.as_secs_f64())
        }
        Target::Real { .. } => "a server of yours".to_owned(),
    };
    let (threads, calls, refreshes) = (options.threads, report.calls, report.refreshes());
    format!("{threads} threads, {calls} calls, {refreshes} refreshes{mode} ({tokens})")
}

fn show(options: &Options, picture: &Picture, report: &Report) -> Result<bool, Box<dyn Error>> {
    if options.json {
        println!("{}", report.json());
    } else if let Some(soak) = &report.soak {
        println!("{}\n{:#}", report.table(), soak.json(report));
    } else {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let width = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(80);
        println!("{}\n{}", picture.text(width, colour), report.table());
    }
    if let Some(file) = &options.svg {
        std::fs::write(file, picture.svg()?).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    let faults = report.faults();
    for fault in &faults {
        eprintln!("storm: {fault}");
    }
    Ok(faults.is_empty())
}
