//! Lines per second of each parser and emitter on one core: `taskset -c 0 cargo bench -p wharfinger-formats`.
//!
//! Each row goes over all lines of a folder of fixtures, as the gateway does: one event, reused.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use syslog_loose::{Variant, parse_message_with_year_tz};
use wharfinger_formats::frame::{Frame, Framer};
use wharfinger_formats::{Choice, Context, EmitContext, Event, FORMATS, Format, Offset, Time, parse, stored};

const CONTEXT: Context = Context { received: Time(1_795_251_800_000_000_000), zone: Offset(0) };

/// The lines of `fixtures/<name>`, a file or a folder.
fn lines(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name);
    let mut files = vec![path.clone()];
    if path.is_dir() {
        files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
        files.sort();
    }
    let bytes = files.iter().flat_map(|file| fs::read(file).unwrap()).collect::<Vec<u8>>();
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

/// The corpora: a name for the row, the fixtures, the format they are in.
const CORPORA: &[(&str, &str, &str)] = &[
    ("rfc5424", "rfc5424/audit.log", "rfc5424"),
    ("rfc5424-docker", "rfc5424/docker-driver.log", "rfc5424"),
    ("rfc3164", "rfc3164/wild.log", "rfc3164"),
    ("dockerd", "dockerd/engine20.10-info.log", "dockerd"),
    ("dockerd-requests", "dockerd/engine20.10-requests.log", "dockerd"),
    ("docker_events", "docker-events/engine-28.5.ndjson", "docker_events"),
    ("docker_json", "docker-json/labels-env-tag.log", "docker_json"),
    ("wazuh", "wazuh/alerts.ndjson", "wazuh"),
    ("cef", "cef/firewall.log", "cef"),
    ("journald", "journald/docker-driver.ndjson", "journald"),
    ("journald-dockerd", "journald/dockerd.ndjson", "journald"),
    ("auditd", "auditd/docker-host.log", "auditd"),
    ("wazuh_syslog", "wazuh-syslog/alerts.log", "wazuh_syslog"),
    ("gelf", "gelf/docker-driver.ndjson", "gelf"),
    ("leef", "leef/firewall.log", "leef"),
];

/// What stands beside others: ordinary lines, as they come by the million.
const BESIDE: &[(&str, &str, &str)] = &[
    ("rfc5424", "rfc5424/audit.log", "rfc5424"),
    ("rfc3164", "../formats/benches/corpora/rfc3164.log", "rfc3164"),
    ("dockerd", "dockerd/engine20.10-info.log", "dockerd"),
    ("docker_events", "../formats/benches/corpora/docker-events.ndjson", "docker_events"),
    ("wazuh", "../formats/benches/corpora/wazuh.ndjson", "wazuh"),
];

fn format(name: &str) -> &'static Format {
    FORMATS.iter().find(|format| format.name == name).unwrap()
}

fn parsers(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    for (row, fixtures, name) in CORPORA {
        let lines = lines(fixtures);
        group.throughput(Throughput::Elements(lines.len() as u64));
        for (way, choice) in [("named", Choice::Named(format(name))), ("auto", Choice::Auto)] {
            group.bench_function(format!("{row}/{way}"), |b| {
                let mut kept = Some(Event::new(b""));
                b.iter(|| {
                    for line in &lines {
                        let mut event = kept.take().unwrap_or(Event::new(b"")).reuse(line);
                        parse(choice, line, &CONTEXT, &mut event);
                        black_box(&event);
                        kept = Some(event.reuse(b""));
                    }
                });
            });
        }
    }
    group.finish();
}

fn emitters(c: &mut Criterion) {
    let mut group = c.benchmark_group("emit");
    for format in FORMATS {
        let Some(emit) = format.emit else { continue };
        for (row, fixtures, _) in CORPORA {
            let lines = lines(fixtures);
            group.throughput(Throughput::Elements(lines.len() as u64));
            let events: Vec<Event<'_>> = lines
                .iter()
                .map(|line| {
                    let mut event = Event::new(line);
                    parse(Choice::Auto, line, &CONTEXT, &mut event);
                    event
                })
                .collect();
            group.bench_function(format!("{}/{row}", format.name), |b| {
                let mut out = Vec::new();
                b.iter(|| {
                    for event in &events {
                        out.clear();
                        emit(event, &EmitContext::default(), &mut out);
                        black_box(&out);
                    }
                });
            });
        }
    }
    group.finish();
}

