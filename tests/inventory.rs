//! Inventories in the real binary: read again while it runs, refused, told of; who is which machine by what a connection
//! proves; `wharfinger inventory`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use support::gateway::Gateway;
use support::lines::{SinkFile, text};
use support::pki::{CLIENT_NAME, Pki};
use support::process::eventually;

const WITHIN: Duration = Duration::from_secs(60);
const HEAD: &str = "VM,Powerstate,Primary IP Address,VM ID,SMBIOS UUID,VM UUID,Host\r\n";
const WEB: &str =
    "web,poweredOn,192.0.2.7,vm-1,421f245c-7fa8-60fa-6af6-a46351ced0eb,50011111-2222-3333-4444-555566667777,esx1\r\n";

fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

fn told(out: &SinkFile, class: &str) -> Value {
    out.wait_for(1, WITHIN, |event| event["event_class"] == class).swap_remove(0)
}

/// The event of a line that is sent over TCP.
fn relayed(gateway: &Gateway, out: &SinkFile, host: &str, number: u32) -> Value {
    let mut stream = TcpStream::connect(gateway.address("relay", "tcp")).unwrap();
    writeln!(stream, "<134>1 2026-11-21T09:05:11Z {host} cargo {number} - - box").unwrap();
    let number = number.to_string();
    out.wait_for(1, WITHIN, |event| event["process.id"].as_str() == Some(&number)).swap_remove(0)
}

#[test]
fn a_file_is_read_again_and_the_last_good_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = (dir.path().join("vms.csv"), SinkFile::in_folder(dir.path()));
    fs::write(&path, format!("{HEAD}{WEB}")).unwrap();
    let config = format!(
        "identity:\n  inventory: [{}]\nsources:\n  relay: {{type: syslog, mode: tcp, address: 127.0.0.1:0, identity: \
         relay}}\nsinks:\n{}",
        path.display(),
        out.config()
    );
    let gateway = Gateway::start(dir.path(), &config);
    assert_eq!(text(&relayed(&gateway, &out, "web", 1), "vm.name"), "web");

    replace(&path, &format!("{HEAD}{WEB}db,poweredOn,\"192.0"));
    let refused = told(&out, "inventory.refused");
    assert!(text(&refused, "msg").contains("vms.csv:3:1: a cell in quotes does not end"), "{refused:#}");
    assert!(text(&refused, "msg").ends_with("the last good inventory stays"), "{refused:#}");
    assert_eq!(text(&relayed(&gateway, &out, "web", 2), "vm.name"), "web");

    let moved = WEB.replace("web,", "web-01,").replace("esx1", "esx2");
    let copy = "copy,poweredOff,192.0.2.8,vm-2,421f245c-7fa8-60fa-6af6-a46351ced0eb,,esx1\r\n";
    replace(&path, &format!("{HEAD}{moved}{copy}"));
    let changed = told(&out, "inventory.changed");
    assert!(text(&changed, "msg").contains("1 added, 1 renamed, 1 moved"), "{changed:#}");
    let odd = told(&out, "inventory.odd");
    assert!(text(&odd, "msg").contains("line 3: `copy` has the BIOS UUID"), "{odd:#}");
    let renamed = told(&out, "inventory.vm_renamed");
    assert_eq!((text(&renamed, "vm.name"), text(&renamed, "vm.moref")), ("web-01", "vm-1"));
    assert!(text(&renamed, "msg").contains("name `web` → `web-01`"), "{renamed:#}");
    assert_eq!(text(&told(&out, "inventory.vm_moved"), "vm.name"), "web-01");
    assert_eq!(text(&told(&out, "inventory.vm_added"), "vm.name"), "copy");
    let mut numbers = 10..;
    eventually("it is `web-01`", WITHIN, || {
        let event = relayed(&gateway, &out, "50011111-2222-3333-4444-555566667777", numbers.next()?);
        (event["vm.name"] == "web-01").then_some(())
    });
    assert!(relayed(&gateway, &out, "web", 3)["vm.name"].is_null());

    // What changes while the gateway is down is told at its start, before its sources begin.
    let stopped = gateway.kill();
    replace(&path, &format!("{HEAD}{moved}"));
    let gateway = stopped.start();
    let removed = told(&out, "inventory.vm_removed");
    assert_eq!(text(&removed, "vm.name"), "copy");
    let starts = out.wait_for(2, WITHIN, |event| event["event_class"] == "gateway.start");
    let (last, mine) = (text(&starts[1], "event_id"), text(&removed, "event_id"));
    assert!(text(&starts[0], "event_id") < mine && mine < last, "{mine} is not before {last}");
    gateway.stop();
}

