//! `splunk_hec` against a strict collector: every code, poison events, a server that comes and goes.

use std::time::Duration;

use serde_json::json;
use wharfinger::sinks::splunk_hec::SplunkHecConfig;
use wharfinger::sinks::{Sink, SinkConfig, SinkState};
use wharfinger_formats::{Field, Time};

use crate::support::flow::{Flow, Running, wait_for};
use crate::support::hec_server::{Dialect, HecServer, Play, TOKEN};

pub(super) fn sink(flow: &Flow, url: &str, options: serde_json::Value) -> Box<dyn Sink> {
    let mut all = json!({ "endpoint": url, "token": TOKEN, "format": "raw", "timeout": "30s" });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let config: SplunkHecConfig = serde_json::from_value(all).unwrap();
    config.open(&flow.context("siem")).unwrap()
}

/// Starts a sink that does not wait long between tries.
pub(super) fn start(flow: &Flow, sink: Box<dyn Sink>) -> Running {
    let mut settings = flow.settings("siem");
    settings.backoff_min = Duration::from_millis(5);
    settings.backoff_max = Duration::from_millis(20);
    flow.start_with(settings, sink)
}

pub(super) fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("event {number}")).collect()
}

pub(super) fn ids(flow: &Flow, count: u64) -> Vec<String> {
    (1..=count).map(|position| flow.id(position)).collect()
}

#[tokio::test]
async fn envelopes_carry_the_event_and_its_id() {
    let (flow, server) = (Flow::new(), HecServer::start(Dialect::default()).await);
    flow.append_with(["a \"line\"\n", "{}"], |index, event| {
        event.set(Field::Time, Time(1_795_251_800_158_734_145 + index as i64));
        event.set(Field::HostName, "web-1");
        event.set(Field::VmUuid, "421f245c-7fa8-60fa-6af6-a46351ced0eb");
    })
    .await;
    let options = json!({ "index": "main", "format": "json", "source": "docker" });
    let running = start(&flow, sink(&flow, &server.url(), options));
    wait_for("both events", || server.count() == 2).await;
    running.finish().await;
    let envelope = &server.taken()[0];
    assert_eq!(server.ids(), ids(&flow, 2));
    // As precise as a float reads it; the digits themselves are a unit test's.
    assert!(envelope["time"].to_string().starts_with("1795251800.1587"));
    assert_eq!(envelope["host"], "web-1");
    assert_eq!(envelope["index"], "main");
    assert_eq!(envelope["source"], "docker");
    assert_eq!(envelope["sourcetype"], "wharfinger:container:event");
    assert_eq!(envelope["fields"]["vm_uuid"], "421f245c-7fa8-60fa-6af6-a46351ced0eb");
    assert_eq!(envelope["event"]["event_id"], flow.id(1));
}

