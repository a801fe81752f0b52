//! Each rule of the memory for addresses, by its values.

use super::{Address, Addresses, LIMIT, QUIET, UNPROVEN};
use crate::clock::Tick;
use std::time::Duration;

const NOW: Tick = Tick::from_zero(Duration::from_secs(1000));

fn address(name: &str) -> Address {
    Address::of(&["GET", "https", "api.example.com", name])
}

/// An address that is known to refuse every token: the first two.
fn known() -> Addresses {
    let mut addresses = Addresses::default();
    assert!(!addresses.refuse(address("/bad"), 1, true, NOW));
    assert!(addresses.refuse(address("/bad"), 2, true, NOW));
    addresses
}

#[test]
fn two_generations_refused_and_the_second_accepted_elsewhere_is_the_addresss_own() {
    let mut addresses = known();
    assert!(addresses.is_quiet(address("/bad"), NOW));
    assert!(!addresses.is_quiet(address("/good"), NOW));
    assert!(!addresses.refuse(address("/good"), 2, true, NOW), "it has refused no other");
}

#[test]
fn one_generation_is_not_however_often_it_is_refused() {
    let mut addresses = Addresses::default();
    for _ in 0..10 {
        assert!(!addresses.refuse(address("/bad"), 1, true, NOW));
    }
    assert!(!addresses.refuse(address("/bad"), 0, true, NOW), "nor is an earlier one");
}

#[test]
fn a_token_that_nobody_accepts_is_not_the_addresss_trouble() {
    let mut addresses = Addresses::default();
    addresses.refuse(address("/bad"), 1, true, NOW);
    assert!(!addresses.refuse(address("/bad"), 2, false, NOW));
    assert!(!addresses.refuse(address("/bad"), 3, false, NOW));
    assert!(addresses.refuse(address("/bad"), 3, true, NOW), "until somebody does");
    assert!(addresses.refuse(address("/bad"), 4, false, NOW), "and once it is known, that is enough");
}

#[test]
fn a_success_clears_it() {
    let mut addresses = known();
    addresses.accept(Some(address("/good")), NOW);
    assert!(addresses.is_quiet(address("/bad"), NOW));
    addresses.accept(Some(address("/bad")), NOW);
    assert!(addresses.is_empty() && !addresses.is_quiet(address("/bad"), NOW));
    assert!(!addresses.refuse(address("/bad"), 3, true, NOW));
}

#[test]
fn after_five_minutes_one_refresh_is_tried_again() {
    let mut addresses = known();
    let just_before = NOW.after(QUIET - Duration::from_nanos(1));
    addresses.accept(None, just_before);
    assert!(addresses.refuse(address("/bad"), 2, true, just_before));
    let then = NOW.after(QUIET);
    assert!(!addresses.is_quiet(address("/bad"), then));
    assert!(!addresses.refuse(address("/bad"), 2, true, then), "one");
    assert!(addresses.refuse(address("/bad"), 2, true, then), "and no more");
    assert!(addresses.refuse(address("/bad"), 3, true, then.after(QUIET)), "a token that came by itself is a try");
    assert!(addresses.is_quiet(address("/bad"), then.after(QUIET)));
}

#[test]
fn the_oldest_goes_first_and_there_are_never_more_than_sixteen() {
    let mut addresses = Addresses::default();
    for number in 0..100 {
        addresses.refuse(address(&number.to_string()), 1, true, NOW);
        assert!(addresses.entries.len() <= LIMIT);
    }
    assert_eq!(LIMIT, 16);
    let mut is_known = |number: usize| addresses.refuse(address(&number.to_string()), 2, true, NOW);
    assert!(is_known(84) && is_known(99));
    assert!(!is_known(83));
}

#[test]
fn each_part_of_an_address_makes_another_one() {
    let one = Address::of(&["GET", "https", "a.example", "/b"]);
    assert_eq!(one, Address::of(&["GET", "https", "a.example", "/b"]));
    for other in [
        ["POST", "https", "a.example", "/b"],
        ["GET", "http", "a.example", "/b"],
        ["GET", "https", "a.example:8443", "/b"],
        ["GET", "https", "a.example", "/c"],
        ["GET", "https", "a.example/", "b"],
    ] {
        assert_ne!(one, Address::of(&other), "{other:?}");
    }
}

#[test]
fn without_any_success_a_refresh_is_tried_after_a_moment_and_then_twice_as_long() {
    let mut addresses = known();
    let (mut now, mut wait) = (NOW, UNPROVEN);
    for generation in 2..20 {
        let almost = now.after(wait).before(Duration::from_millis(1));
        assert!(addresses.refuse(address("/bad"), generation, true, almost));
        now = now.after(wait);
        assert!(!addresses.refuse(address("/bad"), generation, true, now), "nobody knows that the token is good");
        assert!(addresses.refuse(address("/bad"), generation, true, now), "but one");
        assert!(addresses.refuse(address("/bad"), generation + 1, false, now), "which was in vain");
        wait = (2 * wait).min(QUIET);
    }
    let later = now.after(wait / 2);
    addresses.accept(None, later);
    assert!(
        addresses.refuse(address("/bad"), 20, true, later.after(wait / 2 - Duration::from_millis(1))),
        "somebody knows"
    );
}
