//! Streams of records that say themselves where they end: every cut gives the same frames, the frames
//! of our own captures are read, and nothing that is announced is believed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, missing_docs)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use wharfinger_formats::frame::{
    ExportFramer, Frame, FrameError, Framer, LocalFramer, MsgpackFramer, PluginFramer, Scanner, Stream, relp,
};
use wharfinger_formats::{Choice, Context, Event, Field, Offset, Time, parse};

const LIMIT: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Frame(Vec<u8>),
    Truncated(Vec<u8>),
    TooLong { head: Vec<u8>, bytes_total: u64 },
    Malformed(FrameError),
}

/// Sends the reads, ends the stream, and answers what came out with the most bytes held at once.
fn frames<S: Scanner>(mut framer: Stream<S>, reads: &[&[u8]]) -> (Vec<Got>, usize) {
    let (mut buffer, mut got, mut held) = (Vec::new(), Vec::new(), 0);
    for (read, ended) in reads.iter().map(|read| (*read, false)).chain([(&b""[..], true)]) {
        buffer.extend_from_slice(read);
        loop {
            let frame = if ended { framer.finish(&buffer) } else { framer.next(&buffer) };
            let used = match frame {
                Frame::NeedMore { used } => used,
                Frame::Complete { start, end, used } => {
                    got.push(Got::Frame(buffer[start..end].to_vec()));
                    used
                }
                Frame::Truncated { start, end, used } => {
                    got.push(Got::Truncated(buffer[start..end].to_vec()));
                    used
                }
                Frame::TooLong { used, bytes_total } => {
                    got.push(Got::TooLong { head: framer.head().to_vec(), bytes_total });
                    used
                }
                Frame::Malformed(error) => {
                    got.push(Got::Malformed(error));
                    return (got, held);
                }
            };
            buffer.drain(..used);
            if matches!(frame, Frame::NeedMore { .. }) {
                held = held.max(buffer.len());
                break;
            }
        }
    }
    (got, held)
}

/// The same frames whole, in these pieces, and byte by byte.
fn check_cuts<S: Scanner>(stream: &[u8], cuts: &[usize]) -> Result<Vec<Got>, TestCaseError> {
    let (whole, _) = frames(Stream::<S>::new(LIMIT), &[stream]);
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).chain([0, stream.len()]).collect();
    at.sort_unstable();
    let reads: Vec<&[u8]> = at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
    prop_assert_eq!(&frames(Stream::<S>::new(LIMIT), &reads).0, &whole);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    let (by_byte, held) = frames(Stream::<S>::new(LIMIT), &bytes);
    prop_assert_eq!(&by_byte, &whole);
    prop_assert!(held <= LIMIT, "{} bytes held", held);
    Ok(whole)
}

fn local(entry: &[u8]) -> Vec<u8> {
    let len = u32::try_from(entry.len()).unwrap().to_be_bytes();
    [&len[..], entry, &len].concat()
}

fn export(value: &[u8]) -> Vec<u8> {
    let len = (value.len() as u64).to_le_bytes();
    [b"A=b\nMESSAGE\n", &len[..], value, b"\nC=\n\n"].concat()
}

fn msgpack(value: &[u8]) -> Vec<u8> {
    let len = u32::try_from(value.len()).unwrap().to_be_bytes();
    [b"\x94\xa1t\xd7\0\0\0\0\x01\0\0\0\x02\x81\xa1k\xc6", &len[..], value, b"\xde\0\0"].concat()
}

fn relp_frame(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    relp::write(&relp::Relp { txnr: 7, command: "syslog", data: value }, &mut out);
    out
}

/// A framer and what makes a record for it.
macro_rules! for_each_kind {
    ($check:ident, $($argument:expr),*) => {
        $check::<wharfinger_formats::frame::Lengths<true>>(local, $($argument),*)?;
        $check::<wharfinger_formats::frame::Lengths<false>>(|entry| local(entry)[..entry.len() + 4].to_vec(), $($argument),*)?;
        $check::<wharfinger_formats::frame::Entry>(export, $($argument),*)?;
        $check::<wharfinger_formats::frame::Object>(msgpack, $($argument),*)?;
        $check::<relp::Header>(relp_frame, $($argument),*)?;
    };
}

