//! `drive` against scripted peers, on a paused clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use wharfinger::sinks::{Lost, Outcome, SinkState};

use crate::support::flow::{Flow, wait_for};
use crate::support::scripted::Scripted;

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("event {number}")).collect()
}

fn retry() -> Outcome {
    Outcome::Retry { after: None, reason: "busy".to_owned() }
}

fn reject(which: Option<usize>) -> Outcome {
    Outcome::Reject { which, reason: "bad event".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn delivers_all_in_order_with_their_ids() {
    let flow = Flow::new();
    flow.append(names(2500)).await;
    let (sink, seen) = Scripted::delivers();
    let running = flow.start("siem", Box::new(sink));
    wait_for("all events", || running.stats.delivered_total() == 2500).await;
    flow.append(["late"]).await;
    let stats = running.finish().await;
    let mut expected = names(2500);
    expected.push("late".to_owned());
    assert_eq!(seen.taken(), expected);
    assert_eq!(seen.ids().first(), Some(&flow.id(1)));
    assert_eq!(seen.ids().last(), Some(&flow.id(2501)));
    assert_eq!(stats.delivered_total(), 2501);
    assert_eq!(stats.state(), SinkState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn waits_for_company_until_the_age() {
    let flow = Flow::new();
    let (mut sink, seen) = Scripted::delivers();
    sink.limits.age_max = Duration::from_secs(60);
    let running = flow.start("s3", Box::new(sink));
    flow.append(["a"]).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    flow.append(["b"]).await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(seen.requests().is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(seen.requests(), [["a", "b"]]);
    // Full before its age.
    flow.append(names(1000)).await;
    wait_for("the full request", || seen.requests().len() == 2).await;
    running.finish().await;
}

#[tokio::test(start_paused = true)]
async fn retries_the_same_request_with_backoff_for_as_long_as_it_takes() {
    let flow = Flow::new();
    flow.append(names(10)).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let (sink, seen) =
        Scripted::new(move |_| if counted.fetch_add(1, Ordering::Relaxed) < 20 { retry() } else { Outcome::Delivered });
    let running = flow.start("siem", Box::new(sink));
    let start = Instant::now();
    wait_for("the first failure", || running.stats.retries_total() == 1).await;
    assert_eq!(running.stats.state(), SinkState::Retrying);
    assert_eq!(running.stats.last_error().as_deref(), Some("busy"));
    // More company does not change a request that the peer may have taken.
    flow.append(["late"]).await;
    while running.stats.delivered_total() < 11 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // 0.5, 1, 2, … 30 s, each between half and all of it.
    assert!((Duration::from_secs(200)..Duration::from_secs(520)).contains(&start.elapsed()), "{:?}", start.elapsed());
    let requests = seen.requests();
    assert_eq!(requests.len(), 22);
    assert!(requests[..21].iter().all(|request| *request == names(10)));
    assert_eq!(requests[21], ["late"]);
    assert_eq!(running.stats.state(), SinkState::Working);
    assert_eq!(running.stats.last_error(), None);
    running.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_peers_own_wait_wins() {
    let flow = Flow::new();
    flow.append(["a"]).await;
    let mut first = true;
    let (sink, seen) = Scripted::new(move |_| match std::mem::take(&mut first) {
        true => Outcome::Retry { after: Some(Duration::from_secs(90)), reason: "busy".to_owned() },
        false => Outcome::Crowded { pause: Duration::from_secs(5) },
    });
    let start = Instant::now();
    let running = flow.start("siem", Box::new(sink));
    wait_for("the first failure", || running.stats.retries_total() == 1).await;
    tokio::time::sleep(Duration::from_secs(89)).await;
    assert_eq!(seen.requests().len(), 1);
    while running.stats.delivered_total() < 1 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(start.elapsed() < Duration::from_secs(91));
    flow.append(["b"]).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(seen.requests().len(), 2, "the peer asked for a pause");
    running.finish().await;
    assert_eq!(seen.taken(), ["a", "b"]);
}

/// A poison event among 10,000 is found alone, whether the peer names it or not, and fast.
#[tokio::test(start_paused = true)]
async fn a_poison_event_stands_alone() {
    for told in [true, false] {
        let flow = Flow::new();
        flow.append(names(10_000)).await;
        let (sink, seen) = Scripted::new(move |request| {
            match request.iter().position(|name| name == "event 5000" || name == "event 5002") {
                Some(at) => reject(told.then_some(at)),
                None => Outcome::Delivered,
            }
        });
        let start = Instant::now();
        let running = flow.start("siem", Box::new(sink));
        wait_for("the good events", || running.stats.delivered_total() == 9_998).await;
        assert!(start.elapsed() < Duration::from_secs(5));
        let stats = running.finish().await;
        assert_eq!(stats.quarantined_total(), 2);
        let mut expected = names(10_000);
        expected.retain(|name| name != "event 5000" && name != "event 5002");
        assert_eq!(seen.taken(), expected);
        assert!(seen.requests().len() < 10 + 2 * 2 * 11, "{} requests", seen.requests().len());
        let quarantine = flow.quarantine("siem");
        let ids: Vec<_> = quarantine.iter().map(|line| line["event_id"].as_str().unwrap()).collect();
        assert_eq!(ids, [flow.id(5000), flow.id(5002)]);
        assert_eq!(quarantine[0]["raw"], "ZXZlbnQgNTAwMA==");
        assert_eq!(quarantine[0]["reason"], "bad event");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_sink_cannot_push_is_set_aside() {
    let flow = Flow::new();
    flow.append(["refused 1", "a", "refused 2", "alone 1", "huge 1", "b", "refused 3"]).await;
    let mut failures = 3;
    let (sink, seen) = Scripted::new(move |_| {
        failures -= 1;
        if failures >= 0 { retry() } else { Outcome::Delivered }
    });
    let running = flow.start("siem", Box::new(sink));
    wait_for("the good events", || running.stats.delivered_total() == 3).await;
    let stats = running.finish().await;
    assert_eq!(seen.taken(), ["a", "alone 1", "b"]);
    // Once each, although the requests around them were made again.
    assert_eq!(stats.quarantined_total(), 4);
    let quarantine = flow.quarantine("siem");
    let ids: Vec<_> = quarantine.iter().map(|line| line["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids, [flow.id(1), flow.id(3), flow.id(5), flow.id(7)]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_a_slow_and_a_confused_sink_do_not_hold_up_another() {
    let flow = Flow::new();
    flow.append(names(5_000)).await;
    let (dead, _) = Scripted::new(|_| retry());
    let (mut hanging, _) = Scripted::delivers();
    hanging.hang = true;
    let (confused, _) = Scripted::new(|_| Outcome::Fatal { reason: "<html>".to_owned() });
    let (good, seen) = Scripted::delivers();
    let others = [
        flow.start("dead", Box::new(dead)),
        flow.start("hanging", Box::new(hanging)),
        flow.start("confused", Box::new(confused)),
    ];
    let running = flow.start("good", Box::new(good));
    wait_for("all events", || running.stats.delivered_total() == 5_000).await;
    assert_eq!(seen.taken(), names(5_000));
    wait_for("the alarm", || others[2].stats.state() == SinkState::Alarm).await;
    let start = Instant::now();
    for other in others {
        assert_eq!(other.finish().await.delivered_total(), 0);
    }
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    running.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_configuration_keeps_everything_until_it_is_put_right() {
    let flow = Flow::new();
    flow.append(names(100)).await;
    let right = Arc::new(AtomicBool::new(false));
    let put_right = Arc::clone(&right);
    let (sink, seen) = Scripted::new(move |_| match right.load(Ordering::Relaxed) {
        true => Outcome::Delivered,
        false => Outcome::Fatal { reason: "invalid token".to_owned() },
    });
    let running = flow.start("siem", Box::new(sink));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(running.stats.state(), SinkState::Alarm);
    assert!((100..=250).contains(&seen.requests().len()), "{} tries in an hour", seen.requests().len());
    put_right.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(seen.taken(), names(100));
    running.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_after_delivery_is_delivered_again() {
    let flow = Flow::new();
    flow.append(names(50)).await;
    let (sink, seen) = Scripted::delivers();
    let in_doubt = Arc::new(AtomicUsize::new(0));
    let set = Arc::clone(&in_doubt);
    // 0..=9: that many in doubt; 99: lost.
    let mut sink = sink.with_doubt(move || match in_doubt.load(Ordering::Relaxed) {
        99 => {
            in_doubt.store(0, Ordering::Relaxed);
            Err(Lost("reset".to_owned()))
        }
        count => Ok(count),
    });
    sink.limits.events_max = 10;
    set.store(2, Ordering::Relaxed);
    let running = flow.start("syslog", Box::new(sink));
    wait_for("five requests", || seen.requests().len() == 5).await;
    wait_for("the first three", || running.stats.delivered_total() == 30).await;
    set.store(99, Ordering::Relaxed);
    // Nothing is delivered meanwhile: the sink is asked all the same.
    wait_for("the last two again", || seen.requests().len() == 7).await;
    wait_for("all", || running.stats.delivered_total() == 50).await;
    let mut expected = names(50);
    expected.extend(names(50)[30..].to_vec());
    assert_eq!(seen.taken(), expected);
    running.finish().await;
}

#[tokio::test(start_paused = true)]
async fn drains_what_is_left_until_the_deadline() {
    let flow = Flow::new();
    let (mut sink, seen) = Scripted::delivers();
    sink.limits.age_max = Duration::from_secs(60);
    let running = flow.start("siem", Box::new(sink));
    flow.append(names(10)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    running.finish().await;
    assert_eq!(seen.taken(), names(10));
    assert!(start.elapsed() < Duration::from_millis(100));

    // A peer that is down at the stop is not waited for.
    let (dead, _) = Scripted::new(|_| retry());
    let running = flow.start("dead", Box::new(dead));
    tokio::time::sleep(Duration::from_secs(300)).await;
    let start = Instant::now();
    running.finish().await;
    assert!(start.elapsed() < Duration::from_millis(100));
}

/// Any sequence of answers: each event is taken exactly once or in quarantine, in order. The seed of a
/// failure is in the message.
#[tokio::test(start_paused = true)]
async fn any_answers_lose_nothing_and_repeat_nothing() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = random.usize(1..400);
        let poison: Vec<String> =
            (0..random.usize(0..8)).map(|_| format!("event {}", random.usize(1..=count))).collect();
        let (told, bad) = (random.bool(), poison.clone());
        let flow = Flow::new();
        let mut all = names(count);
        for at in (0..count).step_by(17) {
            all[at].insert_str(0, ["refused ", "huge ", "alone "][random.usize(0..3)]);
        }
        flow.append(&all).await;
        let events_max = random.usize(1..100);
        let (mut sink, seen) = Scripted::new(move |request| match random.usize(0..6) {
            0 => retry(),
            1 => Outcome::Fatal { reason: "no".to_owned() },
            _ => match request.iter().position(|name| bad.contains(name)) {
                Some(at) => reject((told || random.bool()).then_some(at)),
                None => Outcome::Delivered,
            },
        });
        sink.limits.events_max = events_max;
        let running = flow.start("siem", Box::new(sink));
        let dropped = |name: &String| poison.contains(name) || name.starts_with("refused") || name.starts_with("huge");
        let expected: Vec<String> = all.iter().filter(|name| !dropped(name)).cloned().collect();
        let set_aside = all.iter().filter(|name| dropped(name)).count() as u64;
        let done = || {
            let (delivered, quarantined) = (running.stats.delivered_total(), running.stats.quarantined_total());
            delivered == expected.len() as u64 && quarantined == set_aside
        };
        for _ in 0..20_000 {
            if done() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(
            done(),
            "seed {seed}: {} of {}, {set_aside} bad: {:?} {:?}",
            seen.taken().len(),
            expected.len(),
            seen.requests().iter().map(Vec::len).collect::<Vec<_>>(),
            running.stats
        );
        running.finish().await;
        assert_eq!(seen.taken(), expected, "seed {seed}");
        assert_eq!(flow.quarantine("siem").len() as u64, set_aside, "seed {seed}");
    }
}
