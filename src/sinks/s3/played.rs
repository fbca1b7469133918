//! A bucket on a store that plays its answers, as real ones cannot be made to.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use wharfinger_formats::{Event, Field};

use super::{Bucket, BucketConfig};
use crate::archive::{Put, Store};
use crate::part::PartContext;
use crate::sinks::{Outcome, SinkConfig as _};

/// The head of each request, in order.
type Heads = Arc<Mutex<Vec<String>>>;

/// A store that gives these answers, one a connection, and closes none before the end.
fn store(answers: &'static [&'static str], timeout: &str) -> (Arc<dyn Store>, Heads, Runtime) {
    let (endpoint, heads) = played(answers);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = json!({
        "bucket": "evidence", "endpoint": endpoint, "timeout": timeout,
        "access_key_id": "key", "secret_access_key": "secret",
    });
    let config: BucketConfig = serde_json::from_value(options).unwrap();
    let stores = Bucket::stores(&config, None, runtime.handle().clone()).unwrap();
    (stores("audit"), heads, runtime)
}

/// Its address.
fn played(answers: &'static [&'static str]) -> (String, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let heads = Heads::default();
    let seen = Arc::clone(&heads);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for answer in answers {
            let (mut peer, _) = listener.accept().unwrap();
            seen.lock().unwrap().push(head(&peer));
            peer.write_all(answer.as_bytes()).unwrap();
            open.push(peer);
        }
        // What is asked then fails at once.
        drop(listener);
        std::thread::park();
    });
    (endpoint, heads)
}

/// Reads a request, and answers its head in lower case.
fn head(peer: &TcpStream) -> String {
    let (mut reader, mut head) = (BufReader::new(peer), String::new());
    while reader.read_line(&mut head).unwrap() > 2 {}
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_end(&mut Vec::new()).unwrap();
    head
}

#[test]
fn a_body_that_stalls_is_asked_for_again_and_only_its_rest_is_taken() {
    let (store, heads, _runtime) = store(
        &[
            "HTTP/1.1 200 OK\r\netag: \"t\"\r\ncontent-length: 10\r\nconnection: close\r\n\r\nhello",
            // It knows no ranges.
            "HTTP/1.1 200 OK\r\netag: \"t\"\r\ncontent-length: 10\r\nconnection: close\r\n\r\nhelloworld",
            "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 5-9/10\r\ncontent-length: 5\r\n\
             connection: close\r\n\r\nworld",
        ],
        "3s",
    );
    let mut text = String::new();
    store.open("seal/000000000000").unwrap().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "helloworld");
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 3);
    assert!(heads[1..].iter().all(|head| head.contains("range: bytes=5-")), "{heads:?}");
}

const ABSENT: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// AWS answers this to a bad date as well.
const INVALID: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 46\r\nconnection: close\r\n\r\n\
                       <Error><Code>InvalidArgument</Code></Error>   ";
const DONE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// What the store is asked and answers when something else is wrong, and then when it is the condition.
const ANSWERS: &[&str] = &[ABSENT, INVALID, INVALID, ABSENT, DONE, ABSENT, INVALID, DONE, ABSENT, DONE];

#[test]
fn what_is_refused_without_a_condition_too_leaves_the_condition_on() {
    let (store, heads, _runtime) = store(ANSWERS, "30s");
    assert!(store.put_new("seal/000000000000", b"x").is_err());
    for key in ["seal/000000000000", "seal/000000000001", "seal/000000000002"] {
        assert_eq!(store.put_new(key, b"x").unwrap(), Put::Done, "{key}");
    }
    assert_eq!(conditions(&heads), CONDITIONS);
}

/// Only the store that takes it without the condition does not know conditions.
const CONDITIONS: [bool; 6] = [true, false, true, true, false, false];

fn conditions(heads: &Heads) -> Vec<bool> {
    let heads = heads.lock().unwrap();
    heads.iter().filter(|head| head.starts_with("put ")).map(|head| head.contains("if-none-match: *")).collect()
}

#[tokio::test]
async fn so_it_does_where_no_seal_is() {
    // It is not looked first while the store is believed to know the condition.
    const SINK: &[&str] = &[INVALID, ABSENT, INVALID, DONE, INVALID, ABSENT, DONE, ABSENT, DONE];
    let (endpoint, heads) = played(SINK);
    let options = json!({
        "bucket": "logs", "endpoint": endpoint, "access_key_id": "key", "secret_access_key": "secret", "format": "json",
    });
    let config: super::S3Config = serde_json::from_value(options).unwrap();
    let mut store = super::store::Store::new(&config).unwrap();
    let mut put = async |key: &str| {
        let mut object = super::object::Object::new(b"x".to_vec(), None);
        object.key = key.to_owned();
        store.put(object, false).await
    };
    assert!(matches!(put("one").await, crate::sinks::Outcome::Fatal { .. }));
    for key in ["one", "two", "three"] {
        assert_eq!(put(key).await, crate::sinks::Outcome::Delivered, "{key}");
    }
    assert_eq!(conditions(&heads), CONDITIONS);
}

const NO_UPLOADS: &str =
    "HTTP/1.1 200 OK\r\ncontent-length: 29\r\nconnection: close\r\n\r\n<ListMultipartUploadsResult/>";
const DENIED: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Delivers one event until the store has it; what was asked, and where it is written down what a request holds.
async fn delivered(answers: &'static [&'static str], is_replay: bool) -> (Vec<String>, bool) {
    let (endpoint, heads) = played(answers);
    let options = json!({
        "bucket": "logs", "endpoint": endpoint, "access_key_id": "key", "secret_access_key": "secret", "format": "json",
    });
    let config: super::S3Config = serde_json::from_value(options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_owned();
    let context =
        PartContext { name: "lake".to_owned(), data_dir, hostname: "gw".to_owned(), notices: None, is_replay };
    let mut sink = config.open(&context).unwrap();
    loop {
        let mut event = Event::new(b"x");
        event.set(Field::EventId, "00000000000000aa-0000000000000001");
        sink.push(&event).unwrap();
        let outcome = sink.deliver().await;
        if outcome == Outcome::Delivered {
            break;
        }
        assert!(matches!(outcome, Outcome::Fatal { .. }), "{outcome:?}");
        sink.clear();
    }
    let heads = heads.lock().unwrap();
    let lines = heads.iter().map(|head| head.lines().next().unwrap_or_default().to_owned());
    (lines.collect(), folder.path().join("s3/lake.cut").exists())
}

#[tokio::test]
async fn unfinished_uploads_are_looked_for_once_and_not_by_a_replay() {
    // The store refuses us in between.
    const ANSWERS: &[&str] = &[NO_UPLOADS, ABSENT, DENIED, ABSENT, DONE];
    for (answers, is_replay, looks) in [(ANSWERS, false, 1), (&ANSWERS[1..], true, 0)] {
        let (asked, is_cut) = delivered(answers, is_replay).await;
        assert_eq!(asked.iter().filter(|line| line.contains("uploads")).count(), looks, "{asked:?}");
        assert_eq!(asked.iter().filter(|line| line.starts_with("put ")).count(), 2, "{asked:?}");
        assert!(is_cut);
    }
}
