//! Tokens that outlive the process, and one token call for many processes: start this in five shells at once.
//!
//! `cargo run --example persistent --features file-store`, without arguments, starts five processes of itself that share a
//! token file and a server that is fussy: a refresh token that comes twice ends the login. `persistent TOKEN-FILE SERVER`
//! is one of them; the first line that the parent prints says what to type in further shells while it waits for Enter.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod loopback;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, io};

use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{Client, FileStore, Session};

type Failure = Box<dyn std::error::Error>;

static TOKEN_CALLS: AtomicU32 = AtomicU32::new(0);

fn main() -> Result<(), Failure> {
    match &env::args().skip(1).collect::<Vec<_>>()[..] {
        [file, server] => one_of_many(file, server),
        _ => parent(),
    }
}

/// What a program of yours does: name the file, and forget about it.
fn one_of_many(file: &str, server: &str) -> Result<(), Failure> {
    // The refresh token that came with the login serves until there is something in the file; from then on, the file does.
    let source = RefreshToken::new(format!("{server}/token"), "my-client", "from-the-login");
    let session = Session::builder(source).store(FileStore::new(file)).build()?;
    let client = Client::new(session, server)?;
    let me = client.get(format!("{server}/me")).call()?.body_mut().read_to_string()?;
    let stats = client.session().stats();
    let how = match (stats.refreshes, stats.adopted) {
        (0, 0) => "started with the token in the file",
        (0, _) => "waited, and took what another process had stored",
        _ => "made the token call",
    };
    println!("process {}: {me}, {how}", std::process::id());
    Ok(())
}

fn parent() -> Result<(), Failure> {
    let server = loopback::serve(|path, authorization, body| match path {
        "/token"
            if body.contains("refresh_token=from-the-login") && TOKEN_CALLS.fetch_add(1, Ordering::SeqCst) == 0 =>
        {
            (
                200,
                r#"{"access_token":"a1","token_type":"Bearer","refresh_token":"the-next-one","expires_in":3600}"#
                    .into(),
            )
        }
        "/token" => (400, r#"{"error":"invalid_grant"}"#.into()),
        _ if authorization == "Bearer a1" => (200, r#"{"name":"Ada"}"#.into()),
        _ => (401, "{}".into()),
    })?;
    let directory = env::temp_dir().join(format!("persistent-{}", std::process::id()));
    fs::create_dir(&directory)?;
    let file = directory.join("token.json");
    let program = env::current_exe()?;
    println!("{} {} {server}", program.display(), file.display());

    let five = || Command::new(&program).arg(&file).arg(&server).stdin(Stdio::null()).spawn();
    let children: Vec<_> = (0..5).map(|_| five()).collect::<Result<_, _>>()?;
    let mut all_well = true;
    for mut child in children {
        all_well &= child.wait()?.success();
    }
    let token_calls = TOKEN_CALLS.load(Ordering::SeqCst);
    println!("token calls: {token_calls}");
    if io::IsTerminal::is_terminal(&io::stdin()) {
        io::stdin().read_line(&mut String::new())?;
    }
    fs::remove_dir_all(directory)?;
    if all_well && token_calls == 1 { Ok(()) } else { Err("one token call should have served them all".into()) }
}
