//! The authorization request (RFC 6749 §4.1.1), with what tells this login from all others (RFC 7636, RFC 9700 §2.1).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::super::form::push_encoded;
use crate::json;
use crate::{Error, ErrorKind, Result, SourceError};

/// What is made for one login and known to nobody else. Wiped afterwards.
pub(super) struct Secrets {
    /// The PKCE verifier (RFC 7636 §4.1): 256 bits.
    pub(super) verifier: Zeroizing<String>,
    /// What the callback must bring (RFC 6749 §10.12).
    pub(super) state: Zeroizing<String>,
    /// What an ID token must hold (OpenID Connect Core §3.1.2.1), where one is asked for.
    pub(super) nonce: Option<Zeroizing<String>>,
}

impl Secrets {
    pub(super) fn new(with_nonce: bool) -> Result<Self> {
        let nonce = if with_nonce { Some(random()?) } else { None };
        Ok(Secrets { verifier: random()?, state: random()?, nonce })
    }

    /// `S256` (RFC 7636 §4.2).
    pub(super) fn challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()))
    }

    /// Is the ID token in the answer this login's? Its signature is not looked at: it came over TLS from the token endpoint
    /// itself (OpenID Connect Core §3.1.3.7, number 6). Where none came, or none was asked for, there is nothing to say.
    pub(super) fn check_id_token(&self, answer: &[u8]) -> Result<(), SourceError> {
        let Some(nonce) = &self.nonce else { return Ok(()) };
        let id_token = json::read_members(answer, "id_token").and_then(|[id_token]| id_token.secret());
        let Some(id_token) = id_token else { return Ok(()) };
        let claims = id_token.split('.').nth(1).unwrap_or_default().trim_end_matches('=');
        let claims = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap_or_default());
        let own = json::read_members(&claims, "nonce").and_then(|[nonce]| nonce.secret());
        if own.is_some_and(|own| *own == **nonce) {
            return Ok(());
        }
        Err(SourceError::rejected(
            "the ID token that came with the token has another nonce, so it is of another login (OpenID Connect Core \
             section 3.1.3.7)",
        ))
    }
}

/// 256 bits as 43 characters that an address needs not escape.
fn random() -> Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| {
        Error::new(ErrorKind::Unavailable, "this machine gives no random numbers for now, so nobody can log in")
    })?;
    Ok(Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*bytes)))
}

/// The authorization endpoint's address with these parameters, which may have a query already (RFC 6749 §3.1).
pub(super) fn address(authorization_url: &str, fields: &[(&str, &str)]) -> Zeroizing<String> {
    let longest: usize = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut address = Zeroizing::new(String::with_capacity(authorization_url.len() + longest));
    address.push_str(authorization_url);
    for (name, value) in fields {
        let separator = match address.split_once('?') {
            None => "?",
            Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
            Some(_) => "&",
        };
        address.push_str(separator);
        push_encoded(&mut address, name);
        address.push('=');
        push_encoded(&mut address, value);
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_standards_example() {
        // RFC 7636 appendix B.
        let text = |text: &str| Zeroizing::new(text.to_owned());
        let verifier = text("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let secrets = Secrets { verifier, state: text(""), nonce: None };
        assert_eq!(secrets.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn no_two_logins_share_anything() {
        let (one, other) = (Secrets::new(true).unwrap(), Secrets::new(true).unwrap());
        let all = [&one, &other]
            .map(|it| [it.verifier.to_string(), it.state.to_string(), it.nonce.as_ref().unwrap().to_string()]);
        let all = all.as_flattened();
        for (at, text) in all.iter().enumerate() {
            assert_eq!(text.len(), 43);
            assert!(!all[..at].contains(text));
        }
        assert!(Secrets::new(false).unwrap().nonce.is_none());
    }

    #[test]
    fn parameters_go_behind_what_the_address_has_already() {
        let fields = [("a", "b c"), ("d", "&=?#\u{fc}")];
        for (given, expected) in [
            ("https://x/a", "https://x/a?"),
            ("https://x/a?", "https://x/a?"),
            ("https://x/a?e=f", "https://x/a?e=f&"),
            ("https://x/a?e&", "https://x/a?e&"),
        ] {
            assert_eq!(*address(given, &fields), format!("{expected}a=b+c&d=%26%3D%3F%23%C3%BC"));
        }
    }

    #[test]
    fn an_id_token_is_of_this_login_or_refused() {
        let mut secrets = Secrets::new(true).unwrap();
        let nonce = secrets.nonce.as_ref().unwrap().to_string();
        let answer = |claims: &str| format!(r#"{{"id_token":"e30.{}.c2ln"}}"#, BASE64_URL_SAFE_NO_PAD.encode(claims));
        assert!(secrets.check_id_token(answer(&format!(r#"{{"nonce":"{nonce}"}}"#)).as_bytes()).is_ok());
        assert!(secrets.check_id_token(b"{}").is_ok(), "none has come");
        let wrong = [answer(r#"{"nonce":"x"}"#), answer("{}"), answer("x"), r#"{"id_token":"x"}"#.to_owned()];
        for answer in &wrong {
            assert!(secrets.check_id_token(answer.as_bytes()).is_err(), "{answer}");
        }
        secrets.nonce = None;
        assert!(secrets.check_id_token(wrong[0].as_bytes()).is_ok(), "none was asked for");
    }
}
