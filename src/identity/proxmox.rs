//! Provider `proxmox`: the machines and containers of a Proxmox VE cluster.
//!
//! formats §9: "GET /api2/json/cluster/resources?type=vm (vmid,name,node,status,tags `;` separated),
//! /nodes/{n}/qemu/{id}/config (`smbios1: uuid=…`), `Authorization: PVEAPIToken=user@realm!id=secret`".
//!
//! Invariant: it reads, and nothing else; the secret is sent to the host of `url` alone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Client;
use reqwest::header::AUTHORIZATION;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::http::{self, ANSWER_BYTES_MAX};
use super::inventory::{Inventory, Note};
use super::provider::{self, Provider, ProviderConfig, ProviderError, Told};
use super::{Entry, Mac, Uuid, spreadsheet};
use crate::part::{Interval, Kind, Problem, Secret, SetupError};
use crate::tls::ClientTls;

pub(super) const KIND: Kind<dyn ProviderConfig> = Kind {
    name: "proxmox",
    about: "Machines and containers of a Proxmox VE cluster",
    schema: || schema_for!(Options),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Options>(options)?)),
};

/// Each costs a request of its own.
const MACHINES_MAX: usize = 20_000;

/// A token with the role `PVEAuditor` on `/vms` is enough. The group of a machine is its pool.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// A node of the cluster: `https://pve.example:8006`.
    url: String,
    /// The token: `user@realm!name`.
    token_id: String,
    /// The token's secret.
    secret: Secret,
    /// Certificates; unless they are written, the operating system's authorities are trusted. The cluster's own
    /// authority is `/etc/pve/pve-root-ca.pem`.
    #[serde(default)]
    tls: ClientTls,
    /// How often it is asked.
    #[serde(default = "provider::every")]
    every: Interval,
    /// How long an answer may take, with the configuration of every machine.
    #[serde(default = "provider::timeout")]
    timeout: Interval,
}

impl ProviderConfig for Options {
    fn check(&self) -> Vec<Problem> {
        let mut problems = http::tls_problems(&self.tls);
        problems.extend(http::url_problem("url", &self.url));
        problems.extend(self.secret.problem("secret"));
        if !self.token_id.split_once('!').is_some_and(|(user, name)| user.contains('@') && !name.is_empty()) {
            let message = format!("`{}` is no token of Proxmox", self.token_id);
            problems.push(Problem { option: "token_id", message, hint: "write `user@realm!name`".to_owned() });
        }
        problems
    }

    fn every(&self) -> Duration {
        self.every.get()
    }

    fn timeout(&self) -> Duration {
        self.timeout.get()
    }

    fn open(&self) -> Result<Box<dyn Provider>, SetupError> {
        Ok(Box::new(Proxmox { options: self.clone(), known: HashMap::new() }))
    }
}

struct Proxmox {
    options: Options,
    /// By number, what the last configuration said that could be read: while a node is away, that stays.
    known: HashMap<u64, Entry>,
}

/// Everything is wrapped in this.
#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct Resource {
    /// `qemu` or `lxc`.
    #[serde(default)]
    r#type: String,
    vmid: u64,
    #[serde(default)]
    name: String,
    node: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    pool: String,
    /// `prod;web`
    #[serde(default)]
    tags: String,
    #[serde(default)]
    template: u8,
}

