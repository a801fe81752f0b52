//! The other end of the small examples: answers on loopback, so that they run anywhere without arguments.

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{TcpListener, TcpStream};

/// Answers every request with what `answer` makes of its path, its `Authorization` and its body: a status and a JSON text.
/// Returns the address to send requests to.
pub(crate) fn serve<F>(answer: F) -> Result<String>
where
    F: Fn(&str, &str, &str) -> (u16, String) + Copy + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || talk(stream, answer));
        }
    });
    Ok(address)
}

fn talk(mut stream: TcpStream, answer: impl Fn(&str, &str, &str) -> (u16, String)) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let (mut authorization, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    authorization = value.trim().into()
                }
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().unwrap_or(0);
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let path = first.split(' ').nth(1).unwrap_or("/");
        let (status, text) = answer(path, &authorization, &String::from_utf8_lossy(&body));
        let length = text.len();
        let head = format!("HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all((head + &text).as_bytes())?;
    }
}
