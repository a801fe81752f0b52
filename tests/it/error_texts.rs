//! An error says what is wrong, and then what to do. "Later" is for what waiting mends.

use std::time::Duration;

use ureq_auth::oauth2::{ClientCredentials, Issuer, Revocation};
use ureq_auth::{Client, Error, ErrorKind, ManualClock, Policy, Session, SourceError, Token, TokenSource};

use crate::client::session;
use crate::server::{Answer, Server};

/// A session that asks once, and takes no time for its pauses.
fn asked_once(source: impl TokenSource + 'static) -> Error {
    let policy = Policy::new().with_attempts(1).with_patience(Duration::ZERO);
    Session::builder(source).clock(ManualClock::new(None)).policy(policy).build().unwrap().token().unwrap_err()
}

fn says(error: &Error, texts: &[&str]) {
    let text = error.to_string();
    for says in texts {
        assert!(text.contains(says), "{text:?} does not say {says:?}");
    }
    assert!(!text.contains("later"), "{text}");
}

#[cfg(feature = "rustls")]
mod with_tls {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use ureq::tls::{Certificate, RootCerts, TlsConfig};
    use ureq_auth::oauth2::DeviceCode;

    use super::*;
    use crate::tls;

    #[test]
    fn a_private_ca_that_nobody_trusts_says_how_to_trust_it() {
        let cure = ["private CA", "configure(", "tls_config(", "root_certs", "platform-verifier"];
        // Whatever asks the authorization server. Each time a server of its own, which is asked once.
        let url = || {
            let (address, server) = tls::serve_one("");
            (format!("https://{address}/x"), server)
        };
        let (token_url, server) = url();
        says(&asked_once(ClientCredentials::new(token_url, "c", "s")), &cure);
        server.join().unwrap();
        let (revocation_url, server) = url();
        says(&Revocation::new(revocation_url, "c").revoke(&Token::new("abc").unwrap()).unwrap_err(), &cure);
        server.join().unwrap();
        let (issuer, server) = url();
        says(&Issuer::discover(&issuer).unwrap_err(), &cure);
        server.join().unwrap();
        let (device_url, server) = url();
        says(&DeviceCode::new(device_url, "https://localhost/t", "c").log_in(|_| ()).unwrap_err(), &cure);
        server.join().unwrap();
    }

    #[test]
    fn the_cure_for_a_private_ca_cures() {
        const ANSWER: &str =
            "HTTP/1.1 200 OK\r\ncontent-length: 22\r\nconnection: close\r\n\r\n{\"access_token\":\"abc\"}";
        let (address, server) = tls::serve_one(ANSWER);
        let source = ClientCredentials::new(format!("https://{address}/t"), "c", "s").configure(|config| {
            let roots = RootCerts::new_with_certs(&[Certificate::from_der(&tls::ca()).to_owned()]);
            config.tls_config(TlsConfig::builder().root_certs(roots).build())
        });
        assert_eq!(Session::new(source).unwrap().token().unwrap().secret(), "abc");
        server.join().unwrap();
    }

