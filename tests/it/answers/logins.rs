//! What a session is renewed with is a part of what it publishes, stores and revokes, wherever it came from; and a refused
//! answer's new refresh token is that from then on.

use ureq_auth::oauth2::{DeviceCode, Revocation};
use ureq_auth::{ErrorKind, Token, TokenStore};

use super::*;

/// A server that does not rotate: a token's answer names no refresh token. Revocations are taken.
fn server_that_keeps() -> Server {
    let issued = AtomicUsize::new(0);
    Server::start(move |seen| match seen.target.as_str() {
        "/token" if seen.text().contains("device_code") => {
            json(200, r#"{"access_token":"device-token","refresh_token":"device-refresh","expires_in":3600}"#)
        }
        "/token" => {
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            json(200, &format!(r#"{{"access_token":"a{number}","token_type":"bearer","expires_in":3600}}"#))
        }
        "/device" => {
            let code =
                r#"{"device_code":"d","user_code":"ABC","verification_uri":"https://id.example.com/d","interval":1}"#;
            json(200, code)
        }
        "/revoke" => Answer::ok(""),
        other => panic!("{other}"),
    })
}

fn revocation(server: &Server) -> Revocation {
    Revocation::new(server.url("/revoke"), CLIENT_ID)
}

/// What the server was told to revoke.
fn revoked(server: &Server) -> Vec<String> {
    let seen = server.seen();
    seen.iter().filter(|seen| seen.target == "/revoke").map(super::Seen::text).collect()
}

fn sent_refresh_tokens(server: &Server) -> Vec<String> {
    let seen = server.seen();
    let fields = seen.iter().filter(|seen| seen.target == "/token").filter_map(|seen| {
        seen.text().split('&').find_map(|field| field.strip_prefix("refresh_token=").map(str::to_owned))
    });
    fields.collect()
}

/// Two refreshes, a logout, and the next start of the program.
fn renewed_and_logged_out<S: TokenStore + 'static>(
    server: &Server,
    store: impl Fn() -> S,
    source: fn(&Server) -> RefreshToken,
) {
    let text = || store().load().unwrap().map(|stored| stored.to_text().to_string());
    let clock = ManualClock::new(Some(secs(WALL)));
    let builder = |source| Session::builder(source).store(store()).clock(clock.clone()).policy(policy());
    let session = builder(source(server)).build().unwrap();
    let login = session.token().is_err();
    if login {
        session.set(Token::new("login").unwrap().with_refresh_token("first").with_expires_in(LIFE)).unwrap();
    }
    for _ in 0..2 {
        clock.advance(LIFE);
        assert_eq!(session.token().unwrap().refresh_secret(), Some("first"), "it is published");
        assert_eq!(member(&text().unwrap(), "refresh_token").as_deref(), Some("first"), "it is stored");
    }
    // A process that starts now needs nothing but the store.
    let next = builder(RefreshToken::after_login(server.url("/token"), CLIENT_ID)).build().unwrap();
    clock.advance(LIFE);
    assert_eq!(next.token().unwrap().refresh_secret(), Some("first"));
    assert!(sent_refresh_tokens(server).iter().all(|sent| sent == "first"));
    revocation(server).log_out(&session).unwrap();
    assert_eq!(revoked(server), ["token=first&token_type_hint=refresh_token&client_id=my-client"]);
    assert!(text().is_none(), "and it is gone from the store");
    assert_eq!(session.token().unwrap_err().kind(), ErrorKind::LoggedOut);
}

fn of_the_configuration(server: &Server) -> RefreshToken {
    RefreshToken::new(server.url("/token"), CLIENT_ID, "first")
}

fn of_a_login(server: &Server) -> RefreshToken {
    RefreshToken::after_login(server.url("/token"), CLIENT_ID)
}

#[test]
fn a_refresh_token_that_no_answer_names_is_published_stored_and_revoked() {
    for source in [of_the_configuration, of_a_login] {
        let store = MemoryStore::new();
        renewed_and_logged_out(&server_that_keeps(), || store.clone(), source);
    }
}

#[cfg(all(
    feature = "file-store",
    any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple", windows)
))]
#[test]
fn a_token_file_holds_it_too() {
    for (number, source) in [of_the_configuration, of_a_login].into_iter().enumerate() {
        let name = format!("ureq-auth-answers-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("token");
        renewed_and_logged_out(&server_that_keeps(), || ureq_auth::FileStore::new(&file), source);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn a_device_login_on_such_a_server_is_revoked_with_its_refresh_token() {
    let (server, clock, store) = (server_that_keeps(), ManualClock::new(Some(secs(WALL))), MemoryStore::new());
    let device = DeviceCode::new(server.url("/device"), server.url("/token"), CLIENT_ID).clock(clock.clone());
    let session = Session::builder(device.source()).store(store.clone()).clock(clock.clone()).policy(policy());
    let session = session.build().unwrap();
    session.set(device.log_in(|_| {}).unwrap()).unwrap();
    for name in ["device-token", "a1", "a2"] {
        let token = session.token().unwrap();
        assert_eq!((token.secret(), token.refresh_secret()), (name, Some("device-refresh")));
        let text = store.load().unwrap().unwrap().to_text();
        assert_eq!(member(&text, "refresh_token").as_deref(), Some("device-refresh"));
        clock.advance(LIFE);
    }
    revocation(&server).log_out(&session).unwrap();
    assert_eq!(revoked(&server), ["token=device-refresh&token_type_hint=refresh_token&client_id=my-client"]);
}

#[test]
fn a_logout_before_the_first_refresh_revokes_the_sources_own_refresh_token() {
    let ways: [fn(RefreshToken) -> Box<dyn TokenSource>; 2] =
        [|source| Box::new(source), |source| Box::new(Arc::new(source))];
    // Without a token, and with one that came without its refresh token.
    for (way, token) in ways.into_iter().flat_map(|way| [(way, None), (way, Some("bare"))]) {
        let server = server_that_keeps();
        let builder = Session::builder(way(of_the_configuration(&server))).store(MemoryStore::new());
        let builder = match token {
            Some(token) => builder.token(Token::new(token).unwrap()),
            None => builder,
        };
        let session = builder.build().unwrap();
        revocation(&server).log_out(&session).unwrap();
        assert_eq!(revoked(&server), ["token=first&token_type_hint=refresh_token&client_id=my-client"], "{token:?}");
        assert_eq!(session.token().unwrap_err().kind(), ErrorKind::LoggedOut);
        // Whoever ends a session without a word to the server gets it as well.
        session.set(Token::new("bare").unwrap()).unwrap();
        assert_eq!(session.end().unwrap().unwrap().refresh_secret(), Some("first"));
        assert!(session.end().unwrap().is_none(), "there is no token in force");
    }
}

#[test]
fn a_first_refresh_token_that_was_replaced_is_not_what_a_logout_revokes() {
    let world = World::new();
    let revokes = Server::script([Answer::ok(""), Answer::ok("")]);
    let source = || RefreshToken::new(world.endpoint.url("/token"), CLIENT_ID, "first");
    let clock = world.clock.clone();
    let session = Session::builder(source()).clock(clock).policy(policy()).build().unwrap();
    assert_eq!(session.token().unwrap().refresh_secret(), Some("r2"));
    revocation(&revokes).log_out(&session).unwrap();
    // A token by itself, after that: the first refresh token is out of date, and nobody's any more.
    session.set(Token::new("bare").unwrap()).unwrap();
    revocation(&revokes).log_out(&session).unwrap();
    let told: Vec<_> = revokes.seen().iter().map(super::Seen::text).collect();
    assert!(told[0].starts_with("token=r2&token_type_hint=refresh_token"), "{told:?}");
    assert!(told[1].starts_with("token=bare&token_type_hint=access_token"), "{told:?}");
}

/// An answer that is refused, but for its new refresh token.
const REFUSED: &str = r#"{"access_token":"a b","refresh_token":"next"}"#;

#[test]
fn the_new_refresh_token_of_a_refused_answer_is_what_a_logout_revokes() {
    let (world, revokes) = (World::new(), Server::script([Answer::ok("")]));
    let session = world.session();
    world.clock.advance(LIFE - REST);
    world.meets(&json(200, REFUSED), 1);
    assert_eq!(session.token().unwrap().secret(), "a1");
    assert_eq!(session.current().unwrap().refresh_secret(), Some("next"));
    revocation(&revokes).log_out(&session).unwrap();
    assert!(revokes.seen()[0].text().starts_with("token=next&token_type_hint=refresh_token"));
    assert!(world.store.load().unwrap().is_none());
}

#[test]
fn a_first_refresh_token_that_a_refused_answer_has_replaced_is_never_sent_again() {
    let world = World::new();
    world.meets(&json(200, REFUSED), 1);
    let source = RefreshToken::new(world.endpoint.url("/token"), CLIENT_ID, "first");
    let session = Session::builder(source).clock(world.clock.clone()).policy(policy()).build().unwrap();
    session.token().unwrap_err();
    // The user brings a token without a refresh token: what was kept goes with the one before it.
    session.set(Token::new("bare").unwrap()).unwrap();
    let error = session.rejected(&session.token().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("no refresh token left"), "{error}");
    assert_eq!(world.sent(), ["first"]);
}

#[test]
fn a_kept_refresh_token_outlives_the_process() {
    let world = World::new();
    // Not even a token is there yet: a device's first start.
    save(&world.store, r#"{"version":1,"refresh_token":"r1"}"#);
    let session = world.session();
    world.meets(&json(200, REFUSED), usize::MAX);
    assert_eq!(session.token().unwrap_err().kind(), ErrorKind::Misconfigured);
    assert_eq!(world.stored(), (None, Some("next".to_owned())));
    drop(session);
    world.is_well();
    let next = world.client();
    assert_eq!(world.call(&next).unwrap(), "a2");
    assert_eq!(world.sent(), ["r1", "next"]);
}
