//! Containers of a real Engine are looked at, and judged by what they may do.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;

use crate::docker::{Engine, IMAGE};
use crate::support::gateway::Gateway;
use crate::support::inventory;
use crate::support::lines::{SinkFile, text};
use crate::support::process::eventually;
use crate::{docker, peers_are_off};

const WITHIN: Duration = Duration::from_secs(60);

const POLICY: &str = "policy:\n  groups:\n    default: {privileged: forbidden, docker_socket: forbidden, \
    host_namespaces: [network], host_mounts: [\"/srv/*\"], capabilities: [], published_ports: [\"127.0.0.1:*\"], \
    weaknesses: [no_*, writable_root, root_user, new_privileges]}\n";

/// A gateway that listens to the Engine of the tests through its socket, and the file it writes to.
fn gateway(folder: &Path, engine: &Engine, options: &str, policy: &str) -> (Gateway, SinkFile) {
    let source = format!("engine: {{type: docker, socket: {}{options}}}", engine.socket().display());
    gateway_of(folder, engine, &format!("{policy}sources:\n  {source}\n"))
}

/// The same with sources and policy as they are written.
fn gateway_of(folder: &Path, engine: &Engine, config: &str) -> (Gateway, SinkFile) {
    let out = SinkFile::in_folder(folder);
    let config = format!("{}{config}sinks:\n{}", inventory::identity(folder), out.config());
    let gateway = Gateway::start(folder, &config);
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    eventually("an event of the Engine arrives", WITHIN, || {
        // The tests share the Engine.
        let name = format!("listens-{}", NUMBER.fetch_add(1, Relaxed));
        engine.run(&["--rm", "--name", &name], &["true"]);
        let is_news = |event: &Value| text(event, "container.name").starts_with("listens-");
        out.events().iter().any(is_news).then_some(())
    });
    (gateway, out)
}

fn is_finding(event: &Value, rule: &str) -> bool {
    text(event, "rule.id") == rule
}

fn is_of(event: &Value, name: &str, class: &str) -> bool {
    text(event, "container.name") == name && text(event, "event_class") == class
}

