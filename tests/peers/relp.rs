//! RELP between the gateway and rsyslog, in both directions, while one of them is killed or ended: what was
//! answered is there, and what was not comes again.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::peers_are_off;
use crate::rsyslog::{connect, start};
use crate::support::gateway::Gateway;
use crate::support::lines::{SinkFile, text};
use crate::support::pki::{CLIENT_NAME, Pki};
use crate::support::process::{Process, eventually, free_port};
use crate::syslog_peer::Sender;

const WITHIN: Duration = Duration::from_secs(60);
const MESSAGES: usize = 2_000;

/// An rsyslog that takes messages from a unix socket and sends them on with omrelp over mutual TLS.
fn omrelp(folder: &Path, pki: &Pki, port: u16) -> Sender {
    let socket = folder.join("log.sock");
    let config = format!(
        r#"
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
module(load="omrelp")
input(type="imuxsock" Socket="{socket}" CreatePath="off" RateLimit.Interval="0" UseSpecialParser="off")
action(type="omrelp" target="localhost" port="{port}" template="RSYSLOG_SyslogProtocol23Format"
    action.resumeRetryCount="-1" action.resumeInterval="1" tls="on" tls.authMode="certvalid"
    tls.caCert="{authority}" tls.myCert="{certificate}" tls.myPrivKey="{key}")
"#,
        folder = folder.display(),
        socket = socket.display(),
        authority = pki.authority.display(),
        certificate = pki.client.certificate.display(),
        key = pki.client.key.display(),
    );
    let process = start(folder, "rsyslog-omrelp", &config);
    Sender::new(process, connect(&socket))
}

/// An rsyslog that listens with imrelp and writes messages into `folder`.
pub fn imrelp(folder: &Path, port: u16) -> Process {
    let config = format!(
        r#"
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imrelp")
input(type="imrelp" address="127.0.0.1" port="{port}" maxDataSize="64k")
template(name="raw" type="string" string="%rawmsg%\n")
action(type="omfile" file="{folder}/raw.log" template="raw")
"#,
        folder = folder.display(),
    );
    let process = start(folder, "rsyslog-imrelp", &config);
    process.wait_for_port(port, Duration::from_secs(60));
    process
}

fn message(number: usize) -> String {
    format!("message {number} of many, with = | \\ and \"quotes\"")
}

/// kill -9 of the gateway: rsyslog sends again what it has no answer for.
#[test]
fn what_omrelp_sends_survives_a_killed_gateway() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path());
    let (out, port) = (SinkFile::in_folder(folder.path()), free_port());
    let config = format!(
        "sources:\n  in:\n    type: syslog\n    mode: relp\n    address: 127.0.0.1:{port}\n    tls:\n      \
         certificate: {certificate}\n      key: {key}\n      client_ca: {ca}\nsinks:\n{sink}",
        certificate = pki.server.certificate.display(),
        key = pki.server.key.display(),
        ca = pki.authority.display(),
        sink = out.config(),
    );
    let mut gateway = Gateway::start(folder.path(), &config);
    assert_eq!(gateway.port("in", "relp"), port);
    let sender = omrelp(folder.path(), &pki, port);
    let ours = |event: &serde_json::Value| text(event, "app") == "wharf-app";
    for number in 0..MESSAGES {
        sender.log(&format!("<28>Nov 21 09:05:11 wharf-app[42]: {}", message(number)));
        if number % 500 == 250 {
            // Not before some have arrived, so that the kill comes while more are on their way.
            out.wait_for(number / 2, WITHIN, ours);
            gateway = gateway.kill().start();
        }
    }
    let wanted: BTreeSet<String> = (0..MESSAGES).map(message).collect();
    let all = eventually("every message", WITHIN, || {
        let events: Vec<_> = out.events().into_iter().filter(ours).collect();
        let texts: BTreeSet<String> = events.iter().map(|event| text(event, "msg").trim_start().to_owned()).collect();
        (texts == wanted).then_some(events)
    });
    assert!(all.iter().all(|event| text(event, "peer") == CLIENT_NAME && text(event, "process.id") == "42"));
    gateway.stop();
}

