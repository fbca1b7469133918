//! Wazuh alerts, one JSON object a line, as versions 3 and 4 write `alerts.json`, as indexers copy them,
//! and in the schema of version 5, which is near ECS; and the events of `archives.json`, which no rule may
//! have looked at.
//!
//! A parser on the way of an event. An alert about a container carries the Docker event it was made
//! from; such an alert gets the class and fields of that event, so that a rule need not know which
//! way it came. The event's time is the alert's; the Engine's goes to `start`.
//!
//! Invariant: what the manager says (`rule`, `agent`) and what was in the log (`data`, `full_log`)
//! stay apart: nothing in `data` can change the rule, the agent or the time of an alert.

pub(crate) mod emit;
pub(crate) mod forms;
mod rules;

use crate::docker_events::DockerEvent;
use crate::event::{Cell, Span};
use crate::json_members::Members;
use crate::json_read::{self, JsonReader, Quoted};
use crate::{Context, Event, Field, Format, ParseError, Time};

/// The row of this format.
pub(crate) const FORMAT: Format = Format {
    name: "wazuh",
    about: "Wazuh alerts 3.x to 5.x (alerts.json, archives.json and their indexed copies)",
    detect: Some(detect),
    starts: b"{",
    parse: Some(parse),
    emit: Some(emit::emit),
    open: None,
};

/// Group of the alert's own members.
const WAZUH: &str = "wazuh";
/// Groups of the members whose members become extras one by one.
const OPENED: &[&str] = &["manager", "cluster", "decoder", "predecoder", "syscheck", "input"];

fn detect(input: &[u8]) -> u8 {
    let (mut rule, mut agent, mut manager, mut ours, mut event) = (false, false, false, false, false);
    json_read::sniff(input, |key| {
        // Version 5 has a `wazuh` for what is no field of ECS.
        ours |= key == "wazuh";
        event |= key == "event" || key == "@timestamp";
        rule |= key == "rule";
        agent |= key == "agent";
        manager |= key == "manager" || key == "decoder" || key == "timestamp";
        match key {
            "Actor" | "Type" | "status" | "log" | "sourcetype" | "short_message" | "__CURSOR" => Some(0),
            _ if ours && (event || rule || agent) => Some(90),
            _ if rule && (agent || manager) => Some(90),
            _ if agent && manager => Some(75),
            _ => None,
        }
    })
}

fn parse<'a>(input: &'a [u8], _: &Context, event: &mut Event<'a>) -> Result<(), ParseError> {
    let mut reader = JsonReader::new(input)?;
    let mut members = Members::new(event);
    let mut alert = Alert::default();
    reader.object(|reader, key| alert.member(reader, event, &mut members, key))?;
    reader.end()?;
    if alert.rule_id.is_none() && alert.level.is_none() && !alert.is_version_5 && !alert.is_archived() {
        return Err(ParseError::new(0, "a `rule` with an `id` or a `level`, or `agent`, `manager` and `location`"));
    }
    // What stands around it, as in a syslog message, is no JSON.
    if input.len() == event.raw().len() && !reader.is_unportable() {
        event.mark_json();
    }
    alert.finish(event);
    members.finish(event);
    Ok(())
}

/// The members of an alert, in any order, until all of them are known.
#[derive(Default)]
struct Alert {
    timestamp: Option<Span>,
    indexed_at: Option<Span>,
    full_log: Option<Span>,
    rule_id: Option<Cell>,
    level: Option<Cell>,
    description: Option<Span>,
    groups: Option<Cell>,
    fired_times: Option<Cell>,
    agent_id: Option<Span>,
    agent_name: Option<Span>,
    agent_ip: Option<Span>,
    program: Option<Span>,
    path: Option<Span>,
    data: Data,
    docker: Option<DockerEvent>,
    is_version_5: bool,
    /// Which of `agent`, `manager` and `location` are there.
    parts: [bool; 3],
}

/// What decoders found in the log.
#[derive(Default)]
struct Data {
    src_ip: Option<Span>,
    src_port: Option<Cell>,
    dst_ip: Option<Span>,
    dst_port: Option<Cell>,
    src_user: Option<Span>,
    dst_user: Option<Span>,
    url: Option<Span>,
}

impl Alert {
    /// `archives.json` also has what no rule made an alert of: without `rule`, or with an empty one (3.x).
    fn is_archived(&self) -> bool {
        self.parts == [true; 3]
    }

