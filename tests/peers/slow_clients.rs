//! Very many clients that send a byte at a time: what they cost is bounded, nobody else waits for them, and what they
//! send in the end is there.
//!
//! `WHARFINGER_SLOW_CLIENTS=10000` says how many; each costs a handshake or a connection on both ends, so an ordinary run has
//! fewer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::gateway::Gateway;
use crate::support::lines::{SinkFile, text};
use crate::support::pki::Pki;
use crate::support::process::eventually;

const WITHIN: Duration = Duration::from_secs(120);

/// Of an ordinary run.
const CLIENTS: usize = 1_500;

/// What a client may cost the gateway.
const KIB_EACH: usize = 64;

/// The head of a request that never ends.
const HEAD: &str = "POST /services/collector HTTP/1.1\r\nAuthorization: Splunk t\r\nX-Slow: ";

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A client, and what it has to say.
struct Client {
    wire: Box<dyn Wire>,
    says: Vec<u8>,
}

/// Both ends have so many files open.
fn raise_limit(clients: usize) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let files = limit.maximum.unwrap_or(u64::MAX);
    assert!(files > clients as u64 + 200, "{clients} clients need more than {files} open files: raise `ulimit -Hn`");
}

async fn connect(number: usize, to: SocketAddr, tls: Option<&TlsConnector>, says: String) -> Client {
    let tcp = TcpStream::connect(to).await.unwrap_or_else(|error| panic!("client {number}: {error}"));
    tcp.set_nodelay(true).unwrap();
    let wire: Box<dyn Wire> = match tls {
        None => Box::new(tcp),
        Some(tls) => Box::new(tls.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()),
    };
    Client { wire, says: says.into_bytes() }
}

fn line(of: &str) -> String {
    format!("<13>1 2026-11-21T09:05:11Z h app - - - {of}\n")
}

/// Sends the bytes from `from` to `to` of everybody, one of each at a time. Whoever does not get on with a request may
/// have been shown out by then.
async fn drip(clients: &mut [Client], from: usize, to: usize) {
    for at in from..to {
        for (number, Client { wire, says }) in clients.iter_mut().enumerate() {
            let Some(byte) = says.get(at) else { continue };
            let sent = match wire.write_all(&[*byte]).await {
                Ok(()) => wire.flush().await,
                Err(error) => Err(error),
            };
            assert!(sent.is_ok() || number % 3 == 2, "client {number}: {sent:?}");
        }
    }
}

#[test]
fn very_many_slow_clients_hold_up_nobody() {
    let count = std::env::var("WHARFINGER_SLOW_CLIENTS").map_or(CLIENTS, |count| count.parse().expect("a number"));
    raise_limit(count);
    let folder = tempfile::tempdir().unwrap();
    let (pki, file) = (Pki::create(folder.path()), SinkFile::in_folder(folder.path()));
    let limits =
        format!("address: \"127.0.0.1:0\", connection_limit: {0}, connection_limit_per_address: {0}", count + 10);
    let tls = format!("tls: {{certificate: {}, key: {}}}", pki.server.certificate.display(), pki.server.key.display());
    let config = format!(
        "sources:\n  plain: {{type: syslog, mode: tcp, {limits}}}\n  secure: {{type: syslog, mode: tcp, {limits}, {tls}}}\n  \
         web: {{type: hec, token: t, {limits}}}\nsinks:\n{}",
        file.config()
    );
    let gateway = Gateway::start(folder.path(), &config);
    let to = [("plain", "tcp"), ("secure", "tls"), ("web", "http")].map(|(name, kind)| gateway.address(name, kind));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&pki.authority).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let tls = TlsConnector::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = |number: usize, says: Option<&str>| {
        let says = match (number % 3, says) {
            (2, None) => HEAD.to_owned(),
            (2, Some(says)) => format!(
                "POST /services/collector HTTP/1.1\r\nAuthorization: Splunk t\r\nHost: x\r\nContent-Length: {}\r\n\r\n{{\"event\":\"{says}\"}}",
                says.len() + 12
            ),
            (_, says) => line(&says.map_or_else(|| format!("slow {number}"), str::to_owned)),
        };
        connect(number, to[number % 3], (number % 3 == 1).then_some(&tls), says)
    };
    let before = gateway.process().rss_kib();
    let mut clients: Vec<Client> =
        runtime.block_on(stream::iter(0..count).map(|number| client(number, None)).buffered(64).collect());
    let half = line("").len();
    runtime.block_on(drip(&mut clients, 0, half));

    // All of them are in the middle of something, and whoever comes now is served.
    let good: Vec<String> = (0..3).map(|number| format!("good {number}")).collect();
    runtime.block_on(async {
        for (number, says) in good.iter().enumerate() {
            let Client { mut wire, says } = client(number, Some(says)).await;
            wire.write_all(&says).await.unwrap();
            wire.flush().await.unwrap();
            if number % 3 == 2 {
                let mut answer = [0; 15];
                wire.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"HTTP/1.1 200 OK");
            }
        }
    });
    let events = file.wait_for(3, WITHIN, |event| text(event, "msg").starts_with("good"));
    let mut served: Vec<&str> = events.iter().map(|event| text(event, "msg")).collect();
    served.sort_unstable();
    assert_eq!(served, good);
    let each = gateway.process().rss_kib().saturating_sub(before) / count;
    println!("{count} slow clients: {each} KiB each, {before} KiB before");
    assert!(each <= KIB_EACH, "{each} KiB for each client");
    assert!(file.events().iter().all(|event| !text(event, "msg").starts_with("slow")), "none of them is at its end");

    // What they send in the end is there, once; a request that does not get on is shown out.
    runtime.block_on(drip(&mut clients, half, half + 20));
    let slow = count - count / 3;
    let events = file.wait_for(slow, WITHIN, |event| text(event, "msg").starts_with("slow"));
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    events.iter().for_each(|event| *found.entry(text(event, "msg")).or_default() += 1);
    let expected = (0..count).filter(|number| number % 3 < 2);
    assert!(expected.clone().all(|number| found.get(format!("slow {number}").as_str()) == Some(&1)), "{found:?}");
    assert_eq!(found.len(), expected.count());
    let mut left: Vec<Client> =
        clients.into_iter().enumerate().filter(|(at, _)| at % 3 == 2).map(|(_, one)| one).collect();
    eventually("requests without end are shown out", WITHIN, || {
        runtime.block_on(async {
            let mut still = Vec::new();
            for mut client in left.drain(..) {
                if client.wire.write_all(b"x").await.is_ok() {
                    still.push(client);
                }
            }
            left = still;
        });
        left.is_empty().then_some(())
    });
    gateway.stop();
    assert_eq!(file.events().iter().filter(|event| text(event, "source") == "web").count(), 1);
}
