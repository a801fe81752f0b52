//! The recipes of docs/logins.md, each against a server that answers as the real one does.

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use ureq::Agent;
use ureq_auth::oauth2::{Claims, ClientCredentials, Grant, SigningKey};
use ureq_auth::{Clock, ManualClock, Session, SourceError, SystemClock, Token, TokenSource};

use crate::server::{Answer, Seen, Server};
use crate::support::policy;

const RSA: &str = include_str!("signing_key/rsa.pem");
const CERTIFICATE: &str = include_str!("signing_key/certificate.pem");
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn session(source: impl TokenSource + 'static) -> Session {
    Session::builder(source).clock(ManualClock::new(None)).policy(policy()).build().unwrap()
}

/// The next token, as after a 401.
fn renewed(session: &Session) -> String {
    let token = session.token().unwrap();
    session.accepted(&token);
    session.rejected(&token).unwrap().secret().to_owned()
}

fn field(seen: &Seen, wanted: &str) -> String {
    let mut fields = form_urlencoded::parse(&seen.body);
    fields.find(|(name, _)| name == wanted).unwrap_or_else(|| panic!("no {wanted}: {}", seen.text())).1.into_owned()
}

/// Header and claims of a JWT.
fn parts(jwt: &str) -> [Value; 2] {
    let mut parts = jwt.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap());
    [(); 2].map(|()| serde_json::from_slice(&parts.next().unwrap()).unwrap())
}

/// Is it of now?
fn is_fresh(claims: &Value) -> bool {
    let (issued, end) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
    let now = SystemClock.wall().unwrap().as_secs();
    issued <= now && end > now && end - issued <= 600
}

fn token(name: &str) -> Answer {
    Answer::ok(format!(r#"{{"access_token":"{name}","expires_in":3599,"token_type":"Bearer"}}"#))
}

/// An agent for a server that is on this machine or next to it: never by a proxy, and never for long.
fn nearby() -> Agent {
    Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).proxy(None).build().into()
}

#[test]
fn google_service_account() {
    let server = Server::script([token("ya29.a"), token("ya29.b")]);
    let file = json!({
        "client_email": "robot@my-project.iam.gserviceaccount.com", "private_key_id": "key-1", "private_key": RSA,
        "token_uri": server.url("/token"),
    });
    let text = |name: &str| file[name].as_str().unwrap().to_owned();
    let (email, url) = (text("client_email"), text("token_uri"));
    let key = SigningKey::from_pem(&text("private_key")).unwrap().key_id(text("private_key_id"));
    let source = Grant::new(&url, Grant::JWT_BEARER).params(move |attempt| {
        let claims = Claims::new(attempt.now()).issuer(&email).audience(attempt.token_url());
        Ok([("assertion", key.sign(&claims.claim("scope", "https://www.googleapis.com/auth/cloud-platform"))?)])
    });
    let session = session(source);
    assert_eq!((renewed(&session).as_str(), server.count()), ("ya29.b", 2));
    let [header, claims] = parts(&field(&server.seen()[1], "assertion"));
    assert_eq!((&header["alg"], &header["kid"]), (&json!("RS256"), &json!("key-1")));
    assert_eq!((&claims["iss"], &claims["aud"]), (&file["client_email"], &json!(url)));
    assert!(claims["scope"].is_string() && is_fresh(&claims), "{claims}");
    assert_eq!(field(&server.seen()[0], "grant_type"), Grant::JWT_BEARER);
}

#[test]
fn github_app_installation() {
    let answer =
        |name: &str| Answer::new(201).body(format!(r#"{{"token":"{name}","expires_at":"2026-11-28T14:00:00Z"}}"#));
    let server = Server::script([answer("ghs_a"), answer("ghs_b")]);
    let url = server.url("/app/installations/1234/access_tokens");
    let key = SigningKey::from_pem(RSA).unwrap();
    let agent = nearby();
    let source = move |_: Option<&Token>| {
        // A minute ago, as GitHub advises: its clock may be behind.
        let now = SystemClock.wall().unwrap_or_default().saturating_sub(Duration::from_secs(60));
        let proof = key.sign(&Claims::new(now).issuer("my-app-id").lifetime(Duration::from_secs(600)))?;
        let request = agent.post(&url).header("authorization", format!("Bearer {proof}"));
        let answer: Value = request.send_empty()?.body_mut().read_json()?;
        let token = Token::new(answer["token"].as_str().unwrap_or_default())?;
        // They all live for an hour.
        Ok(token.with_expires_in(Duration::from_secs(3600)))
    };
    assert_eq!(renewed(&session(source)), "ghs_b");
    let [header, claims] = parts(server.seen()[0].bearer().unwrap());
    assert_eq!((&header["alg"], &claims["iss"]), (&json!("RS256"), &json!("my-app-id")));
    assert!(is_fresh(&claims), "{claims}");
}

#[test]
fn salesforce_jwt() {
    // Without expires_in, and with a signature of its own.
    let answer =
        r#"{"access_token":"00D!a","scope":"api","instance_url":"https://x.my.salesforce.com","token_type":"Bearer"}"#;
    let server = Server::script([Answer::ok(answer)]);
    let key = SigningKey::from_pem(RSA).unwrap();
    let source = Grant::new(server.url("/services/oauth2/token"), Grant::JWT_BEARER).params(move |attempt| {
        let claims = Claims::new(attempt.now()).issuer("consumer-key").subject("robot@example.com");
        Ok([("assertion", key.sign(&claims.audience("https://login.salesforce.com"))?)])
    });
    assert_eq!(session(source).token().unwrap().secret(), "00D!a");
    let [_, claims] = parts(&field(&server.seen()[0], "assertion"));
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("consumer-key"), &json!("robot@example.com")));
    assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() <= 180, "at most three minutes");
}

