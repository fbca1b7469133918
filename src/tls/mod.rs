//! TLS of both sides: certificates and keys from PEM files, and the settings made from them.
//!
//! Invariant: TLS 1.2 or 1.3 only, by one provider of cryptography.

mod acceptor;
mod client;
mod peer;
mod server;
mod watch;

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub use acceptor::Acceptor;
pub use client::ClientTls;
pub use peer::peer_name;
pub use server::TlsServer;
pub use watch::Watch;

use crate::part::SetupError;

/// Trust in all certificates of a PEM file, and in nothing else.
fn roots(path: &Path) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let failed = |error| SetupError::new(format!("cannot trust a certificate of `{}`", path.display()), error);
        roots.add(certificate).map_err(failed)?;
    }
    Ok(roots)
}

/// All certificates of a PEM file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let failed = |cause: String| SetupError::new(format!("cannot read certificates from `{}`", path.display()), cause);
    let found = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| failed(error.to_string()))?;
    if found.is_empty() { Err(failed("there is none in it".to_owned())) } else { Ok(found) }
}

/// The first private key of a PEM file.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, SetupError> {
    let failed = |error| SetupError::new(format!("cannot read a key from `{}`", path.display()), error);
    PrivateKeyDer::from_pem_file(path).map_err(failed)
}
