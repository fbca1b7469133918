//! What the engine says of a container and its image, so far as it matters to who judges it.
//!
//! Invariants: environment, command and labels never get into an event: they hold secrets, and an owner may
//! write anything there. A list that is cut says so, in words that no list of a policy has.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wharfinger_formats::{Event, Field, Value};

use super::host::{Binding, Host, Mount, nullable};
use super::known::Labels;
use super::weakness;

/// Names and single values are cut at so many bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// Of what the engine said so much is kept; what it means stands in the fields.
const RAW_BYTES_MAX: usize = 128 * 1024;
/// A list has so many entries, and a word about the rest.
const ENTRIES_MAX: usize = 64;

/// Whoever can write to one of these, or to a folder above it, is root on the machine.
const SOCKETS: &[&str] = &[
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/podman/podman.sock",
];

/// Of the answer to `GET /containers/ID/json`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Container {
    id: String,
    created: String,
    name: String,
    /// The id of its image.
    pub(super) image: String,
    /// The program that it runs, without its arguments.
    #[serde(skip_serializing)]
    pub(super) path: String,
    pub(super) app_armor_profile: String,
    /// Of SELinux.
    pub(super) process_label: String,
    pub(super) config: Settings,
    pub(super) host_config: Host,
    #[serde(deserialize_with = "nullable")]
    pub(super) mounts: Vec<Mount>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Settings {
    /// The image as the user named it.
    image: String,
    pub(super) user: String,
    #[serde(deserialize_with = "nullable")]
    exposed_ports: BTreeMap<String, Nothing>,
    /// Their names alone are looked at.
    #[serde(deserialize_with = "nullable", skip_serializing)]
    labels: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(deserialize_with = "nullable", skip_serializing)]
    healthcheck: Healthcheck,
    #[serde(deserialize_with = "nullable", skip_serializing)]
    shell: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Healthcheck {
    /// `CMD` and words, `CMD-SHELL` and a line, or `NONE`.
    #[serde(deserialize_with = "nullable")]
    test: Vec<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct Nothing {}

/// Of the answer to `GET /images/ID/json`.
#[derive(Debug, Default, Clone, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Image {
    #[serde(deserialize_with = "nullable")]
    repo_tags: Vec<String>,
    /// `registry.example/app@sha256:…`: where it was pulled from or pushed to.
    #[serde(deserialize_with = "nullable")]
    repo_digests: Vec<String>,
}

/// Both, as they stand in `raw`.
#[derive(Debug, Default, Serialize)]
pub(super) struct Inspected {
    #[serde(flatten)]
    pub(super) container: Container,
    /// None: the engine would not tell.
    #[serde(rename = "ImageInspect", skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<Image>,
}

impl Container {
    /// What its labels can forge in events.
    pub(super) fn labels(&self) -> Labels {
        Labels::named(self.config.labels.keys().map(String::as_str))
    }

    /// What its health check runs, as events tell it: words joined by spaces.
    pub(super) fn health_check(&self) -> Option<String> {
        let (kind, words) = self.config.healthcheck.test.split_first()?;
        let shell = match &*self.config.shell {
            [] => "/bin/sh -c".to_owned(),
            shell => shell.join(" "),
        };
        match (&**kind, words) {
            ("CMD", words) => Some(words.join(" ")),
            ("CMD-SHELL", [line, ..]) => Some(format!("{shell} {line}")),
            _ => None,
        }
    }

    /// `0.0.0.0:8080/tcp`: where it can be reached from outside; `random` where the engine chooses.
    pub(super) fn ports(&self) -> BTreeSet<String> {
        let protocol = |port: &str| port.split_once('/').map_or("tcp", |(_, protocol)| protocol).to_owned();
        let host = &self.host_config;
        let bound = host.port_bindings.iter().flat_map(|(port, bindings)| {
            bindings.iter().flatten().map(move |Binding { host_ip, host_port }| {
                let host_ip = if host_ip.is_empty() { "0.0.0.0" } else { host_ip };
                let host_port = if host_port.is_empty() { "random" } else { host_port };
                format!("{host_ip}:{host_port}/{}", protocol(port))
            })
        });
        let all = self.config.exposed_ports.keys().filter(|_| host.publish_all_ports);
        bound.chain(all.map(|port| format!("0.0.0.0:random/{}", protocol(port)))).collect()
    }
}

