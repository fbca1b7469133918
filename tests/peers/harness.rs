//! The peers themselves: each answers a plain client the way the tests of the gateway rely on.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::pki::{Identity, Pki};
use crate::support::process::Process;
use crate::syslog_peer::{ClientCertificate, Receiver, Transport};
use crate::{docker, peers_are_off, rsyslog, s3, syslog_ng};

const WITHIN: Duration = Duration::from_secs(60);

fn connect(pki: &Pki, identity: Option<&Identity>, port: u16) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&pki.authority).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some(identity) => config
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()],
                PrivateKeyDer::from_pem_file(&identity.key).unwrap(),
            )
            .unwrap(),
    };
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, TcpStream::connect(("127.0.0.1", port)).unwrap())
}

fn receives_over_tls(start: fn(&std::path::Path, Transport<'_>) -> Receiver, client_certificate: ClientCertificate) {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path());
    let receiver = start(folder.path(), Transport::Tls { pki: &pki, client_certificate });
    let identity = matches!(client_certificate, ClientCertificate::Required).then_some(&pki.client);
    let mut stream = connect(&pki, identity, receiver.port);
    let message = r#"<134>1 2026-11-21T09:05:11.123456Z vm-7 app 42 ID [x@32473 a="b \" c"] hello | = \ world"#;
    write!(stream, "{} {message}", message.len()).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();

    receiver.received.wait_for_count(1, WITHIN);
    assert_eq!(receiver.received.lines(), [message]);
    let parsed = &receiver.received.parsed()[0];
    assert_eq!((parsed.host.as_str(), parsed.app.as_str(), parsed.procid.as_str()), ("vm-7", "app", "42"));
    assert_eq!((parsed.pri.as_str(), parsed.msgid.as_str()), ("134", "ID"));
    assert_eq!(parsed.msg.trim_start(), r"hello | = \ world");
}

#[test]
fn rsyslog_receives_over_tls() {
    receives_over_tls(rsyslog::receiver, ClientCertificate::NotAsked);
}

#[test]
fn rsyslog_receives_from_a_client_with_certificate() {
    receives_over_tls(rsyslog::receiver, ClientCertificate::Required);
}

#[test]
fn syslog_ng_receives_over_tls() {
    receives_over_tls(syslog_ng::receiver, ClientCertificate::NotAsked);
}

#[test]
fn syslog_ng_receives_from_a_client_with_certificate() {
    receives_over_tls(syslog_ng::receiver, ClientCertificate::Required);
}

#[test]
fn senders_deliver_over_tls_to_each_other() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path());
    let transport = Transport::Tls { pki: &pki, client_certificate: ClientCertificate::Required };
    for (name, start_receiver, start_sender) in [
        ("rsyslog", rsyslog::receiver as fn(&_, Transport<'_>) -> _, syslog_ng::sender as fn(&_, &_, u16) -> _),
        ("syslog-ng", syslog_ng::receiver, rsyslog::sender),
    ] {
        let (near, far) = (folder.path().join(format!("{name}-near")), folder.path().join(format!("{name}-far")));
        std::fs::create_dir_all(&near).unwrap();
        std::fs::create_dir_all(&far).unwrap();
        let receiver = start_receiver(&far, transport);
        let sender = start_sender(&near, &pki, receiver.port);
        sender.log("<13>Nov 21 09:05:11 app[7]: one message");
        receiver.received.wait_for("the message", WITHIN, |line| line.contains("one message"));
    }
}

#[test]
fn an_engine_runs_a_container_and_tells_of_it() {
    if peers_are_off() {
        return;
    }
    let engine = docker::engine();
    assert_eq!(engine.run(&["--rm", "--name", "harness"], &["echo", "from inside"]), "from inside");
    let mut events = engine.command(&["events", "--since", "10m", "--filter", "container=harness"]);
    let events = Process::start("docker events", &mut events);
    events.wait_for("the start", WITHIN, |line| line.contains("container start").then_some(()));
}

#[test]
fn radosgw_locks_objects_and_moto_knows_conditional_writes() {
    if peers_are_off() {
        return;
    }
    for server in [s3::radosgw(), s3::moto()] {
        server.create_bucket("harness");
        server.put("harness", "a/b.txt", b"content").unwrap();
        let objects = server.objects("harness");
        assert_eq!((objects[0].key.as_str(), objects[0].body.as_slice()), ("a/b.txt", b"content".as_slice()));
        assert_eq!(server.objects("harness").len(), 1);

        server.create_locked_bucket("locked");
        server.put("locked", "evidence", b"kept").unwrap();
        assert_eq!(server.version_count("locked"), 1);
    }
    let refusal = s3::radosgw().delete_version("locked", "evidence").unwrap_err();
    assert!(refusal.contains("AccessDenied"), "{refusal}");
}
