//! Open Cybersecurity Schema Framework 1.5: one object on one line, as Security Lake and others take it.
//!
//! An emitter at the end of an event's way. Each event class is a class and an activity of OCSF
//! (`classes`), with every attribute that class requires; what the source did not say is
//! `unknown`, never invented. What the schema has no attribute for is `unmapped`, a map of texts.
//!
//! Invariant: always one valid object with the attributes its class requires; no name or value of
//! the input can stand for an attribute.

use crate::classes::{Ocsf, activity_name, class};
use crate::ecs::name_and_tag;
use crate::json::write_base64;
use crate::objects::{Objects, Path};
use crate::places::{Done, How, Row, rows};
use crate::{EmitContext, Event, Field, Format, Time, Value};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "ocsf",
    about: "Open Cybersecurity Schema Framework 1.5, one object a line",
    detect: None,
    starts: b"",
    parse: None,
    emit: Some(emit),
    open: None,
};

const VERSION: &str = "1.5.0";
const UNKNOWN: &str = "unknown";

/// Severity 0 to 10 on the scale of OCSF: 1 informational to 5 critical; 0 is unknown.
const SEVERITY: [i64; 11] = [1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5];

static BASE: &[Row] = &[
    Row(&[], "start_time", Field::Start, How::Millis),
    Row(&[], "end_time", Field::End, How::Millis),
    Row(&[], "count", Field::Count, How::Number),
    Row(&["metadata"], "uid", Field::EventId, How::Text),
    Row(&["metadata"], "event_code", Field::EventClass, How::Text),
    Row(&["metadata"], "logged_time", Field::ObservedTime, How::Millis),
    Row(&["metadata"], "log_name", Field::Format, How::Text),
    Row(&["metadata"], "log_provider", Field::DeviceProduct, How::Text),
    Row(&["metadata"], "log_version", Field::DeviceVersion, How::Text),
];

static DEVICE: &[Row] = &[
    Row(&["device"], "hostname", Field::HostName, How::Text),
    Row(&["device"], "ip", Field::HostIp, How::Address),
    Row(&["device"], "uid", Field::HostId, How::Text),
    Row(&["device"], "name", Field::VmName, How::Text),
    Row(&["device"], "instance_uid", Field::VmUuid, How::Text),
    Row(&["device"], "instance_uid", Field::InstanceId, How::Text),
    Row(&["device"], "hypervisor", Field::Hypervisor, How::Text),
    Row(&["device"], "region", Field::Region, How::Text),
];

static ACTOR: &[Row] = &[
    Row(&["actor"], "app_name", Field::App, How::Text),
    Row(&["actor", "user"], "name", Field::UserName, How::Text),
    Row(&["actor", "user"], "uid", Field::UserId, How::Text),
    Row(&["actor", "user"], "domain", Field::SrcDomain, How::Text),
];

static SOURCE: &[Row] = &[
    Row(&["src_endpoint"], "ip", Field::SrcIp, How::Address),
    Row(&["src_endpoint"], "port", Field::SrcPort, How::Number),
    Row(&["src_endpoint"], "hostname", Field::SrcHost, How::Text),
];

static DESTINATION: &[Row] = &[
    Row(&["dst_endpoint"], "ip", Field::DstIp, How::Address),
    Row(&["dst_endpoint"], "port", Field::DstPort, How::Number),
    Row(&["dst_endpoint"], "hostname", Field::DstHost, How::Text),
];

static REQUEST: &[Row] = &[
    Row(&["http_request"], "http_method", Field::HttpMethod, How::Text),
    Row(&["http_request", "url"], "url_string", Field::HttpUrl, How::Text),
];

static PROCESS: &[Row] = &[
    Row(&[], "exit_code", Field::ExitCode, How::Number),
    Row(&["process"], "pid", Field::ProcessId, How::Number),
    Row(&["process"], "cmd_line", Field::ExecCommand, How::Text),
];

static RULE: &[Row] = &[
    Row(&["finding_info", "analytic"], "uid", Field::RuleId, How::Text),
    Row(&["finding_info", "analytic"], "name", Field::RuleName, How::Text),
    Row(&["finding_info"], "types", Field::RuleGroups, How::Lists),
];

static ACCOUNT: &[Row] = &[
    Row(&["user"], "name", Field::TargetUser, How::Text),
    Row(&["user"], "name", Field::UserName, How::Text),
    Row(&["user"], "uid", Field::UserId, How::Text),
    Row(&["user"], "domain", Field::DstDomain, How::Text),
];

static STATUS_CODE: &[Row] = &[Row(&[], "status_code", Field::ExitCode, How::NumberAsText)];

