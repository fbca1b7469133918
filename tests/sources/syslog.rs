//! Syslog over TCP, TLS, UDP and unix sockets, with honest and hostile senders.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};
use wharfinger::intake::Origin;

use super::{Seen, Yard, within};

fn tcp() -> serde_json::Value {
    json!({"mode": "tcp", "address": "127.0.0.1:0"})
}

#[tokio::test]
async fn both_framings_and_any_cut() {
    let mut yard = Yard::new();
    let source = yard.start("syslog", tcp());
    let mut stream = TcpStream::connect(source.address()).await.unwrap();
    let sent = b"<13>1 2026-11-21T09:00:00Z h a 1 - - one\n41 <13>1 2026-11-21T09:00:00Z h a 1 - - t\nwo<13>Nov 21 09:00:00 h a: three\r\nlast";
    for piece in sent.chunks(7) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    drop(stream);
    let events = yard.events(4).await;
    let raws: Vec<_> = events.iter().map(Seen::raw).collect();
    let head = "<13>1 2026-11-21T09:00:00Z h a 1 - - ";
    assert_eq!(raws, [&format!("{head}one"), &format!("{head}t\nwo"), "<13>Nov 21 09:00:00 h a: three", "last"]);
    assert_eq!(events[0].field("msg"), "one");
    assert_eq!((events[0].field("peer"), events[0].field("source")), ("127.0.0.1", "in"));
    assert_eq!((events[0].field("format"), events[2].field("format")), ("rfc5424", "rfc3164"));
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn a_great_many_frames_keep_their_order() {
    let mut yard = Yard::new();
    let source = yard.start("syslog", tcp());
    let mut stream = TcpStream::connect(source.address()).await.unwrap();
    // Two bytes a line would make a record of hundreds each: batches must stay bounded.
    let lines: Vec<String> = (0..40_000).map(|number| format!("{number:x}")).collect();
    let sent = lines.join("\n") + "\n";
    let writer = tokio::spawn(async move { stream.write_all(sent.as_bytes()).await.map(|()| stream) });
    assert_eq!(yard.raws(lines.len()).await, lines);
    within(writer).await.unwrap().unwrap();
    source.stop().await;
}

#[tokio::test]
async fn hostile_streams_cost_little_and_leave_a_trace() {
    let mut yard = Yard::new();
    let source = yard.start("syslog", tcp());

    // An octet count of ten digits: the connection is closed, what came is kept.
    let mut stream = TcpStream::connect(source.address()).await.unwrap();
    stream.write_all(b"<13>a\n9999999999 <13>b").await.unwrap();
    assert_eq!(within(stream.read(&mut [0; 16])).await.unwrap_or(0), 0, "closed");
    assert_eq!(yard.raws(2).await, ["<13>a", "9999999999 <13>b"]);

    // A line without end, and then an end.
    let mut stream = TcpStream::connect(source.address()).await.unwrap();
    for _ in 0..1024 {
        stream.write_all(&[b'A'; 16 * 1024]).await.unwrap();
    }
    stream.write_all(b"\n<13>after\n").await.unwrap();
    let events = yard.events(2).await;
    assert_eq!((events[0].raw.len(), events[0].field("parse.status")), (1024, "failed"));
    assert!(events[0].field("parse.error").contains("16777216 bytes"), "{:?}", events[0]);
    assert_eq!(events[1].raw(), "<13>after");

    // Any bytes: NULs, invalid UTF-8, deep JSON.
    let deep = "[".repeat(100_000);
    for bytes in [&[0; 4096][..], &[0xff; 4096], deep.as_bytes()] {
        let mut stream = TcpStream::connect(source.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.write_all(b"\n<13>alive\n").await.unwrap();
        stream.shutdown().await.unwrap();
        while yard.raws(1).await != ["<13>alive"] {}
    }
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn connections_are_limited_for_each_address() {
    let mut yard = Yard::new();
    let source =
        yard.start("syslog", json!({"mode": "tcp", "address": "127.0.0.1:0", "connection_limit_per_address": 2}));
    let mut kept = Vec::new();
    for number in 0..2 {
        let mut stream = TcpStream::connect(source.address()).await.unwrap();
        stream.write_all(format!("<13>{number}\n").as_bytes()).await.unwrap();
        kept.push(stream);
        assert_eq!(yard.raws(1).await, [format!("<13>{number}")]);
    }
    let mut third = TcpStream::connect(source.address()).await.unwrap();
    assert_eq!(within(third.read(&mut [0; 16])).await.unwrap_or(0), 0, "refused");
    drop(kept.pop());
    // The place is free as soon as the gateway has seen the connection end; until then it refuses.
    {
        let mut taken_in = std::pin::pin!(yard.raws(1));
        loop {
            let mut stream = TcpStream::connect(source.address()).await.unwrap();
            let _ = stream.write_all(b"<13>again\n").await;
            let mut answer = [0; 16];
            tokio::select! {
                raws = &mut taken_in => break assert_eq!(raws, ["<13>again"]),
                _ = stream.read(&mut answer) => {}
            }
        }
    }
    source.stop().await;
}

#[tokio::test]
async fn a_full_journal_holds_the_sender_back_and_loses_nothing() {
    let mut yard = Yard::with_budget(16 << 20);
    let source = yard.start("syslog", tcp());
    let mut stream = TcpStream::connect(source.address()).await.unwrap();
    let count = 60_000;
    let writer = tokio::spawn(async move {
        for number in 0..count {
            let line = format!("<13>1 2026-11-21T09:00:00Z h a 1 - - {number:0400}\n");
            stream.write_all(line.as_bytes()).await.unwrap();
        }
    });
    // Nobody reads: the journal fills, and the sender stands still.
    let mut before = 0;
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let now = yard.journal.status().appended_total;
        if now == before && now > 0 {
            break;
        }
        before = now;
    }
    assert!(!writer.is_finished(), "{before} events fitted");
    for number in 0..count {
        let event = yard.events(1).await.remove(0);
        assert!(event.raw().ends_with(&format!("{number:0400}")), "{number}");
    }
    within(writer).await.unwrap();
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn datagrams_of_udp() {
    let mut yard = Yard::new();
    let source = yard.start("syslog", json!({"mode": "udp", "address": "127.0.0.1:0", "max_length": 2000}));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(source.address()).await.unwrap();
    for datagram in [&b"<13>one\n"[..], b"", b"<13>t\nwo\0", &[b'x'; 3000], b"\xff\xfe"] {
        socket.send(datagram).await.unwrap();
    }
    let events = yard.events(4).await;
    assert_eq!(events[0].raw(), "<13>one");
    assert_eq!(events[1].raw(), "<13>t\nwo");
    assert!(events[2].field("parse.error").contains("3000 bytes"));
    assert_eq!(events[3].raw, b"\xff\xfe");
    assert_eq!(events[0].field("peer"), "127.0.0.1");
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn datagrams_that_find_no_room_are_declared() {
    let mut yard = Yard::with_budget(16 << 20);
    let source = yard.start("syslog", json!({"mode": "udp", "address": "127.0.0.1:0"}));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(source.address()).await.unwrap();
    let lost = |yard: &Yard| yard.stats.undeclared.load(std::sync::atomic::Ordering::Relaxed);
    let datagram = [b'x'; 8000];
    within(async {
        while lost(&yard) == 0 {
            socket.send(&datagram).await.unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Once there is room again, the loss is declared, also when nothing more comes.
    let mut received = 0;
    within(async {
        loop {
            let event = yard.events(1).await.remove(0);
            match event.field("event_class") {
                "gap" => break,
                _ => received += 1,
            }
        }
    })
    .await;
    assert!(received > 100);
    source.stop().await;
}

#[tokio::test]
async fn socket_files() {
    let mut yard = Yard::new();
    let path = yard.folder.path().join("log.sock");
    let path = path.as_path();
    for _ in 0..2 {
        let source = yard.start("syslog", json!({"mode": "unix_datagram", "path": path}));
        let socket = UnixDatagram::unbound().unwrap();
        socket.send_to(b"<30>Nov 21 09:05:09 docker[1]: hello", path).await.unwrap();
        let event = yard.events(1).await.remove(0);
        assert_eq!((event.field("msg"), event.field("app")), ("hello", "docker"));
        source.stop().await;
        assert!(!path.exists());

        let source = yard.start("syslog", json!({"mode": "unix", "path": path}));
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(b"<30>Nov 21 09:05:09 docker[1]: hello\0").await.unwrap();
        let event = yard.events(1).await.remove(0);
        assert!(event.field("peer").starts_with("uid "), "{event:?}");
        drop(stream);
        source.stop().await;
        // What a killed process leaves behind is no obstacle.
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        assert!(path.exists());
    }
}

/// Nobody sends them again, so they are counted. The gateway declares them: tests/crash.
#[tokio::test]
async fn what_a_full_journal_has_no_room_for_at_a_stop_is_counted() {
    let message = |text: &str| format!(r#"{{"version":"1.1","host":"h","short_message":"{text:0200}"}}"#);
    for (kind, mode, count) in [("syslog", "tcp", 3), ("gelf", "tcp", 3), ("syslog", "unix_datagram", 1)] {
        let mut yard = Yard::with_budget(16 << 20);
        let path = yard.folder.path().join("log");
        let place = if mode == "tcp" { ("address", json!("127.0.0.1:0")) } else { ("path", json!(path)) };
        let source = yard.start(kind, json!({"mode": mode, place.0: place.1}));
        let end = if kind == "gelf" { '\0' } else { '\n' };
        let mut stream = match mode {
            "tcp" => Some(TcpStream::connect(source.address()).await.unwrap()),
            _ => None,
        };
        let datagrams = UnixDatagram::unbound().unwrap();
        // At once: what the source reads first waits, and behind it nothing more is read.
        let mut send = async |count: usize| match &mut stream {
            Some(stream) => stream.write_all(format!("{}{end}", message("x")).repeat(count).as_bytes()).await.unwrap(),
            None => drop(datagrams.send_to(message("x").as_bytes(), &path).await.unwrap()),
        };
        send(1).await;
        yard.events(1).await;
        let filled = yard.fill().await;
        send(count).await;
        let intake = source.intake.clone();
        source.stop().await;
        assert!(intake.has_undeclared(), "{kind} {mode}");
        intake.declare_dropped(&Origin::own()).await.unwrap();
        let gap = yard.events(filled + 1).await.pop().unwrap();
        assert_eq!((gap.field("event_class"), gap.field("reason")), ("gap", "the journal was full"), "{gap:?}");
        assert_eq!(gap.field("count"), format!("Int({count})"), "{kind} {mode}: {gap:?}");
        yard.is_empty().await;
        assert_eq!(intake.stats().undeclared.load(Relaxed), 0);
    }
}
