//! Request bodies: what is sent on the wire is what plain ureq would send, and it goes a second time after a 401.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ureq::http::{Request, Response};
use ureq::{Agent, Body, Error as UreqError, SendBody};
use ureq_auth::{Client, ErrorKind, NotReplayed};

use crate::client::{builder_of, client_of, kind, plain_statuses, refuses_the_first, text};
use crate::server::{Answer, Seen, Server};

type Sending = fn(&Agent, &str) -> Result<Response<Body>, UreqError>;

/// Requests of all kinds that a client can send twice.
const REPLAYABLE: &[(&str, Sending)] = &[
    ("GET", |agent, url| agent.get(url).query("q", "a b").call()),
    ("GET with settings of its own", |agent, url| agent.get(url).config().user_agent("mine").build().call()),
    ("GET with raw headers", |agent, url| agent.get(url).header_raw("X-CaSe", b"1").header_raw("x-cAsE", b"2").call()),
    ("GET that has a body", |agent, url| agent.get(url).force_send_body().send("question")),
    ("DELETE", |agent, url| agent.delete(url).call()),
    ("DELETE that has a body", |agent, url| agent.delete(url).force_send_body().send("which")),
    ("HEAD", |agent, url| agent.head(url).call()),
    ("OPTIONS", |agent, url| agent.options(url).call()),
    ("empty POST", |agent, url| agent.post(url).send_empty()),
    ("POST of no bytes", |agent, url| agent.post(url).send("")),
    ("String", |agent, url| agent.post(url).content_type("text/plain").send(String::from("körper"))),
    ("bytes", |agent, url| agent.put(url).send(&[0_u8, 255, 13, 10][..])),
    ("array", |agent, url| agent.patch(url).send(&[7_u8; 1000])),
    #[cfg(feature = "json")]
    ("JSON", |agent, url| agent.post(url).send_json(serde_json::json!({ "a": [1, null, "ü"] }))),
    ("form", |agent, url| agent.post(url).send_form([("a", "1 2"), ("b", "&=")])),
    ("small file", |agent, url| agent.post(url).send(File::open("Cargo.toml").unwrap())),
    ("the caller's own length", |agent, url| agent.post(url).header("Content-Length", "3").send(reader("abc"))),
    ("http, nothing", |agent, url| agent.run(Request::get(url).body(()).unwrap())),
    ("http, GET with text", |agent, url| agent.run(Request::get(url).body("text").unwrap())),
    ("http, POST with text", |agent, url| agent.run(Request::post(url).body("text").unwrap())),
    ("http, PUT of bytes", |agent, url| agent.run(Request::put(url).body(vec![1_u8, 2]).unwrap())),
    ("chunked by the caller", |agent, url| {
        agent.post(url).header("Transfer-Encoding", "chunked").send(reader("in pieces"))
    }),
];

