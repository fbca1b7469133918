//! Secrets that are planted in an event reach no sink that says so, in none of its formats; the archive and a sink
//! without rules have them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::block_in_place;

use crate::support::gateway::Gateway;
use crate::support::hec_server::{Dialect, HecServer, TOKEN};
use crate::support::process::eventually;
use crate::support::web_server::WebServer;

const WITHIN: Duration = Duration::from_secs(60);
const SECRETS: [&str; 6] =
    ["blue42", "hunter2", "Xy7wordpass", "ghp_0123456789abcdefghij", "4111 1111 1111 1111", "eve@example.com"];

/// A line of dockerd with the body of a request, and one that a program has written.
fn lines() -> String {
    let form = r#"{\"Cmd\":[\"mysql\",\"-phunter2\"],\"Env\":[\"MODE=blue42\",\"DB_PASSWORD=Xy7wordpass\"],\"Image\":\"db:8\"}"#;
    let head = "<30>1 2026-11-22T09:03:20Z web-1";
    [
        format!("{head} dockerd 77 - - time=\"2026-11-22T09:03:20Z\" level=debug msg=\"form data: {form}\"\n"),
        format!("{head} shop 78 - - eve@example.com paid with 4111 1111 1111 1111, ghp_0123456789abcdefghij\n"),
        format!("{head} shop 79 - - nothing to hide at 1795251800158734145\n"),
    ]
    .concat()
}

fn secrets_in(text: &str) -> Vec<&'static str> {
    SECRETS.into_iter().filter(|secret| text.contains(secret)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_secrets_reach_no_sink_that_redacts() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    let web = WebServer::start(|_| (200, String::new())).await;
    let hec = HecServer::start(Dialect::default()).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (redact, dir) = ("redact: [env, tokens, passwords, cards, emails]", folder.path().display());
    let config = format!(
        "sources:\n  in: {{type: syslog, mode: tcp, address: 127.0.0.1:0}}\nsinks:\n\
         \x20 web: {{type: http, url: '{}', format: json, {redact}}}\n\
         \x20 hec: {{type: splunk_hec, endpoint: '{}', token: {TOKEN}, {redact}}}\n\
         \x20 siem: {{type: syslog, address: '{}', format: raw, header: none, {redact}}}\n\
         \x20 cef: {{type: file, path: {dir}/cef, format: cef, {redact}}}\n\
         \x20 hashed: {{type: file, path: {dir}/hashed, redact: [{{rule: emails, hash: {{file: {}}}}}]}}\n\
         \x20 plain: {{type: file, path: {dir}/plain}}\n\
         \x20 sealed: {{type: archive, path: {dir}/sealed, keep_original: true, max_age: 1s}}\n",
        web.url(),
        hec.url(),
        listener.local_addr().unwrap(),
        key.display(),
    );
    let received = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&received);
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut part = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut part) {
            kept.lock().unwrap().push_str(&String::from_utf8_lossy(&part[..len]));
        }
    });
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let last = "nothing to hide at 1795251800158734145";
    let (metrics, page) = block_in_place(|| {
        let gateway = Gateway::start(folder.path(), &config);
        TcpStream::connect(gateway.address("in", "tcp")).unwrap().write_all(lines().as_bytes()).unwrap();
        let all_there = || {
            let http = web.taken().iter().any(|seen| seen.text().contains(last));
            let hec = hec.taken().iter().any(|envelope| envelope.to_string().contains(last));
            let syslog = received.lock().unwrap().contains(last);
            let sealed = fs::read_dir(folder.path().join("sealed/sealed/data")).is_ok();
            let files = ["cef", "hashed", "plain"].map(read).iter().all(|file| file.contains(last));
            (http && hec && syslog && files && sealed).then_some(())
        };
        eventually("the last event at all sinks", WITHIN, all_there);
        // What is counted stands on the page once the cursor has passed it.
        let page = eventually("all counted", WITHIN, || {
            let page: serde_json::Value = serde_json::from_str(&gateway.get("/api/status")?.1).ok()?;
            let sinks = page["sinks"].as_array()?;
            sinks.iter().all(|sink| sink["queued"] == 0).then_some(page)
        });
        let metrics = gateway.get("/metrics").unwrap().1;
        gateway.stop();
        (metrics, page)
    });
    let web: String = web.taken().iter().map(|seen| seen.text().to_owned()).collect();
    let hec: String = hec.taken().iter().map(ToString::to_string).collect();
    for (name, text) in [("web", web), ("hec", hec), ("siem", received.lock().unwrap().clone()), ("cef", read("cef"))] {
        assert_eq!(secrets_in(&text), Vec::<&str>::new(), "{name}: {text}");
        assert!(text.contains(last) && text.contains("[masked/card]") && text.contains("db:8"), "{name}: {text}");
    }
    assert_eq!(secrets_in(&read("plain")), SECRETS, "{}", read("plain"));
    assert_eq!(secrets_in(&read("hashed")), SECRETS[..5], "{}", read("hashed"));
    assert!(read("hashed").contains("[masked/email/15/"), "{}", read("hashed"));
    let mut cat = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    cat.args(["archive", "cat"]).arg(folder.path().join("sealed/sealed"));
    cat.arg("--key").arg(folder.path().join("data/sealing/sealed/vkey-1"));
    cat.arg("--config").arg(folder.path().join("wharfinger.yaml"));
    let cat = block_in_place(|| cat.output().unwrap());
    let sealed = String::from_utf8_lossy(&cat.stdout);
    assert_eq!(secrets_in(&sealed), SECRETS, "{sealed} {}", String::from_utf8_lossy(&cat.stderr));

    let row = |name: &str| page["sinks"].as_array().unwrap().iter().find(|sink| sink["name"] == name).unwrap().clone();
    // Each in the raw bytes and in `msg`; what dockerd wrote of `Env` has no value in a field.
    assert_eq!((&row("web")["redacted"]["cards"], &row("web")["redacted"]["emails"]), (&2.into(), &2.into()));
    assert_eq!(row("web")["redacted"].as_object().unwrap().len(), 5, "{}", row("web"));
    assert_eq!(row("hashed")["redacted"], serde_json::json!({ "emails": 2 }));
    assert_eq!(row("plain").get("redacted"), None);
    let counter = r#"wharfinger_component_redacted_secrets_total{component_id="hashed",component_type="file",component_kind="sink",rule="emails"} 2"#;
    assert!(metrics.lines().any(|line| line == counter), "{metrics}");
}
