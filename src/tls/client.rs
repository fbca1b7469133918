//! TLS towards peers: what a sink's `tls:` says, and the client's settings made from it.
//!
//! Files are read at each call, so that a renewed certificate is used from the next connection on.
//!
//! Invariant: the peer's certificate and name are always checked; there is no switch against it.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{certificates, private_key, roots};
use crate::part::{Problem, SetupError};

/// How a peer is recognised, and how we prove who we are.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTls {
    /// PEM file of the authorities to trust, instead of those of the operating system.
    #[serde(alias = "ca_file")]
    pub ca: Option<PathBuf>,
    /// PEM file of our certificate and those between it and the authority.
    #[serde(alias = "crt_file")]
    pub certificate: Option<PathBuf>,
    /// PEM file of the key of `certificate`.
    #[serde(alias = "key_file")]
    pub key: Option<PathBuf>,
    /// The name in the peer's certificate, when it differs from the address.
    pub server_name: Option<String>,
}

impl ClientTls {
    /// What is wrong with it on this machine.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> =
            self.files().filter_map(|(option, path)| Problem::for_file(option, path)).collect();
        let problem =
            |option, message: &str, hint: &str| Problem { option, message: message.to_owned(), hint: hint.to_owned() };
        match (&self.certificate, &self.key) {
            (Some(_), None) => problems.push(problem("tls.key", "a certificate is given and no key", "add `key:`")),
            (None, Some(_)) => {
                problems.push(problem("tls.certificate", "a key is given and no certificate", "add `certificate:`"));
            }
            _ => {}
        }
        if let Some(name) = &self.server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            let message = format!("`{name}` is neither a host name nor an IP address");
            problems.push(problem("tls.server_name", &message, "write the name as it stands in the certificate"));
        }
        if problems.is_empty()
            && let Err(error) = self.client_config()
        {
            problems.push(problem("tls", &error.to_string(), "the files hold PEM text: `-----BEGIN CERTIFICATE-----`"));
        }
        problems
    }

    /// The files by their options.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let files = [("tls.ca", &self.ca), ("tls.certificate", &self.certificate), ("tls.key", &self.key)];
        files.into_iter().filter_map(|(option, path)| Some((option, path.as_ref()?)))
    }

    /// Client settings from the files as they are now: TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be.
    pub fn client_config(&self) -> Result<ClientConfig, SetupError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let failed = |error: rustls::Error| SetupError::new("cannot set up TLS", error);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
        let builder = match &self.ca {
            Some(ca) => builder.with_root_certificates(roots(ca)?),
            None => builder.dangerous().with_custom_certificate_verifier(platform_verifier(provider)?),
        };
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(|error| SetupError::new(format!("cannot use `{}`", certificate.display()), error)),
            _ => Ok(builder.with_no_client_auth()),
        }
    }

    /// Settings that trust nobody: an HTTP client wants some even when it never uses TLS.
    ///
    /// # Errors
    /// The cryptography has no protocol version, which does not happen.
    pub fn trusting_nobody() -> Result<ClientConfig, SetupError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| SetupError::new("cannot set up TLS", error))?;
        Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
    }

    /// The name to look for in the certificate of `host`.
    ///
    /// # Errors
    /// It is neither a host name nor an IP address.
    pub fn name_of(&self, host: &str) -> Result<ServerName<'static>, SetupError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned()).map_err(|error| SetupError::new(format!("cannot check `{name}`"), error))
    }
}

/// The verifier of the operating system: its store, and on Linux the usual bundle of authorities.
fn platform_verifier(provider: Arc<CryptoProvider>) -> Result<Arc<Verifier>, SetupError> {
    let failed = |error| SetupError::new("cannot read the certificates of the operating system", error);
    Verifier::new(provider).map(Arc::new).map_err(failed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_a_problem_with_its_option() {
        let dir = tempfile::tempdir().unwrap();
        let not_pem = dir.path().join("a.pem");
        std::fs::write(&not_pem, "no PEM").unwrap();
        let missing = || Some(dir.path().join("missing.pem"));
        let cases = [
            (ClientTls { ca: missing(), ..ClientTls::default() }, "tls.ca"),
            (ClientTls { certificate: Some(not_pem.clone()), ..ClientTls::default() }, "tls.key"),
            (ClientTls { key: Some(not_pem.clone()), ..ClientTls::default() }, "tls.certificate"),
            (ClientTls { server_name: Some("a b".to_owned()), ..ClientTls::default() }, "tls.server_name"),
            (ClientTls { ca: Some(not_pem), ..ClientTls::default() }, "tls"),
        ];
        for (tls, option) in cases {
            let problems = tls.problems();
            assert_eq!(problems.first().map(|problem| problem.option), Some(option), "{problems:?}");
        }
    }
}
