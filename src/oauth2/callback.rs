//! What reaches the port of a login by browser (RFC 8252 §7.3): pure, so that it can be fuzzed.
//!
//! | the request | what it is |
//! | --- | --- |
//! | `GET` of the redirect's path, with this login's `state` and a `code` or an `error` | the callback |
//! | the same with another `state`, with none, or with a parameter twice | a stranger's: refused, and the login goes on |
//! | `GET` of [`END_PATH`] | the browser, which wants the last page |
//! | `GET` of any other path, such as a favicon's | not found |
//! | anything else | not allowed |

use zeroize::Zeroizing;

/// Where the browser is sent on, so that its address bar and its history hold no code.
pub(crate) const END_PATH: &str = "/login-finished";

/// What has come in at the login's port.
pub(crate) enum Received {
    Callback(Callback),
    Stranger,
    End,
    NotFound,
    NotAllowed,
}

/// The authorization response (RFC 6749 §4.1.2, §4.1.2.1; RFC 9207 §2).
pub(crate) struct Callback {
    /// The code, or the error's code and its description.
    pub(crate) result: Result<Zeroizing<String>, (String, String)>,
    pub(crate) issuer: Option<Zeroizing<String>>,
}

/// What the request is whose head begins like this; `None` as long as there is more to come.
pub(crate) fn read(head: &[u8], path: &str, state: &str) -> Option<Received> {
    if !head.windows(4).any(|end| end == b"\r\n\r\n") && !head.windows(2).any(|end| end == b"\n\n") {
        return None;
    }
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    Some(read_line(line, path, state))
}

/// Is the first line there, and a callback with this login's `state`? Nobody else can have sent that.
pub(crate) fn is_awaited(head: &[u8], path: &str, state: &str) -> bool {
    let end = head.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let line = end.and_then(|end| head.get(..end)).unwrap_or_default();
    matches!(read_line(line, path, state), Received::Callback(_))
}

fn read_line(line: &[u8], path: &str, state: &str) -> Received {
    let target = std::str::from_utf8(line).ok().and_then(|line| {
        let (target, version) = line.strip_prefix("GET ")?.split_once(' ')?;
        version.starts_with("HTTP/1.").then_some(target)
    });
    let Some(target) = target else { return Received::NotAllowed };
    let (own, query) = target.split_once('?').unwrap_or((target, ""));
    // An address without a path has an empty one in the redirect and a slash on the wire (RFC 9112 §3.2.1).
    if own == path || (path.is_empty() && own == "/") {
        callback(query, state).map_or(Received::Stranger, Received::Callback)
    } else if own == END_PATH {
        Received::End
    } else {
        Received::NotFound
    }
}

fn callback(query: &str, state: &str) -> Option<Callback> {
    const NAMES: [&str; 5] = ["state", "code", "error", "error_description", "iss"];
    let mut values: [Option<Zeroizing<String>>; 5] = [const { None }; 5];
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name);
        let place = name.and_then(|name| NAMES.iter().position(|known| *known == *name));
        let Some(place) = place.and_then(|place| values.get_mut(place)) else { continue };
        // Twice is not allowed (RFC 6749 §3.1), and only one of the two could be the one that the server meant.
        if place.replace(decoded(value)?).is_some() {
            return None;
        }
    }
    let [own_state, code, error, description, issuer] = values;
    if !is_same(&own_state?, state) {
        return None;
    }
    let result = match (error, code) {
        (Some(error), _) => Err((plain(&error), plain(&description.unwrap_or_default()))),
        (None, Some(code)) if !code.is_empty() && code.bytes().all(|byte| matches!(byte, b' '..=b'~')) => Ok(code),
        _ => return None,
    };
    Some(Callback { result, issuer })
}

/// Compared whole: how long it takes tells nobody how much of a guess is right.
fn is_same(text: &str, wanted: &str) -> bool {
    let differences = text.bytes().zip(wanted.bytes()).fold(0, |all, (one, other)| all | (one ^ other));
    text.len() == wanted.len() && differences == 0
}

/// What may be shown of a server's text (RFC 6749 §4.1.2.1 has it printable), which comes by way of whoever knows the address.
fn plain(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~')).take(200).collect()
}