fn emit(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>) {
    out.reserve(event.raw().len().saturating_mul(2).saturating_add(1_024));
    let mut writer = Writer { event, done: Done::default(), objects: Objects::begin(out) };
    let class_uid = writer.classified();
    writer.described(class_uid);
    writer.metadata(context);
    match class_uid {
        Ocsf::ApiActivity => writer.api(),
        Ocsf::ApplicationLifecycle => writer.application(),
        Ocsf::ProcessActivity => writer.process(),
        Ocsf::DetectionFinding | Ocsf::ComplianceFinding => writer.finding(class_uid),
        Ocsf::Authentication => writer.authentication(),
        Ocsf::BaseEvent => writer.actor(false),
    }
    writer.device(class_uid);
    writer.unmapped();
    writer.objects.end();
}

struct Writer<'e, 'o> {
    event: &'e Event<'e>,
    done: Done,
    objects: Objects<'o>,
}

impl Writer<'_, '_> {
    /// What kind of event it is. An event that a rule made is a finding, whatever it is about.
    fn classified(&mut self) -> Ocsf {
        let found = class(self.event.text(Field::EventClass).unwrap_or_default());
        let is_rule = self.event.has(Field::RuleId) && found.ocsf != Ocsf::ComplianceFinding;
        let (class, activity) = if is_rule { (Ocsf::DetectionFinding, 1) } else { (found.ocsf, found.activity) };
        let activity = self.finding_activity().unwrap_or(activity);
        let uid = class as i64;
        let name = match (activity, self.event.text(Field::Action)) {
            (99, Some(action)) => action,
            _ => activity_name(class, activity),
        };
        let in_type = if planted!("ocsf_emit") { activity.min(98) } else { activity };
        for (attribute, number) in [
            ("category_uid", uid.wrapping_div(1_000)),
            ("class_uid", uid),
            ("activity_id", activity),
            ("type_uid", uid.wrapping_mul(100).wrapping_add(in_type)),
        ] {
            self.objects.number(&[], attribute, number);
        }
        self.objects.text(&[], "activity_name", name);
        class
    }

    /// What is told of a finding of ours: that it is new, goes on, or is over.
    fn finding_activity(&self) -> Option<i64> {
        said(self.event, "finding", "id")?;
        match self.event.text(Field::Action)? {
            "create" => Some(1),
            "update" => Some(2),
            "close" => Some(3),
            _ => None,
        }
    }

    /// When, how bad, what it says and how it ended.
    fn described(&mut self, class: Ocsf) {
        let event = self.event;
        let severity = event.int(Field::Severity).map(|severity| severity.clamp(0, 10));
        let severity_id = severity.and_then(|at| SEVERITY.get(usize::try_from(at).ok()?)).copied().unwrap_or(0);
        self.objects.number(&[], "severity_id", severity_id);
        // Without any instant there is no event: the epoch is one that nobody takes for true.
        let time = event.time(Field::Time).inspect(|_| self.done.add(Field::Time));
        let time = time.or(event.time(Field::ObservedTime)).unwrap_or(Time(0));
        self.objects.number(&[], "time", time.millis());
        let message = [Field::Msg, Field::Name].into_iter().find_map(|field| Some((field, event.text(field)?)));
        if let Some((field, text)) = message {
            self.objects.text(&[], "message", text);
            self.done.add(field);
        }
        if !matches!(class, Ocsf::DetectionFinding | Ocsf::ComplianceFinding) {
            // The status of a finding is that of the work on it.
            let outcome = match event.text(Field::Outcome) {
                Some("success") => Some((1, "Success")),
                Some("failure") => Some((2, "Failure")),
                Some("unknown") => Some((0, "Unknown")),
                _ => None,
            };
            if let Some((status_id, status)) = outcome {
                self.objects.number(&[], "status_id", status_id);
                self.objects.text(&[], "status", status);
                self.done.add(Field::Outcome);
            }
            if let Some(reason) = event.text(Field::Reason) {
                self.objects.text(&[], "status_detail", reason);
                self.done.add(Field::Reason);
            }
        }
        if let Some(text) = event.raw_text().filter(|text| !text.is_empty()) {
            self.objects.text(&[], "raw_data", text);
        }
    }

