//! What the server does wrong, at random but by a seed: either before it has done its part, or when it has, so that the
//! answer is all that is missing.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use portable_atomic::AtomicU64;

use super::http::Response;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The server does nothing, and sends this.
    Before(Sends),
    /// The server does its part, and sends this in place of its answer.
    After(Sends),
    /// The token is as dead when it comes as one that has waited too long.
    Expired,
    /// The server does its part, and says of this member of its answer that it is that: the client cannot use the access
    /// token. The new refresh token is a good one.
    Unfit(&'static str, &'static str),
    /// The API refuses a token that lives, from now on.
    Revoked,
    /// The API has the call come again, to the same address.
    SeeOther,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sends {
    /// Status, header line and body of another answer.
    Other(&'static str, &'static str, &'static str),
    /// A status with the date until which to wait, a second from now.
    Date(&'static str),
    /// So much of the answer, in percent. Then the connection is cut.
    Part(usize),
    /// Nothing, until the client goes.
    Silence,
    /// A byte a second of the answer, until the client goes.
    Drip,
    /// A body of ten gigabytes, until the client goes.
    Endless,
    Garbage,
}

use Fault::{After, Before, Expired, Revoked, SeeOther, Unfit};
use Sends::{Date, Drip, Endless, Garbage, Other, Part, Silence};

const LATER: Sends = Other("503 Service Unavailable", "", "");
const LATER_IN_A_SECOND: Sends = Other("503 Service Unavailable", "Retry-After: 1\r\n", "");
const TOO_MANY: Sends = Other("429 Too Many Requests", "Retry-After: 1\r\n", "");
const BAD_GATEWAY: Sends = Other("502 Bad Gateway", "", "<html>502</html>");
const HTML: Sends = Other("200 OK", "", "<html>Welcome</html>");
const BLOCKED: &str = "<html>Request blocked</html>";
const TO_A_LOGIN: &str = "Location: /login\r\n";

const fn refuses(status: &'static str, body: &'static str) -> Fault {
    Before(Other(status, "", body))
}

/// Those of the token endpoint, each as often as its number says.
const TOKEN_CALLS: Rates = Rates {
    one_of: 2,
    faults: &[
        (3, "503", Before(LATER)),
        (3, "503, Retry-After", Before(LATER_IN_A_SECOND)),
        (2, "503, Retry-After a date", Before(Date("503 Service Unavailable"))),
        (2, "429", Before(TOO_MANY)),
        (3, "502 HTML", Before(BAD_GATEWAY)),
        (1, "200 HTML", Before(HTML)),
        (1, "400", refuses("400 Bad Request", "")),
        (1, "400 HTML", refuses("400 Bad Request", BLOCKED)),
        (1, "400 without a code", refuses("400 Bad Request", r#"{"message":"blocked"}"#)),
        (2, "400, unknown code", refuses("400 Bad Request", r#"{"error":"policy_violation"}"#)),
        (1, "200, unknown code", refuses("200 OK", r#"{"error":"quota_exceeded"}"#)),
        (1, "401", Before(Other("401 Unauthorized", "WWW-Authenticate: Basic\r\n", ""))),
        (1, "401 invalid_client", refuses("401 Unauthorized", r#"{"error":"invalid_client"}"#)),
        (1, "403", refuses("403 Forbidden", "")),
        (2, "403 HTML", refuses("403 Forbidden", BLOCKED)),
        (1, "403 access_denied", refuses("403 Forbidden", r#"{"error":"access_denied"}"#)),
        (2, "404 HTML", refuses("404 Not Found", BLOCKED)),
        (2, "302 HTML", Before(Other("302 Found", TO_A_LOGIN, BLOCKED))),
        (1, "redirect", Before(Other("307 Temporary Redirect", "Location: /elsewhere\r\n", ""))),
        (3, "cut before", Before(Part(0))),
        (1, "silence before", Before(Silence)),
        (1, "garbage before", Before(Garbage)),
        (4, "cut after", After(Part(0))),
        (3, "part of the head", After(Part(20))),
        (3, "part of the body", After(Part(95))),
        (1, "silence after", After(Silence)),
        (1, "drip", After(Drip)),
        (2, "endless", After(Endless)),
        (2, "garbage after", After(Garbage)),
        (2, "no access_token", After(Other("200 OK", "", "{}"))),
        (3, "another token_type", Unfit("token_type", "mac")),
        (2, "two words for a token", Unfit("access_token", "no token")),
        (3, "expired token", Expired),
    ],
};

/// Those of the API.
const API_CALLS: Rates = Rates {
    one_of: 100,
    faults: &[
        (4, "503", Before(LATER)),
        (4, "503, Retry-After", Before(LATER_IN_A_SECOND)),
        (4, "429, Retry-After a date", Before(Date("429 Too Many Requests"))),
        (4, "502 HTML", Before(BAD_GATEWAY)),
        (4, "200 HTML", Before(HTML)),
        (4, "400", Before(Other("400 Bad Request", "", ""))),
        (4, "403", Before(Other("403 Forbidden", "", ""))),
        (4, "cut before", Before(Part(0))),
        (1, "silence before", Before(Silence)),
        (4, "garbage before", Before(Garbage)),
        (1, "401", Revoked),
        (4, "redirect", SeeOther),
        (4, "502 HTML after", After(BAD_GATEWAY)),
        (4, "cut after", After(Part(0))),
        (4, "part of the head", After(Part(20))),
        (4, "part of the body", After(Part(95))),
        (1, "silence after", After(Silence)),
        (1, "drip", After(Drip)),
        (4, "endless", After(Endless)),
        (4, "garbage after", After(Garbage)),
    ],
};

struct Rates {
    /// Of so many calls, one meets a fault.
    one_of: u64,
    faults: &'static [(u64, &'static str, Fault)],
}

/// Draws faults, and counts those that were met.
#[derive(Debug)]
pub(crate) struct Faults {
    state: AtomicU64,
    met: Mutex<BTreeMap<(bool, &'static str), u64>>,
}

/// What was drawn: it is counted when it is met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawn {
    pub(crate) fault: Fault,
    of_token: bool,
    name: &'static str,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Faults { state: AtomicU64::new(seed), met: Mutex::default() }
    }

    pub(crate) fn for_token_call(&self) -> Option<Drawn> {
        self.draw(&TOKEN_CALLS, true)
    }

    pub(crate) fn for_api_call(&self) -> Option<Drawn> {
        self.draw(&API_CALLS, false)
    }

    /// Half of the lost answers cost the refresh token.
    pub(crate) fn has_grace(&self) -> bool {
        self.next() % 2 == 0
    }

    pub(crate) fn count(&self, drawn: Drawn) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        *met.entry((drawn.of_token, drawn.name)).or_default() += 1;
    }

    /// In how many token calls the client heard neither a token nor a refusal.
    pub(crate) fn lost(&self) -> u64 {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let is_lost = |name: &str| TOKEN_CALLS.faults.iter().any(|(_, fault, how)| *fault == name && how.is_lost());
        met.iter().filter(|((of_token, name), _)| *of_token && is_lost(name)).map(|(_, count)| count).sum()
    }

    /// How often each was met, those of the token endpoint or those of the API.
    pub(crate) fn met(&self, of_token: bool) -> BTreeMap<&'static str, u64> {
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        met.iter().filter(|((of, _), _)| *of == of_token).map(|((_, name), count)| (*name, *count)).collect()
    }

    fn draw(&self, rates: &Rates, of_token: bool) -> Option<Drawn> {
        if self.next() % rates.one_of != 0 {
            return None;
        }
        let mut ticket = self.next() % rates.faults.iter().map(|(weight, ..)| weight).sum::<u64>();
        rates.faults.iter().find_map(|(weight, name, fault)| {
            let drawn = (ticket < *weight).then_some(Drawn { fault: *fault, of_token, name });
            ticket = ticket.saturating_sub(*weight);
            drawn
        })
    }

    /// SplitMix64: the state is a sum, so that threads can draw from it without a lock.
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.state.fetch_add(STEP, Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Fault {
    /// Does no whole answer come?
    fn is_lost(self) -> bool {
        matches!(self, Before(sends) | After(sends) if !matches!(sends, Other(..) | Date(_)))
    }
}

impl Sends {
    /// Does it keep the connection until the client goes?
    pub(crate) fn holds(self) -> bool {
        matches!(self, Silence | Drip | Endless)
    }

    /// Sends it in place of `answer`. True if the connection is good for another request.
    pub(crate) fn send(self, answer: &Response, mut stream: &TcpStream) -> io::Result<bool> {
        let answer = answer.bytes();
        match self {
            Other(status, header, body) => {
                Response { status, header: header.to_owned(), body: body.to_owned() }.write(stream)?;
                return Ok(true);
            }
            Date(status) => {
                let date = |time| httpdate::fmt_http_date(time);
                let now = SystemTime::now();
                let header = format!("Date: {}\r\nRetry-After: {}\r\n", date(now), date(now + Duration::from_secs(1)));
                Response { status, header, body: String::new() }.write(stream)?;
                return Ok(true);
            }
            Part(percent) => stream.write_all(answer.get(..answer.len() * percent / 100).unwrap_or_default())?,
            Garbage => stream.write_all(b"SSH-2.0-storm\r\n")?,
            Silence => while !is_gone(stream)? {},
            Drip => {
                for byte in answer.chunks(1) {
                    stream.write_all(byte)?;
                    if is_gone(stream)? {
                        break;
                    }
                }
            }
            Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")?;
                loop {
                    stream.write_all(&[b'x'; 4096])?;
                }
            }
        }
        Ok(false)
    }
}

/// Waits a second for the client to go.
fn is_gone(mut stream: &TcpStream) -> io::Result<bool> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    Ok(
        !matches!(stream.read(&mut [0]), Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)),
    )
}
