//! Which machines there are and how each stands: `wharfinger compliance` and `/api/*` of a running gateway.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use support::gateway::Gateway;
use support::process::{eventually, free_port};

const WITHIN: Duration = Duration::from_secs(60);

/// A relay speaks for three machines of the inventory and for one that nobody knows.
fn config(dir: &Path) -> String {
    let inventory = dir.join("vms.yaml");
    let machines =
        "machines:\n  - {name: lab-1, group: playground}\n  - {name: payroll}\n  - {name: mail}\n  - {name: never}\n";
    fs::write(&inventory, machines).unwrap();
    format!(
        "identity:\n  inventory: [{}]\nsources:\n  in: {{type: syslog, mode: tcp, address: \"127.0.0.1:0\", identity: \
         relay}}\nsinks:\n  out: {{type: file, path: {}}}\npolicy:\n  groups:\n    playground: {{docker: allowed, registries: [\"*\"]}}\n    \
         default: {{docker: forbidden, registries: [registry.example], unknown_senders: forbidden}}\n",
        inventory.display(),
        dir.join("out.ndjson").display()
    )
}

fn docker(host: &str, image: &str) -> String {
    format!(
        r#"<134>1 2026-11-22T07:00:00Z {host} - - - - {{"status":"start","id":"aa","from":"{image}","Type":"container","Action":"start","Actor":{{"ID":"aa","Attributes":{{"image":"{image}","name":"web"}}}},"time":1795252321}}"#
    )
}

fn json(gateway: &Gateway, path: &str) -> Value {
    let (status, body) = gateway.get(path).unwrap();
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn state<'p>(page: &'p Value, name: &str) -> Option<&'p Value> {
    page["machines"].as_array()?.iter().find(|row| row["name"] == name)
}

/// Waits until the clock has seen what was sent.
fn settled(gateway: &Gateway) -> Value {
    eventually("the states", WITHIN, || {
        let page = json(gateway, "/api/compliance");
        let is = |name: &str, wanted: &str| state(&page, name).is_some_and(|row| row["state"] == wanted);
        (is("payroll", "violating") && is("lab-1", "compliant") && is("stranger", "violating")).then_some(page)
    })
}