#[async_trait]
impl Provider for Proxmox {
    async fn ask(&mut self) -> Result<Told, ProviderError> {
        let options = &self.options;
        let failed = |error: &dyn std::fmt::Display| ProviderError::new(error.to_string());
        // Files are read again each time: certificates and secrets are renewed.
        let tls = options.url.starts_with("https:").then_some(&options.tls);
        let client = http::client(tls, options.timeout.get(), None).map_err(|error| failed(&error))?;
        let secret = options.secret.read().map_err(|error| failed(&error))?;
        let server = Server {
            client,
            base: format!("{}/api2/json", options.url.trim_end_matches('/')),
            authorization: format!("PVEAPIToken={}={secret}", options.token_id),
        };
        let resources: Vec<Resource> = server.get("/cluster/resources?type=vm").await?;
        if resources.len() > MACHINES_MAX {
            return Err(ProviderError::new(format!("it has more than {MACHINES_MAX} machines")));
        }
        let numbers: HashSet<u64> = resources.iter().map(|resource| resource.vmid).collect();
        let mut inventory = Inventory { kind: KIND.name, ..Inventory::default() };
        // A template never runs.
        for resource in resources.into_iter().filter(|resource| resource.template == 0) {
            let kind = if resource.r#type == "lxc" { "lxc" } else { "qemu" };
            let path = format!("/nodes/{}/{kind}/{}/config", path_part(&resource.node)?, resource.vmid);
            // One that has just gone, or that the token may not see, costs itself alone.
            match server.get::<serde_json::Map<String, serde_json::Value>>(&path).await {
                Ok(config) => {
                    let number = resource.vmid;
                    let entry = entry(resource, kind, &config);
                    self.known.insert(number, entry.clone());
                    inventory.entries.push(entry);
                }
                Err(error) => {
                    let known = self.known.get(&resource.vmid).cloned().unwrap_or_default();
                    let text = format!(
                        "`{}` ({}) has no configuration that can be read: {error}",
                        resource.name, resource.vmid
                    );
                    inventory.notes.push(Note { line: 0, text });
                    let mut entry = entry(resource, kind, &serde_json::Map::new());
                    entry.complete(&known);
                    inventory.entries.push(entry);
                }
            }
        }
        self.known.retain(|number, _| numbers.contains(number));
        Ok(Told::Machines(inventory))
    }
}

/// The name of a node becomes a part of a path.
fn path_part(node: &str) -> Result<&str, ProviderError> {
    let is_plain = !node.is_empty() && node.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_plain { Ok(node) } else { Err(ProviderError::new(format!("`{node}` is no name of a node"))) }
}

fn entry(of: Resource, kind: &str, config: &serde_json::Map<String, serde_json::Value>) -> Entry {
    let text = |name: &str| config.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let smbios = words(text("smbios1")).find(|(name, _)| *name == "uuid").and_then(|(_, uuid)| Uuid::parse(uuid));
    let cards: Vec<&str> = config
        .iter()
        .filter(|(name, _)| name.strip_prefix("net").is_some_and(|number| number.parse::<u8>().is_ok()))
        .filter_map(|(_, card)| card.as_str())
        .collect();
    // `virtio=BC:24:11:AA:BB:CC,bridge=vmbr0`, and of containers `name=eth0,hwaddr=BC:24:…,ip=192.0.2.7/24`.
    let values = || cards.iter().flat_map(|card| words(card));
    let is_address = |name: &str| matches!(name, "ip" | "ip6");
    let addresses =
        values().filter(|(name, _)| is_address(name)).filter_map(|(_, ip)| ip.split('/').next()?.parse().ok());
    Entry {
        name: if of.name.is_empty() { format!("vm-{}", of.vmid) } else { of.name },
        uuid: smbios,
        host_names: Some(text("hostname").to_owned()).filter(|name| !name.is_empty()).into_iter().collect(),
        addresses: addresses.collect(),
        macs: values().filter_map(|(_, value)| Mac::parse(value)).collect(),
        group: of.pool,
        power: spreadsheet::power(&of.status).to_owned(),
        runs_on: of.node,
        tags: of.tags.split([';', ',', ' ']).filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
        hypervisor: if kind == "lxc" { "lxc" } else { "kvm" }.to_owned(),
        ..Entry::default()
    }
}

/// `name=value,name=value`
fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').filter_map(|word| word.split_once('='))
}

struct Server {
    client: Client,
    base: String,
    authorization: String,
}

impl Server {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ProviderError> {
        let request = self.client.get(format!("{}{path}", self.base)).header(AUTHORIZATION, &self.authorization);
        let answer = http::send(request, ANSWER_BYTES_MAX).await?;
        if matches!(answer.status, 401 | 403) {
            return Err(ProviderError::new(format!(
                "it answers {}: has the token the right to see this?",
                answer.status
            )));
        }
        Ok(answer.good()?.json::<Data<T>>()?.data)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::stub;
    use super::*;

