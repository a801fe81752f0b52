//! A [`Client`]: a `ureq::Agent` whose every call carries the session's token.

mod with_session;

use std::fmt;
use std::sync::{Arc, Weak};

use ureq::config::{Config, ConfigBuilder};
use ureq::http::{self, Request, Response, Uri};
use ureq::typestate::{AgentScope, WithBody, WithoutBody};
use ureq::{Agent, AsSendBody, Body, RequestBuilder};

use crate::http::connector::SharedConnector;
use crate::http::middleware::{Allowed, Bearer, LastLook};
use crate::http::origin::Origin;
use crate::http::refusal::{Answer, Judge, Rule};
use crate::http::token_in::{TokenIn, Way};
use crate::{Error, Result, Session};

/// Bodies up to this size are kept for a second attempt, unless set otherwise.
const REPLAY_LIMIT: usize = 64 * 1024;

/// Redirects that are followed, unless set otherwise; ureq's own number.
const MAX_REDIRECTS: u32 = 10;

/// Idle connections that are kept, unless set otherwise: for one host and in all. An idle connection is one that a call has
/// opened and given back, so there are never more than there were calls at once; and after 15 seconds ureq closes it. A
/// smaller pool throws away what the next crowd has to open again.
const MAX_IDLE: usize = 1024;

/// An agent whose every call to its origins carries the session's token.
///
/// Clones are the same client: one pool, one session. The calls return ureq's own request builders, so all that ureq can
/// do is there: `.query()`, `.config()`, `.send_json()`, and any library that takes a `ureq::Agent` takes
/// [`agent()`](Client::agent).
///
/// # What it does to a call
///
/// - To one of its origins, without an `Authorization` header of the caller's (or a password in the address): the session's
///   token goes with it. All other calls go out as they came.
/// - A 401 that is the token's fault: one refresh for all threads, then the same request again, once. A new token that the API
///   may not know yet is sent again first ([`Policy::with_token_lag`](crate::Policy::with_token_lag)). Not its fault is a 401 with
///   `insufficient_scope` or `insufficient_user_authentication`, or with challenges of other schemes only. An API that says it
///   in another way needs [`refused_if`](ClientBuilder::refused_if).
/// - A redirect: followed with the token as long as it stays in the origins, port included, and without it from there on.
///   Of the caller's headers, only those that are no credentials go along to another origin (RFC 9110 §15.4): `Accept`,
///   `Accept-Charset`, `Accept-Encoding`, `Accept-Language`, `Cache-Control`, `If-Match`, `If-Modified-Since`, `If-None-Match`,
///   `If-Range`, `If-Unmodified-Since`, `Range` and `User-Agent`. Within an origin, `Authorization`, `Cookie`,
///   `Content-Length`, `Transfer-Encoding` and `Expect` stay behind, as in ureq or nearly so.
/// - An address of its origins in another spelling is rewritten to the origin's own, so that an `HTTPS` that was put together
///   of parts means TLS. An address without a usable scheme, host or port is
///   [`BadUri`](ureq::Error::BadUri), and so is a redirect to one; nothing is sent to it.
///
/// Errors of the session travel as `ureq::Error::Other`; [`Error::in_ureq`] finds them.
///
/// # Settings of ureq that matter
///
/// `http_status_as_error(false)` is the better one: a 401 then arrives with its headers, so that the token is not blamed for
/// a missing scope, and its connection stays open. With ureq's default the headers are gone, every 401 counts as the
/// token's fault, and the loop breaker bounds the damage. Either way each caller gets what their setting promises.
///
/// `timeout_global` starts after the token is there: the wait for a refresh has a deadline of its own
/// ([`Policy::with_wait_timeout`](crate::Policy::with_wait_timeout)). A call that is redirected or sent again has it anew
/// each time.
///
/// A name is looked up on the calling thread, which no time-out cuts short but `timeout_resolve`, by a thread for each look-up.
///
/// The pool is sized for threads (1024 idle connections, where ureq keeps 3 a host and 10 in all): a crowd that waited for a
/// refresh would otherwise open new connections all at once, over TLS a storm of handshakes. It keeps as many as there were
/// calls at once, for `max_idle_age` (15 seconds). What [`configure`](ClientBuilder::configure) sets is left as it is.
///
/// `max_redirects` is always 0, whatever the agent or a request sets, since the client follows by itself:
/// [`ClientBuilder::max_redirects`], and [`MaxRedirects`] for one request. `save_redirect_history` knows the last hop only, and
/// `max_redirects_will_error` counts as the agent has it.
///
/// [`MaxRedirects`]: crate::MaxRedirects
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    agent: Agent,
    session: Session,
    origins: Allowed,
    /// The client whose agent sends the requests, where this one is [`Client::with_session`] of it.
    base: Option<Client>,
}

