//! The faults themselves: what was not done wrong proves nothing.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use serde_json::json;

use crate::server::faults::{Faults, Sends};
use crate::server::http::Response;

type TestResult = Result<(), Box<dyn std::error::Error>>;

#[test]
fn a_seed_draws_the_same_faults_again_and_another_seed_draws_others() {
    let draw = |seed| {
        let faults = Faults::new(seed);
        (0..100).map(|_| faults.for_token_call().map(|drawn| drawn.fault)).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn every_fault_comes_about_as_often_as_it_should() {
    let faults = Faults::new(1);
    for (draw, one_of, kinds) in [(Faults::for_token_call as fn(&_) -> _, 2, 33), (Faults::for_api_call, 100, 20)] {
        let drawn: Vec<_> = (0..100_000).filter_map(|_| draw(&faults)).collect();
        let expected = 100_000 / one_of;
        assert!((expected * 9 / 10..expected * 11 / 10).contains(&drawn.len()), "{}", drawn.len());
        let met: BTreeSet<_> = drawn.iter().map(|drawn| format!("{:?}", drawn.fault)).collect();
        assert!(met.len() >= kinds - 2, "{met:?}");
    }
    assert!(faults.met(true).is_empty() && faults.met(false).is_empty(), "what is drawn is not met yet");
    let drawn = (0..100).find_map(|_| faults.for_token_call());
    drawn.into_iter().for_each(|drawn| faults.count(drawn));
    assert_eq!((faults.met(true).values().sum::<u64>(), faults.met(false).len()), (1, 0));
}

/// What a client sees that reads on, and whether the server would have kept the connection.
fn sent(sends: Sends, read: impl FnOnce(TcpStream) -> io::Result<Vec<u8>>) -> io::Result<(String, bool)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    let answer = Response::json("200 OK", &json!({ "whole": true }));
    let serving = thread::spawn(move || sends.send(&answer, &server));
    let seen = read(client)?;
    // A client that has gone is an error of writing, or none.
    let kept = serving.join().is_ok_and(|kept| kept.unwrap_or(false));
    Ok((String::from_utf8_lossy(&seen).into_owned(), kept))
}

fn to_the_end(mut client: TcpStream) -> io::Result<Vec<u8>> {
    let mut seen = Vec::new();
    client.read_to_end(&mut seen).map(|_| seen)
}

/// Goes after so many bytes.
fn some(bytes: usize) -> impl FnOnce(TcpStream) -> io::Result<Vec<u8>> {
    move |mut client| {
        let mut seen = vec![0; bytes];
        client.read_exact(&mut seen).map(|()| seen)
    }
}

#[test]
fn another_answer_is_whole_and_keeps_the_connection() -> TestResult {
    let (seen, kept) = sent(Sends::Other("503 Service Unavailable", "Retry-After: 1\r\n", "later"), some(42))?;
    assert!(seen.starts_with("HTTP/1.1 503 Service Unavailable\r\nRetry-A"), "{seen}");
    assert!(kept);
    let (seen, kept) = sent(Sends::Date("429 Too Many Requests"), some(120))?;
    assert!(seen.contains("\r\nDate: ") && seen.contains("\r\nRetry-After: "), "{seen}");
    assert!(kept);
    Ok(())
}

#[test]
fn a_part_is_cut_off() -> TestResult {
    assert_eq!(sent(Sends::Part(0), to_the_end)?, (String::new(), false));
    let (seen, kept) = sent(Sends::Part(20), to_the_end)?;
    assert!(seen.starts_with("HTTP/1.1 200 OK") && !seen.contains("\r\n\r\n") && !kept, "{seen}");
    let (seen, kept) = sent(Sends::Part(95), to_the_end)?;
    assert!(seen.contains("\r\n\r\n{") && !seen.ends_with('}') && !kept, "{seen}");
    assert_eq!(sent(Sends::Garbage, to_the_end)?, ("SSH-2.0-storm\r\n".to_owned(), false));
    Ok(())
}

#[test]
fn what_has_no_end_ends_when_the_client_goes() -> TestResult {
    assert_eq!(sent(Sends::Silence, some(0))?, (String::new(), false));
    assert_eq!(sent(Sends::Drip, some(1))?, ("H".to_owned(), false));
    let (seen, kept) = sent(Sends::Endless, some(1 << 20))?;
    assert!(seen.contains("Content-Length: 10737418240\r\n\r\nxxx") && seen.ends_with("xxx") && !kept);
    Ok(())
}
