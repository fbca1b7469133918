//! A long line of any pattern costs no more than its length: every parser by name, detection, and every
//! emitter of what came out.
//!
//! What is asked for is 50 ms for 1 MiB, which `cargo test --release --test linear_time` checks, also in
//! `.ci/run`. A debug build gets a shorter line and more time, which only the worst exceeds. Time
//! is that of the processor where the system tells it, so that a busy machine makes nothing slow.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::fs;
use std::time::{Duration, Instant};

use wharfinger_formats::{Choice, Context, EmitContext, Event, FORMATS, Offset, Time, parse};

const SIZE: usize = if cfg!(debug_assertions) { 1 << 16 } else { 1 << 20 };
const LIMIT: Duration = Duration::from_millis(if cfg!(debug_assertions) { 2_000 } else { 50 });

const CONTEXT: Context = Context { received: Time(1_795_255_200_000_000_000), zone: Offset(0) };

/// A beginning and what is repeated behind it.
const PATTERNS: &[(&[u8], &[u8])] = &[
    (b"", b"{"),
    (b"", b"["),
    (b"", b"\""),
    (b"", b"\\"),
    (b"", b" "),
    (b"", b"="),
    (b"", b"\n"),
    (b"", b"\0"),
    (b"", b"\xff"),
    (b"", b"a=b "),
    (b"", b"a=\"b\\\"\" "),
    (b"{", b"\"a\":1,"),
    (b"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"Attributes\":{", b"\"a.b.c\":\"d\","),
    (b"{\"log\":\"", b"\\u0000"),
    (b"{\"log\":\"a\"}", b"{\"log\":\"a\"}"),
    (b"{\"log\":\"a\",\"time\":\"t\"}", b"\n{\"log\":\"a\",\"time\":\"t\"}"),
    (b"", b"{\"log\":\"a"),
    (b"{\"rule\":{\"id\":\"1\"},\"data\":{", b"\"a\":{\"b\":1},"),
    (b"{\"short_message\":\"x\",", b"\"_a\":\"b\","),
    (b"{\"event\":\"", b"a=b "),
    (b"{\"event\":", b"{\"event\":"),
    (b"{\"__CURSOR\":\"s\",\"MESSAGE\":[", b"27,"),
    (b"{\"__CURSOR\":\"s\",\"MESSAGE\":\"", b"time=\\\"x\\\" "),
    (b"__CURSOR=s\n", b"A=\n"),
    (b"__CURSOR=s\n", b"A\n\0\0\0\0\0\0\0\0\n"),
    (b"\x0a\x06stdout", b"\x32\0"),
    (b"\x0a\x06stdout", b"\x38\x01"),
    (b"\x0a\x06stdout\x1a\xff\xff\x3f", b"a"),
    (b"\x94\xa1t\x05\xdf\0\0\x07\xd0", b"\xa1a\xa1b"),
    (b"\x94\xa1t\x05\x81\xa1a", b"\x91"),
    (b"\x94\xa1t\x05\x81\xa1a\xdd\0\x08\0\0", b"\x01\x01"),
    (b"type=X msg=audit(1.5:1): ", b"a=b "),
    (b"type=X msg=audit(1.5:1): ", b"a "),
    (b"type=EXECVE msg=audit(1.5:1): ", b"a0=6162 "),
    (b"type=X msg=audit(1.5:1): msg='", b"msg='"),
    (b"Alert Level: 3; Rule: 1 - ", b"; Location: x;"),
    (b"crit=1 id=1 ", b"component=\"\","),
    (b"<13>Nov 21 09:05:09 h ossec: ", b"crit=1 "),
    (b"time=\"2026-11-21T09:05:11Z\" level=info msg=\"", b"\\\""),
    (b"time=\"2026-11-21T09:05:11Z\" level=info msg=x", b"\ngoroutine"),
    (b"CEF:0|v|p|1|c|n|5|msg=", b"\\="),
    (b"CEF:0|v|p|1|c|n|5|", b"a=b "),
    (b"<13>1 - - - - - ", b"[a b=\"\"]"),
    (b"<13>1 - - - - - ", b"[a b=\"c\"]"),
    (b"<13>1 - - - - - ", b"[a]"),
    (b"<13>1 - - - - - [a", b" b=\"c\""),
    (b"<13>1 - - - - - [wharfinger@32473", b" msg=\"c\""),
    (b"time=\"2026-11-21T09:05:11Z\" level=info msg=x ", b"a=b "),
    (b"time=\"2026-11-21T09:05:11Z\" level=info msg=x ", b"a=\"b\" "),
    (b"time=\"2026-11-21T09:05:11Z\" level=info msg=x ", b"\xc3\xa9=\xc3\xa9 "),
    (b"time=\"2026-11-21T09:05:11Z\" level=info msg=x ", b"= "),
    (b"<13>Nov 21 09:05:11 h dockerd: time=\"2026-11-21T09:05:11Z\" level=info msg=x ", b"a=b "),
    (b"INFO[0069] text  ", b"a=b "),
    (b"{\"level\":\"info\",\"msg\":\"x\",\"time\":\"t\",", b"\"a\":\"b\","),
    (b"2026-11-21T09:03:20Z container exec_start: ", b" ("),
    (b"2026-11-21T09:03:20Z container start x (", b", "),
    (b"2026-11-21T09:03:20Z container start x (", b"a=b, "),
];

