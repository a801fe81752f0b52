//! Logins by browser: one that is scripted here, and Chromium, where it is installed, in which somebody types a name and a
//! password.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq_auth::oauth2::BrowserLogin;
use ureq_auth::{ErrorKind, Session};

use crate::servers::{Api, Issuer};

const DONE: &str = "Alles gut: Sie sind angemeldet.";

fn login(issuer: &Issuer) -> BrowserLogin {
    let login = issuer.discover().browser_login("native").unwrap();
    // Not for ever, if the browser fails.
    login
        .scope("openid offline_access notes:read")
        .authorization_param("prompt", "consent")
        .end_texts(DONE, "Fehlgeschlagen.")
        .patience(Duration::from_secs(90))
}

/// A browser with cookies, and the forms that it finds on its way filled in.
struct Scripted {
    agent: Agent,
    cookies: HashMap<String, String>,
}

impl Scripted {
    fn new() -> Self {
        let config = Agent::config_builder().max_redirects(0).http_status_as_error(false).build();
        Scripted { agent: config.into(), cookies: HashMap::new() }
    }

    /// The status, the address that it is sent on to, and the page.
    fn ask(&mut self, url: &str, form: Option<&str>) -> (u16, Option<String>, String) {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let response = match form {
            Some(form) => {
                let request = self.agent.post(url).header("cookie", cookies);
                request.content_type("application/x-www-form-urlencoded").send(form)
            }
            None => self.agent.get(url).header("cookie", cookies).call(),
        };
        let mut response = response.unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), location, response.body_mut().read_to_string().unwrap())
    }

    /// Opens the address and goes wherever it leads. `agree`: what the user says of the consent. Returns the last page.
    fn log_in(&mut self, issuer: &str, address: &str, agree: bool) -> String {
        let (mut url, mut form) = (address.to_owned(), None);
        for _ in 0..20 {
            let (status, location, page) = self.ask(&url, form.take());
            match location {
                Some(next) if next.starts_with('/') => {
                    let origin = url.split('/').take(3).collect::<Vec<_>>().join("/");
                    url = origin + &next;
                }
                Some(next) => url = next,
                None if !url.starts_with(issuer) => return format!("{status} {url} {page}"),
                None => {
                    form = Some(match page.contains("name=\"prompt\" value=\"login\"") {
                        true => "prompt=login&login=alice&password=x",
                        false => "prompt=consent",
                    });
                    if form == Some("prompt=consent") && !agree {
                        (url, form) = (format!("{url}/abort"), None);
                    }
                }
            }
        }
        panic!("the pages have no end: {url}");
    }
}

#[test]
fn logged_in_and_then_refreshed() {
    for par in [false, true] {
        let Some(issuer) = Issuer::start(json!({ "pages": true, "par": par })) else { return };
        let api = Api::start(&issuer);
        let login = login(&issuer);
        let session = Session::new(login.source()).unwrap();
        let (opened, is_opened) = std::sync::mpsc::channel();
        let page = thread::scope(|scope| {
            let origin = issuer.origin();
            let user = scope.spawn(move || {
                let url: String = is_opened.recv().unwrap();
                assert_eq!(url.contains("request_uri="), par, "{url}");
                Scripted::new().log_in(&origin, &url, true)
            });
            session
                .set(login.log_in(|url| opened.send(url.to_owned()).map_err(std::io::Error::other)).unwrap())
                .unwrap();
            user.join().unwrap()
        });
        assert!(page.starts_with("200 http://127.0.0.1:") && page.contains(DONE), "{page}");
        assert_eq!(api.status(&api.client(&session), "/notes").unwrap(), 200);
        let token = session.token().unwrap();
        session.accepted(&token);
        session.rejected(&token).unwrap();
        assert_eq!(issuer.counts().refreshes(), 1);
    }
}

#[test]
fn the_user_says_no() {
    let Some(issuer) = Issuer::start(json!({ "pages": true })) else { return };
    let (origin, page) = (issuer.origin(), Arc::new(Mutex::new(None)));
    let user = Arc::clone(&page);
    let open = move |url: &str| {
        let url = url.to_owned();
        *user.lock().unwrap() = Some(thread::spawn(move || Scripted::new().log_in(&origin, &url, false)));
        Ok(())
    };
    let denied = login(&issuer).log_in(open).unwrap_err();
    assert_eq!((denied.kind(), denied.code()), (ErrorKind::Rejected, Some("access_denied")), "{denied}");
    let page = page.lock().unwrap().take().unwrap().join().unwrap();
    assert!(page.contains("Fehlgeschlagen."), "{page}");
    assert_eq!(issuer.counts().token_calls(), 0);
}

#[test]
fn typed_into_chromium() {
    let Some(issuer) = Issuer::start(json!({ "pages": true })) else { return };
    let Some(program) = std::env::var_os("UREQ_AUTH_CHROMIUM") else {
        let line = "\nSKIPPED: no Chromium, so no real browser has logged in. Run .ci/real, which installs it.\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    };
    let user = Arc::new(Mutex::new(None));
    let started = Arc::clone(&user);
    let script = issuer.script("browser.mjs");
    let open = move |url: &str| {
        let mut command = Command::new("node");
        let child = command.arg(script).arg(program).arg(url).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        *started.lock().unwrap() = Some(child);
        Ok(())
    };
    let login = login(&issuer);
    let session = Session::new(login.source()).unwrap();
    session.set(login.log_in(open).unwrap()).unwrap();
    let output = user.lock().unwrap().take().unwrap().wait_with_output().unwrap();
    assert!(output.status.success());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["text"], json!(DONE));
    assert!(told["address"].as_str().unwrap().ends_with("/login-finished"), "{told}");
    // Neither in the address bar, nor where "back" leads.
    assert!(!told.to_string().contains("code="), "{told}");
    assert!(told["history"].as_array().unwrap().len() > 1, "{told}");
    let api = Api::start(&issuer);
    assert_eq!(api.status(&api.client(&session), "/notes").unwrap(), 200);
}
