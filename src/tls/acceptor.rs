//! Handshakes with the certificate that stands in the files at that moment.
//!
//! A certificate that is renewed on disk is taken for the next connection; connections that are open go on.
//!
//! Invariant: files that cannot be used never replace what is in force, and say so once.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::server::ServerConnection;
use tokio_rustls::TlsAcceptor;

use super::peer::{fingerprint, names};
use super::{TlsServer, Watch};
use crate::part::SetupError;

/// What performs the handshakes of a listener.
#[derive(Clone)]
pub struct Acceptor(Arc<Listener>);

struct Listener {
    tls: TlsServer,
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    /// The files, whether they could be used or not.
    watch: Watch,
}

impl Acceptor {
    /// Handshakes for a listener with these options.
    ///
    /// # Errors
    /// A file cannot be read, holds nothing of use, or the key is not the certificate's.
    pub fn new(tls: &TlsServer) -> Result<Self, SetupError> {
        let tls = tls.clone();
        let watch = Watch::new(tls.files().map(|(_, path)| path.clone()).collect());
        let acceptor = TlsAcceptor::from(Arc::new(tls.settings()?));
        let current = Mutex::new(Current { acceptor, watch });
        Ok(Acceptor(Arc::new(Listener { tls, current })))
    }

    /// For the next handshake.
    pub fn current(&self) -> TlsAcceptor {
        let Listener { tls, current } = &*self.0;
        let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.watch.has_changed() {
            match tls.settings() {
                Ok(settings) => {
                    current.acceptor = TlsAcceptor::from(Arc::new(settings));
                    tracing::info!(certificate = %tls.certificate.display(), "TLS files read again");
                }
                // Of certificate and key one may be new already: the other is still to come.
                Err(error) => tracing::warn!(%error, "new TLS files cannot be used; the old ones stay in force"),
            }
        }
        current.acceptor.clone()
    }

    /// Whether a client that has proved its certificate is one of those wanted; if not, why.
    ///
    /// # Errors
    /// What the certificate has that the configuration does not.
    pub fn admit(&self, connection: &ServerConnection) -> Result<(), String> {
        let TlsServer { client_names, client_fingerprints, .. } = &self.0.tls;
        if client_names.is_empty() && client_fingerprints.is_empty() {
            return Ok(());
        }
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.ok_or("the client showed no certificate")?;
        let names = names(certificate);
        let fingerprint = fingerprint(certificate);
        let is_named = client_names.iter().any(|wanted| names.iter().any(|name| name.eq_ignore_ascii_case(wanted)));
        if is_named || client_fingerprints.iter().any(|wanted| wanted.eq_ignore_ascii_case(&fingerprint)) {
            return Ok(());
        }
        Err(format!(
            "the client is {} ({fingerprint}), which is not in `client_names` or `client_fingerprints`",
            names.join(", ")
        ))
    }
}
