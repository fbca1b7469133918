//! What each part of an `ossec.conf` becomes here, and what has no equivalent.
//!
//! Invariant: nothing of the four parts that are migrated is dropped without a note.

use super::xml::Element;

/// Sources and sinks as YAML, and what a person has to know.
#[derive(Debug, Default)]
pub(super) struct Migrated {
    sources: Vec<String>,
    sinks: Vec<String>,
    notes: Vec<String>,
    has_alerts: bool,
}

const ALERTS: &str = "/var/ossec/logs/alerts/alerts.json";
/// Where alerts that the gateway makes of Docker events are put for Wazuh to read.
const DOCKER_ALERTS: &str = "/var/log/wharfinger/docker-alerts.json";

/// Everything in the roots of a file.
pub(super) fn migrate(file: &Element) -> Migrated {
    let mut migrated = Migrated::default();
    let sections: Vec<&Element> = file
        .children
        .iter()
        .flat_map(|root| match root.name.as_str() {
            "ossec_config" | "agent_config" => root.children.iter().collect::<Vec<_>>(),
            _ => vec![root],
        })
        .collect();
    let global: Vec<&&Element> = sections.iter().filter(|section| section.name == "global").collect();
    let mut others: Vec<&str> = Vec::new();
    for section in &sections {
        match section.name.as_str() {
            "syslog_output" => migrated.syslog_output(section),
            "remote" => migrated.remote(section),
            "integration" => migrated.integration(section),
            "wodle" if section.attribute("name") == Some("docker-listener") => migrated.docker_listener(section),
            "global" => {}
            other if !others.contains(&other) => others.push(other),
            _ => {}
        }
    }
    if migrated.has_alerts && global.iter().any(|global| global.get("jsonout_output") == Some("no")) {
        migrated.notes.push(format!("`<jsonout_output>no`: set it to `yes`, or nothing is written to `{ALERTS}`"));
    }
    if global.iter().any(|global| global.says_yes("logall_json")) {
        migrated.notes.push(
            "`<logall_json>yes`: every event is in `/var/ossec/logs/archives/archives.json`, too; to send all of them, \
             add it to `include` of `wazuh_alerts` (its alerts then come twice)"
                .to_owned(),
        );
    }
    if !others.is_empty() {
        migrated.notes.push(format!("left to Wazuh, with no equivalent here: {}", others.join(", ")));
    }
    migrated
}

