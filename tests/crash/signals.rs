//! Storms of signals under load: nothing is lost, and with healthy sinks nothing comes twice.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::producers::{self, TOKEN};
use crate::rig::Rig;
use crate::support::gateway::Gateway;
use crate::support::lines::{SinkFile, text};
use crate::support::process::eventually;
use crate::{cycles, random};

/// P11.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
const ARRIVED_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn reloads_lose_and_repeat_nothing() {
    let (mut random, cycles) = (random("reloads"), cycles(20, 200));
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(folder.path());
    let gateway = Gateway::start(folder.path(), &rig.config("256MiB"));
    let moments: Vec<u64> = (0..cycles).map(|_| random.u64(1..100)).collect();
    rig.under_load(&gateway, "reload", random.u64(..u64::MAX / 2), || {
        for moment in moments {
            gateway.process().signal("HUP");
            thread::sleep(Duration::from_millis(moment));
        }
    });
    rig.finish_once(gateway);
}

#[test]
fn orderly_ends_lose_and_repeat_nothing() {
    let (mut random, cycles) = (random("orderly_ends"), cycles(10, 200));
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(folder.path());
    let mut gateway = Gateway::start(folder.path(), &rig.config("256MiB"));
    let mut longest = Duration::ZERO;
    for cycle in 0..cycles {
        let after = Duration::from_millis(random.u64(5..=500));
        let took = rig.under_load(&gateway, &format!("{cycle}"), random.u64(..u64::MAX / 2), || {
            thread::sleep(after);
            gateway.process().signal("TERM");
            let asked = Instant::now();
            eventually("the gateway ends", ENDS_WITHIN, || gateway.process().has_closed_output().then_some(()));
            asked.elapsed()
        });
        longest = longest.max(took);
        let log = gateway.log();
        let (status, stopped) = gateway.end();
        assert!(status.success(), "the gateway ended with {status}:\n{log}");
        gateway = stopped.start();
    }
    println!("SIGTERM: {cycles} ends, the longest took {longest:?}");
    rig.finish_once(gateway);
}

/// Where the protocol acknowledges nothing, what the kernel has taken for the gateway counts as sent.
#[test]
fn what_has_arrived_before_an_orderly_end_is_taken_in() {
    for round in 0..cycles(3, 100) {
        let folder = tempfile::tempdir().unwrap();
        let (file, socket) = (SinkFile::in_folder(folder.path()), |name| folder.path().join(name));
        let (stream, datagram) = (socket("stream"), socket("datagram"));
        let config = format!(
            "sources:\n  tcp: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\n  \
             udp: {{type: syslog, mode: udp, address: 127.0.0.1:0}}\n  \
             gelf: {{type: gelf, mode: tcp, address: 127.0.0.1:0}}\n  \
             unix: {{type: syslog, mode: unix, path: {}}}\n  \
             log: {{type: syslog, mode: unix_datagram, path: {}}}\nsinks:\n{}",
            stream.display(),
            datagram.display(),
            file.config()
        );
        let gateway = Gateway::start(folder.path(), &config);
        let connect = |source| TcpStream::connect(gateway.address(source, "tcp")).unwrap();
        let (udp, log) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UnixDatagram::unbound().unwrap());
        udp.connect(gateway.address("udp", "udp")).unwrap();
        log.connect(&datagram).unwrap();
        let (mut tcp, mut gelf, mut unix) = (connect("tcp"), connect("gelf"), UnixStream::connect(&stream).unwrap());
        // Some of them are let in, others the kernel has taken for the gateway.
        if round % 2 == 0 {
            tcp.write_all(&message("tcp", 0)).unwrap();
            gelf.write_all(&message("gelf", 0)).unwrap();
            unix.write_all(&message("unix", 0)).unwrap();
            file.wait_for(3, ARRIVED_WITHIN, |event| text(event, "msg").contains(" 0 "));
        }
        gateway.process().signal("STOP");
        for stream in [&tcp, &gelf] {
            stream.set_nonblocking(true).unwrap();
        }
        unix.set_nonblocking(true).unwrap();
        let sent = [
            ("tcp", fill("tcp", &mut tcp)),
            ("gelf", fill("gelf", &mut gelf)),
            ("unix", fill("unix", &mut unix)),
            ("udp", (1..=50).filter(|number| udp.send(&message("udp", *number)).is_ok()).count()),
            ("log", (1..=5).filter(|number| log.send(&message("log", *number)).is_ok()).count()),
        ];
        println!("round {round}: {sent:?}");
        gateway.process().signal("TERM");
        gateway.process().signal("CONT");
        eventually("the gateway ends", ENDS_WITHIN, || gateway.process().has_closed_output().then_some(()));
        let (status, stopped) = gateway.end();
        assert!(status.success(), "{status}");
        let _gateway = stopped.start();
        for (source, count) in sent {
            let is_of = |event: &serde_json::Value| {
                let msg = text(event, "msg");
                msg.starts_with(source) && msg.ends_with(" whole") && !msg.contains(" 0 ")
            };
            assert_eq!(file.wait_for(count, ARRIVED_WITHIN, is_of).len(), count, "{source}");
        }
    }
}

