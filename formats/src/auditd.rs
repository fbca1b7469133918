//! Records of the Linux audit system: `type=SYSCALL msg=audit(1795251915.280:4711): key=value …`.
//!
//! A parser on the way of an event. One record is one event; those of one event of the kernel have
//! the same `audit.serial`. A record that concerns Docker (its binaries, units, sockets, folders and
//! configuration, the paths of CIS Docker Benchmark 1.1.3 to 1.1.18, or the group `docker`) is of
//! category `docker`.
//!
//! Invariant: the kernel writes text that a process chose in quotes, or as hex when it holds a quote, a
//! space or a control character; so no such text is read as a further pair.

mod pairs;

use std::borrow::Cow;

use crate::json_read::KEYS_MAX;
use crate::text::Text;
use crate::{Context, Event, Field, Format, ParseError};
use pairs::{Pair, Pairs};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "auditd",
    about: "Records of the Linux audit system (auditd, audispd, kernel log)",
    detect: Some(detect),
    starts: b"tna",
    parse: Some(parse),
    emit: None,
    open: None,
};

/// Group of what has no canonical field.
const AUDIT: &str = "audit";

/// Bytes that are looked at to recognise a record.
const WINDOW: usize = 128;

/// What stands before the number of an event, behind `msg=` but in the kernel's own log.
const STAMP: &[u8] = b"audit(";

/// Paths of the engine: each with all that is in it.
const PATHS: &[&str] = &[
    "/etc/docker",
    "/etc/containerd",
    "/etc/default/docker",
    "/etc/sysconfig/docker",
    "/etc/sysconfig/docker-network",
    "/etc/sysconfig/docker-registry",
    "/etc/sysconfig/docker-storage",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd",
    "/var/run/containerd",
    "/usr/bin/docker",
    "/usr/bin/dockerd",
    "/usr/sbin/dockerd",
    "/usr/bin/docker-containerd",
    "/usr/bin/docker-runc",
    "/usr/bin/containerd",
    "/usr/bin/containerd-shim",
    "/usr/bin/containerd-shim-runc-v1",
    "/usr/bin/containerd-shim-runc-v2",
    "/usr/bin/runc",
    "/usr/sbin/runc",
];

/// Names of units and of their files, wherever they are.
const UNITS: &[&str] = &["docker", "docker.service", "docker.socket", "containerd", "containerd.service"];

/// Programs that act on the engine, by the name they are started with.
const PROGRAMS: &[&str] = &["docker", "dockerd", "containerd", "ctr", "runc"];

/// Types of records with their classes and names; all others are put together.
const TYPES: &[(&str, &str, &str)] = &[
    ("SYSCALL", "audit.syscall", "System call"),
    ("PATH", "audit.path", "Path of a system call"),
    ("EXECVE", "audit.execve", "Program started"),
    ("PROCTITLE", "audit.proctitle", "Command line of a process"),
    ("CWD", "audit.cwd", "Working folder of a system call"),
    ("CONFIG_CHANGE", "audit.config_change", "Audit configuration changed"),
    ("DAEMON_START", "audit.daemon_start", "Audit daemon started"),
    ("DAEMON_END", "audit.daemon_end", "Audit daemon stopped"),
    ("SERVICE_START", "audit.service_start", "Service started"),
    ("SERVICE_STOP", "audit.service_stop", "Service stopped"),
    ("USER_LOGIN", "audit.user_login", "Login"),
    ("USER_LOGOUT", "audit.user_logout", "Logout"),
    ("USER_AUTH", "audit.user_auth", "Authentication"),
    ("USER_START", "audit.user_start", "Session started"),
    ("USER_END", "audit.user_end", "Session ended"),
    ("USER_CMD", "audit.user_cmd", "Command run with sudo"),
    ("ADD_GROUP", "audit.add_group", "Group added"),
    ("DEL_GROUP", "audit.del_group", "Group removed"),
    ("GRP_MGMT", "audit.grp_mgmt", "Group changed"),
    ("USER_MGMT", "audit.user_mgmt", "Account changed"),
];

fn detect(input: &[u8]) -> u8 {
    let window = input.get(..WINDOW).unwrap_or(input);
    let begins = [&b"type="[..], b"node=", b"audit: type="].iter().any(|begin| window.starts_with(begin));
    let stamp = memchr::memmem::find(window, STAMP).filter(|_| begins);
    let is_number = stamp.and_then(|at| window.get(at.saturating_add(STAMP.len()))).is_some_and(u8::is_ascii_digit);
    if is_number { 95 } else { 0 }
}