fn reader(text: &'static str) -> SendBody<'static> {
    SendBody::from_owned_reader(text.as_bytes())
}

#[test]
fn what_goes_out_is_what_plain_ureq_would_send_and_so_is_the_replay() {
    for (name, send) in REPLAYABLE {
        let server = Server::start(|seen| match seen.bearer() {
            Some("token-1") => Answer::refused(),
            _ => Answer::ok("fine"),
        });
        let (client, _) = client_of(&server);
        let plain = Agent::config_builder().http_status_as_error(false).build().new_agent();

        let url = server.url("/path");
        let answers = [&plain, client.agent()]
            .map(|agent| send(agent, &url).unwrap_or_else(|error| panic!("{name}: {error}")).status());

        assert!(answers.iter().all(|status| *status == 200), "{name}");
        let [expected, first, second]: [_; 3] = server.seen().try_into().unwrap();
        assert_eq!((first.bearer(), second.bearer()), (Some("token-1"), Some("token-2")), "{name}");
        assert_eq!(expected.without_token(), first.without_token(), "{name}, first attempt");
        assert_eq!(expected.without_token(), second.without_token(), "{name}, second attempt");
    }
}

/// The one difference to plain ureq, which says `Content-Length: 0` in the first case and sends an empty chunked body in
/// the other: whether a `SendBody` is empty or none cannot be seen from outside. All of it means the same to a server.
#[test]
fn a_forced_body_of_no_bytes_is_no_body_on_a_delete_and_has_a_length_on_a_post() {
    let server = Server::start(refuses_the_first);
    let (client, _) = client_of(&server);
    assert_eq!(text(client.delete(server.url("/")).force_send_body().send("")), "DELETE ");
    assert_eq!(text(client.run(Request::post(server.url("/")).body(()).unwrap())), "POST ");
    let seen = server.seen();
    let framing = seen.iter().map(|seen| (seen.header("content-length"), seen.header("transfer-encoding")));
    assert_eq!(framing.collect::<Vec<_>>(), [(None, None), (None, None), (Some("0"), None)]);
}

#[test]
fn an_empty_post_says_so_both_times() {
    let server = Server::start(refuses_the_first);
    let (client, _) = client_of(&server);
    assert_eq!(text(client.post(server.url("/")).send_empty()), "POST ");
    let lengths: Vec<_> = server.seen().iter().map(|seen| seen.header("content-length").map(str::to_owned)).collect();
    assert_eq!(lengths, [Some("0".to_owned()), Some("0".to_owned())]);
}

#[test]
fn a_reader_of_unknown_length_is_sent_again_up_to_the_limit_and_not_a_byte_beyond() {
    for (length, is_replayed) in [(999, true), (1000, true), (1001, false)] {
        let server = Server::start(refuses_the_first);
        let (builder, calls) = builder_of(&server);
        let client = builder.replay_limit(1000).configure(plain_statuses).build().unwrap();
        let data = vec![b'x'; length];

        let mut unknown = Cursor::new(&data).chain(io::empty());
        let answer = client.post(server.url("/")).send(SendBody::from_reader(&mut unknown)).unwrap();

        assert_eq!(answer.status() == 200, is_replayed, "{length}");
        assert_eq!(answer.extensions().get::<NotReplayed>().is_none(), is_replayed, "{length}");
        assert_eq!(calls.count(), 2, "refreshed either way");
        let stats = client.session().stats();
        assert_eq!((stats.replays, stats.not_replayed), if is_replayed { (1, 0) } else { (0, 1) }, "{length}");
        for seen in server.seen() {
            assert_eq!(seen.body.len(), length);
            assert_eq!(seen.header("content-length").is_some(), is_replayed, "{length}: {seen:?}");
        }
        // Whoever sends it once more gets through.
        assert_eq!(client.post(server.url("/")).send(&data[..]).unwrap().status(), 200);
    }
}

#[test]
fn a_file_over_the_limit_arrives_whole_and_its_401_says_that_the_token_is_fresh() {
    let path = std::env::temp_dir().join(format!("ureq-auth-{}", std::process::id()));
    let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&path, &content).unwrap();
    let server = Server::start(refuses_the_first);
    let (client, calls) = client_of(&server);

    let mut answer = client.put(server.url("/")).send(File::open(&path).unwrap()).unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.extensions().get::<NotReplayed>().is_some());
    assert_eq!(answer.body_mut().read_to_string().unwrap(), "who are you?");
    assert_eq!(calls.count(), 2);

    assert_eq!(client.put(server.url("/")).send(File::open(&path).unwrap()).unwrap().status(), 200);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(server.count(), 2);
    for seen in server.seen() {
        assert!(seen.body == content);
    }
}

#[test]
fn a_body_that_cannot_be_sent_again_is_an_error_of_its_own_kind_where_a_status_is_one() {
    let server = Server::script([Answer::refused()]);
    let (builder, calls) = builder_of(&server);
    let client = builder.replay_limit(3).build().unwrap();
    assert_eq!(kind(client.post(server.url("/")).send("four")), ErrorKind::NotReplayed);
    assert_eq!(calls.count(), 2);
}

