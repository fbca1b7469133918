//! RELP as its clients speak it, byte by byte.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Running, Yard, within};

const OPEN: &str = "1 open 49 relp_version=0\nrelp_software=test\ncommands=syslog\n";

fn start(yard: &Yard) -> Running {
    yard.start("syslog", json!({"mode": "relp", "address": "127.0.0.1:0", "max_length": "1KiB"}))
}

/// Writes, and reads until the answers end so.
async fn ask(stream: &mut TcpStream, text: &str, end: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    within(async {
        while !heard.ends_with(end.as_bytes()) {
            assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "{}", String::from_utf8_lossy(&heard));
        }
    })
    .await;
    String::from_utf8(heard).unwrap()
}

async fn opened(source: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(source.address()).await.unwrap();
    let answer = ask(&mut stream, OPEN, "commands=syslog\n").await;
    assert!(
        answer.starts_with("1 rsp ") && answer.contains(" 200 OK\nrelp_version=0\nrelp_software=wharfinger,"),
        "{answer}"
    );
    stream
}

#[tokio::test]
async fn each_message_is_answered_when_it_is_on_disk() {
    let mut yard = Yard::new();
    let source = start(&yard);
    let mut stream = opened(&source).await;
    let messages = "2 syslog 4 <1>a\n3 syslog 5 <1>b\n\n4 syslog 0\n";
    let answers = ask(&mut stream, messages, "4 rsp 6 200 OK\n").await;
    assert_eq!(answers, "2 rsp 6 200 OK\n3 rsp 6 200 OK\n4 rsp 6 200 OK\n");
    assert_eq!(yard.raws(3).await, ["<1>a", "<1>b", ""]);

    // What is too long is kept by its head, and answered like any other.
    let long = format!("5 syslog 3000 {}\n6 noop 0\n7 syslog 4 <1>c\n", "x".repeat(3000));
    let answers = ask(&mut stream, &long, "7 rsp 6 200 OK\n").await;
    assert!(answers.starts_with("5 rsp 6 200 OK\n6 rsp 28 500 the command is not known\n"), "{answers}");
    let events = yard.events(2).await;
    assert!(events[0].field("parse.error").contains("3000"), "{:?}", events[0]);
    assert_eq!(events[1].raw(), "<1>c");

    // Half a frame is nobody's yet: its sender has no answer and sends it again.
    let bye = ask(&mut stream, "8 syslog 4 <1>d\n9 close 0\n", "0 serverclose 0\n").await;
    assert_eq!(bye, "8 rsp 6 200 OK\n9 rsp 0\n0 serverclose 0\n");
    let mut stream = opened(&source).await;
    stream.write_all(b"2 syslog 10 <1>half").await.unwrap();
    drop(stream);
    source.stop().await;
    assert_eq!(yard.raws(1).await, ["<1>d"]);
    yard.is_empty().await;
}

#[tokio::test]
async fn who_does_not_speak_it_is_shown_out() {
    let mut yard = Yard::new();
    let source = start(&yard);
    let mut early = TcpStream::connect(source.address()).await.unwrap();
    let answer = ask(&mut early, "1 syslog 4 <1>a\n", "first\n").await;
    assert_eq!(answer, "1 rsp 26 500 open the session first\n");
    assert_eq!(within(early.read(&mut [0])).await.unwrap(), 0);

    let mut other = opened(&source).await;
    other.write_all(b"2 syslog 4 <1>b\nGET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut heard = String::new();
    within(other.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "2 rsp 6 200 OK\n", "what came before is stored and answered");
    let events = yard.events(2).await;
    assert_eq!(events[0].raw(), "<1>b");
    assert!(events[1].raw().starts_with("GET /"));
    source.stop().await;
    yard.is_empty().await;
}

/// A sender that is connected is told that the gateway ends.
#[tokio::test]
async fn the_end_is_announced() {
    let yard = Yard::new();
    let source = start(&yard);
    let mut stream = opened(&source).await;
    source.stop().await;
    let mut heard = String::new();
    within(stream.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "0 serverclose 0\n");
}

/// With a full journal nothing is answered that is not in it, and the sender is shown out with what it still has.
#[tokio::test]
async fn what_is_not_on_disk_has_no_answer() {
    let mut yard = Yard::with_budget(16 << 20);
    let source = start(&yard);
    let (mut read, mut write) = opened(&source).await.into_split();
    let count = 60_000;
    let sent = tokio::spawn(async move {
        for txnr in 2..count + 2 {
            if write.write_all(format!("{txnr} syslog 500 {txnr:0500}\n").as_bytes()).await.is_err() {
                break;
            }
        }
    });
    let mut heard = String::new();
    // Shown out while it still sends, it may see a reset behind the answers.
    let _ = within(read.read_to_string(&mut heard)).await;
    within(sent).await.unwrap();
    let stored = yard.journal.status().appended_total;
    assert!(stored < count && stored > 1_000, "{stored}: the journal is full");
    let answered = heard.lines().filter(|line| line.ends_with(" rsp 6 200 OK")).count();
    assert!(answered as u64 <= stored, "{answered} of {stored}");
    assert!(heard.lines().last().is_some_and(|line| line == "0 serverclose 0") || answered > 0, "{heard}");
    let last = yard.events(usize::try_from(stored).unwrap()).await.pop().unwrap();
    assert!(last.raw().ends_with(&(stored + 1).to_string()));

    // There is room again.
    let mut stream = opened(&source).await;
    assert_eq!(ask(&mut stream, "2 syslog 4 <1>a\n", "OK\n").await, "2 rsp 6 200 OK\n");
    source.stop().await;
    assert_eq!(yard.raws(1).await, ["<1>a"]);
}
