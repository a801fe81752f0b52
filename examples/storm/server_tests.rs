//! The server's own rules: a demonstration is worth as much as the judge in it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::server::endpoint::travelled;
use crate::server::issuer::{Blame, InvalidGrant, Issued, Issuer, Need, Refused};
use crate::server::ledger::{Call, Ledger};
use crate::server::{Options, Server};

type TestResult = Result<(), Box<dyn std::error::Error>>;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Tokens of one second, which may be replaced in their last fifth.
fn issuer() -> Issuer {
    Issuer::new(ms(1000), ms(200), Duration::from_secs(1_700_000_000))
}

fn refresh(issuer: &mut Issuer, token: &str, now: Duration) -> Result<(Need, Issued), InvalidGrant> {
    let redeemed = issuer.redeem(token, now)?;
    let issued = issuer.issue(&redeemed, now)?;
    Ok((redeemed.need, issued))
}

#[test]
fn each_refresh_token_works_once_and_brings_the_next() -> TestResult {
    let mut issuer = issuer();
    let first = issuer.log_in();
    let (_, one) = refresh(&mut issuer, &first, ms(0)).map_err(|error| error.0)?;
    let (_, two) = refresh(&mut issuer, &one.refresh_token, ms(900)).map_err(|error| error.0)?;
    assert_ne!(one.refresh_token, two.refresh_token);
    assert_ne!(one.access_token, two.access_token);
    assert_eq!(issuer.check(&two.access_token, ms(901)), Ok(()));
    Ok(())
}

#[test]
fn reuse_of_a_refresh_token_kills_the_whole_family_and_no_other() -> TestResult {
    let mut issuer = issuer();
    let (first, other) = (issuer.log_in(), issuer.log_in());
    let (_, one) = refresh(&mut issuer, &first, ms(0)).map_err(|error| error.0)?;
    assert!(refresh(&mut issuer, &first, ms(1)).is_err());
    assert!(refresh(&mut issuer, &one.refresh_token, ms(2)).is_err(), "the rightful one is dead too");
    assert_eq!(issuer.check(&one.access_token, ms(3)), Err(Refused("the token was revoked")));
    assert!(refresh(&mut issuer, &other, ms(4)).is_ok());
    assert!(refresh(&mut issuer, "made up", ms(5)).is_err());
    Ok(())
}

#[test]
fn reuse_while_the_first_use_is_under_way_kills_the_family() -> TestResult {
    let mut issuer = issuer();
    let first = issuer.log_in();
    let redeemed = issuer.redeem(&first, ms(0)).map_err(|error| error.0)?;
    assert!(issuer.redeem(&first, ms(10)).is_err());
    assert!(issuer.issue(&redeemed, ms(50)).is_err());
    Ok(())
}

#[test]
fn an_access_token_dies_at_its_end_by_revocation_and_by_forgery() -> TestResult {
    let mut issuer = issuer();
    let first = issuer.log_in();
    let (_, one) = refresh(&mut issuer, &first, ms(0)).map_err(|error| error.0)?;
    assert_eq!(issuer.check(&one.access_token, ms(999)), Ok(()));
    assert_eq!(issuer.check(&one.access_token, ms(1001)), Err(Refused("the token has expired")));
    assert!(!issuer.revoke(ms(1001)), "a dead token is not worth a revocation");

    let (_, two) = refresh(&mut issuer, &one.refresh_token, ms(1000)).map_err(|error| error.0)?;
    let mut forged = two.access_token.clone();
    forged.pop();
    assert_eq!(issuer.check(&forged, ms(1001)), Err(Refused("wrong signature")));
    assert_eq!(issuer.check("nonsense", ms(1001)), Err(Refused("not a JWT")));

    assert!(issuer.revoke(ms(1100)));
    assert!(!issuer.revoke(ms(1101)), "once is enough");
    assert_eq!(issuer.check(&two.access_token, ms(1102)), Err(Refused("the token was revoked")));
    Ok(())
}

#[test]
fn a_refresh_is_needed_first_for_age_and_after_a_revocation() -> TestResult {
    let mut issuer = issuer();
    let first = issuer.log_in();
    let (need, one) = refresh(&mut issuer, &first, ms(0)).map_err(|error| error.0)?;
    assert_eq!(need, Need::First);
    let (need, two) = refresh(&mut issuer, &one.refresh_token, ms(500)).map_err(|error| error.0)?;
    assert_eq!(need, Need::None, "half a life is left");
    let (need, three) = refresh(&mut issuer, &two.refresh_token, ms(1300)).map_err(|error| error.0)?;
    assert_eq!(need, Need::Age);
    assert!(issuer.revoke(ms(1400)));
    let (need, _) = refresh(&mut issuer, &three.refresh_token, ms(1401)).map_err(|error| error.0)?;
    assert_eq!(need, Need::Revoked);
    Ok(())
}

