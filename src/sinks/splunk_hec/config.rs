//! The options of sink `splunk_hec`.

use std::time::Duration;

use reqwest::Url;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::envelope::Names;
use crate::part::{ByteSize, Interval, Problem, Secret};
use crate::sinks::compress::Compress;
use crate::sinks::emitter::Emitter;
use crate::sinks::template::Template;
use crate::sinks::web::{Proxy, refused};
use crate::tls::ClientTls;

/// Splunk HTTP Event Collector.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplunkHecConfig {
    /// The collector: `https://splunk.example:8088`. The path is `/services/collector/event` unless it
    /// is written, with `mode: raw` `/services/collector/raw`.
    pub endpoint: String,
    /// More collectors that know the token. They take turns with `endpoint`; one that fails is left out
    /// for a while.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// How events are sent: `event` in envelopes of JSON, `raw` as lines to `/services/collector/raw`, which Splunk cuts
    /// and reads as it knows the source type. A request of lines has one host, source, source type and index, which
    /// stand in its query; `fields` and the time are what Splunk finds in the line.
    #[serde(default)]
    pub mode: Mode,
    /// The token.
    pub token: Secret,
    /// Whether events count as delivered only when they are indexed (indexer acknowledgement): `auto` if
    /// the token asks for it, `on` always (a token that does not acknowledge is an alarm), `off` never.
    #[serde(default)]
    pub ack: Ack,
    /// How long an acknowledgement may take; then the events are sent again, under the ids they have.
    #[serde(default = "ack_timeout")]
    pub ack_timeout: Interval,
    /// The index; the token's default index unless it is written. Here and in `source`, `sourcetype` and `host`
    /// `{vm.group}` and its like stand for what an event says (places of docs/http.md); where it does not say it, the
    /// default is taken. What no name of an index may hold becomes `_`.
    #[serde(default)]
    pub index: Option<String>,
    /// The source; unless it is written, the name of the gateway's source.
    #[serde(default)]
    pub source: Option<String>,
    /// The source type.
    #[serde(default = "sourcetype")]
    pub sourcetype: String,
    /// The host; unless it is written, the name of the event's machine, else that of the gateway's.
    #[serde(default)]
    pub host: Option<String>,
    /// What `event` holds: with `json` the event as an object, else one record as text.
    #[serde(default = "Emitter::native")]
    #[schemars(schema_with = "formats_inside")]
    pub format: Emitter,
    /// How requests are compressed.
    #[serde(default)]
    pub compression: Compress,
    /// An HTTP proxy that requests go through; receivers' names are then looked up there. Default: none.
    #[serde(default)]
    pub proxy: Option<Proxy>,
    /// Whether the sink may speak to link-local addresses (169.254.0.0/16, `fe80::/10`) and to those at which clouds tell
    /// machines their credentials; a name that leads there is refused, too.
    #[serde(default)]
    pub allow_link_local: bool,
    /// Certificates; unless they are written, the operating system's authorities are trusted.
    #[serde(default)]
    pub tls: ClientTls,
    /// The largest request before compression; the limit of Splunk Cloud is 1 MB.
    #[serde(default = "max_bytes")]
    pub max_bytes: ByteSize,
    /// The most events in a request.
    #[serde(default = "max_events")]
    pub max_events: usize,
    /// How long an event may wait for others. `0s`: what is there is sent at once.
    #[serde(default = "max_age")]
    pub max_age: Interval,
    /// How long an answer may take.
    #[serde(default = "timeout")]
    pub timeout: Interval,
}

/// How events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Event,
    Raw,
}

/// Whether indexing is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    #[default]
    Auto,
    On,
    Off,
}

const fn ack_timeout() -> Interval {
    Interval::seconds(300)
}
pub(super) fn sourcetype() -> String {
    "wharfinger:container:event".to_owned()
}
const fn max_bytes() -> ByteSize {
    ByteSize::bytes(1_000_000)
}
const fn max_events() -> usize {
    10_000
}
const fn max_age() -> Interval {
    Interval::seconds(0)
}
const fn timeout() -> Interval {
    Interval::seconds(60)
}

/// Less is no time to index.
const ACK_TIMEOUT_MIN: Duration = Duration::from_secs(10);

/// The format that is an envelope itself.
const ENVELOPE: &str = "hec";

/// What `event` can hold: any format but an envelope.
fn formats_inside(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = Emitter::names().filter(|name| *name != ENVELOPE).collect();
    json_schema!({ "type": "string", "enum": names })
}

impl SplunkHecConfig {
    /// Where events are posted to: every endpoint in the order it is written.
    pub(super) fn urls(&self) -> impl Iterator<Item = (&'static str, Result<Url, String>)> {
        let more = self.endpoints.iter().map(|text| ("endpoints", url(text, self.mode)));
        std::iter::once(("endpoint", url(&self.endpoint, self.mode))).chain(more)
    }

