//! Docker events from an engine that is played: what it is asked, what it answers, when it goes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::{Seen, Yard, within};

/// The engine's clock says this in every answer.
const NOW: i64 = 1_795_251_800;

/// A connection on which `/events` was asked for.
pub(super) struct Asked {
    pub(super) path: String,
    stream: UnixStream,
}

impl Asked {
    /// One chunk of the endless answer.
    async fn chunk(&mut self, bytes: &[u8]) {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.stream.write_all(&chunk).await.unwrap();
    }

    pub(super) async fn events(&mut self, events: &[String]) {
        self.chunk((events.join("\n") + "\n").as_bytes()).await;
    }
}

/// Answers `/version` as Docker 20.10 does, begins to answer `/events`, and hands that on.
fn engine(path: &Path, version: &'static str) -> mpsc::Receiver<Asked> {
    engine_that(path, version, |_| None::<(u16, String)>)
}

/// The same; whatever else is asked for gets the status and body that `answer` has for it, or none at all.
pub(super) fn engine_that<B: Into<Vec<u8>>>(
    path: &Path,
    version: &'static str,
    answer: impl Fn(&str) -> Option<(u16, B)> + Send + Sync + 'static,
) -> mpsc::Receiver<Asked> {
    engine_with(path, version, "", answer)
}

/// The same; these events it remembers of any time that is over.
fn engine_with<B: Into<Vec<u8>>>(
    path: &Path,
    version: &'static str,
    memory: &str,
    answer: impl Fn(&str) -> Option<(u16, B)> + Send + Sync + 'static,
) -> mpsc::Receiver<Asked> {
    let listener = UnixListener::bind(path).unwrap();
    let (sender, receiver) = mpsc::channel(1);
    let memory = memory.to_owned();
    let answer = Arc::new(move |path: &str| match path.contains("/events?") {
        true => Some((200, memory.clone().into_bytes())),
        false => answer(path).map(|(status, body)| (status, body.into())),
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, version, sender.clone(), Arc::clone(&answer)));
        }
    });
    receiver
}

async fn serve(
    mut stream: UnixStream,
    version: &'static str,
    sender: mpsc::Sender<Asked>,
    answer: Arc<impl Fn(&str) -> Option<(u16, Vec<u8>)>>,
) {
    while let Some(path) = request(&mut stream).await {
        let is_stream = path.contains("/events?") && !path.contains("until=");
        let (status, framing, body) = match path.as_str() {
            "/version" => (200, format!("Content-Length: {}", version.len()), version.into()),
            _ if is_stream => (200, "Transfer-Encoding: chunked".to_owned(), Vec::new()),
            path => match answer(path) {
                Some((status, body)) => (status, format!("Content-Length: {}", body.len()), body),
                None => std::future::pending().await,
            },
        };
        let date = "Date: Sat, 21 Nov 2026 09:03:20 GMT";
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{date}\r\n{framing}\r\n\r\n");
        if stream.write_all(&[answer.as_bytes(), &body].concat()).await.is_err() {
            return;
        }
        if is_stream {
            let _ = sender.send(Asked { path, stream }).await;
            return;
        }
    }
}

pub(super) const VERSION: &str =
    r#"{"Platform":{"Name":""},"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#;

/// The path of the next request, which must be a GET.
async fn request(stream: &mut UnixStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    Some(head.strip_prefix("GET ").unwrap().split(' ').next().unwrap().to_owned())
}

fn event(nanos_before_now: i64, action: &str) -> String {
    event_of("c1", nanos_before_now, action)
}

/// An event of that container.
pub(super) fn event_of(id: &str, nanos_before_now: i64, action: &str) -> String {
    let nanos = NOW * 1_000_000_000 - nanos_before_now;
    let time = nanos / 1_000_000_000;
    format!(
        r#"{{"status":"{action}","id":"{id}","from":"alpine","Type":"container","Action":"{action}","Actor":{{"ID":"{id}","Attributes":{{"image":"alpine","name":"web"}}}},"scope":"local","time":{time},"timeNano":{nanos}}}"#
    )
}

pub(super) fn socket(yard: &Yard) -> PathBuf {
    yard.folder.path().join("docker.sock")
}

