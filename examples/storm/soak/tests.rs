//! Each thing that may not be is found.

use ureq_auth::Stats;

use super::*;
use crate::server::ledger::Counts;

fn good() -> (Outcome, Report) {
    let counts = Counts { spoilt: 3, accepted_and_spoilt: 2, repeated: 2, ..Counts::default() };
    let failures = [("503", 1), ("Io", 2), ("401", 5), ("session: Unknown", 7)];
    let outcome = Outcome {
        seed: 1,
        token_faults: BTreeMap::from([("503", 1)]),
        api_faults: BTreeMap::from([("503", 3)]),
        failures: failures.map(|(kind, count)| (kind.to_owned(), count)).into(),
        fewest_answers: 1,
        logins: 0,
        login: Login { is_stored: true, ..Login::default() },
        lost_answers: 3,
        at_once: 1,
        idle_wait: Duration::from_millis(10),
        memory: Memory::of(&[10_000; 480]),
    };
    let report = Report {
        threads: 1,
        seconds: 1.0,
        calls: 1,
        answered: 1,
        failed: 15,
        lost: 0,
        first_failure: None,
        stats: Stats::default(),
        server: Some(counts),
        soak: None,
    };
    (outcome, report)
}

#[track_caller]
fn finds(spoil: impl FnOnce(&mut Outcome, &mut Counts), what: &str) {
    let (mut outcome, mut report) = good();
    if let Some(counts) = &mut report.server {
        spoil(&mut outcome, counts);
    }
    let breaches = outcome.breaches(&report);
    assert!(breaches.len() == 1 && breaches.iter().all(|breach| breach.contains(what)), "{breaches:?}");
}

#[test]
fn what_a_soak_tells_by_itself() {
    let (outcome, report) = good();
    assert_eq!(outcome.breaches(&report), Vec::<String>::new());
    finds(|outcome, _| outcome.api_faults.clear(), "there were no faults");
    finds(|outcome, _| outcome.token_faults.clear(), "there were no faults");
    finds(|outcome, _| outcome.fewest_answers = 0, "no answer at all");
    finds(|outcome, _| outcome.at_once = 2, "2 token calls at the same time");
    finds(|outcome, _| outcome.idle_wait = LATE, "waited for 2.0 s without a flight");
    finds(|_, counts| counts.spoilt = 2, "3 calls failed, but 2 met a fault");
    finds(|_, counts| counts.spoilt = 4, "3 calls failed, but 4 met a fault");
    finds(|_, counts| counts.repeated = 3, "3 accepted calls came again");
    let of_another = |outcome: &mut Outcome, counts: &mut Counts| {
        outcome.failures.insert(OF_ANOTHER_CALL.to_owned(), 1);
        counts.spoilt += 1;
    };
    finds(of_another, "1 calls got the answer to another one");
    finds(|outcome, _| outcome.login.unfounded = 1, "a login was given up 1 times without the server's word");
    finds(|outcome, _| outcome.login.rejected = 1, "1 logins were refused, but the server refused 0");
    finds(|outcome, _| outcome.login.lost_twice = 2, "2 logins ended by two lost answers, but 3 were lost");
    finds(|outcome, _| outcome.login.emptied = 1, "the store was emptied 1 times");
    finds(|outcome, _| outcome.login.marked = 1, "1 tokens were marked, but the server refused 0");
    finds(|outcome, _| outcome.login.without_refresh_token = 1, "1 tokens were stored without a refresh token");
    finds(|outcome, _| outcome.login.is_stored = false, "the store does not hold the session's token");
    let (outcome, mut report) = good();
    report.stats.longest_wait = WAIT_TIMEOUT;
    assert_eq!(outcome.breaches(&report), ["a thread waited for 8.0 s"]);
    finds(|outcome, _| outcome.memory = Memory::of(&growing(100, 480)), "not level");
    let (mut outcome, report) = good();
    outcome.memory = Memory::of(&growing(100, 479));
    assert_eq!(outcome.breaches(&report), Vec::<String>::new(), "too short to tell");
}

