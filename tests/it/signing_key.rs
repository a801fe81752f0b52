//! Assertions signed by a key in a PEM file. The keys are made for these tests, and are used nowhere else.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_FIXED, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};
use ureq_auth::oauth2::{Claims, ClientCredentials, SigningKey};
use ureq_auth::{ErrorKind, Fetch, TokenSource};

use crate::server::{Answer, Server};
use crate::support::secs;

const RSA: &str = include_str!("signing_key/rsa.pem");
const RSA_PKCS1: &str = include_str!("signing_key/rsa-pkcs1.pem");
const P256: &str = include_str!("signing_key/p256.pem");
const P256_SEC1: &str = include_str!("signing_key/p256-sec1.pem");
const ED25519: &str = include_str!("signing_key/ed25519.pem");
const CERTIFICATE: &str = include_str!("signing_key/certificate.pem");
/// By openssl.
const THUMBPRINT: &str = "8NOpWuhXD6oygaVIODmB85l2uTI6W7OnBuoFq447Ab8";

fn der(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64_STANDARD.decode(lines).unwrap()
}

/// Header and claims, if the signature is the key's.
fn read(jwt: &str) -> (Value, Value) {
    let (input, signature) = jwt.rsplit_once('.').unwrap();
    let parts: Vec<_> = input.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    let header: Value = serde_json::from_slice(&parts[0]).unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    match header["alg"].as_str() {
        Some("ES256") => {
            let random = ring::rand::SystemRandom::new();
            let algorithm = &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
            let pair = ring::signature::EcdsaKeyPair::from_pkcs8(algorithm, &der(P256), &random).unwrap();
            let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
            public.verify(input.as_bytes(), &signature).unwrap();
        }
        Some("RS256") => {
            let pair = ring::signature::RsaKeyPair::from_pkcs8(&der(RSA)).unwrap();
            let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref().to_vec());
            public.verify(input.as_bytes(), &signature).unwrap();
        }
        other => panic!("{other:?}"),
    }
    (header, serde_json::from_slice(&parts[1]).unwrap())
}

fn key(pem: &str) -> SigningKey {
    SigningKey::from_pem(pem).unwrap()
}

#[test]
fn each_kind_of_key_signs_with_its_algorithm() {
    let claims = Claims::new(secs(1000)).issuer("me");
    for (pem, algorithm) in [(P256, "ES256"), (RSA, "RS256"), (RSA_PKCS1, "RS256")] {
        let (header, claims) = read(&key(pem).sign(&claims).unwrap());
        assert_eq!(header, json!({ "typ": "JWT", "alg": algorithm }));
        assert_eq!(claims, json!({ "iss": "me", "iat": 1000, "exp": 1120 }));
    }
}

#[test]
fn a_key_is_named_by_its_id_and_its_certificate() {
    let key = key(RSA).key_id("key-1").certificate(CERTIFICATE).unwrap();
    let (header, _) = read(&key.sign(&Claims::new(secs(0))).unwrap());
    assert_eq!(header, json!({ "typ": "JWT", "alg": "RS256", "kid": "key-1", "x5t#S256": THUMBPRINT }));
}

#[test]
fn a_key_is_found_among_other_things() {
    let both = format!("Bag Attributes\n  x: y\n{CERTIFICATE}\n{}\n{CERTIFICATE}", P256.replace('\n', "\r\n"));
    let key = key(&both).certificate(&both).unwrap();
    read(&key.sign(&Claims::new(secs(0))).unwrap());
}

#[test]
fn what_is_no_key_is_refused_without_a_word_of_it() {
    let broken = P256.replace("MI", "M!");
    let open = P256.split("-----END").next().unwrap();
    let encrypted = RSA.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (pem, says) in [
        ("", "no private key"),
        (CERTIFICATE, "no private key"),
        (P256_SEC1, "openssl pkcs8"),
        (&encrypted, "openssl pkcs8"),
        (ED25519, "neither"),
        (&broken, "cannot be read"),
        (open, "cannot be read"),
        (&RSA.replace("PRIVATE", "RSA PRIVATE"), "neither"),
    ] {
        let error = SigningKey::from_pem(pem).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
        assert!(!format!("{error:?}").contains(pem.lines().nth(1).unwrap_or("MII")), "{error:?}");
    }
    assert!(key(RSA).certificate(RSA).unwrap_err().to_string().contains("BEGIN CERTIFICATE"));
}

#[test]
fn a_client_shows_who_it_is_by_a_new_assertion_for_each_request() {
    let server =
        Server::start(|_| Answer::ok(r#"{"access_token":"abc"}"#).header("Date", "Sun, 06 Nov 2050 08:49:37 GMT"));
    let url = server.url("/token");
    let source = ClientCredentials::without_secret(&url, "me").client_assertion(key(P256).client_assertion());
    source.fetch(Fetch::new(None, secs(30))).unwrap();
    source.fetch(Fetch::new(None, secs(30))).unwrap();
    let claims: Vec<Value> = server
        .seen()
        .iter()
        .map(|seen| {
            let form: Vec<(String, String)> = form_urlencoded::parse(&seen.body).into_owned().collect();
            let assertion = &form.iter().find(|(name, _)| name == "client_assertion").unwrap().1;
            read(assertion).1
        })
        .collect();
    for claims in &claims {
        assert_eq!((&claims["iss"], &claims["sub"], &claims["aud"]), (&json!("me"), &json!("me"), &json!(url)));
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 120);
    }
    assert_ne!(claims[0]["jti"], claims[1]["jti"]);
    assert_eq!(claims[0]["jti"].as_str().unwrap().len(), 22);
    assert!(claims[1]["iat"].as_u64().unwrap() >= 2_551_337_377, "the second one is of the server's time");
}

#[test]
fn debug_shows_the_name_and_not_the_key() {
    let shown = format!("{:?}", key(P256).key_id("key-1"));
    assert_eq!(shown, r#"SigningKey { algorithm: "ES256", key_id: Some("key-1"), .. }"#);
}
