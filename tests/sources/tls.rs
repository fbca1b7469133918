//! TLS of the sources that listen: who may connect, and certificates that are renewed meanwhile.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyPair,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Yard, within};

/// The source looks at its files once a second.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(1_100);

/// A certificate for `name`, signed by `issuer`, as PEM files in `folder`.
pub(super) fn certificate(folder: &Path, issuer: &CertifiedIssuer<'_, KeyPair>, name: &str) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from(name.as_bytes().to_vec()));
    let certificate = params.signed_by(&key, issuer).unwrap();
    std::fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

pub(super) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Connects with the client certificate of that name.
pub(super) async fn connect(
    folder: &Path,
    client: Option<&str>,
    to: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(name) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(folder.join(format!("{name}.crt"))).unwrap()],
                PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap(),
            )
            .unwrap(),
    };
    let stream = TcpStream::connect(to).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// Sends a line over a new connection and closes properly.
async fn send(folder: &Path, client: Option<&str>, to: SocketAddr, line: &str) -> std::io::Result<()> {
    let mut stream = connect(folder, client, to).await?;
    stream.write_all(line.as_bytes()).await?;
    stream.shutdown().await?;
    // The server closes in turn, or says what it did not like: it says so with a reset as well.
    match stream.read(&mut [0; 16]).await? {
        0 => Ok(()),
        _ => Err(std::io::Error::other("the server spoke")),
    }
}

fn tls_source(folder: &Path, more: serde_json::Value) -> serde_json::Value {
    let mut tls = json!({"certificate": folder.join("localhost.crt"), "key": folder.join("localhost.key")});
    tls.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"mode": "tcp", "address": "127.0.0.1:0", "tls": tls})
}

#[tokio::test]
async fn tls_with_client_certificates() {
    let mut yard = Yard::new();
    let folder = yard.folder.path().to_owned();
    let issuer = authority();
    std::fs::write(folder.join("ca.crt"), issuer.pem()).unwrap();
    certificate(&folder, &issuer, "localhost");
    certificate(&folder, &issuer, "vm-17.example");
    let stranger = authority();
    certificate(&folder, &stranger, "vm-18.example");

    let source = yard.start("syslog", tls_source(&folder, json!({"client_ca": folder.join("ca.crt")})));
    let to = source.address();
    assert!(source.endpoints[0].starts_with("tls "));
    within(send(&folder, Some("vm-17.example"), to, "<13>proved\n")).await.unwrap();
    let event = yard.events(1).await.remove(0);
    assert_eq!((event.raw().as_str(), event.field("peer")), ("<13>proved", "vm-17.example"));

    assert!(within(send(&folder, None, to, "<13>nobody\n")).await.is_err());
    assert!(within(send(&folder, Some("vm-18.example"), to, "<13>stranger\n")).await.is_err());
    let mut plain = TcpStream::connect(to).await.unwrap();
    plain.write_all(b"<13>in the clear\n").await.unwrap();
    while within(plain.read(&mut [0; 64])).await.is_ok_and(|read| read > 0) {}
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_open_connections_go_on() {
    let mut yard = Yard::new();
    let folder = yard.folder.path().to_owned();
    let issuer = authority();
    std::fs::write(folder.join("ca.crt"), issuer.pem()).unwrap();
    certificate(&folder, &issuer, "localhost");
    let source = yard.start("syslog", tls_source(&folder, json!({})));
    let to = source.address();
    let mut open = connect(&folder, None, to).await.unwrap();
    open.write_all(b"<13>before\n").await.unwrap();
    assert_eq!(yard.events(1).await[0].raw(), "<13>before");

    // A key without its certificate changes nothing.
    let old_key = std::fs::read(folder.join("localhost.key")).unwrap();
    std::fs::write(folder.join("localhost.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    tokio::time::sleep(LOOK_EVERY).await;
    within(send(&folder, None, to, "<13>half renewed\n")).await.unwrap();
    assert_eq!(yard.events(1).await[0].raw(), "<13>half renewed");
    std::fs::write(folder.join("localhost.key"), old_key).unwrap();

    // Of another authority: who trusts that one alone sees the new certificate, or none.
    let renewed = authority();
    std::fs::write(folder.join("ca.crt"), renewed.pem()).unwrap();
    assert!(connect(&folder, None, to).await.is_err());
    certificate(&folder, &renewed, "localhost");
    within(async {
        while connect(&folder, None, to).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    open.write_all(b"<13>after\n").await.unwrap();
    assert_eq!(yard.events(1).await[0].raw(), "<13>after");
    drop(open);
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn clients_are_told_apart_by_name_fingerprint_and_revocation() {
    let mut yard = Yard::new();
    let folder = yard.folder.path().to_owned();
    let issuer = authority();
    std::fs::write(folder.join("ca.crt"), issuer.pem()).unwrap();
    let clients = ["named.example", "printed.example", "revoked.example", "other.example"];
    for name in clients.into_iter().chain(["localhost"]) {
        certificate(&folder, &issuer, name);
    }
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(b"revoked.example".to_vec()),
        revocation_time: date_time_ymd(2026, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2036, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    std::fs::write(folder.join("ca.crl"), list.signed_by(&issuer).unwrap().pem().unwrap()).unwrap();
    let printed = CertificateDer::from_pem_file(folder.join("printed.example.crt")).unwrap();
    let printed: Vec<String> = Sha256::digest(&printed).iter().map(|byte| format!("{byte:02x}")).collect();

    let source = yard.start(
        "syslog",
        tls_source(
            &folder,
            json!({
                "client_ca": folder.join("ca.crt"),
                "client_crl": folder.join("ca.crl"),
                "client_names": ["named.example", "revoked.example"],
                "client_fingerprints": [format!("sha-256:{}", printed.join(":"))],
            }),
        ),
    );
    let to = source.address();
    for (client, is_admitted) in clients.into_iter().zip([true, true, false, false]) {
        let sent = within(send(&folder, Some(client), to, &format!("<13>{client}\n"))).await;
        if is_admitted {
            sent.unwrap();
            assert_eq!(yard.events(1).await[0].field("peer"), client);
        }
    }
    source.stop().await;
    yard.is_empty().await;
}
