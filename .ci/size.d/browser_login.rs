//! The same after a login by the browser on this machine.

use common::argument;
use ureq_auth::oauth2::BrowserLogin;
use ureq_auth::{Client, Session};

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let login = BrowserLogin::new(argument(4)?, argument(2)?, argument(3)?);
    let session = Session::new(login.source())?;
    let open = |url: &str| std::process::Command::new("xdg-open").arg(url).spawn().map(drop);
    session.set(login.log_in(open)?)?;
    let client = Client::new(session, &argument(5)?)?;
    let answer: serde_json::Value = client.get(argument(1)?).call()?.body_mut().read_json()?;
    println!("{answer}");
    Ok(())
}