#[test]
fn with_a_limit_of_nothing_calls_without_a_body_are_still_sent_again() {
    let server = Server::start(refuses_the_first);
    let (builder, _) = builder_of(&server);
    let client = builder.replay_limit(0).configure(plain_statuses).build().unwrap();
    assert_eq!(text(client.post(server.url("/")).send_empty()), "POST ");
    assert_eq!(server.count(), 2);
}

#[test]
fn a_body_that_its_caller_wants_chunked_is_recorded_and_sent_again() {
    for answered_early in [false, true] {
        let refuse = move |seen: &Seen| (seen.bearer() == Some("token-1")).then(Answer::refused);
        let server = match answered_early {
            false => Server::start(refuses_the_first),
            true => Server::start_early(refuse, refuses_the_first),
        };
        let (client, _) = client_of(&server);
        let answer = client.post(server.url("/")).header("Transfer-Encoding", "chunked").send(reader("piecemeal"));
        assert_eq!(text(answer), "POST piecemeal");
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        assert!(seen.iter().all(|seen| seen.header("content-length").is_none()));
    }
}

#[test]
fn a_chunked_body_over_the_limit_is_not_sent_again() {
    let server = Server::script([Answer::refused()]);
    let (builder, _) = builder_of(&server);
    let client = builder.replay_limit(4).configure(plain_statuses).build().unwrap();
    let answer = client.post(server.url("/")).header("Transfer-Encoding", "chunked").send(reader("12345")).unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.extensions().get::<NotReplayed>().is_some());
}

/// Yields its text and then, instead of an end, whatever the test decides: a socket that stays open is like that.
struct Live<'a> {
    text: &'a [u8],
    reads_past_the_end: &'a AtomicUsize,
}

impl Read for Live<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.text.is_empty() {
            self.reads_past_the_end.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::other("a live reader would block here"));
        }
        self.text.read(buffer)
    }
}

#[test]
fn a_body_that_is_longer_than_the_caller_said_is_the_error_that_plain_ureq_makes_of_it() {
    let server = Server::start(|_| Answer::ok("fine"));
    let (client, _) = client_of(&server);
    let errors = [&Agent::new_with_defaults(), client.agent()].map(|agent| {
        let request = agent.post(server.url("/")).header("Content-Length", "3");
        request.send(reader("four")).unwrap_err().to_string()
    });
    assert_eq!(errors[0], errors[1]);
}

#[test]
fn no_more_is_read_than_the_length_that_the_caller_gave() {
    let server = Server::start(refuses_the_first);
    let (client, _) = client_of(&server);
    let past = AtomicUsize::new(0);
    for agent in [&Agent::new_with_defaults(), client.agent()] {
        let mut live = Live { text: b"12345", reads_past_the_end: &past };
        let request = agent.post(server.url("/")).header("Content-Length", "5").header("Authorization", "Bearer own");
        request.send(SendBody::from_reader(&mut live)).unwrap();
    }
    let mut live = Live { text: b"12345", reads_past_the_end: &past };
    let request = client.post(server.url("/")).header("Content-Length", "5");
    assert_eq!(text(request.send(SendBody::from_reader(&mut live))), "POST 12345");
    assert_eq!(past.load(Ordering::SeqCst), 0);
    assert_eq!(server.count(), 4);
}

#[test]
fn a_length_over_the_limit_streams_with_that_length() {
    let server = Server::script([Answer::ok("")]);
    let (builder, _) = builder_of(&server);
    let client = builder.replay_limit(4).build().unwrap();
    client.post(server.url("/")).header("Content-Length", "9").send(reader("piecemeal")).unwrap();
    let [seen]: [_; 1] = server.seen().try_into().unwrap();
    assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), (Some("9"), None));
    assert_eq!(seen.text(), "piecemeal");
}

#[test]
fn a_body_that_cannot_be_read_is_an_error_and_nothing_is_sent() {
    let server = Server::untouched();
    let (client, _) = client_of(&server);
    let past = AtomicUsize::new(0);
    let mut broken = Live { text: b"12345", reads_past_the_end: &past };
    let error = client.post(server.url("/")).send(SendBody::from_reader(&mut broken)).unwrap_err();
    assert!(matches!(error, UreqError::Io(_)), "{error:?}");
}

