//! All sinks at once, each behind a network that breaks, and one of them dead for the whole run: the accounts are
//! exact at every look, nothing is lost, what may not come twice does not, and nobody waits for the others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::relp::imrelp;
use crate::support::chaos::{Chaos, ONE_WIRE, OTHER_WIRE, STORE, WEB, WIRE};
use crate::support::gateway::Gateway;
use crate::support::hec_server::{Dialect, HecServer, Index, TOKEN};
use crate::support::lines::SinkFile;
use crate::support::pki::{Identity, Pki};
use crate::support::process::{eventually, free_port};
use crate::support::web_server::WebServer;
use crate::syslog_peer::{ClientCertificate, Transport};
use crate::{peers_are_off, rsyslog, s3, syslog_ng};

const WITHIN: Duration = Duration::from_secs(120);
const SEED: u64 = 0x5EED_0006;

/// The status page, after checking that its numbers agree.
fn status(gateway: &Gateway) -> Option<Value> {
    let page: Value = serde_json::from_str(&gateway.get("/api/status")?.1).unwrap();
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{name} in {row}"));
    for row in page["sinks"].as_array().unwrap() {
        let parts = ["delivered", "filtered", "quarantined", "lost", "queued"].map(|name| number(row, name));
        assert_eq!(number(row, "received"), parts.iter().sum::<u64>(), "{row}");
        assert_eq!((&row["unaccounted"], &row["lost"]), (&Value::from(0), &Value::from(0)), "{row}");
    }
    Some(page)
}

fn sink<'p>(page: &'p Value, name: &str) -> &'p Value {
    page["sinks"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()
}

/// The number that a message of ours has, wherever it stands in a line.
fn number(line: &str) -> Option<usize> {
    let rest = line.split_once("chaos box ")?.1;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// How often each number came.
fn numbers<'l>(lines: impl IntoIterator<Item = &'l str>) -> BTreeMap<usize, usize> {
    let mut numbers = BTreeMap::new();
    lines.into_iter().filter_map(number).for_each(|number| *numbers.entry(number).or_default() += 1);
    numbers
}

fn text_of(events: impl IntoIterator<Item = Value>) -> Vec<String> {
    events.into_iter().map(|event| event.to_string()).collect()
}

