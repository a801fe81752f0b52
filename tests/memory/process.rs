//! What the process does that is searched: with this crate, or with plain ureq. In the end it holds on to nothing.

use std::io::Read as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::http::HeaderValue;
use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, TRANSFER_ENCODING};
use ureq::tls::TlsConfig;
use ureq::typestate::WithBody;
use ureq::{Agent, RequestBuilder};
#[cfg(feature = "browser")]
use ureq_auth::oauth2::BrowserLogin;
use ureq_auth::oauth2::{Grant, RefreshToken};
use ureq_auth::{Client, Fetch, Policy, Session, SessionBuilder, SourceError, Token, TokenSource};
use zeroize::Zeroizing;

use crate::worker;

/// Long enough for the request to go out, and no test waits longer for an answer that does not come.
const SHORT: Duration = Duration::from_secs(2);

/// A text as it may stand in a process that is searched.
pub(crate) fn masked(text: &str) -> String {
    text.bytes().map(|byte| format!("{:02x}", byte ^ 0x55)).collect()
}

fn unmasked(text: &str) -> Zeroizing<String> {
    let mut clear = Zeroizing::new(String::with_capacity(text.len() / 2));
    clear.extend(text.as_bytes().chunks(2).map(|pair| {
        let digits = std::str::from_utf8(pair).unwrap();
        char::from(u8::from_str_radix(digits, 16).unwrap() ^ 0x55)
    }));
    clear
}

/// For who takes a text over.
fn given(text: &str) -> String {
    std::mem::take(&mut *unmasked(text))
}

/// The process: does what it is told, lets go, says which one it is, and waits to be searched.
pub(crate) fn run(arguments: &[String]) {
    let [who, what, origin, secrets @ ..] = arguments else { panic!("{} arguments", arguments.len()) };
    let [a1, a2, r1, r2, client, body] = std::array::from_fn(|at| secrets[at].as_str());
    let scene = Scene { what, origin, access: [a1, a2], refresh: [r1, r2], client, body };
    let mut held = None;
    match who.as_str() {
        "ours" if what == "alone" => scene.alone(),
        "ours" if what == "assertion" => scene.assertion(),
        #[cfg(feature = "browser")]
        "ours" if what == "browser" => scene.browser(),
        "ours" => scene.ours(),
        "plain" => scene.plain(),
        "holding" => held = Some(scene.session()),
        _ => panic!("{who}"),
    }
    if let Some(session) = &held {
        session.token().unwrap();
    }
    worker::say(&std::process::id().to_string());
    // Until its input ends.
    assert!(!worker::ready());
}