/// Tells by its first read whether the server has the request's head already; that read is interrupted by a signal.
struct Asked<'a> {
    text: &'a [u8],
    head_is_there: &'a AtomicBool,
    was_interrupted: bool,
}

impl Read for Asked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(self.head_is_there.load(Ordering::SeqCst), "read before anybody asked for it");
        if !std::mem::replace(&mut self.was_interrupted, true) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.text.read(buffer)
    }
}

#[test]
fn with_expect_100_continue_nothing_is_read_before_the_server_asks() {
    let head_is_there = Arc::new(AtomicBool::new(false));
    let arrived = Arc::clone(&head_is_there);
    let arrives = move |_: &Seen| {
        arrived.store(true, Ordering::SeqCst);
        None
    };
    let server = Server::start_early(arrives, |_| Answer::ok("fine"));
    let (client, _) = client_of(&server);
    let mut asked = Asked { text: b"when asked", head_is_there: &head_is_there, was_interrupted: true };
    let request = client.post(server.url("/")).header("Expect", "100-continue");
    assert_eq!(text(request.send(SendBody::from_reader(&mut asked))), "fine");
    assert_eq!(server.seen()[0].text(), "when asked");
}

#[test]
fn a_read_that_a_signal_interrupts_is_done_again() {
    let server = Server::start(refuses_the_first);
    let (client, _) = client_of(&server);
    let mut body = Asked { text: b"whole", head_is_there: &AtomicBool::new(true), was_interrupted: false };
    assert_eq!(text(client.post(server.url("/")).send(SendBody::from_reader(&mut body))), "POST whole");
}

#[test]
fn a_refusal_instead_of_100_continue_ends_at_the_callers_time_out_at_the_latest() {
    let server = Server::start_early(|_| Some(Answer::refused()), |_| Answer::ok("unreachable"));
    let (client, calls) = client_of(&server);
    let configured = client.post(server.url("/")).config().timeout_global(Some(Duration::from_millis(300))).build();
    // ureq 3.5.2 does not deliver an answer that comes instead of the 100. When it learns to, this is a 401.
    match configured.header("Expect", "100-continue").send("never asked for") {
        Ok(answer) => assert_eq!(answer.status(), 401),
        Err(error) => assert!(matches!(error, UreqError::Timeout(_)), "{error:?}"),
    }
    server.await_count(1);
    assert!(calls.count() <= 2 && server.count() == 1);
}

#[test]
fn a_call_that_was_not_sent_is_not_sent_again() {
    let (session, calls) = crate::client::session();
    // A port that nobody listens on any more.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::new(session, &format!("http://{nobody}")).unwrap();
    client.post(format!("http://{nobody}/")).send("x").unwrap_err();
    assert_eq!(calls.count(), 1);
}

#[test]
fn a_call_that_gets_no_token_goes_out_as_it_came() {
    let large = vec![b'x'; 100_000];
    let server = Server::start(|_| Answer::ok(""));
    let (session, _) = crate::client::session();
    let elsewhere = Client::builder(session).origin("https://api.example").build().unwrap();
    let (client, calls) = client_of(&server);
    let plain = Agent::new_with_defaults();
    for (agent, own) in [(&plain, None), (elsewhere.agent(), None), (client.agent(), Some("Basic b3du"))] {
        let mut request = agent.put(server.url("/"));
        if let Some(own) = own {
            request = request.header("Authorization", own);
        }
        request.send(&large[..]).unwrap();
    }
    for seen in server.seen() {
        assert_eq!(
            (seen.header("content-length"), seen.header("transfer-encoding")),
            (Some("100000"), None),
            "{seen:?}"
        );
        assert_eq!(seen.body.len(), large.len());
    }
    assert_eq!((server.count(), calls.count()), (3, 0));
}
