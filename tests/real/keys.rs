//! Clients that show who they are by a key: oidc-provider checks each assertion, and takes none of them twice.

use std::time::Duration;

use serde_json::json;
use ureq_auth::oauth2::{Claims, SigningKey};
use ureq_auth::{ErrorKind, Session};

use crate::servers::{Api, Issuer};

const ES256: &str = include_str!("../it/signing_key/p256.pem");
const RS256: &str = include_str!("../it/signing_key/rsa.pem");

#[test]
fn a_client_is_known_by_its_key() {
    let Some(issuer) = Issuer::start(json!({ "clientKeys": { "ES256": ES256, "RS256": RS256 } })) else { return };
    let api = Api::start(&issuer);
    let found = issuer.discover();
    for (algorithm, pem) in [("ES256", ES256), ("RS256", RS256)] {
        let client = format!("keyed-{algorithm}");
        let key = SigningKey::from_pem(pem).unwrap().key_id("key-1");
        let service = found.client_credentials_without_secret(&client).client_assertion(key.client_assertion());
        let session = Session::new(service).unwrap();
        assert_eq!(api.status(&api.client(&session), "/notes").unwrap(), 200);
        // A second assertion of the same second is another one.
        let token = session.token().unwrap();
        session.accepted(&token);
        session.rejected(&token).unwrap();

        let user = found.refresh_token(&client, issuer.login_of(&client)).client_assertion(key.client_assertion());
        assert_eq!(api.status(&api.client(&Session::new(user).unwrap()), "/notes").unwrap(), 200);
    }
    assert_eq!((issuer.counts().errors("invalid_client"), issuer.counts().refreshes()), (0, 2));

    let other = SigningKey::from_pem(ES256).unwrap().key_id("key-1");
    let wrong = found.client_credentials_without_secret("keyed-RS256").client_assertion(other.client_assertion());
    let error = Session::new(wrong).unwrap().token().unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Misconfigured, Some("invalid_client")), "{error}");
}

#[test]
fn an_assertion_of_1970_is_refused_with_a_code() {
    let Some(issuer) = Issuer::start(json!({ "clientKeys": { "ES256": ES256 } })) else { return };
    let key = SigningKey::from_pem(ES256).unwrap().key_id("key-1");
    let service = issuer.discover().client_credentials_without_secret("keyed-ES256").client_assertion(move |attempt| {
        let claims = Claims::new(Duration::from_secs(60)).issuer("keyed-ES256").subject("keyed-ES256");
        key.sign(&claims.audience(attempt.token_url()).id("1"))
    });
    let error = Session::new(service).unwrap().token().unwrap_err();
    assert_eq!(error.code(), Some("invalid_client"), "{error}");
}
