//! Requests that are made to be misread, by a page in the browser or by another program on this machine.

use super::*;

/// Sends it, and returns the status and the response. `STATE` is this login's, which no attacker has.
fn status(page: &Page, request: &str) -> (String, String) {
    let response = page.send(&request.replace("STATE", &page.query["state"]));
    assert!(!response.contains(&page.query["state"]), "{response}");
    (response.split(' ').nth(1).unwrap_or_default().to_owned(), response)
}

#[test]
fn what_could_be_read_in_two_ways_is_no_callback() {
    let site = Site::with("");
    let (browser, open) = browser(|page| {
        for (target, expected) in [
            // One parameter that would be two elsewhere, and the reverse.
            ("/callback?code=bad%26state%3DSTATE", "400"),
            ("/callback?code=bad;state=STATE", "400"),
            ("/callback?code=bad&state%3DSTATE", "400"),
            ("/callback?code=bad&state=STATE&state=STATE", "400"),
            ("/callback?code=bad&code=bad&state=STATE", "400"),
            ("/callback?code=bad&c%6Fde=bad&state=STATE", "400"),
            ("/callback?error=e&error=e&state=STATE", "400"),
            ("/callback?code=bad&iss=a&iss=b&state=STATE", "400"),
            ("/callback?code=bad&state=STATE#", "400"),
            ("/callback?code=bad&state=STATE%00", "400"),
            ("/callback?code=bad&STATE=state", "400"),
            // A line end that would be a header elsewhere.
            ("/callback?code=bad%0d%0aSet-Cookie:%20a=b&state=STATE", "400"),
            ("/callback?code=bad&state=STATE\r", "405"),
            ("/callback?code=bad&state=STATE\n", "405"),
            ("/callback?code=bad&state=STATE\t", "400"),
            ("/callback?code=bad&state=STATE\0", "400"),
            // Another path, or another way to write one.
            ("/callback%3Fcode=bad&state=STATE", "404"),
            ("/%63allback?code=bad&state=STATE", "404"),
            ("/./callback?code=bad&state=STATE", "404"),
            ("//127.0.0.1/callback?code=bad&state=STATE", "404"),
            ("http://127.0.0.1/callback?code=bad&state=STATE", "404"),
            ("http://evil.example/callback?code=bad&state=STATE", "404"),
        ] {
            let (status, response) = status(&page, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!(status, expected, "{target:?}: {response}");
            assert!(!response.to_lowercase().contains("set-cookie") && !response.contains("bad"), "{response}");
        }
        for method in ["HEAD", "POST", "OPTIONS", "PUT", "CONNECT", "get", "GET\t", " GET"] {
            let request = format!("{method} /callback?code=bad&state=STATE HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(status(&page, &request).0, "405", "{method:?}");
        }
        page.come_back("code=good")
    });
    site.login().log_in(open).unwrap();
    assert!(browser.result().contains("200 OK"));
    let codes: Vec<String> = site.asked().iter().map(|seen| fields(&seen.text())["code"].clone()).collect();
    assert_eq!(codes, ["good"]);
}

#[test]
fn a_page_whose_name_leads_to_this_machine_learns_nothing() {
    let site = Site::with("");
    let (browser, open) = browser(|page| {
        // DNS rebinding: the browser of the user sends it, for a page of somebody else's.
        for host in ["evil.example", "[::1]:80", "localhost", "127.0.0.1.evil.example", "\u{fc}"] {
            for target in ["/", "/callback?code=bad&state=guess", "/login-finished"] {
                let origin = "Origin: https://evil.example\r\nAccess-Control-Request-Private-Network: true";
                let (status, response) =
                    status(&page, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n\r\n"));
                assert!(matches!(status.as_str(), "400" | "404"), "{response}");
                assert!(!response.to_lowercase().contains("access-control"), "{response}");
                assert!(!response.contains(host) && !response.contains("evil"), "{response}");
            }
        }
        page.come_back("code=good")
    });
    site.login().log_in(open).unwrap();
    assert!(browser.result().contains("200 OK"));
}

#[test]
fn of_requests_in_a_row_on_one_connection_only_the_first_counts() {
    let site = Site::with("");
    let (browser, open) = browser(|page| {
        let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        let smuggled = get("/callback?code=bad&state=guess") + &get(&page.back("code=bad"));
        let response = page.send(&smuggled);
        assert!(response.starts_with("HTTP/1.1 400 ") && response.matches("HTTP/1.1").count() == 1, "{response}");
        let body = format!("POST / HTTP/1.1\r\nContent-Length: 4096\r\n\r\n{}", get(&page.back("code=bad")));
        assert!(page.send(&body).starts_with("HTTP/1.1 405 "));
        let twice = page.send(&(get(&page.back("code=good")) + &get(&page.back("code=bad"))));
        assert!(twice.starts_with("HTTP/1.1 303 ") && twice.matches("HTTP/1.1").count() == 1, "{twice}");
        page.get("/login-finished")
    });
    site.login().log_in(open).unwrap();
    assert!(browser.result().contains("200 OK"));
    let codes: Vec<String> = site.asked().iter().map(|seen| fields(&seen.text())["code"].clone()).collect();
    assert_eq!(codes, ["good"]);
}

#[test]
fn a_callback_is_taken_with_the_cookies_of_every_program_on_this_machine() {
    // Wherever the first 16 KiB end, even in the middle of the head's end.
    for more in (0..8).chain([100_000, 200_000]) {
        let site = Site::with("");
        let (browser, open) = browser(move |page| {
            let head = |code: &str| {
                let begin = format!("GET {} HTTP/1.1\r\nCookie: ", page.back(code));
                let cookies = "x".repeat(16 * 1024 - begin.len() - 4 + more);
                format!("{begin}{cookies}\r\n\r\n")
            };
            // A stranger's, so that it is the first line that counts.
            let smuggled = head("state=guess&code=bad") + &head("code=bad");
            assert!(page.send(&smuggled).starts_with("HTTP/1.1 400 "));
            assert!(page.send(&head("code=good")).starts_with("HTTP/1.1 303 "));
            page.get("/login-finished")
        });
        site.login().log_in(open).unwrap();
        assert!(browser.result().contains("200 OK"));
        assert_eq!(fields(&site.asked()[0].text())["code"], "good");
    }
}

#[test]
fn a_head_that_is_too_long_is_refused_and_the_login_goes_on() {
    let site = Site::with("");
    let (browser, open) = browser(|page| {
        // With the right line, too: what follows it is somebody's cookies.
        let line = format!("GET {} HTTP/1.1\r\n", page.back("code=bad"));
        let response = page.send(&format!("{line}Cookie: {}", "x".repeat(256 * 1024 + 10)));
        assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
        page.come_back("code=good")
    });
    site.login().log_in(open).unwrap();
    assert!(browser.result().contains("200 OK"));
}

#[test]
fn what_a_callback_says_is_on_no_page_and_in_no_text_as_markup_or_control() {
    let site = Site::with("");
    let with = "error=%3Cscript%3Ealert(1)%3C/script%3E%1b[2J&error_description=%3Cimg+src=x%3E%0d%0aX:%20y%E2%80%AE";
    let (browser, open) = browser(move |page| page.come_back(with));
    let error = site.login().log_in(open).unwrap_err();
    let page = browser.result();
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("alert"), "{page}");
    let shown = error.to_string();
    assert!(shown.chars().all(|c| matches!(c, ' '..='~')), "{shown:?}");
}
