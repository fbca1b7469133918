//! Rules: what is a finding, if nothing allows it. Those that are shipped are plain data in the same form
//! that users write.

use super::{Allowance, Clock};

/// Rules that are switched on together.
#[derive(Debug)]
pub struct RuleSet {
    /// What users write in `policy.rule_sets`.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    pub rules: &'static [Shipped],
}

/// A rule of a rule set.
#[derive(Debug)]
pub struct Shipped {
    pub id: &'static str,
    /// The title of its findings.
    pub about: &'static str,
    pub asked: Asked,
    /// It makes a finding only where this is not allowed.
    pub unless: Option<Allowance>,
    /// 0 to 10.
    pub severity: i64,
    pub why: &'static str,
    /// `{groups}` stands for the groups where it is allowed.
    pub recommendation: &'static str,
    /// The finding says that a machine is not as it should be, rather than that something happened on it.
    pub compliance: bool,
}

/// What makes a shipped rule find something.
#[derive(Debug, Clone, Copy)]
pub enum Asked {
    /// Events that this expression means.
    About(&'static str),
    ByClock(Clock),
}

/// Every rule set.
pub const RULE_SETS: &[RuleSet] = &[
    RuleSet {
        name: "docker-placement",
        about: "Docker, images and registries only on the machines where they are allowed",
        rules: &[
            Shipped {
                id: "docker_not_allowed",
                about: "Docker runs where it is not allowed",
                asked: Asked::About(
                    r#"event_class.startsWith("container.") || event_class.startsWith("image.")
                    || event_class.startsWith("volume.") || event_class.startsWith("daemon.")
                    || app == "kernel" && msg.contains("docker0")"#,
                ),
                unless: Some(Allowance::Docker),
                severity: 8,
                why: "Docker is at work",
                recommendation: "move the machine to a group where Docker is allowed ({groups}), or remove Docker from it",
                compliance: true,
            },
            Shipped {
                id: "untrusted_registry",
                about: "An image of a registry that is not allowed",
                asked: Asked::About(
                    r#"event_class in ["image.pull", "image.push", "container.create", "container.start",
                    "container.inspect"]"#,
                ),
                unless: Some(Allowance::Registries),
                severity: 7,
                why: "the image belongs to a registry that is not on the list",
                recommendation: "take the image from a registry on the list, or add the registry to `registries` of the group",
                compliance: false,
            },
            Shipped {
                id: "image_not_allowed",
                about: "An image that is not allowed",
                asked: Asked::About(
                    r#"event_class in ["image.pull", "container.create", "container.start", "container.inspect"]"#,
                ),
                unless: Some(Allowance::Images),
                severity: 6,
                why: "the image is not on the list",
                recommendation: "use an image on the list, or add this one to `images` of the group",
                compliance: false,
            },
        ],
    },
    RuleSet {
        name: "container-hygiene",
        about: "containers that are privileged or reach into their machine, commands and shells in containers, who acts and when",
        rules: &[
            Shipped {
                id: "privileged_container",
                about: "A privileged container",
                asked: Asked::About(
                    r#"event_class in ["container.create", "container.exec_create"] && fields["form.privileged"] == true
                    || event_class == "container.inspect" && fields["inspect.privileged"] == true"#,
                ),
                unless: Some(Allowance::Privileged),
                severity: 9,
                why: "a privileged container is root on its machine",
                recommendation: "give it the single capabilities or devices that it needs (`--cap-add`, `--device`)",
                compliance: false,
            },
            Shipped {
                id: "docker_socket_in_container",
                about: "The socket of an engine in a container",
                asked: Asked::About(r#"event_class == "container.inspect" && fields["inspect.docker_socket"] == true"#),
                unless: Some(Allowance::DockerSocket),
                severity: 9,
                why: "whoever can use the socket of an engine is root on its machine",
                recommendation: "put a proxy between that lets only the calls pass that it needs",
                compliance: false,
            },
            Shipped {
                id: "host_namespace",
                about: "A container in namespaces of its machine",
                asked: Asked::About(r#"event_class == "container.inspect" && has(fields["inspect.host_namespaces"])"#),
                unless: Some(Allowance::HostNamespaces),
                severity: 7,
                why: "the container sees processes, interfaces or memory of its machine",
                recommendation: "give it namespaces of its own, or add those to `host_namespaces` of the group",
                compliance: false,
            },
            Shipped {
                id: "host_mount",
                about: "A folder of the machine in a container",
                asked: Asked::About(r#"event_class == "container.inspect" && has(fields["inspect.host_mounts"])"#),
                unless: Some(Allowance::HostMounts),
                severity: 6,
                why: "the container has folders of its machine that are not on the list",
                recommendation: "use a volume, or add the folder to `host_mounts` of the group",
                compliance: false,
            },
            Shipped {
                id: "added_capability",
                about: "A capability beyond the defaults",
                asked: Asked::About(r#"event_class == "container.inspect" && has(fields["inspect.capabilities"])"#),
                unless: Some(Allowance::Capabilities),
                severity: 6,
                why: "the container may do more than is on the list",
                recommendation: "take the capability away, or add it to `capabilities` of the group",
                compliance: false,
            },
            Shipped {
                id: "published_port",
                about: "A port that is open to the outside",
                asked: Asked::About(r#"event_class == "container.inspect" && has(fields["inspect.published_ports"])"#),
                unless: Some(Allowance::PublishedPorts),
                severity: 5,
                why: "the container can be reached at a port that is not on the list",
                recommendation: "bind the port to 127.0.0.1, or add it to `published_ports` of the group",
                compliance: false,
            },
            Shipped {
                id: "weak_container",
                about: "A container without the protection that the CIS benchmark asks for",
                asked: Asked::About(r#"event_class == "container.inspect" && has(fields["inspect.weaknesses"])"#),
                unless: Some(Allowance::Weaknesses),
                severity: 5,
                why: "section 5 of the CIS Docker Benchmark asks for more than the container has",
                recommendation: "start it with what it lacks (docs/docker.md says how), or add it to `weaknesses` of the group",
                compliance: false,
            },
            Shipped {
                id: "exec_in_container",
                about: "A command in a running container",
                asked: Asked::About(r#"event_class in ["container.exec_create", "container.attach"]"#),
                unless: Some(Allowance::Exec),
                severity: 5,
                why: "somebody entered a running container",
                recommendation: "find out who it was; change containers by a new image, not by hand",
                compliance: false,
            },
            Shipped {
                id: "shell_in_container",
                about: "A shell in a running container",
                asked: Asked::About(
                    r#"event_class == "container.exec_create" && (
                    exec.command in ["sh", "bash", "ash", "dash", "zsh", "/bin/sh", "/bin/bash", "/bin/ash", "/bin/dash",
                        "/bin/zsh", "/usr/bin/bash", "/usr/bin/zsh"]
                    || exec.command.startsWith("sh ") || exec.command.startsWith("bash ")
                    || exec.command.startsWith("ash ") || exec.command.startsWith("dash ")
                    || exec.command.startsWith("zsh ") || exec.command.startsWith("/bin/sh ")
                    || exec.command.startsWith("/bin/bash ") || exec.command.startsWith("/bin/ash ")
                    || exec.command.startsWith("/bin/dash ") || exec.command.startsWith("/bin/zsh ")
                    || exec.command.startsWith("/usr/bin/bash ") || exec.command.startsWith("/usr/bin/zsh "))"#,
                ),
                unless: Some(Allowance::Shell),
                severity: 6,
                why: "a shell was started in a running container",
                recommendation: "find out who it was; debug in a copy of the container instead",
                compliance: false,
            },
            Shipped {
                id: "user_not_allowed",
                about: "A user who may not use containers here",
                asked: Asked::About(
                    r#"has(user.name) && (event_class.startsWith("container.") || event_class.startsWith("image."))"#,
                ),
                unless: Some(Allowance::Users),
                severity: 7,
                why: "the user is not on the list",
                recommendation: "take the right to use Docker from the user, or add the user to `users` of the group",
                compliance: false,
            },
            Shipped {
                id: "outside_working_hours",
                about: "Containers outside working hours",
                asked: Asked::About(
                    r#"event_class in ["image.pull", "container.create", "container.start", "container.exec_create",
                    "container.attach", "container.commit"]"#,
                ),
                unless: Some(Allowance::WorkingHours),
                severity: 5,
                why: "it happened outside of the working hours",
                recommendation: "find out who it was, or widen `working_hours` of the group",
                compliance: false,
            },
        ],
    },
    RuleSet {
        name: "audit-integrity",
        about: "what makes the record incomplete: silence, unknown senders, gaps, clocks, logs that are switched off",
        rules: &[
            Shipped {
                id: "source_silent",
                about: "A machine that should speak is silent",
                asked: Asked::ByClock(Clock::Silence),
                unless: Some(Allowance::SilentAfter),
                severity: 7,
                why: "nothing was heard of it for too long",
                recommendation: "look whether the machine runs and its log shipper reaches the gateway; if it is gone for \
                                 good, take it out of the inventory",
                compliance: true,
            },
            Shipped {
                id: "unknown_source",
                about: "A sender that no inventory names",
                asked: Asked::ByClock(Clock::Strangers),
                unless: Some(Allowance::UnknownSenders),
                severity: 5,
                why: "somebody speaks whom no inventory names",
                recommendation: "find out what it is and enter it in the inventory, or keep it from sending",
                compliance: true,
            },
            Shipped {
                id: "gap_in_record",
                about: "Events were lost",
                asked: Asked::About(r#"event_class == "gap""#),
                unless: None,
                severity: 7,
                why: "the record of this time is not complete",
                recommendation: "see the cause that the gap record names; what a sink missed can be brought back with \
                                 `wharfinger replay`",
                compliance: false,
            },
            Shipped {
                id: "clock_step",
                about: "The clock was changed",
                asked: Asked::About(r#"event_class == "clock.step""#),
                unless: None,
                severity: 6,
                why: "times before and after it cannot be compared",
                recommendation: "find out who set the clock; let chrony or systemd-timesyncd keep it",
                compliance: false,
            },
            Shipped {
                id: "log_driver_none",
                about: "A container whose output is not kept",
                asked: Asked::About(r#"event_class == "container.inspect" && fields["inspect.log_driver"] == "none""#),
                unless: None,
                severity: 5,
                why: "with the log driver `none` nobody can see later what it said",
                recommendation: "start it with another `--log-driver`, or make an exception with the reason",
                compliance: false,
            },
            Shipped {
                id: "daemon_log_level",
                about: "The Docker daemon logs at level debug",
                asked: Asked::About(r#"format.contains("dockerd") && fields["dockerd.level"] == "debug""#),
                unless: None,
                severity: 4,
                why: "level debug writes the bodies of requests, with secrets in them, into the log",
                recommendation: "set `\"log-level\": \"info\"` and `\"debug\": false` in daemon.json",
                compliance: true,
            },
        ],
    },
];