    fn metadata(&mut self, context: &EmitContext<'_>) {
        rows(self.event, BASE, &mut self.done, &mut self.objects);
        self.objects.text(&["metadata"], "version", VERSION);
        let is_in_container = self.event.has(Field::ContainerId) || self.event.has(Field::ContainerName);
        let profiles: &[&str] = match (is_in_container, self.event.has(Field::Cloud)) {
            (false, false) => &["host"],
            (false, true) => &["host", "cloud"],
            (true, false) => &["host", "container"],
            (true, true) => &["host", "container", "cloud"],
        };
        self.objects.words(&["metadata"], "profiles", profiles);
        self.objects.text(&["metadata", "product"], "name", context.product);
        self.objects.text(&["metadata", "product"], "vendor_name", context.vendor);
        self.objects.text(&["metadata", "product"], "version", context.version);
        if let Some(provider) = self.event.text(Field::Cloud) {
            self.objects.text(&["cloud"], "provider", provider);
            self.done.add(Field::Cloud);
        }
    }

    /// 6003 requires actor, api and src_endpoint.
    fn api(&mut self) {
        let operation = self.event.text(Field::Action).or(self.event.text(Field::EventClass));
        self.objects.text(&["api"], "operation", operation.unwrap_or(UNKNOWN));
        self.done.add(Field::Action);
        self.objects.text(&["api", "service"], "name", "docker");
        rows(self.event, STATUS_CODE, &mut self.done, &mut self.objects);
        self.actor(true);
        self.endpoint(true);
        rows(self.event, DESTINATION, &mut self.done, &mut self.objects);
        rows(self.event, REQUEST, &mut self.done, &mut self.objects);
        self.resources();
    }

    /// 6002 requires app: the container, or the daemon itself.
    fn application(&mut self) {
        let event = self.event;
        let of_container = event.text(Field::ContainerName).or(event.text(Field::ContainerId));
        self.objects.text(&["app"], "name", of_container.unwrap_or("dockerd"));
        if let Some(id) = event.text(Field::ContainerId) {
            self.objects.text(&["app"], "uid", id);
        }
        self.objects.text(&["app"], "vendor_name", "Docker");
        rows(event, STATUS_CODE, &mut self.done, &mut self.objects);
        self.actor(false);
    }

    /// 1007 requires actor, device and process, which has a pid or a uid.
    fn process(&mut self) {
        let event = self.event;
        rows(event, PROCESS, &mut self.done, &mut self.objects);
        let uid =
            said(event, "attributes", "execID").or(event.text(Field::ContainerId)).or(event.text(Field::ProcessId));
        self.objects.text(&["process"], "uid", uid.unwrap_or(UNKNOWN));
        self.container(&["process", "container"], &["process", "container", "image"]);
        self.actor(true);
    }

    /// 2004 and 2003 require finding_info; 2003 also compliance.
    fn finding(&mut self, class: Ocsf) {
        let event = self.event;
        let title = event.text(Field::RuleName).or(event.text(Field::Name)).or(event.text(Field::EventClass));
        self.objects.text(&["finding_info"], "title", title.unwrap_or(UNKNOWN));
        // A finding that goes on is the same finding in another event.
        let uid = said(event, "finding", "id").or(event.text(Field::EventId));
        let uid = uid.or(event.text(Field::RuleId)).or(event.text(Field::EventClass));
        self.objects.text(&["finding_info"], "uid", uid.unwrap_or(UNKNOWN));
        if event.has(Field::RuleId) || event.has(Field::RuleName) {
            self.objects.number(&["finding_info", "analytic"], "type_id", 1);
        }
        rows(event, RULE, &mut self.done, &mut self.objects);
        if class == Ocsf::ComplianceFinding {
            let standard = event.text(Field::VmPolicy).unwrap_or(UNKNOWN);
            self.objects.list(&["compliance"], "standards", standard);
            let status_id = if event.text(Field::Outcome) == Some("success") { 1 } else { 3 };
            self.objects.number(&["compliance"], "status_id", status_id);
        }
        self.resources();
    }

    /// 3002 requires user, and a service or dst_endpoint.
    fn authentication(&mut self) {
        rows(self.event, ACCOUNT, &mut self.done, &mut self.objects);
        if ![Field::TargetUser, Field::UserName, Field::UserId].into_iter().any(|field| self.event.has(field)) {
            self.objects.text(&["user"], "name", UNKNOWN);
        }
        self.objects.text(&["service"], "name", self.event.text(Field::App).unwrap_or(UNKNOWN));
        self.done.add(Field::App);
        self.endpoint(false);
        rows(self.event, DESTINATION, &mut self.done, &mut self.objects);
    }

    /// Who did it; where the class asks for it, also when nobody knows.
    fn actor(&mut self, is_required: bool) {
        rows(self.event, ACTOR, &mut self.done, &mut self.objects);
        let is_known = ACTOR.iter().any(|row| self.done.has(row.2));
        if is_required && !is_known {
            self.objects.text(&["actor", "user"], "name", UNKNOWN);
        }
    }

