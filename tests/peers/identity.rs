//! Identity providers against the real thing: govmomi's vCenter simulator over TLS, and libvirt's test driver.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::peers_are_off;
use crate::support::gateway::Gateway;
use crate::support::lines::{SinkFile, text};
use crate::support::peers_folder;
use crate::support::pki::Pki;
use crate::support::process::{Process, eventually};

const WITHIN: Duration = Duration::from_secs(60);

/// A line of a relay about that host, and the event that becomes of it.
fn event_of(gateway: &Gateway, out: &SinkFile, host: &str, number: u32) -> Value {
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    writeln!(stream, "<134>1 2026-11-21T09:05:11Z {host} cargo {number} - - box").unwrap();
    drop(stream);
    let number = number.to_string();
    let mut found = out.wait_for(1, WITHIN, |event| event["process.id"].as_str() == Some(&number));
    found.swap_remove(0)
}

/// An event of it once its machine is known: what changed is told a moment before it holds.
fn known(gateway: &Gateway, out: &SinkFile, host: &str, numbers: std::ops::Range<u32>) -> Value {
    let mut numbers = numbers.into_iter();
    eventually(&format!("`{host}` is known"), WITHIN, || {
        let event = event_of(gateway, out, host, numbers.next()?);
        (!event["vm.name"].is_null()).then_some(event)
    })
}

fn config(folder: &Path, provider: &str) -> (SinkFile, String) {
    let out = SinkFile::in_folder(folder);
    let config = format!(
        "identity:\n  providers:\n    it: {provider}\nsources:\n  in: {{type: syslog, mode: tcp, address: \
         127.0.0.1:0, identity: relay}}\nsinks:\n{}",
        out.config()
    );
    (out, config)
}

/// Waits for an event of the gateway of that class.
fn told(out: &SinkFile, class: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let is_it = |event: &Value| event["event_class"] == class && wanted(event);
    out.wait_for(1, WITHIN, is_it).swap_remove(0)
}

#[test]
fn a_vcenter_says_which_machine_it_is() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path());
    let mut command = Command::new(peers_folder().join("vcsim/vcsim"));
    let mut simulator = Process::start("vcsim", command.arg(&pki.server.certificate).arg(&pki.server.key));
    let url = simulator.wait_for("its address", WITHIN, |line| line.strip_prefix("url ").map(str::to_owned));
    simulator.wait_for("its machines", WITHIN, |line| (line == "ready").then_some(()));
    let lines = simulator.lines();
    let machines: Vec<Value> =
        lines.iter().filter_map(|line| serde_json::from_str(line.strip_prefix("vm ")?).ok()).collect();
    assert_eq!(machines.len(), 40, "{lines:#?}");

    fs::write(folder.path().join("password"), "wrong\n").unwrap();
    let provider = format!(
        "{{type: vcenter, url: \"{url}\", user: reader@vsphere.local, password: {{file: {}}}, tls: {{ca: {}}}, every: \
         1s, page: 7}}",
        folder.path().join("password").display(),
        pki.authority.display()
    );
    let (out, config) = config(folder.path(), &provider);
    let gateway = Gateway::start(folder.path(), &config);
    let failed = told(&out, "inventory.failed", |_| true);
    assert!(text(&failed, "msg").contains("provider `it`: Login: "), "{failed:#}");
    fs::write(folder.path().join("password"), "s3<cret>&\n").unwrap();
    told(&out, "inventory.back", |_| true);
    let changed = told(&out, "inventory.changed", |_| true);
    assert!(text(&changed, "msg").contains("40 added: 40 machines are known"), "{changed:#}");

    // What the simulator says of itself is what stands in events, found by name and by UUID in either order.
    let tagged = machines.iter().filter(|machine| text(machine, "name") == "DC0_H0_VM1");
    for (number, machine) in (1..).zip(tagged.chain(&machines).take(5)) {
        let by = if number % 2 == 0 { text(machine, "name").to_owned() } else { swapped(text(machine, "uuid")) };
        let event = known(&gateway, &out, &by, number * 1_000..(number + 1) * 1_000);
        assert_eq!(text(&event, "vm.name"), text(machine, "name"), "{by}: {event:#}");
        assert_eq!(text(&event, "vm.moref"), text(machine, "moref"));
        assert_eq!(text(&event, "vm.uuid"), text(machine, "uuid"));
        assert_eq!(text(&event, "vm.instance_uuid"), text(machine, "instance"));
        assert_eq!(text(&event, "vm.group"), format!("/{}", text(machine, "parent")));
        assert_eq!((text(&event, "power"), text(&event, "vm.evidence")), ("on", "relayed"));
        let tags = (text(machine, "name") == "DC0_H0_VM1").then(|| serde_json::json!(["use:db", "use:prod"]));
        assert_eq!(event.get("vm.tags"), tags.as_ref(), "{event:#}");
        assert!(!text(&event, "vcenter.uuid").is_empty());
    }

    simulator.signal("USR1");
    let renamed = told(&out, "inventory.vm_renamed", |_| true);
    assert_eq!(text(&renamed, "vm.name"), "web-01");
    assert!(text(&renamed, "msg").contains("name `DC0_H0_VM0` → `web-01`"), "{renamed:#}");
    assert_eq!(text(&known(&gateway, &out, "WEB-01", 10_000..11_000), "vm.uuid"), text(&renamed, "vm.uuid"));

    // It is away: what it said last holds, also over a restart.
    simulator.kill();
    let away = |event: &Value| event["event_id"].as_str() > failed["event_id"].as_str();
    told(&out, "inventory.failed", away);
    let gateway = gateway.kill().start();
    assert_eq!(text(&event_of(&gateway, &out, "web-01", 20_000), "vm.name"), "web-01");
    gateway.stop();
}