fn journal_records(c: &mut Criterion) {
    let mut group = c.benchmark_group("stored");
    for (row, fixtures, _) in CORPORA {
        let lines = lines(fixtures);
        group.throughput(Throughput::Elements(lines.len() as u64));
        let parsed = |line| {
            let mut event = Event::new(line);
            parse(Choice::Auto, line, &CONTEXT, &mut event);
            event
        };
        let events: Vec<Event<'_>> = lines.iter().map(|line| parsed(line)).collect();
        let stored = |event: &Event<'_>| {
            let mut record = Vec::new();
            stored::encode(event, &mut record);
            record
        };
        let records: Vec<Vec<u8>> = events.iter().map(stored).collect();
        group.bench_function(format!("encode/{row}"), |b| {
            let mut out = Vec::new();
            b.iter(|| {
                for event in &events {
                    out.clear();
                    stored::encode(event, &mut out);
                    black_box(&out);
                }
            });
        });
        group.bench_function(format!("decode/{row}"), |b| {
            let mut kept = Some(Event::new(b""));
            b.iter(|| {
                for record in &records {
                    let event = stored::decode(record, kept.take().unwrap_or(Event::new(b""))).unwrap();
                    kept = Some(black_box(event).reuse(b""));
                }
            });
        });
    }
    group.finish();
}

fn parse_and_emit(c: &mut Criterion) {
    let mut group = c.benchmark_group("convert");
    let lines = lines("rfc5424/audit.log");
    group.throughput(Throughput::Elements(lines.len() as u64));
    for format in FORMATS {
        let Some(emit) = format.emit else { continue };
        group.bench_function(format!("rfc5424/{}", format.name), |b| {
            let mut kept = Some(Event::new(b""));
            let mut out = Vec::new();
            b.iter(|| {
                for line in &lines {
                    let mut event = kept.take().unwrap_or(Event::new(b"")).reuse(line);
                    parse(Choice::Auto, line, &CONTEXT, &mut event);
                    out.clear();
                    emit(&event, &EmitContext::default(), &mut out);
                    black_box(&out);
                    kept = Some(event.reuse(b""));
                }
            });
        });
    }
    group.finish();
}

fn framing(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    let lines = lines("rfc5424/audit.log");
    let trailer: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
    let counted: Vec<u8> =
        lines.iter().flat_map(|line| [line.len().to_string().as_bytes(), b" ", line].concat()).collect();
    group.throughput(Throughput::Elements(lines.len() as u64));
    for (row, stream) in [("lf", trailer), ("octet-counted", counted)] {
        group.bench_function(row, |b| {
            b.iter(|| {
                let mut framer = Framer::new(256 * 1024);
                let mut rest = stream.as_slice();
                while let Frame::Complete { start, end, used } = framer.next(rest) {
                    black_box(&rest[start..end]);
                    rest = &rest[used..];
                }
                assert!(rest.is_empty());
            });
        });
    }
    group.finish();
}

/// The same lines with what others parse them with, one after the other in one run: only the ratios mean
/// something. `syslog_loose` answers borrowed parts, `serde_json` a tree it allocates.
fn beside_others(c: &mut Criterion) {
    let utc = || Some(chrono::Utc);
    for (row, fixtures, name) in BESIDE {
        let mut group = c.benchmark_group(format!("beside/{row}"));
        let lines = lines(fixtures);
        group.throughput(Throughput::Elements(lines.len() as u64));
        group.bench_function("wharfinger", |b| {
            let mut kept = Some(Event::new(b""));
            b.iter(|| {
                for line in &lines {
                    let mut event = kept.take().unwrap_or(Event::new(b"")).reuse(line);
                    parse(Choice::Named(format(name)), line, &CONTEXT, &mut event);
                    black_box(&event);
                    kept = Some(event.reuse(b""));
                }
            });
        });
        let texts: Vec<&str> = lines.iter().map(|line| std::str::from_utf8(line).unwrap()).collect();
        match *name {
            "rfc5424" | "rfc3164" => {
                let variant = if *name == "rfc5424" { Variant::RFC5424 } else { Variant::RFC3164 };
                group.bench_function("syslog_loose", |b| {
                    b.iter(|| {
                        for text in &texts {
                            black_box(parse_message_with_year_tz(text, |_| 2026, utc(), variant));
                        }
                    });
                });
            }
            "dockerd" => {}
            _ => {
                group.bench_function("serde_json::Value", |b| {
                    b.iter(|| {
                        for line in &lines {
                            black_box(serde_json::from_slice::<serde_json::Value>(line).unwrap());
                        }
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, parsers, beside_others, emitters, journal_records, parse_and_emit, framing);
criterion_main!(benches);