#[test]
fn entra_certificate() {
    let server = Server::script([token("eyJ.a"), token("eyJ.b")]);
    let key = SigningKey::from_pem(RSA).unwrap().certificate(CERTIFICATE).unwrap();
    let source = ClientCredentials::without_secret(server.url("/tenant/oauth2/v2.0/token"), "my-app")
        .scope("https://graph.microsoft.com/.default")
        .client_assertion(key.client_assertion());
    assert_eq!(renewed(&session(source)), "eyJ.b");
    let assertions: Vec<_> = server.seen().iter().map(|seen| parts(&field(seen, "client_assertion"))).collect();
    for [header, claims] in &assertions {
        assert!(header["x5t#S256"].is_string() && is_fresh(claims), "{header} {claims}");
    }
    assert_ne!(assertions[0][1]["jti"], assertions[1][1]["jti"]);
}

#[test]
fn kubernetes_projected_token_at_a_cloud() {
    let server = Server::script([token("ya29.a"), token("ya29.b")]);
    let file = std::env::temp_dir().join(format!("projected-token-{}", std::process::id()));
    fs::write(&file, "first\n").unwrap();
    let path = file.clone();
    let source = Grant::new(server.url("/v1/token"), Grant::TOKEN_EXCHANGE)
        .scope("https://www.googleapis.com/auth/cloud-platform")
        .param(
            "audience",
            "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster",
        )
        .param("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
        .params(move |_| {
            let subject_token = fs::read_to_string(&path)?.trim().to_owned();
            Ok([("subject_token", subject_token), ("subject_token_type", JWT.to_owned())])
        });
    let session = session(source);
    session.token().unwrap();
    // The kubelet has replaced it.
    fs::write(&file, "second\n").unwrap();
    assert_eq!(renewed(&session), "ya29.b");
    fs::remove_file(&file).unwrap();
    let sent: Vec<_> = server.seen().iter().map(|seen| field(seen, "subject_token")).collect();
    assert_eq!(sent, ["first", "second"]);
    assert_eq!(field(&server.seen()[0], "grant_type"), Grant::TOKEN_EXCHANGE);
}

#[test]
fn kubernetes_projected_token_at_entra() {
    let server = Server::script([token("eyJ.a"), token("eyJ.b")]);
    let file = std::env::temp_dir().join(format!("federated-token-{}", std::process::id()));
    fs::write(&file, "federated\n").unwrap();
    let path = file.clone();
    let source = ClientCredentials::without_secret(server.url("/tenant/oauth2/v2.0/token"), "my-app")
        .scope("https://vault.azure.net/.default")
        .client_assertion(move |_| Ok(fs::read_to_string(&path)?.trim().to_owned()));
    let session = session(source);
    session.token().unwrap();
    // The kubelet has replaced it.
    fs::write(&file, "federated again\n").unwrap();
    assert_eq!(renewed(&session), "eyJ.b");
    fs::remove_file(&file).unwrap();
    let sent: Vec<_> = server.seen().iter().map(|seen| field(seen, "client_assertion")).collect();
    assert_eq!(sent, ["federated", "federated again"]);
}

#[test]
fn github_actions() {
    let runner = Server::start(|seen| {
        assert_eq!(
            (seen.bearer(), &*seen.target),
            (Some("runner"), "/token?api-version=2.0&audience=api%3A%2F%2Fcloud")
        );
        Answer::ok(r#"{"count":1,"value":"eyJ.of-this-job"}"#)
    });
    let server = Server::script([token("a"), token("b")]);
    // ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN, with `permissions: id-token: write`.
    let (url, secret) = (runner.url("/token?api-version=2.0"), "runner".to_owned());
    let agent = nearby();
    let source = Grant::new(server.url("/sts"), Grant::TOKEN_EXCHANGE).params(move |_| {
        let request =
            agent.get(&url).query("audience", "api://cloud").header("authorization", format!("Bearer {secret}"));
        let answer: Value = request.call()?.body_mut().read_json()?;
        let id_token = answer["value"].as_str().unwrap_or_default().to_owned();
        Ok([("subject_token", id_token), ("subject_token_type", JWT.to_owned())])
    });
    assert_eq!(renewed(&session(source)), "b");
    assert_eq!((field(&server.seen()[1], "subject_token").as_str(), runner.count()), ("eyJ.of-this-job", 2));
}

#[test]
fn metadata_server_of_gcp() {
    let server = Server::script([token("ya29.a")]);
    let url = server.url("/computeMetadata/v1/instance/service-accounts/default/token");
    let agent = nearby();
    let source = move |_: Option<&Token>| {
        let answer: Value = agent.get(&url).header("Metadata-Flavor", "Google").call()?.body_mut().read_json()?;
        let token = Token::new(answer["access_token"].as_str().unwrap_or_default())?;
        Ok(token.with_expires_in(Duration::from_secs(answer["expires_in"].as_u64().unwrap_or_default())))
    };
    let token = session(source).token().unwrap();
    assert_eq!((token.secret(), token.expires_in()), ("ya29.a", Some(Duration::from_secs(3599))));
    assert_eq!(server.seen()[0].header("metadata-flavor"), Some("Google"));
}

#[test]
fn metadata_server_of_azure() {
    // Its numbers are texts.
    let server = Server::script([Answer::ok(r#"{"access_token":"eyJ.a","expires_in":"86399","token_type":"Bearer"}"#)]);
    let url = server.url("/metadata/identity/oauth2/token");
    let agent = nearby();
    let source = move |_: Option<&Token>| {
        let request = agent.get(&url).query("api-version", "2018-02-01").query("resource", "https://vault.azure.net");
        let answer: Value = request.header("Metadata", "true").call()?.body_mut().read_json()?;
        let token = Token::new(answer["access_token"].as_str().unwrap_or_default())?;
        let seconds = answer["expires_in"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
        Ok(token.with_expires_in(Duration::from_secs(seconds)))
    };
    let token = session(source).token().unwrap();
    assert_eq!((token.secret(), token.expires_in()), ("eyJ.a", Some(Duration::from_secs(86399))));
    assert_eq!(server.seen()[0].header("metadata"), Some("true"));
    assert_eq!(
        server.seen()[0].target,
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net"
    );
}

#[test]
fn metadata_server_of_aws() {
    let server = Server::start(|seen| match (seen.method.as_str(), seen.target.as_str()) {
        ("PUT", "/latest/api/token") => {
            assert_eq!(seen.header("x-aws-ec2-metadata-token-ttl-seconds"), Some("60"));
            Answer::ok("imds-token")
        }
        ("GET", path) => {
            assert_eq!(seen.header("x-aws-ec2-metadata-token"), Some("imds-token"));
            match path {
                "/latest/meta-data/iam/security-credentials/" => Answer::ok("my-role"),
                _ => Answer::ok(
                    "{\n  \"AccessKeyId\" : \"ASIA1\",\n  \"SecretAccessKey\" : \"s\",\n  \"Token\" : \"t\" }",
                ),
            }
        }
        _ => Answer::new(405),
    });
    let origin = server.origin();
    let agent = nearby();
    let source = move |_: Option<&Token>| {
        let request =
            agent.put(format!("{origin}/latest/api/token")).header("x-aws-ec2-metadata-token-ttl-seconds", "60");
        let pass = request.send_empty()?.body_mut().read_to_string()?;
        let get = |path: &str| -> Result<String, SourceError> {
            let request = agent.get(format!("{origin}/latest/meta-data/iam/security-credentials/{path}"));
            Ok(request.header("x-aws-ec2-metadata-token", &pass).call()?.body_mut().read_to_string()?)
        };
        let credentials: Value = serde_json::from_str(&get(&get("")?)?)?;
        // Three values that sign requests, and no bearer token: the session keeps them as one text, for whoever signs. They are
        // good for hours; an earlier look does no harm.
        Ok(Token::new(credentials.to_string())?.with_expires_in(Duration::from_secs(900)))
    };
    let kept: Value = serde_json::from_str(session(source).token().unwrap().secret()).unwrap();
    assert_eq!((&kept["AccessKeyId"], &kept["Token"], server.count()), (&json!("ASIA1"), &json!("t"), 3));
}
