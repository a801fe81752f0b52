//! A private key in a PEM file that signs assertions (RFC 7518 §3.3, §3.4).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use zeroize::Zeroizing;

use super::{Attempt, Claims};
use crate::{Error, Result, SourceError};

/// A private key that signs assertions: ES256 by an elliptic curve P-256 key, RS256 by an RSA key of 2048 to 4096 bits
/// (RFC 7518 §3.1).
///
/// ```no_run
/// use std::fs;
///
/// use ureq_auth::Session;
/// use ureq_auth::oauth2::{ClientCredentials, SigningKey};
///
/// let key = SigningKey::from_pem(&fs::read_to_string("service-key.pem")?)?.key_id("2026-11");
/// let source = ClientCredentials::without_secret("https://id.example.com/token", "my-service")
///     .client_assertion(key.client_assertion());
/// let session = Session::new(source)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Clones share the key. What is read of the PEM text here is wiped; the text itself is the caller's to wipe, and ring keeps the
/// key in memory that it does not wipe.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Pair>,
    key_id: Option<String>,
    thumbprint: Option<String>,
}

enum Pair {
    Es256(Box<EcdsaKeyPair>),
    Rs256(Box<RsaKeyPair>),
}

impl SigningKey {
    /// Reads an unencrypted key: `BEGIN PRIVATE KEY` (PKCS #8, RFC 7468 §10) or `BEGIN RSA PRIVATE KEY` (PKCS #1). What stands
    /// before and after it, such as a certificate, is ignored.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), without a word of the text, if there is no such key in it, or one of
    /// another kind.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let pair = if let Some(der) = section(pem, "PRIVATE KEY")? {
            let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new());
            ec.map(|ec| Pair::Es256(Box::new(ec)))
                .or_else(|_| RsaKeyPair::from_pkcs8(&der).map(|rsa| Pair::Rs256(Box::new(rsa))))
        } else if let Some(der) = section(pem, "RSA PRIVATE KEY")? {
            RsaKeyPair::from_der(&der).map(|rsa| Pair::Rs256(Box::new(rsa)))
        } else {
            return Err(Error::invalid(
                "the text holds no private key that can be read: for BEGIN EC PRIVATE KEY or an encrypted key, convert it \
                 with openssl pkcs8 -topk8 -nocrypt",
            ));
        };
        let pair = pair.map_err(|_| {
            Error::invalid("the private key is neither an elliptic curve P-256 key nor an RSA key of 2048 to 4096 bits")
        })?;
        Ok(SigningKey { pair: Arc::new(pair), key_id: None, thumbprint: None })
    }

    /// The name that the server knows the key by (`kid`, RFC 7515 §4.1.4).
    #[must_use]
    pub fn key_id(mut self, key_id: impl Into<String>) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    /// Names the key by its certificate's thumbprint (`x5t#S256`, RFC 7515 §4.1.8), as Entra wants it.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the text holds no certificate (`BEGIN CERTIFICATE`).
    pub fn certificate(mut self, pem: &str) -> Result<Self> {
        let Some(der) = section(pem, "CERTIFICATE")? else {
            return Err(Error::invalid("the text holds no certificate: it has no line BEGIN CERTIFICATE"));
        };
        self.thumbprint = Some(BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &der)));
        Ok(self)
    }

    /// The claims as a signed JWT.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::Outcome::Unavailable) if the machine has no randomness for now.
    pub fn sign(&self, claims: &Claims) -> Result<String, SourceError> {
        let mut header = vec![("alg", self.algorithm())];
        header.extend(self.key_id.as_deref().map(|key_id| ("kid", key_id)));
        header.extend(self.thumbprint.as_deref().map(|thumbprint| ("x5t#S256", thumbprint)));
        claims.sign(&header, |input| self.signature(input))
    }

    /// Makes the assertions of a client that has this key (`private_key_jwt`, RFC 7523 §2.2): `iss` and `sub` are its id, `aud`
    /// is the token endpoint, `jti` is new each time, and each holds for two minutes.
    pub fn client_assertion(
        &self,
    ) -> impl Fn(&Attempt<'_>) -> Result<String, SourceError> + Send + Sync + use<> + 'static {
        let key = self.clone();
        move |attempt| {
            let mut id = [0; 16];
            SystemRandom::new().fill(&mut id).map_err(|_| no_randomness())?;
            let claims = Claims::new(attempt.now()).issuer(attempt.client_id()).subject(attempt.client_id());
            key.sign(&claims.audience(attempt.token_url()).id(&BASE64_URL_SAFE_NO_PAD.encode(id)))
        }
    }

    fn algorithm(&self) -> &'static str {
        match *self.pair {
            Pair::Es256(_) => "ES256",
            Pair::Rs256(_) => "RS256",
        }
    }

    fn signature(&self, input: &[u8]) -> Result<Vec<u8>, SourceError> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Es256(pair) => pair.sign(&random, input).map(|signature| signature.as_ref().to_vec()),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature).map(|()| signature)
            }
        }
        .map_err(|_| no_randomness())
    }
}

#[cold]
fn no_randomness() -> SourceError {
    SourceError::unavailable("this machine gives no random numbers for now, so nothing can be signed")
}

/// The first section of that name, decoded (RFC 7468 §2). By hand: the readers that there are leave copies of a key behind.
fn section(pem: &str, label: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let Some((_, rest)) = pem.split_once(&begin) else { return Ok(None) };
    let broken = || Error::invalid(format!("the section {label} of the PEM text cannot be read"));
    let (text, _) = rest.split_once(&end).ok_or_else(broken)?;
    let mut encoded = Zeroizing::new(String::with_capacity(text.len()));
    text.split_ascii_whitespace().for_each(|line| encoded.push_str(line));
    // Enough from the start: what grows leaves a copy of itself behind.
    let mut decoded = Zeroizing::new(Vec::with_capacity(encoded.len()));
    BASE64_STANDARD.decode_vec(&*encoded, &mut decoded).map_err(|_| broken())?;
    Ok(Some(decoded))
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm())
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}