impl Inspected {
    /// The engine's words that were kept.
    pub(super) fn raw(&self) -> Vec<u8> {
        // Texts and lists of texts can always be written.
        let mut raw = serde_json::to_vec(self).unwrap_or_default();
        raw.truncate(RAW_BYTES_MAX);
        raw
    }

    pub(super) fn fill(&self, event: &mut Event<'_>) {
        let Container { config, host_config: host, .. } = &self.container;
        event.set_text(Field::ContainerName, cut(self.container.name.trim_start_matches('/')));
        event.set_text(Field::ImageRef, cut(self.image_ref()));
        event.set_text(Field::ImageDigest, cut(self.digest()));
        event.extra("inspect", "privileged", host.privileged);
        // The engine has replaced it by that of the image: what is empty now is root.
        event.extra("inspect", "user", if config.user.is_empty() { "root" } else { cut(&config.user) });
        let lists = self.lists();
        for (name, list) in &lists {
            if let Ok(text) = serde_json::to_string(list) {
                event.extra("inspect", name, Value::Json(&text));
            }
        }
        if self.has_socket() {
            event.extra("inspect", "docker_socket", true);
        }
        event.set(Field::Msg, &*self.text(&lists));
        if let Ok(text) = serde_json::to_string(&weakness::of(&self.container)) {
            event.extra("inspect", "weaknesses", Value::Json(&text));
        }
        for (name, value) in [
            ("apparmor", &self.container.app_armor_profile),
            ("image_id", &self.container.image),
            ("log_driver", &host.log_config.driver),
        ] {
            if !value.is_empty() {
                event.extra("inspect", name, cut(value));
            }
        }
    }

    /// What is more than a plain container has, each under its name; only what there is.
    fn lists(&self) -> Vec<(&'static str, Vec<String>)> {
        let host = &self.container.host_config;
        let capabilities = |list: &[String]| list.iter().map(|name| capability(name)).collect();
        let lists: [(&'static str, BTreeSet<String>); 8] = [
            ("host_namespaces", host.namespaces().map(str::to_owned).collect()),
            ("capabilities", capabilities(&host.cap_add)),
            ("capabilities_dropped", capabilities(&host.cap_drop)),
            ("host_mounts", self.host_mounts().map(str::to_owned).collect()),
            ("devices", host.devices.iter().map(|device| device.path_on_host.clone()).collect()),
            ("published_ports", self.container.ports()),
            ("security_options", host.security_opt.iter().cloned().collect()),
            ("image_digests", self.image.iter().flat_map(|image| image.repo_digests.clone()).collect()),
        ];
        lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| (name, shortened(list))).collect()
    }

    /// Folders and files of the machine that are mounted. A volume is none of them.
    fn host_mounts(&self) -> impl Iterator<Item = &str> {
        let is_bind = |mount: &&Mount| mount.kind == "bind" || mount.kind.is_empty() && mount.name.is_empty();
        let mounts = self.container.mounts.iter().filter(is_bind).map(|mount| &*mount.source);
        let binds = self.container.host_config.binds.iter().filter_map(|bind| bind.split(':').next());
        mounts.chain(binds.filter(|path| path.starts_with('/')))
    }

