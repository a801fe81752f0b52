//! What a call through the client costs beside plain ureq with a fixed header: time, heap allocations, instructions.
//!
//! `cargo bench --bench overhead` prints time and allocations, both sides in pairs within one run. `.ci/instructions` counts
//! instructions: it runs this program as `--get plain|client ADDRESS N` under callgrind, with `--serve` as the other end.
//! `.ci/syscalls` runs it as `--tokens N` under strace.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ureq_auth::{Client, Session, SourceError, Token};

type Failure = Box<dyn std::error::Error>;

const ACCESS_TOKEN: &str = "eyJhbGciOiJub25lIn0.eyJpYXQiOjEwMDAsImV4cCI6MTMwMC41fQ.0123456789abcdef0123456789abcdef";
const ROUNDS: usize = 200;
/// Few, so that of many rounds some are not disturbed by the scheduler on either side.
const CALLS_PER_ROUND: usize = 50;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--serve"] => serve(TcpListener::bind("127.0.0.1:0")?),
        ["--get", side, address, count] => {
            let side = Side::new(side, address)?;
            for _ in 0..count.parse()? {
                side.get()?;
            }
            Ok(())
        }
        ["--tokens", count] => {
            let session = session()?;
            for _ in 0..count.parse()? {
                black_box(session.token()?);
            }
            Ok(())
        }
        _ => compare(),
    }
}

/// A session whose token is fresh for as long as a bench runs.
fn session() -> Result<Session, ureq_auth::Error> {
    Session::new(|_: Option<&Token>| -> Result<Token, SourceError> {
        Ok(Token::new(ACCESS_TOKEN)?.with_expires_in(Duration::from_secs(3600)))
    })
}

/// Prints time and allocations of both sides.
fn compare() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || serve(listener).ok());

    let (mut plain_best, mut client_best) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        // In turn, so that a machine that slows down slows both; and anew each time, for a connection whose other end
        // the scheduler has put on a far core stays slow for as long as it lives.
        let (a, b) = (Side::new("plain", &address)?.time()?, Side::new("client", &address)?.time()?);
        (plain_best, client_best) = (plain_best.min(a), client_best.min(b));
    }
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / CALLS_PER_ROUND as f64;
    println!("GET on loopback, keep-alive     plain ureq   through the client");
    println!("best round, microseconds/call  {:>11.2} {:>20.2}", micros(plain_best), micros(client_best));
    println!("ratio of the best of {ROUNDS} rounds    {:>29.3}", client_best.as_secs_f64() / plain_best.as_secs_f64());
    let (plain, client) = (Side::new("plain", &address)?, Side::new("client", &address)?);
    println!("heap allocations/call          {:>11} {:>20}", plain.allocations()?, client.allocations()?);
    Ok(())
}

/// One of the two ways to make the same call.
struct Side {
    agent: ureq::Agent,
    url: String,
    header: Option<String>,
    _client: Option<Client>,
}

impl Side {
    fn new(name: &str, address: &str) -> Result<Self, Failure> {
        let url = format!("http://{address}/x");
        Ok(match name {
            "plain" => {
                let header = Some(format!("Bearer {ACCESS_TOKEN}"));
                Side { agent: ureq::Agent::new_with_defaults(), url, header, _client: None }
            }
            _ => {
                let client = Client::new(session()?, &format!("http://{address}"))?;
                Side { agent: client.agent().clone(), url, header: None, _client: Some(client) }
            }
        })
    }

    #[inline(never)]
    fn get(&self) -> Result<(), Failure> {
        let request = self.agent.get(&self.url);
        let request = match &self.header {
            Some(header) => request.header("authorization", header),
            None => request,
        };
        let text = request.call()?.body_mut().read_to_string()?;
        black_box(text);
        Ok(())
    }

    fn time(&self) -> Result<Duration, Failure> {
        for _ in 0..5 {
            self.get()?;
        }
        let begin = Instant::now();
        for _ in 0..CALLS_PER_ROUND {
            self.get()?;
        }
        Ok(begin.elapsed())
    }

    /// The fewest of several calls: the others had a buffer grow or a connection open.
    fn allocations(&self) -> Result<u64, Failure> {
        let mut fewest = u64::MAX;
        for _ in 0..20 {
            let mut result = Ok(());
            let count = allocation_counter::measure(|| result = self.get()).count_total;
            result?;
            fewest = fewest.min(count);
        }
        Ok(fewest)
    }
}

/// Answers every request on every connection with two bytes, and prints its address first.
fn serve(listener: TcpListener) -> Result<(), Failure> {
    println!("{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        std::thread::spawn(move || answer(stream).ok());
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")?;
        }
        line.clear();
    }
    Ok(())
}