/// Where to go, and the secrets, masked.
struct Scene<'a> {
    what: &'a str,
    origin: &'a str,
    access: [&'a str; 2],
    refresh: [&'a str; 2],
    client: &'a str,
    body: &'a str,
}

impl Scene<'_> {
    fn is_token_only(&self) -> bool {
        matches!(self.what, "token" | "unanswered")
    }

    fn timeout(&self) -> Duration {
        if self.what == "unanswered" { SHORT } else { 10 * SHORT }
    }

    /// On a token endpoint, or on a source that has the tokens already.
    fn session(&self) -> Session {
        if !self.is_token_only() {
            return self.session_of_closure(|builder| builder);
        }
        let grant = RefreshToken::new(format!("{}/token", self.origin), "app", given(self.refresh[0]))
            .client_secret(given(self.client))
            .timeout(self.timeout())
            .configure(|config| config.tls_config(trusting_all()));
        // Nobody answers the second attempt anyway: the pause before it need not be long.
        let policy = Policy::new().with_backoff(Duration::from_millis(1), Duration::from_millis(1));
        Session::builder(Once { grant, asked: AtomicBool::new(false) }).policy(policy).build().unwrap()
    }

    fn session_of_closure(&self, settings: impl FnOnce(SessionBuilder) -> SessionBuilder) -> Session {
        let pairs = self.access.iter().zip(&self.refresh).rev();
        let left: Vec<_> = pairs.map(|(access, refresh)| [*access, *refresh].map(str::to_owned)).collect();
        let left = Mutex::new(left);
        let source = move |_: Option<&Token>| -> Result<Token, SourceError> {
            let [access, refresh] = left.lock().unwrap().pop().unwrap();
            Ok(Token::new(given(&access))?.with_refresh_token(given(&refresh)))
        };
        settings(Session::builder(source)).build().unwrap()
    }

    fn ours(&self) {
        let session = self.session();
        if self.is_token_only() {
            drop(session.token());
            return;
        }
        let configure = |config: ureq::config::ConfigBuilder<_>| config.tls_config(trusting_all());
        let client = Client::builder(session).origin(self.origin).configure(configure).build().unwrap();
        let body = unmasked(self.body);
        assert_eq!(text(client.get(self.url("/me")).call()), "fine");
        for _ in 0..2 {
            assert_eq!(text(self.framed(client.post(self.url("/notes"))).send(body.as_str())), "fine");
        }
    }

    /// Values that are made for the attempt: the grant's, and the client's.
    fn assertion(&self) {
        let [assertion, proof] = [self.refresh[0], self.client].map(str::to_owned);
        let grant = Grant::new(format!("{}/token", self.origin), Grant::JWT_BEARER)
            .client_id("app")
            .client_assertion(move |_| Ok(given(&proof)))
            .params(move |_| Ok([("assertion", given(&assertion))]))
            .configure(|config| config.tls_config(trusting_all()));
        drop(grant.fetch(Fetch::new(None, 10 * SHORT)).unwrap());
    }

    /// A login whose code comes by a connection of this process's own, which keeps nothing of it.
    #[cfg(feature = "browser")]
    fn browser(&self) {
        use std::io::Write as _;

        let login = BrowserLogin::new(format!("{}/auth", self.origin), format!("{}/token", self.origin), "app")
            .client_secret(given(self.client))
            .configure(|config| config.tls_config(trusting_all()));
        let code = self.refresh[0].to_owned();
        let open = move |url: &str| {
            let query: Vec<_> = url.split(['?', '&']).collect();
            let value = |name: &str| query.iter().find_map(|pair| pair.strip_prefix(name)).unwrap();
            let port = value("redirect_uri=").split("%3A").nth(2).unwrap().split('%').next().unwrap().parse().unwrap();
            let mut request = Zeroizing::new(String::with_capacity(1024));
            request.push_str("GET /callback?code=");
            request.extend(form_urlencoded::byte_serialize(unmasked(&code).as_bytes()));
            request.push_str("&state=");
            request.push_str(value("state="));
            request.push_str(" HTTP/1.1\r\n\r\n");
            let mut browser = std::net::TcpStream::connect(("127.0.0.1", port))?;
            browser.write_all(request.as_bytes())
        };
        drop(login.log_in(open).unwrap());
    }

    /// The same requests without this crate.
    fn plain(&self) {
        if self.is_token_only() {
            drop(self.plain_refresh());
            return;
        }
        let agent: Agent =
            Agent::config_builder().tls_config(trusting_all()).http_status_as_error(false).build().into();
        let [first, second] = self.access.map(|access| header(&["Bearer ", &unmasked(access)]));
        let body = unmasked(self.body);
        assert_eq!(text(agent.get(self.url("/me")).header(AUTHORIZATION, &first).call()), "fine");
        for (token, answer) in [(&first, ""), (&second, "fine"), (&second, "fine")] {
            let post = self.framed(agent.post(self.url("/notes"))).header(AUTHORIZATION, token);
            assert_eq!(text(post.send(body.as_str())), answer);
        }
    }

    fn plain_refresh(&self) -> Result<(), ureq::Error> {
        let agent: Agent = Agent::config_builder()
            .tls_config(trusting_all())
            .timeout_global(Some(self.timeout()))
            .http_status_as_error(false)
            .max_idle_connections(0)
            .build()
            .into();
        let pair = joined(&["app:", &unmasked(self.client)]);
        let mut credentials = Zeroizing::new(String::with_capacity(2 * pair.len()));
        BASE64_STANDARD.encode_string(pair.as_bytes(), &mut credentials);
        let mut form = Zeroizing::new(String::with_capacity(512));
        form.push_str("grant_type=refresh_token&refresh_token=");
        form.extend(form_urlencoded::byte_serialize(unmasked(self.refresh[0]).as_bytes()));
        let mut answer = agent
            .post(self.url("/token"))
            .header(AUTHORIZATION, header(&["Basic ", &credentials]))
            .header(ACCEPT_ENCODING, "identity")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .send(form.as_str())?;
        let mut text = Zeroizing::new(vec![0; 64 * 1024]);
        let mut reader = answer.body_mut().as_reader();
        let mut length = 0;
        while let read @ 1.. = reader.read(&mut text[length..])? {
            length += read;
        }
        Ok(())
    }

    /// A session that keeps its tokens in a file, is refreshed, goes on from the file, and logs out.
    fn alone(&self) {
        #[cfg(feature = "file-store")]
        {
            let place = worker::Place::new("memory");
            let store = || ureq_auth::FileStore::new(place.path().join("token"));
            let session = self.session_of_closure(|builder| builder.store(store()));
            let token = session.token().unwrap();
            session.rejected(&token).unwrap();
            drop((session, token));
            let session = self.session_of_closure(|builder| builder.store(store()));
            session.token().unwrap();
            session.end().unwrap();
        }
        #[cfg(not(feature = "file-store"))]
        {
            let session = self.session_of_closure(|builder| builder.store(ureq_auth::MemoryStore::new()));
            let token = session.token().unwrap();
            session.rejected(&token).unwrap();
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    fn framed(&self, post: RequestBuilder<WithBody>) -> RequestBuilder<WithBody> {
        if self.what == "chunked" { post.header(TRANSFER_ENCODING, "chunked") } else { post }
    }
}

/// One request, however it ends: plain ureq does not repeat it either.
struct Once {
    grant: RefreshToken,
    asked: AtomicBool,
}

impl TokenSource for Once {
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
        match self.asked.swap(true, Ordering::SeqCst) {
            false => self.grant.fetch(request),
            true => Err(SourceError::misconfigured("one request is enough")),
        }
    }
}

/// What a certificate says is not what this is about.
fn trusting_all() -> TlsConfig {
    TlsConfig::builder().disable_verification(true).build()
}

fn text(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> String {
    answer.unwrap().body_mut().read_to_string().unwrap()
}

fn joined(parts: &[&str]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    text.extend(parts.iter().copied());
    text
}

/// A header's value that is wiped when the last request has let go of it.
fn header(parts: &[&str]) -> HeaderValue {
    struct Owner(Zeroizing<String>);

    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }

    HeaderValue::from_maybe_shared(bytes::Bytes::from_owner(Owner(joined(parts)))).unwrap()
}
