//! A stored token is somebody's: the client's at its token endpoint. Nobody else uses, overwrites or removes it.

use ureq_auth::oauth2::Revocation;
use ureq_auth::{ErrorKind, SourceError, Token, TokenStore};

use super::*;

const ENDPOINT: &str = "https://id.example.com/token";

/// The token of a client at an endpoint, as it is stored; it has an hour from the begin on.
fn text_of(access: &str, client_id: &str, endpoint: &str) -> String {
    let owner = RefreshToken::after_login(endpoint, client_id).owner().unwrap();
    let received = WALL * 1000;
    let token = format!(r#""access_token":"{access}","refresh_token":"refresh-{access}","owner":"{owner}""#);
    format!("{{\"version\":1,{token},\"lifetime_ms\":3600000,\"received_at_ms\":{received}}}\n")
}

fn theirs(client_id: &str, endpoint: &str) -> String {
    text_of("theirs", client_id, endpoint)
}

/// Another client's at the same endpoint, and the same client's at another: another tenant, or another environment.
fn foreign(endpoint: &Server) -> [(String, String); 4] {
    let own = endpoint.url("/token");
    let text = |client_id: &str, url: &str| (theirs(client_id, url), format!("{client_id} at "));
    [
        text("other-client", &own),
        text(CLIENT_ID, ENDPOINT),
        text(CLIENT_ID, &endpoint.url("/other/token")),
        text(CLIENT_ID, &format!("{}/token", endpoint.other_host())),
    ]
}

/// One token on whatever medium, with a look at its bytes.
trait Medium {
    type Store: TokenStore + 'static;

    fn store(&self) -> Self::Store;

    fn write(&self, text: &str);

    fn read(&self) -> Option<String>;
}

struct InMemory(MemoryStore);

impl Medium for InMemory {
    type Store = MemoryStore;

    fn store(&self) -> MemoryStore {
        self.0.clone()
    }

    fn write(&self, text: &str) {
        save(&self.0, text);
    }

    fn read(&self) -> Option<String> {
        self.0.load().unwrap().map(|stored| stored.to_text().to_string())
    }
}

#[cfg(all(
    feature = "file-store",
    any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple")
))]
mod on_disk {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use ureq_auth::FileStore;

    use super::*;

    /// A file in a folder of its own.
    struct OnDisk(PathBuf);

    impl OnDisk {
        fn new() -> Self {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let folder = std::env::temp_dir().join(format!("ureq-auth-owners-{}-{number}", std::process::id()));
            fs::create_dir(&folder).unwrap();
            OnDisk(folder.join("token"))
        }
    }

    impl Medium for OnDisk {
        type Store = FileStore;

        fn store(&self) -> FileStore {
            FileStore::new(&self.0)
        }

        fn write(&self, text: &str) {
            fs::write(&self.0, text).unwrap();
            fs::set_permissions(&self.0, Permissions::from_mode(0o600)).unwrap();
        }

        fn read(&self) -> Option<String> {
            fs::read_to_string(&self.0).ok()
        }
    }

    impl Drop for OnDisk {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(self.0.parent().unwrap()));
        }
    }

    #[test]
    fn a_token_file_of_another_login_is_left_as_it_is() {
        is_left_as_it_is(OnDisk::new);
    }

    #[test]
    fn a_file_without_an_owner_gets_one_with_the_next_save() {
        gets_an_owner(&OnDisk::new());
    }
}

#[test]
fn a_stored_token_of_another_login_is_left_as_it_is() {
    is_left_as_it_is(|| InMemory(MemoryStore::new()));
}

#[test]
fn a_stored_token_without_an_owner_gets_one_with_the_next_save() {
    gets_an_owner(&InMemory(MemoryStore::new()));
}

fn is_left_as_it_is<M: Medium>(medium: impl Fn() -> M) {
    // Neither endpoint is sent anything, whoever it is.
    let endpoint = Server::untouched();
    for (text, owner) in foreign(&endpoint) {
        let (medium, clock) = (medium(), ManualClock::new(Some(secs(WALL))));
        let source = || RefreshToken::new(endpoint.url("/token"), CLIENT_ID, "first");
        let builder = || Session::builder(source()).store(medium.store()).clock(clock.clone()).policy(policy());
        let is_theirs = |error: Error| {
            let said = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Store, "{said}");
            let ours = source().owner().unwrap();
            assert!(said.contains(&owner) && said.contains(&ours) && said.contains("a store of its own"), "{said}");
            assert!(!format!("{error:?}").contains("refresh-") && !error.is_login_required(), "{error:?}");
            assert_eq!(medium.read().unwrap(), text);
        };

        // It was there from the start, whatever token there is besides.
        medium.write(&text);
        is_theirs(builder().build().unwrap_err());
        is_theirs(builder().token(Token::new("ours").unwrap()).build().unwrap_err());

        // It came later, in the place of ours.
        medium.write(&text_of("ours", CLIENT_ID, &endpoint.url("/token")));
        let session = builder().build().unwrap();
        medium.write(&text);
        // Fresh, and stale: ours serves on. Expired: there is nothing to be had.
        assert_eq!(session.token().unwrap().secret(), "ours");
        clock.advance(LIFE - REST);
        assert_eq!(session.token().unwrap().secret(), "ours");
        is_theirs(session.failure().unwrap());
        clock.advance(REST);
        let error = session.token().unwrap_err();
        assert!(error.retry_after().is_some_and(|pause| pause <= LIMIT), "{error:?}");
        is_theirs(error);

        // A login of ours is in force here, and stored nowhere; a logout forgets it, and leaves theirs alone.
        let login = || Token::new("login").unwrap().with_refresh_token("refresh-login");
        is_theirs(session.set(login()).unwrap_err());
        assert_eq!(session.token().unwrap().secret(), "login");
        is_theirs(session.flush().unwrap_err());
        is_theirs(session.end().unwrap_err());
        assert_eq!(session.token().unwrap_err().kind(), ErrorKind::LoggedOut);
        is_theirs(session.set(login()).unwrap_err());
        drop(session);
        assert_eq!(medium.read().unwrap(), text, "not even at the end");
    }
}

