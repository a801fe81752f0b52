//! A command-line program that logs its user in, as you would ship it: copy it, and change [`OWN`].
//!
//! ```sh
//! login login [--device]   # by the browser in front of you; or by a code, for a machine without one
//! login whoami             # who the API says that you are
//! login call URL           # any address of the API
//! login logout             # here and at the server
//! ```
//!
//! The token is in a file that only its user can read. Two of these programs at once share one refresh: whichever comes second
//! takes what the first one has stored. Ctrl-C ends it at any time: nothing is stored before a login is complete.
//!
//! It ends with 0, with 2 if the arguments are wrong, with 3 if the user has to log in, and with 1 after any other error.
//! Without arguments it shows all this on a server of its own.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod loopback;

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

use ureq_auth::oauth2::Issuer;
use ureq_auth::{Client, Error, FileStore, Session};

type Failure = Box<dyn std::error::Error>;

/// What is the program's own. Change it.
const OWN: Settings<'static> = Settings {
    name: "login-example",
    issuer: "https://id.example.com",
    client_id: "login-example",
    // Most servers need offline_access to issue a refresh token; without one the user logs in again and again.
    scope: "openid offline_access",
    api: "https://api.example.com",
    whoami: "/me",
};

const USAGE: &str = "\
usage: login login [--device]   log in by the browser, or by a code that is typed in elsewhere
       login whoami             show who the API says that you are
       login call URL           show what the API has at that address
       login logout             log out, here and at the server";

/// The arguments.
enum Wish<'a> {
    Help,
    LogIn { by_device: bool },
    WhoAmI,
    Call(&'a str),
    LogOut,
}

impl<'a> Wish<'a> {
    fn of(arguments: &[&'a str]) -> Option<Self> {
        Some(match arguments {
            ["help" | "--help" | "-h"] => Wish::Help,
            ["login"] => Wish::LogIn { by_device: false },
            ["login", "--device"] => Wish::LogIn { by_device: true },
            ["whoami"] => Wish::WhoAmI,
            ["call", url] => Wish::Call(url),
            ["logout"] => Wish::LogOut,
            _ => return None,
        })
    }
}

#[derive(Clone, Copy)]
struct Settings<'a> {
    /// Of the directory with the token file.
    name: &'a str,
    issuer: &'a str,
    client_id: &'a str,
    scope: &'a str,
    /// The token goes to this origin, and to no other.
    api: &'a str,
    whoami: &'a str,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = if arguments.is_empty() {
        demo()
    } else {
        let Some(wish) = Wish::of(&arguments) else {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        };
        state_directory(OWN.name).and_then(|directory| run(OWN, directory, &wish, open_browser))
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("login: {}", explained(&*error));
    ExitCode::from(if needs_login(&*error) { 3 } else { 1 })
}