    fn member<'a>(
        &mut self,
        reader: &mut JsonReader<'a>,
        event: &mut Event<'a>,
        members: &mut Members<'a>,
        key: Quoted<'a>,
    ) -> Result<(), ParseError> {
        let name = key.text();
        for (part, is_there) in ["agent", "manager", "location"].iter().zip(&mut self.parts) {
            *is_there |= *name == **part;
        }
        match &*name {
            "timestamp" => members.text(reader, event, &mut self.timestamp, (WAZUH, key)),
            "@timestamp" => members.text(reader, event, &mut self.indexed_at, (WAZUH, key)),
            "full_log" => members.text(reader, event, &mut self.full_log, (WAZUH, key)),
            "rule" if reader.at_object() => reader.object(|reader, key| self.rule(reader, event, members, key)),
            "agent" if reader.at_object() => self.agent(reader, event, members),
            "wazuh" if reader.at_object() => {
                self.is_version_5 = true;
                reader.object(|reader, key| match &*key.text() {
                    "agent" if reader.at_object() => self.agent(reader, event, members),
                    _ => members.extra(reader, event, (WAZUH, key)),
                })
            }
            "event" if reader.at_object() => reader.object(|reader, key| match &*key.text() {
                "original" => members.text(reader, event, &mut self.full_log, ("event", key)),
                _ => members.extra(reader, event, ("event", key)),
            }),
            "data" if reader.at_object() => reader.object(|reader, key| self.data(reader, event, members, key)),
            name if planted!("wazuh") && !["id", "location", "decoder", "manager"].contains(&name) => {
                reader.skip().map(drop)
            }
            _ => match OPENED.iter().find(|group| **group == name) {
                Some(group) if reader.at_object() => reader.object(|reader, key| match (*group, &*key.text()) {
                    ("predecoder", "program_name") => members.text(reader, event, &mut self.program, (group, key)),
                    ("syscheck", "path") => members.text(reader, event, &mut self.path, (group, key)),
                    _ => members.extra(reader, event, (group, key)),
                }),
                _ => members.extra(reader, event, (WAZUH, key)),
            },
        }
    }

    fn agent<'a>(
        &mut self,
        reader: &mut JsonReader<'a>,
        event: &mut Event<'a>,
        members: &mut Members<'a>,
    ) -> Result<(), ParseError> {
        reader.object(|reader, key| {
            let at = ("agent", key);
            match &*key.text() {
                "id" => members.text(reader, event, &mut self.agent_id, at),
                "name" => members.text(reader, event, &mut self.agent_name, at),
                "ip" => members.text(reader, event, &mut self.agent_ip, at),
                "host" if reader.at_object() => reader.object(|reader, key| match &*key.text() {
                    "ip" => members.text(reader, event, &mut self.agent_ip, ("agent.host", key)),
                    _ => members.extra(reader, event, ("agent.host", key)),
                }),
                _ => members.extra(reader, event, at),
            }
        })
    }

    fn rule<'a>(
        &mut self,
        reader: &mut JsonReader<'a>,
        event: &mut Event<'a>,
        members: &mut Members<'a>,
        key: Quoted<'a>,
    ) -> Result<(), ParseError> {
        let at = ("rule", key);
        match &*key.text() {
            "id" => members.value(reader, event, &mut self.rule_id, at),
            "level" => members.value(reader, event, &mut self.level, at),
            "description" | "title" => members.text(reader, event, &mut self.description, at),
            "groups" => members.value(reader, event, &mut self.groups, at),
            "firedtimes" => members.value(reader, event, &mut self.fired_times, at),
            _ => members.extra(reader, event, at),
        }
    }

    fn data<'a>(
        &mut self,
        reader: &mut JsonReader<'a>,
        event: &mut Event<'a>,
        members: &mut Members<'a>,
        key: Quoted<'a>,
    ) -> Result<(), ParseError> {
        let (data, at) = (&mut self.data, ("data", key));
        match &*key.text() {
            "docker" if reader.at_object() => self.docker.get_or_insert_default().read(reader, event, members),
            "srcip" => members.text(reader, event, &mut data.src_ip, at),
            "srcport" => members.value(reader, event, &mut data.src_port, at),
            "dstip" => members.text(reader, event, &mut data.dst_ip, at),
            "dstport" => members.value(reader, event, &mut data.dst_port, at),
            "srcuser" => members.text(reader, event, &mut data.src_user, at),
            "dstuser" => members.text(reader, event, &mut data.dst_user, at),
            "url" => members.text(reader, event, &mut data.url, at),
            _ => members.extra(reader, event, at),
        }
    }

    fn finish(mut self, event: &mut Event<'_>) {
        if let Some(mut docker) = self.docker.take() {
            if let Some(log) = self.full_log {
                docker.correct_time(log, event);
            }
            docker.finish(Field::Start, event);
        }
        self.set_time(event);
        self.set_rule(event);
        event.set_span(Field::HostName, self.agent_name);
        event.set_span(Field::HostId, self.agent_id);
        match self.agent_ip {
            // An agent may connect from anywhere: that is no address.
            Some(ip) if event.str(ip) == "any" => event.put_extra("agent", "ip", Cell::Str(ip)),
            ip => event.set_span(Field::HostIp, ip),
        }
        event.set_span(Field::App, self.program);
        event.set_span(Field::FilePath, self.path);
        self.data.finish(event);
        event.set_span(Field::Msg, self.full_log);
    }

    /// Local time with three digits and an offset without a colon; an indexer's copy also has UTC.
    fn set_time(&mut self, event: &mut Event<'_>) {
        let read = |text: Option<Span>| text.and_then(|text| Time::of_text(event.str(text)));
        let (own, indexed) = (read(self.timestamp), read(self.indexed_at));
        if let Some(time) = own.or(indexed) {
            event.set(Field::Time, time);
            // What says the same instant has been said.
            self.timestamp.take_if(|_| own.is_some());
            self.indexed_at.take_if(|_| indexed == Some(time));
        } else {
            event.note("no time that can be read");
        }
        for (name, text) in [("timestamp", self.timestamp.take()), ("@timestamp", self.indexed_at.take())] {
            if let Some(text) = text {
                event.put_extra(WAZUH, name, Cell::Str(text));
            }
        }
    }

    fn set_rule(&mut self, event: &mut Event<'_>) {
        event.set_span(Field::Name, self.description);
        event.set_span(Field::RuleName, self.description);
        match self.level.map(|level| event.whole(level).ok_or(level)) {
            Some(Ok(level)) => {
                event.set(Field::RuleLevel, level);
                // Wazuh's own scale for CEF: 11 to 15 all become 10.
                event.set(Field::Severity, level.clamp(0, 10));
            }
            Some(Err(level)) => event.put_extra("rule", "level", level),
            None => {}
        }
        if let Some(groups) = self.groups {
            event.put(Field::RuleGroups, groups);
        }
        match self.fired_times.map(|times| event.whole(times).ok_or(times)) {
            Some(Ok(times)) => event.set(Field::Count, times),
            Some(Err(times)) => event.put_extra("rule", "firedtimes", times),
            None => {}
        }
        match self.rule_id {
            Some(Cell::Str(id)) => event.set_span(Field::RuleId, Some(id)),
            // "id is a text"; some shippers make a number of it.
            Some(Cell::Int(id)) => event.set(Field::RuleId, &id.to_string()),
            Some(other) => event.put_extra("rule", "id", other),
            None => {}
        }
        if !event.has(Field::EventClass) {
            let class = event.text(Field::RuleId).map(|id| format!("wazuh.{id}"));
            let without_rule = if self.is_archived() && self.level.is_none() { "wazuh.event" } else { "wazuh" };
            event.set(Field::EventClass, class.as_deref().unwrap_or(without_rule));
        }
    }
}