#[tokio::test]
async fn events_in_any_chunks_and_a_reconnect_without_a_gap() {
    let mut yard = Yard::new();
    let path = socket(&yard);
    let source = yard.start("docker", json!({"socket": path, "inspect": false}));
    // The engine comes later than the gateway.
    let mut engine = engine(&path, VERSION);
    let mut asked = within(engine.recv()).await.unwrap();
    assert_eq!(asked.path, "/v1.41/events?since=0.000000000");

    let (create, start) = (event(900, "create"), event(800, "start"));
    for piece in format!("{create}\n\x1e{start}\n").as_bytes().chunks(100) {
        asked.chunk(piece).await;
    }
    let events = yard.events(2).await;
    assert_eq!(events.iter().map(Seen::raw).collect::<Vec<_>>(), [create.clone(), start.clone()]);
    assert_eq!((events[1].field("event_class"), events[1].field("format")), ("container.start", "docker_events"));
    assert_eq!(events[1].field("peer"), path.to_str().unwrap());

    // The engine closes; what it remembers is asked for again, and repeats are dropped.
    drop(asked);
    let mut asked = within(engine.recv()).await.unwrap();
    assert_eq!(asked.path, "/v1.41/events?since=1795251798.999999200");
    let (die, destroy) = (event(700, "die"), event(-5_000_000_000, "destroy"));
    asked.events(&[create, start, die.clone()]).await;
    asked.events(std::slice::from_ref(&destroy)).await;
    assert_eq!(yard.raws(2).await, [die, destroy]);
    source.stop().await;
    yard.is_empty().await;
}

/// An engine that is short of CPU drops events for a reader that waits, and tells nobody; but it remembers them.
#[tokio::test]
async fn what_the_engine_remembers_and_never_sent_is_taken_in() {
    let mut yard = Yard::new();
    let path = socket(&yard);
    let mut sent: Vec<String> = (0..70).map(|number| event(8_000_000_000 - number, "kill")).collect();
    let (never, last) = (event(7_000_000_000, "start"), event(6_000_000_000, "die"));
    sent.push(last.clone());
    let remembered = [&sent[..], std::slice::from_ref(&never)].concat().join("\n") + "\n";
    let mut engine = engine_with(&path, VERSION, &remembered, |_| None::<(u16, String)>);
    let source = yard.start("docker", json!({"socket": path, "inspect": false}));
    let mut asked = within(engine.recv()).await.unwrap();
    asked.events(&sent).await;
    assert_eq!(yard.raws(71).await, sent);
    // Sixty-four events are enough to look whether they are all.
    assert_eq!(yard.raws(1).await, std::slice::from_ref(&never));
    // What was said late is not said twice.
    let news = event(-9_000_000_000, "destroy");
    asked.events(&[never, news.clone()]).await;
    assert_eq!(yard.raws(1).await, [news]);
    source.stop().await;
    yard.is_empty().await;
}

