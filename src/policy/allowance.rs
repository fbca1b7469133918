//! Allowances: what a group of machines may do, and what an event says of it.
//!
//! Invariant: what an event does not say, or the policy does not, is never a finding.

use std::borrow::Cow;
use std::time::Duration;

use wharfinger_formats::image::registry;
use wharfinger_formats::{Event, Field, Time, Value};

use super::hours::Hours;

/// A question that a group answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Allowance {
    /// Docker at all.
    Docker,
    /// Where images come from.
    Registries,
    /// Which images.
    Images,
    /// Privileged containers.
    Privileged,
    /// Namespaces of the machine in containers.
    HostNamespaces,
    /// Folders of the machine in containers.
    HostMounts,
    /// Sockets of engines in containers.
    DockerSocket,
    /// What containers may do beyond the engine's defaults.
    Capabilities,
    /// Where containers can be reached from outside.
    PublishedPorts,
    /// What containers lack of what section 5 of the CIS benchmark asks for.
    Weaknesses,
    /// Commands in running containers.
    Exec,
    /// Shells among them.
    Shell,
    /// Who.
    Users,
    /// When.
    WorkingHours,
    /// Saying nothing. No event is about it.
    #[serde(skip)]
    SilentAfter,
    /// Speaking without being in an inventory. No event is about it.
    #[serde(skip)]
    UnknownSenders,
}

impl Allowance {
    /// The option of a group that answers it.
    pub fn name(self) -> &'static str {
        match self {
            Allowance::Docker => "docker",
            Allowance::Registries => "registries",
            Allowance::Images => "images",
            Allowance::Privileged => "privileged",
            Allowance::HostNamespaces => "host_namespaces",
            Allowance::HostMounts => "host_mounts",
            Allowance::DockerSocket => "docker_socket",
            Allowance::Capabilities => "capabilities",
            Allowance::PublishedPorts => "published_ports",
            Allowance::Weaknesses => "weaknesses",
            Allowance::Exec => "exec",
            Allowance::Shell => "shell",
            Allowance::Users => "users",
            Allowance::WorkingHours => "working_hours",
            Allowance::SilentAfter => "silent_after",
            Allowance::UnknownSenders => "unknown_senders",
        }
    }
}

/// The group of extras that hold what the engine told of a container.
const INSPECT: &str = "inspect";

impl Allowance {
    /// The list that it asks for, if it asks for one: an extra of [`INSPECT`].
    fn list(self) -> Option<&'static str> {
        match self {
            Allowance::HostNamespaces
            | Allowance::HostMounts
            | Allowance::Capabilities
            | Allowance::PublishedPorts
            | Allowance::Weaknesses => Some(self.name()),
            _ => None,
        }
    }

    /// That list, as JSON.
    pub(super) fn told<'e>(self, event: &'e Event<'_>) -> Option<&'e str> {
        let list = self.list()?;
        match event.extras().find(|extra| extra.group == INSPECT && extra.name == list)?.value {
            Value::Json(text) => Some(text),
            _ => None,
        }
    }

    /// Puts it back into an event.
    pub(super) fn tell(self, json: &str, event: &mut Event<'_>) {
        if let Some(list) = self.list() {
            event.extra(INSPECT, list, Value::Json(json));
        }
    }
}

/// What users write for what is allowed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    Allowed,
    Forbidden,
}

/// The answers of a group; what is absent is not judged.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Allowances {
    pub(super) docker: Option<Permission>,
    pub(super) registries: Option<Vec<Glob>>,
    pub(super) images: Option<Vec<Glob>>,
    pub(super) privileged: Option<Permission>,
    pub(super) host_namespaces: Option<Vec<Glob>>,
    pub(super) host_mounts: Option<Vec<Glob>>,
    pub(super) docker_socket: Option<Permission>,
    pub(super) capabilities: Option<Vec<Glob>>,
    pub(super) published_ports: Option<Vec<Glob>>,
    pub(super) weaknesses: Option<Vec<Glob>>,
    pub(super) exec: Option<Permission>,
    pub(super) shell: Option<Permission>,
    pub(super) users: Option<Vec<Glob>>,
    pub(super) working_hours: Option<Vec<Hours>>,
    pub(super) silent_after: Option<Duration>,
    pub(super) unknown_senders: Option<Permission>,
}

/// What the policy says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    Forbidden,
    /// The policy has no answer.
    NotAsked,
    /// The event does not say it: no image, no user.
    NotTold,
}