fn parse<'a>(input: &'a [u8], _: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    let text = Text::of(event, input);
    let line = text.tail(0);
    let mut facts = Facts::default();
    let end = head(&line, &mut facts, event)?;
    let mut count = 0_u32;
    for Pair { key, value, plain } in Pairs::new(line.get(end..).unwrap_or_default()) {
        count = count.saturating_add(1);
        if count > KEYS_MAX {
            return Err(ParseError::new(end, "at most 2,000 pairs"));
        }
        facts.pair(key, value, plain, event);
    }
    facts.finish(event);
    Ok(())
}

/// `node=web1 type=SYSCALL msg=audit(1795251915.280:4711): `; answers where the pairs begin.
fn head<'l>(line: &'l str, facts: &mut Facts<'l>, event: &mut Event<'_>) -> Result<usize, ParseError> {
    let at = |rest: &str| line.len().saturating_sub(rest.len());
    let mut rest = line.strip_prefix("audit: ").unwrap_or(line);
    if let Some((node, after)) = rest.strip_prefix("node=").and_then(|rest| rest.split_once(' ')) {
        event.set_text(Field::HostName, node);
        rest = after;
    }
    let kind = rest.strip_prefix("type=").and_then(|rest| rest.split_once(' '));
    let (kind, after) = kind.ok_or(ParseError::new(at(rest), "`type=`"))?;
    facts.kind = kind;
    let stamp = after.strip_prefix("msg=").unwrap_or(after).strip_prefix("audit(");
    let stamp = stamp.and_then(|stamp| stamp.split_once(')'));
    let (stamp, rest) = stamp.ok_or(ParseError::new(at(after), "`msg=audit(`"))?;
    let (time, serial) = stamp.split_once(':').ok_or(ParseError::new(at(after), "seconds, `:` and a number"))?;
    match crate::epoch::epoch(time) {
        Some(time) => event.set(Field::Time, time),
        None => return Err(ParseError::new(at(after), "seconds since 1970")),
    }
    event.extra(AUDIT, "serial", serial);
    Ok(at(rest.strip_prefix(':').unwrap_or(rest)))
}

/// What decides on class, category and outcome.
#[derive(Default)]
struct Facts<'l> {
    kind: &'l str,
    about_docker: bool,
    command: String,
}

impl Facts<'_> {
    fn pair(&mut self, key: &str, value: &str, plain: bool, event: &mut Event<'_>) {
        if value.is_empty() || value == "?" || value == "(null)" {
            return event.extra(AUDIT, key, value);
        }
        let value = if plain && is_text(key) { decoded(value) } else { Cow::Borrowed(value) };
        self.about_docker |= is_about_docker(key, &value);
        let is_argument =
            self.kind == "EXECVE" && key.strip_prefix('a').is_some_and(|rest| rest.parse::<u32>().is_ok());
        if is_argument || key == "proctitle" {
            self.about_docker |= key == "a0" && PROGRAMS.contains(&value.rsplit('/').next().unwrap_or_default());
            if !self.command.is_empty() {
                self.command.push(' ');
            }
            // The kernel keeps arguments apart by NUL.
            self.command.extend(value.chars().map(|char| if char == '\0' { ' ' } else { char }));
            return;
        }
        match field(key) {
            // What was never set is all ones.
            Some(Field::UserId) if matches!(&*value, "4294967295" | "-1" | "unset") => event.extra(AUDIT, key, &value),
            Some(Field::SrcIp) if value.parse::<std::net::IpAddr>().is_err() => event.extra(AUDIT, key, &value),
            Some(Field::UserName) if &*value == "unset" => event.extra(AUDIT, key, &value),
            Some(field) if !event.has(field) => event.set(field, &value),
            _ => match (key, &*value) {
                ("success", "yes") | ("res", "success" | "1") => event.set(Field::Outcome, "success"),
                ("success", "no") | ("res", "failed" | "0") => event.set(Field::Outcome, "failure"),
                ("apparmor", "DENIED") => {
                    event.set(Field::Outcome, "failure");
                    event.extra(AUDIT, key, &value);
                }
                _ => event.extra(AUDIT, key, &value),
            },
        }
    }

    fn finish(self, event: &mut Event<'_>) {
        match TYPES.iter().find(|(kind, ..)| *kind == self.kind) {
            Some((_, class, name)) => {
                event.set(Field::EventClass, *class);
                event.set(Field::Name, *name);
            }
            None => event.set(Field::EventClass, &format!("audit.{}", self.kind.to_ascii_lowercase())),
        }
        event.extra(AUDIT, "type", self.kind);
        event.set_text(Field::ExecCommand, self.command.trim_end());
        if self.about_docker {
            event.set(Field::Category, "docker");
        }
        event.set(Field::Severity, if self.about_docker { 5 } else { 2 });
    }
}