#[test]
fn a_foreign_token_in_a_store_that_was_empty_is_not_adopted() {
    let world = World::new();
    let store = MemoryStore::new();
    let source = RefreshToken::new(world.endpoint.url("/token"), CLIENT_ID, "first");
    let session = world.builder(source).store(store.clone()).build().unwrap();
    let text = theirs(CLIENT_ID, ENDPOINT);
    save(&store, &text);
    assert_eq!(session.token().unwrap_err().kind(), ErrorKind::Store);
    assert_eq!(store.load().unwrap().unwrap().to_text().as_str(), text);
    assert_eq!(world.endpoint.count(), 0);
}

/// As files of before are: read, used, renewed, and bound from then on.
fn gets_an_owner(medium: &impl Medium) {
    let world = World::new();
    let text = format!(
        r#"{{"version":1,"access_token":"a1","refresh_token":"r1","lifetime_ms":3600000,"received_at_ms":{}}}"#,
        WALL * 1000
    );
    medium.write(&text);
    let builder = || world.builder(world.source()).store(medium.store());
    let session = builder().build().unwrap();
    assert_eq!(session.token().unwrap().secret(), "a1");
    assert_eq!(medium.read().unwrap().trim(), text, "nothing is written without need");
    world.clock.advance(LIFE);
    assert_eq!(session.token().unwrap().secret(), "a2");
    let stored = medium.read().unwrap();
    assert_eq!(member(&stored, "owner"), Some(world.owner()));
    assert!(!stored.contains("hunter2"), "an owner is no secret");
    let other = RefreshToken::after_login(world.endpoint.url("/token"), "other-client");
    assert_eq!(world.builder(other).store(medium.store()).build().unwrap_err().kind(), ErrorKind::Store);
    assert_eq!(builder().build().unwrap().token().unwrap().secret(), "a2");
}

#[test]
fn a_logout_on_a_foreign_store_revokes_ones_own_token() {
    let world = World::new();
    let revokes = Server::script([Answer::ok("")]);
    let session = world.session();
    let text = theirs("other-client", &world.endpoint.url("/token"));
    save(&world.store, &text);
    let error = Revocation::new(revokes.url("/revoke"), CLIENT_ID).log_out(&session).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store, "{error}");
    assert!(revokes.seen()[0].text().starts_with("token=r1&token_type_hint=refresh_token"));
    assert_eq!(world.text(), text);
    assert_eq!(world.endpoint.count(), 0);
}

#[test]
fn a_foreign_token_that_goes_away_again_is_no_end() {
    let world = World::new();
    let (session, own) = (world.session(), world.text());
    world.clock.advance(LIFE);
    save(&world.store, &theirs(CLIENT_ID, ENDPOINT));
    let error = session.token().unwrap_err();
    save(&world.store, &own);
    world.clock.advance(error.retry_after().unwrap());
    assert_eq!(session.token().unwrap().secret(), "a2");
    assert_eq!(world.sent(), ["r1"]);
}

#[test]
fn a_source_without_an_owner_reads_any_and_leaves_the_owner_as_it_is() {
    let world = World::new();
    let source = |previous: Option<&Token>| -> Result<Token, SourceError> {
        let refresh = previous.and_then(Token::refresh_secret).unwrap_or_default().to_owned();
        Ok(Token::new("by-a-closure")?.with_refresh_token(refresh + "+").with_expires_in(LIFE))
    };
    let session = world.builder(source).build().unwrap();
    assert_eq!(session.token().unwrap().secret(), "a1");
    world.clock.advance(LIFE);
    assert_eq!(session.token().unwrap().secret(), "by-a-closure");
    assert_eq!(world.stored(), both("by-a-closure", "r1+"));
    // It has renewed what was there: that is nobody else's now.
    assert_eq!(world.member("owner"), Some(world.owner()));
    assert_eq!(world.session().token().unwrap().secret(), "by-a-closure");
    let other = RefreshToken::after_login(ENDPOINT, CLIENT_ID);
    assert_eq!(world.builder(other).build().unwrap_err().kind(), ErrorKind::Store);
}

#[test]
fn a_closure_whose_owner_is_named_is_bound_as_a_grant_is() {
    let world = World::new();
    let source = |_: Option<&Token>| Ok::<_, SourceError>(Token::new("by-a-closure")?.with_expires_in(LIFE));
    let error = world.builder(source).owner("tenant a").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert!(error.to_string().contains(&world.owner()) && error.to_string().contains("tenant a"), "{error}");
    let store = MemoryStore::new();
    let session = |owner: &str| world.builder(source).store(store.clone()).owner(owner).build();
    assert_eq!(session("tenant a").unwrap().token().unwrap().secret(), "by-a-closure");
    let text = store.load().unwrap().unwrap().to_text();
    assert_eq!(member(&text, "owner").as_deref(), Some("tenant a"));
    assert_eq!(session("tenant b").unwrap_err().kind(), ErrorKind::Store);
    assert_eq!(session("tenant a").unwrap().current().unwrap().secret(), "by-a-closure");
    assert_eq!(store.load().unwrap().unwrap().to_text(), text);
}