impl Allowances {
    pub(super) fn judge(&self, allowance: Allowance, event: &Event<'_>, zone_seconds: i64) -> Verdict {
        match allowance {
            Allowance::Docker => permission(self.docker),
            Allowance::Privileged => permission(self.privileged),
            Allowance::HostNamespaces
            | Allowance::HostMounts
            | Allowance::Capabilities
            | Allowance::PublishedPorts
            | Allowance::Weaknesses => all_listed(self.list(allowance), allowance.told(event)),
            Allowance::DockerSocket => permission(self.docker_socket),
            Allowance::Exec => permission(self.exec),
            Allowance::Shell => permission(self.shell),
            Allowance::Registries => listed(self.registries.as_deref(), || {
                let registry = registry(event.text(Field::ImageRef)?)?;
                Some([Some(registry), None])
            }),
            Allowance::Images => listed(self.images.as_deref(), || {
                let (image, digest) = (event.text(Field::ImageRef), event.text(Field::ImageDigest));
                (image.is_some() || digest.is_some()).then_some([image, digest])
            }),
            Allowance::Users => listed(self.users.as_deref(), || Some([Some(event.text(Field::UserName)?), None])),
            Allowance::WorkingHours => match (&self.working_hours, time(event)) {
                (None, _) => Verdict::NotAsked,
                (_, None) => Verdict::NotTold,
                (Some(hours), Some(time)) => is(hours.iter().any(|hours| hours.hold(time, zone_seconds))),
            },
            // The clock asks only where there was silence for so long.
            Allowance::SilentAfter => self.silent_after.map_or(Verdict::NotAsked, |_| Verdict::Forbidden),
            Allowance::UnknownSenders => permission(self.unknown_senders),
        }
    }

    /// What a container may have of what [`Allowance::told`] lists.
    fn list(&self, allowance: Allowance) -> Option<&[Glob]> {
        match allowance {
            Allowance::HostNamespaces => self.host_namespaces.as_deref(),
            Allowance::HostMounts => self.host_mounts.as_deref(),
            Allowance::Capabilities => self.capabilities.as_deref(),
            Allowance::PublishedPorts => self.published_ports.as_deref(),
            Allowance::Weaknesses => self.weaknesses.as_deref(),
            _ => None,
        }
    }

    /// What a container has and may not, for people.
    pub(super) fn beyond(&self, allowance: Allowance, event: &Event<'_>) -> Option<String> {
        let list = self.list(allowance)?;
        let told = serde_json::from_str::<Vec<Cow<'_, str>>>(allowance.told(event)?).ok()?;
        let beyond: Vec<&str> = told.iter().map(|name| &**name).filter(|name| !is_on(list, name)).collect();
        (!beyond.is_empty()).then(|| beyond.join(", "))
    }

    /// Fills what is absent from the answers of another group.
    #[must_use]
    pub(super) fn or(self, other: &Allowances) -> Allowances {
        let other = other.clone();
        Allowances {
            docker: self.docker.or(other.docker),
            registries: self.registries.or(other.registries),
            images: self.images.or(other.images),
            privileged: self.privileged.or(other.privileged),
            host_namespaces: self.host_namespaces.or(other.host_namespaces),
            host_mounts: self.host_mounts.or(other.host_mounts),
            docker_socket: self.docker_socket.or(other.docker_socket),
            capabilities: self.capabilities.or(other.capabilities),
            published_ports: self.published_ports.or(other.published_ports),
            weaknesses: self.weaknesses.or(other.weaknesses),
            exec: self.exec.or(other.exec),
            shell: self.shell.or(other.shell),
            users: self.users.or(other.users),
            working_hours: self.working_hours.or(other.working_hours),
            silent_after: self.silent_after.or(other.silent_after),
            unknown_senders: self.unknown_senders.or(other.unknown_senders),
        }
    }

    /// Whether it is answered by a word, and that word is `allowed`.
    pub(super) fn allows(&self, allowance: Allowance) -> bool {
        let permission = match allowance {
            Allowance::Docker => self.docker,
            Allowance::Privileged => self.privileged,
            Allowance::DockerSocket => self.docker_socket,
            Allowance::Exec => self.exec,
            Allowance::Shell => self.shell,
            _ => None,
        };
        permission == Some(Permission::Allowed)
    }

    /// Whether it has an answer.
    pub(super) fn answers(&self, allowance: Allowance) -> bool {
        match allowance {
            Allowance::Docker => self.docker.is_some(),
            Allowance::Registries => self.registries.is_some(),
            Allowance::Images => self.images.is_some(),
            Allowance::Privileged => self.privileged.is_some(),
            Allowance::HostNamespaces => self.host_namespaces.is_some(),
            Allowance::HostMounts => self.host_mounts.is_some(),
            Allowance::DockerSocket => self.docker_socket.is_some(),
            Allowance::Capabilities => self.capabilities.is_some(),
            Allowance::PublishedPorts => self.published_ports.is_some(),
            Allowance::Weaknesses => self.weaknesses.is_some(),
            Allowance::Exec => self.exec.is_some(),
            Allowance::Shell => self.shell.is_some(),
            Allowance::Users => self.users.is_some(),
            Allowance::WorkingHours => self.working_hours.is_some(),
            Allowance::SilentAfter => self.silent_after.is_some(),
            Allowance::UnknownSenders => self.unknown_senders.is_some(),
        }
    }
}