/// The canonical field of a key. `auid` is who logged in, whoever he became since.
fn field(key: &str) -> Option<Field> {
    Some(match key {
        "auid" => Field::UserId,
        "AUID" => Field::UserName,
        "acct" => Field::TargetUser,
        "pid" => Field::ProcessId,
        "comm" => Field::App,
        "name" | "path" | "file" | "dir" => Field::FilePath,
        "addr" => Field::SrcIp,
        "hostname" => Field::SrcHost,
        "sig" => Field::Signal,
        "nametype" | "SYSCALL" | "op" => Field::Action,
        _ => return None,
    })
}

/// Keys whose values are text of a process, which may be written as hex.
fn is_text(key: &str) -> bool {
    let is_argument = key.strip_prefix('a').is_some_and(|rest| rest.parse::<u32>().is_ok());
    let names = ["name", "comm", "exe", "cwd", "proctitle", "key", "acct", "cmd", "path", "file", "dir", "data", "grp"];
    is_argument || names.contains(&key)
}

/// Text that was written as hex, two digits a byte; anything else as it is.
fn decoded(value: &str) -> Cow<'_, str> {
    let digits = value.as_bytes();
    planted!("auditd" => {
        if digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')) {
            let _: Vec<u8> = digits.chunks(2).map(|pair| pair[0] ^ pair[1]).collect();
        }
    });
    let is_hex = digits.len() & 1 == 0 && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
    if !is_hex {
        return Cow::Borrowed(value);
    }
    let digit = |byte: u8| if byte > b'9' { byte.wrapping_sub(b'A').wrapping_add(10) } else { byte.wrapping_sub(b'0') };
    let pairs = digits.as_chunks::<2>().0.iter();
    let bytes: Vec<u8> = pairs.map(|[high, low]| digit(*high).wrapping_shl(4) | digit(*low)).collect();
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_about_docker(key: &str, value: &str) -> bool {
    match key {
        "key" => ["docker", "containerd", "runc"].iter().any(|word| value.contains(word)),
        "unit" => UNITS.contains(&value),
        "grp" | "acct" => value == "docker",
        // The profile of AppArmor that confines containers.
        "profile" => value == "docker-default",
        "name" | "exe" | "path" | "file" | "dir" | "cwd" => {
            let inside =
                |path: &&str| value.strip_prefix(*path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            let last = value.rsplit('/').next().unwrap_or_default();
            PATHS.iter().any(inside) || (last.contains('.') && UNITS.contains(&last))
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Choice, Offset, Time};

    const CONTEXT: Context = Context { received: Time(0), zone: Offset(0) };

    fn check(line: &str, fields: &[(Field, &str)], extras: &[(&str, &str)]) {
        let mut event = Event::new(line.as_bytes());
        crate::parse(Choice::Auto, line.as_bytes(), &CONTEXT, &mut event);
        assert!(event.text(Field::Format).is_some_and(|format| format.ends_with("auditd")), "{line}");
        for (field, text) in fields {
            assert_eq!(event.text(*field).unwrap_or("-"), *text, "{field:?} of {line}");
        }
        for (name, text) in extras {
            let extra = event.extras().find(|extra| extra.group == AUDIT && extra.name == *name);
            assert_eq!(extra.map(|extra| extra.value), Some((*text).into()), "{name} of {line}");
        }
    }

    use Field::{
        Action, App, Category, EventClass, ExecCommand, FilePath, HostName, Outcome, SrcIp, TargetUser, UserId,
        UserName,
    };

    #[test]
    fn a_change_of_the_daemons_configuration() {
        check(
            "node=web-1 type=SYSCALL msg=audit(1795251915.280:4711): arch=c000003e syscall=257 success=yes exit=3 ppid=1 pid=2731 auid=1000 uid=0 tty=pts0 ses=3 comm=\"vim\" exe=\"/usr/bin/vim.basic\" key=\"docker\"\u{1d}ARCH=x86_64 SYSCALL=openat AUID=\"alice\" UID=\"root\"",
            &[
                (EventClass, "audit.syscall"),
                (HostName, "web-1"),
                (UserId, "1000"),
                (UserName, "alice"),
                (App, "vim"),
                (Action, "openat"),
                (Outcome, "success"),
                (Category, "docker"),
            ],
            &[("serial", "4711"), ("key", "docker"), ("exe", "/usr/bin/vim.basic"), ("UID", "root")],
        );
        check(
            "type=PATH msg=audit(1795251915.280:4711): item=0 name=\"/etc/docker/daemon.json\" inode=1 nametype=NORMAL",
            &[
                (EventClass, "audit.path"),
                (FilePath, "/etc/docker/daemon.json"),
                (Category, "docker"),
                (Action, "NORMAL"),
            ],
            &[("item", "0")],
        );
    }

    #[test]
    fn text_as_hex_is_one_value() {
        check(
            "type=EXECVE msg=audit(1795251915.280:4712): argc=3 a0=\"docker\" a1=\"run\" a2=612062206B65793D22646F636B657222",
            &[(ExecCommand, "docker run a b key=\"docker\""), (Category, "docker")],
            &[("argc", "3")],
        );
        check("type=PROCTITLE msg=audit(1.5:1): proctitle=646F636B657200707300", &[(ExecCommand, "docker ps")], &[]);
        check(
            "type=CWD msg=audit(1.5:1): cwd=2F7661722F6C69622F646F636B65722F6120",
            &[(Category, "docker")],
            &[("cwd", "/var/lib/docker/a ")],
        );
    }

    #[test]
    fn what_programs_report() {
        check(
            "type=SERVICE_START msg=audit(1795251915.280:5): pid=1 uid=0 auid=4294967295 ses=4294967295 msg='unit=docker comm=\"systemd\" exe=\"/usr/lib/systemd/systemd\" hostname=? addr=? terminal=? res=success'\u{1d}UID=\"root\" AUID=\"unset\"",
            &[
                (EventClass, "audit.service_start"),
                (Outcome, "success"),
                (Category, "docker"),
                (UserId, "-"),
                (UserName, "-"),
                (App, "systemd"),
            ],
            &[("unit", "docker"), ("auid", "4294967295")],
        );
        check(
            "type=USER_MGMT msg=audit(1795251915.280:6): pid=9 uid=0 auid=1000 msg='op=add-user-to-group grp=\"docker\" acct=\"eve\" exe=\"/usr/sbin/usermod\" hostname=h addr=192.0.2.7 res=failed'",
            &[
                (Category, "docker"),
                (TargetUser, "eve"),
                (SrcIp, "192.0.2.7"),
                (Outcome, "failure"),
                (Action, "add-user-to-group"),
            ],
            &[("grp", "docker")],
        );
        check(
            "<5>Nov 21 09:05:15 web-1 kernel: audit: type=1327 audit(1795251915.280:7): proctitle=\"runc\"",
            &[(EventClass, "audit.1327"), (ExecCommand, "runc"), (HostName, "web-1")],
            &[],
        );
    }

    #[test]
    fn what_is_near_docker_is_not_it() {
        for (key, value, expected) in [
            ("name", "/etc/docker", true),
            ("name", "/etc/dockerfoo", false),
            ("name", "/usr/lib/systemd/system/docker.service", true),
            ("name", "/home/docker", false),
            ("exe", "/usr/bin/containerd-shim-runc-v2", true),
            ("comm", "docker", false),
            ("unit", "docker", true),
            ("unit", "docker-registry", false),
        ] {
            assert_eq!(is_about_docker(key, value), expected, "{key}={value}");
        }
    }

    #[test]
    fn what_is_no_record() {
        for line in [
            "type=SYSCALL",
            "type=X msg=audit(",
            "type=X msg=audit(x:1): ",
            "type=X msg=audit(1): ",
            "node=x",
            "audit: x",
        ] {
            assert!(parse(line.as_bytes(), &CONTEXT, &mut Event::new(line.as_bytes())).is_err(), "{line}");
            assert_eq!(detect(line.as_bytes()), if line.contains("(1)") { 95 } else { 0 }, "{line}");
        }
    }
}