/// What an earlier run took in, and this one was not sent, is not taken for missing.
#[tokio::test]
async fn what_the_engine_remembers_of_before_a_restart_is_not_taken_in_twice() {
    let mut yard = Yard::new();
    let path = socket(&yard);
    let before: Vec<String> = [5_000, 3_500, 2_000].map(|millis| event(millis * 1_000_000, "kill")).into();
    let after: Vec<String> = (1..70).map(|number| event(1_900_000_000 - number, "kill")).collect();
    let never = event(1_500_000_000, "die");
    let remembered = [&before[..], &after[..], std::slice::from_ref(&never)].concat().join("\n");
    let mut engine = engine_with(&path, VERSION, &remembered, |_| None::<(u16, String)>);
    let source = yard.start("docker", json!({"socket": path, "inspect": false}));
    let mut asked = within(engine.recv()).await.unwrap();
    asked.events(&before).await;
    assert_eq!(yard.raws(3).await, before);
    source.stop().await;

    let source = yard.start("docker", json!({"socket": path, "inspect": false}));
    let mut asked = within(engine.recv()).await.unwrap();
    assert_eq!(asked.path, "/v1.41/events?since=1795251797.000000000");
    asked.events(&before[2..]).await;
    asked.events(&after).await;
    assert_eq!(yard.raws(69).await, after);
    assert_eq!(yard.raws(1).await, [never]);
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn what_the_engine_forgot_is_a_gap_also_after_a_restart() {
    let mut yard = Yard::new();
    let path = socket(&yard);
    let mut engine = engine(&path, VERSION);
    let source = yard.start("docker", json!({"socket": path, "inspect": false}));
    let mut asked = within(engine.recv()).await.unwrap();
    let start = event(5_000_000_000, "start");
    asked.events(std::slice::from_ref(&start)).await;
    assert_eq!(yard.raws(1).await, std::slice::from_ref(&start));
    source.stop().await;

    // 300 events while the gateway was down: the last seen one is no longer among the 256.
    let source = yard.start("docker", json!({"socket": path, "inspect": false}));
    let mut asked = within(engine.recv()).await.unwrap();
    assert_eq!(asked.path, "/v1.41/events?since=1795251794.000000000");
    let remembered: Vec<_> = (0..256).map(|number| event(4_000_000_000 - number, "kill")).collect();
    asked.events(&remembered).await;
    assert_eq!(yard.raws(256).await, remembered);
    let gap = yard.events(1).await.remove(0);
    assert_eq!((gap.field("event_class"), gap.field("count")), ("gap", ""), "{gap:?}");

    // The engine was restarted and remembers nothing: the gap is told though no event comes.
    drop(asked);
    let mut asked = within(engine.recv()).await.unwrap();
    assert_eq!(yard.events(1).await[0].field("event_class"), "gap");
    let news = event(-9_000_000_000, "start");
    asked.events(std::slice::from_ref(&news)).await;
    assert_eq!(yard.raws(1).await, [news]);
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn an_engine_that_answers_oddly_never_ends_the_source() {
    let mut yard = Yard::new();
    let path = socket(&yard);
    let source = yard.start("docker", json!({"socket": path, "inspect": false}));
    {
        let listener = UnixListener::bind(&path).unwrap();
        for answer in ["garbage\r\n\r\n", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ""] {
            let (mut stream, _) = within(listener.accept()).await.unwrap();
            request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }
    std::fs::remove_file(&path).unwrap();
    let mut engine = engine(&path, r#"{"ApiVersion":"1.99","MinAPIVersion":"1.44"}"#);
    let mut asked = within(engine.recv()).await.unwrap();
    assert_eq!(asked.path, "/v1.51/events?since=0.000000000");
    // One event of 3 MiB, one that is no JSON, one that is deep.
    asked.chunk(&vec![b'x'; 3 << 20]).await;
    asked.chunk(format!("\nnot JSON\n{}\n", "[".repeat(100_000)).as_bytes()).await;
    let last = event(0, "start");
    asked.events(std::slice::from_ref(&last)).await;
    let events = yard.events(4).await;
    assert!(events[0].field("parse.error").contains("3145728 bytes"), "{:?}", events[0].fields);
    assert_eq!((events[1].raw().as_str(), events[1].field("parse.status")), ("not JSON", "failed"));
    assert_eq!(events[3].raw(), last);
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reader_never_waits_for_the_journal() {
    let mut yard = Yard::with_budget(16 << 20);
    let path = socket(&yard);
    let mut engine = engine(&path, VERSION);
    let source = yard.start("docker", json!({"socket": path, "inspect": false}));
    let mut asked = within(engine.recv()).await.unwrap();
    // Far more than journal and ring hold, and nobody reads the journal: the engine must not notice.
    let count = 40_000;
    let events: Vec<_> = (0..1000).map(|number| event(-number, &format!("exec_start: {}", "x".repeat(500)))).collect();
    for _ in 0..count / events.len() {
        within(asked.events(&events)).await;
    }
    let (mut taken, mut lost) = (0, 0);
    while taken + lost < count {
        for event in yard.events(1).await {
            match event.field("event_class") {
                "gap" => lost += number(event.field("count")),
                _ => taken += 1,
            }
        }
    }
    assert_eq!(taken + lost, count);
    assert!(lost > 0);
    source.stop().await;
}

/// So many seconds of 5,000 events each; a night has 60 or more: `WHARFINGER_STALL_SECONDS=60`, in a release build. Then
/// they come at that rate, else at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_nobody_reads_the_journal() {
    const RATE: usize = 5_000;
    let seconds = std::env::var("WHARFINGER_STALL_SECONDS").ok().map(|seconds| seconds.parse().unwrap());
    let count = RATE * seconds.unwrap_or(2);
    let mut yard = Yard::with_budget(4 << 30);
    let path = socket(&yard);
    let mut engine = engine(&path, VERSION);
    let source = yard.start("docker", json!({"socket": path, "inspect": false}));
    let mut asked = within(engine.recv()).await.unwrap();
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(10));
    for first in (0..count).step_by(RATE / 100) {
        if seconds.is_some() {
            pace.tick().await;
        }
        let events: Vec<_> = (first..first + RATE / 100).map(|number| event(-(number as i64), "start")).collect();
        within(asked.events(&events)).await;
    }
    // Only now somebody reads: each once, in their order, and no gap among them.
    for first in (0..count).step_by(RATE) {
        for (number, seen) in yard.raws(RATE).await.iter().enumerate() {
            assert_eq!(*seen, event(-((first + number) as i64), "start"));
        }
    }
    source.stop().await;
    yard.is_empty().await;
}

/// The number in `Int(7)`.
fn number(text: &str) -> usize {
    text.trim_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap()
}