impl AsRef<Agent> for Inner {
    fn as_ref(&self) -> &Agent {
        &self.agent
    }
}

impl Client {
    /// A client whose token goes to `origin` and nowhere else: scheme, host and port, like `https://api.example.com`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if that is no origin, or plain http to another machine.
    pub fn new(session: Session, origin: &str) -> Result<Self> {
        Self::builder(session).origin(origin).build()
    }

    /// A client with settings of your own.
    pub fn builder(session: Session) -> ClientBuilder {
        ClientBuilder {
            session,
            origins: Vec::new(),
            plain_http: false,
            replay_limit: REPLAY_LIMIT,
            max_redirects: MAX_REDIRECTS,
            judge: None,
            way: Ok(None),
            configure: None,
            make_agent: None,
        }
    }

    /// The session whose token it is.
    pub fn session(&self) -> &Session {
        &self.0.session
    }

    /// The agent itself, for libraries that take one. Keep a clone of this client for as long as the agent is used.
    ///
    /// An agent whose clients are all gone still sends the token, and refreshes it. It does not send calls again
    /// ([`Event::ClientGone`](crate::Event::ClientGone)), and does not follow redirects.
    ///
    /// The agent of a client [`with_session`](Client::with_session) hands each request to the first client's, whose pool and
    /// cookies it uses.
    pub fn agent(&self) -> &Agent {
        &self.0.agent
    }

    /// Runs a request of the `http` crate.
    ///
    /// # Errors
    ///
    /// ureq's, with the session's inside `Other`.
    pub fn run(&self, request: Request<impl AsSendBody>) -> Result<Response<Body>, ureq::Error> {
        self.agent().run(request)
    }
}

/// One method for each of ureq's: the same builder, on this client's agent.
macro_rules! methods {
    ($($name:ident $verb:literal $body:ty),* $(,)?) => {
        impl Client {
            $(
                #[doc = concat!("Begins a ", $verb, " request; the rest is ureq's.")]
                #[must_use = "a request does nothing until it is sent"]
                pub fn $name<T>(&self, uri: T) -> RequestBuilder<$body>
                where
                    Uri: TryFrom<T>,
                    <Uri as TryFrom<T>>::Error: Into<http::Error>,
                {
                    self.agent().$name(uri)
                }
            )*
        }
    };
}

methods! {
    get "GET" WithoutBody,
    head "HEAD" WithoutBody,
    delete "DELETE" WithoutBody,
    options "OPTIONS" WithoutBody,
    trace "TRACE" WithoutBody,
    connect "CONNECT" WithoutBody,
    post "POST" WithBody,
    put "PUT" WithBody,
    patch "PATCH" WithBody,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { session, origins, .. } = &*self.0;
        f.debug_struct("Client").field("origins", &origins.0).field("session", session).finish_non_exhaustive()
    }
}

/// Settings of a [`Client`].
#[must_use = "a builder does nothing until build() is called"]
pub struct ClientBuilder {
    session: Session,
    origins: Vec<String>,
    plain_http: bool,
    replay_limit: usize,
    max_redirects: u32,
    judge: Option<Box<dyn Judge>>,
    way: Result<Option<Box<dyn Way>>>,
    configure: Option<Configure>,
    make_agent: Option<MakeAgent>,
}

type Configure = Box<dyn FnOnce(ConfigBuilder<AgentScope>, LastLook) -> ConfigBuilder<AgentScope>>;
type MakeAgent = Box<dyn FnOnce(Config) -> Agent>;

