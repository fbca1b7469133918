//! Elastic Common Schema 8.17: one nested object on one line, as Elasticsearch and OpenSearch index it.
//!
//! An emitter at the end of an event's way. Canonical fields stand where the schema has a place for
//! them; those it has none for are `labels`, labels and claims about a container are
//! `container.labels`, and everything else the input said is `wharfinger.fields`. The last three are
//! maps of texts without full stops in their names, so that no input can change a mapping.
//!
//! Invariant: always one valid object with `@timestamp` and `ecs.version`; no name or value of the
//! input can stand for a field of the schema. An address or a number that is none is a label.

use crate::classes::{Class, Ocsf, class};
use crate::json::write_base64;
use crate::objects::Objects;
use crate::places::{Done, How, Row, rows};
use crate::{EmitContext, Event, Extra, Field, Format, Time};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "ecs",
    about: "Elastic Common Schema 8.17, one nested object a line",
    detect: None,
    starts: b"",
    parse: None,
    emit: Some(emit),
    open: None,
};

const VERSION: &str = "8.17.0";

/// Groups of extras that are labels of a container, or claims that look like them.
const CONTAINER_GROUPS: &[&str] = &["attributes", "attrs"];

static EVENT: &[Row] = &[
    Row(&["event"], "start", Field::Start, How::Time),
    Row(&["event"], "end", Field::End, How::Time),
    Row(&["event"], "ingested", Field::ObservedTime, How::Time),
    Row(&["event"], "code", Field::EventClass, How::Text),
    Row(&["event"], "severity", Field::Severity, How::Number),
    Row(&["event"], "action", Field::Action, How::Text),
    Row(&["event"], "reason", Field::Reason, How::Text),
    Row(&["event"], "id", Field::EventId, How::Text),
    Row(&["event"], "dataset", Field::Format, How::Text),
    Row(&["error"], "message", Field::ParseError, How::Text),
];

static CONTAINER: &[Row] = &[
    Row(&["container"], "id", Field::ContainerId, How::Text),
    Row(&["container"], "name", Field::ContainerName, How::Text),
];

/// In the order they are written: rows of one object stand together.
static OTHERS: &[Row] = &[
    Row(&["container", "image", "hash"], "all", Field::ImageDigest, How::List),
    Row(&["host"], "name", Field::HostName, How::Text),
    Row(&["host"], "id", Field::HostId, How::Text),
    Row(&["host"], "ip", Field::HostIp, How::Addresses),
    Row(&["cloud"], "provider", Field::Cloud, How::Text),
    Row(&["cloud"], "region", Field::Region, How::Text),
    Row(&["cloud", "instance"], "id", Field::InstanceId, How::Text),
    Row(&["cloud", "instance"], "id", Field::VmUuid, How::Text),
    Row(&["cloud", "instance"], "name", Field::VmName, How::Text),
    Row(&["process"], "name", Field::App, How::Text),
    Row(&["process"], "pid", Field::ProcessId, How::Number),
    Row(&["process"], "command_line", Field::ExecCommand, How::Text),
    Row(&["process"], "exit_code", Field::ExitCode, How::Number),
    Row(&["user"], "name", Field::UserName, How::Text),
    Row(&["user"], "id", Field::UserId, How::Text),
    Row(&["user"], "domain", Field::SrcDomain, How::Text),
    Row(&["user", "target"], "name", Field::TargetUser, How::Text),
    Row(&["user", "target"], "domain", Field::DstDomain, How::Text),
    Row(&["source"], "ip", Field::SrcIp, How::Address),
    Row(&["source"], "port", Field::SrcPort, How::Number),
    Row(&["source"], "domain", Field::SrcHost, How::Text),
    Row(&["destination"], "ip", Field::DstIp, How::Address),
    Row(&["destination"], "port", Field::DstPort, How::Number),
    Row(&["destination"], "domain", Field::DstHost, How::Text),
    Row(&["file"], "name", Field::FileName, How::Text),
    Row(&["file"], "path", Field::FilePath, How::Text),
    Row(&["http", "request"], "method", Field::HttpMethod, How::Text),
    Row(&["url"], "original", Field::HttpUrl, How::Text),
    Row(&["rule"], "id", Field::RuleId, How::Text),
    Row(&["rule"], "name", Field::RuleName, How::Text),
    Row(&[], "tags", Field::RuleGroups, How::Lists),
    Row(&["log", "syslog", "facility"], "code", Field::SyslogFacility, How::Number),
    Row(&["log", "syslog", "severity"], "code", Field::SyslogSeverity, How::Number),
    Row(&["log", "syslog"], "msgid", Field::SyslogMsgId, How::Text),
    Row(&["observer"], "vendor", Field::DeviceVendor, How::Text),
    Row(&["observer"], "product", Field::DeviceProduct, How::Text),
    Row(&["observer"], "version", Field::DeviceVersion, How::Text),
];