#[test]
fn where_no_refresh_is_early_only_a_dead_token_needs_one() -> TestResult {
    let mut issuer = Issuer::new(ms(1000), Duration::ZERO, Duration::ZERO);
    let first = issuer.log_in();
    let (_, one) = refresh(&mut issuer, &first, ms(0)).map_err(|error| error.0)?;
    let (need, two) = refresh(&mut issuer, &one.refresh_token, ms(999)).map_err(|error| error.0)?;
    assert_eq!(need, Need::None);
    let (need, _) = refresh(&mut issuer, &two.refresh_token, ms(1999)).map_err(|error| error.0)?;
    assert_eq!(need, Need::Age);
    Ok(())
}

#[test]
fn an_answer_that_is_lost_is_the_servers_fault_once() -> TestResult {
    let mut issuer = issuer();
    let first = issuer.log_in();
    refresh(&mut issuer, &first, ms(0)).map_err(|error| error.0)?;
    issuer.lose(&first, true);
    let (need, one) = refresh(&mut issuer, &first, ms(1)).map_err(|error| error.0)?;
    assert_eq!(need, Need::Lost, "though the token that was lost is young");
    let (need, _) = refresh(&mut issuer, &one.refresh_token, ms(2)).map_err(|error| error.0)?;
    assert_eq!(need, Need::None, "and that is over then");
    let again = refresh(&mut issuer, &first, ms(3)).map(|_| ()).map_err(|error| error.1);
    assert_eq!(again, Err(Blame::Client), "the grace is for one use");
    Ok(())
}

#[test]
fn an_answer_that_is_lost_without_grace_costs_the_login() -> TestResult {
    let mut issuer = issuer();
    let first = issuer.log_in();
    let (_, one) = refresh(&mut issuer, &first, ms(0)).map_err(|error| error.0)?;
    refresh(&mut issuer, &one.refresh_token, ms(900)).map_err(|error| error.0)?;
    issuer.lose(&one.refresh_token, false);
    assert_eq!(issuer.check(&one.access_token, ms(901)), Ok(()), "what the client has still lives");
    let blame = |refreshed: Result<_, InvalidGrant>| refreshed.map(|_| ()).map_err(|error| error.1);
    assert_eq!(blame(refresh(&mut issuer, &one.refresh_token, ms(902))), Err(Blame::Server));
    assert_eq!(blame(refresh(&mut issuer, &one.refresh_token, ms(903))), Err(Blame::Client), "it knew better");
    Ok(())
}

#[test]
fn a_login_brings_a_token_whose_age_counts() -> TestResult {
    let mut issuer = issuer();
    let login = issuer.log_in_with_token(ms(0)).map_err(|error| error.0)?;
    assert_eq!(issuer.check(&login.access_token, ms(1)), Ok(()));
    let (need, _) = refresh(&mut issuer, &login.refresh_token, ms(2)).map_err(|error| error.0)?;
    assert_eq!(need, Need::None);
    Ok(())
}

#[test]
fn an_expired_token_and_a_revoked_one_are_refused_and_replaced_for_a_reason() -> TestResult {
    let mut issuer = issuer();
    let first = issuer.log_in();
    let redeemed = issuer.redeem(&first, ms(0)).map_err(|error| error.0)?;
    let expired = issuer.issue_expired(&redeemed, ms(0)).map_err(|error| error.0)?;
    assert_eq!(issuer.check(&expired.access_token, ms(2)), Err(Refused("the token has expired")));
    let (need, one) = refresh(&mut issuer, &expired.refresh_token, ms(3)).map_err(|error| error.0)?;
    assert_eq!(need, Need::Age);
    issuer.revoke_this("nonsense");
    assert_eq!(issuer.check(&one.access_token, ms(4)), Ok(()));
    issuer.revoke_this(&one.access_token);
    assert_eq!(issuer.check(&one.access_token, ms(5)), Err(Refused("the token was revoked")));
    let (need, _) = refresh(&mut issuer, &one.refresh_token, ms(6)).map_err(|error| error.0)?;
    assert_eq!(need, Need::Revoked);
    Ok(())
}

