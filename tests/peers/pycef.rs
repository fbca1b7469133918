//! Our CEF as `pycef`, a parser by another hand, reads it.
//!
//! It and the standard are known to differ, and so does what is compared:
//! - It leaves escapes as they are written ("in the extension `\=` is `=`, `\\` is `\`, `\n` a line
//!   end"): values are compared as they are written.
//! - It ends a header at an equals sign or a backslash ("in the header a pipe is written backslash-pipe, a
//!   backslash is doubled, `=` is plain"): headers hold any bytes but these, and of a name with these what
//!   stands before it is compared.
//! - It takes no header with an empty field: ours have none.
//! - Of a label it makes the key of its value, as we do when we read (`cs1Label` names `cs1`).
//! - It ends a value at any white space before a key, also at a line separator of Unicode ("preceded by
//!   at least one ASCII space"); an escaped equals sign tells the two apart, so that none differs here.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use wharfinger_formats::{EmitContext, Event, FORMATS, Field};

use crate::peers_are_off;
use crate::support::peers_folder;

/// Reads lines, writes what pycef makes of each as JSON, or null.
const SCRIPT: &str = "import sys, json, io, pycef
for line in io.TextIOWrapper(sys.stdin.buffer, encoding='utf-8', newline='\\n'):
    print(json.dumps(pycef.parse(line[:-1])))
";

/// Pieces of values in which every character means something to somebody.
const PIECES: &[&str] = &[
    "=",
    "\\",
    "|",
    " ",
    "\n",
    "\r",
    "\t",
    "\"",
    "a",
    "src=10.0.0.1",
    " act=permit",
    "\\n",
    "\\=",
    "CEF:0|",
    "é",
    "\u{2028}",
    "\u{85}",
    "cs1Label=x",
    "{}",
    "'",
    "😀",
    "\0",
    "key",
    "-",
    ",",
];

/// Fields whose values are drawn, and the name under which pycef has them.
const FIELDS: &[(Field, &str)] = &[
    (Field::Action, "act"),
    (Field::Reason, "reason"),
    (Field::UserName, "suser"),
    (Field::FilePath, "filePath"),
    (Field::HttpUrl, "request"),
    (Field::ContainerName, "containerName"),
    (Field::ImageRef, "image"),
    (Field::ExecCommand, "command"),
    (Field::RuleName, "rule_name"),
    (Field::Msg, "msg"),
];

/// Fields of the header in their order, with the names pycef has for them. The last may hold anything.
const HEADER: &[(Field, &str)] = &[
    (Field::DeviceVendor, "DeviceVendor"),
    (Field::DeviceProduct, "DeviceProduct"),
    (Field::DeviceVersion, "DeviceVersion"),
    (Field::EventClass, "DeviceEventClassID"),
    (Field::Name, "Name"),
];

#[test]
fn pycef_reads_the_same_header_whatever_it_holds() {
    if peers_are_off() {
        return;
    }
    let emit = FORMATS.iter().find(|format| format.name == "cef").and_then(|format| format.emit).unwrap();
    let (mut lines, mut expected) = (Vec::new(), Vec::new());
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let is_plain = |text: &str| !text.contains(['=', '\\', '|']);
    for _ in 0..3_000 {
        let mut event = Event::new(b"raw");
        event.set(Field::Action, "start");
        let mut header = Vec::new();
        for (field, name) in HEADER {
            let mut text = drawn(&mut seed);
            if *field != Field::Name {
                text.retain(|char| is_plain(char.encode_utf8(&mut [0; 4])));
            }
            // Without a text the emitter takes another; the shortest limit is that of the version.
            if text.trim_matches(|char: char| char <= ' ').is_empty() || text.len() > 31 {
                text = "x".to_owned();
            }
            event.set(*field, &text);
            if is_plain(&text) {
                header.push((*name, in_header(&text)));
            }
        }
        emit(&event, &EmitContext::default(), &mut lines);
        lines.push(b'\n');
        expected.push(header);
    }
    let read = pycef(&lines);
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
    assert_eq!(read.len(), expected.len());
    for ((read, expected), line) in read.into_iter().zip(expected).zip(lines) {
        let line = String::from_utf8_lossy(line);
        let read = read.unwrap_or_else(|| panic!("pycef refuses {line}"));
        for (name, text) in &expected {
            assert_eq!(read.get(*name), Some(text), "{name} of {line:?}");
        }
        // A header that is read to its end ends there: the extension is the next thing.
        if expected.len() == HEADER.len() {
            assert_eq!((read["Severity"].as_str(), read["act"].as_str()), ("Unknown", "start"), "{line:?}");
        }
    }
}

/// A text as our header has it: "CR/LF are not allowed (a space instead)", nor is any other control.
fn in_header(text: &str) -> String {
    let spaced: String = text.chars().map(|char| if char < ' ' { ' ' } else { char }).collect();
    spaced.trim_matches(' ').to_owned()
}

#[test]
fn pycef_reads_the_same_fields_whatever_they_hold() {
    if peers_are_off() {
        return;
    }
    let emit = FORMATS.iter().find(|format| format.name == "cef").and_then(|format| format.emit).unwrap();
    let (mut lines, mut expected) = (Vec::new(), Vec::new());
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..3_000 {
        let mut event = Event::new(b"raw");
        event.set(Field::EventClass, "container.start");
        let mut fields = BTreeMap::new();
        for (field, name) in FIELDS {
            let text = drawn(&mut seed);
            event.set_text(*field, &text);
            let written = written(&text);
            if !written.is_empty() {
                fields.insert((*name).to_owned(), written);
            }
        }
        let (name, text) = (drawn(&mut seed), drawn(&mut seed));
        event.extra("labels", &name, &text);
        if !written(&text).is_empty() {
            let kept: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
            fields.insert(format!("ad_labels_{kept}"), written(&text));
        }
        emit(&event, &EmitContext::default(), &mut lines);
        lines.push(b'\n');
        expected.push(fields);
    }
    let read = pycef(&lines);
    assert_eq!(read.len(), expected.len());
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
    for ((read, expected), line) in read.into_iter().zip(expected).zip(lines) {
        let line = String::from_utf8_lossy(line);
        let mut read = read.unwrap_or_else(|| panic!("pycef refuses {line}"));
        for (key, value) in
            [("DeviceVendor", "Wharfinger"), ("DeviceEventClassID", "container.start"), ("CEFVersion", "0")]
        {
            assert_eq!(read.remove(key).as_deref(), Some(value), "{line}");
        }
        for key in ["DeviceProduct", "DeviceVersion", "Name", "DeviceName", "Severity", "DeviceSeverity"] {
            read.remove(key);
        }
        assert_eq!(read, expected, "{line}");
    }
}

/// What pycef makes of each line.
fn pycef(lines: &[u8]) -> Vec<Option<BTreeMap<String, String>>> {
    let python = peers_folder().join("pycef/bin/python");
    let mut child = Command::new(&python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; run `tests/setup-peers`", python.display()));
    let mut stdin = child.stdin.take().unwrap();
    let bytes = lines.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "pycef ends with {}", output.status);
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
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

/// A value as the standard writes it.
fn written(text: &str) -> String {
    let spaced: String =
        text.chars().map(|char| if char < ' ' && !matches!(char, '\t' | '\r' | '\n') { ' ' } else { char }).collect();
    let escaped = spaced.trim_matches([' ', '\t']).replace('\\', "\\\\").replace('=', "\\=");
    escaped.replace('\n', "\\n").replace('\r', "\\r")
}
