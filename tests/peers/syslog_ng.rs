//! Debian's syslog-ng as a peer: receiver over TCP or TLS, and sender over TLS. It runs from a
//! folder, because its package and rsyslog's exclude each other.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::peers_are_off;
use crate::rsyslog::connect;
use crate::support::gateway::Gateway;
use crate::support::peers_folder;
use crate::support::pki::{Identity, Pki};
use crate::support::process::{Process, eventually, free_port};
use crate::syslog_peer::{ClientCertificate, Receiver, Sender, Transport};

/// Starts a syslog-ng that listens and writes down what it gets.
pub fn receiver(folder: &Path, transport: Transport<'_>) -> Receiver {
    receiver_at(folder, transport, free_port())
}

/// The same on that port.
pub fn receiver_at(folder: &Path, transport: Transport<'_>, port: u16) -> Receiver {
    let transport = match transport {
        Transport::Tcp => r#"transport("tcp")"#.to_owned(),
        Transport::Tls { pki, client_certificate } => {
            let verify = match client_certificate {
                ClientCertificate::Required => "required-trusted",
                ClientCertificate::NotAsked => "optional-untrusted",
            };
            format!(r#"transport("tls") {}"#, tls(pki, &pki.server, verify))
        }
    };
    let config = format!(
        r#"@version: 3.38
options {{ keep-hostname(yes); log-msg-size(262144); }};
source incoming {{ syslog(ip("127.0.0.1") port({port}) {transport} flags(store-raw-message)); }};
destination raw {{ file("{folder}/raw.log" template("${{RAWMSG}}\n")); }};
destination parsed {{ file("{folder}/parsed.log" template("$(format-json --scope none
    pri=$PRI time=$ISODATE host=$HOST app=$PROGRAM procid=$PID msgid=$MSGID msg=$MESSAGE)\n")); }};
log {{ source(incoming); destination(raw); destination(parsed); }};
"#,
        folder = folder.display(),
    );
    let process = start(folder, "syslog-ng-receiver", &config);
    process.wait_for_port(port, Duration::from_secs(60));
    Receiver::new(process, port, folder)
}

/// Starts a syslog-ng that takes messages from a unix socket and sends them on over TLS (RFC 5425),
/// showing its client certificate.
pub fn sender(folder: &Path, pki: &Pki, port: u16) -> Sender {
    let socket = folder.join("log.sock");
    let config = format!(
        r#"@version: 3.38
options {{ keep-hostname(yes); time-reopen(1); log-msg-size(65536); }};
source local {{ unix-dgram("{socket}"); }};
destination gateway {{ syslog("localhost" port({port}) transport("tls") {tls}); }};
log {{ source(local); destination(gateway); flags(flow-control); }};
"#,
        socket = socket.display(),
        tls = tls(pki, &pki.client, "required-trusted"),
    );
    let process = start(folder, "syslog-ng-sender", &config);
    Sender::new(process, connect(&socket))
}

fn tls(pki: &Pki, identity: &Identity, verify: &str) -> String {
    format!(
        r#"tls(ca-file("{}") cert-file("{}") key-file("{}") peer-verify({verify}))"#,
        pki.authority.display(),
        identity.certificate.display(),
        identity.key.display()
    )
}

fn start(folder: &Path, name: &str, config: &str) -> Process {
    let file = folder.join("syslog-ng.conf");
    fs::write(&file, config).expect("write syslog-ng.conf");
    let root = peers_folder().join("syslog-ng");
    let mut command = Command::new(root.join("usr/sbin/syslog-ng"));
    command
        .env("LD_LIBRARY_PATH", root.join("usr/lib/syslog-ng"))
        .args(["-F", "--no-caps", "--stderr"])
        .arg(format!("--module-path={}", root.join("usr/lib/syslog-ng/3.38").display()))
        .arg("-f")
        .arg(&file)
        .arg("-p")
        .arg(folder.join("syslog-ng.pid"))
        .arg("-R")
        .arg(folder.join("syslog-ng.persist"))
        .arg("-c")
        .arg(folder.join("syslog-ng.ctl"));
    Process::start(name, &mut command)
}

/// Two receivers over plain TCP: when the preferred one goes the other takes over, and nothing is missing when it is
/// back.
#[test]
fn another_syslog_ng_takes_over() {
    if peers_are_off() {
        return;
    }
    const WITHIN: Duration = Duration::from_secs(60);
    const HALF: usize = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let there = |name: &str| {
        let folder = folder.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    };
    let (one, two) = (receiver(&there("one"), Transport::Tcp), receiver(&there("two"), Transport::Tcp));
    let config = format!(
        "sources:\n  in: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n  siem:\n    type: syslog\n    \
         address: 127.0.0.1:{}\n    addresses: [\"127.0.0.1:{}\"]\n    framing: octet_counting\n    \
         when: app == \"wharf-app\"\n",
        one.port, two.port
    );
    let gateway = Gateway::start(folder.path(), &config);
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    let mut send = |number: usize| {
        writeln!(stream, "<134>1 2026-11-21T09:05:11Z far-host wharf-app 42 ID - message {number} of many").unwrap();
    };
    let arrived = |name: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(folder.path().join(name).join("raw.log")).unwrap_or_default();
        let message = |line: &str| Some(line.split_once(" message ")?.1.split_once(" of many")?.0.to_owned());
        text.lines().filter_map(message).collect()
    };
    let numbers = |range: std::ops::Range<usize>| range.map(|number| number.to_string()).collect::<BTreeSet<_>>();
    (0..HALF).for_each(&mut send);
    eventually("the first half", WITHIN, || (arrived("one") == numbers(0..HALF)).then_some(()));
    assert!(arrived("two").is_empty(), "the second is for the worse");
    let port = one.port;
    one.terminate();
    (HALF..2 * HALF).for_each(&mut send);
    eventually("the second half", WITHIN, || numbers(HALF..2 * HALF).is_subset(&arrived("two")).then_some(()));

    // Back again after ten seconds, without a word from anybody.
    let _back = receiver_at(&there("one"), Transport::Tcp, port);
    let mut number = 2 * HALF;
    let had = arrived("one").len();
    eventually("the first one has something new", WITHIN, || {
        send(number);
        number += 1;
        (arrived("one").len() > had).then_some(())
    });
    let all = numbers(0..number);
    eventually("everything at one of them", WITHIN, || (&arrived("one") | &arrived("two")).eq(&all).then_some(()));
    gateway.stop();
}
