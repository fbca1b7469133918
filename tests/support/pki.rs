//! Certificates of a test: an authority of its own, a server for `localhost` and 127.0.0.1, and a
//! client.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// PEM files in the folder of a test.
pub struct Pki {
    pub authority: PathBuf,
    pub server: Identity,
    pub client: Identity,
    issuer: CertifiedIssuer<'static, KeyPair>,
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

        Pki {
            authority: write(folder, "authority.pem", &authority.pem()),
            server: issue(folder, &authority, "server", &["localhost", "127.0.0.1"]),
            client: issue(folder, &authority, "client", &[CLIENT_NAME]),
            issuer: authority,
        }
    }

    /// Takes connections as the server, from clients of the authority alone.
    pub fn acceptor(&self) -> wharfinger::tls::Acceptor {
        let server = wharfinger::tls::TlsServer {
            certificate: self.server.certificate.clone(),
            key: self.server.key.clone(),
            client_ca: Some(self.authority.clone()),
            client_crl: None,
            client_names: Vec::new(),
            client_fingerprints: Vec::new(),
        };
        wharfinger::tls::Acceptor::new(&server).expect("acceptor of a test")
    }

    /// A server that clients refuse: it has another name than it is called by, or its time is over.
    pub fn refused_server(&self, folder: &Path, is_expired: bool) -> Identity {
        let names: &[&str] = if is_expired { &["localhost", "127.0.0.1"] } else { &["elsewhere.test"] };
        issue_until(folder, &self.issuer, "server", names, is_expired)
    }

    /// The client's next certificate and key, in another folder.
    pub fn renew_client(&self, folder: &Path) -> Identity {
        issue(folder, &self.issuer, "client", &[CLIENT_NAME])
    }
}

fn issue(folder: &Path, issuer: &CertifiedIssuer<'_, KeyPair>, name: &str, subject_names: &[&str]) -> Identity {
    issue_until(folder, issuer, name, subject_names, false)
}

fn issue_until(
    folder: &Path,
    issuer: &CertifiedIssuer<'_, KeyPair>,
    name: &str,
    subject_names: &[&str],
    is_expired: bool,
) -> Identity {
    let names: Vec<String> = subject_names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("subject names");
    params.distinguished_name.push(DnType::CommonName, subject_names[0]);
    params.extended_key_usages = vec![match name {
        "server" => ExtendedKeyUsagePurpose::ServerAuth,
        _ => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    if is_expired {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    }
    let key = KeyPair::generate().expect("generate key");
    let certificate = params.signed_by(&key, issuer).expect("sign certificate");
    Identity {
        certificate: write(folder, &format!("{name}.pem"), &certificate.pem()),
        key: write(folder, &format!("{name}.key"), &key.serialize_pem()),
    }
}

fn write(folder: &Path, name: &str, pem: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, pem).expect("write PEM file");
    path
}
