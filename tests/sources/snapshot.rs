//! What an engine has is told after a gap, from an engine that is played.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};

use serde_json::json;

use super::docker::{VERSION, engine_that, event_of, socket};
use super::{Running, Seen, Yard, within};

fn start(yard: &Yard) -> Running {
    yard.start("docker", json!({"socket": socket(yard), "inspect": false}))
}

/// What the engine has, by the path that is asked for.
fn has(path: &str) -> Option<&'static str> {
    Some(match path.strip_prefix("/v1.41").unwrap() {
        "/containers/json?all=1" => {
            r#"[{"Id":"c1","Names":["/web"],"Image":"web:1","ImageID":"sha256:17","Created":1,"State":"running","Status":"Up","Labels":{"key":"s3cret"}},
                {"Id":"c2","Names":null,"Image":"db:2","State":"exited"}]"#
        }
        "/images/json" => {
            r#"[{"Id":"sha256:17","RepoTags":["web:1"],"RepoDigests":["r.example/web@sha256:99"],"Created":1,"Size":5},
                {"Id":"sha256:18","RepoTags":null,"RepoDigests":null}]"#
        }
        "/volumes" => r#"{"Volumes":[{"Name":"data","Driver":"local","Mountpoint":"/v"}],"Warnings":null}"#,
        "/networks" => r#"[{"Name":"bridge","Id":"n1","Driver":"bridge"}]"#,
        _ => return None,
    })
}

fn classes(events: &[Seen]) -> Vec<&str> {
    events.iter().map(|event| event.field("event_class")).collect()
}