    /// # Errors
    /// The option whose template is wrong, and why.
    pub(super) fn names(&self) -> Result<Names, (&'static str, String)> {
        let read = |option, text: &str| Template::parse_text(text).map_err(|message| (option, message));
        let optional = |option, text: &Option<String>| text.as_deref().map(|text| read(option, text)).transpose();
        Ok(Names {
            host: optional("host", &self.host)?,
            source: optional("source", &self.source)?,
            sourcetype: read("sourcetype", &self.sourcetype)?,
            index: optional("index", &self.index)?,
        })
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = self.tls.problems();
        problems.extend(self.token.problem("token"));
        for (option, url) in self.urls() {
            let hint = || "write the collector's address: `https://splunk.example:8088`".to_owned();
            match url {
                Err(message) => problems.push(Problem { option, message, hint: hint() }),
                Ok(url) if !self.allow_link_local => {
                    problems.extend(refused(&url).map(|message| Problem { option, message, hint: hint() }));
                }
                Ok(_) => {}
            }
        }
        problems.extend(self.proxy.iter().flat_map(|proxy| proxy.problems(self.allow_link_local)));
        if self.tls.server_name.is_some() {
            problems.push(Problem {
                option: "tls.server_name",
                message: "the name is that of the URL".to_owned(),
                hint: "write the name in the certificate into `endpoint`".to_owned(),
            });
        }
        if let Err((option, message)) = self.names() {
            let hint = "places in a text: docs/http.md".to_owned();
            problems.push(Problem { option, message, hint });
        }
        if self.format.name() == ENVELOPE {
            let message = "the sink writes the envelope: `event` would hold another one".to_owned();
            problems.push(Problem { option: "format", message, hint: "leave the option out for `json`".to_owned() });
        }
        if self.ack_timeout.get() < ACK_TIMEOUT_MIN {
            problems.push(Problem {
                option: "ack_timeout",
                message: "collectors are asked once a second and take their time: everything would be sent again"
                    .to_owned(),
                hint: "write 10s or more; 5m is the default".to_owned(),
            });
        }
        if self.max_events == 0 || self.max_bytes.get() == 0 {
            let option = if self.max_events == 0 { "max_events" } else { "max_bytes" };
            problems.push(Problem {
                option,
                message: "a request must be able to hold an event".to_owned(),
                hint: "leave the option out for the default".to_owned(),
            });
        }
        problems
    }
}

fn url(endpoint: &str, mode: Mode) -> Result<Url, String> {
    let mut url = Url::parse(endpoint).map_err(|error| format!("`{endpoint}` is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!("`{endpoint}` is no http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err("the token belongs into `token:`, not into the URL".to_owned());
    }
    let is_raw = url.path().trim_end_matches("/1.0").ends_with("/raw");
    match (url.path(), mode) {
        ("/", Mode::Event) => url.set_path("/services/collector/event"),
        ("/", Mode::Raw) => url.set_path("/services/collector/raw"),
        (_, Mode::Raw) if !is_raw => return Err(format!("`{endpoint}` takes no lines: its path would end in `/raw`")),
        (_, Mode::Event) if is_raw => return Err(format!("`{endpoint}` takes lines: `mode: raw` sends them")),
        _ => {}
    }
    Ok(url)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config(endpoint: &str) -> SplunkHecConfig {
        let options = serde_json::json!({ "endpoint": endpoint, "token": "00000000-0000-0000-0000-000000000000" });
        serde_json::from_value(options).unwrap()
    }

    #[test]
    fn endpoints() {
        for (endpoint, expected) in [
            ("https://splunk:8088", Some("https://splunk:8088/services/collector/event")),
            ("http://127.0.0.1:8088/", Some("http://127.0.0.1:8088/services/collector/event")),
            ("https://lb.example/hec/services/collector", Some("https://lb.example/hec/services/collector")),
            ("splunk:8088", None),
            ("https://u:secret@splunk:8088", None),
            ("https://splunk:8088/?token=x", None),
            ("https://splunk:8088/services/collector/raw", None),
        ] {
            assert_eq!(url(endpoint, Mode::Event).as_ref().map(Url::as_str).ok(), expected, "{endpoint}");
            assert_eq!(config(endpoint).problems().is_empty(), expected.is_some());
            let mut several = config("https://splunk:8088");
            several.endpoints.push(endpoint.to_owned());
            assert_eq!(
                several.problems().first().map(|problem| problem.option),
                expected.map_or(Some("endpoints"), |_| None)
            );
        }
    }

    #[test]
    fn endpoints_for_lines() {
        for (endpoint, expected) in [
            ("https://splunk:8088", Some("https://splunk:8088/services/collector/raw")),
            ("https://lb/hec/services/collector/raw/1.0", Some("https://lb/hec/services/collector/raw/1.0")),
            ("https://splunk:8088/services/collector/event", None),
        ] {
            assert_eq!(url(endpoint, Mode::Raw).as_ref().map(Url::as_str).ok(), expected, "{endpoint}");
        }
    }

    #[test]
    fn a_template_that_names_nothing_is_a_mistake() {
        let mut wrong = config("https://splunk:8088");
        wrong.index = Some("{vm.grup}".to_owned());
        assert_eq!(wrong.problems().first().map(|problem| problem.option), Some("index"));
        wrong.index = Some("{vm.group}".to_owned());
        assert_eq!(wrong.problems(), []);
        wrong.host = Some("{record}".to_owned());
        assert_eq!(wrong.problems().first().map(|problem| problem.option), Some("host"));
    }

    #[test]
    fn a_short_time_to_index_is_a_mistake() {
        let mut hasty = config("https://splunk:8088");
        hasty.ack_timeout = Interval::seconds(9);
        assert_eq!(hasty.problems().first().map(|problem| problem.option), Some("ack_timeout"));
        hasty.ack_timeout = Interval::seconds(10);
        assert_eq!(hasty.problems(), []);
    }

    #[test]
    fn a_wrong_option_is_named() {
        let options = serde_json::json!({ "endpoint": "https://a", "token": "t", "indx": "main" });
        let error = serde_json::from_value::<SplunkHecConfig>(options).unwrap_err().to_string();
        assert!(error.contains("`indx`") && error.contains("`index`"), "{error}");
    }
}
