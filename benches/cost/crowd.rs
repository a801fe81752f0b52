//! A crowd that begins with one refresh, to the end of its calls: what the stampede does to the calls that come after it.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq_auth::{Client, Session, SourceError, Token};

use crate::careful::CarefulMutex;
use crate::loopback;
use crate::statistics::{median, millis};
use crate::table::{Row, Table};
use crate::{ACCESS_TOKEN, Effort, fresh_session};

const CALLS: usize = 10;
/// What a token endpoint takes: long enough for the whole crowd to wait.
const TOKEN_CALL: Duration = Duration::from_millis(50);

pub(crate) fn section(table: &mut Table, effort: Effort) {
    let pairs = effort.rounds(11, 3);
    table.section(&format!("A CROWD, {CALLS} calls each after one refresh ({pairs} pairs)"), "careful mutex");
    let address = loopback::serve();
    for threads in [64, 512] {
        let (mut ours, mut careful) = (Vec::new(), Vec::new());
        for pair in 0..pairs {
            // Each is first equally often.
            if pair % 2 == 0 {
                ours.push(by_client(&address, threads));
                careful.push(by_careful_mutex(&address, threads));
            } else {
                careful.push(by_careful_mutex(&address, threads));
                ours.push(by_client(&address, threads));
            }
        }
        let [ours, careful] = [ours, careful].map(|times| median(times.into_iter().map(millis)));
        let ratio = ours / careful;
        let row = Row {
            what: &format!("{threads} threads, ms"),
            ours: format!("{ours:.0}"),
            beside: format!("{careful:.0}"),
            ratio: format!("{ratio:.3}"),
        };
        if threads == 512 {
            table.aim(&row, "1.05", ratio <= 1.05);
        } else {
            table.report(&row);
        }
    }
}

fn by_client(address: &str, threads: usize) -> Duration {
    let source = |_: Option<&Token>| -> Result<Token, SourceError> {
        thread::sleep(TOKEN_CALL);
        Ok(Token::new(ACCESS_TOKEN)?.with_expires_in(Duration::from_secs(3600)))
    };
    let session = Session::builder(source).build().unwrap();
    let client = Client::new(session, &format!("http://{address}")).unwrap();
    let (agent, url) = (client.agent().clone(), format!("http://{address}/x"));
    all_called(threads, || {
        black_box(agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap());
    })
}

fn by_careful_mutex(address: &str, threads: usize) -> Duration {
    let mutex = Arc::new(CarefulMutex::new(|| {
        thread::sleep(TOKEN_CALL);
        Ok::<_, ()>((ACCESS_TOKEN.to_owned(), Duration::from_secs(3600)))
    }));
    // It keeps as many connections as a client does: what differs is who waits for what.
    let client = Client::new(fresh_session(|builder| builder), &format!("http://{address}")).unwrap();
    let idle = client.agent().config().max_idle_connections();
    let agent: Agent =
        Agent::config_builder().max_idle_connections(idle).max_idle_connections_per_host(idle).build().into();
    let url = format!("http://{address}/x");
    all_called(threads, || {
        let header = format!("Bearer {}", mutex.token(None).unwrap());
        let answer = agent.get(&url).header("authorization", &header).call();
        black_box(answer.unwrap().body_mut().read_to_string().unwrap());
    })
}

/// From the start of the first to the end of the last call.
fn all_called(threads: usize, call: impl Fn() + Sync) -> Duration {
    let start = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let thread = || {
            start.wait();
            for _ in 0..CALLS {
                call();
            }
            Instant::now()
        };
        let small = || thread::Builder::new().stack_size(256 * 1024);
        let crowd: Vec<_> = (0..threads).map(|_| small().spawn_scoped(scope, thread).unwrap()).collect();
        start.wait();
        let begin = Instant::now();
        crowd.into_iter().map(|thread| thread.join().unwrap()).max().unwrap() - begin
    })
}
