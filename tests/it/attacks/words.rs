//! Tokens that look like words.

use ureq_auth::oauth2::RefreshToken;
use ureq_auth::{Policy, Session};

use crate::server::{Answer, Server};

#[test]
fn a_token_that_is_issued_is_not_shown_where_it_comes_twice_in_one_answer() {
    // No heuristic takes it for a token.
    let new = "qjvxkzpwtrbnmlhgfdscyuqjvxkzpwtr";
    for body in [
        format!(r#"{{"access_token":"{new}","token_type":"{new}"}}"#),
        format!(r#"{{"access_token":"{new}","error":"{new}"}}"#),
        format!(r#"{{"refresh_token":"{new}","error":"server_error","error_description":"issued {new}, and failed"}}"#),
    ] {
        let server = Server::start(move |_| Answer::ok(&body));
        let source = RefreshToken::new(server.url("/token"), "client", "r1");
        let session = Session::builder(source).policy(Policy::new().with_attempts(1)).build().unwrap();
        let error = session.token().unwrap_err();
        let texts = format!("{error} {error:?} {:?}", error.code());
        assert!(!texts.contains(&new[..12]), "{texts}");
    }
}

#[test]
fn the_query_of_an_address_is_in_no_error_of_ureqs() {
    let server = Server::untouched();
    let source = RefreshToken::new(server.url("/token?key=s3cret-key"), "client", "r1");
    let source = source.configure(|config| config.https_only(true));
    let session = Session::builder(source).policy(Policy::new().with_attempts(1)).build().unwrap();
    let error = session.token().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret-key"), "{error:?}");
}