/// Whatever a collector or a proxy says, and whether or not it took the events: none is missing in the
/// end, and after an answer none comes twice.
#[tokio::test]
async fn no_answer_loses_an_event() {
    let plays = [
        (Play::Code(403, 1), false),
        (Play::Code(403, 4), false),
        (Play::Code(401, 2), false),
        (Play::Code(401, 3), false),
        (Play::Code(400, 5), false),
        (Play::Code(500, 8), false),
        (Play::Code(503, 9), false),
        (Play::Code(400, 10), false),
        (Play::Code(400, 11), false),
        (Play::Code(400, 14), false),
        (Play::Code(400, 16), false),
        (Play::Code(503, 18), false),
        (Play::Code(503, 20), false),
        (Play::Code(400, 21), false),
        (Play::Code(503, 23), false),
        (Play::Code(200, 24), false),
        (Play::Code(429, 26), false),
        (Play::Code(429, 27), false),
        (Play::CodeAfter(503, 9, 0), false),
        (Play::Html(302), false),
        (Play::Html(400), false),
        (Play::Html(404), false),
        (Play::Html(408), false),
        (Play::Html(500), false),
        (Play::Html(502), false),
        (Play::Html(503), false),
        (Play::Html(504), false),
        (Play::Html(200), false),
        (Play::Raw(200, ""), false),
        (Play::Raw(200, "{\"text\":\"Success\"}"), false),
        (Play::Raw(200, "[[[[[[[["), false),
        (Play::Endless, false),
        (Play::Hangup { taken: false }, false),
        (Play::Hangup { taken: true }, true),
        (Play::Slow(Duration::from_secs(20)), false),
    ];
    for (play, twice) in plays {
        let (flow, server) = (Flow::new(), HecServer::start(Dialect::default()).await);
        flow.append(names(10)).await;
        server.play([play.clone(), play.clone()]);
        // Short only for the one that must pass it: a busy machine is slow at the others, too.
        let timeout = if matches!(play, Play::Slow(_)) { "5s" } else { "30s" };
        let running = start(&flow, sink(&flow, &server.url(), json!({ "timeout": timeout })));
        wait_for(&format!("all after {play:?}"), || running.stats.delivered_total() == 10).await;
        let stats = running.finish().await;
        assert_eq!(stats.quarantined_total(), 0, "{play:?}");
        let mut taken = server.ids();
        if twice {
            taken.drain(..20);
        }
        assert_eq!(taken, ids(&flow, 10), "{play:?}");
    }
}

/// One bad event in 10,000: the others arrive, in order, in less than five seconds.
#[tokio::test]
async fn a_poison_event_is_split_off() {
    for (silent_about_number, takes_events_before) in [(false, false), (true, false), (false, true)] {
        let dialect =
            Dialect { silent_about_number, takes_events_before, poison: Some("event 5000"), ..Dialect::default() };
        let (flow, server) = (Flow::new(), HecServer::start(dialect).await);
        flow.append(names(10_000)).await;
        let start_time = std::time::Instant::now();
        // Compression is slow in a test build, and not what is measured.
        let running = start(&flow, sink(&flow, &server.url(), json!({ "compression": "none" })));
        wait_for("the good events", || running.stats.delivered_total() == 9_999).await;
        // Nobody waited for a time-out of a minute.
        assert!(start_time.elapsed() < Duration::from_secs(50), "{:?}", start_time.elapsed());
        let stats = running.finish().await;
        assert_eq!(stats.quarantined_total(), 1);
        assert_eq!(flow.quarantine("siem")[0]["event_id"], flow.id(5000));
        let mut taken = server.ids();
        if takes_events_before {
            // The collector took some before it refused: they come again under the same id.
            let mut seen = std::collections::HashSet::new();
            taken.retain(|id| seen.insert(id.clone()));
        }
        let mut expected = ids(&flow, 10_000);
        expected.remove(4999);
        assert_eq!(taken, expected);
    }
}

#[tokio::test]
async fn requests_shrink_for_a_peer_that_finds_them_too_large() {
    let dialect = Dialect { body_max: Some(100_000), ..Dialect::default() };
    let (flow, server) = (Flow::new(), HecServer::start(dialect).await);
    let mut events = names(3_000);
    events.push("x".repeat(150_000));
    flow.append(&events).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({})));
    wait_for("the good events", || running.stats.delivered_total() == 3_000).await;
    // The one that is too large for this collector whatever it is sent with.
    wait_for("the huge one", || running.stats.quarantined_total() == 1).await;
    running.finish().await;
    assert_eq!(server.ids(), ids(&flow, 3_000));
    assert!(server.requests() < 40, "{} requests", server.requests());
}

#[tokio::test]
async fn requests_hold_no_more_than_their_limit() {
    let (flow, server) = (Flow::new(), HecServer::start(Dialect::default()).await);
    flow.append((0..5_000).map(|number| format!("{number} {}", "x".repeat(number % 900)))).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({ "max_bytes": 100_000, "compression": "none" })));
    wait_for("all events", || server.count() == 5_000).await;
    running.finish().await;
    assert!(server.largest() <= 100_000 && server.largest() > 90_000, "{}", server.largest());
}

