//! What the certificate of a client says of him: names and fingerprint.
//!
//! Invariant: only of a certificate that a handshake has proved is a name believed.

use rustls::pki_types::CertificateDer;
use rustls::server::ServerConnection;
use sha2::{Digest, Sha256};

/// The first DNS name or URI in the certificate a client has proved, if it showed one.
pub fn peer_name(connection: &ServerConnection) -> Option<String> {
    names(connection.peer_certificates()?.first()?).into_iter().next()
}

/// The DNS names and URIs of a certificate. One with a space is none, and could pass for `uid 0` or `token NAME`.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
    let names = certificate.valid_dns_names().chain(certificate.valid_uri_names());
    names.filter(|name| !name.contains(char::is_whitespace)).map(str::to_owned).collect()
}

/// RFC 5425 §4.2.2: the name of the hash, a colon, and the bytes in hex with a colon between two.
pub(super) fn fingerprint(certificate: &[u8]) -> String {
    let bytes = Sha256::digest(certificate);
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("sha-256:{}", hex.join(":"))
}