    /// Where from. An address is never invented: a name says that none is known.
    fn endpoint(&mut self, is_required: bool) {
        rows(self.event, SOURCE, &mut self.done, &mut self.objects);
        let is_known = self.done.has(Field::SrcIp) || self.done.has(Field::SrcHost);
        if is_required && !is_known {
            self.objects.text(&["src_endpoint"], "name", UNKNOWN);
        }
    }

    /// What it was done to: the container, the image, or whatever else the Engine names by an id.
    fn resources(&mut self) {
        let event = self.event;
        let class = event.text(Field::EventClass).unwrap_or_default();
        let (id, name) = (event.text(Field::ContainerId), event.text(Field::ContainerName));
        let (kind, id, name) = match class.split_once('.') {
            Some(("image", _)) => ("image", event.text(Field::ImageDigest), event.text(Field::ImageRef)),
            Some((kind, _)) if said(event, "docker", "Actor.ID").is_some() => {
                (kind, said(event, "docker", "Actor.ID"), said(event, "attributes", "name"))
            }
            _ => ("container", id, name),
        };
        if id.or(name).is_none() {
            return;
        }
        let out = self.objects.member(&[], "resources");
        out.push(b'[');
        let mut resource = Objects::begin(out);
        resource.text(&[], "type", kind);
        for (attribute, text) in [("uid", id), ("name", name)] {
            if let Some(text) = text {
                resource.text(&[], attribute, text);
            }
        }
        if let Some(group) = event.text(Field::VmGroup) {
            resource.text(&["group"], "name", group);
            self.done.add(Field::VmGroup);
        }
        resource.end();
        out.push(b']');
        if kind == "image" {
            self.done.add(Field::ImageDigest);
            self.done.add(Field::ImageRef);
        }
    }

    /// The machine, which needs a name of some kind; the container stands in it unless it stands in
    /// the process.
    fn device(&mut self, class: Ocsf) {
        let event = self.event;
        rows(event, DEVICE, &mut self.done, &mut self.objects);
        if ![Field::HostName, Field::HostIp, Field::HostId, Field::VmName, Field::VmUuid, Field::InstanceId]
            .into_iter()
            .any(|field| self.done.has(field))
        {
            self.objects.text(&["device"], "name", UNKNOWN);
        }
        let is_virtual = [Field::VmUuid, Field::VmName, Field::Hypervisor, Field::Cloud, Field::InstanceId];
        let is_virtual = is_virtual.into_iter().any(|field| event.has(field));
        self.objects.number(&["device"], "type_id", if is_virtual { 6 } else { 0 });
        if class != Ocsf::ProcessActivity {
            self.container(&["device", "container"], &["device", "container", "image"]);
        }
    }

    /// The container, which needs an id or a name, and its image, which needs an id: its digest, or
    /// else the reference.
    fn container(&mut self, path: Path, image_path: Path) {
        let event = self.event;
        let (id, name) = (event.text(Field::ContainerId), event.text(Field::ContainerName));
        if id.or(name).is_none() {
            return;
        }
        for (attribute, field, text) in [("uid", Field::ContainerId, id), ("name", Field::ContainerName, name)] {
            if let Some(text) = text {
                self.objects.text(path, attribute, text);
                self.done.add(field);
            }
        }
        self.objects.text(path, "runtime", "docker");
        let (reference, digest) = (event.text(Field::ImageRef), event.text(Field::ImageDigest));
        let Some(uid) = digest.or(reference) else { return };
        self.objects.text(image_path, "uid", uid);
        self.done.add(Field::ImageDigest);
        if let Some(reference) = reference {
            let (name, tag) = name_and_tag(reference);
            self.objects.text(image_path, "name", name);
            if let Some(tag) = tag {
                self.objects.text(image_path, "tag", tag);
            }
            self.done.add(Field::ImageRef);
        }
    }

    fn unmapped(&mut self) {
        let event = self.event;
        self.objects.map(&["unmapped"], self.done.left(event));
        if event.raw_text().is_none() {
            let out = self.objects.member(&["unmapped"], "raw_base64");
            out.push(b'"');
            write_base64(out, event.raw());
            out.push(b'"');
        }
        self.objects.map(&["unmapped", "fields"], event.extras());
    }
}

/// The text of an extra.
fn said<'e>(event: &'e Event<'_>, group: &str, name: &str) -> Option<&'e str> {
    let extra = event.extras().find(|extra| extra.group == group && extra.name == name)?;
    match extra.value {
        Value::Str(text) => Some(text),
        _ => None,
    }
}
