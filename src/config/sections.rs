//! The sections of fixed options: `data_dir`, `identity`, `journal`, `receipts`, `admin`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::document::{Mistake, Node, Place, Table, hint_for_name, read_options};
use crate::part::{ByteSize, Interval, Listen};

/// What stands at the top level.
pub(super) const NAMES: &[&str] =
    &["data_dir", "sources", "sinks", "identity", "policy", "journal", "receipts", "admin", "digests"];

/// How the gateway knows on which virtual machine something happened.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Inventory files, read again when they change: exports of RVTools and PowerCLI (`.csv`), what govc prints
    /// (`.json`), own lists (`.csv`, `.yaml`, `.toml`, `.json`). Default: none.
    pub inventory: Vec<PathBuf>,
    /// Credentials that belong to machines, by their name or UUID: the name in a client's certificate, `uid 1001` for
    /// the user at a unix socket, `token NAME` for whoever has that one of the `tokens` of a source `hec`, `source NAME`
    /// for whoever has any token of that source, `agent ID` for the agent that a relay calls so. A certificate that
    /// names a machine needs no entry. Default: none.
    pub senders: BTreeMap<String, String>,
    /// Where this machine's DMI files are. Default: /sys/class/dmi/id.
    pub dmi: PathBuf,
}

impl Default for Identity {
    fn default() -> Self {
        Identity { inventory: Vec::new(), senders: BTreeMap::new(), dmi: "/sys/class/dmi/id".into() }
    }
}

/// The one log on local disk between sources and sinks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// The most it may take on disk. When it is full, sources wait. At least 16MiB. Default: 1GiB.
    pub bytes_max: ByteSize,
    /// When bytes are forced to disk: `always` before a source is answered, `interval` every
    /// `sync_interval`, `never` by the operating system alone. Default: always.
    pub sync: Sync,
    /// Time between two syncs with `sync: interval`: so much can be lost when power fails. Default: 1s.
    pub sync_interval: Interval,
}

/// When bytes are forced to disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sync {
    /// Before a source is answered.
    #[default]
    Always,
    /// Every `sync_interval`.
    Interval,
    /// When the operating system likes.
    Never,
}

/// What is written down of each delivery: which events a sink's peer has, since when, and what it answered.
/// `wharfinger status --event ID` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Receipts {
    /// Whether they are kept, in the folder `receipts` of the data directory. Default: true.
    pub keep: bool,
    /// The most they may take on disk for each sink; the oldest go first. At least 64KiB. Default: 64MiB.
    pub bytes_max: ByteSize,
    /// How long they are kept. Default: 30d.
    pub age_max: Interval,
}

/// The web page, health, readiness, metrics and accounts over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where the web page (`/`), `/health`, `/ready`, `/metrics` and `/api/*` are. What the page and `/api/*` tell needs
    /// the token in `page-token` of the data directory; the rest answers whoever reaches it. Default: 127.0.0.1:8686.
    pub listen: Listen,
}

/// Less does not hold a segment and the reserve.
pub(super) const JOURNAL_BYTES_MIN: ByteSize = ByteSize::mib(16);

impl Default for Journal {
    fn default() -> Self {
        Journal { bytes_max: ByteSize::mib(1024), sync: Sync::Always, sync_interval: Interval::seconds(1) }
    }
}

/// Less does not hold an entry beside the file before.
pub(super) const RECEIPTS_BYTES_MIN: ByteSize = ByteSize::bytes(64 * 1024);

impl Default for Receipts {
    fn default() -> Self {
        Receipts { keep: true, bytes_max: ByteSize::mib(64), age_max: Interval::seconds(30 * 24 * 3600) }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Admin { listen: Listen::new(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8686)) }
    }
}

/// `/var/lib/wharfinger` for root; `$XDG_STATE_HOME/wharfinger` or `~/.local/state/wharfinger` for
/// everybody else.
pub fn default_data_dir() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/wharfinger");
    }
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map_or_else(|| PathBuf::from("/var/lib/wharfinger"), |state| state.join("wharfinger"))
}

pub(super) fn data_dir(root: &Node, errors: &mut Vec<Mistake>) -> Option<PathBuf> {
    let Some(entry) = root.entry("data_dir") else { return Some(default_data_dir()) };
    let table = Table { path: "data_dir", place: entry.place, except: &[] };
    let path: Option<PathBuf> = read_options(&entry.node, table, |options| erased_serde::deserialize(options))
        .map_err(|found| errors.extend(found))
        .ok();
    if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
        errors.push(Mistake::new(
            Some::<Place>(entry.node.place),
            "`data_dir` is empty",
            "name a folder, or leave it out",
        ));
    }
    path
}

/// Sections of other shippers, for users who come from there.
pub(super) fn hint_for_section(name: &str) -> String {
    match name {
        "inputs" => "sources of events stand below `sources`".to_owned(),
        "outputs" => "places events go to stand below `sinks`".to_owned(),
        "transforms" | "filters" | "parsers" | "routes" => {
            "leave it out: parsing is built in, and every sink gets every event".to_owned()
        }
        "api" => "health and metrics are in the section `admin`".to_owned(),
        "enrichment_tables" => "inventories of machines stand in `identity.inventory`".to_owned(),
        _ => hint_for_name(name, NAMES),
    }
}
