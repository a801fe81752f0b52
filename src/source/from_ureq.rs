//! What an error of ureq's means inside a source: was anything sent, and what did the server say?

use crate::error::Login;
use crate::{Error, Outcome, SourceError, outcome};

impl From<ureq::Error> for SourceError {
    fn from(error: ureq::Error) -> Self {
        if let Some(own) = Error::in_ureq(&error) {
            return own.clone().into();
        }
        let outcome = match &error {
            // Without a body, nothing tells the client from the login.
            ureq::Error::StatusCode(401) => Outcome::Refused,
            ureq::Error::StatusCode(status) => outcome::of_status(*status),
            error if never_sent(error) => Outcome::Unreachable,
            error if never_sendable(error) => Outcome::Misconfigured,
            // Whoever redirects is no token endpoint.
            ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => Outcome::Misconfigured,
            error if is_unreadable(error) => Outcome::Unreadable,
            _ => Outcome::Unknown,
        };
        // ureq's own JSON error may quote what it read; the others tell of addresses, sizes and states.
        #[cfg(feature = "json")]
        if let ureq::Error::Json(error) = error {
            return error.into();
        }
        if let ureq::Error::TlsRequired = error {
            return Self::new(outcome, NO_TLS).with_cause(error);
        }
        // These two quote the address, whose query may hold a key.
        if let ureq::Error::RequireHttpsOnly(_) | ureq::Error::BadUri(_) = error {
            return Self::new(outcome, "the request failed: its address is unreadable, or not https as it has to be");
        }
        let hint = if let ureq::Error::Protocol(_) = error { NO_HTTP } else { "" };
        let mut own = Self::new(outcome, format!("the request failed: {error}{hint}")).with_cure(cure(&error));
        if matches!(error, ureq::Error::StatusCode(400 | 401 | 403)) {
            own.set_login(Login::MayHelp);
        }
        own.with_cause(error)
    }
}

const NO_TLS: &str = "the address begins with https://, and this program was built without TLS: add a feature to ureq-auth, \
    rustls or native-tls";

/// A server with TLS answers plain http with an alert.
const NO_HTTP: &str = "; if that port is one for https, begin the address with https://";

/// What helps where waiting does not.
fn cure(error: &ureq::Error) -> Option<&'static str> {
    #[cfg(any(feature = "rustls", feature = "rustls-no-provider", feature = "native-tls"))]
    const PRIVATE_CA: &str = "if the server has a certificate of a private CA, trust that CA: \
        configure(|config| config.tls_config(..)) with root_certs of its certificate, or, with the feature \
        platform-verifier, RootCerts::PlatformVerifier";
    // A device without a battery begins in 1970. The error beside it says in seconds which time it took for now.
    #[cfg(any(feature = "rustls", feature = "rustls-no-provider", feature = "native-tls"))]
    const CLOCK_BEHIND: &str = "this machine's clock is behind the certificate's beginning: set the clock";
    #[cfg(any(feature = "rustls", feature = "rustls-no-provider", feature = "native-tls"))]
    const EXPIRED: &str =
        "if this machine's clock is ahead, set it; if it is right, the server needs a new certificate";
    match error {
        #[cfg(any(feature = "rustls", feature = "rustls-no-provider"))]
        ureq::Error::Io(io) => match io.get_ref()?.downcast_ref()? {
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => Some(PRIVATE_CA),
            rustls::Error::InvalidCertificate(
                rustls::CertificateError::NotValidYet | rustls::CertificateError::NotValidYetContext { .. },
            ) => Some(CLOCK_BEHIND),
            rustls::Error::InvalidCertificate(
                rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. },
            ) => Some(EXPIRED),
            rustls::Error::InvalidMessage(_) => {
                Some("what answers at that port speaks no TLS: check the port, or begin the address with http://")
            }
            _ => None,
        },
        // OpenSSL's words. Another library's go on with the cure for what is most common.
        #[cfg(feature = "native-tls")]
        ureq::Error::NativeTls(error) => Some(match error.to_string() {
            text if text.contains("not yet valid") => CLOCK_BEHIND,
            text if text.contains("certificate has expired") => EXPIRED,
            _ => PRIVATE_CA,
        }),
        ureq::Error::Protocol(_) => Some("what answers at that port speaks no HTTP: check the address"),
        _ => None,
    }
}

/// How std begins the error of a failed look-up, on every system with getaddrinfo(3). It has no kind that tells.
const NOT_LOOKED_UP: &str = "failed to lookup address information";

/// Did the request fail before a byte of it was sent? Then the refresh token is as good as before.
fn never_sent(error: &ureq::Error) -> bool {
    use std::io::ErrorKind as Io;
    use ureq::Timeout;

    match error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::Tls(_)
        | ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
        ureq::Error::Io(io) if refused_certificate(io) => true,
        // These come from connect(2) alone. A reset or a broken pipe may come after the server has read the request.
        ureq::Error::Io(io) => {
            matches!(
                io.kind(),
                Io::ConnectionRefused
                    | Io::AddrNotAvailable
                    | Io::HostUnreachable
                    | Io::NetworkUnreachable
                    | Io::NetworkDown
            ) || io.to_string().starts_with(NOT_LOOKED_UP)
        }
        _ => false,
    }
}

/// Did the answer come, in a form that cannot be read: too long, or not encoded as it says?
fn is_unreadable(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::BodyExceedsLimit(_) => true,
        #[cfg(any(feature = "gzip", feature = "brotli"))]
        ureq::Error::Decompress(..) => true,
        #[cfg(feature = "charset")]
        ureq::Error::UnknownCharset(_) => true,
        _ => false,
    }
}

/// Did the TLS handshake fail on the server's certificate? That is what a clock in 1970 looks like.
#[cfg(any(feature = "rustls", feature = "rustls-no-provider"))]
fn refused_certificate(io: &std::io::Error) -> bool {
    // Not AlertReceived: with TLS 1.3 the server's alert may come when the request is already out.
    let cause = io.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::PeerIncompatible(_)))
}

#[cfg(not(any(feature = "rustls", feature = "rustls-no-provider")))]
fn refused_certificate(_: &std::io::Error) -> bool {
    false
}

/// Is the request of a kind that can never be sent? Then a repeat does not help.
fn never_sendable(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::BadUri(_)
            | ureq::Error::Http(_)
            | ureq::Error::InvalidProxyUrl
            | ureq::Error::RequireHttpsOnly(_)
            | ureq::Error::TlsRequired
    )
}