fn compliance(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_wharfinger"))
        .args(["compliance", "--address", &gateway.admin().to_string(), "--data-dir"])
        .arg(gateway.data())
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(words).collect::<Vec<_>>().join("\n")
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn each_machine_has_a_state_with_its_reasons_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(dir.path(), &config(dir.path()));
    let mut stream = TcpStream::connect(gateway.address("in", "tcp")).unwrap();
    for line in [
        docker("lab-1", "nginx:1"),
        docker("payroll", "nginx:1"),
        docker("stranger", "registry.example/a:1"),
        "<13>1 2026-11-22T07:00:00Z mail app - - - a word".to_owned(),
    ] {
        writeln!(stream, "{line}").unwrap();
    }
    let page = settled(&gateway);
    let row = |name: &str| state(&page, name).unwrap_or_else(|| panic!("no {name} in {page:#}"));
    let payroll = row("payroll");
    assert_eq!((&payroll["docker"], &payroll["containers"], &payroll["images"]), (&true.into(), &1.into(), &1.into()));
    assert_eq!((&payroll["untrusted_registries"][0], &payroll["findings"]), (&"docker.io".into(), &2.into()));
    assert_eq!((&row("lab-1")["state"], &row("lab-1")["group"]), (&"compliant".into(), &"playground".into()));
    assert_eq!(row("lab-1")["untrusted_registries"], serde_json::json!([]));
    assert_eq!((&row("mail")["state"], &row("mail")["docker"]), (&"compliant".into(), &false.into()));
    assert_eq!((&row("never")["state"], &row("never")["last_seen"]), (&"unknown".into(), &Value::Null));
    assert_eq!((&row("stranger")["known"], &row("stranger")["docker"]), (&false.into(), &true.into()));
    // This machine is one of them: it has said nothing.
    assert_eq!(
        (&page["total"], &page["counts"]["violating"], &page["counts"]["docker"]),
        (&6.into(), &2.into(), &3.into())
    );

    let names = |path: &str| {
        let page = json(&gateway, path);
        let rows = page["machines"].as_array().unwrap().clone();
        (rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), page)
    };
    assert_eq!(names("/api/compliance?state=violating").0, ["payroll", "stranger"]);
    assert_eq!(names("/api/compliance?docker=yes&group=playground").0, ["lab-1"]);
    assert_eq!(names("/api/compliance?q=PAY").0, ["payroll"]);
    let (second, page) = names("/api/compliance?per_page=1&page=2");
    assert_eq!((second, &page["pages"], &page["matching"]), (vec!["stranger".to_owned()], &6.into(), &6.into()));
    assert_eq!(gateway.get("/api/compliance?at=yesterday").unwrap().0, 400);
    assert_eq!(gateway.get("/api/compliance?nosuch=1").unwrap().0, 400);

    let machine = json(&gateway, "/api/machine?key=payroll");
    assert_eq!(machine["images"][0], "nginx:1");
    assert_eq!(machine["recent"][0]["class"], "container.start");
    let rules: Vec<_> = machine["findings"].as_array().unwrap().iter().map(|one| &one["rule"]).collect();
    assert_eq!(rules, ["docker_not_allowed", "untrusted_registry"]);
    let findings = json(&gateway, "/api/findings?rule=unknown_source");
    assert_eq!((&findings["matching"], &findings["findings"][0]["machine"]), (&1.into(), &"stranger".into()));
    let cause = machine["findings"][0]["cause"].as_str().unwrap();
    let events = fs::read_to_string(dir.path().join("out.ndjson")).unwrap();
    let cause = events.lines().find(|line| line.contains(&format!(r#""event_id":"{cause}""#))).expect("the cause");
    assert!(cause.contains(r#""vm.name":"payroll""#) && cause.contains("container.start"), "{cause}");
    assert_eq!(gateway.get("/api/machine?key=nosuch").unwrap().0, 404);

    // The change of a minute ago is stored with who has spoken: a clean stop stores it at once.
    drop(stream);
    gateway.stop();
    let gateway = Gateway::start(dir.path(), &config(dir.path()));
    let page = json(&gateway, "/api/compliance");
    let payroll = state(&page, "payroll").unwrap();
    assert_eq!((&payroll["state"], &payroll["containers"]), (&"violating".into(), &1.into()), "{page:#}");
    assert_ne!(payroll["last_seen"], Value::Null);

    let table = compliance(&gateway, &["--state", "violating"]);
    assert!(table.starts_with("5 machines: 1 violating, 0 silent, 2 unknown, 2 compliant"), "{table}");
    let line = table.lines().find(|line| line.starts_with("payroll ")).unwrap();
    assert!(line.contains(" violating 20") && line.ends_with(" 2 1 docker.io"), "{table}");
    let then = compliance(&gateway, &["--at", "2026-01-01T00:00:00Z", "--group", "playground", "--json"]);
    let then: Value = serde_json::from_str(&then).unwrap();
    assert_eq!((&then["name"], &then["state"]), (&"lab-1".into(), &"unknown".into()), "nothing was known then");
    gateway.stop();
}

#[test]
fn a_page_of_the_open_internet_and_who_has_no_token_are_answered_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(dir.path(), &config(dir.path()));
    for path in ["/", "/page/page.js", "/api/compliance", "/api/machine?key=a", "/api/findings"] {
        let mut stream = TcpStream::connect(gateway.admin()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{path}: {answer}");
    }
    for (path, token, expected) in [
        ("/api/compliance", "", 401),
        ("/api/findings", "x", 401),
        ("/api/machine?key=a", &gateway.token()[1..], 401),
        ("/api/status", &*gateway.token(), 200),
        ("/metrics", "", 200),
        ("/", "", 200),
    ] {
        let mut stream = TcpStream::connect(gateway.admin()).unwrap();
        let head = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close");
        write!(stream, "GET {path} HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{path}: {answer}");
    }
    let mode = fs::metadata(gateway.data().join("page-token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (status, page) = gateway.get("/").unwrap();
    assert!(status == 200 && page.contains("<title>Wharfinger</title>"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "the page asks nobody else");
    assert_eq!(gateway.get("/page/nosuch").unwrap().0, 404);
    gateway.stop();
}

#[test]
fn what_befalls_the_gateways_parts_is_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (out, port) = (dir.path().join("out.ndjson"), free_port());
    let token = dir.path().join("token");
    fs::write(&token, "s3cret").unwrap();
    let config = format!(
        "sources:\n  in: {{type: hec, address: \"127.0.0.1:0\", token: {{file: {}}}}}\nsinks:\n  out: {{type: file, path: {}}}\n  siem: {{type: syslog, address: \
         \"127.0.0.1:{port}\", format: json, header: none}}\n",
        token.display(),
        out.display()
    );
    let gateway = Gateway::start(dir.path(), &config);
    let told = |class: &str| {
        eventually(class, WITHIN, || {
            let text = fs::read_to_string(&out).unwrap_or_default();
            let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let found: Vec<_> = events.filter(|event| event["event_class"] == class).collect();
            (!found.is_empty()).then_some(found)
        })
    };
    for _ in 0..2 {
        let mut stranger = TcpStream::connect(gateway.address("in", "http")).unwrap();
        let head =
            "POST /services/collector/event HTTP/1.1\r\nHost: a\r\nAuthorization: Splunk no\r\nContent-Length: 0";
        write!(stranger, "{head}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stranger, &mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    let said = told("source.authentication_failed")[0]["msg"].to_string();
    assert!(said.contains("source `in`: ") && said.contains("wrong credentials"), "{said}");
    let mut stranger = TcpStream::connect(gateway.admin()).unwrap();
    let (head, host) = ("GET /api/status HTTP/1.1\r\nAuthorization: Bearer no\r\nConnection: close", gateway.admin());
    write!(stranger, "{head}\r\nHost: {host}\r\n\r\n").unwrap();
    assert_eq!(told("gateway.authentication_failed")[0]["msg"], "page: 1 times a wrong token");
    let failing = told("sink.failing");
    let said = failing[0]["msg"].as_str().unwrap();
    assert!(said.starts_with("sink `siem` delivers nothing: ") && said.contains(&port.to_string()), "{said}");
    let revived = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        revived.incoming().flatten().for_each(|mut peer| drop(std::io::copy(&mut peer, &mut std::io::sink())))
    });
    assert_eq!(told("sink.recovered").len(), 1);
    assert_eq!(told("sink.failing").len(), 1, "once");
    gateway.stop();
}
