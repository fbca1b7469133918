//! Walks `fixtures/conformance/frames/*.json`: how a stream is cut, by clause.
//!
//! A file is an array of `{name, clause, framer, bytes_max, input | input_base64, expected |
//! expected_base64}`. `expected` lists what comes out: the text of a frame, `~text` for one that was
//! cut, `#bytes head` for one over the limit with its first four bytes, `!reason` for the end of the
//! stream. The framers `datagram` and `chunks` take datagrams; there `!reason` is one that is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects, missing_docs)]

use std::fs;
use std::path::Path;

use serde::Deserialize;
use wharfinger_formats::Time;
use wharfinger_formats::frame::gelf::{Chunks, Datagram};
use wharfinger_formats::frame::{
    ExportFramer, Frame, Framer, LocalFramer, MsgpackFramer, PluginFramer, Scanner, Stream, datagram, relp,
};

#[path = "support/base64.rs"]
mod base64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The clause that says so: shown when the case fails.
    clause: String,
    framer: String,
    bytes_max: usize,
    input: Option<String>,
    input_base64: Option<String>,
    /// One after the other, for what comes in datagrams.
    datagrams_base64: Option<Vec<String>>,
    expected: Option<Vec<String>>,
    expected_base64: Option<Vec<String>>,
}

/// A framer of either kind.
trait Cut {
    fn next(&mut self, input: &[u8]) -> Frame;
    fn finish(&mut self, input: &[u8]) -> Frame;
    fn head(&self) -> &[u8];
}

impl<S: Scanner> Cut for Stream<S> {
    fn next(&mut self, input: &[u8]) -> Frame {
        Stream::next(self, input)
    }
    fn finish(&mut self, input: &[u8]) -> Frame {
        Stream::finish(self, input)
    }
    fn head(&self) -> &[u8] {
        Stream::head(self)
    }
}

impl Cut for Framer {
    fn next(&mut self, input: &[u8]) -> Frame {
        Framer::next(self, input)
    }
    fn finish(&mut self, input: &[u8]) -> Frame {
        Framer::finish(self, input)
    }
    fn head(&self) -> &[u8] {
        Framer::head(self)
    }
}

fn framer(name: &str, max: usize) -> Box<dyn Cut> {
    match name {
        "local" => Box::new(LocalFramer::new(max)),
        "plugin" => Box::new(PluginFramer::new(max)),
        "export" => Box::new(ExportFramer::new(max)),
        "msgpack" => Box::new(MsgpackFramer::new(max)),
        "relp" => Box::new(relp::RelpFramer::new(max)),
        "syslog" => Box::new(Framer::new(max)),
        _ => panic!("no framer `{name}`"),
    }
}

/// What comes out when the bytes arrive in reads of `step`.
fn frames(case: &Case, input: &[u8], step: usize) -> Vec<Vec<u8>> {
    if case.framer == "datagram" {
        return vec![datagram(input).to_vec()];
    }
    let mut framer = framer(&case.framer, case.bytes_max);
    let (mut buffer, mut out) = (Vec::new(), Vec::new());
    for (read, ended) in input.chunks(step).map(|read| (read, false)).chain([(&b""[..], true)]) {
        buffer.extend_from_slice(read);
        loop {
            let frame = if ended { framer.finish(&buffer) } else { framer.next(&buffer) };
            let used = match frame {
                Frame::NeedMore { used } => {
                    buffer.drain(..used);
                    break;
                }
                Frame::Complete { start, end, used } => {
                    out.push(buffer[start..end].to_vec());
                    used
                }
                Frame::Truncated { start, end, used } => {
                    out.push([b"~", &buffer[start..end]].concat());
                    used
                }
                Frame::TooLong { used, bytes_total } => {
                    out.push([format!("#{bytes_total} ").as_bytes(), &framer.head()[..4]].concat());
                    used
                }
                Frame::Malformed(error) => {
                    out.push(format!("!{error}").into_bytes());
                    return out;
                }
            };
            buffer.drain(..used);
        }
    }
    out
}

/// What comes out of datagrams that are chunks of messages.
fn joined(datagrams: &[String], max: usize) -> Vec<Vec<u8>> {
    let mut chunks = Chunks::new(max);
    let mut out = Vec::new();
    for datagram in datagrams {
        match chunks.push(&base64::decode(datagram).unwrap(), Time(0)) {
            Datagram::Whole(message) => out.push(message.to_vec()),
            Datagram::Joined(message) => out.push(message),
            Datagram::Held => {}
            Datagram::Refused(reason) => out.push(format!("!{reason}").into_bytes()),
        }
    }
    out
}

#[test]
fn every_clause_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/conformance/frames");
    let (mut wrong, mut count) = (Vec::new(), 0);
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let cases: Vec<Case> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for case in &cases {
            let input = match (&case.input, &case.input_base64) {
                (Some(text), None) => text.clone().into_bytes(),
                (None, Some(text)) => base64::decode(text).unwrap(),
                (None, None) if case.datagrams_base64.is_some() => Vec::new(),
                _ => panic!("{}: one of `input`, `input_base64` and `datagrams_base64`", case.name),
            };
            let expected: Vec<Vec<u8>> = match (&case.expected, &case.expected_base64) {
                (Some(texts), None) => texts.iter().map(|text| text.clone().into_bytes()).collect(),
                (None, Some(texts)) => texts.iter().map(|text| base64::decode(text).unwrap()).collect(),
                _ => panic!("{}: one of `expected` and `expected_base64`", case.name),
            };
            for step in [1, 2, 7, input.len().max(1)] {
                let got = match &case.datagrams_base64 {
                    Some(datagrams) => joined(datagrams, case.bytes_max),
                    None => frames(case, &input, step),
                };
                if got != expected {
                    let shown = |frames: &[Vec<u8>]| {
                        frames.iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect::<Vec<_>>()
                    };
                    let (got, expected) = (shown(&got), shown(&expected));
                    wrong.push(format!(
                        "{}\n  {}\n  expected {expected:?}\n     found {got:?} in reads of {step}",
                        case.name, case.clause
                    ));
                }
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{} do not hold:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 10, "only {count} cases: the files are missing");
}
