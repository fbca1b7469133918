//! The forward protocol as its clients send it, byte by byte over a socket.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::{Yard, within};

/// A text of up to 255 bytes.
fn text(text: &str) -> Vec<u8> {
    [&[0xd9, text.len() as u8][..], text.as_bytes()].concat()
}

/// `{"log": text}`
fn record(log: &str) -> Vec<u8> {
    [&[0x81][..], &text("log"), &text(log)].concat()
}

/// `[time, record]`, with an EventTime as time.
fn entry(log: &str) -> Vec<u8> {
    [&[0x92, 0xd7, 0x00, 0x6b, 0x01, 0x2f, 0x4c, 0, 0, 0, 1][..], &record(log)].concat()
}

fn option(name: &str, value: &str) -> Vec<u8> {
    [text(name), text(value)].concat()
}

/// `[tag, time, record, {"chunk": chunk}]`
fn message(log: &str, chunk: &str) -> Vec<u8> {
    [&[0x94][..], &text("deck"), &[7], &record(log), &[0x81], &option("chunk", chunk)].concat()
}

fn packed(entries: &[u8], options: &[u8]) -> Vec<u8> {
    let length = (entries.len() as u32).to_be_bytes();
    let parts = if options.is_empty() { 0x92 } else { 0x93 };
    [&[parts][..], &text("deck"), &[0xc6], &length, entries, options].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn all_modes_and_an_acknowledgement_for_who_asks() {
    let mut yard = Yard::new();
    let source = yard.start("forward", json!({"address": "127.0.0.1:0", "max_message_bytes": "1MiB"}));
    let mut stream = TcpStream::connect(source.address()).await.unwrap();
    let compressed = [&[0x82][..], &option("compressed", "gzip"), &option("chunk", "c3")].concat();
    let entries = [entry("packed one"), entry("packed two")].concat();
    let sent = [
        message("message", "c1"),
        vec![0xc0],
        [&[0x92][..], &text("deck"), &[0x92], &entry("list one"), &entry("list two")].concat(),
        packed(&entries, &[&[0x81][..], &option("chunk", "c2")].concat()),
        packed(&gzip(&[entry("gzip one"), entry("gzip two")].concat()), &compressed),
    ]
    .concat();
    for piece in sent.chunks(37) {
        stream.write_all(piece).await.unwrap();
    }
    let logs = ["message", "list one", "list two", "packed one", "packed two", "gzip one", "gzip two"];
    let events = yard.events(logs.len()).await;
    assert_eq!(events.iter().map(|event| event.field("msg")).collect::<Vec<_>>(), logs);
    assert!(events.iter().all(|event| event.field("docker.tag") == "deck" && event.field("peer") == "127.0.0.1"));
    let expected = ["c1", "c2", "c3"].map(|chunk| [&b"\x81\xa3ack"[..], &text(chunk)].concat()).concat();
    let mut answers = vec![0; expected.len()];
    within(stream.read_exact(&mut answers)).await.unwrap();
    assert_eq!(answers, expected);
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn what_is_no_message_is_told_of_and_a_bomb_takes_no_memory() {
    let mut yard = Yard::new();
    let path = yard.folder.path().join("forward.sock");
    let options = json!({"path": path, "max_message_bytes": "256KiB", "max_length": "1KiB"});
    let source = yard.start("forward", options);
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let compressed = [&[0x81][..], &option("compressed", "gzip")].concat();
    let large = [&[0x92, 7, 0xc6][..], &2000_u32.to_be_bytes(), &[0; 2000]].concat();
    let sent = [
        packed(&gzip(&vec![0; 2 << 20]), &compressed),
        packed(&[&[5][..], &entry("good"), &large].concat(), &[]),
        vec![0x91, 1],
        // Longer than the limit, and the connection goes on behind it.
        [&[0xc6][..], &300_000_u32.to_be_bytes(), &vec![b'x'; 300_000]].concat(),
        message("last", "c1"),
        vec![0xc1],
    ];
    stream.write_all(&sent.concat()).await.unwrap();
    let events = yard.events(8).await;
    let told: Vec<_> = events.iter().map(|event| (event.field("msg"), event.field("parse.error"))).collect();
    let oversize = |bytes: usize| format!("frame of {bytes} bytes is over the limit; its first bytes are kept");
    let expected = [
        ("", "it inflates to more than the limit of 262144 bytes"),
        ("", "expected an entry of time and record"),
        ("good", ""),
        ("", &*oversize(2000 + 5 + 8)),
        ("", "expected a message of the forward protocol, with a tag of at most 1 KiB"),
        ("", &*oversize(300_005)),
        ("last", ""),
        ("", "no MessagePack"),
    ];
    assert_eq!(told, expected);
    // It is closed, after what was asked for was acknowledged.
    let mut answers = Vec::new();
    within(stream.read_to_end(&mut answers)).await.unwrap();
    assert_eq!(answers, [&b"\x81\xa3ack"[..], &text("c1")].concat());
    source.stop().await;
    yard.is_empty().await;
    assert!(!path.exists());
}

/// SHA-512 in hexadecimal digits, as both sides of the handshake make it.
fn proof(parts: &[&[u8]]) -> String {
    use sha2::{Digest, Sha512};
    Sha512::digest(parts.concat()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The answer to a `PING` made with that key, to a source whose key is `sesame`; then sends an event.
async fn knock(yard: &Yard, key: &str) -> (Vec<u8>, bool) {
    let options = json!({"address": "127.0.0.1:0", "shared_key": "sesame"});
    let source = yard.start("forward", options);
    let mut stream = TcpStream::connect(source.address()).await.unwrap();
    // The nonce stands behind the word and the name of the member.
    let before = [&[0x92][..], &text("HELO"), &[0x83], &text("nonce"), &[0xc4, 16]].concat();
    let mut helo = vec![0; before.len() + 16 + text("auth").len() + text("").len() + text("keepalive").len() + 1];
    within(stream.read_exact(&mut helo)).await.unwrap();
    assert!(helo.starts_with(&before));
    let nonce = helo[before.len()..][..16].to_vec();
    let hash = proof(&[b"salt", b"client.test", &nonce, key.as_bytes()]);
    let ping = [&[0x96][..], &text("PING"), &text("client.test"), &text("salt"), &text(&hash), &text(""), &text("")];
    // In one piece with the first message: a client may not wait.
    stream.write_all(&[ping.concat(), message("after the handshake", "c1")].concat()).await.unwrap();
    let expected = proof(&[b"salt", b"gateway", &nonce, b"sesame"]);
    let mut pong = [&[0x95][..], &text("PONG"), &[0xc3], &text(""), &text("gateway"), &text(&expected)].concat();
    let is_let_in = key == "sesame";
    if is_let_in {
        let mut answer = vec![0; pong.len()];
        within(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, pong);
        pong.clear();
        let mut acknowledged = vec![0; 4 + text("c1").len() + 1];
        within(stream.read_exact(&mut acknowledged[1..])).await.unwrap();
    } else {
        pong.clear();
        // It may be reset, since nobody reads what comes behind.
        let _ = within(stream.read_to_end(&mut pong)).await;
    }
    source.stop().await;
    (pong, is_let_in)
}

#[tokio::test]
async fn only_who_knows_the_shared_key_is_let_in() {
    let mut yard = Yard::new();
    knock(&yard, "sesame").await;
    assert_eq!(yard.events(1).await[0].field("msg"), "after the handshake");
    let (answer, _) = knock(&yard, "open").await;
    // Nothing that was made of the key, which could be guessed at.
    let refused = [text("shared_key mismatch"), text(""), text("")].concat();
    assert!(answer.is_empty() || answer.ends_with(&refused), "{answer:?}");
    yard.is_empty().await;
}
