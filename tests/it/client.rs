//! What the client's tests begin with: sessions on counted sources, clients of a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ureq::config::ConfigBuilder;
use ureq::http::Response;
use ureq::typestate::AgentScope;
use ureq::{Body, Error as UreqError};
use ureq_auth::{Client, ClientBuilder, Error, ErrorKind, Policy, Session, SourceError, Token};

use crate::server::{Answer, Seen, Server};

/// Counts how often a source was asked.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<AtomicUsize>);

impl Calls {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// A session whose first token is `token-1`, the next `token-2`, and so on.
pub(crate) fn session() -> (Session, Calls) {
    let calls = Calls::default();
    let source = numbered(calls.clone());
    // A refusal is met at once: what is waited for is for other scenarios.
    let policy = Policy::new().with_token_lag(Duration::ZERO);
    (Session::builder(source).policy(policy).build().unwrap(), calls)
}

pub(crate) fn numbered(calls: Calls) -> impl Fn(Option<&Token>) -> Result<Token, SourceError> + Send + Sync {
    move |_: Option<&Token>| Ok(Token::new(format!("token-{}", calls.next()))?)
}

/// A client of that server alone; every status is an answer.
pub(crate) fn client_of(server: &Server) -> (Client, Calls) {
    let (builder, calls) = builder_of(server);
    (builder.configure(plain_statuses).build().unwrap(), calls)
}

pub(crate) fn builder_of(server: &Server) -> (ClientBuilder, Calls) {
    let (session, calls) = session();
    (Client::builder(session).origin(server.origin()), calls)
}

/// The setting that the crate's documentation recommends.
pub(crate) fn plain_statuses(config: ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope> {
    config.http_status_as_error(false)
}

/// Refuses `token-1` and whoever has none; answers others with their method and what they sent.
pub(crate) fn refuses_the_first(seen: &Seen) -> Answer {
    match seen.bearer() {
        None | Some("token-1") => Answer::refused(),
        Some(_) => Answer::ok(format!("{} {}", seen.method, seen.text())),
    }
}

pub(crate) fn text(answer: Result<Response<Body>, UreqError>) -> String {
    answer.unwrap().body_mut().read_to_string().unwrap()
}

/// The kind of this crate's error inside of one of ureq's.
pub(crate) fn kind(result: Result<Response<Body>, UreqError>) -> ErrorKind {
    let error = result.map(|answer| answer.status()).unwrap_err();
    Error::in_ureq(&error).unwrap_or_else(|| panic!("not an error of ours: {error}")).kind()
}

/// Runs it in that many threads at once, and gives back what they made, in the order of their numbers.
pub(crate) fn in_threads<T: Send>(threads: usize, run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..threads).map(|number| scope.spawn(move || run(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