/// A value of application/x-www-form-urlencoded (RFC 6749 appendix B), in memory that is wiped. `None` if it is no UTF-8.
fn decoded(text: &str) -> Option<Zeroizing<String>> {
    // Enough from the start: what grows leaves a copy of itself behind.
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(16 * digit()? + digit()?).ok()?
            }
            byte => byte,
        });
    }
    std::str::from_utf8(&decoded).ok()?;
    String::from_utf8(std::mem::take(&mut *decoded)).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(head: &str) -> String {
        match read(head.as_bytes(), "/callback", "s-1") {
            None => "more".to_owned(),
            Some(Received::Stranger) => "stranger".to_owned(),
            Some(Received::End) => "end".to_owned(),
            Some(Received::NotFound) => "not found".to_owned(),
            Some(Received::NotAllowed) => "not allowed".to_owned(),
            Some(Received::Callback(Callback { result, issuer })) => match result {
                Ok(code) => format!("code {} of {:?}", *code, issuer.as_deref()),
                Err((error, description)) => format!("error {error}: {description}"),
            },
        }
    }

    fn get(target: &str) -> String {
        told(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    #[test]
    fn the_callback_is_the_one_with_this_logins_state() {
        assert_eq!(get("/callback?code=a&state=s-1"), "code a of None");
        assert_eq!(
            get("/callback?state=s%2D1&x=%zz&code=a%2Bb+c&iss=https%3A%2F%2Fid"),
            "code a+b c of Some(\"https://id\")"
        );
        assert_eq!(get("/callback?error=access_denied&state=s-1"), "error access_denied: ");
        assert_eq!(get("/callback?error=a%0ab&error_description=no%1b%5bm+way&state=s-1"), "error ab: no[m way");
        assert_eq!(get("/callback?error=e&code=a&state=s-1"), "error e: ");
        for refused in [
            "/callback",
            "/callback?",
            "/callback?code=a",
            "/callback?code=a&state=",
            "/callback?code=a&state=s-2",
            "/callback?code=a&state=s-11",
            "/callback?code=a&state=s",
            "/callback?state=s-1",
            "/callback?state=s-1&code=",
            "/callback?state=s-1&code",
            "/callback?code=a&state=s-1&code=b",
            "/callback?code=a&state=s-1&state=s-1",
            "/callback?code=a&state=s-1&st%61te=s-2",
            "/callback?code=%ff&state=s-1",
            "/callback?code=%4&state=s-1",
            "/callback?code=a%00&state=s-1",
            "/callback?code=%C3%BC&state=s-1",
        ] {
            assert_eq!(get(refused), "stranger", "{refused}");
        }
    }

    #[test]
    fn whatever_else_comes_is_no_callback() {
        for other in
            ["/", "/favicon.ico", "/callback/?code=a&state=s-1", "//callback", "*", "http://127.0.0.1/callback"]
        {
            assert_eq!(get(other), "not found", "{other}");
        }
        assert_eq!(get(END_PATH), "end");
        assert_eq!(get(&format!("{END_PATH}?x")), "end");
        for head in [
            "POST /callback?code=a&state=s-1 HTTP/1.1\r\n\r\n",
            "HEAD /callback?code=a&state=s-1 HTTP/1.1\r\n\r\n",
            "GET /callback?code=a&state=s-1\r\n\r\n",
            "GET  /callback HTTP/1.1\r\n\r\n",
            "GET /callback HTTP/2.0\r\n\r\n",
            "\r\n\r\n",
            "\u{16}\u{3}\u{1}\n\n",
        ] {
            assert_eq!(told(head), "not allowed", "{head:?}");
        }
        for head in ["", "GET", "GET /callback?code=a&state=s-1 HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r"] {
            assert_eq!(told(head), "more", "{head:?}");
        }
    }

    #[test]
    fn a_callback_is_known_by_its_whole_line_alone() {
        let is_awaited = |head: &str| is_awaited(head.as_bytes(), "/callback", "s-1");
        for head in
            ["GET /callback?code=a&state=s-1 HTTP/1.1\r\n", "GET /callback?code=a&state=s-1 HTTP/1.1\r\nHost: x"]
        {
            assert!(is_awaited(head), "{head:?}");
        }
        for head in [
            "",
            "\r\n",
            "GET /callback?code=a&state=s-1 HTTP/1.1",
            "GET /callback?code=a&state=s-2 HTTP/1.1\r\n",
            "GET /?code=a&state=s-1 HTTP/1.1\r\n",
            "GET /callback HTTP/1.1\r\nGET /callback?code=a&state=s-1 HTTP/1.1\r\n",
        ] {
            assert!(!is_awaited(head), "{head:?}");
        }
    }

    #[test]
    fn a_redirect_without_a_path_is_asked_for_by_a_slash() {
        let head = b"GET /?code=a&state=s HTTP/1.1\r\n\r\n";
        assert!(matches!(read(head, "", "s"), Some(Received::Callback(_))));
        assert!(matches!(read(head, "/", "s"), Some(Received::Callback(_))));
        assert!(matches!(read(head, "/x", "s"), Some(Received::NotFound)));
    }
}
