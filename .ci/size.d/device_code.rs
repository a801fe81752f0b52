//! The same, with a login on a machine without a browser.

use common::argument;
use ureq_auth::{Client, Session, oauth2::DeviceCode};

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = DeviceCode::new(argument(6)?, argument(2)?, argument(3)?);
    let session = Session::new(device.source())?;
    session.set(device.log_in(|prompt| println!("{prompt}"))?)?;
    let client = Client::new(session, &argument(5)?)?;
    let answer: serde_json::Value = client.get(argument(1)?).call()?.body_mut().read_json()?;
    println!("{answer}");
    Ok(())
}
