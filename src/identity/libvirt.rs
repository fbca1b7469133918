//! Provider `libvirt`: the domains of a hypervisor, as `virsh` prints them.
//!
//! `virsh` is the stable interface that every host with libvirt has, speaks all of its transports and needs nothing
//! linked. It is run read-only.

use std::net::IpAddr;
use std::time::Duration;

use super::inventory::{Inventory, Note};
use super::provider::{Provider, ProviderConfig, ProviderError, Told};
use super::{Entry, Mac, Uuid, program, xml};
use crate::part::{Interval, Kind, Problem, SetupError};
use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

pub(super) const KIND: Kind<dyn ProviderConfig> = Kind {
    name: "libvirt",
    about: "Domains of a libvirt host (QEMU, KVM, Xen, LXC), by `virsh`",
    schema: || schema_for!(Options),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Options>(options)?)),
};

/// A domain is described in 2 to 20 kB.
const OUTPUT_BYTES_MAX: u64 = 64 << 20;
/// So many domains are described by one run: the arguments of a process are bounded.
const DOMAINS_A_RUN: usize = 64;

/// Asks `virsh`, which must be installed; the user of the gateway needs the right to read (group `libvirt`, or polkit).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The connection: `qemu:///system`, `qemu+ssh://user@host/system`, `xen:///system`. Over ssh, the key must need no
    /// password.
    uri: String,
    /// The program. Default: virsh.
    virsh: String,
    /// Addresses of guests are asked for, too (`domifaddr`, leases of libvirt's own networks).
    addresses: bool,
    /// Policy group of its machines.
    group: String,
    /// How often it is asked. Default: 5m.
    every: Interval,
    /// How long an answer may take in all. Default: 1m.
    timeout: Interval,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            uri: "qemu:///system".to_owned(),
            virsh: "virsh".to_owned(),
            addresses: true,
            group: String::new(),
            every: Interval::seconds(300),
            timeout: Interval::seconds(60),
        }
    }
}

impl ProviderConfig for Options {
    fn check(&self) -> Vec<Problem> {
        let problem = |option, message: String, hint: &str| Problem { option, message, hint: hint.to_owned() };
        let mut problems = Vec::new();
        if !self.uri.contains("://") {
            let message = format!("`{}` is no connection of libvirt", self.uri);
            problems.push(problem("uri", message, "write for example `qemu:///system`"));
        }
        problems.extend(program::problem("virsh", &self.virsh, "--version", "libvirt-clients"));
        problems
    }

    fn every(&self) -> Duration {
        self.every.get()
    }

    fn timeout(&self) -> Duration {
        self.timeout.get()
    }

    fn open(&self) -> Result<Box<dyn Provider>, SetupError> {
        Ok(Box::new(Virsh(self.clone())))
    }
}

struct Virsh(Options);

#[async_trait]
impl Provider for Virsh {
    async fn ask(&mut self) -> Result<Told, ProviderError> {
        let uuids = words(&self.run("list --all --uuid").await?);
        let paused = words(&self.run("list --state-paused --uuid").await?);
        let mut inventory = Inventory { kind: KIND.name, ..Inventory::default() };
        let mut described = 0;
        for some in uuids.chunks(DOMAINS_A_RUN) {
            let commands: Vec<String> = some
                .iter()
                .map(|uuid| match self.0.addresses {
                    true => format!("dumpxml {uuid}; domifaddr {uuid}"),
                    false => format!("dumpxml {uuid}"),
                })
                .collect();
            described += read(&self.run(&commands.join("; ")).await?, &mut inventory)?;
        }
        // Some may have gone meanwhile; a daemon that has gone takes all of them with it.
        if described < uuids.len() && words(&self.run("list --all --uuid").await?).len() > described {
            let text = format!("of {} domains it describes {described}", uuids.len());
            return Err(ProviderError::new(text));
        }
        for entry in &mut inventory.entries {
            entry.group.clone_from(&self.0.group);
            if entry.uuid.is_some_and(|uuid| paused.contains(&uuid.to_string())) {
                entry.power = "suspended".to_owned();
            }
        }
        Ok(Told::Machines(inventory))
    }
}

/// UUIDs, and nothing that could be a command.
fn words(text: &str) -> Vec<String> {
    text.split_whitespace().filter_map(Uuid::parse).map(|uuid| uuid.to_string()).collect()
}

impl Virsh {
    /// What it prints for these commands. One that fails (a domain that has just gone, no right to ask for its addresses)
    /// prints nothing, so only a run that prints nothing at all has failed.
    async fn run(&self, commands: &str) -> Result<String, ProviderError> {
        let what = format!("`{} -c {}`", self.0.virsh, self.0.uri);
        let failed = |cause: &dyn std::fmt::Display| ProviderError::new(format!("{what}: {cause}"));
        let arguments = ["-q", "-r", "-c", &self.0.uri, commands];
        let run = program::run(&self.0.virsh, &arguments, OUTPUT_BYTES_MAX).await;
        match run.map_err(|error| failed(&error))? {
            (out, Err(said)) if out.trim_ascii().is_empty() => Err(failed(&said)),
            (out, _) => Ok(out),
        }
    }
}

