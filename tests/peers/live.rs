//! What `wharfinger demo` shows from a recording, from a live Engine: what is wrong on which machine, on the page and in
//! CEF at somebody else's receiver.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::browser::Browser;
use crate::docker::{self, IMAGE};
use crate::support::cef::Cef;
use crate::support::gateway::Gateway;
use crate::support::process::eventually;
use crate::syslog_peer::Transport;
use crate::{peers_are_off, rsyslog};

const WITHIN: Duration = Duration::from_secs(150);

#[test]
fn what_a_live_engine_does_is_found_on_the_page_and_at_the_receiver() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = docker::engine();
    let receiver = rsyslog::receiver(folder.path(), Transport::Tcp);
    // One machine by the UUID that it reads of itself, as a guest does: byte-swapped. The other by the
    // source that speaks for it: on the network both would be this machine.
    let (dmi, inventory) = (folder.path().join("dmi"), folder.path().join("machines.yaml"));
    fs::create_dir_all(&dmi).unwrap();
    fs::write(dmi.join("product_uuid"), "5C241F42-A87F-FA60-6AF6-A46351CED0EB\n").unwrap();
    let machines = "machines:\n  - {name: db-03, group: prod, uuid: 421f245c-7fa8-60fa-6af6-a46351ced0eb}\n  \
                    - {name: payroll-01, group: prod}\n  - {name: backup-01, group: prod}\n";
    fs::write(&inventory, machines).unwrap();
    let tls = engine.pki();
    let config = format!(
        "identity:\n  dmi: {dmi}\n  inventory: [{inventory}]\n  senders: {{\"source payroll\": payroll-01}}\n\
         sources:\n  \
           db: {{type: docker, socket: {socket}, include: {{names: [\"db-*\"]}}}}\n  \
           payroll:\n    type: docker\n    address: {address}\n    include: {{names: [\"payroll-*\"]}}\n    \
           tls: {{ca: {ca}, certificate: {certificate}, key: {key}}}\n\
         sinks:\n  siem: {{type: syslog, address: \"127.0.0.1:{port}\", format: cef, when: has(rule.id)}}\n\
         policy:\n  groups:\n    playground: {{docker: allowed}}\n    \
           prod: {{docker: forbidden, registries: [docker.io], privileged: forbidden, silent_after: 1m}}\n",
        dmi = dmi.display(),
        inventory = inventory.display(),
        socket = engine.socket().display(),
        address = engine.address(),
        ca = tls.authority.display(),
        certificate = tls.client.certificate.display(),
        key = tls.client.key.display(),
        port = receiver.port,
    );
    let gateway = Gateway::start(folder.path(), &config);
    engine.docker(&["tag", IMAGE, "registry.invalid/box:1"]);
    let found = || -> Vec<(String, String)> {
        let lines = receiver.received.lines();
        let mut found: Vec<_> = lines
            .iter()
            .map(|line| Cef::read(line))
            .map(|cef| (cef.class.clone(), cef.labelled("vmName").to_owned()))
            .collect();
        found.sort();
        found.dedup();
        found
    };
    let expected = [
        ("compliance.docker_not_allowed", "db-03"),
        ("compliance.docker_not_allowed", "payroll-01"),
        ("compliance.source_silent", "backup-01"),
        ("finding.privileged_container", "payroll-01"),
        ("finding.untrusted_registry", "db-03"),
    ]
    .map(|(class, machine)| (class.to_owned(), machine.to_owned()));
    let browser = Browser::start(folder.path(), "light");
    eventually("the five findings at the receiver", WITHIN, || {
        // What ran before the gateway listened is not what this is about.
        engine.docker(&["run", "--network", "none", "--rm", "--name", "db-x", "registry.invalid/box:1", "true"]);
        engine.run(&["--rm", "--name", "payroll-x", "--privileged", "--user", "7:7"], &["true"]);
        (found().len() >= expected.len()).then_some(())
    });
    assert_eq!(found(), expected, "and no other");

    let (_, body) = gateway.get("/api/compliance").unwrap();
    let page: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&page["counts"]["violating"], &page["counts"]["silent"]), (&2.into(), &1.into()), "{page}");
    browser.open(&format!("http://{}/#/findings?token={}", gateway.admin(), gateway.token()));
    browser.wait_for("5 are open, the gravest first");
    for piece in
        ["A privileged container", "registry.invalid/box:1", "A machine that should speak is silent", "payroll-01"]
    {
        browser.wait_for(piece);
    }
    browser.screenshot("live-findings");
    engine.docker(&["rmi", "registry.invalid/box:1"]);
    gateway.stop();
}
