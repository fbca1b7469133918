//! The recipes of docs/http.md, each as it stands there, against a receiver that is written from the documentation
//! the recipe names and refuses what that does not name. None is the vendor's product.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wharfinger::config::Config;
use wharfinger_formats::{Event, Field, Time};

use crate::support::flow::{Flow, Running, wait_for};
use crate::support::web_server::{Seen, WebServer};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const NASTY: &str = "a\"},{\"x\":\"b\n\\<!channel>{msg}\u{2028}";

/// Starts the recipe with its receiver in the vendor's place, and its files in a folder of the test.
fn start(flow: &Flow, server: &WebServer, name: &str) -> Running {
    let docs = include_str!("../../docs/http.md");
    let yaml = docs.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap());
    let yaml = yaml.into_iter().find(|block| block.contains(&format!("\n  {name}:\n"))).expect("a recipe");
    let folder = flow.dir.path();
    let files = [
        ("elastic-authorization", "ApiKey abc=".to_owned()),
        ("loggly-url", format!("{}/bulk/TOKEN/tag/wharfinger/", server.url())),
        ("azure-token", "eyJ0".to_owned()),
        ("google-token", "ya29.a0".to_owned()),
        ("vrops-authorization", "OpsToken 8f868cca".to_owned()),
        ("aws-key-id", "AKIDEXAMPLE".to_owned()),
        ("aws-key", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
        ("slack-url", format!("{}/services/T000/B000/XXX", server.url())),
        ("pagerduty-key", KEY.to_owned()),
    ];
    for (file, text) in files {
        std::fs::write(folder.join(file), text + "\n").unwrap();
    }
    let mut text = String::new();
    for line in yaml.lines() {
        let line = line.replace("/etc/wharfinger/", &format!("{}/", folder.display()));
        let line = line.replace("/run/wharfinger/", &format!("{}/", folder.display()));
        match line.split_once("url: https://") {
            Some((before, url)) => {
                let path = url.split_once('/').unwrap().1;
                text.push_str(&format!("{before}url: {}/{path}\n", server.url()));
            }
            None => text.push_str(&format!("{line}\n")),
        }
    }
    let file = folder.join("recipe.yaml");
    std::fs::write(&file, text).unwrap();
    let config = Config::load(Path::new(&file)).unwrap();
    config.check().unwrap();
    let part = config.sinks.into_iter().find(|part| part.name == name).unwrap();
    let mut settings = flow.settings(name);
    settings.when = part.every.when.clone();
    flow.start_with(settings, part.options.open(&flow.context(name)).unwrap())
}

/// Two ordinary events and one with all that could end a text, and what a finding has.
async fn append(flow: &Flow) {
    flow.append_with(["raw one", "raw \"two\"\n", NASTY], |index, event: &mut Event<'_>| {
        let is_nasty = index == 2;
        event.set(Field::ObservedTime, Time(1_795_251_800_158_734_145));
        event.set(Field::EventClass, "container.start");
        event.set(Field::Severity, 3 + 3 * index as i64);
        event.set(Field::Name, "A container");
        if is_nasty {
            for field in [Field::Msg, Field::VmName, Field::ContainerName, Field::Reason, Field::UserName] {
                event.set(field, NASTY);
            }
            event.set(Field::RuleId, "docker_not_allowed");
            event.extra("finding", "id", "f00d");
            event.extra("finding", "state", "open");
        }
    })
    .await;
}

/// Strict: a member that the type does not name is an error.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, (u16, String)> {
    serde_json::from_str(text).map_err(|error| (400, format!("{{\"errorMessage\":\"{error}\"}}")))
}

fn answer(judged: Result<(u16, String), (u16, String)>) -> (u16, String) {
    judged.unwrap_or_else(|refused| refused)
}

async fn deliver(name: &str, events: u64, judge: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static) -> Vec<Seen> {
    let (flow, server) = (Flow::new(), WebServer::start(judge).await);
    append(&flow).await;
    let running = start(&flow, &server, name);
    wait_for(&format!("{name}: {:?}", running.stats.last_error()), || {
        assert_eq!(running.stats.quarantined_total(), 0, "{:?}", flow.quarantine(name));
        running.stats.delivered_total() == events
    })
    .await;
    running.finish().await;
    server.taken()
}

