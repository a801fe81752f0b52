//! A hundred sessions on one store, and an authorization server that takes each refresh token once.

use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::bench::{Bench, Case, LONG, Stop, begin, check, failed, stored};
use crate::{Policy, Session, SourceError, Token};

pub(super) const ALL: &[(&str, Case)] = &[("a hundred sessions spend each refresh token once", hundred)];

const SESSIONS: usize = 100;

#[derive(Default)]
struct Server {
    newest: usize,
    calls: usize,
    reused: usize,
}

impl Server {
    fn answer(&mut self, sent: &str) -> Result<Token, SourceError> {
        self.calls += 1;
        if sent != format!("r{}", self.newest) {
            self.reused += 1;
            return Err(SourceError::rejected("it was used before").with_code("invalid_grant"));
        }
        self.newest += 1;
        let token = Token::new(format!("a{}", self.newest))?.with_refresh_token(format!("r{}", self.newest));
        Ok(token.with_expires_in(Duration::from_secs(3600)))
    }
}

fn hundred(bench: &dyn Bench) -> Result<(), Stop> {
    begin(bench, Some(&stored(0, 0)?))?;
    let server = Arc::new(Mutex::new(Server::default()));
    let minutes = 4 * LONG;
    let policy = Policy::new().with_budget(minutes).with_wait_timeout(minutes).with_patience(LONG);
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let server = Arc::clone(&server);
        let source = move |previous: Option<&Token>| {
            let sent = previous.and_then(Token::refresh_secret).unwrap_or_default();
            // Long enough for all others to come.
            thread::sleep(Duration::from_millis(20));
            server.lock().unwrap_or_else(PoisonError::into_inner).answer(sent)
        };
        sessions.push(Session::builder(source).store(bench.open()).policy(policy.clone()).build()?);
    }
    let barrier = Barrier::new(SESSIONS);
    let answers: Vec<Result<(), Stop>> = thread::scope(|scope| {
        let threads: Vec<_> = sessions.iter().map(|session| scope.spawn(|| two_rounds(session, &barrier))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| failed("the store panics"))).collect()
    });
    let server = server.lock().unwrap_or_else(PoisonError::into_inner);
    check(server.reused == 0, &format!("{} refresh tokens were spent twice", server.reused))?;
    answers.into_iter().collect::<Result<(), Stop>>()?;
    check(server.calls == 2, &format!("{} token calls where two were needed", server.calls))
}

/// The first token, when the stored one has expired; and the next one, when that is refused.
fn two_rounds(session: &Session, barrier: &Barrier) -> Result<(), Stop> {
    barrier.wait();
    let first = session.token();
    // All come here, whatever they got.
    barrier.wait();
    let first = first?;
    let second = session.rejected(&first)?;
    check((first.secret(), second.secret()) == ("a1", "a2"), "a session has another token than the rest")
}