/// decisions 16: "What a sender claims stays in `host.claimed_name`."
#[test]
fn what_a_sender_claims_never_changes_whose_event_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (pki, out) = (Pki::create(dir.path()), SinkFile::in_folder(dir.path()));
    let path = dir.path().join("vms.yaml");
    let machines = format!(
        "machines:\n  - {{name: web, host_names: [{CLIENT_NAME}]}}\n  - {{name: db, addresses: [127.0.0.1], agent_id: \
         \"007\"}}\n  - {{name: payroll, addresses: [192.0.2.9]}}\n"
    );
    fs::write(&path, machines).unwrap();
    let socket = dir.path().join("log.sock");
    let tls = format!(
        "{{certificate: {}, key: {}, client_ca: {}}}",
        pki.server.certificate.display(),
        pki.server.key.display(),
        pki.authority.display()
    );
    let config = format!(
        "identity:\n  inventory: [{}]\n  senders: {{\"source hec\": db, \"uid {}\": web}}\nsources:\n  udp: {{type: syslog, mode: udp, address: 127.0.0.1:0}}\n  tls: {{type: \
         syslog, mode: tcp, address: 127.0.0.1:0, tls: {tls}}}\n  hec: {{type: hec, address: 127.0.0.1:0, token: \
         t0ken}}\n  unix: {{type: syslog, mode: unix, path: {}, identity: peer}}\nsinks:\n{}",
        path.display(),
        rustix::process::geteuid().as_raw(),
        socket.display(),
        out.config()
    );
    let gateway = Gateway::start(dir.path(), &config);
    let line = |number: u32| format!("<134>1 2026-11-21T09:05:11Z payroll cargo {number} - - vm.name=payroll\n");
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(line(1).as_bytes(), gateway.address("udp", "udp")).unwrap();
    let mut sender = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &gateway.address("tls", "tls").to_string()])
        .arg("-cert")
        .arg(&pki.client.certificate)
        .arg("-key")
        .arg(&pki.client.key)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    sender.stdin.as_mut().unwrap().write_all(line(2).as_bytes()).unwrap();
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(line(3).as_bytes()).unwrap();
    drop(stream);
    for (number, machine, evidence) in
        [("1", "db", "address_unverified"), ("2", "web", "certificate"), ("3", "web", "unix")]
    {
        let event = out.wait_for(1, WITHIN, |event| event["process.id"] == number).swap_remove(0);
        assert_eq!((text(&event, "vm.name"), text(&event, "vm.evidence")), (machine, evidence), "{event:#}");
        assert!(!event.to_string().contains("\"vm.name\":\"payroll\""), "{event:#}");
    }
    let body = r#"{"host": "payroll", "event": "a box", "fields": {"vm.name": "payroll"}}"#;
    let mut stream = TcpStream::connect(gateway.address("hec", "http")).unwrap();
    write!(
        stream,
        "POST /services/collector/event HTTP/1.1\r\nHost: x\r\nAuthorization: Splunk t0ken\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let event = out.wait_for(1, WITHIN, |event| event["source"] == "hec").swap_remove(0);
    assert_eq!((text(&event, "vm.name"), text(&event, "vm.evidence")), ("db", "token"), "{event:#}");
    sender.kill().unwrap();
    sender.wait().unwrap();
    gateway.stop();
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wharfinger"))
        .current_dir(dir)
        .env_remove("WHARFINGER_CONFIG")
        .arg("inventory")
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_verbs() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("a.csv", &format!("{HEAD}{WEB}old,poweredOff,,vm-9,,,\r\n"));
    write("b.csv", &format!("{HEAD}{}new,poweredOn,192.0.2.7,vm-3,,,\r\n", WEB.replace("esx1", "esx2")));
    write("bad.csv", "VM,Note\nweb,\"cut");
    write("w.yaml", "data_dir: data\nidentity:\n  inventory: [a.csv]\n");
    let mut all = String::new();
    for arguments in [
        &["list", "-c", "w.yaml"][..],
        &["list", "-c", "w.yaml", "--format", "json"],
        &["show", "WEB", "-c", "w.yaml"],
        &["resolve", "192.0.2.7", "-c", "w.yaml"],
        &["resolve", "5C241F42-A87F-FA60-6AF6-A46351CED0EB", "-c", "w.yaml", "--format", "json"],
        &["resolve", "192.0.2.99", "-c", "w.yaml"],
        &["diff", "a.csv", "b.csv"],
        &["diff", "a.csv", "b.csv", "--format", "json"],
        &["diff", "a.csv", "a.csv"],
        &["check", "a.csv"],
        &["check", "b.csv", "bad.csv"],
        &["check", "b.csv", "bad.csv", "--format", "json"],
    ] {
        let output = run(dir.path(), arguments);
        let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let code = output.status.code().unwrap();
        all.push_str(&format!("$ wharfinger inventory {}\n{stdout}{stderr}[exit {code}]\n\n", arguments.join(" ")));
    }
    assert!(!dir.path().join("data").exists(), "asking writes nothing");
    insta::assert_snapshot!(all);
}