#[tokio::test]
async fn a_server_that_goes_down_and_comes_back_gets_the_rest() {
    let (flow, server) = (Flow::new(), HecServer::start(Dialect::default()).await);
    let address = server.address;
    flow.append(names(100)).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({})));
    wait_for("the first events", || running.stats.delivered_total() == 100).await;
    server.stop().await;
    flow.append(names(200)).await;
    wait_for("a failure", || running.stats.state() == SinkState::Retrying).await;
    let server = HecServer::start_at(address, Dialect::default()).await;
    wait_for("the rest", || running.stats.delivered_total() == 300).await;
    running.finish().await;
    assert_eq!(server.ids(), &ids(&flow, 300)[100..]);
}

#[tokio::test]
async fn a_renewed_token_is_read_from_its_file() {
    let (flow, server) = (Flow::new(), HecServer::start(Dialect::default()).await);
    let file = flow.dir.path().join("token");
    std::fs::write(&file, "old\n").unwrap();
    flow.append(names(3)).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({ "token": { "file": file } })));
    wait_for("the alarm", || running.stats.state() == SinkState::Alarm).await;
    assert!(running.stats.last_error().unwrap().contains("code 4"));
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    wait_for("the events", || running.stats.delivered_total() == 3).await;
    running.finish().await;
    assert_eq!(server.ids(), ids(&flow, 3));
}

/// Names may depend on the event; what it does not say is as without the option.
#[tokio::test]
async fn events_are_filed_under_what_they_say() {
    let (flow, server) = (Flow::new(), HecServer::start(Dialect::default()).await);
    flow.append_with(["a", "b", "c"], |index, event| {
        event.set(Field::HostName, "h");
        if index != 1 {
            event.set(Field::VmGroup, "Prod Web");
            event.set(Field::VmName, "web-1");
        }
    })
    .await;
    let options = json!({ "index": "vm_{vm.group}", "host": "{vm.name}", "source": "s", "sourcetype": "st" });
    let running = start(&flow, sink(&flow, &server.url(), options));
    wait_for("all events", || running.stats.delivered_total() == 3).await;
    running.finish().await;
    let told = |name: &str| server.taken().iter().map(|envelope| envelope[name].clone()).collect::<Vec<_>>();
    assert_eq!(told("index"), [json!("vm_prod_web"), json!(null), json!("vm_prod_web")]);
    assert_eq!(told("host"), ["web-1", "h", "web-1"]);
    assert_eq!(server.ids(), ids(&flow, 3));
}

/// Lines of one host, source, source type and index are a request; the query says them.
#[tokio::test]
async fn raw_lines_are_filed_by_the_query() {
    for acks in [false, true] {
        let (flow, server) = (Flow::new(), HecServer::start(Dialect { acks, ..Dialect::default() }).await);
        flow.append_with(["a b", "c", "", "d&e=f"], |index, event| {
            event.set(Field::HostName, if index < 3 { "web 1" } else { "web-2" });
            event.set(Field::VmGroup, "Dev&Test");
        })
        .await;
        let options = json!({
            "mode": "raw", "index": "vm_{vm.group}", "sourcetype": "docker:raw", "ack": if acks { "on" } else { "off" },
        });
        let running = start(&flow, sink(&flow, &server.url(), options));
        wait_for("all lines", || running.stats.delivered_total() == 4).await;
        running.finish().await;
        let taken = server.taken();
        let filed = |name: &str| taken.iter().map(|line| line[name].as_str().unwrap_or("-")).collect::<Vec<_>>();
        assert_eq!(filed("host"), ["web 1", "web 1", "web 1", "web-2"]);
        assert_eq!(filed("index"), ["vm_dev_test"; 4]);
        assert_eq!(filed("sourcetype"), ["docker:raw"; 4]);
        let events = filed("event");
        assert_eq!((events[0], events[1], events[3]), ("a b", "c", "d&e=f"));
        assert!(events[2].contains(&flow.id(3)), "a blank line is no event: {}", events[2]);
        assert_eq!((server.requests(), server.channels()), (2, usize::from(acks)));
    }
}
