//! What is sent, and to where.

use std::net::TcpListener;

use ring::digest::{SHA256, digest};
use ureq_auth::oauth2::DeviceCode;
use ureq_auth::{Error, ErrorKind, ManualClock, Session};

use super::*;

#[test]
fn a_login_from_the_first_request_to_the_last_page() {
    let site = Site::with(r#","authorization_response_iss_parameter_supported":true"#);
    let login =
        site.login().scope("offline_access notes").authorization_param("prompt", "login").param("resource", "urn:x");
    let session = Session::new(login.source()).unwrap();
    let issuer = site.server.origin();
    let (browser, open) = browser(move |page| (page.come_back(&format!("code=c%2F1&iss={issuer}")), page));
    session.set(login.log_in(open).unwrap()).unwrap();
    let (last_page, page) = browser.result();
    assert!(last_page.starts_with("HTTP/1.1 200 ") && last_page.contains("You are logged in."), "{last_page}");

    assert!(
        page.url.starts_with(
            &site.server.url("/auth?response_type=code&client_id=me&redirect_uri=http%3A%2F%2F127.0.0.1%3A")
        )
    );
    assert_eq!(page.query["scope"], "offline_access notes");
    assert_eq!((&*page.query["code_challenge_method"], &*page.query["prompt"]), ("S256", "login"));
    assert!(!page.query.contains_key("nonce") && !page.query.contains_key("resource"), "{page:?}");
    assert_eq!((page.query["state"].len(), page.query["code_challenge"].len()), (43, 43));

    let [asked] = &site.asked()[..] else { panic!("{:?}", site.server.told()) };
    let form = fields(&asked.text());
    assert_eq!((&*form["grant_type"], &*form["code"], &*form["client_id"]), ("authorization_code", "c/1", "me"));
    assert_eq!((&form["redirect_uri"], &*form["resource"]), (&page.query["redirect_uri"], "urn:x"));
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
    assert_eq!(challenge, page.query["code_challenge"]);
    assert!(!form.contains_key("scope"), "{form:?}");
    // Who reads the address, or the code on its way, has nothing to exchange the code with (RFC 7636 §1).
    assert!(!page.url.contains(&form["code_verifier"]) && !last_page.contains(&form["code_verifier"]));

    let token = session.token().unwrap();
    assert_eq!(token.secret(), "abc");
    session.accepted(&token);
    session.rejected(&token).unwrap();
    assert_eq!(fields(&site.asked()[1].text())["refresh_token"], "r-1");
}

#[test]
fn two_logins_have_nothing_in_common() {
    let site = Site::with("");
    let query = || {
        let (browser, open) = browser(|page| (page.come_back("code=1"), page).1.query);
        site.login().log_in(open).unwrap();
        browser.result()
    };
    let (one, other) = (query(), query());
    assert_ne!(one["state"], other["state"]);
    assert_ne!(one["code_challenge"], other["code_challenge"]);
}

#[test]
fn a_pushed_request_leaves_only_a_reference_in_the_address() {
    let more = r#","require_pushed_authorization_requests":true"#;
    let site = Site::start(more, |seen| match seen.target.as_str() {
        "/par" => Answer::new(201).body(r#"{"request_uri":"urn:par:1 2","expires_in":60}"#.replace(' ', "&")),
        _ => Answer::ok(TOKEN),
    });
    for basic in [false, true] {
        let login = site.login().scope("a");
        let login = if basic { login.client_secret("s") } else { login };
        let (browser, open) = browser(|page| {
            // The browser of a test cannot see the state: it is what the server has.
            assert_eq!(page.url.split_once("/auth").unwrap().1, "?client_id=me&request_uri=urn%3Apar%3A1%262");
        });
        let stop = login.log_in_while(open, |_| false);
        assert_eq!(stop.unwrap_err().kind(), ErrorKind::NotLoggedIn);
        browser.result();
    }
    let [public, confidential] = &site.asked()[..] else { panic!("{:?}", site.server.told()) };
    for asked in [public, confidential] {
        let form = fields(&asked.text());
        assert_eq!((&*form["client_id"], &*form["response_type"], &*form["scope"]), ("me", "code", "a"));
        assert_eq!(asked.text().matches("client_id").count(), 1);
    }
    assert!(confidential.header("authorization").is_some_and(|header| header.starts_with("Basic ")));

    let site = Site::start(more, |_| Answer::new(400).body(r#"{"error":"invalid_request"}"#));
    let error = site.login().log_in(|_| panic!("there is nothing to open")).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Misconfigured, Some("invalid_request")));
    let site = Site::start(more, |_| Answer::ok("{}"));
    let error = site.login().log_in(|_| panic!("there is nothing to open")).unwrap_err();
    assert!(error.to_string().contains("request_uri"), "{error}");
}

#[test]
fn metadata_that_no_login_can_use() {
    let problem = |metadata: &str| {
        let own = Arc::new(OnceLock::<String>::new());
        let (origin, metadata) = (Arc::clone(&own), metadata.to_owned());
        let server = Server::start(move |_| {
            let origin = origin.get().unwrap();
            Answer::ok(format!(
                r#"{{"issuer":"{origin}","token_endpoint":"{origin}/t"{}}}"#,
                metadata.replace("ORIGIN", origin)
            ))
        });
        own.set(server.origin()).unwrap();
        Issuer::discover(&server.origin()).unwrap().browser_login("me").unwrap_err()
    };
    for (metadata, says) in [
        ("", "authorization endpoint"),
        (r#","authorization_endpoint":"http://id.example.com/a""#, "authorization endpoint"),
        (r#","authorization_endpoint":"ORIGIN/a","code_challenge_methods_supported":["plain"]"#, "S256"),
        (r#","authorization_endpoint":"ORIGIN/a","require_pushed_authorization_requests":true"#, "RFC 9126"),
    ] {
        let error = problem(metadata);
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn settings_that_no_login_can_use() {
    let new = || BrowserLogin::new("https://id.example.com/auth", "https://id.example.com/token", "me");
    for (login, says) in [
        (new().path("callback"), "begin with a slash"),
        (new().path("/a?b"), "no query"),
        (new().path("/a b"), "no query"),
        (new().path("/login-finished"), "/login-finished"),
        (new().authorization_param("state", "x"), "state"),
        (new().authorization_param("", "x"), "authorization parameter"),
        (new().pushed("http://id.example.com/par"), "plain http"),
        (BrowserLogin::new("http://id.example.com/auth", "https://id.example.com/token", "me"), "plain http"),
        (BrowserLogin::new("https://id.example.com/auth", "https://id.example.com/token", ""), "client id"),
    ] {
        let error = login.log_in(|_| panic!("there is nothing to open")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
}

#[test]
fn the_first_free_port_of_a_list_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = Site::with("");
    let (browser, open) = browser(|page| (page.come_back("code=1"), page).1.port());
    site.login().ports([taken.local_addr().unwrap().port(), free]).log_in(open).unwrap();
    assert_eq!(browser.result(), free);
}

#[test]
fn a_redirect_address_may_have_another_path_or_none() {
    let site = Site::with("");
    for (path, target) in [("", "/"), ("/", "/"), ("/a/b", "/a/b")] {
        let (browser, open) = browser(move |page| {
            assert!(page.query["redirect_uri"].ends_with(&format!("{}{path}", page.port())));
            page.get(&page.back("code=1").replace("/callback", target));
            page.get("/login-finished")
        });
        site.login().path(path).log_in(open).unwrap();
        assert!(browser.result().contains("200 OK"));
    }
}

#[test]
fn another_login_where_there_is_no_browser() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(|seen| match seen.target.as_str() {
        "/device" => Answer::ok(r#"{"device_code":"d","user_code":"u","verification_uri":"https://x","interval":1}"#),
        _ => Answer::ok(TOKEN),
    });
    let (auth, token) = (server.url("/auth"), server.url("/token"));
    let device = DeviceCode::new(server.url("/device"), &token, "me").clock(ManualClock::new(None));
    let login = || BrowserLogin::new(&auth, &token, "me");
    let missing = || Err(std::io::Error::from(std::io::ErrorKind::NotFound));

    let mut why = String::new();
    let logged_in = login().log_in_or(
        |_| missing(),
        |error| {
            why = error.to_string();
            device.log_in(|_| {})
        },
    );
    assert_eq!(logged_in.unwrap().secret(), "abc");
    assert!(why.contains("the browser cannot be opened"), "{why}");

    let no_port = login().ports([taken.local_addr().unwrap().port()]);
    let logged_in = no_port.log_in_or(|_| panic!("nothing to come back to"), |_| device.log_in(|_| {}));
    assert_eq!(logged_in.unwrap().secret(), "abc");
    assert_eq!(no_port.ports([]).log_in(|_| missing()).unwrap_err().kind(), ErrorKind::Unavailable);

    // What the user or the server says is no lack of a browser.
    let (_browser, open) = browser(|page| page.come_back("error=access_denied"));
    let denied = login().log_in_or(open, |_| -> Result<_, Error> { panic!("the user said no") });
    assert_eq!(denied.unwrap_err().code(), Some("access_denied"));
}
