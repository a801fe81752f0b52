//! As much of HTTP/1.1 as a server of small messages needs.

use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::TcpStream;

/// What a request line and headers, or a body, may measure.
const LIMIT: u64 = 1 << 20;

pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The next request of a connection; `None` if the client has closed it.
    pub(crate) fn read(reader: &mut BufReader<impl Read + Write>) -> io::Result<Option<Request>> {
        let mut head = reader.take(LIMIT);
        let line = read_line(&mut head)?;
        if line.is_empty() {
            return Ok(None);
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(method), Some(path), Some("HTTP/1.1")) = (words.next(), words.next(), words.next()) else {
            return Err(bad("not an HTTP/1.1 request line"));
        };
        let (method, path) = (method.to_owned(), path.to_owned());
        let mut headers = Vec::new();
        loop {
            // A connection that is cut between two headers has sent no request.
            if head.fill_buf()?.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let line = read_line(&mut head)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("a header without a colon"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut request = Request { method, path, headers, body: Vec::new() };
        request.body = request.read_body(reader)?;
        Ok(Some(request))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn wants_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    fn read_body(&self, reader: &mut BufReader<impl Read + Write>) -> io::Result<Vec<u8>> {
        let chunked = self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let length = match self.header("content-length") {
            Some(length) => length.parse().map_err(|_| bad("Content-Length is not a number"))?,
            None => 0,
        };
        if self.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = Vec::new();
        if !chunked {
            read_exactly(reader, length, &mut body)?;
            return Ok(body);
        }
        loop {
            let line = read_line(&mut reader.take(LIMIT))?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| bad("a chunk without a size"))?;
            read_exactly(reader, size, &mut body)?;
            // The line end after the chunk's data; after the last chunk, the trailers and the empty line.
            while !read_line(&mut reader.take(LIMIT))?.is_empty() {}
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

fn read_exactly(reader: &mut impl Read, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    if length.saturating_add(body.len() as u64) > LIMIT {
        return Err(bad("the body is too long"));
    }
    if reader.take(length).read_to_end(body)? as u64 != length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// One line without its end; an empty one at the end of the stream.
fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? > 0 && !line.ends_with('\n') {
        return Err(bad("a line without an end, or too long"));
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

fn bad(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, problem)
}

/// An answer: status, a header line of its own if need be, a JSON body.
pub(crate) struct Response {
    pub(crate) status: &'static str,
    pub(crate) header: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn json(status: &'static str, body: &serde_json::Value) -> Self {
        Response { status, header: String::new(), body: body.to_string() }
    }

    /// In one piece: a head and a body in two would meet delayed acknowledgements.
    pub(crate) fn write(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.write_all(&self.bytes())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Response { status, header, body } = self;
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\n{header}Content-Type: application/json\r\nCache-Control: no-store\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}
