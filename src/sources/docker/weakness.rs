//! Weaknesses: what section 5 of the CIS Docker Benchmark (v1.6.0) asks of a container and this one has not.
//!
//! Invariant: each is decided by what the engine says of the container, never by labels or names.

use std::net::IpAddr;

use super::container::Container;
use super::host::{Host, Mount};

type Check = fn(&Container) -> bool;

/// The name of each, and whether a container has it; `docs/docker.md` names the clauses. What has a field of its own
/// (privileged, capabilities, mounts, namespaces, the socket) is not among them.
const WEAKNESSES: &[(&str, Check)] = &[
    ("root_user", |container| is_root(&container.config.user)),
    ("no_apparmor_or_selinux", is_unconfined),
    ("ssh_server", |container| container.path.rsplit('/').next() == Some("sshd")),
    ("privileged_port", |container| container.ports().iter().any(|port| is_low(port))),
    ("no_memory_limit", |container| container.host_config.memory == 0),
    ("no_cpu_limit", |container| has_no_cpu_limit(&container.host_config)),
    ("writable_root", |container| !container.host_config.readonly_rootfs),
    ("any_interface", |container| container.ports().iter().any(|port| is_anywhere(port))),
    ("restarts_forever", |container| restarts_forever(&container.host_config)),
    ("devices", |container| !container.host_config.devices.is_empty()),
    ("shared_mounts", |container| container.mounts.iter().any(is_shared)),
    ("no_seccomp", |container| has_option(container, &["seccomp=unconfined", "seccomp:unconfined"])),
    ("cgroup_parent", |container| !container.host_config.cgroup_parent.is_empty()),
    ("new_privileges", |container| !has_option(container, NO_NEW_PRIVILEGES)),
    ("no_health_check", |container| container.health_check().is_none()),
    // Before API 1.23 the engine cannot limit them: then there is no limit either.
    ("no_process_limit", |container| container.host_config.pids_limit.unwrap_or(0) <= 0),
    ("default_bridge", |container| matches!(&*container.host_config.network_mode, "default" | "bridge")),
];

const NO_NEW_PRIVILEGES: &[&str] = &["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"];

/// The names of those that a container has.
pub(super) fn of(container: &Container) -> Vec<&'static str> {
    WEAKNESSES.iter().filter(|(_, has)| has(container)).map(|(name, _)| *name).collect()
}

/// The engine reads `00` and `+0` as numbers, too.
fn is_root(user: &str) -> bool {
    let user = user.split(':').next().unwrap_or_default();
    matches!(user, "" | "root") || user.parse::<i64>() == Ok(0)
}

/// Neither of the two holds it.
fn is_unconfined(container: &Container) -> bool {
    matches!(&*container.app_armor_profile, "" | "unconfined") && container.process_label.is_empty()
}

/// Address and port of `0.0.0.0:80/tcp`.
fn parts(published: &str) -> (&str, &str) {
    let (address, port) = published.rsplit_once(':').unwrap_or(("", published));
    (address, port.split_once('/').map_or(port, |(port, _)| port))
}

/// Of a range the lowest decides. What the engine understands and we do not may be one.
fn is_low(published: &str) -> bool {
    let (_, port) = parts(published);
    let lowest = port.split_once('-').map_or(port, |(lowest, _)| lowest);
    port != "random" && lowest.parse::<u16>().map_or(true, |port| port < 1024)
}

/// An address has many spellings; one that we do not know may stand for all.
fn is_anywhere(published: &str) -> bool {
    let (address, _) = parts(published);
    let address = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    address.parse::<IpAddr>().map_or(true, |address| address.to_canonical().is_unspecified())
}

fn has_no_cpu_limit(host: &Host) -> bool {
    host.cpu_shares == 0 && host.nano_cpus == 0 && host.cpu_quota <= 0
}

/// The benchmark asks for `on-failure` and at most five times.
fn restarts_forever(host: &Host) -> bool {
    match &*host.restart_policy.name {
        "always" | "unless-stopped" => true,
        "on-failure" => !(1..=5).contains(&host.restart_policy.maximum_retry_count),
        _ => false,
    }
}