#[test]
fn what_containers_may_do_is_told_and_judged() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = docker::engine();
    let (gateway, out) = gateway(folder.path(), &engine, "", POLICY);
    let options = [
        &["--detach", "--name", "look-root", "--privileged", "--pid", "host", "--user", "7:7"][..],
        &["--volume", "/etc:/host:ro", "--volume", "/run:/host-run:ro", "--cap-add", "NET_ADMIN"],
        &["--publish", "8099:80", "--label", "privileged=false", "--memory", "64m", "--log-driver", "none"],
    ];
    let id = engine.run(&options.concat(), &["sleep", "600"]);
    let look = out.wait_for(1, WITHIN, |event| is_of(event, "look-root", "container.inspect")).remove(0);
    let created = out.wait_for(1, WITHIN, |event| is_of(event, "look-root", "container.create")).remove(0);
    assert_eq!(text(&look, "cause"), text(&created, "event_id"));
    assert_eq!((text(&look, "container.id"), text(&look, "image.ref")), (&*id, IMAGE));
    assert_eq!((text(&look, "outcome"), text(&look, "vm.name")), ("success", inventory::VM_NAME));
    let fields = &look["fields"];
    assert_eq!((&fields["inspect.privileged"], &fields["inspect.docker_socket"]), (&true.into(), &true.into()));
    for (name, expected) in [
        ("host_namespaces", r#"["pid"]"#),
        ("host_mounts", r#"["/etc","/run"]"#),
        ("capabilities", r#"["NET_ADMIN"]"#),
        ("published_ports", r#"["0.0.0.0:8099/tcp"]"#),
    ] {
        let found = &fields[format!("inspect.{name}")];
        assert_eq!(*found, serde_json::from_str::<Value>(expected).unwrap(), "{look}");
    }
    assert_eq!(fields["inspect.user"], "7:7");
    assert_eq!(fields["inspect.log_driver"], "none");
    let weaknesses = fields["inspect.weaknesses"].as_array().unwrap();
    for (name, has) in
        [("any_interface", true), ("writable_root", true), ("no_memory_limit", false), ("root_user", false)]
    {
        assert_eq!(weaknesses.contains(&name.into()), has, "{name}: {weaknesses:?}");
    }
    assert!(text(&look, "image.digest").starts_with("sha256:"), "{look}");

    for rule in [
        "privileged_container",
        "docker_socket_in_container",
        "host_namespace",
        "host_mount",
        "added_capability",
        "published_port",
        "weak_container",
        "log_driver_none",
    ] {
        let found = out.wait_for(1, WITHIN, |event| is_finding(event, rule)).remove(0);
        assert_eq!(text(&found, "cause"), text(&look, "event_id"), "{found}");
        assert_eq!(text(&found, "container.name"), "look-root");
    }
    for (rule, what) in [("host_mount", "`/etc, /run`"), ("weak_container", "`any_interface`")] {
        let found = out.wait_for(1, WITHIN, |event| is_finding(event, rule)).remove(0);
        assert!(text(&found, "reason").contains(what), "{found}");
    }
    engine.docker(&["rm", "--force", "look-root"]);
    gateway.stop();
}

#[test]
fn every_container_is_told_of_once_however_short_it_lives() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = docker::engine();
    let image = engine.docker(&["image", "inspect", "--format", "{{.Id}}", IMAGE]);
    // It runs before the gateway does.
    engine.docker(&["run", "--network", "none", "--detach", "--name", "look-before", &image, "sleep", "600"]);
    let (gateway, out) = gateway(folder.path(), &engine, "", "");
    let names: Vec<String> = (0..5).map(|number| format!("look-short-{number}")).collect();
    for name in &names {
        engine.run(&["--rm", "--name", name], &["true"]);
    }
    let created = out.wait_for(names.len(), WITHIN, |event| {
        text(event, "container.name").starts_with("look-short-") && text(event, "event_class") == "container.create"
    });
    for event in &created {
        let cause = text(event, "event_id");
        let looks = out.wait_for(1, WITHIN, |event| text(event, "cause") == cause);
        assert_eq!(looks.len(), 1);
        match text(&looks[0], "outcome") {
            "success" => assert_eq!(text(&looks[0], "container.name"), text(event, "container.name")),
            _ => assert!(text(&looks[0], "reason").starts_with("not recorded: the container was gone"), "{looks:?}"),
        }
    }
    let before = out.wait_for(1, WITHIN, |event| is_of(event, "look-before", "container.inspect")).remove(0);
    assert_eq!(text(&before, "image.ref"), IMAGE, "named by its id, it has the name of its registry: {before}");
    engine.docker(&["rm", "--force", "look-before"]);
    gateway.stop();
}

/// Events the source has left out.
fn excluded(gateway: &Gateway) -> u64 {
    let (_, metrics) = gateway.get("/metrics").unwrap();
    let counted = metrics.lines().find(|line| line.contains("component_excluded_events_total{component_id=\"engine\""));
    counted.and_then(|line| line.rsplit(' ').next()).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn health_checks_and_other_peoples_containers_are_left_out_and_counted() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = docker::engine();
    let options = ", exclude_health_checks: true, exclude: {labels: [\"team=other\"]}";
    let (gateway, out) = gateway(folder.path(), &engine, options, "");
    let health = ["--health-cmd", "true", "--health-interval", "1s", "--health-start-period", "1s"];
    engine.run(&[&["--detach", "--name", "check-me"][..], &health].concat(), &["sleep", "600"]);
    engine.run(&["--rm", "--name", "check-other", "--label", "team=other"], &["true"]);
    out.wait_for(1, WITHIN, |event| is_of(event, "check-me", "container.health_status"));
    // Only a look tells which command is the health check; what ran before it is told.
    out.wait_for(1, WITHIN, |event| is_of(event, "check-me", "container.inspect"));
    // Its own command of the same words is left out; any other is not.
    engine.docker(&["exec", "check-me", "echo", "marker"]);
    out.wait_for(1, WITHIN, |event| {
        text(event, "exec.command") == "echo marker" && text(event, "action") == "exec_start"
    });
    // create, start, die, destroy and more of the one; three for each check of the other.
    eventually("what is left out is counted", WITHIN, || (excluded(&gateway) >= 4 + 3).then_some(()));
    engine.docker(&["rm", "--force", "check-me"]);
    out.wait_for(1, WITHIN, |event| is_of(event, "check-me", "container.destroy"));
    let is_marker = |event: &&Value| text(event, "exec.command") == "echo marker";
    let events: Vec<Value> = out.events().into_iter().skip_while(|event| !is_marker(&event)).collect();
    let commands: Vec<&str> =
        events.iter().map(|event| text(event, "exec.command")).filter(|text| !text.is_empty()).collect();
    assert_eq!(commands, ["echo marker", "echo marker"], "of two events, create and start");
    let ended = events.iter().filter(|event| is_of(event, "check-me", "container.exec_die")).count();
    assert_eq!(ended, 1, "that of the marker");
    assert!(!events.iter().any(|event| text(event, "container.name") == "check-other"));
    gateway.stop();
}

#[test]
fn an_exit_code_is_trusted_where_no_label_can_stand_for_it() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = docker::engine();
    let (gateway, out) = gateway(folder.path(), &engine, "", "");
    for (name, label) in [("exit-honest", "tier=1"), ("exit-forged", "exitCode=0")] {
        let arguments =
            ["run", "--network", "none", "--rm", "--name", name, "--label", label, IMAGE, "sh", "-c", "exit 7"];
        assert_eq!(engine.try_docker(&arguments).status.code(), Some(7));
    }
    let died = |name| out.wait_for(1, WITHIN, |event| is_of(event, name, "container.die")).remove(0);
    let (honest, forged) = (died("exit-honest"), died("exit-forged"));
    assert_eq!((&honest["exit_code"], &honest["fields"]["docker.exit_code_trusted"]), (&7.into(), &true.into()));
    assert_eq!(text(&honest, "untrusted"), "");
    assert_eq!((&forged["exit_code"], &forged["fields"]["docker.exit_code_trusted"]), (&0.into(), &false.into()));
    assert_eq!(text(&forged, "untrusted"), "exit_code,outcome");
    gateway.stop();
}

#[test]
fn engines_over_a_socket_and_over_tls_with_a_certificate() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let engine = docker::engine();
    let other = crate::support::pki::Pki::create(folder.path());
    let network = |client: &crate::support::pki::Identity| {
        format!(
            "{{type: docker, address: \"{}\", identity: local, tls: {{ca: {}, certificate: {}, key: {}}}}}",
            engine.address(),
            engine.pki().authority.display(),
            client.certificate.display(),
            client.key.display()
        )
    };
    let config = format!(
        "sources:\n  near: {{type: docker, socket: {}, inspect: false}}\n  far: {}\n  stranger: {}\n",
        engine.socket().display(),
        network(&engine.pki().client),
        network(&other.client)
    );
    let (gateway, out) = gateway_of(folder.path(), &engine, &config);
    let is_from =
        |event: &Value, source: &str, class: &str| text(event, "source") == source && is_of(event, "wire", class);
    out.wait_for(1, WITHIN, |event| text(event, "source") == "far");
    engine.run(&["--rm", "--name", "wire"], &["true"]);
    for source in ["near", "far"] {
        let created = out.wait_for(1, WITHIN, |event| is_from(event, source, "container.create")).remove(0);
        let peer = if source == "far" { engine.address() } else { engine.socket().display().to_string() };
        assert_eq!((text(&created, "peer"), text(&created, "vm.name")), (&*peer, inventory::VM_NAME));
    }
    out.wait_for(1, WITHIN, |event| {
        text(event, "source") == "far" && text(event, "event_class") == "container.inspect"
    });
    let refused = |line: &str| (line.contains("no events until the engine can be reached")).then_some(());
    gateway.process().wait_for("the refusal of a client that nobody knows", WITHIN, refused);
    assert!(!out.events().iter().any(|event| text(event, "source") == "stranger"));
    gateway.stop();
}