    /// Whether the socket of an engine is among what is mounted, or in it.
    fn has_socket(&self) -> bool {
        let reaches = |path: &str| {
            let path = path.trim_end_matches('/');
            SOCKETS
                .iter()
                .any(|socket| socket.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        };
        self.host_mounts().any(reaches)
    }

    /// The image as the user named it; one that was named by its id has a name of its registry, if any.
    fn image_ref(&self) -> &str {
        let given = &*self.container.config.image;
        let digits = given.strip_prefix("sha256:").unwrap_or(given);
        let is_id = !digits.is_empty() && self.container.image.trim_start_matches("sha256:").starts_with(digits);
        let names = || self.image.iter().flat_map(|image| image.repo_digests.iter().chain(&image.repo_tags));
        if is_id { names().next().map_or(given, String::as_str) } else { given }
    }

    /// The digest under which the registry of the image has it; the image's id where none has it.
    fn digest(&self) -> &str {
        let name = self.image_ref();
        let digests = || self.image.iter().flat_map(|image| &image.repo_digests).filter_map(|one| one.split_once('@'));
        let own =
            digests().find(|(repository, _)| name.strip_prefix(repository).is_some_and(|rest| !rest.starts_with('/')));
        own.or_else(|| digests().next()).map_or(&self.container.image, |(_, digest)| digest)
    }

    /// For people: what of it is more than a plain container has.
    fn text(&self, lists: &[(&'static str, Vec<String>)]) -> String {
        let mut parts = Vec::new();
        if self.container.host_config.privileged {
            parts.push("privileged".to_owned());
        }
        if self.has_socket() {
            parts.push("reaches the socket of an engine".to_owned());
        }
        let told = lists.iter().filter(|(name, _)| *name != "image_digests");
        parts.extend(told.map(|(name, list)| format!("{}: {}", name.replace('_', " "), list.join(", "))));
        let what = if parts.is_empty() { "nothing beyond the engine's defaults".to_owned() } else { parts.join("; ") };
        let name = cut(self.container.name.trim_start_matches('/'));
        format!("container {name} of {}: {what}", cut(self.image_ref()))
    }
}

/// `NET_ADMIN`, whether it was written so or `cap_net_admin`.
fn capability(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    name.strip_prefix("CAP_").map_or(name.clone(), str::to_owned)
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default()
}

fn shortened(list: BTreeSet<String>) -> Vec<String> {
    let more = list.len().saturating_sub(ENTRIES_MAX);
    let mut short: Vec<String> = list.iter().take(ENTRIES_MAX).map(|text| cut(text).to_owned()).collect();
    if more > 0 {
        short.push(format!("(and {more} more)"));
    }
    short
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(container: &str, image: Option<&str>, expected: &[(&str, &str)]) {
        let container = serde_json::from_str(container).unwrap();
        let inspected = Inspected { container, image: image.map(|image| serde_json::from_str(image).unwrap()) };
        let raw = inspected.raw();
        let mut event = Event::new(&raw);
        inspected.fill(&mut event);
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        let said = |value: Value<'_>| match value {
            Value::Str(text) | Value::Json(text) => text.to_owned(),
            Value::Bool(truth) => truth.to_string(),
            other => format!("{other:?}"),
        };
        // What it lacks has tests of its own.
        let extras = event.extras().filter(|extra| extra.name != "weaknesses");
        found.extend(extras.map(|extra| (extra.name.to_owned(), said(extra.value))));
        found.extend(event.fields().map(|(field, value)| (field.name().to_owned(), said(value))));
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_plain_container_and_one_that_is_root_on_its_machine() {
        check(
            r#"{"Id":"ab","Name":"/web","Image":"sha256:17","Config":{"Image":"nginx:1","User":"1000","Env":["PASSWORD=x"]},
                "HostConfig":{"Privileged":false,"CapAdd":null,"PidMode":"","NetworkMode":"bridge","PortBindings":{}},
                "Mounts":[{"Type":"volume","Name":"data","Source":"/var/lib/docker/volumes/data/_data"}]}"#,
            None,
            &[
                ("container.name", "web"),
                ("image.ref", "nginx:1"),
                ("image.digest", "sha256:17"),
                ("image_id", "sha256:17"),
                ("privileged", "false"),
                ("user", "1000"),
                ("msg", "container web of nginx:1: nothing beyond the engine's defaults"),
            ],
        );
        check(
            r#"{"Name":"/root","Image":"sha256:17aa","AppArmorProfile":"unconfined","Config":{"Image":"17aa","ExposedPorts":{"53/udp":{}}},
                "HostConfig":{"Privileged":true,"CapAdd":["cap_sys_admin","NET_ADMIN"],"PidMode":"host","IpcMode":"host","UTSMode":"host",
                "NetworkMode":"host","UsernsMode":"host","Binds":["/etc:/host:ro","data:/data"],"PublishAllPorts":true,
                "PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"},{"HostIp":"127.0.0.1","HostPort":""}]},
                "SecurityOpt":["seccomp=unconfined"],"Devices":[{"PathOnHost":"/dev/sda"}]},
                "Mounts":[{"Type":"bind","Source":"/var/run","Destination":"/x"},{"Type":"bind","Source":"/etc"}]}"#,
            Some(r#"{"RepoTags":null,"RepoDigests":["registry.example/app@sha256:99"]}"#),
            &[
                ("container.name", "root"),
                ("image.ref", "registry.example/app@sha256:99"),
                ("image.digest", "sha256:99"),
                ("image_id", "sha256:17aa"),
                ("image_digests", r#"["registry.example/app@sha256:99"]"#),
                ("privileged", "true"),
                ("user", "root"),
                ("host_namespaces", r#"["ipc","network","pid","user","uts"]"#),
                ("capabilities", r#"["NET_ADMIN","SYS_ADMIN"]"#),
                ("host_mounts", r#"["/etc","/var/run"]"#),
                ("docker_socket", "true"),
                ("devices", r#"["/dev/sda"]"#),
                ("published_ports", r#"["0.0.0.0:8080/tcp","0.0.0.0:random/udp","127.0.0.1:random/tcp"]"#),
                ("security_options", r#"["seccomp=unconfined"]"#),
                ("apparmor", "unconfined"),
                (
                    "msg",
                    "container root of registry.example/app@sha256:99: privileged; reaches the socket of an engine; \
                     host namespaces: ipc, network, pid, user, uts; capabilities: NET_ADMIN, SYS_ADMIN; host mounts: \
                     /etc, /var/run; devices: /dev/sda; published ports: 0.0.0.0:8080/tcp, 0.0.0.0:random/udp, \
                     127.0.0.1:random/tcp; security options: seccomp=unconfined",
                ),
            ],
        );
    }

    #[test]
    fn health_checks_as_events_tell_them() {
        for (config, expected) in [
            (r#"{}"#, None),
            (r#"{"Healthcheck":null,"Shell":null}"#, None),
            (r#"{"Healthcheck":{"Test":["NONE"]}}"#, None),
            (r#"{"Healthcheck":{"Test":["CMD","curl","-f","http://x"]}}"#, Some("curl -f http://x")),
            (r#"{"Healthcheck":{"Test":["CMD-SHELL","exit 0"]}}"#, Some("/bin/sh -c exit 0")),
            (
                r#"{"Healthcheck":{"Test":["CMD-SHELL","exit 0"]},"Shell":["/bin/ash","-ec"]}"#,
                Some("/bin/ash -ec exit 0"),
            ),
        ] {
            let container: Container = serde_json::from_str(&format!(r#"{{"Config":{config}}}"#)).unwrap();
            assert_eq!(container.health_check().as_deref(), expected, "{config}");
        }
    }

    #[test]
    fn only_a_folder_above_a_socket_reaches_it() {
        for (path, expected) in [
            ("/", true),
            ("/var/run/", true),
            ("/run/docker.sock", true),
            ("/var/ru", false),
            ("/var/run/docker.sock.d", false),
            ("/run/other", false),
        ] {
            let mount = Mount { kind: "bind".to_owned(), source: path.to_owned(), ..Mount::default() };
            let container = Container { mounts: vec![mount], ..Container::default() };
            let inspected = Inspected { container, image: None };
            assert_eq!(inspected.has_socket(), expected, "{path}");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_registry_it_was_named_with() {
        let digests = ["a.example/app@sha256:1", "b.example/app/web@sha256:2", "b.example/app@sha256:3"];
        let image = Image { repo_digests: digests.map(str::to_owned).to_vec(), ..Image::default() };
        let mut container = Container { image: "sha256:17".to_owned(), ..Container::default() };
        container.config.image = "b.example/app:4".to_owned();
        let mut inspected = Inspected { container, image: Some(image) };
        assert_eq!((inspected.image_ref(), inspected.digest()), ("b.example/app:4", "sha256:3"));
        inspected.image = None;
        assert_eq!(inspected.digest(), "sha256:17");
    }

    #[test]
    fn nothing_is_so_long_that_it_hides_the_rest() {
        let mounts = (0..1000).map(|number| Mount {
            kind: "bind".to_owned(),
            source: format!("/{number:04}{}", "ü".repeat(10_000)),
            ..Mount::default()
        });
        let container = Container { mounts: mounts.collect(), ..Container::default() };
        let inspected = Inspected { container, image: None };
        assert_eq!(inspected.raw().len(), RAW_BYTES_MAX);
        let lists = inspected.lists();
        assert_eq!((lists.len(), lists[0].1.len()), (1, ENTRIES_MAX + 1));
        assert_eq!(lists[0].1.last().map(String::as_str), Some("(and 936 more)"));
        assert!(lists[0].1.iter().all(|path| path.len() <= TEXT_BYTES_MAX));
    }
}
