//! What comes back: by the browser, and from the token endpoint.

use ureq_auth::oauth2::BrowserProgress;
use ureq_auth::{Error, ErrorKind, ManualClock};

use super::*;
use crate::support::secs;

/// The error of a login whose callback has these parameters, and its last page.
fn refused(site: &Site, login: BrowserLogin, with: &str) -> (Error, String) {
    let with = with.replace("ISSUER", &site.server.origin());
    let (browser, open) = browser(move |page| page.come_back(&with));
    (login.log_in(open).unwrap_err(), browser.result())
}

#[test]
fn a_callback_with_another_state_is_refused_and_the_login_goes_on() {
    let site = Site::with("");
    let (browser, open) = browser(|page| {
        let state = page.query["state"].clone();
        let other = state.chars().rev().collect::<String>();
        for target in [
            "/callback?code=bad",
            "/callback",
            &format!("/callback?code=bad&state={other}"),
            &format!("/callback?code=bad&state={state}&state={other}"),
            &format!("/callback?code=bad&code=1&state={state}"),
        ] {
            let response = page.get(target);
            assert!(response.starts_with("HTTP/1.1 400 ") && !response.contains("bad"), "{response}");
        }
        page.come_back("code=good")
    });
    let mut most = 0;
    let progress = |progress| {
        if let BrowserProgress::Waiting { refused, left, .. } = progress {
            assert!(left <= LONG);
            most = most.max(refused);
        }
        true
    };
    site.login().log_in_while(open, progress).unwrap();
    browser.result();
    assert_eq!(fields(&site.asked()[0].text())["code"], "good");
    assert!(most <= 5, "{most}");
}

#[test]
fn a_callback_from_another_issuer_ends_the_login_without_its_code_being_used() {
    for (more, with) in [
        ("", "code=1&iss=https://evil.example"),
        ("", "code=1&iss=ISSUER/"),
        ("", "error=access_denied&iss=https://evil.example"),
        (r#","authorization_response_iss_parameter_supported":true"#, "code=1"),
    ] {
        let site = Site::with(more);
        let (error, page) = refused(&site, site.login(), with);
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{with}");
        assert!(error.to_string().contains("RFC 9207") && !error.to_string().contains("evil"), "{error}");
        assert!(page.contains("The login failed."), "{page}");
        assert_eq!(site.asked().len(), 0, "{with}");
    }
}

#[test]
fn what_the_server_says_in_the_place_of_a_code() {
    let site = Site::with("");
    for (code, kind) in [
        ("access_denied", ErrorKind::Rejected),
        ("login_required", ErrorKind::Rejected),
        ("temporarily_unavailable", ErrorKind::Unavailable),
        ("unauthorized_client", ErrorKind::Misconfigured),
        ("invalid_scope", ErrorKind::Misconfigured),
    ] {
        let (error, page) = refused(&site, site.login(), &format!("error={code}&error_description=so+it+is%07"));
        assert_eq!((error.kind(), error.code()), (kind, Some(code)));
        assert!(error.to_string().contains(&format!("{code}: so it is (")), "{error}");
        assert!(page.contains("The login failed."), "{page}");
    }
    assert_eq!(site.asked().len(), 0);
}

#[test]
fn a_callback_that_never_comes_ends_at_the_deadline() {
    let site = Site::with("");
    let clock = ManualClock::new(None);
    let login = site.login().clock(clock).patience(secs(90));
    let mut last = secs(999);
    let error = login.log_in_while(
        |_| Ok(()),
        |progress| {
            let BrowserProgress::Waiting { left, .. } = progress else { panic!("{progress:?}") };
            assert!(left < last, "the time goes on");
            last = left;
            true
        },
    );
    let error = error.unwrap_err();
    assert_eq!((error.kind(), last), (ErrorKind::NotLoggedIn, secs(0)));
    assert!(error.is_login_required() && error.to_string().contains("within 90 s"), "{error}");
}

#[test]
fn a_login_can_be_stopped_from_outside() {
    let site = Site::with("");
    let mut asked = 0;
    let go_on = |_| {
        asked += 1;
        asked < 3
    };
    let error = site.login().log_in_while(|_| Ok(()), go_on).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotLoggedIn);
    assert!(error.to_string().contains("stopped"), "{error}");
}

