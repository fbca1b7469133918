//! What a start says: what it found, where things are, what to try. On stderr, for people.

use std::path::Path;

use crate::config::{Config, LeftOut};
use crate::identity::Local;

/// Places worth mentioning when they are here.
const FINDINGS: &[(&str, &str)] = &[
    ("/var/run/docker.sock", "Docker Engine socket"),
    ("/var/log/docker.log", "dockerd log"),
    ("/var/log/upstart/docker.log", "dockerd log"),
    ("/var/ossec/logs/alerts/alerts.json", "Wazuh alerts"),
];

/// Prints it.
pub(super) fn print(config: &Config, left_out: Option<&[LeftOut]>, local: &Local) {
    let uuid = local.uuid.map_or_else(|| "not readable".to_owned(), |uuid| uuid.to_string());
    let or_unknown = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
    eprintln!("machine {}: hypervisor {}, VM UUID {uuid}", or_unknown(&local.hostname), or_unknown(&local.hypervisor));
    let Some(left_out) = left_out else { return };
    for (path, what) in FINDINGS.iter().filter(|(path, _)| Path::new(path).exists()) {
        eprintln!("found {what} {path}");
    }
    for part in left_out {
        eprintln!("source {} is left out: {}", part.name, part.reason);
    }
    let data_dir = config.data_dir.display();
    eprintln!("archive   {data_dir}/archive");
    eprintln!("page      http://{}/, with the token in {data_dir}/page-token", config.admin.listen.get());
    eprintln!("HEC token {data_dir}/hec-token");
    eprintln!();
    eprintln!("try:");
    eprintln!("  logger --server 127.0.0.1 --port 5514 --tcp --rfc5424 'hello from the wharf'");
    eprintln!("  curl -s http://{}/metrics", config.admin.listen.get());
    eprintln!("  wharfinger verify {data_dir}/archive --key {data_dir}/sealing/archive/vkey-1");
}
