//! Debian's syslog-ng as a peer: receiver over TCP or TLS, and sender over TLS. It runs from a
//! folder, because its package and rsyslog's exclude each other.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::rsyslog::connect;
use crate::support::peers_folder;
use crate::support::pki::{Identity, Pki};
use crate::support::process::{Process, free_port};
use crate::syslog_peer::{ClientCertificate, Receiver, Sender, Transport};

/// Starts a syslog-ng that listens and writes down what it gets.
pub fn receiver(folder: &Path, transport: Transport<'_>) -> Receiver {
    let port = free_port();
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
    process.wait_for_port(port, Duration::from_secs(10));
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
