//! The server's side of TLS for every source that listens: certificate, client certificates, and
//! the name a client proves.
//!
//! Invariant: TLS 1.2 or 1.3 only, and a client CA that is configured is always enforced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ServerConnection, WebPkiClientVerifier};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_rustls::TlsAcceptor;

use super::{certificates, private_key, roots};
use crate::part::{Problem, SetupError};

/// TLS for a listener.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsServer {
    /// The server's certificate and the chain up to its issuer, PEM.
    #[serde(alias = "crt_file")]
    pub certificate: PathBuf,
    /// The private key of the certificate, PEM, without a passphrase.
    #[serde(alias = "key_file")]
    pub key: PathBuf,
    /// Only clients with a certificate of one of these authorities may connect (mutual TLS); the
    /// first name in a client's certificate becomes its `peer`. PEM. Default: any client.
    #[serde(alias = "ca_file")]
    pub client_ca: Option<PathBuf>,
}

impl TlsServer {
    /// What is wrong with the files; at most one line for each.
    pub fn check(&self) -> Vec<Problem> {
        let files = [("tls.certificate", Some(&self.certificate)), ("tls.key", Some(&self.key))];
        let files = files.into_iter().chain([("tls.client_ca", self.client_ca.as_ref())]);
        let unreadable: Vec<_> =
            files.filter_map(|(option, path)| path.and_then(|path| Problem::for_file(option, path))).collect();
        match self.settings() {
            Err(error) if unreadable.is_empty() => {
                vec![Problem { option: "tls", message: error.to_string(), hint: String::new() }]
            }
            _ => unreadable,
        }
    }

    /// What performs the handshakes.
    ///
    /// # Errors
    /// A file cannot be read, holds nothing of use, or the key is not the certificate's.
    pub fn acceptor(&self) -> Result<TlsAcceptor, SetupError> {
        self.settings().map(|settings| TlsAcceptor::from(Arc::new(settings)))
    }

    fn settings(&self) -> Result<ServerConfig, SetupError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let failed = |error: rustls::Error| SetupError::new("cannot prepare TLS", error);
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(|error| cannot_use(path, error))?)
            }
        };
        builder.with_single_cert(certificates(&self.certificate)?, private_key(&self.key)?).map_err(|error| {
            SetupError::new(format!("cannot use `{}` with its key", self.certificate.display()), error)
        })
    }
}

/// The first DNS name or URI in the certificate a client has proved, if it showed one.
pub fn peer_name(connection: &ServerConnection) -> Option<String> {
    let certificate = webpki::EndEntityCert::try_from(connection.peer_certificates()?.first()?).ok()?;
    let name = certificate.valid_dns_names().next().or_else(|| certificate.valid_uri_names().next());
    name.map(str::to_owned)
}

fn cannot_use(path: &Path, cause: impl ToString) -> SetupError {
    SetupError::new(format!("cannot use `{}`", path.display()), cause)
}
