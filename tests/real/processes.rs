//! Several processes on one token file, and a server that ends the login when a refresh token comes twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{Client, FileStore, Session};

use crate::servers::{Api, Issuer};
use crate::worker::{self, Crew, Worker};

const PROCESSES: usize = 4;
const THREADS: usize = 4;
const LIFE: u64 = 2;

/// 12 in CI; `UREQ_AUTH_REAL_SECONDS=60 .ci/real` for the long run.
fn seconds() -> u64 {
    std::env::var("UREQ_AUTH_REAL_SECONDS").map_or(12, |seconds| seconds.parse().unwrap())
}

#[test]
fn no_grant_is_lost_to_processes_that_share_a_token_file() {
    let Some(issuer) = Issuer::start(json!({ "ttl": LIFE })) else { return };
    let api = Api::start(&issuer);
    let place = worker::Place::new("real");
    let path = place.path().join("token.json");
    let (token_url, first) = (issuer.discover().token_endpoint().to_owned(), issuer.login());
    let arguments = [path.to_str().unwrap(), &token_url, &first, &api.url("")];
    // All of them start with the same refresh token, of which one use is the only one there is.
    let crew = Crew::start((0..PROCESSES).map(|_| Worker::start(&arguments)).collect());
    let begin = Instant::now();
    let duration = Duration::from_secs(seconds());
    while let Some(left) = duration.checked_sub(begin.elapsed()) {
        // One after the other; how many there are is looked at in the end.
        crew.refreshes_within(left);
    }
    let [answered, refused, adopted, refreshed] = crew.end();
    let counts = issuer.counts();
    let report = format!(
        "\n{PROCESSES} processes x {THREADS} threads for {} s, tokens of {LIFE} s, strict rotation: {} token calls, {} at once, \
         {} invalid_grant, {} not needed; {answered} calls answered, {refused} refused for good; {adopted} times a token was \
         adopted\n",
        duration.as_secs(),
        counts.token_calls(),
        counts.at_once(),
        counts.errors("invalid_grant"),
        counts.needless(),
    );
    std::io::Write::write_all(&mut std::io::stderr(), report.as_bytes()).unwrap();
    assert_eq!((counts.errors("invalid_grant"), counts.at_once(), counts.needless()), (0, 1, 0));
    assert_eq!((counts.token_calls(), counts.refreshes()), (refreshed, refreshed), "each is known to who made it");
    assert!(refreshed >= duration.as_secs() / (2 * LIFE), "they went on to the end");
    assert_eq!(refused, 0);
    assert!(adopted >= refreshed && answered > 0);
}

/// What one of them does until it is told to stop.
pub(crate) fn work() {
    let Some(arguments) = worker::arguments() else { return };
    let [path, token_url, first, api] = &arguments[..] else { panic!("{} arguments", arguments.len()) };
    let source = RefreshToken::new(token_url, "device", first);
    let session = Session::builder(source).store(FileStore::new(path)).observer(worker::observe).build().unwrap();
    let client = Client::builder(session).origin(api).configure(|config| config.http_status_as_error(false));
    let client = client.build().unwrap();
    if !worker::ready() {
        return;
    }
    let stop = worker::told_to_stop();
    let (answered, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let mut answer = client.get(format!("{api}/notes")).call().unwrap();
                    answer.body_mut().read_to_vec().unwrap();
                    let count = match answer.status().as_u16() {
                        200 => &answered,
                        401 => &refused,
                        status => panic!("{status}"),
                    };
                    count.fetch_add(1, Ordering::SeqCst);
                    // The pace of the calls.
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    let stats = client.session().stats();
    let (answered, refused) = (answered.into_inner(), refused.into_inner());
    worker::say(&format!("{answered} {refused} {} {}", stats.adopted, stats.refreshes));
}