/// A text as YAML: a string of JSON is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Migrated {
    fn note(&mut self, section: &Element, text: &str) {
        self.notes.push(format!("line {}, `<{}>`: {text}", section.line, section.name));
    }

    /// Alerts come from the file: it is there whatever else the manager sends.
    fn alerts(&mut self) {
        if !std::mem::replace(&mut self.has_alerts, true) {
            self.sources.push(format!(
                "  wazuh_alerts:\n    type: file\n    include: [{ALERTS}]\n    format: wazuh\n    identity: relay\n"
            ));
        }
    }

    fn syslog_output(&mut self, section: &Element) {
        let Some(server) = section.get("server").filter(|server| !server.is_empty()) else {
            return self.note(section, "without a `<server>`: left out");
        };
        self.alerts();
        let port = section.get("port").unwrap_or("514");
        let server = if server.contains(':') { format!("[{server}]") } else { server.to_owned() };
        let format = match section.get("format").unwrap_or("default") {
            "cef" => "wazuh_syslog_cef",
            "json" => "wazuh_syslog_json",
            "splunk" => "wazuh_syslog_splunk",
            other => {
                let text = format!("format `{other}` has no equivalent: CEF is sent, which every SIEM reads");
                self.note(section, &text);
                "cef"
            }
        };
        let when = self.when(section);
        let name = format!("siem_{}", section.line);
        let mut sink = format!(
            "  {name}:\n    type: syslog\n    mode: udp\n    address: {}\n    format: {format}\n    header: rfc3164\n",
            quoted(&format!("{server}:{port}"))
        );
        sink.push_str(&when);
        self.sinks.push(sink);
        let text = format!("UDP loses unseen; if the receiver can, use `mode: tcp` and `tls: {{}}` for `{name}`");
        self.note(section, &text);
        if section.says_yes("use_fqdn") {
            self.note(section, "`use_fqdn`: the host of each alert is the agent's name, or what the inventory knows");
        }
    }

    /// Which alerts are meant, as `when` of a sink.
    fn when(&mut self, section: &Element) -> String {
        let mut terms = vec!["source == \"wazuh_alerts\"".to_owned()];
        if let Some(level) = section.get("level") {
            match level.parse::<u8>() {
                Ok(level) => terms.push(format!("rule.level >= {level}")),
                Err(_) => self.note(section, &format!("level `{level}` is no number: left out")),
            }
        }
        if let Some(ids) = section.get("rule_id") {
            let ids: Vec<String> = ids.split(',').map(|id| quoted(id.trim())).collect();
            terms.push(format!("rule.id in [{}]", ids.join(", ")));
        }
        // Wazuh takes groups and locations apart at commas and bars, and looks for the words.
        let any = |field: &str, words: &str| {
            let words = words.split(['|', ',']).map(str::trim).filter(|word| !word.is_empty());
            let one = |word: &str| format!("{field}.contains({})", quoted(word));
            let found: Vec<String> = words.map(one).collect();
            if found.len() == 1 { found.concat() } else { format!("({})", found.join(" || ")) }
        };
        if let Some(groups) = section.get("group") {
            terms.push(any("rule.groups", groups));
        }
        for name in ["location", "event_location"] {
            if let Some(location) = section.get(name) {
                // An expression that is looked for as a text would find nothing, and say nothing.
                if location.contains(['\\', '^', '$', '*', '+', '?', '(', '[']) {
                    let text =
                        format!("`<{name}>` is an expression and has no equivalent: alerts of all places are sent");
                    self.note(section, &text);
                } else {
                    terms.push(any("fields[\"wazuh.location\"]", location));
                }
            }
        }
        format!("    when: {}\n", quoted(&terms.join(" && ")))
    }

    fn remote(&mut self, section: &Element) {
        if section.get("connection") != Some("syslog") {
            return self.note(section, "the connection of Wazuh's own agents stays with the manager");
        }
        let port = section.get("port").unwrap_or("514");
        let address = section.get("local_ip").unwrap_or("0.0.0.0");
        let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        let protocols = section.get("protocol").unwrap_or("udp");
        for protocol in protocols.split(',').map(str::trim) {
            let mode = if protocol == "tcp" { "tcp" } else { "udp" };
            let name = format!("syslog_{}_{mode}", section.line);
            self.sources.push(format!(
                "  {name}:\n    type: syslog\n    mode: {mode}\n    address: {}\n    allow_plaintext: true\n",
                quoted(&format!("{address}:{port}"))
            ));
        }
        let said = |name: &str, word: &str| {
            let all = section.all(name).filter(|child| child.text != "any");
            all.map(|child| format!("{word}{}", child.text)).collect::<Vec<_>>()
        };
        let list = [said("allowed-ips", ""), said("denied-ips", "not ")].concat().join(", ");
        if !list.is_empty() {
            let text = format!("the gateway has no list of addresses: let the firewall pass only {list}");
            self.note(section, &text);
        }
        let file = format!("/var/log/wharfinger/syslog-{}.log", section.line);
        self.sinks.push(format!(
            "  syslog_{line}_kept:\n    type: file\n    path: {file}\n    format: raw\n    when: \
             'source.startsWith(\"syslog_{line}_\")'\n",
            line = section.line
        ));
        let text = format!("for Wazuh to judge these lines, let it read `{file}` (`<localfile>`, `syslog`)");
        self.note(section, &text);
        self.note(section, "who a sender is, the inventory says: `identity` of the configuration");
    }

    fn integration(&mut self, section: &Element) {
        let name = section.get("name").unwrap_or_default().to_owned();
        let url = section.get("hook_url").unwrap_or_default();
        if let Some((endpoint, _)) = url.split_once("/services/collector") {
            self.alerts();
            let when = self.when(section);
            let token = section.get("api_key").unwrap_or_default();
            let token = if token.is_empty() { "PUT-THE-TOKEN-HERE" } else { token };
            self.sinks.push(format!(
                "  splunk_{}:\n    type: splunk_hec\n    endpoint: {}\n    token: {}\n{when}",
                section.line,
                quoted(endpoint),
                quoted(token)
            ));
            return;
        }
        let text =
            format!("`{name}` asks a service for each alert and has no equivalent here; Wazuh 4 goes on with it");
        self.note(section, &text);
    }

    fn docker_listener(&mut self, section: &Element) {
        if section.says_yes("disabled") {
            return self.note(section, "the docker-listener is disabled: left out");
        }
        self.sources.push("  docker:\n    type: docker\n".to_owned());
        self.sinks.push(format!(
            "  docker_to_wazuh:\n    type: file\n    path: {DOCKER_ALERTS}\n    format: wazuh\n    when: 'source == \
             \"docker\"'\n"
        ));
        let text = format!(
            "alerts of Docker are in `{DOCKER_ALERTS}`, one a line, with Wazuh's own rule ids; neither Python nor \
             `interval` and `attempts` are needed. Disable the wodle, or events come twice"
        );
        self.note(section, &text);
    }

    /// The configuration, with the notes before it.
    pub(super) fn to_yaml(&self, name: &str) -> String {
        let mut yaml = format!("# Made by `wharfinger migrate` of `{}`.\n", name.replace('\n', " "));
        if !self.notes.is_empty() {
            yaml.push_str("#\n# What has no equivalent, or is to be looked at:\n");
        }
        for note in &self.notes {
            // A note stays a comment, whatever the file has in its texts.
            yaml.push_str(&format!("# - {}\n", note.replace(['\n', '\r'], " ")));
        }
        if self.sources.is_empty() {
            yaml.push_str("#\n# Nothing was found that the gateway does: it listens to syslog on this machine.\n");
        }
        let sources = match self.sources.is_empty() {
            true => "  syslog:\n    type: syslog\n    mode: tcp\n    address: 127.0.0.1:5514\n".to_owned(),
            false => self.sources.concat(),
        };
        // What nobody is sent is kept at least.
        let sinks = match self.sinks.is_empty() {
            true => "  kept:\n    type: file\n    path: /var/log/wharfinger/%Y-%m-%d.ndjson\n".to_owned(),
            false => self.sinks.concat(),
        };
        yaml.push_str(&format!("\nsources:\n{sources}\nsinks:\n{sinks}"));
        yaml
    }
}
