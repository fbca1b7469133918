//! `splunk_hec` against collectors that acknowledge what they have indexed, and against several of them.

use std::time::Duration;

use serde_json::json;
use wharfinger::sinks::SinkState;

use super::splunk_hec::{ids, names, sink, start};
use crate::support::flow::{Flow, wait_for};
use crate::support::hec_server::{Dialect, HecServer, Index, Play};

fn acks() -> Dialect {
    Dialect { acks: true, ..Dialect::default() }
}

#[tokio::test]
async fn what_is_accepted_counts_when_it_is_indexed() {
    let (flow, server) = (Flow::new(), HecServer::start(acks()).await);
    server.index(Index::Waits);
    flow.append(names(30)).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({ "max_events": 10 })));
    wait_for("all to be accepted", || running.stats.in_doubt() == 30).await;
    // Two questions later it is still so.
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    assert_eq!((running.stats.delivered_total(), running.stats.in_doubt()), (0, 30));
    server.index(Index::Works);
    wait_for("all to be indexed", || running.stats.delivered_total() == 30).await;
    assert_eq!(running.stats.in_doubt(), 0);
    running.finish().await;
    assert_eq!(server.ids(), ids(&flow, 30));
}

/// A collector that is busy for a while has what it had accepted before.
#[tokio::test]
async fn what_waits_is_not_sent_again_because_the_next_request_failed() {
    let (flow, server) = (Flow::new(), HecServer::start(acks()).await);
    server.index(Index::Waits);
    flow.append(names(20)).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({ "max_events": 10 })));
    wait_for("the first", || running.stats.in_doubt() == 20).await;
    for play in [Play::Code(503, 9), Play::Html(502), Play::Code(429, 27), Play::Hangup { taken: false }] {
        server.play([play.clone(), play]);
    }
    flow.append(names(10)).await;
    wait_for("the next", || running.stats.in_doubt() == 30).await;
    server.index(Index::Works);
    wait_for("all to be indexed", || running.stats.delivered_total() == 30).await;
    running.finish().await;
    assert_eq!(server.ids(), ids(&flow, 30));
}

#[tokio::test]
async fn what_is_never_acknowledged_is_sent_again_through_a_new_channel() {
    let (flow, server) = (Flow::new(), HecServer::start(acks()).await);
    server.index(Index::Waits);
    flow.append(names(20)).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({ "max_events": 10, "ack_timeout": "3s" })));
    wait_for("all to be accepted", || server.count() == 20).await;
    server.lose();
    server.index(Index::Works);
    wait_for("all to be indexed", || running.stats.delivered_total() == 20).await;
    running.finish().await;
    assert_eq!(server.ids(), [ids(&flow, 20), ids(&flow, 20)].concat());
    assert_eq!(server.channels(), 2);
}

/// A collector that was killed has lost what it had not indexed, and gives the same numbers again: they are
/// about other requests.
#[tokio::test]
async fn a_collector_that_was_started_again_acknowledges_nothing_of_before() {
    let (flow, server) = (Flow::new(), HecServer::start(acks()).await);
    let address = server.address;
    server.index(Index::Waits);
    flow.append(names(30)).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({ "max_events": 10 })));
    wait_for("all to be accepted", || running.stats.in_doubt() == 30).await;
    server.stop().await;
    let server = HecServer::start_at(address, acks()).await;
    flow.append((31..=60).map(|number| format!("event {number}"))).await;
    wait_for("all to be indexed", || running.stats.delivered_total() == 60).await;
    running.finish().await;
    let mut taken = server.ids();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken, ids(&flow, 60));
}

/// Several collectors that hang are each asked once, and then it is said that nobody answers.
#[tokio::test(start_paused = true)]
async fn collectors_that_all_hang_end_a_try() {
    let flow = Flow::new();
    // Connections are taken by the kernel, and never read.
    let silent = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [one, two] = silent.each_ref().map(|listener| format!("http://{}", listener.local_addr().unwrap()));
    flow.append(names(3)).await;
    let running = start(&flow, sink(&flow, &one, json!({ "endpoints": [two], "timeout": "11s" })));
    wait_for("a try to end", || running.stats.retries_total() > 0).await;
    assert_eq!(running.stats.state(), SinkState::Retrying);
    running.finish().await;
}

/// Asked without the cookie, another node would answer `false` for ever.
#[tokio::test]
async fn the_cookie_of_a_balancer_is_kept() {
    let (flow, server) = (Flow::new(), HecServer::start(Dialect { balanced: true, ..acks() }).await);
    flow.append(names(10)).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({})));
    wait_for("all to be indexed", || running.stats.delivered_total() == 10).await;
    running.finish().await;
    assert_eq!(server.ids(), ids(&flow, 10));
}

/// What was not acknowledged when the gateway ended comes again with the next one.
#[tokio::test]
async fn the_end_waits_for_acknowledgements_only_so_long() {
    let (flow, server) = (Flow::new(), HecServer::start(acks()).await);
    server.index(Index::Waits);
    flow.append(names(10)).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({})));
    wait_for("all to be accepted", || running.stats.in_doubt() == 10).await;
    assert_eq!(running.finish().await.delivered_total(), 0);

    server.index(Index::Works);
    let running = start(&flow, sink(&flow, &server.url(), json!({})));
    wait_for("all again", || server.count() == 20).await;
    // Without waiting for the next question.
    assert_eq!(running.finish().await.delivered_total(), 10);
}

#[tokio::test]
async fn a_token_that_does_not_acknowledge_gets_nothing_where_it_must() {
    let (flow, server) = (Flow::new(), HecServer::start(Dialect::default()).await);
    flow.append(names(3)).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({ "ack": "on" })));
    wait_for("the alarm", || running.stats.state() == SinkState::Alarm).await;
    let error = running.stats.last_error().unwrap();
    assert!(error.contains("code") && error.contains("ack: auto"), "{error}");
    running.finish().await;
    assert_eq!(server.count(), 0);

    let server = HecServer::start(acks()).await;
    let running = start(&flow, sink(&flow, &server.url(), json!({ "ack": "on" })));
    wait_for("all to be indexed", || running.stats.delivered_total() == 3).await;
    running.finish().await;
    assert_eq!(server.ids(), ids(&flow, 3));
}

/// Several collectors take turns; while one is away the others have everything, and nobody waits.
#[tokio::test]
async fn collectors_take_turns_and_stand_in_for_each_other() {
    let flow = Flow::new();
    let (one, two) = (HecServer::start(acks()).await, HecServer::start(acks()).await);
    flow.append(names(100)).await;
    let options = json!({ "endpoints": [two.url()], "max_events": 10 });
    let running = start(&flow, sink(&flow, &one.url(), options));
    wait_for("all to be indexed", || running.stats.delivered_total() == 100).await;
    assert_eq!((one.count(), two.count()), (50, 50));

    let address = one.address;
    let mut taken = one.stop().await;
    flow.append(names(100)).await;
    wait_for("the rest", || running.stats.delivered_total() == 200).await;
    assert_eq!(running.stats.retries_total(), 0, "one that is away holds up nothing");

    two.play([Play::Code(503, 9)]);
    let one = HecServer::start_at(address, acks()).await;
    flow.append(names(100)).await;
    wait_for("the end", || running.stats.delivered_total() == 300).await;
    running.finish().await;
    taken.extend(one.stop().await);
    taken.extend(two.stop().await);
    let mut taken: Vec<&str> = taken.iter().map(|event| event["fields"]["event_id"].as_str().unwrap()).collect();
    taken.sort_unstable();
    assert_eq!(taken, ids(&flow, 300));
}