#[tokio::test]
async fn after_a_gap_all_that_there_is_is_told_once() {
    let mut yard = Yard::new();
    let is_well = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&is_well);
    let mut engine = engine_that(&socket(&yard), VERSION, move |path| {
        let body = if answers.load(Relaxed) { has(path) } else { None };
        Some(body.map_or((403, "forbidden"), |body| (200, body)))
    });
    let source = start(&yard);
    let mut stream = within(engine.recv()).await.unwrap();
    stream.events(&[event_of("c1", 900, "start")]).await;
    assert_eq!(classes(&yard.events(1).await), ["container.start"]);

    // A proxy that lets none of the lists pass: that is told, too.
    drop(stream);
    let stream = within(engine.recv()).await.unwrap();
    let events = yard.events(2).await;
    assert_eq!(classes(&events), ["gap", "docker.snapshot"]);
    assert_eq!(events[1].field("outcome"), "failure");
    assert!(events[1].field("reason").contains("403 Forbidden to `GET /volumes`"), "{:?}", events[1]);

    is_well.store(true, Relaxed);
    drop(stream);
    let _stream = within(engine.recv()).await.unwrap();
    let events = yard.events(8).await;
    let expected = [
        "gap",
        "container.snapshot",
        "container.snapshot",
        "image.snapshot",
        "image.snapshot",
        "volume.snapshot",
        "network.snapshot",
        "docker.snapshot",
    ];
    assert_eq!(classes(&events), expected);
    for (event, name, value) in [
        (1, "container.id", "c1"),
        (1, "container.name", "web"),
        (1, "image.ref", "web:1"),
        (1, "snapshot.state", "running"),
        (1, "action", "snapshot"),
        (2, "container.id", "c2"),
        (3, "image.digest", "sha256:99"),
        (4, "image.digest", "sha256:18"),
        (5, "snapshot.volume", "data"),
        (6, "snapshot.network", "bridge"),
        (7, "outcome", "success"),
        (7, "snapshot.container", "Int(2)"),
        (7, "snapshot.volume", "Int(1)"),
    ] {
        assert_eq!(events[event].field(name), value, "{name} of {:?}", events[event]);
    }
    assert!(!events.iter().any(|event| event.raw().contains("s3cret")));
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn a_snapshot_that_is_owed_survives_a_restart() {
    let mut yard = Yard::new();
    {
        // No list is answered at all.
        let mut engine = engine_that(&socket(&yard), VERSION, |_| None::<(u16, String)>);
        let source = start(&yard);
        let mut stream = within(engine.recv()).await.unwrap();
        stream.events(&[event_of("c1", 900, "start")]).await;
        yard.events(1).await;
        drop(stream);
        let _stream = within(engine.recv()).await.unwrap();
        assert_eq!(classes(&yard.events(1).await), ["gap"]);
        source.stop().await;
    }
    std::fs::remove_file(socket(&yard)).unwrap();
    let mut engine = engine_that(&socket(&yard), VERSION, |path| has(path).map(|body| (200, body)));
    let source = start(&yard);
    let mut stream = within(engine.recv()).await.unwrap();
    // The last event that was seen is among those remembered: no gap.
    stream.events(&[event_of("c1", 900, "start")]).await;
    let events = yard.events(7).await;
    assert_eq!(classes(&events).last(), Some(&"docker.snapshot"), "{events:?}");
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gap_while_a_snapshot_is_told_is_owed_another() {
    let mut yard = Yard::new();
    let (release, released) = mpsc::channel::<()>();
    let (released, is_held) = (Mutex::new(released), Arc::new(AtomicBool::new(false)));
    let held = Arc::clone(&is_held);
    let mut engine = engine_that(&socket(&yard), VERSION, move |path| {
        if path.ends_with("/volumes") && !held.swap(true, Relaxed) {
            tokio::task::block_in_place(|| released.lock().unwrap().recv().unwrap());
        }
        has(path).map(|body| (200, body))
    });
    let source = start(&yard);
    let mut stream = within(engine.recv()).await.unwrap();
    stream.events(&[event_of("c1", 900, "start")]).await;
    yard.events(1).await;
    drop(stream);
    let stream = within(engine.recv()).await.unwrap();
    assert_eq!(classes(&yard.events(1).await), ["gap"]);
    within(async {
        while !is_held.load(Relaxed) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The containers were told; now some may come or go unseen.
    drop(stream);
    let _stream = within(engine.recv()).await.unwrap();
    assert_eq!(classes(&yard.events(1).await), ["gap"]);
    release.send(()).unwrap();
    let events = yard.events(14).await;
    for snapshot in events.chunks(7) {
        assert_eq!(classes(snapshot).last(), Some(&"docker.snapshot"), "{events:?}");
        assert!(!snapshot[6].field("msg").contains('\0'), "{events:?}");
    }
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn what_is_not_meant_is_left_out_and_one_thing_stays_small() {
    let mut yard = Yard::new();
    let mut engine = engine_that(&socket(&yard), VERSION, move |path| {
        let tags: Vec<_> = (0..20_000).map(|number| format!(r#""registry.example/a-long-name:{number}""#)).collect();
        let body = match path.strip_prefix("/v1.41").unwrap() {
            "/containers/json?all=1" => r#"[{"Id":"c1","Names":["/web"],"Image":"web:1","Labels":{"team":"mine"}},
                {"Id":"c2","Names":["/payroll-1"],"Image":"db:2"},
                {"Id":"c3","Names":["/x"],"Image":"x:2","Labels":{"team":"payroll"}}]"#
                .to_owned(),
            "/images/json" => format!(r#"[{{"Id":"sha256:17","RepoTags":[{}]}}]"#, tags.join(",")),
            "/volumes" => r#"{"Volumes":null}"#.to_owned(),
            _ => "[]".to_owned(),
        };
        Some((200, body))
    });
    let exclude = json!({"names": ["payroll-*"], "labels": ["team=payroll"]});
    let source = yard.start("docker", json!({"socket": socket(&yard), "inspect": false, "exclude": exclude}));
    let mut stream = within(engine.recv()).await.unwrap();
    stream.events(&[event_of("c1", 900, "start")]).await;
    yard.events(1).await;
    drop(stream);
    let _stream = within(engine.recv()).await.unwrap();
    let events = yard.events(4).await;
    assert_eq!(classes(&events), ["gap", "container.snapshot", "image.snapshot", "docker.snapshot"]);
    assert_eq!(events[1].field("container.id"), "c1");
    assert_eq!((events[2].raw.len(), events[2].field("parse.status")), (128 * 1024, "partial"));
    assert_eq!(events[2].field("image.ref"), "registry.example/a-long-name:0");
    assert_eq!((events[3].field("outcome"), events[3].field("snapshot.container")), ("success", "Int(1)"));
    assert_eq!(yard.stats.excluded.load(Relaxed), 2);
    source.stop().await;
    yard.is_empty().await;
}
