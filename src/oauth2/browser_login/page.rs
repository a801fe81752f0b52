//! What the browser gets: responses without a secret in them, and without anything to load.

use super::super::callback::END_PATH;

/// What the user reads at the end.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    pub(super) done: String,
    pub(super) failed: String,
}

impl Default for Texts {
    fn default() -> Self {
        Texts {
            done: "You are logged in. You can close this window.".to_owned(),
            failed: "The login failed. You can close this window; the program that you started says more.".to_owned(),
        }
    }
}

/// Sends the browser on: the address with the code is not kept, shown or passed on as a referrer.
pub(super) fn redirect() -> String {
    response("303 See Other", &format!("Location: {END_PATH}\r\n"), "")
}

/// A page with that text.
pub(super) fn page(status: &str, text: &str) -> String {
    let text = escaped(text);
    let body = format!(
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{text}</title><p>{text}"
    );
    response(status, "Content-Type: text/html; charset=utf-8\r\n", &body)
}

fn response(status: &str, header: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n\
         X-Content-Type-Options: nosniff\r\n\r\n{body}",
        body.len()
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_text_whatever_is_in_it() {
        let page = page("200 OK", "<b>\u{fc} & \"x\"");
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(body.ends_with("<p>&lt;b>\u{fc} &amp; \"x\""), "{body}");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("default-src 'none'"), "{head}");
    }
}