fn is_shared(mount: &Mount) -> bool {
    matches!(&*mount.propagation, "shared" | "rshared")
}

fn has_option(container: &Container, options: &[&str]) -> bool {
    container.host_config.security_opt.iter().any(|option| options.contains(&&**option))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of_json(json: &str) -> Vec<&'static str> {
        of(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_container_that_has_none_and_one_that_has_all() {
        let hard = r#"{"AppArmorProfile":"docker-default","Path":"/usr/bin/app",
            "Config":{"User":"1000:1000","Healthcheck":{"Test":["CMD","true"]}},
            "HostConfig":{"Memory":1048576,"NanoCpus":500000000,"ReadonlyRootfs":true,"NetworkMode":"app",
                "RestartPolicy":{"Name":"on-failure","MaximumRetryCount":5},"CgroupParent":"","PidsLimit":100,
                "SecurityOpt":["no-new-privileges"],"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]}},
            "Mounts":[{"Type":"bind","Source":"/srv","Destination":"/srv","RW":true,"Propagation":"rprivate"}]}"#;
        assert_eq!(of_json(hard), Vec::<&str>::new());
        let soft = r#"{"AppArmorProfile":"unconfined","Path":"/usr/sbin/sshd","Config":{"User":"0:0"},
            "HostConfig":{"Memory":0,"ReadonlyRootfs":false,"NetworkMode":"default","CgroupParent":"/mine","PidsLimit":0,
                "RestartPolicy":{"Name":"on-failure","MaximumRetryCount":0},"SecurityOpt":["seccomp=unconfined"],
                "Devices":[{"PathOnHost":"/dev/kmsg"}],"PortBindings":{"22/tcp":[{"HostIp":"","HostPort":"22"}]}},
            "Mounts":[{"Type":"bind","Source":"/srv","Destination":"/srv","RW":true,"Propagation":"shared"}]}"#;
        assert_eq!(of_json(soft), WEAKNESSES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        let selinux = r#"{"ProcessLabel":"system_u:system_r:container_t:s0:c1,c2"}"#;
        assert!(!of_json(selinux).contains(&"no_apparmor_or_selinux"));
        let plain = of_json(r#"{"HostConfig":{"PidsLimit":null,"RestartPolicy":{"Name":"no"}}}"#);
        assert!(plain.contains(&"no_process_limit") && !plain.contains(&"restarts_forever"), "{plain:?}");
        let random = r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"::1","HostPort":""}]}}}"#;
        let ports = of_json(random);
        assert!(!ports.contains(&"privileged_port") && !ports.contains(&"any_interface"), "{ports:?}");
    }

    #[test]
    fn no_spelling_hides_one() {
        for user in ["00", "+0", "000:7", "-0"] {
            assert!(is_root(user), "{user}");
        }
        for user in ["1000", "0x0", "app", "01"] {
            assert!(!is_root(user), "{user}");
        }
        let ports = |address: &str, port: &str| {
            let bound = format!(r#"{{"HostIp":"{address}","HostPort":"{port}"}}"#);
            let found = of_json(&format!(r#"{{"HostConfig":{{"PortBindings":{{"80/tcp":[{bound}]}}}}}}"#));
            ["privileged_port", "any_interface"].map(|name| found.contains(&name))
        };
        assert_eq!(ports("127.0.0.1", "80-90"), [true, false]);
        assert_eq!(ports("127.0.0.1", "8080-8090"), [false, false]);
        assert_eq!(ports("127.0.0.1", "http"), [true, false]);
        for address in ["0:0:0:0:0:0:0:0", "::ffff:0.0.0.0", "::", "[::]", "00.0.0.0"] {
            assert_eq!(ports(address, "8080"), [false, true], "{address}");
        }
        assert_eq!(ports("::1", "8080"), [false, false]);
    }

    #[test]
    fn the_documentation_names_each_in_this_order() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/docker.md")).unwrap();
        let (_, table) = page.split_once("| name | clause | the container |").unwrap();
        let rows = table.lines().skip(2).map_while(|row| row.strip_prefix("| `")?.split('`').next());
        assert_eq!(rows.collect::<Vec<_>>(), WEAKNESSES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
