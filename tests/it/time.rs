//! Lives and clocks: what a token's life is reckoned from, and what a wrong clock may cost (one round trip, no more).

use std::time::Duration;

use ureq_auth::{ManualClock, Policy, Reason, Session, Token};

use crate::support::{MANY, Scene, Script, Step, WALL, crowd, gives, jwt, millis, secs, step, token, unavailable};

const HOUR: u64 = 3600;

/// Clocks of devices: two hours fast, two hours slow, without a battery, and none at all.
const WRONG_WALLS: [Option<Duration>; 4] =
    [Some(secs(WALL + 2 * HOUR)), Some(secs(WALL - 2 * HOUR)), Some(Duration::ZERO), None];

/// Without windows a life ends at its end, so that these tests can be exact to the millisecond.
fn exact() -> Policy {
    Policy::new().with_stale_window(0, Duration::ZERO).with_leeway(0, Duration::ZERO).with_jitter_seed(7)
}

fn comes(token: Token) -> Step {
    step(move |_| Ok(token))
}

/// A scene on a clock with this wall time, with exact lives and without a token.
fn at(wall: Option<Duration>, steps: Vec<Step>) -> Scene {
    let scene = Scene::with(steps, |builder| builder.policy(exact()));
    scene.clock.set_wall(wall);
    scene
}

/// A scene that starts with a token from an earlier run, at this wall time.
fn restored(wall: Option<Duration>, token: Token, steps: Vec<Step>) -> Scene {
    let clock = ManualClock::new(wall);
    let mut scene = Scene::with(steps, |builder| builder.policy(exact()).clock(clock.clone()).token(token));
    scene.clock = clock;
    scene
}

/// Is the session's token good until `life` from now, and due then? The one that replaces it outlives the test.
fn assert_lives_for(scene: &Scene, life: Duration) {
    let (token, calls) = (scene.session.token().unwrap(), scene.calls());
    scene.clock.advance(life - millis(1));
    assert_eq!(scene.session.token().unwrap().generation(), token.generation(), "due before {life:?}");
    assert_eq!(scene.calls(), calls);
    scene.script.push(gives("next", 1_000_000));
    scene.clock.advance(millis(1));
    assert_eq!(scene.session.token().unwrap().generation(), token.generation() + 1, "not due after {life:?}");
    assert_eq!(scene.calls(), calls + 1);
}

/// Is the token used as it is, by everybody, for ever, without another look at the source?
fn assert_never_due(scene: &Scene) {
    let (token, calls) = (scene.session.token().unwrap(), scene.calls());
    for _ in 0..100 {
        scene.clock.advance(secs(30 * 24 * HOUR));
        assert_eq!(scene.session.token().unwrap().generation(), token.generation());
    }
    assert_eq!(scene.calls(), calls);
}