    #[test]
    fn https_to_a_port_without_tls_says_so() {
        // As web servers do: they answer the first bytes that are no request.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/t", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").unwrap();
            }
        });
        let cure = ["speaks no TLS", "http://"];
        says(&asked_once(ClientCredentials::new(&url, "c", "s")), &cure);
        says(&Issuer::discover(&url).unwrap_err(), &cure);
        server.join().unwrap();
    }

    #[test]
    fn http_to_a_port_with_tls_says_so() {
        let (address, server) = tls::serve_one("");
        let url = format!("http://{address}/t");
        says(&asked_once(ClientCredentials::new(&url, "c", "s")), &["begin the address with https://"]);
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_wants_https_in_words_of_its_own_is_understood() {
    for page in [
        "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>",
        "Client sent an HTTP request to an HTTPS server.\n",
        "<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.<br /></p>",
    ] {
        let server = Server::script([Answer::new(400).body(page)]);
        let error = asked_once(ClientCredentials::new(server.url("/t"), "c", "s"));
        says(&error, &["answered 400", "begin the address with https://"]);
    }
}

#[cfg(not(any(feature = "rustls", feature = "rustls-no-provider", feature = "native-tls")))]
#[test]
fn a_program_without_tls_is_told_which_feature_it_needs() {
    let server = Server::start(|_| Answer::new(400));
    let url = format!("https://{}/t", server.address());
    let error = asked_once(ClientCredentials::new(&url, "c", "s"));
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    says(&error, &["without TLS", "feature", "rustls", "native-tls"]);
    says(&Issuer::discover(&url).unwrap_err(), &["without TLS", "feature", "rustls", "native-tls"]);
}

#[test]
fn a_404_says_to_look_at_the_address_whatever_its_body() {
    for body in [r#"{"error":"Not Found","path":"/token"}"#, r#"{"message":"no route"}"#, "<html>", ""] {
        for status in [404, 405, 410] {
            let server = Server::script([Answer::new(status).body(body)]);
            let error = asked_once(ClientCredentials::new(server.url("/t"), "c", "s"));
            assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error}");
            says(&error, &["is this the token endpoint's address?"]);
        }
    }
    // It is: the server knows the protocol.
    let server = Server::script([Answer::new(404).body(r#"{"error":"invalid_client"}"#)]);
    let error = asked_once(ClientCredentials::new(server.url("/t"), "c", "s"));
    assert!(!error.to_string().contains("address"), "{error}");
    let server = Server::script([Answer::new(404).body(r#"{"error":"Not Found"}"#)]);
    let error = Revocation::new(server.url("/r"), "c").revoke(&Token::new("abc").unwrap()).unwrap_err();
    says(&error, &["is this the revocation endpoint's address?"]);
}

#[test]
fn an_issuer_with_its_well_known_path_is_told_the_issuer() {
    for (url, issuer) in [
        ("https://id.example.com/.well-known/openid-configuration", "https://id.example.com"),
        ("https://id.example.com/realms/a/.well-known/openid-configuration", "https://id.example.com/realms/a"),
        ("https://id.example.com/.well-known/oauth-authorization-server/realms/a", "https://id.example.com/realms/a"),
        ("https://id.example.com/.well-known/oauth-authorization-server", "https://id.example.com"),
        ("https://id.example.com/.well-known/", "https://id.example.com"),
    ] {
        let error = Issuer::discover(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().ends_with(&format!("give {issuer}")), "{url}: {error}");
    }
}

#[test]
fn a_server_that_names_no_device_endpoint_says_where_to_give_it() {
    let origin = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let own = std::sync::Arc::clone(&origin);
    let server = Server::start(move |_| {
        let origin = own.get().unwrap();
        Answer::ok(format!(r#"{{"issuer":"{origin}","token_endpoint":"{origin}/t"}}"#))
    });
    origin.set(server.origin()).unwrap();
    let issuer = Issuer::discover(&server.origin()).unwrap();
    says(&issuer.device_code("c").unwrap_err(), &["names no usable device", "RFC 8628", "DeviceCode::new"]);
    says(&issuer.revocation("c").unwrap_err(), &["names no usable revocation", "RFC 7009", "Revocation::new"]);
}

#[test]
fn a_policy_that_cannot_be_used_names_its_setters_when_the_session_is_built() {
    let (zero, second) = (Duration::ZERO, Duration::from_secs(1));
    let new = Policy::new;
    for (policy, names) in [
        (new().with_stale_window(91, second), "with_stale_window"),
        (new().with_leeway(91, second), "with_leeway"),
        (new().with_attempts(0), "with_attempts"),
        (new().with_backoff(zero, second), "with_backoff"),
        (new().with_backoff(second * 2, second), "with_backoff"),
        (new().with_budget(zero), "with_budget"),
        (new().with_wait_timeout(second), "with_wait_timeout"),
        (new().with_refusals(0, second), "with_refusals"),
        (new().with_refusals(1, zero), "with_refusals"),
    ] {
        let source = |_: Option<&Token>| -> Result<Token, SourceError> { panic!("nothing is asked") };
        let error = Session::builder(source).policy(policy).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        says(&error, &[names]);
    }
}

#[test]
fn an_origin_with_a_wildcard_says_that_there_are_no_wildcards() {
    for origin in ["*", "https://*.example.com", "https://api.example.com:*", "https://api.example.com/*"] {
        let error = Client::new(session().0, origin).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        says(&error, &["there are no wildcards"]);
    }
}