impl Data {
    fn finish(self, event: &mut Event<'_>) {
        let texts = [
            (Field::SrcIp, self.src_ip),
            (Field::DstIp, self.dst_ip),
            (Field::UserName, self.src_user),
            (Field::TargetUser, self.dst_user),
            (Field::HttpUrl, self.url),
        ];
        for (field, text) in texts {
            event.set_span(field, text);
        }
        for (field, name, port) in
            [(Field::SrcPort, "srcport", self.src_port), (Field::DstPort, "dstport", self.dst_port)]
        {
            match port.map(|port| event.whole(port).ok_or(port)) {
                Some(Ok(port)) => event.set(field, port),
                Some(Err(port)) => event.put_extra("data", name, port),
                None => {}
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Offset, Value};

    fn parsed(input: &str) -> Event<'_> {
        let mut event = Event::new(input.as_bytes());
        parse(input.as_bytes(), &Context { received: Time(0), zone: Offset(0) }, &mut event).unwrap();
        event
    }

    fn extra<'e>(event: &'e Event<'_>, group: &str, name: &str) -> Option<&'e str> {
        event.extras().find(|extra| extra.group == group && extra.name == name).and_then(|extra| match &extra.value {
            Value::Str(text) | Value::Json(text) => Some(&**text),
            _ => None,
        })
    }

    const DOCKER_3: &str = r#"{"timestamp": "2026-11-21T10:15:33.892+0200", "rule": {"level": 3, "description": "Container web started", "id": "87903", "mail": false, "groups": ["docker"]}, "agent": {"id": "002", "name": "node-2", "ip": "10.9.0.19"}, "manager": {"name": "mgr"}, "id": "1795248933.76076", "full_log": "{\"integration\": \"docker\", \"docker\": {\"status\": \"start\", \"id\": \"0182\", \"from\": \"httpd\", \"Type\": \"container\", \"Action\": \"start\", \"Actor\": {\"ID\": \"0182\", \"Attributes\": {\"image\": \"httpd\", \"name\": \"web\", \"x\": \"\\\"timeNano\\\": 1\"}}, \"time\": 1795248933, \"timeNano\": 1795248933877226210, \"y\": \"\\\"timeNano\\\": 1795248933877226333\", \"timeNanos\": 1795248933877226333}}", "decoder": {"name": "json"}, "data": {"integration": "docker", "docker": {"status": "start", "id": "0182", "from": "httpd", "Type": "container", "Action": "start", "Actor": {"ID": "0182", "Attributes": {"image": "httpd", "name": "web"}}, "time": "1795248933", "timeNano": "1795248933877226240.000000"}}, "location": "Wazuh-Docker"}"#;

    #[test]
    fn what_was_read_as_json_goes_out_unread_and_nothing_else() {
        let emitted = |event: &Event<'_>| {
            let mut record = Vec::new();
            crate::stored::encode(event, &mut record);
            let mut stored = crate::stored::decode(&record, Event::new(b"")).unwrap();
            assert_eq!(stored.raw_json(), event.raw_json());
            stored.set(Field::Format, "wazuh");
            let mut out = Vec::new();
            emit::emit(&stored, &crate::EmitContext::default(), &mut out);
            String::from_utf8(out).unwrap()
        };
        let alert = r#"{"rule":{"id":"1"},"x":1e10}"#;
        let mut event = parsed(alert);
        assert_eq!((event.raw_json(), emitted(&event)), (Some(alert), alert.to_owned()));
        event.clear();
        assert_eq!(event.raw_json(), None);
        // What strict readers refuse is a text, and so is what nobody has read.
        for unportable in [r#"{"rule":{"id":"1"},"x":1e999}"#, r#"{"rule":{"id":"1"},"x":"\ud800"}"#] {
            let event = parsed(unportable);
            assert_eq!((event.raw_json(), emitted(&event).chars().next()), (None, Some('"')), "{unportable}");
        }
        let unread = Event::new(br#"{"rule":1},{"x":2}"#);
        assert_eq!(emitted(&unread).chars().next(), Some('"'));
        // A piece of the line is not the line.
        let mut carried = Event::new(br#"<13>{"rule":{"id":"1"}}"#);
        let context = Context { received: Time(0), zone: Offset(0) };
        parse(br#"{"rule":{"id":"1"}}"#, &context, &mut carried).unwrap();
        assert_eq!(carried.raw_json(), None);
        assert_eq!(parsed(alert).reuse(b"").raw_json(), None);
    }

    #[test]
    fn a_docker_alert_is_a_docker_event_with_a_rule() {
        let event = parsed(DOCKER_3);
        for (field, text) in [
            (Field::EventClass, "container.start"),
            (Field::Name, "Container web started"),
            (Field::ContainerId, "0182"),
            (Field::ContainerName, "web"),
            (Field::ImageRef, "httpd"),
            (Field::Action, "start"),
            (Field::RuleId, "87903"),
            (Field::RuleName, "Container web started"),
            (Field::RuleGroups, r#"["docker"]"#),
            (Field::HostName, "node-2"),
            (Field::HostId, "002"),
            (Field::HostIp, "10.9.0.19"),
        ] {
            assert_eq!(event.text(field), Some(text), "{field:?}");
        }
        assert_eq!(event.time(Field::Time), Some(Time(1_795_248_933_892_000_000)));
        assert_eq!(
            event.time(Field::Start),
            Some(Time(1_795_248_933_877_226_210)),
            "not the rounded one, not the label's"
        );
        assert_eq!((event.int(Field::Severity), event.int(Field::RuleLevel)), (Some(3), Some(3)));
        assert_eq!(extra(&event, "wazuh", "location"), Some("Wazuh-Docker"));
        assert_eq!(extra(&event, "wazuh", "id"), Some("1795248933.76076"));
        assert_eq!(extra(&event, "docker", "timeNano"), Some("1795248933877226240.000000"));
        assert_eq!(event.text(Field::ParseStatus), None);
    }

    #[test]
    fn without_full_log_the_engines_time_is_rounded_and_kept_as_written() {
        let event = parsed(
            r#"{"agent":{"name":"a","id":"000","ip":"any"},"data":{"docker":{"Type":"container","Action":"exec_start: sh","Actor":{"ID":"d4","Attributes":{"image":"httpd"}},"timeNano":"1683632491049788416.000000","time":"1683632491"}},"rule":{"firedtimes":3,"level":12,"id":"87903"},"@timestamp":"2023-05-09T11:41:31.033Z","timestamp":"2023-05-09T14:41:31.033+0300"}"#,
        );
        assert_eq!(event.time(Field::Start), Some(Time(1_683_632_491_049_788_000)));
        assert_eq!(extra(&event, "docker", "timeNano"), Some("1683632491049788416.000000"));
        assert_eq!(event.time(Field::Time), Some(Time(1_683_632_491_033_000_000)));
        assert_eq!(extra(&event, "wazuh", "@timestamp"), None);
        assert_eq!((event.text(Field::HostIp), extra(&event, "agent", "ip")), (None, Some("any")));
        assert_eq!((event.int(Field::Severity), event.int(Field::Count)), (Some(10), Some(3)));
        assert_eq!(event.text(Field::ExecCommand), Some("sh"));
    }

    #[test]
    fn data_cannot_pass_for_the_manager() {
        let event = parsed(
            r#"{"timestamp":"2026-11-21T10:00:00.000+0000","data":{"rule":{"id":"1","level":0},"agent":{"name":"forged"},"timestamp":"1999","srcip":"10.0.0.1","srcport":"5022","dstport":"x","srcuser":"eve","win":{"system":{"eventID":"4624"}}},"rule":{"level":5,"id":"5710"},"agent":{"id":"001","name":"real"},"full_log":"sshd: no"}"#,
        );
        assert_eq!(event.text(Field::EventClass), Some("wazuh.5710"));
        assert_eq!(event.text(Field::HostName), Some("real"));
        assert_eq!(
            (event.text(Field::SrcIp), event.int(Field::SrcPort), event.int(Field::DstPort)),
            (Some("10.0.0.1"), Some(5022), None)
        );
        assert_eq!(event.text(Field::UserName), Some("eve"));
        assert_eq!(event.text(Field::Msg), Some("sshd: no"));
        assert_eq!(extra(&event, "data", "dstport"), Some("x"));
        assert_eq!(extra(&event, "data", "agent"), Some(r#"{"name":"forged"}"#));
        assert_eq!(extra(&event, "data", "win"), Some(r#"{"system":{"eventID":"4624"}}"#));
    }

    #[test]
    fn detection_takes_keys_in_any_order() {
        assert_eq!(detect(DOCKER_3.as_bytes()), 90);
        assert_eq!(detect(br#"{"agent":{},"manager":{},"data":{"#), 75);
        assert_eq!(detect(br#"{"rule":"x"}"#), 0);
        assert_eq!(detect(br#"{"log":"{\"rule\":1,\"agent\":2}"}"#), 0);
    }

    #[test]
    fn without_a_rule_it_is_no_alert() {
        let mut event = Event::new(b"");
        let context = Context { received: Time(0), zone: Offset(0) };
        for line in [
            r#"{"agent":{"id":"1"},"timestamp":"2026-11-21T10:00:00Z"}"#,
            r#"{"agent":{"id":"1"},"manager":{"name":"m"},"manager":{"name":"m"},"timestamp":"2026-11-21T10:00:00Z"}"#,
        ] {
            assert!(parse(line.as_bytes(), &context, &mut event).is_err(), "{line}");
        }
    }
}
