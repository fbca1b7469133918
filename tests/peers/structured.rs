//! Our RFC 5424 as rsyslog reads it: its own parser for the header and the message, its module
//! `mmpstrucdata` for structured data.
//!
//! They and the standard are known to differ, and so does what is compared:
//! - rsyslog writes control characters as `#011` unless told otherwise (RFC 5424 §6.4 allows it): it is told.
//! - `mmpstrucdata` makes names lower-case unless told otherwise (§6.3.3 has names as they are): it is told.
//! - It keeps the last of a PARAM-NAME that comes twice (§6.3.3: "the same PARAM-NAME may exist multiple
//!   times"): none does here.
//! - What control characters of ours become is text to it, as the standard says ("a backslash before anything
//!   else is an ordinary one"): `\n` is a backslash and an n.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value as Json;
use wharfinger_formats::{EmitContext, Event, FORMATS, Field};

use crate::peers_are_off;
use crate::rsyslog::start;
use crate::support::process::{eventually, free_port};

/// Pieces of values in which every character means something to somebody.
const PIECES: &[&str] = &[
    "]",
    "\"",
    "\\",
    "[",
    "=",
    " ",
    "\n",
    "\r",
    "\t",
    "\0",
    "\u{1b}",
    "a",
    "[x@1 a=\"b\"]",
    "\\]",
    "\\\"",
    "\\n",
    "- ",
    "<13>1 - - - - - -",
    "é",
    "😀",
    "\u{2028}",
    "]]",
    "%msg%",
    "key",
];

/// Fields whose values are drawn.
const FIELDS: &[Field] =
    &[Field::ExecCommand, Field::ContainerName, Field::ImageRef, Field::UserName, Field::FilePath, Field::Reason];

#[test]
fn rsyslog_reads_the_same_values_whatever_they_hold() {
    if peers_are_off() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = format!(
        r#"
global(workDirectory="{folder}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off")
module(load="imtcp")
module(load="mmpstrucdata")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="header" type="list" option.jsonf="on") {{
    property(outname="host" name="hostname" format="jsonf")
    property(outname="app" name="app-name" format="jsonf")
    property(outname="msgid" name="msgid" format="jsonf")
    property(outname="msg" name="msg" format="jsonf")
}}
template(name="elements" type="string" string="%$!rfc5424-sd%\n")
action(type="mmpstrucdata" sd_name.lowercase="off")
action(type="omfile" file="{folder}/header.log" template="header")
action(type="omfile" file="{folder}/elements.log" template="elements")
"#,
        folder = folder.path().display(),
    );
    let process = start(folder.path(), "rsyslog-structured", &config);
    process.wait_for_port(port, Duration::from_secs(60));

    let emit = FORMATS.iter().find(|format| format.name == "rfc5424").and_then(|format| format.emit).unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut stream, mut sent) = (Vec::new(), Vec::new());
    for _ in 0..2_000 {
        let mut event = Event::new(b"raw");
        let mut elements: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        event.set(Field::HostName, "vm");
        event.set(Field::App, "app");
        for field in FIELDS {
            let text = drawn(&mut seed);
            event.set_text(*field, &text);
            if !text.is_empty() {
                elements
                    .entry("wharfinger@32473".to_owned())
                    .or_default()
                    .insert(field.name().to_owned(), visible(&text));
            }
        }
        let (name, text) = (drawn(&mut seed), drawn(&mut seed));
        event.extra("labels", &name, &text);
        let labels = elements.entry("labels@32473".to_owned()).or_default();
        // Neither a name nor a value is an element without parameters.
        if !(name.is_empty() && text.is_empty()) {
            labels.insert(param_name(&name), visible(&text));
        }
        let msg = format!("m{}", drawn(&mut seed));
        event.set_text(Field::Msg, &msg);
        if visible(&msg) != msg {
            let own = elements.entry("wharfinger@32473".to_owned()).or_default();
            own.insert("msg".to_owned(), visible(&msg));
        }
        let mut record = Vec::new();
        emit(&event, &EmitContext::default(), &mut record);
        stream.extend_from_slice(format!("{} ", record.len()).as_bytes());
        stream.extend_from_slice(&record);
        sent.push((String::from_utf8(record).unwrap(), visible(&msg), elements));
    }
    TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(&stream).unwrap();
    let lines = |file: &str| -> Vec<Json> {
        let text = fs::read_to_string(folder.path().join(file)).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"))).collect()
    };
    let (headers, elements) = eventually("2,000 messages at rsyslog", Duration::from_secs(30), || {
        let (headers, elements) = (lines("header.log"), lines("elements.log"));
        (headers.len() >= sent.len() && elements.len() >= sent.len()).then_some((headers, elements))
    });
    assert_eq!((headers.len(), elements.len()), (sent.len(), sent.len()), "each record is one message");
    for ((record, msg, expected), (header, elements)) in sent.iter().zip(headers.iter().zip(&elements)) {
        assert_eq!((header["host"].as_str(), header["app"].as_str()), (Some("vm"), Some("app")), "{record}");
        assert_eq!(header["msg"].as_str(), Some(&**msg), "{record}");
        assert_eq!(elements, &serde_json::to_value(expected).unwrap(), "{record}");
    }
}

fn drawn(seed: &mut u64) -> String {
    let mut next = || {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        usize::try_from(*seed >> 33).unwrap()
    };
    (0..next() % 6).map(|_| PIECES[next() % PIECES.len()]).collect()
}

/// A text in which control characters can be seen.
fn visible(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            '\t' => out.push('\t'),
            char if char.is_ascii_control() => out.push_str(&format!("\\x{:02X}", char as u32)),
            char => out.push(char),
        }
    }
    out
}

/// §6.3.3: printable ASCII but for `=`, `]`, `"` and SP, at most 32 characters.
fn param_name(name: &str) -> String {
    let legal = |char: char| if char.is_ascii_graphic() && !"=]\"".contains(char) { char } else { '_' };
    match name {
        "" => "extra".to_owned(),
        name => name.chars().take(32).map(legal).collect(),
    }
}