fn records_come_back<S: Scanner>(
    make: impl Fn(&[u8]) -> Vec<u8>,
    values: &[Vec<u8>],
    cuts: &[usize],
) -> Result<(), TestCaseError> {
    let records: Vec<Vec<u8>> = values.iter().map(|value| make(value)).collect();
    let got = check_cuts::<S>(&records.concat(), cuts)?;
    prop_assert_eq!(got.len(), records.len());
    for (got, (record, value)) in got.iter().zip(records.iter().zip(values)) {
        match got {
            Got::Frame(frame) => prop_assert!(
                record.len() <= LIMIT
                    && frame.windows(value.len().max(1)).any(|part| part == value || value.is_empty())
                    || frame.is_empty()
            ),
            Got::TooLong { head, bytes_total } => {
                prop_assert!(record.len() > LIMIT && record.starts_with(head));
                prop_assert_eq!(*bytes_total, record.len() as u64);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
    Ok(())
}

fn anything_is_cut_alike<S: Scanner>(
    _: impl Fn(&[u8]) -> Vec<u8>,
    stream: &[u8],
    cuts: &[usize],
) -> Result<(), TestCaseError> {
    check_cuts::<S>(stream, cuts).map(drop)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_was_framed_comes_back(
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..160), 0..6),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        for_each_kind!(records_come_back, &values, &cuts);
    }

    #[test]
    fn any_bytes_are_cut_alike(
        stream in proptest::collection::vec(prop_oneof![Just(0_u8), Just(b'\n'), Just(b' '), Just(b'1'), Just(0x92), any::<u8>()], 0..300),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        for_each_kind!(anything_is_cut_alike, &stream, &cuts);
    }
}

#[test]
fn what_is_announced_is_not_believed() {
    let huge: [&[u8]; 4] =
        [&[0xff; 4], b"MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"1 syslog 999999999 "];
    let check = |frame: Frame| assert!(matches!(frame, Frame::NeedMore { .. }), "{frame:?}");
    check(LocalFramer::new(LIMIT).next(huge[0]));
    check(PluginFramer::new(LIMIT).next(huge[0]));
    check(ExportFramer::new(LIMIT).next(huge[1]));
    check(MsgpackFramer::new(LIMIT).next(huge[2]));
    check(relp::RelpFramer::new(LIMIT).next(huge[3]));
}

#[test]
fn what_ends_a_stream() {
    let wrong = |frame: Frame, error| assert_eq!(frame, Frame::Malformed(error));
    wrong(LocalFramer::new(LIMIT).next(b"\0\0\0\x01x\0\0\0\x02"), FrameError::LengthsDiffer);
    wrong(MsgpackFramer::new(LIMIT).next(b"\xc1"), FrameError::NoMsgpack);
    for line in
        [&b"x"[..], b"1  ", b"1 syslog x", b"1234567890 ", b"1 syslog 3 abcd", b"1 syslog 1\n", b"\n", b"1 sys_log 0\n"]
    {
        wrong(relp::RelpFramer::new(LIMIT).next(line), FrameError::NoRelp);
    }
    // A sender that writes the space although no data follows.
    let frame = Frame::Complete { start: 0, end: 8, used: 9 };
    assert_eq!(relp::RelpFramer::new(LIMIT).next(b"1 rsp 0 \n2"), frame);
}

/// The frames of a stream of ours, as events of a format.
fn messages(name: &str, format: &str, next: &mut dyn FnMut(&[u8]) -> Frame) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/streams").join(name);
    let stream = fs::read(&path).unwrap();
    let context = Context { received: Time(0), zone: Offset(0) };
    let mut rest = stream.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let Frame::Complete { start, end, used } = next(rest) else { panic!("{name}: {} bytes left", rest.len()) };
        let mut event = Event::new(&rest[start..end]);
        parse(
            Choice::Named(wharfinger_formats::FORMATS.iter().find(|row| row.name == format).unwrap()),
            &rest[start..end],
            &context,
            &mut event,
        );
        assert_eq!(event.text(Field::EventClass), Some("container.log"), "{name}: {:?}", event.text(Field::ParseError));
        assert!(event.time(Field::Time).is_some());
        messages.push(event.text(Field::Msg).unwrap_or_default().to_owned());
        rest = &rest[used..];
    }
    messages
}

#[test]
fn what_docker_sent_is_read() {
    let mut framer = LocalFramer::new(1 << 16);
    let local = messages("local-driver.bin", "docker_local", &mut |rest| framer.next(rest));
    let mut framer = MsgpackFramer::new(1 << 16);
    let fluent = messages("fluentd-forward.bin", "fluent", &mut |rest| framer.next(rest));
    let mut framer = Framer::new(1 << 16);
    let gelf = messages("gelf-tcp.bin", "gelf", &mut |rest| framer.next(rest));
    let mut framer = ExportFramer::new(1 << 16);
    let journal = messages("journald.export", "journald", &mut |rest| framer.next(rest));
    // The same lines went through each driver; which stream comes first is not kept, and gelf drops
    // the empty line.
    let sorted = |mut lines: Vec<String>| {
        lines.retain(|line| !line.is_empty());
        lines.sort();
        lines
    };
    let local = sorted(local);
    assert!(local.len() >= 12 && local.iter().any(|line| line.contains("CEF:0|v|p|1|100|n|5|msg=pipe | eq \\= bs")));
    assert_eq!(sorted(fluent), local);
    assert_eq!(sorted(gelf).len(), local.len());
    assert_eq!(sorted(journal).len(), local.len());
}
