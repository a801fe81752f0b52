//! A login on a machine without a browser, and then one call of the API each second, across the ends of tokens.
//!
//! - `cargo run --example device_login`: with a server of its own, which confirms the login by itself; stops after a while.
//! - `cargo run --example device_login -- ISSUER CLIENT_ID API_URL [SCOPE]`: with a real one, until stopped with Ctrl-C.
//!   The scope is `offline_access` unless given: most servers need that word to issue a refresh token.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod loopback;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use ureq_auth::oauth2::{DevicePrompt, Issuer};
use ureq_auth::{Client, Error, Event, Session};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        [] => {
            let server = ORIGIN.get_or_init(|| loopback::serve(answer).unwrap_or_default());
            run(server, "demo", &format!("{server}/api"), "offline_access", 6)
        }
        [issuer, client_id, api] => run(issuer, client_id, api, "offline_access", u32::MAX),
        [issuer, client_id, api, scope] => run(issuer, client_id, api, scope, u32::MAX),
        _ => Err("usage: device_login [ISSUER CLIENT_ID API_URL [SCOPE]]".into()),
    }
}

fn run(issuer: &str, client_id: &str, api: &str, scope: &str, calls: u32) -> Result<(), Failure> {
    let issuer = Issuer::discover(issuer)?;
    let device = issuer.device_code(client_id)?.scope(scope);
    let session = Session::builder(device.source()).observer(|event: &Event<'_>| println!("  {event}")).build()?;
    // The token goes to the API's origin: what comes before the third slash.
    let origin = api.match_indices('/').nth(2).and_then(|(end, _)| api.get(..end));
    let client = Client::new(session.clone(), origin.unwrap_or(api))?;

    session.set(device.log_in(show)?)?;

    for _ in 0..calls {
        match client.get(api).call() {
            Ok(mut answer) => println!("{}: {}", answer.status(), answer.body_mut().read_to_string()?),
            // What the session says decides what to do; all else is the API's, and may be better the next time.
            Err(error) => match Error::in_ureq(&error) {
                Some(error) if error.is_login_required() => return Err(error.clone().into()),
                _ => println!("no answer: {error}"),
            },
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(issuer.revocation(client_id)?.log_out(&session)?)
}

/// The address with the code in it is the one to scan; the code is shown as well, so that the user can compare the two.
fn show(prompt: &DevicePrompt) {
    let address = prompt.verification_uri_complete().unwrap_or(prompt.verification_uri());
    if let Ok(code) = QrCode::new(address) {
        // For bright letters on a dark ground, which most terminals have.
        let image = code.render().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
        println!("{image}\n");
    }
    println!("{prompt}");
}

static ORIGIN: OnceLock<String> = OnceLock::new();
static POLLS: AtomicU32 = AtomicU32::new(0);
static TOKEN: AtomicU32 = AtomicU32::new(0);

/// The server: its user confirms after two polls, its tokens live for two seconds.
fn answer(path: &str, authorization: &str, body: &str) -> (u16, String) {
    let origin = ORIGIN.get().map_or("", String::as_str);
    match path {
        "/.well-known/openid-configuration" => (
            200,
            format!(
                r#"{{"issuer":"{origin}","token_endpoint":"{origin}/token","device_authorization_endpoint":"{origin}/device",
                    "revocation_endpoint":"{origin}/revoke"}}"#
            ),
        ),
        "/device" => (
            200,
            format!(
                r#"{{"device_code":"demo","user_code":"WDJB-MJHT","verification_uri":"{origin}/login",
                    "verification_uri_complete":"{origin}/login?code=WDJB-MJHT","expires_in":300,"interval":1}}"#
            ),
        ),
        "/token" if body.contains("device_code=demo") && POLLS.fetch_add(1, Relaxed) < 2 => {
            (400, r#"{"error":"authorization_pending"}"#.into())
        }
        "/token" => {
            let number = TOKEN.fetch_add(1, Relaxed) + 1;
            let token = format!(r#""access_token":"token-{number}","refresh_token":"refresh-{number}""#);
            (200, format!(r#"{{{token},"token_type":"Bearer","expires_in":2}}"#))
        }
        "/api" if authorization == format!("Bearer token-{}", TOKEN.load(Relaxed)) => {
            (200, r#"{"hello":"alice"}"#.into())
        }
        "/revoke" => (200, "{}".into()),
        "/api" => (401, "{}".into()),
        _ => (404, "{}".into()),
    }
}
