//! What the token endpoints of well-known providers answer, by their documentation or by public reports: the lines of Rust
//! that serve each of them stand in `docs/providers.md`, and are compiled and tried out here.
//!
//! The answers are data (`providers/*.json`); all tokens in them are made up. No test sleeps: pauses are a manual clock's.

mod codes;
mod data;
mod lines;
mod page;
mod stand_in;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{Clock, ErrorKind, ManualClock, Policy, Session, Token, TokenSource};

use self::codes::DeadLogin;
use self::data::{APP, Provider, Refusal, Then};
use crate::server::{Answer, Server};
use crate::support::{WALL, millis, secs};

/// Where a provider does not tell how long its tokens live.
const TWO_HOURS: Duration = Duration::from_secs(7200);

/// Longer than any pause of the default policy.
const ANY_PAUSE: Duration = Duration::from_secs(301);

fn session(provider: &Provider, server: &Server, clock: &ManualClock, token: Option<Token>) -> Session {
    stand_in::answer_from(server.origin());
    let builder = (provider.lines)(APP).clock(clock.clone());
    match token {
        Some(token) => builder.token(token).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

#[test]
fn the_lines_of_each_provider_get_a_token_and_the_next_one() {
    for provider in Provider::all() {
        let key = provider.key;
        let server = Server::script([provider.success(), provider.success()]);
        let clock = ManualClock::new(Some(secs(WALL)));
        let session = session(&provider, &server, &clock, None);

        let token = session.token().unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!(token.secret(), provider.access_token(), "{key}");
        assert_eq!(token.lifetime(), provider.lifetime(), "{key}");
        assert_eq!(token.refresh_secret().unwrap_or(APP.refresh_token), provider.next_refresh_token(), "{key}");

        // To its end, or until the API refuses it: a session that is not told a life waits for that.
        session.accepted(&token);
        match provider.lifetime() {
            Some(lifetime) => clock.advance(lifetime),
            None => drop(session.rejected(&token).unwrap()),
        }
        let next = session.token().unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!(next.generation(), 2, "{key}");

        let seen = server.seen();
        assert_eq!(seen.len(), 2, "{key}");
        provider.check_request(&seen[0], APP.refresh_token);
        provider.check_request(&seen[1], provider.next_refresh_token());
    }
}

#[test]
fn what_each_provider_answers_instead_is_taken_for_what_it_means_there() {
    for provider in Provider::all() {
        for refusal in provider.refusals() {
            meet(&provider, &refusal);
        }
    }
}

/// The old token serves to its end, whatever the refresh met; then the caller hears what it was, and a session that may
/// try again does, and goes on as soon as the server is well.
fn meet(provider: &Provider, refusal: &Refusal<'_>) {
    let what = format!("{}: {}", provider.key, refusal.of());
    let is_well = Arc::new(AtomicBool::new(false));
    let server = {
        let (is_well, success, refused) = (Arc::clone(&is_well), provider.success(), refusal.answer());
        Server::start(move |_| if is_well.load(Ordering::SeqCst) { success.clone() } else { refused.clone() })
    };
    let clock = ManualClock::new(Some(secs(WALL)));
    let lifetime = provider.lifetime().unwrap_or(TWO_HOURS);
    let old = Token::new("old").unwrap().with_refresh_token(APP.refresh_token).with_expires_in(lifetime);
    let session = session(provider, &server, &clock, Some(old));

    // Stale by any policy here, and not expired.
    let rest = secs(12);
    clock.advance(lifetime - rest);
    let token = session.token().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(token.secret(), "old", "{what}");
    assert_eq!(server.count(), 1, "{what}: a refresh ahead of time is one attempt");

    clock.advance(rest);
    let error = session.token().expect_err(&what);
    let kind = match refusal.then() {
        Then::Final => ErrorKind::Rejected,
        Then::Misconfigured => ErrorKind::Misconfigured,
        Then::Refused | Then::Later => ErrorKind::Unavailable,
    };
    assert_eq!(error.kind(), kind, "{what}: {error}");
    assert_eq!(error.is_login_required(), refusal.then() == Then::Final, "{what}: {error}");
    let pause = error.retry_after();
    let is_long = |pause: Option<Duration>| pause.is_some_and(|pause| pause > secs(60));
    assert_eq!(pause.is_none(), refusal.then() == Then::Final, "{what}: {pause:?}");
    assert_eq!(is_long(pause), refusal.then() == Then::Misconfigured, "{what}: {pause:?}");
    let text = format!("{error} {error:?}");
    for secret in [APP.client_secret, APP.refresh_token, provider.access_token()] {
        assert!(!text.contains(secret), "{what}: {text}");
    }
    let attempts = server.count() - 1;
    assert_eq!(attempts, if refusal.then() == Then::Final { 0 } else { attempts.max(1) }, "{what}");
    assert_eq!(attempts > 1, refusal.then() == Then::Later, "{what}: {attempts} attempts of one flight");

    is_well.store(true, Ordering::SeqCst);
    let before = server.count();
    clock.advance(ANY_PAUSE);
    let after = session.token();
    if refusal.then() == Then::Final {
        assert_eq!(after.expect_err(&what).kind(), ErrorKind::Rejected, "{what}");
        assert_eq!(server.count(), before, "{what}: nothing is sent after a verdict");
    } else {
        assert_eq!(after.unwrap_or_else(|error| panic!("{what}: {error}")).secret(), provider.access_token(), "{what}");
        assert_eq!(server.count(), before + 1, "{what}");
    }
}

/// An hour of calls, one every five seconds, at a server that refuses what comes before the last 30 s of a token's 600.
/// Returns how many token requests it refused.
fn an_hour_at_exact_online(policy: Option<Policy>) -> usize {
    let providers = Provider::all();
    let provider = providers.iter().find(|provider| provider.key == "exact").unwrap();
    let early = provider.refusals().into_iter().find(|refusal| refusal.then() == Then::Refused).unwrap().answer();
    let clock = ManualClock::new(Some(secs(WALL)));
    let refused = Arc::new(AtomicUsize::new(0));
    let server = {
        let (clock, refused, success) = (clock.clone(), Arc::clone(&refused), provider.success());
        let issued = std::sync::Mutex::new(None);
        Server::start(move |_| {
            let (now, mut issued) = (clock.now(), issued.lock().unwrap());
            if issued.is_some_and(|issued| now.since(issued) < secs(570)) {
                refused.fetch_add(1, Ordering::SeqCst);
                return early.clone();
            }
            // The server's ten minutes begin when it answers, the session's when it has asked.
            clock.advance(millis(400));
            *issued = Some(clock.now());
            success.clone()
        })
    };
    stand_in::answer_from(server.origin());
    let builder = (provider.lines)(APP).clock(clock.clone());
    let builder = if let Some(policy) = policy { builder.policy(policy) } else { builder };
    let session = builder.build().unwrap();
    for call in 0..720 {
        session.token().unwrap_or_else(|error| panic!("call {call}: {error}"));
        clock.advance(secs(5));
    }
    let issued = server.count() - refused.load(Ordering::SeqCst);
    assert!((6..=7).contains(&issued), "{issued} tokens in an hour");
    refused.load(Ordering::SeqCst)
}

#[test]
fn exact_online_refuses_no_refresh_with_the_lines_on_the_page() {
    assert_eq!(an_hour_at_exact_online(None), 0);
}

#[test]
fn exact_online_costs_no_call_an_error_with_the_default_policy_either() {
    for seed in 0..8 {
        let refused = an_hour_at_exact_online(Some(Policy::new().with_jitter_seed(seed)));
        assert!(refused > 0, "the default window begins earlier than Exact Online allows");
    }
}

#[test]
fn the_page_says_what_was_tried_out() {
    page::compare(&Provider::all());
}

#[test]
fn the_example_shows_the_source_of_the_page() {
    let example = include_str!("../../examples/provider_codes.rs");
    assert!(example.contains(&page::piece(include_str!("providers/codes.rs"), "DeadLogin")));
}

#[test]
fn the_source_around_a_grant_passes_on_what_a_session_asks_it() {
    let grant = |client_id: &str| RefreshToken::new("https://id.example.com/token", client_id, "fake-first");
    let owner = grant("my-client").owner();
    assert!(owner.is_some());
    assert_eq!(DeadLogin { grant: grant("my-client"), says: &[] }.owner(), owner);
    // A logout revokes it.
    let refresh_token = DeadLogin { grant: grant("my-client"), says: &[] }.refresh_token();
    assert_eq!(refresh_token.as_deref().map(String::as_str), Some("fake-first"));
    let error = DeadLogin { grant: grant(""), says: &[] }.check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_refusal_that_breaks_off_is_no_verdict() {
    let providers = Provider::all();
    let strava = providers.iter().find(|provider| provider.key == "strava").unwrap();
    let torn = Answer::new(400).header("Content-Type", "application/json").body(r#"{"errors":[{"resource":"#).torn();
    let server = Server::script([torn, strava.success()]);
    let clock = ManualClock::new(Some(secs(WALL)));
    let session = session(strava, &server, &clock, None);
    assert_eq!(session.token().unwrap_err().kind(), ErrorKind::Unavailable);
    clock.advance(ANY_PAUSE);
    assert_eq!(session.token().unwrap().secret(), strava.access_token());
}
