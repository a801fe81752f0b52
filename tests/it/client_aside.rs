//! What becomes of the connection of an answer that the caller does not get, and of the answer if the caller gets it after all.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use ureq_auth::{Client, Event, NotReplayed, Policy, Session};

use crate::client::{Calls, builder_of, client_of, in_threads, numbered, plain_statuses, text};
use crate::server::{Answer, Gate, Server};

/// An answer in these pieces, each sent when the one before it is out.
fn pieces(pieces: &[&'static [u8]]) -> Answer {
    let pieces = pieces.to_vec();
    Answer::written(move |stream| pieces.iter().for_each(|piece| send(stream, piece)))
}

fn send(mut stream: &TcpStream, bytes: &[u8]) {
    // A client that does not want the rest may have gone.
    let _gone = stream.write_all(bytes);
}

fn chunked(status: &str, text: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n", text.len())
        .into_bytes()
}

fn chunked_401(text: &str) -> Answer {
    let answer = chunked("401 No", text);
    Answer::written(move |stream| send(stream, &answer))
}

/// `who are you?`, compressed.
#[cfg(feature = "gzip")]
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\x2b\xcf\xc8\x57\x48\x2c\x4a\x55\xa8\xcc\x2f\xb5\x07\x00\x78\x17\xd1\x2c\x0c\x00\x00\x00";

#[test]
fn a_401s_connection_serves_the_replay_however_its_body_is_framed() {
    let answers = vec![
        ("length", Answer::refused()),
        ("nothing", Answer::new(401)),
        ("chunked", chunked_401("who are you?")),
        ("chunked, 16 KiB", chunked_401(&"x".repeat(16 * 1024))),
        (
            "in pieces",
            pieces(&[
                b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nwho",
                b"\r\n2\r\n a\r\n",
                b"0",
                b"\r\n",
                b"\r\n",
            ]),
        ),
    ];
    #[cfg(feature = "gzip")]
    let answers = answers.into_iter().chain(zipped());
    for (name, answer) in answers {
        let server = Server::script([answer, Answer::ok("fine")]);
        let (client, _) = client_of(&server);
        assert_eq!(text(client.post(server.url("/")).send("x")), "fine", "{name}");
        assert_eq!((server.count(), server.connections()), (2, 1), "{name}");
    }
}

#[cfg(feature = "gzip")]
fn zipped() -> [(&'static str, Answer); 2] {
    let head = b"HTTP/1.1 401 No\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n";
    let both = [head, GZIP, b"\r\n0\r\n\r\n"].concat();
    assert_eq!(GZIP.len(), 0x20);
    [
        ("gzip", Answer::new(401).header("Content-Encoding", "gzip").body(GZIP)),
        ("gzip, chunked", Answer::written(move |stream| send(stream, &both))),
    ]
}

#[test]
fn a_redirects_connection_serves_the_next_request() {
    let redirect =
        b"HTTP/1.1 302 There\r\nLocation: /there\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngone\r\n0\r\n\r\n";
    let server = Server::script([pieces(&[redirect]), Answer::ok("fine")]);
    let (client, _) = client_of(&server);
    assert_eq!(text(client.get(server.url("/")).call()), "fine");
    assert_eq!((server.count(), server.connections()), (2, 1));
}

#[test]
fn a_crowd_that_waits_for_a_refresh_holds_no_connections_and_opens_no_second_ones() {
    let all_are_in = Gate::new(64);
    let server = Server::start(move |seen| match seen.bearer() {
        Some("token-1") => {
            all_are_in.arrive();
            chunked_401("who are you?")
        }
        _ => Answer::ok("fine"),
    });
    let (all_wait, calls) = (Gate::new(63), Calls::default());
    let (waiting, issue) = (all_wait.clone(), numbered(calls.clone()));
    let source = move |previous: Option<&ureq_auth::Token>| {
        if previous.is_some() {
            waiting.wait();
        }
        issue(previous)
    };
    // A refusal is met at once.
    let policy = Policy::new().with_token_lag(Duration::ZERO);
    let session = Session::builder(source).policy(policy).observer(move |event| {
        if let Event::WaitStarted = event {
            all_wait.open();
        }
    });
    let client =
        Client::builder(session.build().unwrap()).origin(server.origin()).configure(plain_statuses).build().unwrap();
    client.session().token().unwrap();
    let answers = in_threads(64, |_| text(client.get(server.url("/")).call()));
    assert_eq!(answers, ["fine"; 64]);
    assert_eq!((calls.count(), server.count(), server.connections()), (2, 128, 64));
}

/// A 401 that halts in the middle of its body, or before it, until the gate is open; and that body.
struct Halting {
    head: &'static str,
    begin: &'static str,
    rest: &'static str,
    body: &'static str,
}

const HALTING: [Halting; 4] = [
    Halting { head: "Transfer-Encoding: chunked", begin: "", rest: "8\r\nthe rest\r\n0\r\n\r\n", body: "the rest" },
    Halting {
        head: "Transfer-Encoding: chunked",
        begin: "7\r\nbegun, \r\n",
        rest: "8\r\nthe rest\r\n0\r\n\r\n",
        body: "begun, the rest",
    },
    Halting { head: "Content-Length: 8", begin: "", rest: "the rest", body: "the rest" },
    Halting { head: "Content-Length: 15", begin: "begun, ", rest: "the rest", body: "begun, the rest" },
];

impl Halting {
    fn until(&self, gate: &Gate) -> Answer {
        let (gate, rest) = (gate.clone(), self.rest);
        let begin = format!("HTTP/1.1 401 No\r\n{}\r\n\r\n{}", self.head, self.begin);
        Answer::written(move |stream| {
            send(stream, begin.as_bytes());
            gate.wait();
            send(stream, rest.as_bytes());
        })
    }
}

#[test]
fn a_401_whose_body_halts_does_not_hold_its_call() {
    for halting in HALTING {
        let gate = Gate::new(1);
        let server = Server::script([halting.until(&gate), Answer::ok("fine")]);
        let (client, _) = client_of(&server);
        // It would wait for the rest, which comes after that.
        assert_eq!(text(client.get(server.url("/")).call()), "fine");
        assert_eq!((server.count(), server.connections()), (2, 2));
        gate.open();
    }
}

#[test]
fn a_401_whose_body_halts_is_whole_for_the_caller_who_gets_it() {
    for halting in HALTING {
        let gate = Gate::new(1);
        let server = Server::script([halting.until(&gate)]);
        let (builder, _) = builder_of(&server);
        // Its body cannot be sent again.
        let client = builder.replay_limit(0).configure(plain_statuses).build().unwrap();
        let answer = client.post(server.url("/")).send("x").unwrap();
        assert!(answer.extensions().get::<NotReplayed>().is_some());
        gate.open();
        assert_eq!(text(Ok(answer)), halting.body);
    }
}

#[test]
fn a_401_that_is_the_answer_is_as_it_came() {
    let long = "x".repeat(40_000);
    for body in ["who are you?", &long] {
        let server = Server::script([chunked_401(body)]);
        let (builder, _) = builder_of(&server);
        let client = builder.replay_limit(0).configure(plain_statuses).build().unwrap();
        let answer = client.post(server.url("/")).send("x").unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().content_length()), (401, None));
        assert_eq!(answer.headers()["transfer-encoding"], "chunked");
        assert_eq!(text(Ok(answer)), body);
    }
}

#[test]
fn a_401_that_breaks_off_is_an_error_for_the_caller_who_gets_it() {
    let torn = Answer::wire(|stream| send(stream, b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nwho"));
    let server = Server::script([torn]);
    let (builder, _) = builder_of(&server);
    let client = builder.replay_limit(0).configure(plain_statuses).build().unwrap();
    let mut answer = client.post(server.url("/")).send("x").unwrap();
    assert!(answer.body_mut().read_to_string().is_err());
}

#[test]
fn a_longer_body_costs_its_connection_and_nothing_else() {
    let server = Server::script([chunked_401(&"x".repeat(17 * 1024)), Answer::ok("fine")]);
    let (client, _) = client_of(&server);
    assert_eq!(text(client.get(server.url("/")).call()), "fine");
    assert_eq!((server.count(), server.connections()), (2, 2));
}