fn needs_login(error: &(dyn std::error::Error + 'static)) -> bool {
    Error::find(error).is_some_and(Error::is_login_required)
}

/// What went wrong, why, and what the user can do about it. This crate's errors have no secret in their texts.
fn explained(error: &(dyn std::error::Error + 'static)) -> String {
    // A call has it inside an error of ureq's, which adds nothing.
    let error = Error::find(error).map_or(error, |found| found);
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    if needs_login(error) {
        text.push_str("\nTo log in: login login");
    }
    text
}

fn run(own: Settings<'_>, directory: PathBuf, wish: &Wish<'_>, open: Open) -> Result<(), Failure> {
    if let Wish::Help = wish {
        println!("{USAGE}");
        return Ok(());
    }
    // The server's addresses, asked for at each start: they change seldom, but they do.
    let issuer = Issuer::discover(own.issuer)?;
    let file = FileStore::new(directory.join("token.json"));
    let session = Session::builder(issuer.after_login(own.client_id)).store(file).build()?;
    match wish {
        Wish::Help => Ok(()),
        Wish::LogIn { by_device } => log_in(own, &issuer, &session, if *by_device { None } else { Some(open) }),
        Wish::WhoAmI => call(own, session, &format!("{}{}", own.api, own.whoami)),
        Wish::Call(url) => call(own, session, url),
        Wish::LogOut => log_out(own, &issuer, &session),
    }
}

type Open = fn(&str) -> io::Result<()>;

fn log_in(own: Settings<'_>, issuer: &Issuer, session: &Session, open: Option<Open>) -> Result<(), Failure> {
    // Not every server has it, and it is only needed where there is no browser.
    let by_device = || issuer.device_code(own.client_id)?.scope(own.scope).log_in(|prompt| println!("{prompt}"));
    let token = match open {
        None => by_device()?,
        Some(open) => {
            // Without a consent in person some servers ignore offline_access (OpenID Connect Core section 11).
            let login = issuer.browser_login(own.client_id)?.scope(own.scope).authorization_param("prompt", "consent");
            let open = |url: &str| {
                println!("Log in with your browser. If it does not open, open this address in it:\n{url}");
                open(url)
            };
            login.log_in_or(open, |_| by_device())?
        }
    };
    let is_lasting = token.refresh_secret().is_some();
    session.set(token)?;
    println!("Logged in.");
    if !is_lasting {
        eprintln!("The server gave no refresh token, so this login ends with its first token.");
    }
    Ok(())
}

fn log_out(own: Settings<'_>, issuer: &Issuer, session: &Session) -> Result<(), Failure> {
    // Whatever the server says, this machine has forgotten the token.
    match issuer.revocation(own.client_id) {
        Ok(revocation) => revocation.log_out(session).map_err(|error| format!("logged out here, but {error}"))?,
        // Not every server has that.
        Err(_) => drop(session.end()?),
    }
    println!("Logged out.");
    Ok(())
}

fn call(own: Settings<'_>, session: Session, url: &str) -> Result<(), Failure> {
    let client = Client::new(session, own.api)?;
    println!("{}", client.get(url).call()?.body_mut().read_to_string()?);
    Ok(())
}

/// The user's own browser. An error where it cannot be opened: then the login goes by a code.
fn open_browser(url: &str) -> io::Result<()> {
    let mut command = if cfg!(target_os = "macos") {
        Command::new("open")
    } else if cfg!(windows) {
        let mut command = Command::new("rundll32");
        command.arg("url.dll,FileProtocolHandler");
        command
    } else if env::var_os("DISPLAY").is_some() || env::var_os("WAYLAND_DISPLAY").is_some() {
        Command::new("xdg-open")
    } else {
        // Without a screen it would take a browser for terminals, or none.
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no screen"));
    };
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(drop)
}

/// A directory of the user's own, which nobody else can look into.
fn state_directory(name: &str) -> Result<PathBuf, Failure> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
    let directory = state.ok_or("neither XDG_STATE_HOME nor HOME is set")?.join(name);
    create_private(&directory)?;
    Ok(directory)
}

fn create_private(directory: &PathBuf) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

// From here on: a server and a user that agree to everything, so that this runs anywhere.

static ORIGIN: OnceLock<String> = OnceLock::new();
static REFRESHES: AtomicU32 = AtomicU32::new(0);

fn demo() -> Result<(), Failure> {
    let server = ORIGIN.get_or_init(|| loopback::serve(answer).unwrap_or_default());
    let own = Settings { issuer: server, api: server, ..OWN };
    let directory = env::temp_dir().join(format!("login-{}", std::process::id()));
    create_private(&directory)?;
    let act = |arguments: &[&str]| {
        println!("\n$ login {}", arguments.join(" "));
        let wish = Wish::of(arguments).ok_or(USAGE)?;
        run(own, directory.clone(), &wish, agree)
    };
    act(&["login"])?;
    act(&["whoami"])?;
    act(&["call", &format!("{server}/notes")])?;

    println!("\n$ login whoami & login whoami    # at once, and the token has expired");
    thread::sleep(std::time::Duration::from_secs(2));
    thread::scope(|scope| {
        let both = [(); 2].map(|()| {
            scope.spawn(|| run(own, directory.clone(), &Wish::WhoAmI, agree).map_err(|error| error.to_string()))
        });
        both.into_iter().try_for_each(|one| one.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    println!("refreshes: {}", REFRESHES.load(SeqCst));

    act(&["logout"])?;
    let error = act(&["whoami"]).err().ok_or("the server must not know this user any more")?;
    println!("login: {}", explained(&*error));
    act(&["login", "--device"])?;
    act(&["logout"])?;
    fs::remove_dir_all(directory)?;
    if REFRESHES.load(SeqCst) == 1 { Ok(()) } else { Err("one refresh should have served them both".into()) }
}

/// A browser whose user agrees at once: the server would send it back to where the address says.
fn agree(url: &str) -> io::Result<()> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap_or_default().to_owned();
    let redirect = value("redirect_uri=").replace("%3A", ":").replace("%2F", "/");
    let back = format!("{redirect}?code=agreed&state={}", value("state="));
    thread::spawn(move || ureq::get(back).call());
    Ok(())
}

/// The server: the token of a login lives for two seconds, and each one after it for an hour.
fn answer(path: &str, authorization: &str, body: &str) -> (u16, String) {
    let origin = ORIGIN.get().map_or("", String::as_str);
    match path {
        "/.well-known/oauth-authorization-server" => (
            200,
            format!(
                r#"{{"issuer":"{origin}","authorization_endpoint":"{origin}/authorize","token_endpoint":"{origin}/token",
                    "device_authorization_endpoint":"{origin}/device","revocation_endpoint":"{origin}/revoke"}}"#
            ),
        ),
        "/device" => (
            200,
            format!(
                r#"{{"device_code":"demo","user_code":"WDJB-MJHT","verification_uri":"{origin}/login","interval":1}}"#
            ),
        ),
        "/token" if body.contains("grant_type=refresh_token") => {
            REFRESHES.fetch_add(1, SeqCst);
            (200, r#"{"access_token":"token-2","refresh_token":"r-2","expires_in":3600}"#.into())
        }
        "/token" => (200, r#"{"access_token":"token-1","refresh_token":"r-1","expires_in":2}"#.into()),
        "/revoke" => (200, "{}".into()),
        "/me" if authorization.starts_with("Bearer token-") => (200, r#"{"name":"alice"}"#.into()),
        "/notes" if authorization.starts_with("Bearer token-") => (200, r#"["buy milk"]"#.into()),
        _ => (401, "{}".into()),
    }
}
