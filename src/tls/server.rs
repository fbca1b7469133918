//! The server's side of TLS for every source that listens: its options, and the settings made from them.
//!
//! Invariant: TLS 1.2 or 1.3 only, and a client CA that is configured is always enforced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use schemars::JsonSchema;
use serde::Deserialize;

use super::peer::fingerprint;
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
    /// Revocation lists of the authorities, PEM: a client whose certificate is on one is refused.
    /// Needs `client_ca`.
    #[serde(alias = "crl_file")]
    pub client_crl: Option<PathBuf>,
    /// Of the clients that `client_ca` lets in only those whose certificate has one of these names, a DNS
    /// name or URI of its subject alternative names. Default: all.
    #[serde(default)]
    pub client_names: Vec<String>,
    /// The same by certificate, `sha-256:AB:CD:…` (RFC 5425 §4.2.2); whoever has one of the names or one
    /// of the fingerprints may connect.
    #[serde(default)]
    pub client_fingerprints: Vec<String>,
}

impl TlsServer {
    /// What is wrong with the files; at most one line for each.
    pub fn check(&self) -> Vec<Problem> {
        let files = self.files().map(|(option, path)| Problem::for_file(option, path));
        let mut unreadable: Vec<_> = files.flatten().collect();
        let narrows =
            self.client_crl.is_some() || !self.client_names.is_empty() || !self.client_fingerprints.is_empty();
        if narrows && self.client_ca.is_none() {
            unreadable.push(Problem {
                option: "tls.client_ca",
                message: "without `client_ca` no client shows a certificate to be checked".to_owned(),
                hint: "name the authority of the clients".to_owned(),
            });
        }
        for wanted in &self.client_fingerprints {
            if wanted.len() != fingerprint(&[]).len() || !wanted.to_ascii_lowercase().starts_with("sha-256:") {
                unreadable.push(Problem {
                    option: "tls.client_fingerprints",
                    message: format!("`{wanted}` is no fingerprint"),
                    hint: "write `sha-256:` and 32 bytes in hex with a colon between two, as `openssl x509 -fingerprint -sha256` prints them".to_owned(),
                });
            }
        }
        match self.settings() {
            Err(error) if unreadable.is_empty() => {
                vec![Problem { option: "tls", message: error.to_string(), hint: String::new() }]
            }
            _ => unreadable,
        }
    }

    /// The files by their options.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let always = [("tls.certificate", &self.certificate), ("tls.key", &self.key)];
        let more = [("tls.client_ca", self.client_ca.as_ref()), ("tls.client_crl", self.client_crl.as_ref())];
        always.into_iter().chain(more.into_iter().filter_map(|(option, path)| Some((option, path?))))
    }

    /// What a handshake needs of the files.
    ///
    /// # Errors
    /// A file cannot be read, holds nothing of use, or the key is not the certificate's.
    pub(super) fn settings(&self) -> Result<ServerConfig, SetupError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let failed = |error: rustls::Error| SetupError::new("cannot prepare TLS", error);
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let lists = self.client_crl.as_deref().map(revocation_lists).transpose()?.unwrap_or_default();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider);
                // A list says something of the clients alone; that of an authority is not asked for.
                let verifier =
                    verifier.with_crls(lists).only_check_end_entity_revocation().allow_unknown_revocation_status();
                builder.with_client_cert_verifier(verifier.build().map_err(|error| cannot_use(path, error))?)
            }
        };
        builder.with_single_cert(certificates(&self.certificate)?, private_key(&self.key)?).map_err(|error| {
            SetupError::new(format!("cannot use `{}` with its key", self.certificate.display()), error)
        })
    }
}

/// All revocation lists of a PEM file, at least one.
fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, SetupError> {
    let lists = CertificateRevocationListDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match lists {
        Ok(lists) if lists.is_empty() => Err(cannot_use(path, "there is no revocation list in it")),
        lists => lists.map_err(|error| cannot_use(path, error)),
    }
}

fn cannot_use(path: &Path, cause: impl ToString) -> SetupError {
    SetupError::new(format!("cannot use `{}`", path.display()), cause)
}
