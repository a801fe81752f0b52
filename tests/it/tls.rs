//! A server on loopback whose certificate is of a private CA, and knows no more than to shake hands and send what it is given.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Of `localhost` and 127.0.0.1, from 2020 to 2126, signed by [`CA`].
const CERTIFICATE: &str = "MIIBPzCB8qADAgECAgECMAUGAytlcDASMRAwDgYDVQQDDAdwcml2YXRlMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjYwNzI3MTI0NDA2WjAUMRIwEA\
    YDVQQDDAlsb2NhbGhvc3QwKjAFBgMrZXADIQDqSmxj4pxSCr71UHsTLsX5lUd2rr6+e5JCHuppFEbSLKNpMGcwGgYDVR0RBBMwEYIJbG9jYWxo\
    b3N0hwR/AAABMAkGA1UdEwQCMAAwHQYDVR0OBBYEFExezkAjoDQe4qz/zE0XFUqFTwLlMB8GA1UdIwQYMBaAFC4ymLgEYb3SOXo9smhVXtUckv\
    HnMAUGAytlcANBADp2XY86F0sICDIEXuXm92Y5yh9W9Xkt6RfDT4ly4iPZT8bCCHrnUq3QaY76XphHyjLUqfsLGedqvr9S9WVytQI=";

const CA: &str = "MIIBOjCB7aADAgECAhRAzJFDG5y9fMZ2C3N7ncy8kY5/JjAFBgMrZXAwEjEQMA4GA1UEAwwHcHJpdmF0ZTAgFw0yMDAxMDEwMDAwMDBaGA8yMT\
    I2MTEwNDEyNDQwNlowEjEQMA4GA1UEAwwHcHJpdmF0ZTAqMAUGAytlcAMhABOY9ixtGkV8UbpqS189vS9p/KkyFiGNyJl+QWvRfZPKo1MwUTAd\
    BgNVHQ4EFgQULjKYuARhvdI5ej2yaFVe1RyS8ecwHwYDVR0jBBgwFoAULjKYuARhvdI5ej2yaFVe1RyS8ecwDwYDVR0TAQH/BAUwAwEB/zAFBg\
    MrZXADQQBlJBUR+svX+v+8wbje201v8m5b9622/4pPeDgf7kPY26+mRtW/n4G1B73FC2oXieLiAm4i0IH3/+7VkbYGvDMM";

/// Serves one connection: shakes hands, reads what comes first, and sends `answer`.
pub(crate) fn serve_one(answer: &'static str) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = accept(stream);
        // Whoever does not trust the certificate, or speaks no TLS, gets no further than this.
        if stream.read(&mut [0; 4096]).is_ok() {
            stream.write_all(answer.as_bytes()).unwrap();
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (address, server)
}

/// The server's end of a connection. Hands are shaken when it is first read from.
pub(crate) fn accept(stream: TcpStream) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(config()).unwrap(), stream)
}

/// The CA, for a program that trusts it.
pub(crate) fn ca() -> Vec<u8> {
    BASE64_STANDARD.decode(CA).unwrap()
}

fn config() -> Arc<ServerConfig> {
    // Of Ed25519, in its wrapping of RFC 8410 section 7.
    let mut key = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    key.extend([7; 32]);
    let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(key)).unwrap();
    let certificate = CertificateDer::from(BASE64_STANDARD.decode(CERTIFICATE).unwrap());
    let key = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(key));
    Arc::new(config)
}