fn claims(issued: u64, life: u64) -> Token {
    jwt(&format!(r#"{{"iat":{issued},"exp":{}}}"#, issued + life))
}

fn exp_only(exp: u64) -> Token {
    jwt(&format!(r#"{{"exp":{exp}}}"#))
}

#[test]
fn a_life_that_came_as_a_duration_is_the_same_under_every_wall_clock() {
    for wall in WRONG_WALLS {
        let lives: [fn() -> Token; 3] =
            [|| token("t1", 300), || claims(WALL, 300), || exp_only(WALL + 300).with_server_time(secs(WALL))];
        for life in lives {
            let scene = at(wall, vec![comes(life())]);
            assert_eq!(scene.session.token().unwrap().lifetime(), Some(secs(300)), "{wall:?}");
            assert_lives_for(&scene, secs(300));
        }
    }
}

#[test]
fn a_wall_clock_that_jumps_in_the_middle_of_a_life_changes_nothing() {
    for wall in WRONG_WALLS {
        let scene = at(Some(secs(WALL)), vec![comes(claims(WALL, 300))]);
        scene.session.token().unwrap();
        scene.clock.advance(secs(100));
        scene.clock.set_wall(wall);
        assert_lives_for(&scene, secs(200));
    }
}

#[test]
fn a_suspended_device_finds_its_token_expired_when_it_wakes() {
    let scene = Scene::with(vec![gives("t2", HOUR)], |builder| builder.token(token("t1", HOUR)));
    scene.session.token().unwrap();
    scene.clock.advance(secs(3 * HOUR));
    let session = scene.session.clone();
    let tokens = crowd(MANY, move |_| session.token()).gather();
    assert!(tokens.into_iter().all(|token| token.unwrap().secret() == "t2"), "never the one that died in the night");
    assert_eq!((scene.calls(), scene.watch.reasons()), (1, vec![Reason::Expired]));
}

#[test]
fn a_suspend_that_a_token_outlives_costs_nothing() {
    let scene = Scene::with(Vec::new(), |builder| builder.token(token("t1", 4 * HOUR)));
    scene.clock.advance(secs(3 * HOUR));
    assert_eq!(scene.session.token().unwrap().secret(), "t1");
}

#[test]
fn expires_in_is_believed_before_all_else() {
    let all = claims(WALL, 900).with_server_time(secs(WALL)).with_expires_in(secs(300));
    assert_lives_for(&at(Some(secs(WALL)), vec![comes(all)]), secs(300));
}

#[test]
fn without_expires_in_a_jwt_tells_by_its_exp_and_iat() {
    // The server's time would say 300: it may be a cached answer's, or another machine's.
    let token = claims(WALL, 900).with_server_time(secs(WALL + 600));
    assert_lives_for(&at(None, vec![comes(token)]), secs(900));
}

#[test]
fn without_iat_a_jwts_exp_is_held_against_the_servers_time() {
    let steps = vec![gives("t1", 100), comes(exp_only(WALL + 900).with_server_time(secs(WALL)))];
    let scene = at(Some(secs(WALL + 500)), steps);
    scene.session.token().unwrap();
    scene.clock.advance(secs(100));
    assert_lives_for(&scene, secs(900));
}

#[test]
fn without_a_servers_time_the_previous_life_is_taken_and_not_the_previous_end() {
    for token in [Token::new("opaque").unwrap(), exp_only(WALL + 1900)] {
        let scene = at(Some(secs(WALL)), vec![gives("t1", 300), comes(token)]);
        assert_eq!(scene.session.token().unwrap().secret(), "t1");
        scene.clock.advance(secs(1000));
        assert_ne!(scene.session.token().unwrap().secret(), "t1");
        assert_lives_for(&scene, secs(300));
    }
}

#[test]
fn a_life_that_is_not_told_does_not_make_the_one_before_it_forgotten() {
    let opaque = || comes(Token::new("opaque").unwrap());
    let scene = at(None, vec![gives("t1", 300), opaque(), opaque()]);
    for generation in 1..=3 {
        assert_eq!(scene.session.token().unwrap().generation(), generation);
        scene.clock.advance(secs(300));
    }
    scene.script.push(gives("t4", 300));
    assert_eq!(scene.session.token().unwrap().generation(), 4);
}

#[test]
fn the_servers_clock_that_was_learned_earlier_goes_before_the_wall_clock() {
    for wall in WRONG_WALLS {
        let opaque = Token::new("opaque").unwrap().with_server_time(secs(WALL));
        let scene = at(wall, vec![comes(opaque), comes(exp_only(WALL + 1000 + 600))]);
        let first = scene.session.token().unwrap();
        assert_eq!(first.lifetime(), None, "it told the time and nothing of its life");
        scene.clock.advance(secs(1000));
        scene.session.rejected(&first).unwrap();
        assert_lives_for(&scene, secs(600));
    }
}

#[test]
fn the_wall_clock_is_the_last_resort() {
    let scene = at(Some(secs(WALL)), vec![comes(exp_only(WALL + 300))]);
    assert_lives_for(&scene, secs(300));
}

#[test]
fn a_life_that_nothing_tells_of_never_ends_by_itself() {
    for wall in WRONG_WALLS {
        assert_never_due(&at(wall, vec![comes(Token::new("opaque").unwrap())]));
    }
    assert_never_due(&at(None, vec![comes(exp_only(WALL + 300))]));
}

#[test]
fn a_token_that_looks_expired_when_it_comes_is_used_and_makes_no_loop() {
    let looks_expired: [fn() -> Token; 4] = [
        // A wall clock, and a server's, that are two hours fast; a token that ends before it begins, or as it begins.
        || exp_only(WALL - 2 * HOUR),
        || exp_only(WALL - 2 * HOUR).with_server_time(secs(WALL)),
        || jwt(&format!(r#"{{"iat":{WALL},"exp":{}}}"#, WALL - 1)),
        || claims(WALL, 0),
    ];
    for token in looks_expired {
        assert_never_due(&at(Some(secs(WALL)), vec![comes(token())]));
        // A 401 decides, and it does not come again and again either: the next one says how long it lives.
        let scene = at(Some(secs(WALL)), vec![comes(token()), gives("t2", 300)]);
        let first = scene.session.token().unwrap();
        assert_eq!(scene.session.rejected(&first).unwrap().secret(), "t2");
        assert_lives_for(&scene, secs(300));
    }
}

#[test]
fn expires_in_zero_says_nothing() {
    assert_never_due(&at(Some(secs(WALL)), vec![gives("t1", 0)]));
    let scene = at(Some(secs(WALL)), vec![comes(claims(WALL, 300).with_expires_in(Duration::ZERO))]);
    assert_lives_for(&scene, secs(300));
}

/// Pushes an attempt that takes `took` on the scene's clock.
fn push_slow(scene: &Scene, took: Duration, then: Step) {
    let clock = scene.clock.clone();
    scene.script.push(step(move |fetch| {
        clock.advance(took);
        then(fetch)
    }));
}

#[test]
fn a_life_is_counted_from_before_the_request() {
    let scene = at(None, Vec::new());
    push_slow(&scene, secs(100), gives("t1", 300));
    assert_lives_for(&scene, secs(200));
}

#[test]
fn a_life_is_counted_from_the_attempt_that_brought_it() {
    let scene = at(None, Vec::new());
    push_slow(&scene, secs(20), unavailable());
    push_slow(&scene, secs(5), gives("t1", 300));
    assert_lives_for(&scene, secs(295));
    assert_eq!(scene.session.stats().repeated_attempts, 1);
}

#[test]
fn a_life_that_was_over_before_the_answer_came_is_counted_from_the_answer() {
    // The device slept in the middle of the request. What the token is worth is for a 401 to say.
    for took in [300, 301, 3 * HOUR] {
        let scene = at(None, Vec::new());
        push_slow(&scene, secs(took), gives("t1", 300));
        assert_lives_for(&scene, secs(300));
    }
}

#[test]
fn a_restored_token_whose_end_is_past_is_replaced_before_it_is_used() {
    for past in [claims(WALL - 600, 300), exp_only(WALL - 300), exp_only(WALL)] {
        let old = past.secret().to_owned();
        let replace = step(move |fetch| {
            assert_eq!(fetch.previous.map(Token::secret), Some(&*old), "its refresh token is the one to use");
            Ok(token("t2", 300))
        });
        let scene = restored(Some(secs(WALL)), past, vec![replace]);
        assert_eq!(scene.session.token().unwrap().secret(), "t2");
        assert_eq!(scene.watch.reasons(), [Reason::Expired]);
    }
}

#[test]
fn a_restored_token_lives_to_its_exp_by_the_wall_clock() {
    for rest in [claims(WALL - 600, 900), exp_only(WALL + 300), exp_only(WALL + 300).with_expires_in(secs(900))] {
        assert_lives_for(&restored(Some(secs(WALL)), rest, Vec::new()), secs(300));
    }
}

#[test]
fn a_restored_token_with_no_more_than_expires_in_begins_its_life_anew() {
    for wall in WRONG_WALLS {
        assert_lives_for(&restored(wall, token("t1", 300), Vec::new()), secs(300));
    }
}

#[test]
fn a_restored_token_from_the_future_shows_that_the_clock_is_wrong_and_is_used() {
    for wall in [secs(WALL - 2 * HOUR), Duration::ZERO, secs(WALL) - millis(1)] {
        assert_lives_for(&restored(Some(wall), claims(WALL, 300), Vec::new()), secs(300));
    }
    // As it was issued it is not from the future, and its whole life is ahead.
    assert_lives_for(&restored(Some(secs(WALL)), claims(WALL, 300), Vec::new()), secs(300));
}

#[test]
fn a_restored_token_that_nothing_can_be_held_against_is_used_until_it_is_refused() {
    let opaque = || Token::new("opaque").unwrap();
    let cases = [(Some(secs(WALL)), opaque()), (None, opaque()), (None, exp_only(WALL))];
    for (wall, token) in cases {
        let scene = restored(wall, token, Vec::new());
        assert_never_due(&scene);
        scene.script.push(gives("t2", 300));
        let refused = scene.session.token().unwrap();
        assert_eq!(scene.session.rejected(&refused).unwrap().secret(), "t2");
    }
}

#[test]
fn a_restored_token_never_lives_longer_than_it_was_granted() {
    for wall in [None, Some(Duration::ZERO), Some(secs(WALL - 2 * HOUR))] {
        // Where there is no 401 to put it right (an MQTT password), fifty years would be for ever.
        assert_lives_for(&restored(wall, claims(WALL, 300), Vec::new()), secs(300));
        let granted = || exp_only(WALL + 300).with_expires_in(secs(300));
        assert_lives_for(&restored(wall, granted(), Vec::new()), secs(300));
    }
}

#[test]
fn what_a_wrong_wall_clock_told_is_not_taken_for_the_life_of_the_next_token() {
    let scene = at(Some(Duration::ZERO), vec![comes(exp_only(WALL + 300)), comes(exp_only(WALL + 300))]);
    let first = scene.session.token().unwrap();
    scene.clock.set_wall(Some(secs(WALL))); // NTP has found its server
    assert_eq!(scene.session.rejected(&first).unwrap().lifetime(), Some(secs(300)), "and not fifty years");
}

#[test]
fn a_clock_that_is_two_hours_fast_costs_a_restored_token_one_round_trip_and_no_more() {
    let fast = Some(secs(WALL + 2 * HOUR));
    let scene = restored(fast, claims(WALL, HOUR), vec![comes(claims(WALL + 1, HOUR))]);
    for _ in 0..100 {
        scene.session.token().unwrap();
    }
    assert_eq!(scene.calls(), 1);
    assert_lives_for(&scene, secs(HOUR));
}

#[test]
fn a_token_set_later_is_held_against_the_servers_clock_where_that_was_learned() {
    for wall in WRONG_WALLS {
        let scene = at(wall, vec![comes(token("t1", 300).with_server_time(secs(WALL)))]);
        scene.session.token().unwrap();
        scene.clock.advance(secs(50));
        scene.session.set(exp_only(WALL + 50 + 300)).unwrap();
        assert_lives_for(&scene, secs(300));
    }
}

#[test]
fn no_time_is_too_large_to_reckon_with() {
    let tokens: [fn() -> Token; 4] = [
        || token("t1", u64::MAX),
        || jwt(r#"{"exp":1.8e19}"#).with_server_time(Duration::ZERO),
        || jwt(r#"{"iat":0,"exp":1.8e19}"#),
        || Token::new("opaque").unwrap().with_server_time(Duration::MAX),
    ];
    for wall in [Some(Duration::MAX), Some(Duration::ZERO), None] {
        for make in tokens {
            let clock = ManualClock::new(wall);
            let source = move |_: Option<&Token>| Ok(make());
            let session = Session::builder(source).clock(clock.clone()).token(make()).build().unwrap();
            session.token_valid_for(Duration::MAX).unwrap();
            let refused = session.token().unwrap();
            let fresh = session.rejected(&refused).unwrap();
            let again = session.token_valid_for(Duration::MAX).unwrap();
            assert_eq!(fresh.generation(), again.generation(), "more than all time cannot be had");
            // At the end of all time everything is over: it must still be an answer and not a panic.
            for _ in 0..2 {
                clock.advance(Duration::MAX);
                session.token_valid_for(Duration::MAX).unwrap();
                session.token().unwrap();
            }
        }
    }
}

#[test]
fn the_machines_own_clock_never_goes_back_and_knows_the_time() {
    use ureq_auth::{Clock as _, SystemClock};

    let ticks: Vec<_> = (0..1000).map(|_| SystemClock.now()).collect();
    assert!(ticks.is_sorted());
    assert!(ticks[0] > ureq_auth::Tick::default(), "a clock that stands still at zero would not be noticed otherwise");
    assert!(SystemClock.wall().unwrap() > secs(WALL), "these lines were written later than that");
    // A session on it, as everybody has it: a life of an hour is not over at once.
    let session = Session::builder(|_: Option<&Token>| unreachable!()).token(token("t1", HOUR)).build().unwrap();
    assert_eq!(session.token().unwrap().secret(), "t1");
}

#[test]
fn a_login_on_a_device_whose_clock_is_fast_is_reckoned_by_the_servers_time_that_came_with_it() {
    let clock = ManualClock::new(Some(secs(WALL + 2 * HOUR)));
    let session = Session::builder(Script::new(Vec::new())).clock(clock).build().unwrap();
    let login = jwt(&format!(r#"{{"iat":{WALL},"exp":{}}}"#, WALL + HOUR));
    session.set(login.with_expires_in(secs(HOUR)).with_server_time(secs(WALL))).unwrap();
    assert_eq!(session.token().unwrap().generation(), 1);
}