#[test]
fn what_every_storm_tells_is_told_of_a_soak_too() {
    let (outcome, mut report) = good();
    report.soak = Some(outcome);
    assert_eq!(report.faults(), Vec::<String>::new(), "failed calls are not faults");
    let with = |spoil: fn(&mut Counts)| {
        let (outcome, mut report) = good();
        report.soak = Some(outcome);
        report.server.iter_mut().for_each(spoil);
        report.faults()
    };
    assert_eq!(with(|counts| counts.doubled = 1), ["1 calls reached the API twice"]);
    assert_eq!(with(|counts| (counts.invalid_grant, counts.invalid_grant_excused) = (2, 2)), Vec::<String>::new());
    let blamed = with(|counts| (counts.invalid_grant, counts.invalid_grant_excused) = (2, 1));
    assert_eq!(blamed, ["1 token calls were answered with invalid_grant"]);
    let lost = with(|counts| (counts.refreshes, counts.refreshes_needed, counts.refreshes_lost) = (1, 1, 1));
    assert_eq!(lost, Vec::<String>::new(), "the client cannot know of it");
    let vanished = with(|counts| (counts.refreshes, counts.refreshes_needed) = (1, 1));
    assert_eq!(vanished, ["1 refreshes are between the server's count and ours"]);
}

#[test]
fn who_waits_while_nobody_refreshes_is_noticed() {
    let (idle, begin) = (Idle::default(), Instant::now());
    let at = |ms| begin + Duration::from_millis(ms);
    let error = ureq_auth::Error::store("anything");
    let begins = Event::RefreshStarted { reason: ureq_auth::Reason::First };
    let ends = Event::RefreshFailed { error: &error, took: Duration::ZERO };
    let woken = Event::WaitEnded { waited: Duration::ZERO, timed_out: false };
    let longest = || *lock(&idle.longest_wait);

    idle.note(&begins, at(0));
    idle.note(&Event::WaitStarted, at(100));
    idle.note(&ends, at(5000));
    idle.note(&woken, at(5010));
    assert_eq!(longest(), Duration::from_millis(10));

    idle.note(&begins, at(6000));
    idle.note(&Event::WaitStarted, at(6100));
    idle.note(&ends, at(6200));
    idle.note(&begins, at(7000));
    idle.note(&ends, at(8000));
    idle.note(&woken, at(8001));
    assert_eq!(longest(), Duration::from_millis(801), "the second flight has woken it");

    idle.note(&begins, at(9000));
    idle.note(&begins, at(9100));
    idle.note(&ends, at(9101));
    idle.note(&Event::WaitStarted, at(9200));
    idle.note(&ends, at(12_000));
    idle.note(&woken, at(12_001));
    assert_eq!(longest(), Duration::from_millis(801), "a flight that was told of late is no end of the next");
}

fn growing(by: u64, samples: u64) -> Vec<u64> {
    (0..samples).map(|sample| 10_000 + sample * by).collect()
}

#[test]
fn memory_is_level_within_the_allocators_freedom() {
    let is_level = |samples: &[u64]| Memory::of(samples).map(|memory| memory.is_level());
    assert_eq!(is_level(&growing(0, 600)), Some(true));
    assert_eq!(is_level(&growing(5, 600)), Some(true));
    assert_eq!(is_level(&growing(10, 600)), Some(false));
    let warm_up: Vec<_> = (0..600).map(|sample| 10_000.min(sample * 50)).collect();
    assert_eq!(is_level(&warm_up), Some(true), "the first third is not looked at");
    assert_eq!(is_level(&[]), None);
}

#[test]
fn linux_tells_the_memory() {
    let memory = resident_memory();
    assert!(memory.map_or(!cfg!(target_os = "linux"), |kib| kib > 100), "{memory:?}");
}
