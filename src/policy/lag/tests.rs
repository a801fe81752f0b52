//! Each rule for a token that the API may not know yet, by its values.

use std::sync::Arc;
use std::time::Duration;

use super::{Lag, Next, Sent};
use crate::clock::Tick;
use crate::policy::Policy;
use crate::token::Token;

const NOW: Tick = Tick::from_zero(Duration::from_secs(1000));

/// Sent before anybody had the token accepted.
const EARLY: Sent =
    Sent { was_accepted: false, replayed: false, repeatable: true, waited: Duration::ZERO, waited_for: 0 };

/// Sent after somebody had.
const LATER: Sent = Sent { was_accepted: true, ..EARLY };

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A token that came now.
fn token(generation: u64) -> Token {
    let mut token = Token::new("t").unwrap();
    (token.origin.generation, token.life.arrived) = (generation, Some(NOW));
    token
}

/// The same, that has been accepted, and expires after so long.
fn old(life: Duration) -> Arc<Token> {
    let mut token = token(1);
    token.life.expired_at = Some(NOW.after(life));
    token.mark_accepted();
    Arc::new(token)
}

fn judge(lag: &mut Lag, token: &Token, sent: Sent) -> Next {
    lag.judge(&Policy::new(), token, sent, NOW)
}

/// The length of the pause, if it is one.
fn pause(next: &Next) -> Option<Duration> {
    if let Next::Pause(pause) = next { Some(*pause) } else { None }
}

fn is_reported(next: &Next) -> bool {
    matches!(next, Next::Report)
}

fn is_previous(next: &Next) -> bool {
    matches!(next, Next::Previous(_))
}

#[test]
fn a_young_token_that_was_not_accepted_is_waited_for_with_pauses_that_double_two_seconds_in_all() {
    let (mut lag, token) = (Lag::default(), token(1));
    let mut sent = EARLY;
    let mut pauses = Vec::new();
    while let Some(pause) = pause(&judge(&mut lag, &token, sent)) {
        pauses.push(pause);
        sent.waited += pause;
        sent.waited_for = 1;
    }
    assert_eq!(pauses, [millis(100), millis(200), millis(400), millis(800), millis(500)]);
    assert!(is_reported(&judge(&mut lag, &token, EARLY)), "in vain for one call, so for the next");
    assert_eq!(pause(&judge(&mut lag, &self::token(2), EARLY)), Some(millis(100)), "another token is another matter");
}

#[test]
fn pauses_for_an_earlier_token_are_not_in_vain_for_the_next() {
    let (mut lag, token) = (Lag::default(), token(2));
    let waited = Sent { waited: Duration::from_secs(2), waited_for: 1, ..EARLY };
    assert!(is_reported(&judge(&mut lag, &token, waited)));
    assert_eq!(pause(&judge(&mut lag, &token, EARLY)), Some(millis(100)));
}

#[test]
fn a_token_that_was_accepted_before_is_not_waited_for() {
    assert!(is_reported(&judge(&mut Lag::default(), &token(1), LATER)));
}

#[test]
fn but_it_is_once_another_call_waits_for_it() {
    let (mut lag, token) = (Lag::default(), token(1));
    judge(&mut lag, &token, EARLY);
    assert_eq!(pause(&judge(&mut lag, &token, LATER)), Some(millis(100)));
    assert!(is_reported(&judge(&mut lag, &self::token(2), LATER)), "and that one alone");
}

#[test]
fn and_it_is_where_the_api_is_known_to_lag_or_has_refused_the_same_call_before() {
    let mut lag = Lag::default();
    assert_eq!(pause(&judge(&mut lag, &token(1), Sent { replayed: true, ..LATER })), Some(millis(100)));
    lag.learn();
    assert_eq!(pause(&judge(&mut lag, &token(2), LATER)), Some(millis(100)));
}