/// Lines of all objects of a bucket, without those that are no lines.
fn lines_in(server: &s3::Server, bucket: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for object in server.objects(bucket) {
        let body = match object.key.rsplit('.').next() {
            Some("zst") => zstd::decode_all(object.body.as_slice()).unwrap(),
            Some("ndjson") => object.body,
            _ => continue,
        };
        lines.extend(String::from_utf8(body).unwrap().lines().map(str::to_owned));
    }
    lines
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[test]
fn every_sink_behind_a_broken_network_and_one_dead() {
    if peers_are_off() {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let there = |name: &str| {
        let folder = folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    };
    let pki = Pki::create(folder.path());
    let tls = Transport::Tls { pki: &pki, client_certificate: ClientCertificate::NotAsked };
    let (plain, secure) = (syslog_ng::receiver(&there("tcp"), Transport::Tcp), rsyslog::receiver(&there("tls"), tls));
    let relp_port = free_port();
    let _relp = imrelp(&there("relp"), relp_port);
    let hec = runtime.block_on(HecServer::start(Dialect { acks: true, ..Dialect::default() }));
    let web = runtime.block_on(WebServer::start(|_| (200, String::new())));
    let moto = s3::moto();
    moto.create_bucket("chaos-lake");
    moto.create_bucket("chaos-audit");
    let store: SocketAddr = moto.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    let dead = free_port();

    let mut seeds = SEED..;
    let mut before = |to: SocketAddr, faults| Chaos::before(to, faults, seeds.next().unwrap());
    let (tcp, tls, relp) =
        (before(local(plain.port), ONE_WIRE), before(local(secure.port), OTHER_WIRE), before(local(relp_port), WIRE));
    let (splunk, http) = (before(hec.address, WEB), before(web.address, WEB));
    let (lake, audit) = (before(store, STORE), before(store, STORE));
    let file = SinkFile::in_folder(folder.path());
    let keys = format!("access_key_id: {}, secret_access_key: {}", s3::ACCESS_KEY, s3::SECRET_KEY);
    // What a middle has taken and not handed on counts as sent: the window must be longer than it keeps anything.
    let window = "resend_age: 10s, resend_window: 4MiB";
    let config = format!(
        "sources:\n  in: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n{}  \
         tcp: {{type: syslog, address: \"{}\", framing: octet_counting, {window}}}\n  \
         tls: {{type: syslog, address: \"localhost:{}\", tls: {{ca: {}}}, {window}}}\n  \
         relp: {{type: syslog, mode: relp, address: \"{}\", format: raw, header: none}}\n  \
         splunk: {{type: splunk_hec, endpoint: \"http://{}\", token: {TOKEN}, ack: \"on\", ack_timeout: 10s, timeout: 5s}}\n  \
         http: {{type: http, url: \"http://{}/\", format: json, timeout: 5s}}\n  \
         lake: {{type: s3, bucket: chaos-lake, endpoint: \"http://{}\", {keys}, compression: none, max_age: 200ms, timeout: 5s}}\n  \
         audit: {{type: archive, max_age: 200ms, s3: {{bucket: chaos-audit, endpoint: \"http://{}\", {keys}, timeout: 5s}}}}\n  \
         dead: {{type: syslog, address: \"127.0.0.1:{dead}\", format: json, header: none}}\n",
        file.config(),
        tcp.address,
        tls.address.port(),
        pki.authority.display(),
        relp.address,
        splunk.address,
        http.address,
        lake.address,
        audit.address,
    );
    let gateway = Gateway::start(folder.path(), &config);
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    let all = [
        ("tcp", &tcp),
        ("tls", &tls),
        ("relp", &relp),
        ("splunk", &splunk),
        ("http", &http),
        ("lake", &lake),
        ("audit", &audit),
    ];
    let mut sent = 0;
    eventually("every fault before every sink", WITHIN, || {
        for _ in 0..5 {
            let fill = "=".repeat(100 + sent % 400);
            writeln!(stream, "<134>1 2026-11-21T09:05:11Z far-host wharf-app 42 ID - chaos box {sent} {fill}").unwrap();
            sent += 1;
        }
        status(&gateway).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        all.iter().all(|(_, chaos)| chaos.met().len() == chaos.kinds()).then_some(())
    });
    // While everything else is broken or dead, one that works has all of it.
    let at_file = || numbers(text_of(file.events()).iter().map(String::as_str));
    eventually("the file has everything", WITHIN, || (at_file().len() == sent).then_some(()));
    let page = status(&gateway).unwrap();
    assert_eq!((&sink(&page, "dead")["delivered"], &sink(&page, "out")["quarantined"]), (&0.into(), &0.into()));
    assert!(sink(&page, "dead")["queued"].as_u64().unwrap() >= sent as u64);

    all.iter().for_each(|(_, chaos)| chaos.calm());
    let revived = TcpListener::bind(local(dead)).unwrap();
    let drained =
        |page: &Value| page["sinks"].as_array().unwrap().iter().all(|row| row["queued"] == 0 || row["name"] == "dead");
    eventually("all but the dead one have delivered", WITHIN, || status(&gateway).filter(drained));
    // It comes to life, and has waited for nobody either.
    let collected = std::thread::spawn(move || {
        let (stream, _) = revived.accept().unwrap();
        std::io::BufRead::lines(std::io::BufReader::new(stream)).map_while(Result::ok).collect::<Vec<_>>()
    });
    let page = eventually("the dead one, too", WITHIN, || {
        status(&gateway).filter(|page| page["sinks"].as_array().unwrap().iter().all(|row| row["queued"] == 0))
    });
    gateway.stop();

    let wanted: BTreeSet<usize> = (0..sent).collect();
    let raw = |name: &str| std::fs::read_to_string(folder.path().join(name).join("raw.log")).unwrap_or_default();
    let posted = web.lines();
    let (at_hec, at_dead) = (text_of(hec.taken()), collected.join().unwrap());
    let quarantined = |name: &str| quarantine(folder.path(), name);
    for (name, lines) in [
        ("tcp", raw("tcp").lines().map(str::to_owned).collect::<Vec<_>>()),
        ("tls", raw("tls").lines().map(str::to_owned).collect()),
        ("relp", raw("relp").lines().map(str::to_owned).collect()),
        ("splunk", at_hec),
        ("http", posted),
        ("lake", lines_in(&moto, "chaos-lake")),
        ("audit", lines_in(&moto, "chaos-audit")),
        ("dead", at_dead),
    ] {
        let found = numbers(lines.iter().map(String::as_str));
        let refused = quarantined(name);
        let missing: Vec<_> =
            wanted.iter().filter(|number| !found.contains_key(number) && !refused.contains(number)).collect();
        assert!(missing.is_empty(), "{name} lacks {missing:?} of {sent}");
        // A network that answers 413 to one event alone makes it look too large; nothing else refuses here.
        assert_eq!(sink(&page, name)["quarantined"], refused.len(), "{name}");
        assert!(refused.is_empty() || ["splunk", "http"].contains(&name), "{name}: {refused:?}");
        let twice = found.values().filter(|count| **count > 1).count();
        // An object is written once, and the one who was dead was never in doubt.
        assert!(twice == 0 || !["lake", "audit", "dead"].contains(&name), "{name}: {twice} came twice");
        println!("{name}: {} of {sent}, {twice} more than once, {} refused", found.len(), refused.len());
    }
    assert!(at_file().values().all(|count| *count == 1));
    for (name, chaos) in all {
        println!("{name}: {:?}", chaos.met());
    }
}

/// A collector that takes everything and acknowledges nothing: it is sent again and again, none of it counts, nobody
/// else waits, and once it acknowledges all of it does.
#[test]
fn acknowledgements_that_never_come() {
    const ONE_AFTER_THE_OTHER: usize = 50;
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hec = runtime.block_on(HecServer::start(Dialect { acks: true, ..Dialect::default() }));
    let web = runtime.block_on(WebServer::start(|_| (200, String::new())));
    hec.index(Index::Waits);
    let file = SinkFile::in_folder(folder.path());
    let gateway = Gateway::start(
        folder.path(),
        &format!(
            "sources:\n  in: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n{}  \
             http: {{type: http, url: \"{}\", format: json}}\n  \
             splunk: {{type: splunk_hec, endpoint: \"{}\", token: {TOKEN}, ack: \"on\", ack_timeout: 10s, max_events: 20}}\n",
            file.config(),
            web.url(),
            hec.url()
        ),
    );
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    let times = || numbers(text_of(hec.taken()).iter().map(String::as_str));
    let mut sent = 0;
    // Each round is behind one in which all that came before was sent once more, in vain.
    for round in 1..=2 {
        for _ in 0..ONE_AFTER_THE_OTHER {
            writeln!(stream, "<134>1 2026-11-21T09:05:11Z far-host wharf-app 42 ID - chaos box {sent} x").unwrap();
            sent += 1;
        }
        eventually(&format!("everybody else has round {round}"), WITHIN, || {
            let page = status(&gateway).unwrap();
            let others = ["out", "http"].map(|name| sink(&page, name));
            let taken = page["sources"].as_array().unwrap().iter().find(|row| row["name"] == "in").unwrap();
            (taken["received"] == sent && others.iter().all(|row| row["queued"] == 0)).then_some(())
        });
        let (at_file, posted) = (text_of(file.events()), web.lines());
        for lines in [at_file, posted] {
            let found = numbers(lines.iter().map(String::as_str));
            assert!((0..sent).all(|number| found.get(&number) == Some(&1)), "{found:?}");
        }
        let before = times();
        let once_more = |(number, count): (&usize, &usize)| before.get(number).is_none_or(|before| count > before);
        eventually(&format!("round {round} again"), WITHIN, || {
            let row = sink(&status(&gateway).unwrap(), "splunk").clone();
            assert_eq!((&row["delivered"], &row["quarantined"]), (&0.into(), &0.into()), "{row}");
            assert_eq!(row["queued"], row["received"], "{row}");
            let now = times();
            (now.len() == sent && now.iter().all(once_more)).then_some(())
        });
    }
    assert!(hec.channels() > 1, "whoever is not answered asks through another channel");
    hec.index(Index::Works);
    eventually("all is indexed", WITHIN, || {
        let row = sink(&status(&gateway).unwrap(), "splunk").clone();
        assert_eq!(row["quarantined"], 0, "{row}");
        (row["queued"] == 0 && row["delivered"] == row["received"]).then_some(())
    });
    gateway.stop();
    let found = times();
    assert!((0..sent).all(|number| found.contains_key(&number)), "{found:?}");
    println!("acknowledged at last: {sent}, each sent {:?} to {:?} times", found.values().min(), found.values().max());
}

/// Takes connections over TLS for as long as the test runs.
fn secured(identity: &Identity) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(&identity.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let config = Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut session) = (stream.unwrap(), ServerConnection::new(Arc::clone(&config)).unwrap());
            while session.is_handshaking() && session.complete_io(&mut stream).is_ok() {}
            // Who trusts it against all expectation hears of success.
            let _ = session.writer().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            let _ = session.complete_io(&mut stream);
        }
    });
    port
}

