//! Clients of the HTTP Event Collector by others, against our source: Splunk's own for Node.js and a handler of Python's
//! `logging`. Docker's driver is in `containers`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::peers_are_off;
use crate::support::gateway::Gateway;
use crate::support::peers_folder;
use crate::support::process::eventually;

const TOKEN: &str = "00000000-0000-4000-8000-00000000c11e";
const EVENTS: usize = 200;

/// Both say `line N` with sourcetype and source; the first one has a text that needs escapes. The last batch of 30 is
/// left for `flush`, which takes none that is empty.
const NODE: &str = r#"
const { Logger } = require("splunk-logging");
const [url, token, events] = process.argv.slice(1);
const logger = new Logger({ url, token, maxBatchCount: 30, maxRetries: 2 });
logger.error = (error) => { console.error(error); process.exit(1); };
for (let n = 0; n < Number(events); n++) {
    const message = n === 0 ? 'line 0 "\\\u00e9\u{1f6a2}\n' : `line ${n}`;
    logger.send({ message: { text: message }, severity: "info", metadata: { source: "ship", sourcetype: "log", host: "deck" } });
}
logger.flush();
"#;
const PYTHON: &str = r#"
import logging, sys
from splunk_handler import SplunkHandler
host, port, token, events = sys.argv[1:]
handler = SplunkHandler(host=host, port=port, token=token, index="main", protocol="http", source="ship",
                        sourcetype="log", hostname="deck", flush_interval=0.2, retry_count=2)
logger = logging.getLogger("ship")
logger.setLevel(logging.INFO)
logger.addHandler(handler)
for n in range(int(events)):
    logger.info('line 0 "\\\u00e9\U0001f6a2\n' if n == 0 else f"line {n}")
"#;

/// What our gateway has of a client once it has ended.
fn taken_from(client: impl Fn(&str) -> Command) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, TOKEN).unwrap();
    let out = folder.path().join("out.ndjson");
    let config = format!(
        "sources:\n  in: {{type: hec, address: \"127.0.0.1:0\", tokens: {{client: {{file: {}}}}}}}\nsinks:\n  out: {{type: \
         file, path: {}}}\n",
        token.display(),
        out.display()
    );
    let gateway = Gateway::start(folder.path(), &config);
    let output = client(&gateway.address("in", "http").to_string()).output().expect("run `tests/setup-peers`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eventually("all of its events", Duration::from_secs(60), || (lines(&out).len() >= EVENTS).then_some(()));
    gateway.stop();
    let all = lines(&out);
    assert_eq!(all.len(), EVENTS, "each once");
    all
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let read = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    read.filter(|event| event["source"] == "in").collect()
}

fn check(events: &[Value]) {
    for event in events {
        assert_eq!(event["fields"]["hec.sourcetype"], "log", "{event}");
        assert_eq!(event["fields"]["hec.source"], "ship", "{event}");
    }
    let all: String = events.iter().map(Value::to_string).collect();
    assert!(all.contains("é🚢") && all.contains(&format!("line {}", EVENTS - 1)), "{}", events[0]);
}

#[test]
fn splunk_logging_of_npm() {
    if peers_are_off() {
        return;
    }
    check(&taken_from(|address| {
        let mut command = Command::new("node");
        command.args(["-e", NODE, "--", &format!("http://{address}"), TOKEN, &EVENTS.to_string()]);
        command.env("NODE_PATH", peers_folder().join("splunk-logging/node_modules"));
        command
    }));
}

#[test]
fn splunk_handler_of_python() {
    if peers_are_off() {
        return;
    }
    check(&taken_from(|address| {
        let (host, port) = address.rsplit_once(':').unwrap();
        let mut command = Command::new(peers_folder().join("splunk-handler/bin/python"));
        command.args(["-c", PYTHON, host, port, TOKEN, &EVENTS.to_string()]);
        command
    }));
}
