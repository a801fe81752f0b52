//! When tokens are due, for lives from a second to a day: seen from outside, through a session and a clock set by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ureq_auth::{ErrorKind, ManualClock, Policy, Reason, Session, SourceError, Token};

use crate::support::{Gate, Scene, Seen, aside, crowd, gives, held, millis, secs, step, token, unavailable};

const DAY: u64 = 24 * 3600;
const NANO: Duration = Duration::from_nanos(1);

/// A life with the windows that it should have at its end: a fifth, 5 minutes at most; a twentieth, 10 s at most.
struct Expected {
    life: u64,
    stale: Duration,
    leeway: Duration,
}

const LIVES: [Expected; 4] = [
    Expected { life: 1, stale: millis(200), leeway: millis(50) },
    Expected { life: 300, stale: secs(60), leeway: secs(10) },
    Expected { life: 3600, stale: secs(300), leeway: secs(10) },
    Expected { life: DAY, stale: secs(300), leeway: secs(10) },
];

/// Does a session with this policy go to the source when its token of `life` seconds has this age?
fn is_due(policy: &Policy, life: u64, age: Duration) -> bool {
    let clock = ManualClock::new(None);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let source = move |_: Option<&Token>| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(token("t2", life))
    };
    let session = Session::builder(source).policy(policy.clone()).clock(clock.clone()).token(token("t1", life));
    let session = session.build().unwrap();
    clock.advance(age);
    session.token().unwrap();
    calls.load(Ordering::SeqCst) > 0
}

/// The age at which a token becomes due, to the nanosecond.
fn stale_point(policy: &Policy, life: u64) -> Duration {
    let (mut fresh, mut due) = (Duration::ZERO, secs(life));
    assert!(!is_due(policy, life, fresh) && is_due(policy, life, due));
    while due - fresh > NANO {
        let middle = fresh + (due - fresh) / 2;
        if is_due(policy, life, middle) { due = middle } else { fresh = middle }
    }
    due
}

fn seeded(seed: u64) -> Policy {
    Policy::new().with_jitter_seed(seed).with_patience(Duration::ZERO)
}

/// A scene with a token of `life` seconds that has come to this age.
fn aged(life: u64, age: Duration, policy: Policy) -> Scene {
    let scene = Scene::with(Vec::new(), |builder| builder.policy(policy).token(token("t1", life)));
    scene.clock.advance(age);
    scene
}

#[test]
fn a_token_is_stale_in_the_last_part_of_its_life_however_long_that_is() {
    for Expected { life, stale, .. } in LIVES {
        for seed in 0..50 {
            let window = secs(life) - stale_point(&seeded(seed), life);
            assert!(window <= stale && window >= stale * 2 / 3, "seed {seed}: {window:?} of {life} s");
        }
    }
}

#[test]
fn seeds_spread_the_stale_point_over_a_third_of_the_window() {
    for Expected { life, stale, .. } in LIVES {
        let mut points: Vec<_> = (0..50).map(|seed| stale_point(&seeded(seed), life)).collect();
        points.sort_unstable();
        points.dedup();
        assert!(points.len() >= 49, "{} different points of 50 for {life} s", points.len());
        // 50 points at random leave less than a tenth free at both ends together, but for one case in hundreds; these
        // seeds are no such case, and will not become one.
        assert!(points[points.len() - 1] - points[0] > stale / 3 * 9 / 10, "{life} s");
    }
}

#[test]
fn the_same_seed_is_the_same_point_and_without_a_seed_each_draws_its_own() {
    assert_eq!(stale_point(&seeded(42), 300), stale_point(&seeded(42), 300));
    let mut drawn: Vec<_> = (0..5).map(|_| stale_point(&Policy::new(), 300)).collect();
    drawn.dedup();
    assert!(drawn.len() > 1, "a fleet that draws nothing refreshes in step: {drawn:?}");
}

