//! Token endpoints that echo what they were sent, or say what they would have issued: neither is in any text of an error.

use std::error::Error as _;

use serde_json::json;
use ureq_auth::oauth2::{ClientCredentials, DeviceCode, RefreshToken, Revocation};
use ureq_auth::{Error, Session, SessionBuilder, Token};

use crate::server::{Answer, Server};

/// Every text that an error has.
fn shown(error: &Error) -> String {
    let mut texts = format!("{error} {error:?} {error:#?} {:?}", error.code());
    let mut cause = error.source();
    while let Some(error) = cause {
        texts += &format!(" {error} {error:?}");
        cause = error.source();
    }
    texts
}

/// No `shown` characters of the secret in a row are in these texts, with or without blanks between them.
fn assert_hidden(secret: &str, shown: usize, texts: &str) {
    let letters: Vec<char> = secret.chars().filter(|c| !c.is_whitespace()).collect();
    let plain: String = texts.chars().filter(|c| !c.is_whitespace()).collect();
    for part in letters.windows(shown) {
        let part: String = part.iter().collect();
        assert!(!plain.contains(&part), "{part:?} of {secret:?} is shown: {texts}");
    }
}

/// Of a token that was never sent, what it begins with may be taken for words: `gho_`, `M.R3_BAY.-`.
const HEAD: usize = 11;

const REFRESH: &str = "rt-4f9aXk27PqLm0ZtWcB3n";
const CLIENT_SECRET: &str = "cs Gd71 hYw8Vb2 Ejx5Ksu";

fn refresh_error(answer: Answer) -> Error {
    let server = Server::start(move |_| answer.clone());
    let source = RefreshToken::new(server.url("/token"), "client", REFRESH).with_client_secret(CLIENT_SECRET);
    let session = Session::builder(source).policy(ureq_auth::Policy::new().with_attempts(1));
    SessionBuilder::build(session).unwrap().token().unwrap_err()
}

/// As servers wrap, indent and break what they echo.
fn disguises(secret: &str) -> Vec<String> {
    let between = |gap: &str, every: usize| {
        let letters: Vec<char> = secret.chars().collect();
        letters.chunks(every).map(|part| part.iter().collect::<String>()).collect::<Vec<_>>().join(gap)
    };
    let gaps =
        [" ", "\n", "\t", "\r\n", "\r\n    ", "\u{a0}", "\u{2028}", "\u{200b}", "\u{1}", "\\", "\"", "\u{feff}\n"];
    let mut all = vec![secret.to_owned()];
    all.extend(gaps.iter().flat_map(|gap| [1, 4, 10].map(|every| between(gap, every))));
    all
}

#[test]
fn a_secret_that_is_echoed_is_hidden_whatever_stands_between_its_letters() {
    for secret in [REFRESH, CLIENT_SECRET] {
        for echo in disguises(secret) {
            for body in [
                json!({"error": "invalid_grant", "error_description": format!("the token {echo} is bad")}),
                json!({"error": format!("bad {echo}")}),
                json!({"error": echo, "error_description": echo}),
                json!({"access_token": "a", "token_type": echo}),
            ] {
                let status = if body["error"].is_null() { 200 } else { 400 };
                let texts = shown(&refresh_error(Answer::new(status).body(body.to_string())));
                assert_hidden(secret, 4, &texts);
            }
        }
    }
}

/// What servers issue; none of it was sent to one.
const ISSUED: [&str; 12] = [
    "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwiZXhwIjoxNzAwMDAwMDAwfQ.dGhlLXNpZ25hdHVyZS0wMTIz",
    "9f86d081884c7d659a2feaa0c55ad015",
    "9f86d081-884c-4d65-9a2f-eaa0c55ad015",
    "gho_16C7e42F292c6912E7710c838347Ae178B4a",
    "ya29.a0AfH6SMBx7Qk2-3nZ_9vYtUeRwLmP0sJdG5hFcXa1bN8iKo4zT6",
    "1//0gYx3kQ9mZ7tWcB3nRd5vLpHs2JfKuE8aTiOqXyGw1",
    "M.R3_BAY.-CQ4f!9aXk27Pq*Lm0ZtWcB3n$Rd5vLp!Hs2JfKuE8aTiO",
    "00D3x000000kYz1!AQEAQNw4Pf9aXk27PqLm0ZtWcB3nRd5vLpHs",
    "MTQ0NjJkZmQ5OTM2NDE1ZTZjNGZmZjI3",
    "KRUGKIDROVUWG2ZAMJZG653OEBTG66BANJ2W24DTEBXXMZLSEBKGQZJANRQX",
    "EwB4A8l6BAAUbDba3x2OMJElkF7gJ4z/VbCPEz0AARk3",
    "82374923749283749823749823749",
];