/// The receiver goes and comes back: the sink waits, and sends what was not answered.
#[test]
fn imrelp_gets_everything_over_its_own_restarts() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let there = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = format!(
        "sources:\n  in: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n  siem:\n    type: syslog\n    \
         mode: relp\n    address: 127.0.0.1:{port}\n    format: raw\n    header: none\n"
    );
    let gateway = Gateway::start(folder.path(), &config);
    let mut receiver = imrelp(there.path(), port);
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    let line = |number| format!("<134>1 2026-11-21T09:05:11Z far-host wharf-app 42 ID - {}", message(number));
    let arrived = || {
        let text = std::fs::read_to_string(there.path().join("raw.log")).unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains(" wharf-app "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for number in 0..MESSAGES {
        writeln!(stream, "{}", line(number)).unwrap();
        if number % 1_000 == 500 {
            eventually("some have arrived", WITHIN, || (arrived().len() >= number / 2).then_some(()));
            // In order: what rsyslog has answered and not written yet would else be its own loss.
            receiver.terminate(Duration::from_secs(20));
            receiver = imrelp(there.path(), port);
        }
    }
    let wanted: BTreeSet<String> = (0..MESSAGES).map(line).collect();
    eventually("every message", WITHIN, || (arrived().into_iter().collect::<BTreeSet<_>>() == wanted).then_some(()));
    gateway.stop();
    // rsyslog answers in order, so what came twice was under way when it ended.
    assert!(arrived().len() <= MESSAGES + 2 * 2_000, "{}", arrived().len());
}

/// Two receivers: when the preferred one is killed the other one gets what it had not answered, and nothing is
/// missing or counted twice.
#[test]
fn another_imrelp_takes_over() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (free_port(), free_port());
    let config = format!(
        "sources:\n  in: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n  siem:\n    type: syslog\n    \
         mode: relp\n    address: 127.0.0.1:{first}\n    addresses: [\"127.0.0.1:{second}\"]\n    format: raw\n    \
         header: none\n    when: app == \"wharf-app\"\n"
    );
    let (mut preferred, _other) = (imrelp(one.path(), first), imrelp(two.path(), second));
    let gateway = Gateway::start(folder.path(), &config);
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    let line = |number| format!("<134>1 2026-11-21T09:05:11Z far-host wharf-app 42 ID - {}", message(number));
    let arrived = |there: &tempfile::TempDir| {
        let text = std::fs::read_to_string(there.path().join("raw.log")).unwrap_or_default();
        text.lines().filter(|line| line.contains(" wharf-app ")).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let half = MESSAGES / 2;
    (0..half).for_each(|number| writeln!(stream, "{}", line(number)).unwrap());
    eventually("the first half", WITHIN, || (arrived(&one).len() == half).then_some(()));
    assert!(arrived(&two).is_empty(), "the second is for the worse");
    // In order: what rsyslog has answered and not written yet would else be its own loss.
    preferred.terminate(Duration::from_secs(20));
    (half..MESSAGES).for_each(|number| writeln!(stream, "{}", line(number)).unwrap());
    let second_half: BTreeSet<String> = (half..MESSAGES).map(line).collect();
    eventually("the second half", WITHIN, || second_half.is_subset(&arrived(&two)).then_some(()));

    // Back again after ten seconds, without a word from anybody.
    let _back = imrelp(one.path(), first);
    let mut number = MESSAGES;
    eventually("the first one has something new", WITHIN, || {
        writeln!(stream, "{}", line(number)).unwrap();
        number += 1;
        (arrived(&one).len() > half).then_some(())
    });
    let wanted: BTreeSet<String> = (0..number).map(line).collect();
    eventually("everything at one of them", WITHIN, || (&arrived(&one) | &arrived(&two)).eq(&wanted).then_some(()));
    gateway.stop();
}