#[test]
fn what_the_token_endpoint_says_of_the_code() {
    for (answer, kind, code) in [
        // Used before, or too old.
        (Answer::new(400).body(r#"{"error":"invalid_grant"}"#), ErrorKind::Rejected, Some("invalid_grant")),
        (Answer::new(401).body(r#"{"error":"invalid_client"}"#), ErrorKind::Misconfigured, Some("invalid_client")),
        (Answer::new(503), ErrorKind::Unavailable, None),
        (Answer::ok("<html>"), ErrorKind::Unavailable, None),
        (Answer::ok(TOKEN).torn(), ErrorKind::Unavailable, None),
    ] {
        let site = Site::start("", move |_| answer.clone());
        let (error, page) = refused(&site, site.login(), "code=1");
        assert_eq!((error.kind(), error.code()), (kind, code), "{error}");
        assert!(page.contains("The login failed."), "{page}");
        assert_eq!(site.asked().len(), 1, "a code is sent once: {error}");
    }
}

#[test]
fn a_server_that_did_not_get_the_code_gets_it_again() {
    let site = Site::with("");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let login = BrowserLogin::new(site.server.url("/auth"), format!("http://{nobody}/token"), "me");
    // The clock's pauses take no time, and the deadline is far.
    let clock = ManualClock::new(None);
    let (browser, open) = browser(|page| page.get(&page.back("code=1")));
    let before = ureq_auth::Clock::now(&clock);
    let error = login.clock(clock.clone()).patience(secs(1_000_000_000)).log_in(open).unwrap_err();
    browser.result();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(ureq_auth::Clock::now(&clock).since(before) >= secs(2), "two pauses between three attempts");
}

#[test]
fn an_id_token_of_another_login_is_refused() {
    let nonce = Arc::new(Mutex::new(String::new()));
    let known = Arc::clone(&nonce);
    let site = Site::start("", move |seen| {
        let nonce = match fields(&seen.text())["code"].as_str() {
            "good" => known.lock().unwrap().clone(),
            _ => "another".to_owned(),
        };
        let id_token = id_token(&format!(r#"{{"nonce":"{nonce}"}}"#));
        Answer::ok(format!(r#"{{"access_token":"abc","id_token":"{id_token}"}}"#))
    });
    for code in ["good", "bad"] {
        let nonce = Arc::clone(&nonce);
        let (browser, open) = browser(move |page| {
            nonce.lock().unwrap().clone_from(&page.query["nonce"]);
            page.come_back(&format!("code={code}"))
        });
        let result = site.login().scope("openid profile").log_in(open);
        assert_eq!(browser.result().contains("You are logged in."), code == "good");
        match code {
            "good" => assert_eq!(result.unwrap().secret(), "abc"),
            _ => assert_eq!(result.unwrap_err().kind(), ErrorKind::Rejected),
        }
    }
    // Without that scope no ID token is asked for, and none is looked at.
    let (_browser, open) = browser(|page| page.come_back("code=bad"));
    site.login().scope("profile").log_in(open).unwrap();
}

#[test]
fn the_last_page_has_the_programs_own_words() {
    let site = Site::with("");
    let login = || site.login().end_texts("Fertig: <Anmeldung> & mehr \u{fc}", "Das war nichts.");
    let (browser, open) = browser(|page| page.come_back("code=1"));
    login().log_in(open).unwrap();
    let page = browser.result();
    assert!(page.contains("<p>Fertig: &lt;Anmeldung> &amp; mehr \u{fc}"), "{page}");
    for header in ["Cache-Control: no-store", "Referrer-Policy: no-referrer", "default-src 'none'"] {
        assert!(page.contains(header), "{page}");
    }
    assert!(refused(&site, login(), "error=access_denied").1.contains("<p>Das war nichts."));
}

#[test]
fn no_secret_is_in_any_text() {
    // The server echoes all that it gets.
    let site = Site::start("", |seen| {
        Answer::new(400).body(format!(r#"{{"error":"invalid_grant","error_description":"{}"}}"#, seen.text()))
    });
    let login = site.login().client_secret("hidden-1").param("x", "hidden-2").scope("openid");
    let shown = format!("{login:?}");
    let (error, page) = refused(&site, login, "code=hidden%2F3&x=y");
    let shown = format!("{shown} {error} {error:?} {page}");
    let form = fields(&site.asked()[0].text());
    for secret in ["hidden", &form["code_verifier"]] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("[redacted]"), "{shown}");
}
