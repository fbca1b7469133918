//! GELF as its clients send it: datagrams whole, compressed and in chunks, and connections.

use std::io::Write;
use std::net::UdpSocket;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Seen, Yard};

fn message(text: &str) -> String {
    format!(r#"{{"version":"1.1","host":"vm-7","short_message":"{text}","timestamp":1795251918.551,"level":6}}"#)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn chunk(id: u8, number: u8, count: u8, data: &[u8]) -> Vec<u8> {
    [&[0x1e, 0x0f][..], &[id; 8], &[number, count], data].concat()
}

#[tokio::test]
async fn datagrams_whole_compressed_and_in_chunks() {
    let mut yard = Yard::new();
    let source = yard.start("gelf", json!({"mode": "udp", "address": "127.0.0.1:0", "max_length": "64KiB"}));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = |datagram: &[u8]| assert_eq!(socket.send_to(datagram, source.address()).unwrap(), datagram.len());
    let texts = ["plain", "gzip", "zlib", "two chunks", "gzip in chunks"];
    let messages = texts.map(message);
    send(messages[0].as_bytes());
    send(&gzip(messages[1].as_bytes()));
    send(&zlib(messages[2].as_bytes()));
    let (head, tail) = messages[3].as_bytes().split_at(20);
    send(&chunk(1, 1, 2, tail));
    send(&chunk(1, 0, 2, head));
    let packed = gzip(messages[4].as_bytes());
    let (head, tail) = packed.split_at(30);
    send(&chunk(2, 0, 2, head));
    send(&chunk(2, 1, 2, tail));
    let events = yard.events(5).await;
    assert_eq!(events.iter().map(Seen::raw).collect::<Vec<_>>(), messages);
    assert_eq!(events.iter().map(|event| event.field("msg")).collect::<Vec<_>>(), texts);
    assert_eq!((events[0].field("peer"), events[0].field("format")), ("127.0.0.1", "gelf"));

    // What cannot be a message is an event that says why; a bomb takes no memory.
    send(&gzip(&vec![b' '; 2 << 20]));
    send(&gzip(b"torn")[..15]);
    send(&[0x1e, 0x0f, 1]);
    send(&chunk(3, 5, 2, b"x"));
    let reasons = yard.events(4).await;
    let reasons: Vec<_> = reasons.iter().map(|event| event.field("parse.error")).collect();
    let expected = [
        "it inflates to more than the limit of 65536 bytes",
        "its compressed bytes are damaged",
        "a chunk without its id",
        "a chunk number outside of its count",
    ];
    assert_eq!(reasons, expected);

    // Sixty-four messages are waited for; the oldest gives way and is declared.
    for id in 0..66 {
        send(&chunk(100 + id, 0, 2, b"x"));
    }
    let gap = yard.events(1).await.remove(0);
    let mut count = gap.field("count").to_owned();
    if count != "Int(2)" {
        count += yard.events(1).await[0].field("count");
    }
    assert!(matches!(&*count, "Int(2)" | "Int(1)Int(1)"), "{count}");
    assert!(gap.field("reason").contains("chunks of a message never came"), "{gap:?}");
    source.stop().await;
}

#[tokio::test]
async fn messages_on_a_connection_end_with_nul() {
    let mut yard = Yard::new();
    let source = yard.start("gelf", json!({"mode": "tcp", "address": "127.0.0.1:0", "max_length": "1KiB"}));
    let mut stream = TcpStream::connect(source.address()).await.unwrap();
    let pretty = message("pretty").replace(',', ",\n");
    let long = message(&"x".repeat(5000));
    let bytes = [message("one"), pretty.clone(), long.clone(), message("last")].join("\0");
    for piece in bytes.as_bytes().chunks(700) {
        stream.write_all(piece).await.unwrap();
    }
    stream.shutdown().await.unwrap();
    let events = yard.events(4).await;
    assert_eq!(events.iter().map(|event| event.field("msg")).collect::<Vec<_>>(), ["one", "pretty", "", "last"]);
    assert_eq!(events[1].raw(), pretty);
    assert!(events[2].field("parse.error").contains(&format!("{} bytes", long.len())), "{:?}", events[2]);
    source.stop().await;
    yard.is_empty().await;
}