fn permission(permission: Option<Permission>) -> Verdict {
    match permission {
        Some(Permission::Allowed) => Verdict::Allowed,
        Some(Permission::Forbidden) => Verdict::Forbidden,
        None => Verdict::NotAsked,
    }
}

fn is(allowed: bool) -> Verdict {
    if allowed { Verdict::Allowed } else { Verdict::Forbidden }
}

/// One of the names must be on the list.
fn listed<'e>(list: Option<&[Glob]>, names: impl FnOnce() -> Option<[Option<&'e str>; 2]>) -> Verdict {
    let Some(list) = list else { return Verdict::NotAsked };
    let Some(names) = names() else { return Verdict::NotTold };
    is(names.into_iter().flatten().any(|name| is_on(list, name)))
}

/// Everything on the list that the engine told of a container must be on that of the group, too.
fn all_listed(list: Option<&[Glob]>, told: Option<&str>) -> Verdict {
    let Some(list) = list else { return Verdict::NotAsked };
    let told = told.and_then(|told| serde_json::from_str::<Vec<Cow<'_, str>>>(told).ok());
    let Some(told) = told else { return Verdict::NotTold };
    is(told.iter().all(|name| is_on(list, name)))
}

fn is_on(list: &[Glob], name: &str) -> bool {
    list.iter().any(|glob| glob.has(name))
}

/// When it happened; by our clock where the sender names no time.
pub(super) fn time(event: &Event<'_>) -> Option<Time> {
    event.time(Field::Time).or_else(|| event.time(Field::ObservedTime))
}

/// A name with `*` for any letters and `?` for one; capital letters make no difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob(String);

impl Glob {
    pub(super) fn new(text: &str) -> Glob {
        Glob(text.to_lowercase())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        matches(self.0.as_bytes(), name.as_bytes())
    }
}

/// Goes back to the last `*` alone: the cost is the product of both lengths at most.
fn matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of_name, mut star) = (0, 0, None);
    while of_name < name.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, of_name));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[of_name].to_ascii_lowercase() => {
                at += 1;
                of_name += 1;
            }
            _ => {
                let Some((star_at, from)) = star else { return false };
                star = Some((star_at, from + 1));
                (at, of_name) = (star_at + 1, from + 1);
            }
        }
    }
    glob[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (glob, name, expected) in [
            ("web-*", "WEB-01", true),
            ("web-*", "aweb-01", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b", "xxaxxbxxab", true),
            ("*a*b", "xxaxxbxxa", false),
            ("nginx*", "nginx:1.27", true),
        ] {
            assert_eq!(Glob::new(glob).has(name), expected, "{glob} {name}");
        }
        let long = "a".repeat(10_000);
        assert!(!Glob::new(&"a*".repeat(50)).has(&format!("b{long}")));
    }

    #[test]
    fn what_is_not_said_is_not_judged() {
        let mut event = Event::new(b"");
        let mut allowances = Allowances { docker: Some(Permission::Forbidden), ..Allowances::default() };
        assert_eq!(allowances.judge(Allowance::Docker, &event, 0), Verdict::Forbidden);
        assert_eq!(allowances.judge(Allowance::Images, &event, 0), Verdict::NotAsked);
        allowances.images = Some(vec![Glob::new("nginx*"), Glob::new("sha256:17*")]);
        assert_eq!(allowances.judge(Allowance::Images, &event, 0), Verdict::NotTold);
        event.set(Field::ImageRef, "redis:7");
        assert_eq!(allowances.judge(Allowance::Images, &event, 0), Verdict::Forbidden);
        event.set(Field::ImageDigest, "sha256:1734");
        assert_eq!(allowances.judge(Allowance::Images, &event, 0), Verdict::Allowed);
    }

    #[test]
    fn all_of_a_list_must_be_allowed() {
        let mut event = Event::new(b"");
        let globs = |texts: &[&str]| Some(texts.iter().map(|text| Glob::new(text)).collect());
        let mut allowances = Allowances { host_mounts: globs(&["/srv/*"]), ..Allowances::default() };
        assert_eq!(allowances.judge(Allowance::Capabilities, &event, 0), Verdict::NotAsked);
        assert_eq!(allowances.judge(Allowance::HostMounts, &event, 0), Verdict::NotTold);
        event.extra("inspect", "host_mounts", Value::Json(r#"["/etc","/srv/a"]"#));
        assert_eq!(allowances.judge(Allowance::HostMounts, &event, 0), Verdict::Forbidden);
        assert_eq!(allowances.beyond(Allowance::HostMounts, &event).as_deref(), Some("/etc"));
        allowances.host_mounts = globs(&["/srv/*", "/etc"]);
        assert_eq!(allowances.judge(Allowance::HostMounts, &event, 0), Verdict::Allowed);
        allowances.host_mounts = globs(&[]);
        assert_eq!(allowances.judge(Allowance::HostMounts, &event, 0), Verdict::Forbidden);
    }
}