/// With the bytes of the first three fields reversed.
fn swapped(uuid: &str) -> String {
    let pairs = |text: &str| (0..text.len() / 2).rev().map(|at| &text[2 * at..2 * at + 2]).collect::<String>();
    let fields: Vec<&str> = uuid.split('-').collect();
    let swapped: Vec<String> = fields.iter().take(3).map(|field| pairs(field)).collect();
    format!("{}-{}", swapped.join("-"), fields[3..].join("-"))
}

fn domain(name: &str, uuid: &str, mac: &str) -> String {
    format!(
        "<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory>65536</memory><os><type>hvm</type></os>\
         <devices><interface type='network'><mac address='{mac}'/><source network='default'/></interface></devices></domain>"
    )
}

#[test]
fn libvirt_says_which_domain_it_is() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let node = folder.path().join("node.xml");
    let write = |domains: &[String]| {
        let network = "<network><name>default</name><bridge name='virbr0'/><ip address='192.168.122.1' netmask=\
                       '255.255.255.0'/></network>";
        let new = node.with_extension("new");
        fs::write(&new, format!("<node>{}{network}</node>", domains.concat())).unwrap();
        fs::rename(new, &node).unwrap();
    };
    let web = domain("web", "421f245c-7fa8-60fa-6af6-a46351ced0eb", "52:54:00:aa:bb:cc");
    // More than one run of `virsh` describes.
    let many: Vec<String> = (0..100)
        .map(|n| {
            domain(&format!("vm-{n}"), &format!("421f245c-7fa8-60fa-6af6-{n:012x}"), &format!("52:54:00:00:00:{n:02x}"))
        })
        .collect();
    write(&[&[web], &many[..]].concat());
    let provider = format!("{{type: libvirt, uri: \"test://{}\", every: 1s, group: lab}}", node.display());
    let (out, config) = config(folder.path(), &provider);
    let gateway = Gateway::start(folder.path(), &config);
    let changed = told(&out, "inventory.changed", |_| true);
    assert!(text(&changed, "msg").contains("101 machines are known"), "{changed:#}");
    for (number, by) in (1..).zip(["web", "5C241F42-A87F-FA60-6AF6-A46351CED0EB", "52-54-00-AA-BB-CC"]) {
        let event = known(&gateway, &out, by, number * 1_000..(number + 1) * 1_000);
        assert_eq!((text(&event, "vm.name"), text(&event, "vm.group")), ("web", "lab"), "{by}");
        assert_eq!((text(&event, "power"), text(&event, "hypervisor")), ("on", "test"));
    }
    write(&many);
    let removed = told(&out, "inventory.vm_removed", |_| true);
    assert_eq!(text(&removed, "vm.name"), "web");
    let mut numbers = 10_000..11_000;
    eventually("nobody is `web`", WITHIN, || {
        event_of(&gateway, &out, "web", numbers.next()?)["vm.name"].is_null().then_some(())
    });
    // Broken: the last good one stays.
    fs::write(&node, "<node>").unwrap();
    told(&out, "inventory.failed", |_| true);
    assert_eq!(text(&event_of(&gateway, &out, "vm-7", 20_000), "vm.name"), "vm-7");
    gateway.stop();
}
