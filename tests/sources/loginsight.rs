//! The server for agents of Aria Operations for Logs, spoken to as its documentation says, and by our own sink.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use wharfinger::config::Config;
use wharfinger::identity::{Entry, Local, Snapshot};
use wharfinger::journal::storage::Disk;
use wharfinger::journal::{Batch, Journal, Settings};
use wharfinger::part::PartContext;
use wharfinger::sinks::{self, SinkStats};
use wharfinger_formats::{Event, Field, Time, stored};

use super::hec::ask;
use super::{Running, Yard, tls, within};

const AGENT: &str = "4C4C4544-0037-5910-805A-C4C04F585831";

fn start(yard: &Yard) -> Running {
    yard.start("loginsight", json!({"address": "127.0.0.1:0", "max_body_bytes": "1MiB"}))
}

async fn post(to: SocketAddr, path: &str, body: &str) -> (u16, String) {
    ask(to, &format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n"), body.as_bytes()).await
}

fn ingested(count: usize) -> (u16, String) {
    (200, format!(r#"{{"status":"ok","message":"events ingested","ingested":{count}}}"#))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The exchanges that the documentation of the API shows: of version 8.18 and of Log Insight 2.0.
#[tokio::test]
async fn the_documented_exchanges() {
    let mut yard = Yard::new();
    let source = start(&yard);
    let to = source.address();
    assert!(source.endpoints[0].starts_with("http ") && source.endpoints[0].ends_with(" (Log Insight)"));
    let agent = "aexample-uuid-4b7a-8b09-fbfac4b46fd9";
    let curl = format!(
        "POST /api/v1/events/ingest/{agent} HTTP/1.1\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n"
    );
    assert_eq!(ask(to, &curl, br#"{"events":[{"text":"Test Event"}]}"#).await, ingested(1));
    let event = yard.events(1).await.remove(0);
    assert_eq!(event.raw(), format!(r#"{{"agentId":"{agent}","text":"Test Event"}}"#));
    assert_eq!((event.field("msg"), event.field("host.id"), event.field("peer")), ("Test Event", agent, "127.0.0.1"));
    assert_eq!((event.field("format"), event.field("loginsight.agentId")), ("loginsight", agent));

    let fields =
        r#"[{"name":"StaticField","content":"Security"},{"name":"PositionalField","startPosition":6,"length":7}]"#;
    let body = format!(
        r#"{{"events":[{{"fields":{fields},"text":"A new process has been created.","timestamp":1396622879241}}]}}"#
    );
    assert_eq!(post(to, &format!("/api/v2/events/ingest/{AGENT}"), &body).await, ingested(1));
    let event = yard.events(1).await.remove(0);
    let read = ["msg", "loginsight.StaticField", "loginsight.PositionalField"].map(|name| event.field(name));
    assert_eq!(read, ["A new process has been created.", "Security", "process"]);
    assert_eq!(event.field("time"), "Time(Time(1396622879241000000))");

    let body = r#"{"messages": [{"fields": [{"name": "Channel", "content": "Security"}, {"name": "EventID", "content": "4688"}, {"name": "hostname", "content": "win-1"}], "text": "A new process has been created.", "timestamp": 1396622879241}]}"#;
    assert_eq!(post(to, &format!("/api/v1/messages/ingest/{AGENT}"), body).await, ingested(1));
    let event = yard.events(1).await.remove(0);
    assert_eq!((event.field("host.name"), event.field("loginsight.EventID")), ("win-1", "4688"));

    assert_eq!(
        post(to, "/api/v1/events/ingest/0", r#"{"events":[]}"#).await,
        (400, r#"{"errorMessage":"Missing events"}"#.to_owned())
    );
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn what_is_no_event_costs_no_other_its_place() {
    let mut yard = Yard::new();
    let source = start(&yard);
    let to = source.address();
    let body = r#"{"events":[{"text":"one"},7,{"timestamp":1},{"text":"<13>Nov 21 09:00:00 h a: two"},{"text":7},{"text":"three","fields":[{"name":"f","startPosition":3,"length":9}]}]}"#;
    assert_eq!(post(to, "/api/v1/events/ingest/0", body).await, ingested(6));
    let events = yard.events(6).await;
    let texts: Vec<_> = events.iter().map(|event| (event.field("msg"), event.field("parse.status"))).collect();
    assert_eq!(texts, [("one", ""), ("", "failed"), ("", "failed"), ("two", ""), ("", "failed"), ("three", "")]);
    assert_eq!(events[1].raw(), r#"{"agentId":"0","event":7}"#);
    assert_eq!((events[3].field("format"), events[3].field("host.name")), ("loginsight+rfc3164", "h"));
    assert_eq!(events[5].field("loginsight.f"), r#"{"name":"f","startPosition":3,"length":9}"#);
    assert_eq!(yard.stats.unparsed.load(std::sync::atomic::Ordering::Relaxed), 3);
    // Of an event over the limit the beginning is kept, and whose it is.
    let long = format!(r#"{{"events":[{{"text":"{}"}},{{"text":"short"}}]}}"#, "y".repeat(300 * 1024));
    assert_eq!(post(to, "/api/v1/events/ingest/a-1", &long).await, ingested(2));
    let events = yard.events(2).await;
    assert!(events[0].field("parse.error").contains("over the limit"));
    assert!(events[0].raw().starts_with(r#"{"agentId":"a-1","text":"yyy"#) && events[1].field("msg") == "short");
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn every_refusal_says_why_and_takes_nothing() {
    let mut yard = Yard::new();
    let source = start(&yard);
    let to = source.address();
    let event = br#"{"events":[{"text":"a"}]}"#;
    let path = "/api/v1/events/ingest/0";
    for (head, status, expected) in [
        (format!("GET {path} HTTP/1.1\r\n"), 405, "Method not allowed"),
        ("POST /api/v1/sessions HTTP/1.1\r\n".to_owned(), 404, "Only the ingestion API is served here"),
        ("POST /api/v1/events/ingest/ HTTP/1.1\r\n".to_owned(), 400, "Invalid agent id"),
        ("POST /api/v1/events/ingest/a\"b HTTP/1.1\r\n".to_owned(), 400, "Invalid agent id"),
        (format!("POST {path} HTTP/1.1\r\nContent-Encoding: br\r\n"), 415, "Only gzip and zstd are understood"),
        (
            format!("POST {path} HTTP/1.1\r\nContent-Encoding: gzip\r\n"),
            400,
            "The body is not what Content-Encoding says",
        ),
    ] {
        let expected = format!(r#"{{"errorMessage":"{expected}"}}"#);
        assert_eq!(ask(to, &head, event).await, (status, expected), "{head}");
    }
    let no_json = r#"{"errorMessage":"Invalid JSON: expected {\"events\":[...]}"}"#;
    serde_json::from_str::<Value>(no_json).unwrap();
    for wrong in ["", "text", "[]", r#"{"events":[{"text":"a"},{"text":"#, r#"{"events":{"text":"a"}}"#] {
        assert_eq!(post(to, path, wrong).await, (400, no_json.to_owned()), "{wrong}");
    }
    let too_large = (413, r#"{"errorMessage":"Request too large"}"#.to_owned());
    assert_eq!(post(to, path, &"x".repeat(2 << 20)).await, too_large);
    let packed = format!("POST {path} HTTP/1.1\r\nContent-Encoding: gzip\r\n");
    assert_eq!(ask(to, &packed, &gzip(&vec![b' '; 64 << 20])).await, too_large, "a bomb");
    let uneven: String = (0..300_000).map(|number| format!("{number} ")).collect();
    assert_eq!(ask(to, &packed, &gzip(uneven.as_bytes())).await, too_large, "no bomb, and larger than allowed");
    yard.is_empty().await;
    assert_eq!(ask(to, &packed, &gzip(event)).await, ingested(1));
    assert_eq!(yard.events(1).await[0].field("msg"), "a");
    source.stop().await;
}

#[tokio::test]
async fn a_full_journal_is_busy() {
    let yard = Yard::with_budget(16 << 20);
    let source = start(&yard);
    let event = format!(r#"{{"text":"{}"}},"#, "z".repeat(1000)).repeat(800);
    let body = format!(r#"{{"events":[{}]}}"#, event.trim_end_matches(','));
    let busy = within(async {
        loop {
            let answer = post(source.address(), "/api/v1/events/ingest/0", &body).await;
            if answer != ingested(800) {
                break answer;
            }
        }
    });
    assert_eq!(busy.await, (503, r#"{"errorMessage":"Server is busy"}"#.to_owned()));
    source.stop().await;
}

/// An id is no credential: it selects a machine only where the source is that of a relay.
#[tokio::test]
async fn whose_machine_an_agent_is_on() {
    let machine = |name: &str, uuid: &str| Entry {
        name: name.to_owned(),
        uuid: wharfinger::identity::Uuid::parse(uuid),
        ..Entry::default()
    };
    let entries = [machine("web", AGENT), machine("db", ""), machine("mail", "")];
    let snapshot = || {
        let senders = [("agent made-up".to_owned(), "db".to_owned())].into();
        let (snapshot, unknown) = Snapshot::new(&Local::default(), &entries).with_senders(&senders);
        assert_eq!(unknown, [""; 0]);
        snapshot
    };
    let mut yard = Yard::new();
    for (identity, expected) in [("relay", ["web", "db", "mail", "mail", ""]), ("peer", [""; 5])] {
        let options = json!({"address": "127.0.0.1:0", "identity": identity});
        let source = yard.start_among(snapshot(), "loginsight", options);
        let from = |host: &str| json!({"text": "t", "fields": [{"name": "hostname", "content": host}]});
        for (agent, host) in
            [(AGENT, "mail"), ("made-up", "mail"), ("unknown", "mail"), ("0", "mail"), ("unknown", "x")]
        {
            let body = json!({"events": [from(host)]}).to_string();
            assert_eq!(post(source.address(), &format!("/api/v1/events/ingest/{agent}"), &body).await, ingested(1));
        }
        let events = yard.events(5).await;
        let found: Vec<_> = events.iter().map(|event| event.field("vm.name")).collect();
        assert_eq!(found, expected, "{identity}");
        assert!(
            events.iter().all(|event| event.field("vm.name").is_empty() || event.field("vm.evidence") == "relayed")
        );
        assert_eq!(events[2].field("host.id"), "unknown");
        source.stop().await;
    }
}

#[tokio::test]
async fn over_tls_with_a_client_certificate() {
    let mut yard = Yard::new();
    let folder = yard.folder.path().to_owned();
    let issuer = tls::authority();
    std::fs::write(folder.join("ca.crt"), issuer.pem()).unwrap();
    tls::certificate(&folder, &issuer, "localhost");
    tls::certificate(&folder, &issuer, "vm-17.example");
    let files = json!({"certificate": folder.join("localhost.crt"), "key": folder.join("localhost.key"),
        "client_ca": folder.join("ca.crt")});
    let source = yard.start("loginsight", json!({"address": "127.0.0.1:0", "tls": files}));
    assert!(source.endpoints[0].starts_with("https "));
    let request = "POST /api/v1/events/ingest/0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 25\r\n\r\n\
        {\"events\":[{\"text\":\"a\"}]}";
    for (client, expected) in [(Some("vm-17.example"), "HTTP/1.1 200 OK"), (None, "")] {
        let answer = within(async {
            let mut stream = tls::connect(&folder, client, source.address()).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(String::from_utf8(answer).unwrap())
        });
        let answer = answer.await.unwrap_or_default();
        assert!(answer.starts_with(expected) && answer.is_empty() == expected.is_empty(), "{client:?}: {answer}");
    }
    assert_eq!(yard.events(1).await[0].field("peer"), "vm-17.example");
    source.stop().await;
    yard.is_empty().await;
}

/// The recipe of docs/http.md against this source: what our sink says to Aria this takes for what it was.
#[tokio::test]
async fn our_own_sink_for_aria() {
    const TEXTS: [&str; 3] = ["raw one", "raw \"two\" of zoë", "a\"},{\"x\":\"b\\n\\\\<!channel>{msg}\u{2028}"];
    let mut yard = Yard::new();
    let source = start(&yard);
    let folder = tempfile::tempdir().unwrap();
    let recipes = include_str!("../../docs/http.md").split("```yaml\n").skip(1);
    let recipe =
        recipes.filter_map(|block| block.split("```").next()).find(|yaml| yaml.contains("\n  aria:\n")).unwrap();
    let recipe = recipe.replace("https://aria.example:9543", &format!("http://{}", source.address()));
    let file = folder.path().join("aria.yaml");
    std::fs::write(&file, recipe).unwrap();
    let part = Config::load(&file).unwrap().sinks.remove(0);
    let journal = Journal::open(Settings::new(folder.path().join("journal")), Arc::new(Disk)).unwrap();
    let mut batch = Batch::new();
    for (at, text) in TEXTS.iter().enumerate() {
        let mut event = Event::new(text.as_bytes());
        event.set(Field::Time, Time(1_795_251_800_158_000_000));
        event.set(Field::ObservedTime, Time(1_795_251_800_158_000_000));
        event.set(Field::EventClass, "container.start");
        event.set(Field::Severity, 3 + at as i64);
        event.set(Field::VmName, *text);
        batch.push_with(|out| stored::encode(&event, out));
    }
    journal.append(batch).await.unwrap();
    let data_dir = folder.path().to_owned();
    let context = PartContext {
        name: "aria".to_owned(),
        data_dir,
        hostname: "sender".to_owned(),
        notices: None,
        is_replay: false,
    };
    let sink = part.options.open(&context).unwrap();
    let (stats, stop) = (Arc::new(SinkStats::default()), CancellationToken::new());
    let settings = sinks::Settings::new("aria", folder.path().join("quarantine"));
    let cursor = journal.cursor("aria").unwrap();
    let task = tokio::spawn(sinks::drive(cursor, sink, settings, Arc::clone(&stats), stop.clone()));
    for (at, event) in yard.events(3).await.iter().enumerate() {
        assert_eq!(event.field("msg"), TEXTS[at]);
        assert_eq!((event.field("time"), event.field("loginsight.agentId")), ("Time(Time(1795251800158000000))", "0"));
        let field = |name: &str| event.field(&format!("loginsight.{name}")).to_owned();
        assert_eq!(field("event_id"), format!("{}-{:016}", journal.incarnation(), at + 1));
        let read = ["event_class", "severity", "vm_name", "container_name"].map(field);
        assert_eq!(read, ["container.start", &(3 + at).to_string(), TEXTS[at], ""]);
        assert_eq!(event.field("parse.status"), "");
    }
    stop.cancel();
    within(task).await.unwrap();
    assert_eq!((stats.delivered_total(), stats.quarantined_total()), (3, 0));
    source.stop().await;
    yard.is_empty().await;
}