#[test]
fn a_token_is_replaced_for_everybody_from_the_leeway_on_and_serves_to_its_very_end() {
    for Expected { life, leeway, .. } in LIVES {
        let reason_at = |age| {
            let scene = aged(life, age, seeded(7));
            scene.script.push(gives("t2", life));
            assert_eq!(scene.session.token().unwrap().secret(), "t2");
            scene.watch.reasons()
        };
        let expired = secs(life) - leeway;
        assert_eq!(reason_at(expired - NANO), [Reason::Stale], "{life} s");
        assert_eq!(reason_at(expired), [Reason::Expired], "{life} s");

        let when_no_other_can_be_had = |age| {
            let scene = aged(life, age, seeded(7).with_attempts(1));
            scene.script.push(unavailable());
            scene.session.token().map(|token| token.secret().to_owned())
        };
        assert_eq!(when_no_other_can_be_had(secs(life) - NANO).unwrap(), "t1");
        assert_eq!(when_no_other_can_be_had(secs(life)).unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[test]
fn in_the_stale_window_one_caller_refreshes_inline_and_the_others_have_the_old_token_at_once() {
    for Expected { life, leeway, .. } in LIVES {
        for age in [stale_point(&seeded(7), life), secs(life) - leeway - NANO] {
            let gate = Gate::default();
            let scene = aged(life, age, seeded(7));
            scene.script.push(held(&gate, gives("t2", life)));
            let one = scene.ask();
            gate.await_entered();
            let session = scene.session.clone();
            // The flight stands still until they are all back.
            let others = crowd(8, move |_| (0..20).map(|_| session.token()).collect::<Vec<_>>()).gather();
            assert!(others.into_iter().flatten().all(|token| token.unwrap().secret() == "t1"));
            gate.open();
            assert_eq!(one.result().unwrap().secret(), "t2", "inline: who refreshes has the new one");
            assert_eq!((scene.calls(), scene.session.stats().joined_waits), (1, 0));
        }
    }
}

#[test]
fn a_token_of_a_second_is_not_refreshed_on_every_call() {
    let scene = Scene::new((0..20).map(|_| gives("t", 1)).collect());
    // 1000 calls in ten seconds. A fixed margin of some seconds would make a refresh of each.
    for _ in 0..1000 {
        scene.session.token().unwrap();
        scene.clock.advance(millis(10));
    }
    let refreshes = scene.calls();
    assert!((10..=13).contains(&refreshes), "{refreshes}");
    while scene.calls() < 20 {
        scene.clock.advance(secs(1));
        scene.session.token().unwrap();
    }
}

#[test]
fn the_windows_are_the_policys() {
    let windows = |stale, leeway| Policy::new().with_stale_window(stale, secs(DAY)).with_leeway(leeway, secs(DAY));
    // Without a stale window the leeway is the only one; it is not jittered.
    assert_eq!(stale_point(&windows(0, 0), 300), secs(300));
    assert_eq!(stale_point(&windows(0, 50), 300), secs(150));
    let point = stale_point(&windows(90, 0), 300);
    assert!(point >= secs(30) && point <= secs(120), "{point:?}");
    let point = stale_point(&Policy::new().with_stale_window(90, secs(3)).with_leeway(0, NANO), 300);
    assert!(point >= secs(297) && point <= secs(298), "{point:?}");
}

#[test]
fn a_validity_within_the_tokens_rest_costs_nothing_and_beyond_it_a_refresh() {
    let valid_for = |age, wanted| {
        let scene = aged(300, age, seeded(7));
        let due = scene.session.current().unwrap().lifetime().unwrap() - age < wanted;
        if due {
            scene.script.push(gives("t2", 300));
        }
        assert_eq!(scene.session.token_valid_for(wanted).unwrap().generation(), if due { 2 } else { 1 });
        assert_eq!(scene.watch.reasons().first(), due.then_some(&Reason::Expired));
    };
    for wanted in [NANO, secs(100), secs(225)] {
        // The stale window is another matter: keep out of it.
        let last = (secs(300) - wanted).min(secs(239));
        valid_for(last, wanted);
        if wanted >= secs(61) {
            valid_for(last + NANO, wanted);
        }
    }
}

#[test]
fn a_validity_of_nothing_is_a_plain_call() {
    let scene = aged(300, secs(239), seeded(7));
    assert_eq!(scene.session.token_valid_for(Duration::ZERO).unwrap().generation(), 1);
    scene.clock.advance(secs(50));
    scene.script.push(gives("t2", 300));
    assert_eq!(scene.session.token_valid_for(Duration::ZERO).unwrap().generation(), 2);
    assert_eq!(scene.watch.reasons(), [Reason::Stale]);
}

#[test]
fn more_validity_than_the_server_grants_does_not_refresh_on_every_call() {
    for Expected { life, .. } in LIVES {
        for wanted in [secs(life), secs(10 * life), Duration::MAX] {
            let scene = aged(life, secs(life) / 4, seeded(7));
            for _ in 0..100 {
                assert_eq!(scene.session.token_valid_for(wanted).unwrap().generation(), 1);
            }
            scene.script.push(gives("t2", life));
            scene.clock.advance(NANO);
            for _ in 0..100 {
                assert_eq!(scene.session.token_valid_for(wanted).unwrap().generation(), 2, "three quarters are gone");
            }
        }
    }
}

#[test]
fn more_validity_than_is_left_when_a_token_arrives_does_not_refresh_on_every_call() {
    // A slow server: of the minute it grants, a third is over before anybody has the token.
    let scene = Scene::new(Vec::new());
    for name in ["t1", "t2"] {
        let clock = scene.clock.clone();
        scene.script.push(step(move |_| {
            clock.advance(secs(20));
            Ok(token(name, 60))
        }));
    }
    for _ in 0..100 {
        assert_eq!(scene.session.token_valid_for(secs(600)).unwrap().secret(), "t1");
    }
    scene.clock.advance(secs(11));
    for _ in 0..100 {
        assert_eq!(scene.session.token_valid_for(secs(600)).unwrap().secret(), "t2");
    }
}

#[test]
fn a_validity_is_worth_waiting_for_even_where_another_refreshes_a_token_that_is_merely_stale() {
    let gate = Gate::default();
    let scene = aged(300, secs(280), seeded(7));
    scene.script.push(held(&gate, gives("t2", 300)));
    let one = scene.ask();
    gate.await_entered();
    let session = scene.session.clone();
    let upload = aside(move || session.token_valid_for(secs(120)));
    scene.watch.await_waiters(1);
    assert_eq!(scene.session.token().unwrap().secret(), "t1", "a short call is still not kept waiting");
    gate.open();
    assert_eq!((one.result().unwrap().secret(), upload.result().unwrap().secret()), ("t2", "t2"));
}

#[test]
fn a_validity_that_cannot_be_had_is_an_error_and_the_token_still_serves_short_calls() {
    let scene = aged(300, secs(100), seeded(7).with_attempts(1));
    scene.script.push(unavailable());
    for _ in 0..10 {
        assert_eq!(scene.session.token_valid_for(secs(210)).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(scene.session.token().unwrap().secret(), "t1");
        assert_eq!(scene.session.token_valid_for(secs(200)).unwrap().secret(), "t1");
    }
    assert_eq!(scene.calls(), 1, "and the backoff holds");
}

#[test]
fn switched_off_the_proactive_way_leaves_first_tokens_validities_and_refusals() {
    let steps = vec![gives("t1", 300), gives("t2", 300), gives("t3", 300)];
    let scene = Scene::with(steps, |builder| builder.policy(seeded(7).with_proactive(false)));
    let first = scene.session.token().unwrap();
    scene.clock.advance(secs(1_000_000));
    assert_eq!(scene.session.token().unwrap().secret(), "t1", "whatever its age");
    assert_eq!(scene.session.rejected(&first).unwrap().secret(), "t2");
    scene.clock.advance(secs(300));
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
    assert_eq!(scene.session.token_valid_for(secs(1)).unwrap().secret(), "t3");
    assert_eq!(scene.watch.reasons(), [Reason::First, Reason::Refused, Reason::Expired]);
}

#[test]
fn switched_off_the_reactive_way_leaves_the_proactive_one_and_what_costs_no_refresh() {
    let scene = aged(300, Duration::ZERO, seeded(7).with_reactive(false));
    let first = scene.session.token().unwrap();
    let error = scene.session.rejected(&first).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RefusedTooOften);
    assert!(error.to_string().contains("switched off"), "{error}");
    assert_eq!(scene.session.token().unwrap().secret(), "t1", "one refusal takes it from nobody else");
    assert_eq!(scene.watch.count(|seen| *seen == Seen::RefusalIgnored(1)), 1);
    scene.clock.advance(secs(300));
    scene.script.push(gives("t2", 300));
    assert_eq!(scene.session.token().unwrap().secret(), "t2");
    assert_eq!(scene.session.rejected(&first).unwrap().secret(), "t2", "replaced already: no refresh");
    assert_eq!(scene.watch.reasons(), [Reason::Expired]);
}

#[test]
fn the_source_is_told_what_is_left_of_the_budget() {
    let scene = Scene::with(Vec::new(), |builder| builder.policy(seeded(7).with_budget(secs(20))));
    let clock = scene.clock.clone();
    scene.script.push(step(move |fetch| {
        assert_eq!(fetch.time_left, secs(20));
        clock.advance(secs(5));
        Err(SourceError::unavailable("503").with_retry_after(secs(3)))
    }));
    scene.script.push(step(|fetch| {
        assert_eq!(fetch.time_left, secs(12));
        Ok(token("t1", 300))
    }));
    scene.session.token().unwrap();
}

#[test]
fn a_builder_refuses_what_makes_no_sense_and_says_what_to_do() {
    let build = |policy| Session::builder(|_: Option<&Token>| Ok(token("t", 1))).policy(policy).build();
    let new = Policy::new;
    let nonsense = [
        (new().with_stale_window(91, secs(1)), "choose a smaller percentage"),
        (new().with_leeway(u32::MAX, secs(1)), "choose a smaller percentage"),
        (new().with_attempts(0), "needs at least one attempt"),
        (new().with_backoff(Duration::ZERO, secs(1)), "must be more than zero"),
        (new().with_backoff(secs(2), secs(1)), "not more than its limit"),
        (new().with_budget(Duration::ZERO), "budget of more than zero"),
        (new().with_budget(secs(41)), "must not be shorter than the flight's budget"),
        (new().with_wait_timeout(secs(30) - NANO), "must not be shorter than the flight's budget"),
        (new().with_refusals(0, secs(1)), "use with_reactive(false)"),
        (new().with_refusals(1, Duration::ZERO), "use with_reactive(false)"),
    ];
    for (policy, advice) in nonsense {
        let error = build(policy.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{policy:?}");
        assert!(error.to_string().contains(advice), "{error}");
    }
    let just_sense = [
        new().with_stale_window(90, Duration::MAX).with_leeway(90, Duration::MAX),
        new().with_stale_window(0, Duration::ZERO).with_leeway(0, Duration::ZERO),
        new().with_attempts(u32::MAX),
        new().with_backoff(NANO, NANO),
        new().with_budget(NANO).with_wait_timeout(NANO),
        new().with_budget(Duration::MAX).with_wait_timeout(Duration::MAX),
        new().with_refusals(u32::MAX, NANO),
    ];
    for policy in just_sense {
        assert_eq!(build(policy).unwrap().token().unwrap().secret(), "t");
    }
}

/// At which age the first token of a session was refreshed, and the one after it, by calls every ten seconds. The calls numbered
/// in `fail` find the server busy.
fn ages_at_refresh(policy: Policy, life: u64, fail: &'static [usize]) -> [u64; 2] {
    let clock = ManualClock::new(None);
    let calls = AtomicUsize::new(0);
    let source = move |_: Option<&Token>| match calls.fetch_add(1, Ordering::SeqCst) {
        call if fail.contains(&call) => Err(SourceError::unavailable("busy")),
        call => Ok(token(&format!("t{call}"), life)),
    };
    let session = Session::builder(source).policy(policy).clock(clock.clone()).build().unwrap();
    let mut ages = Vec::new();
    let (mut age, mut generation) = (0, 0);
    while ages.len() < 3 {
        let now = session.token().map_or(generation, |token| token.generation());
        if now != generation {
            ages.push(age);
            (age, generation) = (0, now);
        }
        clock.advance(secs(10));
        age += 10;
    }
    [ages[1], ages[2]]
}

/// At which ages 40 sessions refreshed their first token and the next one.
fn ages_by_seed(policy: impl Fn(u64) -> Policy, life: u64, fail: &'static [usize]) -> [Vec<u64>; 2] {
    let ages: Vec<[u64; 2]> = (0..40).map(|seed| ages_at_refresh(policy(seed), life, fail)).collect();
    [0, 1].map(|token| ages.iter().map(|ages| ages[token]).collect())
}

/// Do they fill this time, but for a part that 40 points leave free by chance?
fn assert_fill(ages: &[u64], first: std::ops::RangeInclusive<u64>, last: std::ops::RangeInclusive<u64>) {
    let (low, high) = (*ages.iter().min().unwrap(), *ages.iter().max().unwrap());
    assert!(first.contains(&low) && last.contains(&high), "{ages:?}");
}

/// In the window of an hour, by calls every ten seconds.
const USUAL: std::ops::RangeInclusive<u64> = 3300..=3410;

#[test]
fn a_first_token_is_refreshed_at_any_time_in_the_windows_share_of_its_life_and_the_next_one_in_the_window() {
    let [first, second] = ages_by_seed(seeded, 3600, &[]);
    assert_fill(&first, 2880..=2970, 3230..=3400);
    assert!(second.iter().all(|age| USUAL.contains(age)), "{second:?}");
    // Trouble that a flight gets over is nobody's.
    let [first, _] = ages_by_seed(seeded, 3600, &[0]);
    assert_fill(&first, 2880..=2970, 3230..=3410);
    // A long window with a small bound is meant to be small.
    let [first, _] = ages_by_seed(|seed| seeded(seed).with_stale_window(90, secs(60)), 3600, &[]);
    assert_fill(&first, 2880..=2970, 3450..=3570);
}

#[test]
fn a_token_that_came_after_a_failed_flight_is_refreshed_at_any_time_after_a_quarter_of_the_time_before_its_window() {
    // The first refresh meets a busy server, ahead of time: one attempt is a flight there, and one lost one no trouble.
    let [_, second] = ages_by_seed(seeded, 3600, &[1]);
    assert!(second.iter().all(|age| USUAL.contains(age)), "{second:?}");
    let [_, second] = ages_by_seed(seeded, 3600, &[1, 2]);
    assert_fill(&second, 820..=1200, 2900..=3400);
    // The first flight of all meets one, with each of its attempts.
    let [first, second] = ages_by_seed(seeded, 3600, &[0, 1, 2]);
    assert_fill(&first, 820..=1200, 2900..=3400);
    assert!(second.iter().all(|age| USUAL.contains(age)), "{second:?}");
    let [_, second] = ages_by_seed(|seed| seeded(seed).with_spread(30), 3600, &[1, 2]);
    assert_fill(&second, 2300..=2500, 3100..=3400);
}

#[test]
fn without_a_spread_or_a_bounded_window_no_token_is_refreshed_earlier() {
    for fail in [&[] as &[usize], &[1, 2], &[0, 1, 2]] {
        let assert_all = |policy: &dyn Fn(u64) -> Policy, life, expected: std::ops::RangeInclusive<u64>| {
            let [first, second] = ages_by_seed(policy, life, fail);
            // A call that fails, and those in the pause after it, put the refresh off.
            assert!(first.iter().all(|age| (*expected.start()..=expected.end() + 20).contains(age)), "{first:?}");
            assert!(second.iter().all(|age| expected.contains(age)), "{second:?}");
        };
        assert_all(&|seed| seeded(seed).with_spread(0), 3600, USUAL);
        // The window's own jitter is a share of the life here.
        assert_all(&seeded, 1500, 1200..=1310);
        assert_all(&|seed| seeded(seed).with_stale_window(20, Duration::MAX), 3600, 2880..=3130);
        for (percent, at_most) in [(0, Duration::ZERO), (0, secs(300)), (20, Duration::ZERO)] {
            assert_all(&|seed| seeded(seed).with_stale_window(percent, at_most), 3600, 3590..=3610);
        }
    }
}

#[test]
fn a_spread_of_more_than_90_percent_is_refused() {
    let error = Session::builder(|_: Option<&Token>| Ok(token("t", 1))).policy(Policy::new().with_spread(91)).build();
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
}
