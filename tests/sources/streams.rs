//! Recorded streams of engines of every age, and a pipeline that stands still.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::docker::{engine_that, event_of, socket};
use super::{Yard, within};

/// Plays a recording to the source, and answers how many events it became.
async fn play(version: &'static str, path: &str, file: &Path, separator: &str) -> usize {
    let mut yard = Yard::new();
    let mut engine = engine_that(&socket(&yard), version, |_| None::<(u16, String)>);
    let source = yard.start("docker", json!({"socket": socket(&yard), "inspect": false}));
    let mut stream = within(engine.recv()).await.unwrap();
    assert_eq!(stream.path, path);
    let text = std::fs::read_to_string(file).unwrap();
    let recorded: Vec<&str> = text.lines().filter(|line| line.starts_with('{')).collect();
    assert!(!recorded.is_empty());
    let sent: Vec<String> = recorded.iter().map(|event| format!("{separator}{event}")).collect();
    for some in sent.chunks(7) {
        stream.events(some).await;
    }
    let events = yard.events(recorded.len()).await;
    for (event, recorded) in events.iter().zip(&recorded) {
        assert_eq!(event.raw(), *recorded);
        assert_eq!((event.field("format"), event.field("parse.status")), ("docker_events", ""), "{event:?}");
        assert!(!event.field("event_class").is_empty() && event.field("time").starts_with("Time("), "{event:?}");
    }
    source.stop().await;
    yard.is_empty().await;
    events.len()
}

/// The gateway speaks the newest version of the API that both sides know, and never asks for one that the engine
/// refuses: Docker 1.6 knew 1.18, Engine 29 refuses what is older than 1.44.
#[tokio::test]
async fn recorded_streams_of_every_version() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = |name: &str| root.join("fixtures/docker-events").join(name);
    let old = r#"{"Version":"1.6.2","ApiVersion":"1.18"}"#;
    let debian = r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;
    let newer = r#"{"Version":"28.5.1","ApiVersion":"1.51","MinAPIVersion":"1.24"}"#;
    let newest = r#"{"Version":"29.0.0","ApiVersion":"1.52","MinAPIVersion":"1.44"}"#;
    let mut played = 0;
    played += play(old, "/v1.18/events?since=0.000000000", &own("before-api-1.22.ndjson"), "").await;
    played += play(debian, "/v1.41/events?since=0.000000000", &own("engine-20.10.ndjson"), "").await;
    played += play(newer, "/v1.51/events?since=0.000000000", &own("engine-28.5.ndjson"), "").await;
    // RFC 7464: a record separator before each.
    played += play(newest, "/v1.51/events?since=0.000000000", &own("api-1.52.ndjson"), "\u{1e}").await;
    assert!(played >= 100, "{played}");
    // Recordings that are not part of the repository are played where they are.
    let samples: PathBuf = root.join("../shared/samples/docker-events");
    for (version, path, name) in [
        (old, "/v1.18/events?since=0.000000000", "api-v1.18-documented.ndjson"),
        (debian, "/v1.41/events?since=0.000000000", "engine20.10-api.ndjson"),
        (newer, "/v1.51/events?since=0.000000000", "engine28.5-api.ndjson"),
    ] {
        if samples.join(name).exists() {
            println!("{name}: {} events", play(version, path, &samples.join(name), "").await);
        }
    }
}

/// 5,000 events a second while no sink takes anything: three seconds, at night sixty. The journal has them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_that_stands_still_loses_nothing() {
    const PER_SECOND: usize = 5_000;
    let seconds = if std::env::var("WHARFINGER_NIGHT").is_ok_and(|night| night == "1") { 60 } else { 3 };
    let mut yard = Yard::new();
    let version = r#"{"ApiVersion":"1.41"}"#;
    let mut engine = engine_that(&socket(&yard), version, |_| None::<(u16, String)>);
    let source = yard.start("docker", json!({"socket": socket(&yard), "inspect": false}));
    let mut stream = within(engine.recv()).await.unwrap();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let count = PER_SECOND * seconds;
    let event = |number: usize| event_of("c1", -(number as i64), &format!("exec_start: {number}"));
    for first in (0..count).step_by(PER_SECOND / 100) {
        tick.tick().await;
        let events: Vec<_> = (first..first + PER_SECOND / 100).map(event).collect();
        // Nobody may wait long for the reader: an engine drops after 100 ms when 1,024 are in its queue.
        within(stream.events(&events)).await;
    }
    for first in (0..count).step_by(PER_SECOND) {
        let raws = yard.raws(PER_SECOND).await;
        let is_wrong = raws.iter().zip(first..).find(|(raw, number)| **raw != event(*number));
        assert_eq!(is_wrong, None, "of {count}");
    }
    source.stop().await;
    yard.is_empty().await;
}
