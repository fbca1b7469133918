//! Debian's rsyslog as a peer: receiver over TCP or TLS, and sender over TLS.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::pki::Pki;
use crate::support::process::{Process, eventually, free_port};
use crate::syslog_peer::{ClientCertificate, Receiver, Sender, Transport};

/// Starts an rsyslog that listens and writes down what it gets.
pub fn receiver(folder: &Path, transport: Transport<'_>) -> Receiver {
    let port = free_port();
    let (driver, certificates) = match transport {
        Transport::Tcp => (String::new(), String::new()),
        Transport::Tls { pki, client_certificate } => {
            let mode = match client_certificate {
                ClientCertificate::Required => "x509/certvalid",
                ClientCertificate::NotAsked => "anon",
            };
            (
                format!(r#" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="{mode}""#),
                certificates(pki, &pki.server.certificate, &pki.server.key),
            )
        }
    };
    // `%rawmsg%` is what arrived; the second file is what rsyslog's own parser made of it.
    let config = format!(
        r#"
global(workDirectory="{folder}" maxMessageSize="256k" {certificates})
module(load="imtcp"{driver})
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="raw" type="string" string="%rawmsg%\n")
template(name="parsed" type="list" option.jsonf="on") {{
    property(outname="pri" name="pri" format="jsonf")
    property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
    property(outname="host" name="hostname" format="jsonf")
    property(outname="app" name="app-name" format="jsonf")
    property(outname="procid" name="procid" format="jsonf")
    property(outname="msgid" name="msgid" format="jsonf")
    property(outname="msg" name="msg" format="jsonf")
}}
action(type="omfile" file="{folder}/raw.log" template="raw")
action(type="omfile" file="{folder}/parsed.log" template="parsed")
"#,
        folder = folder.display(),
    );
    let process = start(folder, "rsyslog-receiver", &config);
    process.wait_for_port(port, Duration::from_secs(60));
    Receiver::new(process, port, folder)
}

/// Starts an rsyslog that takes messages from a unix socket and sends them on over TLS, as RFC 5424
/// in octet counted frames, showing its client certificate.
pub fn sender(folder: &Path, pki: &Pki, port: u16) -> Sender {
    let socket = folder.join("log.sock");
    let config = format!(
        r#"
global(workDirectory="{folder}" maxMessageSize="64k" {certificates})
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{socket}" CreatePath="off" RateLimit.Interval="0" UseSpecialParser="off")
action(type="omfwd" target="localhost" port="{port}" protocol="tcp" TCP_Framing="octet-counted"
    template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1" action.resumeInterval="1"
    StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost")
"#,
        folder = folder.display(),
        socket = socket.display(),
        certificates = certificates(pki, &pki.client.certificate, &pki.client.key),
    );
    let process = start(folder, "rsyslog-sender", &config);
    Sender::new(process, connect(&socket))
}

/// Starts an rsyslog with that configuration.
pub fn start(folder: &Path, name: &str, config: &str) -> Process {
    let file = folder.join("rsyslog.conf");
    fs::write(&file, config).expect("write rsyslog.conf");
    let mut command = Command::new("rsyslogd");
    command.arg("-n").arg("-f").arg(&file).arg("-i").arg(folder.join("rsyslog.pid"));
    Process::start(name, &mut command)
}

fn certificates(pki: &Pki, certificate: &Path, key: &Path) -> String {
    format!(
        r#"defaultNetstreamDriverCAFile="{}" defaultNetstreamDriverCertFile="{}" defaultNetstreamDriverKeyFile="{}""#,
        pki.authority.display(),
        certificate.display(),
        key.display()
    )
}

/// Connects to the unix datagram socket of a sender that is starting.
pub fn connect(path: &PathBuf) -> UnixDatagram {
    let socket = UnixDatagram::unbound().expect("unix socket");
    eventually(&format!("a sender listens on {}", path.display()), Duration::from_secs(60), || {
        socket.connect(path).ok()
    });
    socket
}