    fn answer(request: &stub::Request) -> stub::Answer {
        if request.header("authorization") != Some("PVEAPIToken=wharf@pve!read=s3cret") {
            return stub::Answer::new(401, "");
        }
        let data = match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/api2/json/cluster/resources?type=vm") => {
                r#"[{"id": "qemu/100", "type": "qemu", "vmid": 100, "name": "web", "node": "pve-1", "status": "running", "pool": "prod", "template": 0, "tags": "a;b"},
                    {"id": "lxc/101", "type": "lxc", "vmid": 101, "name": "db", "node": "pve-2", "status": "stopped", "template": 0},
                    {"id": "qemu/102", "type": "qemu", "vmid": 102, "name": "gone", "node": "pve-1", "status": "unknown"},
                    {"id": "qemu/900", "type": "qemu", "vmid": 900, "name": "tpl", "node": "pve-1", "status": "stopped", "template": 1}]"#
            }
            ("GET", "/api2/json/nodes/pve-1/qemu/100/config") => {
                r#"{"smbios1": "uuid=421f245c-7fa8-60fa-6af6-a46351ced0eb,base64=1", "net0": "virtio=BC:24:11:AA:BB:CC,bridge=vmbr0", "cores": 4}"#
            }
            ("GET", "/api2/json/nodes/pve-2/lxc/101/config") => {
                r#"{"hostname": "db.example", "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:AA:BB:CD,ip=192.0.2.8/24,ip6=dhcp,type=veth"}"#
            }
            _ => return stub::Answer::new(500, r#"{"data": null}"#),
        };
        stub::Answer::new(200, &format!("{{\"data\": {data}}}"))
    }

    fn options(url: String, secret: &str) -> Options {
        Options {
            url,
            token_id: "wharf@pve!read".to_owned(),
            secret: Secret::inline(secret),
            tls: ClientTls::default(),
            every: provider::every(),
            timeout: provider::timeout(),
        }
    }

    #[tokio::test]
    async fn machines_and_containers() {
        let server = stub::serve(answer).await;
        let Told::Machines(inventory) = options(server.url(), "s3cret").open().unwrap().ask().await.unwrap() else {
            panic!("no machines")
        };
        let [web, db, gone] = inventory.entries.as_slice() else { panic!("{inventory:#?}") };
        assert_eq!(web.uuid, Uuid::parse("421f245c-7fa8-60fa-6af6-a46351ced0eb"));
        assert_eq!((web.power.as_str(), web.group.as_str(), web.runs_on.as_str()), ("on", "prod", "pve-1"));
        assert_eq!(web.macs[0].to_string(), "bc:24:11:aa:bb:cc");
        assert_eq!((&*web.tags, db.tags.len()), (&["a".to_owned(), "b".to_owned()][..], 0));
        assert_eq!((db.host_names.len(), db.addresses.len(), db.macs.len()), (1, 1, 1));
        assert_eq!((db.hypervisor.as_str(), db.power.as_str(), db.uuid), ("lxc", "off", None));
        assert_eq!((gone.name.as_str(), gone.uuid), ("gone", None));
        assert!(inventory.notes[0].text.starts_with("`gone` (102) has no configuration"), "{:?}", inventory.notes);
    }

    #[tokio::test]
    async fn a_configuration_that_cannot_be_read_for_once_stays_as_it_was() {
        let times = std::sync::atomic::AtomicUsize::new(0);
        let server = stub::serve(move |request| {
            let is_first = times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 4;
            match request.path.ends_with("/100/config") && !is_first {
                true => stub::Answer::new(595, "no route to host"),
                false => answer(request),
            }
        })
        .await;
        let mut provider = options(server.url(), "s3cret").open().unwrap();
        for notes in [1, 2] {
            let Told::Machines(inventory) = provider.ask().await.unwrap() else { panic!("no machines") };
            let web = &inventory.entries[0];
            assert_eq!(web.uuid, Uuid::parse("421f245c-7fa8-60fa-6af6-a46351ced0eb"), "{notes}");
            assert_eq!((web.macs.len(), inventory.notes.len()), (1, notes));
        }
    }

    #[tokio::test]
    async fn a_wrong_secret_is_not_repeated() {
        let server = stub::serve(answer).await;
        let error = options(server.url(), "wrong").open().unwrap().ask().await.unwrap_err().to_string();
        assert_eq!(error, "it answers 401: has the token the right to see this?");
    }

    #[test]
    fn options_that_cannot_work() {
        let mut options = options("http://pve.example:8006".to_owned(), "s3cret");
        options.token_id = "root".to_owned();
        let problems: Vec<&str> = options.check().iter().map(|problem| problem.option).collect();
        assert_eq!(problems, ["url", "token_id"]);
        assert!(path_part("pve-1").is_ok() && path_part("../x").is_err() && path_part("").is_err());
    }
}