#[test]
fn a_request_was_made_when_it_says_so_and_otherwise_when_it_came() {
    let now = Duration::from_secs(1_700_000_000);
    assert_eq!(travelled(Some("1699999999750000000"), now), ms(250));
    assert_eq!(travelled(Some("1700000000250000000"), now), ms(0), "from no future");
    assert_eq!((travelled(None, now), travelled(Some("soon"), now)), (ms(0), ms(0)));
}

/// Doubled, out of order, repeated.
fn judge(calls: &[(u64, u64)]) -> (u64, u64, u64) {
    let mut ledger = Ledger::default();
    calls.iter().for_each(|&(number, attempt)| ledger.accept(1, Call { number, attempt }));
    (ledger.doubled, ledger.out_of_order, ledger.repeated)
}

#[test]
fn the_judge_finds_doubled_and_out_of_order() {
    let judge_numbers = |numbers: &[u64]| judge(&numbers.iter().map(|number| (*number, 1)).collect::<Vec<_>>());
    assert_eq!(judge_numbers(&[1, 2, 3]), (0, 0, 0));
    assert_eq!(judge_numbers(&[1, 3, 4]), (0, 0, 0), "what is missing is for the caller to judge");
    assert_eq!(judge_numbers(&[1, 2, 2, 3, 2]), (2, 0, 0));
    assert_eq!(judge_numbers(&[1, 3, 2, 4]), (0, 1, 0));
}

#[test]
fn a_later_attempt_is_another_call() {
    assert_eq!(judge(&[(1, 1), (1, 2), (2, 1)]), (0, 0, 1));
    assert_eq!(judge(&[(1, 2), (2, 3)]), (0, 0, 0), "the first attempts were never accepted");
    assert_eq!(judge(&[(1, 1), (1, 2), (1, 2)]), (1, 0, 1));
    assert_eq!(judge(&[(1, 2), (1, 1), (2, 1)]), (0, 1, 0));
}

#[test]
fn what_is_long_past_is_doubled_when_it_comes_again() {
    let many: Vec<_> = (1..=1000).map(|number| (number, 1)).collect();
    assert_eq!(judge(&many), (0, 0, 0));
    assert_eq!(judge(&[many, vec![(1, 1)]].concat()), (1, 0, 0));
}

#[test]
fn on_the_wire_a_call_is_refused_then_answered_and_the_server_stops() -> TestResult {
    let server = Server::start(Options::default())?;
    let mut stream = TcpStream::connect(server.api_url().trim_start_matches("http://"))?;
    let mut ask = |request: String| -> std::io::Result<String> {
        stream.write_all(request.as_bytes())?;
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer)?;
        answer.truncate(length);
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };

    let refused = ask("GET /call/1/1 HTTP/1.1\r\nAuthorization: Bearer x.y.z\r\n\r\n".to_owned())?;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    assert!(refused.contains("WWW-Authenticate: Bearer realm=\"storm\", error=\"invalid_token\""), "{refused}");

    let form = format!("grant_type=refresh_token&client_id=storm&refresh_token={}", server.refresh_token());
    let token = ask(format!("POST /token HTTP/1.1\r\nContent-Length: {}\r\n\r\n{form}", form.len()))?;
    let body = token.split_once("\r\n\r\n").ok_or("no body")?.1;
    let token: serde_json::Value = serde_json::from_str(body)?;
    let token = token.get("access_token").and_then(serde_json::Value::as_str).ok_or("no token")?;

    // Chunked on purpose, in two chunks.
    let echoed = ask(format!(
        "POST /call/1/7 HTTP/1.1\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n\
         a\r\n{{\"thread\":\r\nd\r\n1,\"number\":7}}\r\n0\r\n\r\n"
    ))?;
    assert!(echoed.starts_with("HTTP/1.1 200 "), "{echoed}");
    assert!(echoed.ends_with("{\"number\":7,\"thread\":1}"), "{echoed}");

    let counts = server.counts();
    assert_eq!((counts.refused, counts.accepted, counts.refreshes), (1, 1, 1));
    assert_eq!((counts.token_calls_at_once, counts.connections, counts.invalid_grant), (1, 1, 0));
    assert!(server.ledger().lock().is_ok_and(|ledger| ledger.has(1, Call { number: 7, attempt: 1 })));

    drop(server);
    assert_eq!(stream.read(&mut [0])?, 0, "the connection is closed");
    Ok(())
}
