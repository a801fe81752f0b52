//! A process whose threads all call, which takes one refresh: `.ci/syscalls` counts the threads that it starts.

use std::collections::BTreeMap;
use std::process::exit;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::DefaultConnector;
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{Client, Error, Policy, Session};

/// Each of the threads makes one call; the first one is the main thread. Says how often it came to what, and fails if not all
/// were answered.
pub(crate) fn call(origin: &str, token_url: &str, threads: &str, resolver: &str) {
    let threads: usize = threads.parse().unwrap();
    let client = client(origin, token_url, resolver);
    // All of them are there until the last one has been answered, so that none makes room for another thread.
    let barrier = Barrier::new(threads);
    let call = || {
        barrier.wait();
        let answer = client.get(format!("{origin}/x")).call();
        barrier.wait();
        match answer {
            Ok(response) => format!("answered with {}", response.status()),
            Err(error) => match Error::find(&error) {
                Some(own) => format!("{:?}: {own}", own.kind()),
                None => format!("ureq's error: {error}"),
            },
        }
    };
    let mut outcomes = BTreeMap::<String, usize>::new();
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(call)).collect();
        *outcomes.entry(call()).or_default() += 1;
        for other in others {
            let outcome = other.join().unwrap_or_else(|_| "panicked".to_owned());
            *outcomes.entry(outcome).or_default() += 1;
        }
    });
    for (outcome, count) in &outcomes {
        println!("{count} {outcome}");
    }
    let refreshes = client.session().stats().refreshes;
    println!("{refreshes} refreshes");
    exit(i32::from(outcomes.keys().any(|outcome| outcome != "answered with 200 OK")));
}

fn client(origin: &str, token_url: &str, resolver: &str) -> Client {
    let look_up = match resolver {
        "by-default" | "by-ureq" => None,
        "with-time-out" => Some(Duration::from_secs(10)),
        unknown => panic!("{unknown} is not a resolver"),
    };
    // As devices have it: time-outs, by which ureq's own resolver starts a thread.
    let configure = move |config: ConfigBuilder<AgentScope>| {
        config.timeout_global(Some(Duration::from_secs(20))).timeout_resolve(look_up).proxy(None)
    };
    let by_ureq = |config| Agent::with_parts(config, DefaultConnector::new(), DefaultResolver::default());
    let mut source = RefreshToken::new(token_url, "device", "r0").allow_plain_http().configure(configure);
    if resolver == "by-ureq" {
        source = source.make_agent(by_ureq);
    }
    // One attempt, and nobody waits for another.
    let policy = Policy::new().with_attempts(1).with_patience(Duration::ZERO);
    let session = Session::builder(source).policy(policy).build().unwrap();
    let mut client = Client::builder(session).origin(origin).configure(configure);
    if resolver == "by-ureq" {
        client = client.make_agent(by_ureq);
    }
    client.build().unwrap()
}