/// Descriptions of domains, and behind each the lines of `domifaddr`: `vnet0 52:54:00:aa:bb:cc ipv4 192.0.2.7/24`.
/// Answers how many they are.
fn read(text: &str, inventory: &mut Inventory) -> Result<usize, ProviderError> {
    let read = xml::read(text).map_err(|error| ProviderError::new(format!("what `virsh` prints: {error}")))?;
    let domains = || read.iter().filter(|(domain, _)| domain.is("domain"));
    for (domain, behind) in domains() {
        let (name, uuid) = (domain.text_at(&["name"]), domain.text_at(&["uuid"]));
        if name.is_empty() {
            inventory.notes.push(Note { line: 0, text: format!("domain `{uuid}` has no name: left out") });
            continue;
        }
        let cards = domain.at(&["devices"]).into_iter().flat_map(|devices| devices.all("interface"));
        inventory.entries.push(Entry {
            name: name.to_owned(),
            uuid: Uuid::parse(uuid),
            macs: cards.filter_map(|card| Mac::parse(card.at(&["mac"])?.attribute("address")?)).collect(),
            addresses: addresses(behind),
            // A domain that runs has a number.
            power: if domain.attribute("id").is_some() { "on" } else { "off" }.to_owned(),
            hypervisor: domain.attribute("type").unwrap_or_default().to_owned(),
            ..Entry::default()
        });
    }
    Ok(domains().count())
}

fn addresses(lines: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let (_, mac, kind, address) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let is_one = (Mac::parse(mac).is_some() || mac == "-") && kind.starts_with("ipv");
        address.split('/').next().filter(|_| is_one)?.parse().ok()
    };
    lines.lines().filter_map(address).filter(|address: &IpAddr| !address.is_loopback()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DOMAINS: &str = "<domain type='kvm' id='3'>\n  <name>web &amp; more</name>\n  \
        <uuid>421f245c-7fa8-60fa-6af6-a46351ced0eb</uuid>\n  <metadata><app:x xmlns:app='u'><name>no</name></app:x></metadata>\n  \
        <devices><interface type='network'><mac address='52:54:00:aa:bb:cc'/></interface>\
        <interface type='bridge'><mac address='52:54:00:aa:bb:cd'/></interface><disk><mac address='00:00:00:00:00:01'/></disk></devices>\n\
        </domain>\n\n vnet0  52:54:00:aa:bb:cc  ipv4  192.0.2.7/24\n -  -  ipv6  2001:db8::7/64\n lo 00:00:00:00:00:00 ipv4 127.0.0.1/8\n\n\
        <domain type='xen'><name>db</name></domain>\n";

    #[test]
    fn domains_and_their_addresses() {
        let mut inventory = Inventory::default();
        read(DOMAINS, &mut inventory).unwrap();
        let [web, db] = inventory.entries.as_slice() else { panic!("{:#?}", inventory.entries) };
        assert_eq!((web.name.as_str(), web.power.as_str(), web.hypervisor.as_str()), ("web & more", "on", "kvm"));
        assert_eq!(web.uuid, Uuid::parse("421f245c-7fa8-60fa-6af6-a46351ced0eb"));
        assert_eq!((web.macs.len(), web.addresses.len()), (2, 2));
        assert_eq!((db.name.as_str(), db.power.as_str(), db.uuid), ("db", "off", None));
    }

    #[test]
    fn what_is_cut_off_or_no_xml_is_refused() {
        for text in [&DOMAINS[..300], "<domain><name>x</uuid></domain>"] {
            assert!(read(text, &mut Inventory::default()).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_program_that_fails_says_why() {
        let ask = |virsh: &str| {
            let options = Options { virsh: virsh.to_owned(), ..Options::default() };
            async move { Virsh(options).ask().await.unwrap_err().to_string() }
        };
        assert!(ask("/nonexistent/virsh").await.contains("no such file"), "{}", ask("/nonexistent/virsh").await);
        assert!(ask("false").await.contains("exit status: 1"));
    }

    #[tokio::test]
    async fn of_half_an_answer_nothing_is_taken() {
        const BIOS: &str = "421f245c-7fa8-60fa-6af6-a46351ced0eb";
        let dir = tempfile::tempdir().unwrap();
        let virsh = dir.path().join("virsh");
        let ask = async |script: &str| {
            std::fs::write(&virsh, format!("#!/bin/sh\ncase \"$5\" in\n{script}\nesac\n")).unwrap();
            std::fs::set_permissions(&virsh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            let options = Options { virsh: virsh.to_string_lossy().into_owned(), ..Options::default() };
            match Virsh(options).ask().await.map_err(|error| error.to_string()) {
                Ok(Told::Machines(inventory)) => Ok(inventory.entries.len()),
                Ok(Told::ThisMachine(_)) => unreachable!("it knows many"),
                Err(error) => Err(error),
            }
        };
        let other = BIOS.replace("eb", "ec");
        let domain = format!("<domain><name>web</name><uuid>{BIOS}</uuid></domain>");
        let paused = "'list --state-paused'*) ;;";
        let half = format!("'list --all'*) echo {BIOS} {other} ;; {paused} *) echo '{domain}' ;;");
        assert_eq!(ask(&half).await, Err("of 2 domains it describes 1".to_owned()));
        // One that has gone meanwhile is no half of an answer.
        let gone = half.replace(
            &format!("echo {BIOS} {other}"),
            &format!("[ -e $0.asked ] || echo {other}; echo {BIOS}; touch $0.asked"),
        );
        assert_eq!(ask(&gone).await, Ok(1));
    }
}