#[test]
fn a_token_is_young_for_two_and_a_half_times_the_lag() {
    let at = |policy: &Policy, age| {
        let mut lag = Lag::default();
        lag.learn();
        pause(&lag.judge(policy, &token(1), EARLY, NOW.after(age)))
    };
    let policy = Policy::new();
    assert_eq!(at(&policy, millis(4999)), Some(millis(100)));
    assert_eq!(at(&policy, millis(5000)), None);
    let short = Policy::new().with_token_lag(millis(60));
    assert_eq!(at(&short, millis(149)), Some(millis(60)), "and no pause is longer than the lag");
    assert_eq!(at(&short, millis(150)), None);
    assert_eq!(at(&Policy::new().with_token_lag(Duration::ZERO), Duration::ZERO), None, "off");
    let mut of_unknown_age = token(1);
    of_unknown_age.life.arrived = None;
    assert!(is_reported(&judge(&mut Lag::default(), &of_unknown_age, EARLY)));
}

#[test]
fn a_token_that_is_being_replaced_is_not_waited_for() {
    let (mut lag, token) = (Lag::default(), token(1));
    judge(&mut lag, &token, EARLY);
    lag.close(1);
    assert!(is_reported(&judge(&mut lag, &token, EARLY)));
}

#[test]
fn the_previous_token_is_tried_by_one_call_while_the_others_pause() {
    let (mut lag, token) = (Lag::default(), token(2));
    lag.keep_previous(&Policy::new(), old(Duration::from_secs(9)), &token);
    assert!(is_previous(&judge(&mut lag, &token, LATER)));
    assert_eq!(pause(&judge(&mut lag, &token, LATER)), Some(millis(100)));
    lag.learn();
    assert!(is_previous(&judge(&mut lag, &token, LATER)), "it was accepted: now it serves all");
    assert!(pause(&judge(&mut lag, &token, Sent { repeatable: false, ..LATER })).is_some(), "who can send it again");
}

#[test]
fn a_previous_token_that_was_refused_as_well_makes_it_a_revocation() {
    let (mut lag, token) = (Lag::default(), token(2));
    lag.keep_previous(&Policy::new(), old(Duration::from_secs(9)), &token);
    judge(&mut lag, &token, LATER);
    lag.previous_refused(2);
    assert!(is_reported(&judge(&mut lag, &token, LATER)));
    assert_eq!(pause(&judge(&mut lag, &token, EARLY)), Some(millis(100)), "or a token that is too new");
}

#[test]
fn a_previous_token_is_kept_no_longer_than_it_can_serve() {
    let (policy, token) = (Policy::new(), token(2));
    for (life, end) in [(millis(700), millis(700)), (Duration::from_secs(60), millis(5000))] {
        let mut lag = Lag::default();
        lag.keep_previous(&policy, old(life), &token);
        assert!(lag.keeps_previous(NOW.after(end - millis(1))));
        assert!(!is_previous(&lag.judge(&policy, &token, EARLY, NOW.after(end))));
        assert!(!lag.keeps_previous(NOW.after(end)));
    }
    let mut lag = Lag::default();
    lag.keep_previous(&policy, Arc::new(self::token(1)), &token);
    assert!(!lag.keeps_previous(NOW), "one that nobody has had accepted");
    lag.keep_previous(&policy, old(Duration::ZERO), &token);
    assert!(!lag.keeps_previous(NOW), "one that has expired");
    lag.keep_previous(&policy.with_token_lag(Duration::ZERO), old(millis(700)), &token);
    assert!(!lag.keeps_previous(NOW), "where nothing is waited for");
}

#[test]
fn a_report_of_an_earlier_token_does_not_open_what_is_closed_for_a_later_one() {
    let mut lag = Lag::default();
    lag.close(2);
    lag.close(1);
    assert!(is_reported(&judge(&mut lag, &token(2), EARLY)));
}

#[test]
fn what_serves_for_a_later_token_is_kept_though_what_served_for_an_earlier_one_is_refused() {
    let (mut lag, token) = (Lag::default(), token(3));
    lag.keep_previous(&Policy::new(), old(Duration::from_secs(9)), &token);
    lag.previous_refused(2);
    assert!(is_previous(&judge(&mut lag, &token, LATER)));
}
