//! An authorization server and an API in one, plain or over TLS. It runs in the process that searches, so that its own copies
//! of the secrets are not in the one that is searched.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::Secrets;

/// How the server is reached, and how it answers token requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Manner {
    pub(crate) tls: bool,
    /// Compressed, though nobody has asked for that.
    pub(crate) gzip: bool,
    /// Some characters of tokens are escaped, as JSON allows.
    pub(crate) escaped: bool,
    /// Refused, and the refresh token comes back in the error's description.
    pub(crate) refused: bool,
    /// Never: the connection is closed.
    pub(crate) cut: bool,
    /// Never: the client waits.
    pub(crate) silent: bool,
}

pub(crate) struct Server {
    pub(crate) origin: String,
    shared: Arc<Shared>,
}

struct Shared {
    secrets: Secrets,
    manner: Manner,
    failures: Mutex<Vec<String>>,
    verifier: Mutex<Option<String>>,
}

/// What was asked for.
struct Request {
    /// Method and path.
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    header: &'static str,
    body: Vec<u8>,
}

impl Server {
    pub(crate) fn start(secrets: &Secrets, manner: Manner) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if manner.tls { "https" } else { "http" };
        let origin = format!("{scheme}://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            secrets: secrets.clone(),
            manner,
            failures: Mutex::default(),
            verifier: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&accepting);
                thread::spawn(move || {
                    // A client that goes away ends its connection with an error.
                    let _gone = if manner.tls { shared.serve(tls::accept(stream)) } else { shared.serve(stream) };
                });
            }
        });
        Server { origin, shared }
    }

    /// What was wrong with what the client has sent.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.shared.failures.lock().unwrap().clone()
    }

    /// What a login has made itself, and sent with its code.
    pub(crate) fn verifier(&self) -> Option<String> {
        self.shared.verifier.lock().unwrap().clone()
    }
}

impl Shared {
    fn serve(&self, stream: impl Read + Write) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(request) = Request::read(&mut stream)? {
            if self.manner.cut {
                return Ok(());
            }
            if self.manner.silent {
                // Until the client goes.
                return stream.read_exact(&mut [0]);
            }
            let Ok(answer) = catch_unwind(AssertUnwindSafe(|| self.answer(&request))) else {
                self.failures.lock().unwrap().push(request.line);
                return Ok(());
            };
            let Answer { status, header, body } = answer;
            let head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n{header}\r\n", body.len());
            stream.get_mut().write_all(&[head.as_bytes(), &body].concat())?;
            stream.get_mut().flush()?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> Answer {
        let Secrets { access, body, .. } = &self.secrets;
        if request.line == "POST /token" {
            return self.answer_for_token(request);
        }
        assert!(request.line.starts_with("GET") || request.body == body.as_bytes());
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap();
        // The first token is good for a GET only.
        match (&*request.line, access.iter().position(|token| token == bearer).unwrap()) {
            ("POST /notes", 0) => Answer { status: 401, header: INVALID, body: Vec::new() },
            _ => Answer { status: 200, header: "", body: b"fine".to_vec() },
        }
    }

    fn answer_for_token(&self, request: &Request) -> Answer {
        let Secrets { access: [access, _], refresh: [sent, next, _], client, basic, .. } = &self.secrets;
        let has = |wanted: &str, secret: &str| {
            form_urlencoded::parse(&request.body).any(|(name, value)| name == wanted && value == secret)
        };
        let mut form = form_urlencoded::parse(&request.body);
        *self.verifier.lock().unwrap() =
            form.find_map(|(name, value)| (name == "code_verifier").then(|| value.into_owned()));
        assert!(["refresh_token", "assertion", "code"].iter().any(|name| has(name, sent)));
        match request.header("authorization") {
            Some(header) => assert_eq!(header, format!("Basic {basic}")),
            None => assert!(has("client_assertion", client)),
        }
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        if self.manner.refused {
            let text = format!(r#"{{"error":"invalid_grant","error_description":"no {sent}"}}"#);
            return Answer { status: 400, header: "", body: text.into_bytes() };
        }
        let spell = |token: &str| match self.manner.escaped {
            true => token.replace('+', r"\u002B").replace('/', r"\/"),
            false => token.to_owned(),
        };
        let (access, next) = (spell(access), spell(next));
        let text = format!(
            r#"{{"token_type":"Bearer","access_token":"{access}","refresh_token":"{next}","expires_in":3600}}"#
        );
        match self.manner.gzip {
            true => Answer { status: 200, header: "Content-Encoding: gzip\r\n", body: gzip(text.as_bytes()) },
            false => Answer { status: 200, header: "", body: text.into_bytes() },
        }
    }
}

const INVALID: &str = "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n";

impl Request {
    /// `None`: there is no other.
    fn read(stream: &mut BufReader<impl Read>) -> io::Result<Option<Request>> {
        let mut lines = Vec::new();
        loop {
            let line = read_line(stream)?;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let Some(line) = lines.first().and_then(|line| line.strip_suffix(" HTTP/1.1")) else { return Ok(None) };
        let headers = lines.iter().filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let mut request = Request { line: line.to_owned(), headers, body: Vec::new() };
        let chunked = request.header("transfer-encoding").is_some();
        loop {
            let length = match request.header("content-length") {
                Some(length) => length.parse().unwrap(),
                None if chunked => usize::from_str_radix(&read_line(stream)?, 16).unwrap(),
                None => 0,
            };
            let begin = request.body.len();
            request.body.resize(begin + length, 0);
            stream.read_exact(&mut request.body[begin..])?;
            if !chunked {
                break;
            }
            read_line(stream)?;
            if length == 0 {
                break;
            }
        }
        Ok(Some(request))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let first = found.next();
        assert_eq!(found.next(), None, "{name} comes once");
        first
    }
}

fn read_line(stream: &mut BufReader<impl Read>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// RFC 1952, with one block of fixed Huffman codes (RFC 1951 section 3.2.6) and no repetitions: no byte of the text is
/// itself on the wire.
fn gzip(text: &[u8]) -> Vec<u8> {
    let mut bits = Vec::new();
    let mut push = |code: u32, length: u32| bits.extend((0..length).rev().map(|bit| code >> bit & 1));
    // The last block; type 1, its lower bit first.
    push(0b110, 3);
    for byte in text.iter().map(|byte| u32::from(*byte)) {
        if byte < 144 { push(0x30 + byte, 8) } else { push(0x190 + byte - 144, 9) }
    }
    push(0, 7);
    let mut zipped = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    zipped.extend(bits.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | *bit) as u8));
    let crc = text.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    });
    zipped.extend((!crc).to_le_bytes());
    zipped.extend((text.len() as u32).to_le_bytes());
    zipped
}

mod tls {
    use super::*;
    use std::net::TcpStream;

    use rustls::crypto::ring;
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    /// The clients do not look at the certificate, so an empty one will do. The key is one of Ed25519 (RFC 8410 section 7).
    pub(super) fn accept(stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
        let mut key = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        key.extend([7; 32]);
        let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(key)).unwrap();
        let key = SingleCertAndKey::from(CertifiedKey::new(vec![CertificateDer::from(vec![0x30, 0])], key));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(key));
        StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream)
    }
}
