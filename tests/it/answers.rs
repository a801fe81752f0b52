//! What token endpoints answer, and what stands in their place, through the wire: a real client, session and store, and a
//! server that is well again later. What the caller hears, what a second session on the store sees, what is stored, when it
//! goes on. No test sleeps: pauses are a manual clock's.

mod back;
mod cases;
mod clocks;
mod crowds;
mod exact;
mod generated;
mod logins;
mod owners;
mod sources;
mod unsaved;

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ureq_auth::oauth2::{ClientCredentials, RefreshToken};
use ureq_auth::{
    Client, Clock as _, Error, ManualClock, MemoryStore, Session, SessionBuilder, Stored, TokenSource, TokenStore as _,
};

use crate::client::plain_statuses;
use crate::server::{Answer, Seen, Server};
use crate::support::{WALL, Watch, policy, secs};

/// How long every token here lives.
const LIFE: Duration = secs(3600);

/// What is left of a token that is stale by every policy, and not expired.
const REST: Duration = secs(100);

/// The backoff's limit: no pause of ours is longer.
const LIMIT: Duration = secs(300);

/// Whose tokens they are.
const CLIENT_ID: &str = "my-client";

/// A token endpoint that is well unless told otherwise, an API, a store with the token `a1` and `r1`, and the time.
struct World {
    endpoint: Server,
    /// What the token endpoint answers instead of a token, and how often.
    fault: Arc<Mutex<Option<Fault>>>,
    /// Started when it is first called.
    api: OnceLock<Server>,
    clock: ManualClock,
    store: MemoryStore,
}

struct Fault {
    answer: Answer,
    times: usize,
}

impl World {
    fn new() -> Self {
        let fault = Arc::<Mutex<Option<Fault>>>::default();
        let (meets, issued) = (Arc::clone(&fault), AtomicUsize::new(1));
        let endpoint = Server::start(move |seen| {
            assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/token"));
            let mut fault = meets.lock().unwrap();
            if let Some(fault) = fault.as_mut().filter(|fault| fault.times > 0) {
                fault.times -= 1;
                return fault.answer.clone();
            }
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            issue(&format!("a{number}"), &format!("r{number}"))
        });
        let (api, clock) = (OnceLock::new(), ManualClock::new(Some(secs(WALL))));
        let world = World { endpoint, fault, api, clock, store: MemoryStore::new() };
        world.put("a1", "r1");
        world
    }

    /// The endpoint answers with this, so many times.
    fn meets(&self, answer: &Answer, times: usize) {
        *self.fault.lock().unwrap() = Some(Fault { answer: answer.clone(), times });
    }

    /// Accepts every token, and says which.
    fn api(&self) -> &Server {
        self.api.get_or_init(|| Server::start(|seen| Answer::ok(seen.bearer().unwrap_or("nobody"))))
    }

    fn is_well(&self) {
        *self.fault.lock().unwrap() = None;
    }

    /// Stores a token that has just come.
    fn put(&self, access: &str, refresh: &str) {
        let text = serde_json::json!({
            "version": 1, "access_token": access, "refresh_token": refresh, "lifetime_ms": LIFE.as_millis() as u64,
            "received_at_ms": self.clock.wall().unwrap().as_millis() as u64, "owner": self.owner(),
        });
        save(&self.store, &text.to_string());
    }

    fn owner(&self) -> String {
        self.source().owner().unwrap()
    }

    fn source(&self) -> RefreshToken {
        RefreshToken::after_login(self.endpoint.url("/token"), CLIENT_ID)
    }

    fn service(&self) -> ClientCredentials {
        ClientCredentials::new(self.endpoint.url("/token"), CLIENT_ID, "hunter2")
    }

    fn builder(&self, source: impl TokenSource + 'static) -> SessionBuilder {
        Session::builder(source).store(self.store.clone()).clock(self.clock.clone()).policy(policy())
    }

    fn session(&self) -> Session {
        self.builder(self.source()).build().unwrap()
    }

    /// A client whose session starts with what is stored.
    fn client(&self) -> Client {
        self.client_of(self.session())
    }

    fn client_of(&self, session: Session) -> Client {
        Client::builder(session).origin(self.api().origin()).configure(plain_statuses).build().unwrap()
    }

    /// The token that a call through this client has carried, or why there was no call.
    fn call(&self, client: &Client) -> Result<String, Error> {
        match client.get(self.api().url("/")).call() {
            Ok(mut answer) => Ok(answer.body_mut().read_to_string().unwrap()),
            Err(error) => Err(Error::in_ureq(&error).expect("an error of ours").clone()),
        }
    }

    /// What is stored, to the letter.
    fn text(&self) -> String {
        self.store.load().unwrap().expect("nothing empties the store").to_text().to_string()
    }

    /// A text in what is stored.
    fn member(&self, name: &str) -> Option<String> {
        member(&self.text(), name)
    }

    /// Access and refresh token as they are stored.
    fn stored(&self) -> (Option<String>, Option<String>) {
        (self.member("access_token"), self.member("refresh_token"))
    }

    /// The refresh tokens that the endpoint was sent, in order.
    fn sent(&self) -> Vec<String> {
        let seen = self.endpoint.seen();
        let fields = seen.iter().map(|seen| {
            let text = seen.text();
            let field = text.split('&').find_map(|field| field.strip_prefix("refresh_token="));
            field.unwrap_or("-").to_owned()
        });
        fields.collect()
    }
}

fn save(store: &MemoryStore, text: &str) {
    let stored = Stored::from_text(text).unwrap();
    store.exclusive(Duration::ZERO).unwrap().save(&stored).unwrap();
}

fn member(text: &str, name: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    value[name].as_str().map(str::to_owned)
}

fn both(access: &str, refresh: &str) -> (Option<String>, Option<String>) {
    (Some(access.to_owned()), Some(refresh.to_owned()))
}

fn issue(access: &str, refresh: &str) -> Answer {
    json(200, &format!(r#"{{"access_token":"{access}","refresh_token":"{refresh}","expires_in":{}}}"#, LIFE.as_secs()))
}

fn json(status: u16, body: &str) -> Answer {
    Answer::new(status).header("Content-Type", "application/json").body(body)
}

fn html(status: u16) -> Answer {
    Answer::new(status).header("Content-Type", "text/html").body("<!DOCTYPE html><title>One moment</title>")
}

/// The connection's end after this text, or instead of any.
fn cut_after(text: impl AsRef<[u8]>) -> Answer {
    let text = text.as_ref().to_vec();
    Answer::wire(move |mut stream| {
        let _gone = stream.write_all(&text);
    })
}

/// What an error's predicates say is one thing, and its text says it too.
fn assert_agrees(error: &Error, what: &str) {
    let (text, pause) = (error.to_string(), error.retry_after());
    assert_eq!(error.is_retryable(), pause.is_some(), "{what}: {text}, {pause:?}");
    assert_eq!(error.is_login_required(), pause.is_none(), "{what}: {text}, {pause:?}");
    assert!(!error.is_login_required() || error.may_need_login(), "{what}: {text}");
    assert!(!error.is_login_required() || text.contains("log in again"), "{what}: {text}");
    assert!(error.may_need_login() || !text.contains("log in"), "{what}: {text}");
    assert!(!text.contains("hunter2"), "{what}: {text}");
}
