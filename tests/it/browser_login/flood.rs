//! Crowds at the port of this machine: none of them pushes the browser out.

use super::*;

/// Connections that send nothing, and some that send a part of something.
fn crowd(page: &Page) -> Vec<TcpStream> {
    let mut crowd: Vec<TcpStream> = (0..200).map(|_| page.connect()).collect();
    for (number, stream) in crowd.iter_mut().enumerate() {
        let part: &[u8] = match number % 4 {
            0 => b"GET /callback?code=bad&state=",
            1 => b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
            _ => b"",
        };
        // The login may have closed it already.
        let _ = stream.write_all(part);
    }
    crowd
}

#[test]
fn two_hundred_idle_and_slow_connections_do_not_keep_the_browser_out() {
    let site = Site::with("");
    let (browser, open) = browser(|page| {
        let before = crowd(&page);
        let last = page.come_back("code=good");
        drop(before);
        last
    });
    site.login().log_in(open).unwrap();
    assert!(browser.result().contains("200 OK"));
    assert_eq!(fields(&site.asked()[0].text())["code"], "good");
}

#[test]
fn a_browser_that_has_sent_its_request_line_is_not_pushed_out() {
    let site = Site::with("");
    let (browser, open) = browser(|page| {
        let mut stream = page.connect();
        stream.write_all(format!("GET {} HTTP/1.1\r\nCookie: a=", page.back("code=good")).as_bytes()).unwrap();
        let mut after = crowd(&page);
        // More than half of them have had to go.
        for pushed_out in after.iter_mut().take(120) {
            assert!(matches!(pushed_out.read(&mut [0]), Ok(0) | Err(_)));
        }
        stream.write_all(b"b\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 303 "), "{response}");
        page.get("/login-finished")
    });
    site.login().log_in(open).unwrap();
    assert!(browser.result().contains("200 OK"));
    assert_eq!(fields(&site.asked()[0].text())["code"], "good");
}
