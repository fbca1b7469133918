//! Certificates of a test: an authority of its own, a server for `localhost` and 127.0.0.1, and a
//! client.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// PEM files in the folder of a test.
pub struct Pki {
    pub authority: PathBuf,
    pub server: Identity,
    pub client: Identity,
}

/// A certificate and its key.
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The SAN of the client certificate.
pub const CLIENT_NAME: &str = "client.test";

impl Pki {
    pub fn create(folder: &Path) -> Pki {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("generate key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("sign authority");

        let issue = |name: &str, subject_names: &[&str], usage: ExtendedKeyUsagePurpose| {
            let names: Vec<String> = subject_names.iter().map(|&name| name.to_owned()).collect();
            let mut params = CertificateParams::new(names).expect("subject names");
            params.distinguished_name.push(DnType::CommonName, subject_names[0]);
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().expect("generate key");
            let certificate = params.signed_by(&key, &authority).expect("sign certificate");
            Identity {
                certificate: write(folder, &format!("{name}.pem"), &certificate.pem()),
                key: write(folder, &format!("{name}.key"), &key.serialize_pem()),
            }
        };
        Pki {
            authority: write(folder, "authority.pem", &authority.pem()),
            server: issue("server", &["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth),
            client: issue("client", &[CLIENT_NAME], ExtendedKeyUsagePurpose::ClientAuth),
        }
    }
}

fn write(folder: &Path, name: &str, pem: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, pem).expect("write PEM file");
    path
}