/// Who asks twice does not want to wait for a receiver that takes nothing; what it was to get stays.
#[test]
fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = SinkFile::in_folder(folder.path());
    let config = format!(
        "sources:\n  in: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n  \
         deaf: {{type: http, url: 'http://{}/'}}\n{}",
        deaf.local_addr().unwrap(),
        file.config()
    );
    let gateway = Gateway::start(folder.path(), &config);
    let address = gateway.address("in", "tcp");
    TcpStream::connect(address).unwrap().write_all(&message("tcp", 1)).unwrap();
    file.wait_for(1, ARRIVED_WITHIN, |event| text(event, "msg").starts_with("tcp"));
    let asked = deaf.accept().unwrap();
    gateway.process().signal("TERM");
    eventually("the sources have ended", ENDS_WITHIN, || TcpStream::connect(address).is_err().then_some(()));
    gateway.process().signal("TERM");
    eventually("the gateway ends", ENDS_WITHIN, || gateway.process().has_closed_output().then_some(()));
    let left = gateway.data().join("control").exists();
    let (status, stopped) = gateway.end();
    assert!(status.success(), "{status}");
    assert!(left, "it waited for the receiver, and ended in its own time");
    drop(asked);
    let _gateway = stopped.start();
    let (mut stream, _) = deaf.accept().unwrap();
    stream.set_read_timeout(Some(ARRIVED_WITHIN)).unwrap();
    let mut request = Vec::new();
    while !String::from_utf8_lossy(&request).contains("tcp 1 ") {
        let mut piece = [0; 4_096];
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "the event does not come again");
        request.extend_from_slice(&piece[..length]);
    }
}

/// One of 1 KiB, so that many bytes are few events.
fn message(source: &str, number: usize) -> Vec<u8> {
    let text = format!("{source} {number} {} whole", "x".repeat(1_000));
    match source {
        "gelf" => format!("{{\"version\":\"1.1\",\"host\":\"box\",\"short_message\":\"{text}\"}}\0").into_bytes(),
        _ => format!("<134>1 - box app - - - {text}\n").into_bytes(),
    }
}

/// Sends what the kernel takes, and somewhat more than the gateway reads at once; answers how many are whole.
fn fill(source: &str, stream: &mut impl Write) -> usize {
    (1..=300)
        .take_while(|number| {
            let message = message(source, *number);
            stream.write(&message).is_ok_and(|written| written == message.len())
        })
        .count()
}

/// A read of standard input cannot be broken off: what it brings after a reload is the new source's.
#[test]
fn a_reload_keeps_what_standard_input_says() {
    let folder = tempfile::tempdir().unwrap();
    let (file, fifo) = (SinkFile::in_folder(folder.path()), folder.path().join("input"));
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let config =
        |length| format!("sources:\n  in: {{type: stdin, max_length: {length}KiB}}\nsinks:\n{}", file.config());
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"exec "$@" <>"$0""#]).arg(&fifo);
    let gateway = Gateway::start_under(shell, folder.path(), &config(64));
    let mut input = OpenOptions::new().write(true).open(&fifo).unwrap();
    let is_ours = |event: &serde_json::Value| text(event, "source") == "in";
    for round in 1..=5 {
        writeln!(input, "line {round}").unwrap();
        file.wait_for(round, ARRIVED_WITHIN, is_ours);
        gateway.reload(&config(64 + round));
    }
    writeln!(input, "the last").unwrap();
    let lines = file.wait_for(6, ARRIVED_WITHIN, is_ours);
    let lines: Vec<_> = lines.iter().map(|event| text(event, "raw")).collect();
    assert_eq!(lines, ["line 1", "line 2", "line 3", "line 4", "line 5", "the last"]);
    gateway.stop();
}

/// Also where the source has to be broken off, here for a balancer's connection that says nothing.
#[test]
fn what_finds_no_room_before_an_orderly_end_is_declared() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "journal: {{bytes_max: 16MiB}}\nsources:\n  hec: {{type: hec, address: 127.0.0.1:0, token: {TOKEN}}}\n  \
         tcp: {{type: syslog, mode: tcp, address: 127.0.0.1:0, proxy_protocol: true, proxy_trusted: [127.0.0.1]}}\n\
         sinks:\n  away: {{type: syslog, address: \"{nobody}\", on_full: block}}\n"
    );
    let gateway = Gateway::start(folder.path(), &config);
    let connect = || TcpStream::connect(gateway.address("tcp", "tcp")).unwrap();
    let (idle, mut stream) = (connect(), connect());
    for length in [60_000, 4_000, 100, 1] {
        let mut hec = TcpStream::connect(gateway.address("hec", "http")).unwrap();
        while producers::post(&mut hec, &["x".repeat(length)]) {}
    }
    let lines = "<13>1 2026-11-21T09:05:11Z vm-1 app - - - one more\n".repeat(7);
    stream.write_all(format!("PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n{lines}").as_bytes()).unwrap();
    gateway.process().signal("TERM");
    eventually("the gateway ends", ENDS_WITHIN, || gateway.process().has_closed_output().then_some(()));
    let said = |what: &str| gateway.process().lines().iter().any(|line| line.contains(what));
    assert!(said("gap: 7 events of source `tcp` were lost: the journal was full"), "{}", gateway.log());
    assert!(said("a source did not end in time"), "{}", gateway.log());
    drop(idle);
    let (status, _) = gateway.end();
    assert!(status.success(), "{status}");
}