/// A receiver whose certificate is of another name or too old, or whose name nobody knows, gets nothing; everything
/// waits for it, the log says why, and who can be reached has everything.
#[test]
fn who_cannot_be_trusted_or_found_gets_nothing() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path());
    let refused = |name: &str, is_expired| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        secured(&pki.refused_server(&folder, is_expired))
    };
    let ca = format!("tls: {{ca: {}}}", pki.authority.display());
    let mut sinks = Vec::new();
    let keys = format!("bucket: b, access_key_id: {}, secret_access_key: {}", s3::ACCESS_KEY, s3::SECRET_KEY);
    for (kind, host, secure) in [
        ("expired", format!("localhost:{}", refused("expired", true)), true),
        ("misnamed", format!("localhost:{}", refused("misnamed", false)), true),
        ("unknown", "no-such-host.invalid:6514".to_owned(), false),
    ] {
        let (scheme, tls) = if secure { ("https", ca.as_str()) } else { ("http", "") };
        let tls = if tls.is_empty() { String::new() } else { format!(", {tls}") };
        for (name, options) in [
            ("syslog", format!("type: syslog, address: \"{host}\"{tls}")),
            ("relp", format!("type: syslog, mode: relp, address: \"{host}\"{tls}")),
            ("hec", format!("type: splunk_hec, endpoint: \"{scheme}://{host}\", token: {TOKEN}{tls}")),
            ("http", format!("type: http, url: \"{scheme}://{host}/\"{tls}")),
            ("s3", format!("type: s3, endpoint: \"{scheme}://{host}\", {keys}, max_age: 100ms{tls}")),
            ("archive", format!("type: archive, max_age: 100ms, s3: {{endpoint: \"{scheme}://{host}\", {keys}{tls}}}")),
        ] {
            sinks.push((format!("{name}-{kind}"), kind, options));
        }
    }
    let file = SinkFile::in_folder(folder.path());
    let config: String = sinks.iter().map(|(name, _, options)| format!("  {name}: {{{options}}}\n")).collect();
    let source = "sources:\n  in: {type: syslog, mode: tcp, address: 127.0.0.1:0}\nsinks:\n";
    let gateway = Gateway::start(folder.path(), &format!("{source}{}{config}", file.config()));
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    for number in 0..100 {
        writeln!(stream, "<134>1 2026-11-21T09:05:11Z far-host wharf-app 42 ID - chaos box {number} x").unwrap();
    }
    let events = file.wait_for(100, WITHIN, |event| event["app"] == "wharf-app");
    assert_eq!(events.len(), 100);
    for (name, kind, _) in &sinks {
        let reason = match *kind {
            "expired" => "expired",
            "misnamed" => "not valid for name",
            _ => "lookup address",
        };
        eventually(&format!("{name}: {reason}"), WITHIN, || {
            let lines = gateway.process().lines();
            let of_sink = |line: &&String| line.contains(name) && line.to_lowercase().contains(reason);
            lines.iter().find(of_sink).map(|_| ())
        });
    }
    let page = status(&gateway).unwrap();
    for (name, ..) in &sinks {
        let row = sink(&page, name);
        assert_eq!((&row["delivered"], &row["quarantined"]), (&0.into(), &0.into()), "{row}");
        assert_eq!(row["queued"], row["received"], "{row}");
    }
    gateway.stop();
}

/// The numbers of what a sink has put into quarantine.
fn quarantine(folder: &Path, sink: &str) -> BTreeSet<usize> {
    let path = folder.join("data/quarantine").join(format!("{sink}.ndjson"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| {
            let entry: Value = serde_json::from_str(line).unwrap();
            let raw = STANDARD.decode(entry["raw"].as_str().unwrap()).unwrap();
            number(&String::from_utf8_lossy(&raw)).unwrap_or_else(|| panic!("not one of ours: {entry}"))
        })
        .collect()
}