impl ClientBuilder {
    /// Adds an origin that gets the token: scheme, host and port, like `https://api.example.com`. At least one is needed.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Lets the token travel over plain http to other machines too. Everybody on the way can read and use it.
    pub fn allow_plain_http(mut self) -> Self {
        self.plain_http = true;
        self
    }

    /// How many bytes of a request's body are kept at most, so that it can be sent a second time: 64 KiB unless set. A
    /// larger one streams; if its token is refused, it is refreshed and the caller gets the 401, marked
    /// [`NotReplayed`](crate::NotReplayed) (as an error, [`ErrorKind::NotReplayed`](crate::ErrorKind::NotReplayed)).
    ///
    /// A body is read that far before anything is sent, and one that is larger goes out chunked. A caller who sets
    /// `Content-Length` or `Transfer-Encoding: chunked` has it sent as it comes, and framed like that: for a server that
    /// wants to know the length of a large body, and for a reader whose bytes come one by one.
    pub fn replay_limit(mut self, bytes: usize) -> Self {
        self.replay_limit = bytes;
        self
    }

    /// How many redirects are followed: 10 unless set. With 0 callers get the redirects themselves.
    pub fn max_redirects(mut self, limit: u32) -> Self {
        self.max_redirects = limit;
        self
    }

    /// Makes a response a refusal of the token if `rule` says so, beside the 401s that are one already: for an API that
    /// says it by another status, scheme or body. The token is refreshed then, and the request sent again.
    ///
    /// That is once, but up to eight times in all where the API may not know the token yet (see [`Client`]). So a rule on a 2xx
    /// must be sure that the API has done nothing, above all for a `POST`.
    ///
    /// The rule is asked about each response to a request with the token but a 101. It runs on the caller's thread and must be
    /// quick; if it panics, so does the call. This or [`refused_only_if`](ClientBuilder::refused_only_if) replaces an earlier rule.
    ///
    /// ```
    /// # fn show(builder: ureq_auth::ClientBuilder) -> ureq_auth::ClientBuilder {
    /// builder.refused_if(|answer| answer.status() == 498 || answer.json_is("/error", "token_expired"))
    /// # }
    /// ```
    pub fn refused_if(self, rule: impl Fn(&mut Answer<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.refused_only_if(move |answer| answer.is_refused_by_default() || rule(answer))
    }

    /// The same in place of the built-in rule. [`Answer::is_refused_by_default`] still tells what that says.
    pub fn refused_only_if(mut self, rule: impl Fn(&mut Answer<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.judge = Some(Box::new(Rule(rule)));
        self
    }

    /// How the token goes in, in place of `Authorization: Bearer`: another header, another scheme, a cookie.
    ///
    /// A name that cannot be used is an error of [`build`](ClientBuilder::build).
    pub fn token_in(mut self, way: TokenIn) -> Self {
        self.way = way.into_way().map(Some);
        self
    }

    /// ureq's own settings: time-outs, TLS, a proxy, further middlewares. The client's middleware is in it already and
    /// comes first, so that yours see each attempt, with the token in its `Authorization`.
    ///
    /// A middleware may change the address. The client has the last look: a request to another origin with the token, moved or
    /// copied to whichever header or query, is [`InvalidInput`](crate::ErrorKind::InvalidInput). It does not see a token that
    /// is encoded, in a body or no longer in force, nor what a middleware sends by a call or an agent of its own. A middleware
    /// must not have ureq follow redirects (`max_redirects` of a request's configuration): nobody would see where they lead.
    pub fn configure(
        mut self,
        configure: impl FnOnce(ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope> + 'static,
    ) -> Self {
        // Added here, so that a program without middlewares of its own does not carry the last look's code.
        self.configure = Some(Box::new(|config, last_look| configure(config).middleware(last_look)));
        self
    }

    /// Makes the agent, of the configuration that it gets: with a connector or a resolver of your own, for a Unix socket, a
    /// pinned address or a test without a network. [`configure`](ClientBuilder::configure) is called before it. The grants
    /// and [`Issuer`](crate::oauth2::Issuer) have the same.
    ///
    /// Which requests get the token is decided by their address, not by where a connector or resolver leads them: what
    /// stands behind these two gets the token. TLS is up to the connector. A 401's body is not read: a replay costs a connection.
    ///
    /// ```no_run
    /// use ureq::Agent;
    /// use ureq::unversioned::{resolver::DefaultResolver, transport::DefaultConnector};
    /// # fn show(session: ureq_auth::Session) -> Result<(), ureq_auth::Error> {
    ///
    /// let client = ureq_auth::Client::builder(session)
    ///     .origin("https://api.example.com")
    ///     .make_agent(|config| Agent::with_parts(config, DefaultConnector::new(), DefaultResolver::default()))
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    pub fn make_agent(mut self, make_agent: impl FnOnce(Config) -> Agent + 'static) -> Self {
        self.make_agent = Some(Box::new(make_agent));
        self
    }

    /// Builds the client. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if there is no origin, one is not well formed or is plain http to
    /// another machine, a proxy from the environment would get the token for one on this machine in the clear, or
    /// [`configure`](ClientBuilder::configure) or [`make_agent`](ClientBuilder::make_agent) has not built on what it got.
    pub fn build(self) -> Result<Client> {
        let ClientBuilder {
            session,
            origins,
            plain_http,
            replay_limit,
            max_redirects,
            judge,
            way,
            configure,
            make_agent,
        } = self;
        let way = way?;
        let is_bearer = way.is_none();
        if origins.is_empty() {
            return Err(Error::invalid("a client needs an origin to send its token to, like https://api.example.com"));
        }
        let mut allowed = Vec::with_capacity(origins.len());
        for origin in &origins {
            let origin = Origin::parse(origin)?;
            origin.check_private(plain_http)?;
            allowed.push(origin);
        }
        let origins = Allowed(Arc::new(allowed));

        // A proxy from the environment would take plain http to this machine off it, with the token in the clear.
        let is_open = |origin: &Origin| origin.is_loopback() && !origin.is_https();
        let stays_here = origins.0.iter().all(is_open);

        let inner = Arc::new_cyclic(|inner: &Weak<Inner>| {
            let agent: Weak<dyn AsRef<Agent> + Send + Sync> = inner.clone();
            let bearer = Bearer {
                session: session.clone(),
                origins: origins.clone(),
                replay_limit,
                max_redirects,
                judge,
                way,
                agent,
                bounded: make_agent.is_none(),
            };
            let config = Config::builder()
                .middleware(bearer)
                .max_idle_connections(MAX_IDLE)
                .max_idle_connections_per_host(MAX_IDLE);
            let config = if stays_here { config.proxy(None) } else { config };
            let (config, connector) = match configure {
                // It may hold middlewares of the user's, and TLS settings.
                Some(configure) => {
                    let last_look = LastLook { origins: origins.clone(), session: session.clone(), is_bearer };
                    (configure(config, last_look), SharedConnector::new())
                }
                None => (config, SharedConnector::of_defaults()),
            };
            let config = config.max_redirects(0).build();
            let agent = match make_agent {
                Some(make_agent) => make_agent(config),
                None => connector.agent(config),
            };
            Inner { agent, session, origins, base: None }
        });
        // The middleware alone holds such a reference; it is gone where a builder of the user's own was given back.
        if Arc::weak_count(&inner) == 0 {
            return Err(Error::invalid(
                "configure() or make_agent() has not built on the argument that it got, so no call would carry the token: \
                 begin with the argument, as in configure(|config| config.max_idle_age(..))",
            ));
        }
        let proxy = inner.agent.config().proxy().filter(|proxy| proxy.is_from_env());
        let through =
            |origin: &Origin| is_open(origin) && proxy.is_some_and(|proxy| !proxy.is_no_proxy(&origin.to_uri()));
        if inner.origins.0.iter().any(through) {
            return Err(Error::invalid(
                "the environment's proxy would get the token for http on this machine in the clear: set \
                 NO_PROXY=localhost,127.0.0.1, or choose with configure(|config| config.proxy(..))",
            ));
        }
        Ok(Client(inner))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClientBuilder { origins, replay_limit, max_redirects, .. } = self;
        f.debug_struct("ClientBuilder")
            .field("origins", origins)
            .field("replay_limit", replay_limit)
            .field("max_redirects", max_redirects)
            .finish_non_exhaustive()
    }
}