#[tokio::test]
async fn elastic() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Action {
        create: Create,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Create {
        #[serde(rename = "_id")]
        id: String,
    }
    let judge = |seen: &Seen| {
        let is_bulk = seen.uri.starts_with("/logs-wharfinger-default/_bulk?filter_path=errors,items.*.status,");
        if !is_bulk || seen.header("authorization") != "ApiKey abc=" {
            return (401, String::new());
        }
        // "The final line of data must end with a newline", and the media type of lines.
        if !seen.text().ends_with('\n') || seen.header("content-type") != "application/x-ndjson" {
            return (400, "the bulk request must be terminated by a newline [\\n]".to_owned());
        }
        let lines = seen.lines();
        let items: Result<Vec<Value>, _> = lines
            .chunks(2)
            .map(|pair| {
                let action: Action = read(pair[0])?;
                let document: Value = read(pair[1])?;
                let is_good = action.create.id.len() == 33 && document["@timestamp"].is_string();
                Ok(json!({ "create": { "status": if is_good { 201 } else { 400 } } }))
            })
            .collect();
        answer(items.map(|items| {
            let errors = items.iter().any(|item| item["create"]["status"] != 201);
            (200, json!({ "errors": errors, "items": items }).to_string())
        }))
    };
    let taken = deliver("elastic", 3, judge).await;
    assert_eq!(taken.iter().map(|seen| seen.lines().len()).sum::<usize>(), 6);
    assert_eq!(taken[0].header("content-encoding"), "gzip");
}

