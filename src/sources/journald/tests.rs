//! Entries over the limit, parts of lines, streams that break.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;
use crate::journal::storage::Disk;
use crate::journal::{Journal, Settings};

#[test]
fn nothing_becomes_an_option_of_journalctl() {
    for text in ["CONTAINER_NAME=web", "_PID=1", "A=", "MESSAGE=--directory=/"] {
        assert!(is_match(text), "{text}");
    }
    for text in ["", "=x", "--file=/etc/shadow", "/usr/bin/dockerd", "+", "name=x"] {
        assert!(!is_match(text), "{text}");
    }
    let units = vec!["--file=/etc/shadow".to_owned()];
    let journald = Journald { config: Config { units, ..Config::default() } };
    let command = journald.command(Some("s=1;i=2"));
    let arguments: Vec<_> = command.as_std().get_args().map(|argument| argument.to_str().unwrap()).collect();
    assert!(arguments.contains(&"--unit=--file=/etc/shadow") && arguments.contains(&"--cursor=s=1;i=2"));
}

fn session(intake: Intake) -> Session {
    let reading = Reading { format: FormatName::only("journald"), zone: Zone::default(), trust: Trust::Local };
    Session {
        frames: intake.frames(reading.origin("journal")),
        intake,
        awaited: None,
        tail_before: None,
        cursor: None,
        own: None,
        parts: Parts::new(4096),
        entry_bytes_max: 4096,
    }
}

#[tokio::test]
async fn an_entry_over_the_limit_is_judged_as_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(Settings::new(folder.path().join("journal")), Arc::new(Disk)).unwrap();
    let intake = Intake::new(journal.clone(), Arc::default(), "in", Arc::default());
    let long = |number: u8| {
        let head = format!("__CURSOR=s=1;i={number}\n__REALTIME_TIMESTAMP={number}\nMESSAGE=");
        [head.as_bytes(), &[b'x'; 8192], b"\n\n"].concat()
    };
    // The last entry that was read is gone, and the first one there is too long: a gap, and its head.
    let mut session = session(intake.clone());
    session.awaited = Some("s=1;i=1".to_owned());
    let mut framer = ExportFramer::new(session.entry_bytes_max);
    assert!(session.take(&mut framer, &mut long(2)).await.unwrap());
    assert_eq!(journal.status().last.0, 2);
    assert_eq!(intake.marked(CURSOR).as_deref(), Some(&b"s=1;i=2"[..]));
    // It is the last one that was read itself; then one that is older than the first start.
    session.awaited = Some("s=1;i=2".to_owned());
    assert!(session.take(&mut framer, &mut long(2)).await.unwrap());
    session.tail_before = Some(7);
    assert!(session.take(&mut framer, &mut long(3)).await.unwrap());
    assert_eq!(journal.status().last.0, 2);
}

#[tokio::test]
async fn parts_that_are_held_are_read_again_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(Settings::new(folder.path().join("journal")), Arc::new(Disk)).unwrap();
    let intake = Intake::new(journal.clone(), Arc::default(), "in", Arc::default());
    let part = |ordinal: u8, last: bool| {
        format!(
            "__CURSOR=s=1;i={ordinal}\n_COMM=dockerd\n_UID=0\nCONTAINER_ID_FULL=c\nCONTAINER_PARTIAL_ID=a\n\
             CONTAINER_PARTIAL_ORDINAL={ordinal}\nCONTAINER_PARTIAL_LAST={last}\nMESSAGE=x\n\n"
        )
        .into_bytes()
    };
    let plain = b"__CURSOR=s=1;i=9\n_COMM=x\nMESSAGE=x\n\n".to_vec();
    let take = async |session: &mut Session, entries: &[Vec<u8>]| {
        let mut framer = ExportFramer::new(session.entry_bytes_max);
        assert!(session.take(&mut framer, &mut entries.concat()).await.unwrap());
    };
    // Killed while it holds the first part: nothing is stored, also not of what came between.
    let mut killed = session(intake.clone());
    take(&mut killed, &[part(1, false), plain.clone()]).await;
    assert_eq!((journal.status().last.0, intake.marked(CURSOR)), (0, None));
    drop(killed);
    let mut session = session(intake.clone());
    take(&mut session, &[part(1, false), plain]).await;
    take(&mut session, &[part(2, true)]).await;
    assert_eq!(journal.status().last.0, 2);
    assert_eq!(intake.marked(CURSOR).as_deref(), Some(&b"s=1;i=2"[..]));
    // A line whose end does not come.
    take(&mut session, &[part(1, false)]).await;
    assert_eq!(journal.status().last.0, 2);
    session.give_up_parts().await.unwrap();
    assert_eq!(journal.status().last.0, 3);
}

/// The next child would bring again what was taken and is not stored.
#[tokio::test]
async fn what_was_taken_before_the_stream_broke_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(Settings::new(folder.path().join("journal")), Arc::new(Disk)).unwrap();
    let intake = Intake::new(journal.clone(), Arc::default(), "in", Arc::default());
    let part = "__CURSOR=s=1;i=1\n_COMM=dockerd\n_UID=0\nCONTAINER_ID_FULL=c\nCONTAINER_PARTIAL_ID=a\n\
                CONTAINER_PARTIAL_ORDINAL=1\nCONTAINER_PARTIAL_LAST=false\nMESSAGE=x\n\n";
    for (number, end) in [(1, &b""[..]), (2, b"MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xff")] {
        let stream = folder.path().join("stream");
        std::fs::write(&stream, [part.as_bytes(), end].concat()).unwrap();
        let mut child = Command::new("cat").arg(&stream).stdout(Stdio::piped()).spawn().unwrap();
        let mut session = session(intake.clone());
        assert!(session.follow(&mut child, &CancellationToken::new()).await.unwrap());
        assert_eq!((journal.status().last.0, session.parts.since()), (number, None));
        child.wait().await.unwrap();
    }
}
