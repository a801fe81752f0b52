//! The command line.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub(crate) const HELP: &str = "\
Many threads call an API while its tokens expire and are revoked. Shows that each call is answered once and
in order, and that one thread refreshes while the others wait.

Usage: storm [OPTIONS]

  --threads N            threads that call (32)
  --seconds S            for how long (10)
  --pause-ms MS          each thread's pause between two calls (3)
  --proactive-only       refresh before a token's end only: a 401 goes to the caller, so nothing is revoked
                         unless --revoke-every is given
  --reactive-only        refresh after a 401 only
  --svg FILE             write the picture to FILE
  --trace FILE           write each call, wait, refresh and replay to FILE, for ui.perfetto.dev or chrome://tracing
  --json                 print one JSON object instead of the picture and the table
  --help                 print this

The server that comes with it, on loopback:
  --ttl S                life of an access token (1)
  --refresh-delay-ms MS  how long a refresh takes (50)
  --revoke-every S       how often the token in use is revoked, 0 for never (1.5). A call that meets two
                         revoked tokens, one after the other, gets a 401: it is sent again once.
  --faults SEED          a soak: the server also does everything wrong, at random by this seed. It cuts, holds back
                         and halves its answers, sends garbage, refuses what is good. Whoever is told of an error
                         calls again. No picture. On Linux, from two minutes on, memory must stay level as well.

A server of yours instead, which gets GETs only:
  --token-url URL        its token endpoint
  --api URL              what to call
  --client-id ID         who asks
  --client-secret S      and the secret, unless the client is a public one
  --refresh-token T      where to begin. Many servers accept it only once, and the next one is not kept.

Ctrl-C ends it early, with its report; the second Ctrl-C ends it at once.
Exit status: 0 all well; 1 a call was lost, doubled, out of order or failed (in a soak: failed without a fault),
or a refresh was one too many; 2 bad usage.
";

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) threads: usize,
    pub(crate) seconds: Duration,
    pub(crate) pause: Duration,
    pub(crate) mode: Mode,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) trace: Option<PathBuf>,
    pub(crate) json: bool,
    pub(crate) target: Target,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Both,
    ProactiveOnly,
    ReactiveOnly,
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// The server that comes with this example.
    Own { ttl: Duration, refresh_delay: Duration, revoke_every: Option<Duration>, faults: Option<u64> },
    /// One of the user's.
    Real { token_url: String, api: String, client_id: String, client_secret: Option<String>, refresh_token: String },
}

impl Options {
    /// The seed of a soak.
    pub(crate) fn faults(&self) -> Option<u64> {
        match self.target {
            Target::Own { faults, .. } => faults,
            Target::Real { .. } => None,
        }
    }

    /// Reads the command line; `None` if help is asked for.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for the user to read.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
        let given = Given::read(arguments)?;
        if given.has("--help") {
            return Ok(None);
        }
        let mode = match (given.has("--proactive-only"), given.has("--reactive-only")) {
            (false, false) => Mode::Both,
            (true, false) => Mode::ProactiveOnly,
            (false, true) => Mode::ReactiveOnly,
            (true, true) => return Err("--proactive-only and --reactive-only exclude each other".to_owned()),
        };
        if given.has("--faults") && (mode != Mode::Both || given.has("--svg") || given.has("--trace")) {
            return Err("--faults goes with none of --proactive-only, --reactive-only, --svg and --trace".to_owned());
        }
        Ok(Some(Options {
            threads: given.number("--threads", 32, 1..=1000)?,
            seconds: given.seconds("--seconds", 10.0, 0.1..=86_400.0)?,
            pause: given.milliseconds("--pause-ms", 3.0)?,
            mode,
            svg: given.value("--svg").map(PathBuf::from),
            trace: given.value("--trace").map(PathBuf::from),
            json: given.has("--json"),
            target: if given.any(REAL) { given.real()? } else { given.own(mode)? },
        }))
    }
}

const FLAGS: &[&str] = &["--proactive-only", "--reactive-only", "--json", "--help"];
const VALUES: &[&str] = &["--threads", "--seconds", "--pause-ms", "--svg", "--trace"];
const OWN: &[&str] = &["--ttl", "--refresh-delay-ms", "--revoke-every", "--faults"];
const REAL: &[&str] = &["--token-url", "--api", "--client-id", "--client-secret", "--refresh-token"];

/// The options as they were given, each name known to be one.
struct Given(Vec<(String, String)>);

impl Given {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut given = Given(Vec::new());
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None if argument == "-h" => ("--help".to_owned(), None),
                None => (argument, None),
            };
            let takes_value = [VALUES, OWN, REAL].concat().contains(&name.as_str());
            let value = match value {
                Some(_) if FLAGS.contains(&name.as_str()) => return Err(format!("{name} takes no value")),
                None if takes_value => arguments.next().ok_or(format!("{name} needs a value"))?,
                value if takes_value || FLAGS.contains(&name.as_str()) => value.unwrap_or_default(),
                _ => return Err(format!("unknown option {name}; --help lists those there are")),
            };
            if given.has(&name) {
                return Err(format!("{name} is given twice"));
            }
            given.0.push((name, value));
        }
        Ok(given)
    }

    fn own(&self, mode: Mode) -> Result<Target, String> {
        // A revoked token would fail the calls that carry it: that is what was asked for, but not by default.
        let revoke_every = if mode == Mode::ProactiveOnly { 0.0 } else { 1.5 };
        let revoke_every = self.seconds("--revoke-every", revoke_every, 0.0..=86_400.0)?;
        Ok(Target::Own {
            ttl: self.seconds("--ttl", 1.0, 0.1..=86_400.0)?,
            refresh_delay: self.milliseconds("--refresh-delay-ms", 50.0)?,
            revoke_every: Some(revoke_every).filter(|every| !every.is_zero()),
            faults: self.has("--faults").then(|| self.number("--faults", 0, 0..=u64::MAX)).transpose()?,
        })
    }

    fn real(&self) -> Result<Target, String> {
        if let Some(name) = OWN.iter().find(|name| self.has(name)) {
            return Err(format!("{name} sets up the server that comes with storm: leave it out for one of yours"));
        }
        let needed = |name: &str| {
            let value = self.value(name).filter(|value| !value.is_empty());
            value.map(str::to_owned).ok_or(format!(
                "{name} is missing: a server of yours needs --token-url, --api, --client-id and --refresh-token"
            ))
        };
        Ok(Target::Real {
            token_url: needed("--token-url")?,
            api: needed("--api")?,
            client_id: needed("--client-id")?,
            client_secret: self.value("--client-secret").map(str::to_owned),
            refresh_token: needed("--refresh-token")?,
        })
    }

    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    fn number<T>(&self, name: &str, default: T, range: std::ops::RangeInclusive<T>) -> Result<T, String>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(value) = self.value(name) else { return Ok(default) };
        let wrong = || format!("{name} must be a number from {} to {}, not {value:?}", range.start(), range.end());
        value.parse().ok().filter(|number| range.contains(number)).ok_or_else(wrong)
    }

    fn seconds(&self, name: &str, default: f64, range: std::ops::RangeInclusive<f64>) -> Result<Duration, String> {
        self.number(name, default, range).map(Duration::from_secs_f64)
    }

    fn milliseconds(&self, name: &str, default: f64) -> Result<Duration, String> {
        self.number(name, default, 0.0..=60_000.0).map(|ms| Duration::from_secs_f64(ms / 1000.0))
    }
}
