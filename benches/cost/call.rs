//! What a call through the client costs beside plain ureq with a fixed header: time, heap allocations, instructions.

use std::hint::black_box;
use std::time::Instant;

use serde_json::json;
use ureq::http::header::{AUTHORIZATION, HeaderValue};
use ureq::http::{Request, Response};
use ureq::middleware::MiddlewareNext;
use ureq::{Agent, Body, SendBody};
use ureq_auth::Client;

use crate::loopback;
use crate::statistics::{Spread, median, micros};
use crate::table::{Row, Table};
use crate::{ACCESS_TOKEN, Effort, fresh_session};

const WARM_UP: usize = 8;
const CALLS: usize = 64;
/// Each side is in each place equally often, and behind each other one.
const ORDERS: [[usize; 4]; 8] =
    [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1], [3, 1, 2, 0], [0, 2, 1, 3], [2, 3, 0, 1], [1, 0, 3, 2]];

/// One of the ways to make the same call.
struct Side {
    agent: Agent,
    url: String,
    header: Option<String>,
    _client: Option<Client>,
}

#[derive(Clone, Copy)]
enum Method {
    Get,
    Post,
}

impl Side {
    fn plain(address: &str) -> Self {
        let header = Some(format!("Bearer {ACCESS_TOKEN}"));
        Side { agent: Agent::new_with_defaults(), url: format!("http://{address}/x"), header, _client: None }
    }

    fn client(address: &str) -> Self {
        let client = Client::new(fresh_session(|builder| builder), &format!("http://{address}")).unwrap();
        Side { agent: client.agent().clone(), url: format!("http://{address}/x"), header: None, _client: Some(client) }
    }

    /// The least that can be between a caller and ureq.
    fn middleware(address: &str) -> Self {
        let header = HeaderValue::try_from(format!("Bearer {ACCESS_TOKEN}")).unwrap();
        let set_header = move |mut request: Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
            next.handle(request)
        };
        let agent = Agent::config_builder().middleware(set_header).build().new_agent();
        Side { agent, url: format!("http://{address}/x"), header: None, _client: None }
    }

    #[inline(never)]
    fn call(&self, method: Method) {
        let answer = match method {
            Method::Get => {
                let request = self.agent.get(&self.url);
                match &self.header {
                    Some(header) => request.header("authorization", header),
                    None => request,
                }
                .call()
            }
            Method::Post => {
                let request = self.agent.post(&self.url);
                match &self.header {
                    Some(header) => request.header("authorization", header),
                    None => request,
                }
                .send_json(json!({ "name": "a thing", "size": 21.5, "tags": ["one", "two"] }))
            }
        };
        let mut answer: Response<Body> = answer.unwrap();
        black_box(answer.body_mut().read_to_string().unwrap());
    }

    /// Microseconds.
    fn time(&self, method: Method) -> f64 {
        let begin = Instant::now();
        self.call(method);
        micros(begin.elapsed())
    }

    /// The fewest of several calls: the others had a buffer grow or a connection open.
    fn allocations(&self, method: Method) -> u64 {
        (0..20).map(|_| allocation_counter::measure(|| self.call(method)).count_total).min().unwrap()
    }
}

/// For callgrind.
pub(crate) fn repeat(what: &str, count: usize, address: &str) {
    let (method, side) = what.split_once('-').unwrap();
    let method = if method == "get" { Method::Get } else { Method::Post };
    let side = if side == "plain" { Side::plain(address) } else { Side::client(address) };
    for _ in 0..count {
        side.call(method);
    }
}

pub(crate) fn section(table: &mut Table, effort: Effort) {
    let rounds = effort.rounds(300, 10);
    table.section(&format!("A CALL, keep-alive on loopback ({rounds} rounds)"), "plain ureq with a fixed header");
    let address = loopback::serve();
    for (method, name) in [(Method::Get, "GET"), (Method::Post, "POST")] {
        let [mut plain, mut client, mut ratio, mut floor, mut twin] = std::array::from_fn(|_| Vec::new());
        for round in 0..rounds {
            let [a, b, c, d] = compare(&address, method, round);
            plain.push(a);
            client.push(b);
            ratio.push(b / a);
            floor.push(c / a);
            twin.push(d / a);
        }
        let ratio = Spread::of(ratio);
        let row = Row {
            what: &format!("{name}, µs"),
            ours: format!("{:.2}", median(client)),
            beside: format!("{:.2}", median(plain)),
            ratio: ratio.to_string(),
        };
        match method {
            Method::Get => table.aim(&row, "1.03", ratio.median <= 1.03),
            Method::Post => table.report(&row),
        }
        let floor = Spread::of(floor).to_string();
        table.report(&Row { what: "  a middleware that sets the header", ratio: floor, ..Row::default() });
        // What the instrument shows where there is nothing to see.
        let twin = Spread::of(twin).to_string();
        table.report(&Row { what: "  plain ureq beside itself", ratio: twin, ..Row::default() });

        let [ours, beside] = ["client", "plain"].map(|side| format!("{}-{side}", name.to_lowercase()));
        let at_most = matches!(method, Method::Get).then_some(1.03);
        table.instructions(&format!("{name}, instructions"), &ours, &[&beside], at_most);

        let plain = Side::plain(&address).allocations(method);
        let client = Side::client(&address).allocations(method);
        let row = Row {
            what: &format!("{name}, heap allocations"),
            ours: client.to_string(),
            beside: plain.to_string(),
            ratio: format!("{:+}", client as i64 - plain as i64),
        };
        let more = if matches!(method, Method::Get) { 0 } else { 2 };
        table.insist(&row, &format!("+{more}"), client <= plain + more);
    }
}

/// One round: plain ureq, the client, a middleware of three lines, and plain ureq once more, call by call in turn, in another
/// order each time. Each has a connection of its own, anew: one whose other end the scheduler has put on a far core stays slow
/// for as long as it lives, and the first of a round is better off than the last, so that they take turns at that as well.
fn compare(address: &str, method: Method, round: usize) -> [f64; 4] {
    let mut kinds = [Side::plain, Side::client, Side::middleware, Side::plain];
    let turn = round % kinds.len();
    kinds.rotate_left(turn);
    let sides = kinds.map(|kind| kind(address));
    let mut times: [Vec<f64>; 4] = std::array::from_fn(|_| Vec::new());
    for call in 0..WARM_UP + CALLS {
        for which in ORDERS[call % ORDERS.len()] {
            let time = sides[which].time(method);
            if call >= WARM_UP {
                times[which].push(time);
            }
        }
    }
    times.rotate_right(turn);
    times.map(median)
}
