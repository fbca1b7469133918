//! What users write below `policy:`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Allowance, Permission};
use crate::part::Interval;

/// What is allowed on which virtual machines. What is not becomes a finding: an event of its own, sent to every
/// sink. `groups`, `rules` and `exceptions` are below; how it works is in `docs/policy.md`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyOptions {
    /// The shipped rules to follow. Default: all of them.
    pub rule_sets: Vec<String>,
    /// A finding about the same rule and machine is told once in so long a time, with its count. Default: 1h.
    pub quiet: Interval,
    /// What happened (a class `finding.*`) and does not happen again in so long a time is resolved. Default: 7d.
    pub resolve_after: Interval,
    /// The zone of `working_hours`: `+01:00`. Default: Z.
    pub zone: String,
}

impl Default for PolicyOptions {
    fn default() -> Self {
        let rule_sets = super::RULE_SETS.iter().map(|set| set.name.to_owned()).collect();
        let (quiet, resolve_after) = (Interval::seconds(3600), Interval::seconds(7 * 24 * 3600));
        PolicyOptions { rule_sets, quiet, resolve_after, zone: "Z".to_owned() }
    }
}

/// Machines, and what they may do. A machine belongs to the first group that names it, then to the one of its
/// inventory's `group`, then to the group `default`. What a group does not say is as in `default`; what that does
/// not say either is not judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GroupOptions {
    /// Names or UUIDs of its machines, with `*` and `?`.
    pub vms: Vec<String>,
    /// Also the machines of which this holds: an expression over what is known of a machine (`vm.*`, `host.name`,
    /// `hypervisor`, `cloud`, `region` and their like).
    #[serde(rename = "match")]
    pub matches: Option<String>,
    /// Docker at all. Default: not judged.
    pub docker: Option<Permission>,
    /// Registries that images may come from, with `*`; `docker.io` where an image names none. Default: not judged.
    pub registries: Option<Vec<String>>,
    /// Images as they are named, or their digests, with `*`. Default: not judged.
    pub images: Option<Vec<String>>,
    /// Privileged containers. Default: not judged.
    pub privileged: Option<Permission>,
    /// Namespaces of the machine that containers may have: `network`, `pid`, `ipc`, `uts`, `user`. Default: not judged.
    pub host_namespaces: Option<Vec<String>>,
    /// Folders and files of the machine that containers may have, with `*`. Default: not judged.
    pub host_mounts: Option<Vec<String>>,
    /// The socket of an engine in a container: whoever has it is root on the machine. Default: not judged.
    pub docker_socket: Option<Permission>,
    /// Capabilities that containers may have beyond the engine's defaults: `NET_ADMIN`. Default: not judged.
    pub capabilities: Option<Vec<String>>,
    /// Where containers may be reached from outside, with `*`: `127.0.0.1:*`, `*:443/tcp`. Default: not judged.
    pub published_ports: Option<Vec<String>>,
    /// What containers may lack of what section 5 of the CIS Docker Benchmark asks for, with `*`: `no_cpu_limit`; the
    /// names stand in `docs/docker.md`. Default: not judged.
    pub weaknesses: Option<Vec<String>>,
    /// Commands in running containers. Default: not judged.
    pub exec: Option<Permission>,
    /// Shells in running containers. Default: not judged.
    pub shell: Option<Permission>,
    /// Users who may do something with containers, where the event says who, with `*`. Default: not judged.
    pub users: Option<Vec<String>>,
    /// When containers may be started and entered: `Mon-Fri 08:00-18:00`. Default: not judged.
    pub working_hours: Option<Vec<String>>,
    /// Its machines speak at least once in so long a time, unless they are switched off: `1h`. Default: not judged.
    pub silent_after: Option<Interval>,
    /// Senders that are in no inventory; in the group `default` alone. Default: not judged.
    pub unknown_senders: Option<Permission>,
}

/// A rule of your own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleOptions {
    /// Which events make a finding: an expression as in the `when` of a sink.
    pub when: String,
    /// Only where this is not allowed.
    #[serde(default)]
    pub unless: Option<Allowance>,
    /// 0 to 10. Default: 5.
    #[serde(default)]
    pub severity: Option<i64>,
    /// The title of its findings. Default: the rule's name.
    #[serde(default)]
    pub about: Option<String>,
    /// What is wrong, in words.
    pub why: String,
    /// What to do about it. Default: none.
    #[serde(default)]
    pub recommendation: Option<String>,
}

/// What is accepted for a time, although a rule says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExceptionOptions {
    /// The rule, with `*`.
    pub rule: String,
    /// Names or UUIDs of machines, with `*`.
    pub vms: Vec<String>,
    /// When it ends: a day (its beginning, UTC) or a time such as `2027-01-31T18:00:00Z`.
    pub until: String,
    /// Why it is accepted: for the next one who reads it.
    pub reason: String,
}