#[tokio::test]
async fn loggly() {
    let judge = |seen: &Seen| {
        let is_good = seen.uri == "/bulk/TOKEN/tag/wharfinger/"
            && seen.header("content-type") == "text/plain"
            && seen.lines().iter().all(|line| read::<Value>(line).is_ok_and(|event| event["event_id"].is_string()));
        if is_good { (200, r#"{"response" : "ok"}"#.to_owned()) } else { (400, String::new()) }
    };
    let taken = deliver("loggly", 3, judge).await;
    assert_eq!(taken.iter().map(|seen| seen.lines().len()).sum::<usize>(), 3);
}

#[tokio::test]
async fn aria() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Request {
        events: Vec<AriaEvent>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct AriaEvent {
        text: String,
        timestamp: u64,
        fields: Vec<AriaField>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct AriaField {
        name: String,
        content: String,
    }
    let judge = |seen: &Seen| {
        if seen.uri != "/api/v2/events/ingest/0" || seen.header("content-type") != "application/json" {
            return (404, String::new());
        }
        answer(read::<Request>(seen.text()).map(|request| {
            let is_good = |event: &AriaEvent| {
                event.text.len() <= 16_384
                    && event.timestamp == 1_795_251_800_158
                    && event.fields.iter().all(|field| !field.name.is_empty())
            };
            let id = |event: &AriaEvent| {
                event.fields.iter().any(|field| field.name == "event_id" && field.content.len() == 33)
            };
            if request.events.is_empty() || !request.events.iter().all(|event| is_good(event) && id(event)) {
                return (400, r#"{"errorMessage":"Missing events"}"#.to_owned());
            }
            let ingested = request.events.len();
            (200, json!({ "ingested": ingested, "message": "events ingested", "status": "ok" }).to_string())
        }))
    };
    let taken = deliver("aria", 3, judge).await;
    let texts: Vec<String> = taken
        .iter()
        .flat_map(|seen| read::<Request>(seen.text()).unwrap().events.into_iter().map(|event| event.text))
        .collect();
    assert_eq!(texts[..2], ["raw one", "raw \"two\""]);
}

#[tokio::test]
async fn sentinel() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "PascalCase")]
    #[expect(dead_code, reason = "the columns that the stream declares")]
    struct Row {
        time_generated: String,
        event_id: String,
        event_class: Option<String>,
        severity: Option<i64>,
        message: Option<String>,
        vm_name: Option<String>,
        vm_uuid: Option<String>,
        container_name: Option<String>,
        image: Option<String>,
        user_name: Option<String>,
        record: String,
    }
    let judge = |seen: &Seen| {
        let uri = "/dataCollectionRules/dcr-00000000000000000000000000000000/streams/Custom-Wharfinger?api-version=2023-01-01";
        if seen.uri != uri || seen.header("authorization") != "Bearer eyJ0" {
            return (401, String::new());
        }
        if seen.header("content-type") != "application/json" || seen.body.len() > 1_000_000 {
            return (413, String::new());
        }
        answer(read::<Vec<Row>>(seen.text()).map(|rows| {
            let is_time = |row: &Row| row.time_generated == "2026-11-21T09:03:20.158734Z";
            let is_good = !rows.is_empty() && rows.iter().all(|row| is_time(row) && row.record.len() <= 65_536);
            (if is_good { 204 } else { 400 }, String::new())
        }))
    };
    let taken = deliver("sentinel", 3, judge).await;
    let rows: Vec<Row> = taken.iter().flat_map(|seen| read::<Vec<Row>>(seen.text()).unwrap()).collect();
    assert_eq!((rows.len(), rows[0].vm_name.as_deref(), rows[2].vm_name.as_deref()), (3, None, Some(NASTY)));
}

#[tokio::test]
async fn slack() {
    let judge = |seen: &Seen| {
        if seen.uri != "/services/T000/B000/XXX" || seen.header("content-type") != "application/json" {
            return (404, "no_service".to_owned());
        }
        let Ok(message) = read::<Value>(seen.text()) else { return (400, "invalid_payload".to_owned()) };
        let members = message.as_object().unwrap().len();
        let texts: Vec<&Value> = vec![&message["blocks"][0]["text"], &message["blocks"][1]["elements"][0]];
        // A section's text has 1 to 3,000 characters; mrkdwn would read `<!channel>`.
        let is_text = |text: &&Value| {
            let count = text["text"].as_str().unwrap_or_default().chars().count();
            text["type"] == "plain_text" && text["emoji"] == false && (1..=3_000).contains(&count)
        };
        let types = (message["blocks"][0]["type"].as_str(), message["blocks"][1]["type"].as_str());
        let is_good = members == 2
            && types == (Some("section"), Some("context"))
            && texts.iter().all(is_text)
            && !message["text"].as_str().unwrap().contains('<');
        if is_good { (200, "ok".to_owned()) } else { (400, "invalid_blocks".to_owned()) }
    };
    // Only the third event is a finding.
    let taken = deliver("slack", 1, judge).await;
    let message: Value = serde_json::from_str(taken[0].text()).unwrap();
    let text = message["blocks"][0]["text"]["text"].as_str().unwrap();
    assert!(text.starts_with("critical: A container on a\"},{") && text.contains("<!channel>"), "{text}");
}

#[tokio::test]
async fn pagerduty() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Alert {
        routing_key: String,
        event_action: String,
        dedup_key: String,
        payload: Payload,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "the members that the documentation names")]
    struct Payload {
        summary: String,
        source: String,
        severity: String,
        timestamp: String,
        component: String,
        group: String,
        class: String,
        custom_details: serde_json::Map<String, Value>,
    }
    let judge = |seen: &Seen| {
        if seen.uri != "/v2/enqueue" || seen.header("content-type") != "application/json" {
            return (404, String::new());
        }
        answer(read::<Alert>(seen.text()).map(|alert| {
            let is_good = alert.routing_key == KEY
                && alert.event_action == "trigger"
                && (1..=255).contains(&alert.dedup_key.len())
                && (1..=1_024).contains(&alert.payload.summary.chars().count())
                && !alert.payload.source.is_empty()
                && ["critical", "error", "warning", "info"].contains(&&*alert.payload.severity);
            if is_good {
                (202, r#"{"status":"success","message":"Event processed","dedup_key":"f00d"}"#.to_owned())
            } else {
                (400, r#"{"status":"invalid event","message":"Event object is invalid","errors":[]}"#.to_owned())
            }
        }))
    };
    let taken = deliver("pagerduty", 1, judge).await;
    let alert: Alert = read(taken[0].text()).unwrap();
    assert_eq!((&*alert.dedup_key, &*alert.payload.severity), ("f00d", "critical"));
    assert_eq!(alert.payload.custom_details["vm.name"], NASTY);
}

#[tokio::test]
async fn pagerduty_is_told_what_is_resolved() {
    let server = WebServer::start(|_| (202, r#"{"status":"success"}"#.to_owned())).await;
    let flow = Flow::new();
    flow.append_with(["open", "resolved"], |index, event| {
        event.extra("finding", "id", "f00d");
        event.extra("finding", "state", if index == 0 { "open" } else { "resolved" });
    })
    .await;
    let running = start(&flow, &server, "pagerduty-resolved");
    wait_for("the end of the finding", || running.stats.delivered_total() == 1).await;
    running.finish().await;
    let expected = json!({ "routing_key": KEY, "event_action": "resolve", "dedup_key": "f00d" });
    assert_eq!(read::<Value>(server.taken()[0].text()).unwrap(), expected);
}

/// The signature itself is checked against AWS's vectors; here, that it is of this very request.
#[cfg(feature = "s3")]
#[tokio::test]
async fn opensearch_on_aws() {
    use sha2::{Digest, Sha256};

    let judge = |seen: &Seen| {
        let hash: String = Sha256::digest(&seen.sent).iter().map(|byte| format!("{byte:02x}")).collect();
        let authorization = seen.header("authorization");
        let (credential, rest) = authorization.split_once(", SignedHeaders=").unwrap_or_default();
        let date = seen.header("x-amz-date").split('T').next().unwrap_or_default();
        let is_signed = credential
            == format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{date}/eu-central-1/es/aws4_request")
            && rest.starts_with("content-type;host;x-amz-content-sha256;x-amz-date, Signature=")
            && rest.rsplit_once('=').is_some_and(|(_, signature)| signature.len() == 64)
            && seen.header("x-amz-content-sha256") == hash;
        if seen.uri != "/wharfinger/_bulk" || !is_signed {
            return (403, r#"{"message":"The request signature does not match"}"#.to_owned());
        }
        let items: Vec<Value> = seen.lines().chunks(2).map(|_| json!({ "create": { "status": 201 } })).collect();
        (200, json!({ "took": 1, "errors": false, "items": items }).to_string())
    };
    let taken = deliver("opensearch-aws", 3, judge).await;
    assert_eq!(taken.iter().map(|seen| seen.lines().len()).sum::<usize>(), 6);
}

#[tokio::test]
async fn chronicle() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Batch {
        customer_id: String,
        log_type: String,
        entries: Vec<Entry>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        log_text: String,
        ts_rfc3339: String,
    }
    let judge = |seen: &Seen| {
        if seen.uri != "/v2/unstructuredlogentries:batchCreate" {
            return (404, String::new());
        }
        if seen.header("authorization") != "Bearer ya29.a0" {
            return (401, String::new());
        }
        if seen.header("content-type") != "application/json" || seen.body.len() > 1 << 20 {
            return (400, String::new());
        }
        answer(read::<Batch>(seen.text()).map(|batch| {
            let is_good = batch.customer_id.len() == 36
                && batch.log_type == "WHARFINGER"
                && batch.entries.iter().all(|entry| entry.ts_rfc3339 == "2026-11-21T09:03:20.158734Z");
            (if is_good { 200 } else { 400 }, "{}".to_owned())
        }))
    };
    let taken = deliver("chronicle", 3, judge).await;
    let entries = taken.iter().flat_map(|seen| read::<Batch>(seen.text()).unwrap().entries);
    let records: Vec<Value> = entries.map(|entry| serde_json::from_str(&entry.log_text).unwrap()).collect();
    assert_eq!((records.len(), &records[2]["vm.name"]), (3, &NASTY.into()));
}

#[tokio::test]
async fn vrops() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Notification {
        event_type: String,
        resource_id: String,
        #[serde(rename = "startTimeUTC")]
        start_time_utc: i64,
        message: String,
        managed_externally: bool,
    }
    let judge = |seen: &Seen| {
        if seen.uri != "/suite-api/api/events/adapterkinds/Wharfinger" || seen.method.as_str() != "POST" {
            return (404, String::new());
        }
        if seen.header("authorization") != "OpsToken 8f868cca" {
            return (401, String::new());
        }
        answer(read::<Notification>(seen.text()).map(|event| {
            let is_good = event.event_type == "NOTIFICATION"
                && event.resource_id.len() == 36
                && event.start_time_utc >= 946_684_800_000
                && !event.message.is_empty()
                && !event.managed_externally;
            (if is_good { 201 } else { 400 }, String::new())
        }))
    };
    // Only the third event is a finding.
    let taken = deliver("vrops", 1, judge).await;
    let event = read::<Notification>(taken[0].text()).unwrap();
    assert!(event.message.starts_with(&format!("A container on {NASTY}: ")), "{}", event.message);
    assert_eq!(event.start_time_utc, 1_795_251_800_158);
}
