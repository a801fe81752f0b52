//! How old a token is by the server's own clock: `Date` and `iat` of one answer (RFC 9110 §6.6.1, RFC 7519 §4.1.6).

use std::time::SystemTime;

use ureq::Proxy;
use ureq_auth::Policy;

use super::*;
use crate::support::{jwt, millis};

/// An endpoint that takes its time, before it issues the token and after that.
#[derive(Clone)]
struct Slow {
    clock: ManualClock,
    before: Duration,
    after: Duration,
    life: Duration,
    /// By how much the `iat` is ahead of the server's time.
    ahead: Duration,
    has_date: bool,
    has_iat: bool,
}

impl Slow {
    fn new(before: Duration, after: Duration, life: Duration) -> Self {
        let clock = ManualClock::new(Some(secs(WALL)));
        Slow { clock, before, after, life, ahead: Duration::ZERO, has_date: true, has_iat: true }
    }

    fn answer(&self) -> Answer {
        self.clock.advance(self.before);
        let iat = (self.clock.wall().unwrap() + self.ahead).as_secs();
        let issued = if self.has_iat { format!(r#""iat":{iat},"#) } else { String::new() };
        let token = jwt(&format!(r#"{{{issued}"exp":{}}}"#, iat + self.life.as_secs()));
        self.clock.advance(self.after);
        let body = format!(
            r#"{{"access_token":"{}","refresh_token":"r","expires_in":{}}}"#,
            token.secret(),
            self.life.as_secs()
        );
        let date = SystemTime::UNIX_EPOCH + self.clock.wall().unwrap();
        let answer = json(200, &body);
        if self.has_date { answer.header("Date", httpdate::fmt_http_date(date)) } else { answer }
    }

    fn server(&self) -> Server {
        let slow = self.clone();
        Server::start(move |_| slow.answer())
    }

    fn builder(&self, source: RefreshToken) -> SessionBuilder {
        Session::builder(source).clock(self.clock.clone())
    }

    /// How long after its arrival the first token is due, without windows.
    fn usable(&self, source: RefreshToken) -> Duration {
        let exact = Policy::new().with_stale_window(0, Duration::ZERO).with_leeway(0, Duration::ZERO);
        let session = self.builder(source).policy(exact).build().unwrap();
        let first = session.token().unwrap().generation();
        let arrived = self.clock.now();
        for tenth in 0..20_000 {
            if session.token().unwrap().generation() != first {
                return millis(100 * tenth);
            }
            // In step with the seconds, whatever the endpoint takes.
            self.clock.advance(arrived.after(millis(100 * (tenth + 1))).since(self.clock.now()));
        }
        panic!("it never ends");
    }
}

fn at(server: &Server) -> RefreshToken {
    RefreshToken::new(server.url("/token"), CLIENT_ID, "r")
}

#[test]
fn tokens_of_a_second_from_an_endpoint_that_takes_most_of_one_are_refreshed_once_each() {
    let slow = Slow::new(millis(700), Duration::ZERO, secs(1));
    let endpoint = slow.server();
    let session = slow.builder(at(&endpoint)).policy(policy()).build().unwrap();
    let begin = slow.clock.now();
    while slow.clock.now().since(begin) < secs(60) {
        session.token().unwrap();
        slow.clock.advance(millis(10));
    }
    // 0.7 s for a token, which then serves for 0.8 s at least: its stale window is a fifth of its second. Counted from before
    // the request, 0.1 s would be left of it.
    let refreshes = endpoint.count();
    assert!((35..=40).contains(&refreshes), "{refreshes} refreshes in a minute");
}

#[test]
fn no_call_fails_for_what_whole_seconds_cannot_tell() {
    // The token is issued early, and the answer takes its time: `Date` and `iat` agree to the second, or differ by one.
    let slow = Slow::new(millis(100), millis(600), secs(2));
    let endpoint = slow.server();
    let now = slow.clock.clone();
    let api = Server::start(move |seen| {
        let claims = ureq_auth::jwt::Times::read(seen.bearer().unwrap()).unwrap();
        if now.wall().unwrap() < claims.exp.unwrap() { Answer::ok("fine") } else { Answer::refused() }
    });
    let session = slow.builder(at(&endpoint)).policy(policy()).build().unwrap();
    let client = Client::builder(session).origin(api.origin()).configure(plain_statuses).build().unwrap();
    for call in 0..300 {
        assert_eq!(client.get(api.url("/")).call().unwrap().status(), 200, "call {call}");
        slow.clock.advance(millis(100));
    }
    let (stats, refreshes) = (client.session().stats(), endpoint.count());
    assert!((15..=30).contains(&refreshes), "{refreshes} in half a minute, of which refused: {stats:?}");
}

#[test]
fn a_token_is_as_old_as_the_server_says_and_no_older_than_its_request() {
    let life = secs(100);
    // Issued at the end of what the endpoint takes: its whole life is ahead.
    let slow = Slow::new(secs(10), Duration::ZERO, life);
    assert_eq!(slow.usable(at(&slow.server())), life);
    // At the begin, and in between.
    let slow = Slow::new(Duration::ZERO, secs(10), life);
    assert_eq!(slow.usable(at(&slow.server())), secs(90));
    let slow = Slow::new(secs(6), secs(4), life);
    assert_eq!(slow.usable(at(&slow.server())), secs(96));
    // A server that hands out a token that it has had for a minute says by expires_in what is left of it.
    let slow = Slow::new(secs(10), Duration::ZERO, life);
    let old = {
        let slow = slow.clone();
        Server::start(move |_| {
            slow.clock.advance(secs(10));
            let now = slow.clock.wall().unwrap();
            let token = jwt(&format!(r#"{{"iat":{},"exp":{}}}"#, now.as_secs() - 60, now.as_secs() + 100));
            let body = format!(r#"{{"access_token":"{}","refresh_token":"r","expires_in":100}}"#, token.secret());
            json(200, &body).header("Date", httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + now))
        })
    };
    assert_eq!(slow.usable(at(&old)), secs(90), "never from before the request");
}

#[test]
fn without_the_servers_word_a_life_counts_from_before_the_request() {
    let slow = || Slow::new(secs(10), Duration::ZERO, secs(100));
    let old_rule = secs(90);
    let no_date = Slow { has_date: false, ..slow() };
    assert_eq!(no_date.usable(at(&no_date.server())), old_rule);
    let no_iat = Slow { has_iat: false, ..slow() };
    assert_eq!(no_iat.usable(at(&no_iat.server())), old_rule);
    // Two clocks that do not agree: which of them is right is not known.
    let ahead = Slow { ahead: secs(5), ..slow() };
    assert_eq!(ahead.usable(at(&ahead.server())), old_rule);
}

#[test]
fn a_date_that_anybody_on_the_way_may_have_written_says_nothing() {
    let slow = Slow::new(secs(10), Duration::ZERO, secs(100));
    let server = {
        let slow = slow.clone();
        Server::start(move |seen| match seen.method.as_str() {
            // A tunnel to an address of plain http, whose end is this very server.
            "CONNECT" => Answer::new(200),
            _ => slow.answer(),
        })
    };
    let proxy = Proxy::new(&server.origin()).unwrap();
    let source = RefreshToken::new("http://id.example.invalid/token", CLIENT_ID, "r")
        .allow_plain_http()
        .configure(move |config| config.proxy(Some(proxy.clone())));
    assert_eq!(slow.usable(source), secs(90));
    assert_eq!(server.told()[..2], ["CONNECT id.example.invalid:80", "POST /token"]);
}