/// Time this thread has had a processor; elsewhere than on Linux, time since `start`.
fn now(start: Instant) -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat");
    let nanos = stat.ok().and_then(|stat| stat.split(' ').next()?.parse().ok());
    nanos.map_or(start.elapsed(), Duration::from_nanos)
}

/// Objects in which one long text has an escape, and as many short ones behind it as are read.
const OBJECTS: &[&str] = &[
    r#"{"Type":"container","Action":"start","Actor":{"Attributes":{"#,
    r#"{"rule":{"id":"1"},"agent":{},"data":{"#,
    r#"{"short_message":"x","_":{"#,
    r#"{"event":"x","time":1,"fields":{"#,
    r#"{"log":"x","stream":"stdout","attrs":{"#,
];

/// Each long line, and how it is called when it is slow.
fn lines() -> impl Iterator<Item = (String, Vec<u8>)> {
    let patterns = PATTERNS.iter().map(|(begin, repeat)| {
        let mut line = begin.to_vec();
        while line.len() < SIZE {
            line.extend_from_slice(repeat);
        }
        let shown = format!("{}{}…", String::from_utf8_lossy(begin), String::from_utf8_lossy(repeat));
        (shown.escape_debug().to_string(), line)
    });
    let objects = OBJECTS.iter().flat_map(|begin| {
        [("€", SIZE / 6), ("x", SIZE / 2)].map(|(letter, times)| {
            let long = letter.repeat(times);
            let short = "x".repeat(SIZE / 4_000);
            let short: String = (0..1_980).map(|key| format!(r#","k{key}":"\n{short}""#)).collect();
            (
                format!("{begin} with texts of {letter}"),
                format!(r#"{begin}"long":"\n{long}"{short}}}}}}}"#).into_bytes(),
            )
        })
    });
    patterns.chain(objects)
}

#[test]
fn no_pattern_costs_more_than_its_length() {
    let mut slow = Vec::new();
    let start = Instant::now();
    for (shown, line) in lines() {
        let named =
            FORMATS.iter().filter(|format| format.parse.is_some()).map(|format| (format.name, Choice::Named(format)));
        for (name, choice) in named.chain([("auto", Choice::Auto)]) {
            let mut event = Event::new(&line);
            let since = now(start);
            parse(choice, &line, &CONTEXT, &mut event);
            let took = now(start).saturating_sub(since);
            if took > LIMIT {
                slow.push(format!("{name} took {took:?} of {shown}"));
            }
            if name != "auto" {
                continue;
            }
            for format in FORMATS {
                let Some(emit) = format.emit else { continue };
                let since = now(start);
                emit(&event, &EmitContext::default(), &mut Vec::new());
                let took = now(start).saturating_sub(since);
                if took > LIMIT {
                    slow.push(format!("emitting {} took {took:?} of {shown}", format.name));
                }
            }
        }
    }
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}