#[test]
fn a_new_token_is_not_shown_wherever_the_server_puts_it() {
    for token in ISSUED {
        for body in [
            json!({"error": "invalid_grant", "error_description": format!("use {token} from now on")}),
            json!({"error": "invalid_grant", "error_description": format!("{{access_token:{token},expires_in:300}}")}),
            json!({"error": "invalid_grant", "error_description": format!("access_token={token}&expires_in=300")}),
            json!({"error": "invalid_grant", "error_description": format!("https://id.example/cb#access_token={token}")}),
            json!({"error": "invalid_grant", "error_description": format!("'{}\r\n{}'", &token[..token.len() / 2], &token[token.len() / 2..])}),
            json!({"error": "invalid_grant", "error_description": format!("{}\u{200b}{}", &token[..9], &token[9..])}),
            json!({"error": token}),
            json!({"error": format!("bad_{token}"), "error_description": token}),
            json!({"access_token": "a", "token_type": token}),
            json!({"access_token": "a", "token_type": format!("Bearer {token}")}),
        ] {
            let status = if body["error"].is_null() { 200 } else { 400 };
            let texts = shown(&refresh_error(Answer::new(status).body(body.to_string())));
            assert_hidden(token, HEAD, &texts);
            assert!(texts.contains("[redacted]"), "{texts}");
        }
        let texts = shown(&refresh_error(Answer::new(502).header("Content-Type", format!("text/{token}")).body("<")));
        assert_hidden(token, HEAD, &texts);
    }
}

#[test]
fn the_other_endpoints_hide_both_as_well() {
    let token = ISSUED[0];
    let body =
        json!({"error": "invalid_request", "error_description": format!("{token} and cs Gd71\nhYw8Vb2 Ejx5Ksu")});
    let server = Server::start(move |_| Answer::new(400).body(body.to_string()));
    let url = server.url("/x");
    let old = Token::new("a").unwrap().with_refresh_token(REFRESH);
    let credentials = ClientCredentials::new(&url, "client", CLIENT_SECRET);
    for error in [
        DeviceCode::new(&url, &url, "client").with_client_secret(CLIENT_SECRET).log_in(|_| {}).unwrap_err(),
        Revocation::new(&url, "client").with_client_secret(CLIENT_SECRET).revoke(&old).unwrap_err(),
        Session::new(credentials).unwrap().token().unwrap_err(),
    ] {
        let texts = shown(&error);
        assert!(texts.contains("[redacted]"), "{texts}");
        assert_hidden(token, HEAD, &texts);
        assert_hidden(CLIENT_SECRET, 4, &texts);
    }
}

/// What servers say, with nothing to hide in it.
const SAYINGS: [&str; 22] = [
    "AADSTS70008: The provided authorization code or refresh token has expired due to inactivity.",
    "AADSTS50076: Due to a configuration change made by your administrator (2017-01-10 11:30:01Z)",
    "The refresh token is invalid, see https://learn.microsoft.com/en-us/azure/active-directory/develop/reference-aadsts-error-codes",
    "https://www.rfc-editor.org/rfc/rfc6749.html#section-5.2",
    "unsupported grant type: urn:ietf:params:oauth:grant-type:token-exchange",
    "org.springframework.security.oauth2.common.exceptions.InvalidGrantException",
    "com.example.auth.IllegalArgumentException at TokenEndpoint.java:117",
    "Session not active (INVALID_REFRESH_TOKEN_REUSE_DETECTED)",
    "ERR_TOO_MANY_CONCURRENT_REFRESH_TOKEN_REQUESTS",
    "invalid-refresh-token-was-already-used-by-this-client",
    "client_authentication_method_not_supported",
    "Refresh token expired on 2024-05-17T10:20:30.123Z, it is 2024-05-18T08:00:00+02:00",
    "rate limit of 1000000 requests/86400s exceeded for api.eu-central-1.example.com:8443",
    "unauthenticatedinternationalization",
    "Token grant_type=refresh_token&client_id=my-client-1 is not allowed",
    "error-code-1017/ORA-01017 on host auth01.prod.eu-west-3.internal.example.com",
    "org.springframework.security.oauth2.core.OAuth2AuthenticationException: [invalid_token]",
    "com.nimbusds.oauth2.sdk.http.HTTPRequest.send(HTTPRequest.java:1234)",
    "see https://auth01.prod.eu-west-3.example.com:8443/oauth2/v2.0/rfc6749/sha256?api-version=1.0",
    "X509CertificateException in getAccessTokenForUserId for account 123456789012",
    "no route to 2001:db8:85a3::8a2e:370:7334 (1700000000000)",
    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer is not enabled",
];

#[test]
fn what_servers_say_in_words_stays_as_it_is() {
    for saying in SAYINGS {
        let body = json!({"error": "invalid_grant", "error_description": saying});
        let text = refresh_error(Answer::new(400).body(body.to_string())).to_string();
        assert!(text.contains(saying), "{saying:?} became {text:?}");
    }
    for code in ["unsupported_response_mode_for_grant", "PASSWORD_RESET_REQUIRED_BY_ADMIN", "invalid_grant_v2"] {
        let error = refresh_error(Answer::new(400).body(json!({"error": code}).to_string()));
        assert_eq!(error.code(), Some(code));
    }
}
