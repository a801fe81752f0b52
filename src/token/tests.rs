use super::*;
use crate::ErrorKind;

#[test]
fn what_an_access_token_may_hold() {
    // What RFC 6750 names, and what is issued: by Salesforce, Amazon, Netatmo, eBay, X, JetBrains.
    let issued = ["00D!AQ", "Atza|Iw", "5f|11", "v^1.1#i^1#p^3", "a:b", "a%3D", "a=b", "\"a\"", "a\\b", "{a}", "="];
    for good in ["a", "AZaz09-._~+/", "abc==", "e30.e30.c2ln"].into_iter().chain(issued) {
        assert_eq!(Token::new(good).unwrap().secret(), good);
    }
    for bad in ["", " ", "a b", "a\r\nX-Evil: 1", "a\n", "Bearer a", "ä", "a\t", "a\u{7f}", "a\0"] {
        let error = Token::new(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad:?}");
        assert!(bad.len() < 3 || !error.to_string().contains(bad), "{error}");
    }
    assert!(Token::new("a".repeat(10 << 20)).unwrap_err().to_string().contains("10485760 bytes"));
}

#[test]
fn an_empty_refresh_token_counts_as_missing() {
    assert_eq!(Token::new("a").unwrap().with_refresh_token("").refresh_secret(), None);
}

#[test]
fn lifetimes_that_say_nothing_or_too_much() {
    let lifetime = |given| Token::new("a").unwrap().with_expires_in(given).expires_in();
    assert_eq!(lifetime(Duration::ZERO), None);
    assert_eq!(lifetime(Duration::MAX), Some(MAX_LIFETIME));
    // {"iat":1700000000,"exp":1700000300000}: an issuer that writes its `exp` in milliseconds.
    let token = Token::new("e30.eyJpYXQiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMDMwMDAwMH0.c2ln").unwrap();
    assert_eq!(token.told_lifetime(), Some(MAX_LIFETIME));
    assert_eq!(token.claimed_lifetime(), Some(MAX_LIFETIME));
    assert_eq!(token.lifetime_from(Duration::from_secs(1_700_000_000)), Some(MAX_LIFETIME));
}

#[test]
fn debug_shows_no_secret() {
    let token = Token::new("access-secret").unwrap().with_refresh_token("refresh-secret");
    let debug = format!("{token:?} {:#?}", token.clone_header());
    assert!(!debug.contains("secret"), "{debug}");
}

impl Token {
    #[cfg(feature = "ureq")]
    fn clone_header(&self) -> impl fmt::Debug {
        self.header.clone()
    }

    #[cfg(not(feature = "ureq"))]
    fn clone_header(&self) -> impl fmt::Debug {
        self.authorization.clone()
    }
}

#[cfg(feature = "ureq")]
#[test]
fn the_header_is_made_once_and_shared() {
    let token = Token::new("abc").unwrap();
    assert_eq!(token.header(), "Bearer abc");
    assert_eq!(token.header().as_bytes().as_ptr(), token.authorization.secret().as_bytes().as_ptr());
    assert!(token.header().is_sensitive());
}
