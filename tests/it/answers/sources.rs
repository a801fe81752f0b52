//! A source around a grant, or around a call of its own: what it hears, and what `?` makes of it.

use ureq::Agent;
use ureq_auth::{ErrorKind, Fetch, Outcome, SourceError, Token};

use super::*;
use crate::support::gives;

/// A source around a grant that hears what the grant says.
#[derive(Clone)]
struct Listener {
    grant: Arc<RefreshToken>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// Outcome, code and pause of a failed attempt.
pub(super) type Heard = (Outcome, Option<String>, Option<Duration>);

impl TokenSource for Listener {
    fn fetch(&self, request: Fetch<'_>) -> Result<Token, SourceError> {
        self.grant.fetch(request).inspect_err(|error| {
            let heard = (error.outcome(), error.code().map(str::to_owned), error.retry_after());
            self.heard.lock().unwrap().push(heard);
        })
    }

    fn check(&self) -> ureq_auth::Result<()> {
        self.grant.check()
    }

    fn owner(&self) -> Option<String> {
        self.grant.owner()
    }
}

/// What a source around a grant hears of one attempt that meets this.
pub(super) fn heard(world: &World, answer: &Answer) -> Heard {
    let listener = Listener { grant: Arc::new(world.source()), heard: Arc::default() };
    let session = world.builder(listener.clone()).build().unwrap();
    world.clock.advance(LIFE - REST);
    world.meets(answer, 1);
    assert_eq!(session.token().unwrap().secret(), "a1");
    let mut heard = listener.heard.lock().unwrap();
    assert_eq!(heard.len(), 1);
    heard.remove(0)
}

#[test]
fn a_source_around_a_grant_hears_outcome_code_and_pause() {
    use Outcome::{Misconfigured, Refused, Rejected, Unavailable, Unknown, Unreadable};
    let coded = |status, code: &str| json(status, &format!(r#"{{"error":"{code}"}}"#));
    let later = |answer: Answer| answer.header("Retry-After", "17");
    let table: [(Answer, Outcome, Option<&str>, Option<u64>); 14] = [
        (coded(400, "invalid_grant"), Rejected, Some("invalid_grant"), None),
        (coded(403, "consent_required"), Rejected, Some("consent_required"), None),
        (coded(401, "invalid_client"), Misconfigured, Some("invalid_client"), None),
        (coded(403, "unauthorized_client"), Misconfigured, Some("unauthorized_client"), None),
        (coded(400, "access_denied"), Refused, Some("access_denied"), None),
        (later(coded(400, "rate_limited")), Refused, Some("rate_limited"), Some(17)),
        (later(coded(400, "slow_down")), Unavailable, Some("slow_down"), Some(17)),
        (later(Answer::new(429)), Unavailable, None, Some(17)),
        (html(403), Refused, None, None),
        (html(404), Misconfigured, None, None),
        (Answer::redirect(302, "/login"), Misconfigured, None, None),
        (html(200), Unreadable, None, None),
        (cut_after(""), Unknown, None, None),
        (cut_after("HTTP/1.1 400 No\r\nContent-Length: 99\r\n\r\n{"), Unavailable, None, None),
    ];
    for (answer, outcome, code, pause) in table {
        let expected = (outcome, code.map(str::to_owned), pause.map(secs));
        assert_eq!(heard(&World::new(), &answer), expected, "{answer:?}");
    }
}

#[test]
fn a_source_around_a_grant_is_handed_what_the_session_keeps() {
    // The new refresh token of an answer that is refused is not the wrapping source's affair: it passes the error on.
    let world = World::new();
    let odd = json(200, r#"{"access_token":"a b","refresh_token":"next"}"#);
    assert_eq!(heard(&world, &odd).0, Outcome::Misconfigured);
    assert_eq!(world.stored(), both("a1", "next"));
    let session = world.session();
    world.clock.advance(REST);
    assert_eq!(session.token().unwrap().secret(), "a2");
    assert_eq!(world.sent(), ["r1", "next"]);
}

/// How a source of the user's own gets a token, with `?` wherever something may fail.
type Way = fn(&Agent, &str) -> Result<Token, SourceError>;

fn gets(agent: &Agent, url: &str) -> Result<Token, SourceError> {
    let text = agent.get(url).call()?.body_mut().read_to_string()?;
    Ok(Token::new(text)?.with_expires_in(LIFE))
}

fn posts(agent: &Agent, url: &str) -> Result<Token, SourceError> {
    let text = agent.post(url).send("refresh")?.body_mut().read_to_string()?;
    Ok(Token::new(text)?.with_expires_in(LIFE))
}

fn gets_a_little(agent: &Agent, url: &str) -> Result<Token, SourceError> {
    let text = agent.get(url).call()?.body_mut().with_config().limit(100).read_to_string()?;
    Ok(Token::new(text)?.with_expires_in(LIFE))
}

#[test]
fn what_a_page_makes_of_a_source_with_question_marks_is_no_end() {
    let page = "<html>\n<h1>Welcome to the hotel's network</h1></html>";
    let ways: &[(&str, Answer, Way, ErrorKind)] = &[
        ("a page", Answer::ok(page), gets, ErrorKind::Unknown),
        ("nothing", Answer::ok(""), gets, ErrorKind::Unknown),
        ("a long page", Answer::ok(page.repeat(100)), gets_a_little, ErrorKind::Unknown),
        ("a redirect to itself", Answer::redirect(302, "/token"), gets, ErrorKind::Misconfigured),
        ("a redirect of a POST", Answer::redirect(307, "/elsewhere"), posts, ErrorKind::Misconfigured),
        ("a firewall's page", html(403), gets, ErrorKind::Unavailable),
        ("no route", html(404), gets, ErrorKind::Misconfigured),
        ("a proxy without its upstream", html(502), gets, ErrorKind::Unavailable),
        #[cfg(feature = "gzip")]
        ("no gzip", Answer::ok(page).header("Content-Encoding", "gzip"), gets, ErrorKind::Unknown),
    ];
    for (name, answer, way, kind) in ways.iter().cloned() {
        let fault = Arc::new(Mutex::new(Some(answer)));
        let meets = Arc::clone(&fault);
        let server = Server::start(move |_| meets.lock().unwrap().clone().unwrap_or_else(|| Answer::ok("token-2")));
        let (agent, url) = (Agent::new_with_defaults(), server.url("/token"));
        let clock = ManualClock::new(None);
        let session =
            Session::builder(move |_: Option<&Token>| way(&agent, &url)).clock(clock.clone()).policy(policy());
        let session = session.build().unwrap();
        for round in 0..5 {
            let error = session.token().unwrap_err();
            assert_eq!(error.kind(), kind, "{name}, {round}: {error}");
            assert!(!error.is_login_required() && error.is_retryable(), "{name}, {round}: {error}");
            assert!(error.retry_after().is_some_and(|pause| pause <= LIMIT), "{name}, {round}: {error:?}");
            clock.advance(error.retry_after().unwrap());
        }
        *fault.lock().unwrap() = None;
        assert_eq!(session.token().unwrap().secret(), "token-2", "{name}");
    }
}

#[test]
fn what_this_crate_says_to_a_source_inside_is_no_end_either() {
    // A client that the source has for itself: of a session that refreshes nothing for a 401, and of none at all.
    let inner =
        crate::support::Scene::with(vec![gives("inner", 300)], |builder| builder.policy(policy().with_reactive(false)));
    let session = inner.session.clone();
    let refused = move |_: Option<&Token>| -> Result<Token, SourceError> {
        let token = session.token()?;
        session.rejected(&token)?;
        unreachable!("nothing is refreshed after a refusal");
    };
    let nobody = |_: Option<&Token>| -> Result<Token, SourceError> {
        ureq_auth::client()?;
        unreachable!("nobody has called init");
    };
    let refused = Session::builder(refused).clock(inner.clock.clone()).policy(policy()).build().unwrap();
    let nobody = Session::builder(nobody).clock(inner.clock.clone()).policy(policy()).build().unwrap();
    for (session, kind) in [(refused, ErrorKind::Unavailable), (nobody, ErrorKind::Misconfigured)] {
        for _ in 0..5 {
            let error = session.token().unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.is_retryable() && !error.is_login_required(), "{error}");
            inner.clock.advance(error.retry_after().unwrap());
        }
    }
}

/// A session whose source asks another one first (RFC 8693): a login there is what both need, and it is no end of this one.
#[test]
fn the_end_of_the_session_inside_is_heard_and_not_shared() {
    type End = fn(&World, &Session);
    let ends: [(End, ErrorKind); 4] = [
        (|_, _| (), ErrorKind::NotLoggedIn),
        (|_, inner| drop((inner.set(Token::new("a1").unwrap()), inner.end())), ErrorKind::LoggedOut),
        (
            |world, inner| {
                world.meets(&json(400, r#"{"error":"invalid_grant"}"#), 1);
                inner.set(Token::new("a1").unwrap().with_refresh_token("r1")).unwrap();
                inner.rejected(&inner.token().unwrap()).unwrap_err();
            },
            ErrorKind::Rejected,
        ),
        (
            |world, inner| {
                world.meets(&cut_after(""), 2);
                inner.set(Token::new("a1").unwrap().with_refresh_token("r1")).unwrap();
                inner.rejected(&inner.token().unwrap()).unwrap_err();
            },
            ErrorKind::Unknown,
        ),
    ];
    for ((end, kind), has_store) in ends.into_iter().flat_map(|end| [(end, true), (end, false)]) {
        let world = World::new();
        let inner = Session::builder(world.source()).clock(world.clock.clone()).policy(policy()).build().unwrap();
        end(&world, &inner);
        let (subject, store) = (inner.clone(), MemoryStore::new());
        let around = move |_: Option<&Token>| -> Result<Token, SourceError> {
            let exchanged = format!("for-{}", subject.token()?.secret());
            Ok(Token::new(exchanged)?.with_refresh_token("of-the-exchange").with_expires_in(LIFE))
        };
        save(&store, r#"{"version":1,"access_token":"b1","refresh_token":"of-the-exchange"}"#);
        let (before, builder) = (store.load().unwrap().unwrap().to_text(), Session::builder(around));
        let builder = if has_store { builder.store(store.clone()) } else { builder };
        let session = builder.clock(world.clock.clone()).policy(policy()).build().unwrap();
        let ask = || if has_store { session.rejected(&session.current().unwrap()) } else { session.token() };
        let error = ask().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.is_login_required() && !error.is_retryable() && error.to_string().contains("log in"), "{error}");
        assert_eq!(store.load().unwrap().unwrap().to_text(), before, "{kind:?}: nobody has refused that one");
        for _ in 0..3 {
            world.clock.advance(LIMIT);
            assert_eq!(session.token().unwrap_err().kind(), kind);
        }
        // The user logs in, where that is done.
        inner.set(Token::new("login").unwrap()).unwrap();
        session.retry_now();
        world.clock.advance(secs(1));
        assert_eq!(session.token().unwrap().secret(), "for-login", "{kind:?}, with a store: {has_store}");
    }
}