fn emit(event: &Event<'_>, _: &EmitContext<'_>, out: &mut Vec<u8>) {
    out.reserve(event.raw().len().saturating_mul(2).saturating_add(1_024));
    let mut done = Done::default();
    let mut objects = Objects::begin(out);
    // Without any instant there is no document: the epoch is one that nobody takes for true.
    let time = event.time(Field::Time).inspect(|_| done.add(Field::Time));
    objects.time(&[], "@timestamp", time.or(event.time(Field::ObservedTime)).unwrap_or(Time(0)));
    objects.text(&["ecs"], "version", VERSION);
    let message = [Field::Msg, Field::Name].into_iter().find_map(|field| Some((field, event.text(field)?)));
    if let Some((field, text)) = message {
        objects.text(&[], "message", text);
        done.add(field);
    }
    categories(event, &mut done, &mut objects);
    rows(event, EVENT, &mut done, &mut objects);
    rows(event, CONTAINER, &mut done, &mut objects);
    container(event, &mut done, &mut objects);
    rows(event, OTHERS, &mut done, &mut objects);
    objects.map(&["labels"], done.left(event));
    if event.raw_text().is_none() {
        let out = objects.member(&["wharfinger"], "raw_base64");
        out.push(b'"');
        write_base64(out, event.raw());
        out.push(b'"');
    }
    objects.map(&["wharfinger", "fields"], event.extras().filter(|extra| !is_of_container(event, extra)));
    objects.end();
}

/// `event.kind`, `category`, `type` and `outcome`: words of fixed lists.
fn categories(event: &Event<'_>, done: &mut Done, objects: &mut Objects<'_>) {
    let Class { category, change, ocsf, .. } = class(event.text(Field::EventClass).unwrap_or_default());
    let is_finding = matches!(ocsf, Ocsf::DetectionFinding | Ocsf::ComplianceFinding);
    let kind = match (event.text(Field::ParseStatus), is_finding || event.has(Field::RuleId)) {
        (Some("failed"), _) => "pipeline_error",
        (_, true) => "alert",
        _ => "event",
    };
    objects.text(&["event"], "kind", kind);
    if !category.is_empty() {
        objects.words(&["event"], "category", &[category]);
        objects.words(&["event"], "type", &[change]);
    }
    match event.text(Field::Outcome) {
        Some(outcome @ ("success" | "failure" | "unknown")) => {
            objects.text(&["event"], "outcome", outcome);
            done.add(Field::Outcome);
        }
        Some(_) => objects.text(&["event"], "outcome", "unknown"),
        None => {}
    }
    if let Some(text) = event.raw_text().filter(|text| !text.is_empty()) {
        objects.text(&["event"], "original", text);
    }
}

/// Runtime, labels and image of the container, behind its id and name.
fn container(event: &Event<'_>, done: &mut Done, objects: &mut Objects<'_>) {
    if is_about_container(event) {
        objects.text(&["container"], "runtime", "docker");
    }
    let labels = event.extras().filter(|extra| is_of_container(event, extra));
    objects.map(&["container", "labels"], labels.map(|extra| Extra { group: "", ..extra }));
    if let Some(image) = event.text(Field::ImageRef) {
        done.add(Field::ImageRef);
        let (name, tag) = name_and_tag(image);
        objects.text(&["container", "image"], "name", name);
        if let Some(tag) = tag {
            objects.list(&["container", "image"], "tag", tag);
        }
        if let Some((_, digest)) = image.split_once('@').filter(|_| !event.has(Field::ImageDigest)) {
            objects.list(&["container", "image", "hash"], "all", digest);
        }
    }
}

/// `registry:5000/web:1.2@sha256:…` is the name `registry:5000/web` and the tag `1.2`.
pub(crate) fn name_and_tag(image: &str) -> (&str, Option<&str>) {
    let named = image.split_once("@sha256:").map_or(image, |(named, _)| named);
    match named.rsplit_once(':') {
        Some((name, tag)) if !name.is_empty() && !tag.is_empty() && !tag.contains('/') && name != "sha256" => {
            (name, Some(tag))
        }
        _ => (if named.is_empty() { image } else { named }, None),
    }
}

fn is_of_container(event: &Event<'_>, extra: &Extra<'_>) -> bool {
    CONTAINER_GROUPS.contains(&extra.group) && is_about_container(event)
}

fn is_about_container(event: &Event<'_>) -> bool {
    event.text(Field::EventClass).is_some_and(|class| class.starts_with("container."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_an_image() {
        for (image, name, tag) in [
            ("web", "web", None),
            ("web:1.2", "web", Some("1.2")),
            ("reg.example:5000/web", "reg.example:5000/web", None),
            ("reg.example:5000/web:1.2", "reg.example:5000/web", Some("1.2")),
            ("web:1.2@sha256:ab", "web", Some("1.2")),
            ("web@sha256:ab", "web", None),
            ("sha256:ab", "sha256:ab", None),
            ("@sha256:ab", "@sha256:ab", None),
            (":x", ":x", None),
            ("x:", "x:", None),
        ] {
            assert_eq!(name_and_tag(image), (name, tag), "{image}");
        }
    }
}
