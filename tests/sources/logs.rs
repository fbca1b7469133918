//! What containers write, from an engine that is played: what it is asked for, what becomes of it, what is missing.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::docker::{VERSION, engine_that, event_of, socket};
use super::{Running, Yard, within};

const TIME: &str = "2026-11-21T09:03:2";

/// An id as an engine makes them.
fn id(number: u8) -> String {
    format!("{number:02x}").repeat(32)
}

/// A frame of the log: the stream, a digit of the second, the text.
fn frame((stream, second, text): &(u8, u8, &str)) -> Vec<u8> {
    let message = format!("{TIME}{second}.000000001Z {text}");
    let length = u32::try_from(message.len()).unwrap();
    [&[*stream, 0, 0, 0][..], &length.to_be_bytes(), message.as_bytes()].concat()
}

/// What the engine says; a test changes it.
#[derive(Default)]
struct Said {
    /// Ids of all containers.
    list: Vec<String>,
    /// What container 1 has written.
    written: Vec<(u8, u8, &'static str)>,
    /// The paths of `logs` that were asked for.
    asked: Vec<String>,
    /// Whether the container runs, whatever becomes of its log.
    runs: bool,
    /// Whether it refuses to give the log.
    refuses: bool,
}

/// Plays an engine with one container, whose log ends when it was sent.
fn play(yard: &Yard) -> (Arc<Mutex<Said>>, tokio::sync::mpsc::Receiver<super::docker::Asked>) {
    let said = Arc::new(Mutex::new(Said::default()));
    let playing = Arc::clone(&said);
    let _ = std::fs::remove_file(socket(yard));
    let engine = engine_that(&socket(yard), VERSION, move |path| {
        let mut said = playing.lock().unwrap();
        let known = said.list.iter().any(|id| path.contains(&**id));
        let answer = if path.contains("/containers/json") {
            let entry = |id: &String| format!(r#"{{"Id":"{id}","Names":["/web"],"Image":"web:1"}}"#);
            format!("[{}]", said.list.iter().map(entry).collect::<Vec<_>>().join(",")).into_bytes()
        } else if !known {
            return Some((404, b"{}".to_vec()));
        } else if path.contains("/logs?") && said.refuses {
            return Some((500, b"{}".to_vec()));
        } else if path.contains("/logs?") {
            said.asked.push(path.to_owned());
            said.written.iter().flat_map(frame).collect()
        } else {
            let config = r#""Config":{"Image":"web:1","Tty":false,"Labels":{"tier":"front"}}"#;
            format!(r#"{{"Name":"/web",{config},"State":{{"Running":{}}}}}"#, said.runs).into_bytes()
        };
        Some((200, answer))
    });
    (said, engine)
}

fn start(yard: &Yard, wanted: &str) -> Running {
    yard.start("docker", json!({"socket": socket(yard), "inspect": false, "logs": wanted}))
}

#[tokio::test]
async fn a_restart_neither_loses_nor_repeats_lines() {
    let mut yard = Yard::new();
    let (said, mut engine) = play(&yard);
    said.lock().unwrap().list = vec![id(1)];
    said.lock().unwrap().written = vec![(1, 1, "one\n"), (2, 1, "two\n"), (1, 2, "three\n"), (1, 2, "three\n")];
    let source = start(&yard, "all");
    let stream = within(engine.recv()).await.unwrap();
    let events = yard.events(4).await;
    let texts: Vec<_> = events.iter().map(|event| (event.field("docker.stream"), event.raw())).collect();
    let three = ("stdout", "three".to_owned());
    assert_eq!(texts, [("stdout", "one".to_owned()), ("stderr", "two".to_owned()), three.clone(), three]);
    for (name, expected) in
        [("event_class", "container.log"), ("container.name", "web"), ("image.ref", "web:1"), ("msg", "one")]
    {
        assert_eq!(events[0].field(name), expected, "{name}");
    }
    assert_eq!(events[0].field("container.id"), id(1));
    source.stop().await;
    drop(stream);

    // The engine sends what it was asked for, from a second before the last line on.
    said.lock().unwrap().written.extend([(1, 2, "three\n"), (2, 3, "four\n")]);
    let source = start(&yard, "all");
    let mut stream = within(engine.recv()).await.unwrap();
    assert_eq!(yard.raws(2).await, ["three", "four"]);
    let asked = said.lock().unwrap().asked.clone();
    assert!(asked[0].ends_with("/logs?follow=1&stdout=1&stderr=1&timestamps=1&since=0.000000000"), "{asked:?}");
    assert!(asked[1].ends_with("&since=1795251801.000000001"), "{asked:?}");

    // It is started again; then its log is rotated.
    said.lock().unwrap().written.push((1, 4, "five\n"));
    stream.events(&[event_of(&id(1), -5_000_000_000, "start")]).await;
    let mut raws = yard.raws(2).await;
    raws.retain(|raw| !raw.contains("Action"));
    assert_eq!(raws, ["five"]);
    said.lock().unwrap().written = vec![(1, 6, "seven\n")];
    stream.events(&[event_of(&id(1), -6_000_000_000, "start")]).await;
    let mut events = yard.events(3).await;
    events.retain(|event| event.field("container.id") != id(1) || event.field("event_class") == "container.log");
    assert_eq!((events[0].field("event_class"), &*events[1].raw()), ("gap", "seven"), "{events:?}");
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn what_was_not_read_of_a_removed_container_is_a_gap() {
    let mut yard = Yard::new();
    let (said, mut engine) = play(&yard);
    let source = start(&yard, "new");
    let mut stream = within(engine.recv()).await.unwrap();
    // What was before the gateway is nobody's loss; what came and went while it listens is.
    stream.events(&[event_of(&id(2), 9_000_000_000, "start"), event_of(&id(3), -5_000_000_000, "start")]).await;
    let mut events = yard.events(3).await;
    events.retain(|event| event.field("event_class") == "gap");
    assert_eq!(events.len(), 1);
    let cause = format!("container `{}` was removed before the output was read", id(3));
    assert_eq!(events[0].field("reason"), cause);

    // One that was read to its end leaves none; nor does one that was never started.
    said.lock().unwrap().list = vec![id(1)];
    said.lock().unwrap().written = vec![(1, 1, "all there is")];
    stream.events(&[event_of(&id(1), -6_000_000_000, "start")]).await;
    let mut raws = yard.raws(2).await;
    raws.retain(|raw| !raw.contains("Action"));
    assert_eq!(raws, ["all there is"]);
    said.lock().unwrap().list.clear();
    let gone = [event_of(&id(1), -7_000_000_000, "destroy"), event_of(&id(4), -7_000_000_001, "destroy")];
    stream.events(&gone).await;
    assert_eq!(yard.raws(2).await, gone);
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn garbage_is_declared_and_the_other_containers_are_read() {
    let mut yard = Yard::new();
    let (said, mut engine) = play(&yard);
    said.lock().unwrap().list = vec![id(1)];
    said.lock().unwrap().written = vec![(1, 1, "good\n"), (9, 1, "no such stream\n")];
    let source = start(&yard, "all");
    let _stream = within(engine.recv()).await.unwrap();
    let events = yard.events(2).await;
    assert_eq!((&*events[0].raw(), events[1].field("event_class")), ("good", "gap"));
    assert!(events[1].field("reason").contains("is not understood: a frame of no stream"), "{:?}", events[1]);
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn a_container_that_runs_is_never_given_up() {
    let mut yard = Yard::new();
    let (said, mut engine) = play(&yard);
    said.lock().unwrap().list = vec![id(1)];
    said.lock().unwrap().runs = true;
    said.lock().unwrap().written = vec![(1, 1, "one\n")];
    let source = start(&yard, "all");
    let _stream = within(engine.recv()).await.unwrap();
    assert_eq!(yard.raws(1).await, ["one"]);
    // Its log was ended, and no event says that it would have been started again.
    said.lock().unwrap().written.push((1, 2, "two\n"));
    assert_eq!(yard.raws(1).await, ["two"]);

    said.lock().unwrap().refuses = true;
    let gap = yard.events(1).await.remove(0);
    assert!(gap.field("reason").contains("cannot be read: the engine answered 500"), "{gap:?}");
    said.lock().unwrap().written.push((2, 3, "three\n"));
    said.lock().unwrap().refuses = false;
    assert_eq!(yard.raws(1).await, ["three"]);

    // The engine could not read a line of its own file, and says so on a stream of its own.
    said.lock().unwrap().written.push((3, 3, "Error grabbing logs: invalid character"));
    let gap = yard.events(1).await.remove(0);
    assert!(gap.field("reason").contains("could not be read by the engine"), "{gap:?}");
    assert!(gap.field("reason").ends_with("Error grabbing logs: invalid character"), "{gap:?}");
    *said.lock().unwrap().written.last_mut().unwrap() = (1, 4, "four\n");
    assert_eq!(yard.raws(1).await, ["four"]);
    source.stop().await;
    yard.is_empty().await;
}
