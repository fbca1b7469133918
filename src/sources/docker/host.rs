//! What the engine says of a container's part in its machine: `HostConfig` and `Mounts` of the answer to
//! `GET /containers/ID/json`.
//!
//! Invariant: whatever is absent or `null` is as if it had not been asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Host {
    pub(super) privileged: bool,
    pub(super) pid_mode: String,
    pub(super) network_mode: String,
    pub(super) ipc_mode: String,
    #[serde(rename = "UTSMode")]
    pub(super) uts_mode: String,
    pub(super) userns_mode: String,
    pub(super) publish_all_ports: bool,
    pub(super) memory: i64,
    pub(super) cpu_shares: i64,
    pub(super) nano_cpus: i64,
    pub(super) cpu_quota: i64,
    pub(super) pids_limit: Option<i64>,
    pub(super) readonly_rootfs: bool,
    pub(super) cgroup_parent: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) restart_policy: RestartPolicy,
    #[serde(deserialize_with = "nullable")]
    pub(super) log_config: LogConfig,
    #[serde(deserialize_with = "nullable")]
    pub(super) cap_add: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) cap_drop: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) security_opt: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) binds: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) devices: Vec<Device>,
    #[serde(deserialize_with = "nullable")]
    pub(super) port_bindings: BTreeMap<String, Option<Vec<Binding>>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RestartPolicy {
    pub(super) name: String,
    pub(super) maximum_retry_count: i64,
}

/// Its options hold addresses and tokens; the name alone is looked at.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct LogConfig {
    #[serde(rename = "Type")]
    pub(super) driver: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Device {
    pub(super) path_on_host: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Binding {
    pub(super) host_ip: String,
    pub(super) host_port: String,
}

/// Before API 1.21 there were none, and until 1.24 they had no type.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Mount {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) source: String,
    pub(super) destination: String,
    #[serde(rename = "RW")]
    pub(super) writable: bool,
    pub(super) propagation: String,
}

impl Host {
    /// Namespaces of the machine that the container has instead of its own.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &'static str> {
        let modes = [
            ("pid", &self.pid_mode),
            ("network", &self.network_mode),
            ("ipc", &self.ipc_mode),
            ("uts", &self.uts_mode),
            ("user", &self.userns_mode),
        ];
        modes.into_iter().filter(|(_, mode)| *mode == "host").map(|(name, _)| name)
    }
}

/// The engine writes an empty list as `null`.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
