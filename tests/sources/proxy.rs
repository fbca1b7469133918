//! Connections that a balancer hands on: whose they are stands in a header of the PROXY protocol, from listed peers
//! alone.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Yard, within};

/// Sends that over a new connection and waits until the source closes. True if it did so in order.
async fn send(to: SocketAddr, bytes: &[u8]) -> bool {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    matches!(within(stream.read(&mut [0; 16])).await, Ok(0))
}

fn v2(source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(source);
    header.extend([192, 0, 2, 1, 200, 0, 2, 2]);
    header
}

fn line(text: &str) -> Vec<u8> {
    format!("<13>Nov 21 09:00:00 h app: {text}\n").into_bytes()
}

#[tokio::test]
async fn the_peer_is_the_one_in_the_header() {
    let mut yard = Yard::new();
    let options =
        json!({"mode": "tcp", "address": "127.0.0.1:0", "proxy_protocol": true, "proxy_trusted": ["127.0.0.0/8"]});
    let source = yard.start("syslog", options);
    let of_itself = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec();
    for (header, peer) in [
        (v2([203, 0, 113, 7]), "203.0.113.7"),
        (b"PROXY TCP4 203.0.113.8 192.0.2.1 56324 514\r\n".to_vec(), "203.0.113.8"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 514\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (of_itself, "127.0.0.1"),
    ] {
        assert!(send(source.address(), &[header, line(peer)].concat()).await);
        let event = yard.events(1).await.remove(0);
        assert_eq!((event.field("peer"), event.field("msg")), (peer, peer));
    }
    source.stop().await;
}

#[tokio::test]
async fn nobody_else_says_whose_connection_it_is() {
    let mut yard = Yard::new();
    let options = |trusted: &str| json!({"mode": "tcp", "address": "127.0.0.1:0", "proxy_protocol": true, "proxy_trusted": [trusted]});
    let stranger = yard.start("syslog", options("192.0.2.1"));
    send(stranger.address(), &[v2([203, 0, 113, 7]), line("forged")].concat()).await;
    send(stranger.address(), &line("plain")).await;
    // From those who may, a connection without a header is refused, too: its peer is not known.
    let trusted = yard.start("syslog", options("127.0.0.1"));
    send(trusted.address(), &line("without")).await;
    send(trusted.address(), b"PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n").await;
    // And where the option is off, a header is a line like any other.
    let off = yard.start("syslog", json!({"mode": "tcp", "address": "127.0.0.1:0"}));
    send(off.address(), b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\n").await;
    let event = yard.events(1).await.remove(0);
    assert_eq!((event.raw().trim_end(), event.field("peer")), ("PROXY TCP4 203.0.113.7 192.0.2.1 1 2", "127.0.0.1"));
    yard.is_empty().await;
    let refused = wharfinger::stats::read(&yard.stats.refused_connections);
    assert_eq!(refused, 4, "each of them is counted");
    for source in [stranger, trusted, off] {
        source.stop().await;
    }
}

/// The limit is one of senders, not of the balancer that has the connections of all of them.
#[tokio::test]
async fn each_sender_has_his_own_limit() {
    let mut yard = Yard::new();
    let source = yard.start(
        "syslog",
        json!({"mode": "tcp", "address": "127.0.0.1:0", "connection_limit_per_address": 1,
               "proxy_protocol": true, "proxy_trusted": ["127.0.0.1"]}),
    );
    let open = async |host: u8, text: &str| {
        let mut stream = TcpStream::connect(source.address()).await.unwrap();
        stream.write_all(&[v2([203, 0, 113, host]), line(text)].concat()).await.unwrap();
        stream
    };
    let first = open(1, "first").await;
    assert_eq!(yard.events(1).await[0].field("peer"), "203.0.113.1");
    let second = open(2, "second").await;
    assert_eq!(yard.events(1).await[0].field("peer"), "203.0.113.2");
    // One more of the first is closed at once.
    let mut more = open(1, "more").await;
    assert_eq!(within(more.read(&mut [0; 16])).await.unwrap_or(0), 0);
    yard.is_empty().await;
    drop(first);
    // His seat is free again when his connection is gone.
    loop {
        let mut again = open(1, "again").await;
        let _ = again.shutdown().await;
        if within(again.read(&mut [0; 16])).await.is_ok() && yard.has_events().await {
            break;
        }
    }
    assert_eq!(yard.events(1).await[0].field("msg"), "again");
    drop(second);
    source.stop().await;
}
