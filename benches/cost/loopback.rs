//! The other ends: an API that answers everything, and token endpoints that are dead in one way or another.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Starts an API whose every answer is two bytes; returns its address.
pub(crate) fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || accept(listener));
    address
}

/// The same for a process of its own, which says where it is.
pub(crate) fn serve_and_tell() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    accept(listener);
}

fn accept(listener: TcpListener) {
    for stream in listener.incoming().map_while(Result::ok) {
        thread::spawn(move || answer(stream).ok());
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    let mut body = Vec::new();
    let mut length = 0;
    while lines.read_line(&mut line)? > 0 {
        if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap();
            }
        } else if line == "\r\n" {
            body.resize(std::mem::take(&mut length), 0);
            lines.read_exact(&mut body)?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")?;
        }
        line.clear();
    }
    Ok(())
}

/// Starts a server that takes connections and never says a word; returns its address.
pub(crate) fn say_nothing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        // They stay open as long as their other ends want.
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()).ok());
        }
    });
    address
}

/// An address where nobody listens.
pub(crate) fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
