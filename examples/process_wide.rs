//! One client for the whole process: set once in `main`, used from any thread and any module without handing it around.
//!
//! `cargo run --example process_wide`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod loopback;

use std::thread;

use ureq_auth::{Client, Session, oauth2::ClientCredentials};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    // A program of yours has an https address here; plain http is only allowed to loopback.
    let server = loopback::serve(|path, authorization, _| match (path, authorization) {
        ("/token", _) => (200, r#"{"access_token":"issued","token_type":"Bearer","expires_in":300}"#.into()),
        (path, "Bearer issued") => (200, format!(r#"{{"path":"{path}"}}"#)),
        _ => (401, "{}".into()),
    })?;

    let source = ClientCredentials::new(format!("{server}/token"), "my-service", "its secret");
    ureq_auth::init(Client::new(Session::new(source)?, &server)?)?;

    let workers: Vec<_> = ["Oslo", "Lima", "Pune", "Nice"]
        .map(|city| format!("{server}/{city}"))
        .map(|url| thread::spawn(move || weather::at(&url)))
        .into();
    for worker in workers {
        println!("{}", worker.join().map_err(|_| "a worker panicked")??);
    }
    println!("token calls: {}", ureq_auth::client()?.session().stats().refreshes);
    Ok(())
}

/// A module that knows nothing of tokens.
mod weather {
    use super::Failure;

    pub(crate) fn at(url: &str) -> Result<String, Failure> {
        Ok(ureq_auth::client()?.get(url).call()?.body_mut().read_to_string()?)
    }
}
