//! Seals: the text that is signed over each object, and over each silence, gap and change of keys.
//!
//! One line for each fact, in one order. Invariant: a seal has one text alone: what is read is written
//! again and must be the same, so nothing can hide in a second spelling.

use std::fmt::{self, Display, Formatter, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wharfinger_formats::Time;

use super::merkle::Hash;

const FIRST_LINE: &str = "audit-seal/v1";

/// One seal of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seal {
    /// Whose stream it is: the name of the key.
    pub(super) origin: String,
    /// Its number, from 0.
    pub(super) seq: u64,
    /// SHA-256 of the text before; zeros at the first.
    pub(super) prev: Hash,
    /// How often the key has changed before.
    pub(super) epoch: u64,
    pub(super) time: Time,
    pub(super) body: Body,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// An object was written.
    Data(Data),
    /// Nothing has come in since then.
    Empty { since: Time },
    /// Something was lost.
    Gap(Gap),
    /// The key of the next epoch; this seal has the signatures of both.
    Rotate { next: String },
    /// The stream ends here for good.
    Close { reason: String },
}

/// An object and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Data {
    /// Its key.
    pub(super) object: String,
    /// Of the bytes as they are stored.
    pub(super) sha256: Hash,
    pub(super) bytes: u64,
    pub(super) records: u64,
    /// The Merkle root of the lines.
    pub(super) root: Hash,
    /// The first and the last number of the journal that it accounts for.
    pub(super) ingest: (u64, u64),
    /// The earliest and the latest time of an event.
    pub(super) span: (Time, Time),
    pub(super) tally: Tally,
    /// Sorted, each name once.
    pub(super) sources: Vec<Source>,
}

/// What became of the numbers a seal accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub taken: u64,
    pub archived: u64,
    pub filtered: u64,
    pub quarantined: u64,
    pub dropped: u64,
}

impl Tally {
    /// Whether nothing is unaccounted for.
    pub(super) fn adds_up(&self) -> bool {
        let parts = [self.archived, self.filtered, self.quarantined, self.dropped];
        parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(*part)) == Some(self.taken)
    }
}

/// How much of an object a source has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The machine and the source: `vm-17/docker`.
    pub name: String,
    pub records: u64,
    /// Its first and its last number.
    pub first: u64,
    pub last: u64,
}

/// What was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub source: String,
    /// When, as far as that is known.
    pub from: Option<Time>,
    pub to: Option<Time>,
    /// How many events, if that is known.
    pub missing: Option<u64>,
    pub cause: String,
}

/// A time as seals write it.
pub(super) struct Millis(pub(super) Time);

impl Display for Millis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        self.0.write_rfc3339(3, &mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// A fact that may be unknown.
struct Known<T>(Option<T>);

impl<T: Display> Display for Known<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(known) => known.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// A hash in base64.
pub(super) struct Base64<'h>(pub(super) &'h Hash);

impl Display for Base64<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

/// Text from outside as part of a line: no control character gets in, and nothing that some reader takes
/// for a line end.
struct Line<'t>(&'t str);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is_odd = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
        self.0.chars().try_for_each(|letter| f.write_char(if is_odd(letter) { ' ' } else { letter }))
    }
}

impl Display for Seal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = match &self.body {
            Body::Data(_) => "data",
            Body::Empty { .. } => "empty",
            Body::Gap(_) => "gap",
            Body::Rotate { .. } => "rotate",
            Body::Close { .. } => "close",
        };
        writeln!(f, "{FIRST_LINE}\norigin {}\nseq {}\nprev {}", self.origin, self.seq, Base64(&self.prev))?;
        writeln!(f, "epoch {}\ntype {kind}\ntime {}", self.epoch, Millis(self.time))?;
        match &self.body {
            Body::Data(data) => data.fmt(f),
            Body::Empty { since } => writeln!(f, "since {}", Millis(*since)),
            Body::Gap(gap) => {
                let time = |time: Option<Time>| Known(time.map(Millis));
                writeln!(f, "source {}\nfrom {}\nto {}", Line(&gap.source), time(gap.from), time(gap.to))?;
                writeln!(f, "missing {}\ncause {}", Known(gap.missing), Line(&gap.cause))
            }
            Body::Rotate { next } => writeln!(f, "next {next}"),
            Body::Close { reason } => writeln!(f, "reason {}", Line(reason)),
        }
    }
}

impl Display for Data {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "object {}\nsha256 {}\nbytes {}", self.object, Base64(&self.sha256), self.bytes)?;
        writeln!(f, "records {}\nrecords-root {}", self.records, Base64(&self.root))?;
        writeln!(f, "ingest {} {}", self.ingest.0, self.ingest.1)?;
        writeln!(f, "span {} {}", Millis(self.span.0), Millis(self.span.1))?;
        let Tally { taken, archived, filtered, quarantined, dropped } = self.tally;
        writeln!(
            f,
            "tally in={taken} archived={archived} filtered={filtered} quarantined={quarantined} dropped={dropped}"
        )?;
        self.sources.iter().try_for_each(|source| {
            let Source { name, records, first, last } = source;
            writeln!(f, "source {} records={records} first={first} last={last}", Line(name))
        })
    }
}

impl Seal {
    /// Reads the text of a seal.
    ///
    /// # Errors
    /// Which line is not as it must be.
    pub(super) fn parse(text: &str) -> Result<Seal, String> {
        let mut lines = Lines { rest: text };
        if lines.line() != Some(FIRST_LINE) {
            return Err(format!("the first line is not `{FIRST_LINE}`"));
        }
        let origin = lines.fact("origin")?.to_owned();
        let seq = number(lines.fact("seq")?)?;
        let prev = hash(lines.fact("prev")?)?;
        let epoch = number(lines.fact("epoch")?)?;
        let kind = lines.fact("type")?;
        let time = millis(lines.fact("time")?)?;
        let body = match kind {
            "data" => Body::Data(Data::parse(&mut lines)?),
            "empty" => Body::Empty { since: millis(lines.fact("since")?)? },
            "gap" => Body::Gap(Gap {
                source: lines.fact("source")?.to_owned(),
                from: known(lines.fact("from")?, millis)?,
                to: known(lines.fact("to")?, millis)?,
                missing: known(lines.fact("missing")?, number)?,
                cause: lines.fact("cause")?.to_owned(),
            }),
            "rotate" => Body::Rotate { next: lines.fact("next")?.to_owned() },
            "close" => Body::Close { reason: lines.fact("reason")?.to_owned() },
            other => return Err(format!("`{other}` is no type of seal")),
        };
        let seal = Seal { origin, seq, prev, epoch, time, body };
        match planted!("archive") || seal.to_string() == text {
            true => Ok(seal),
            false => Err("it is not written as seals are".to_owned()),
        }
    }
}

impl Data {
    fn parse(lines: &mut Lines<'_>) -> Result<Data, String> {
        let object = lines.fact("object")?.to_owned();
        let sha256 = hash(lines.fact("sha256")?)?;
        let bytes = number(lines.fact("bytes")?)?;
        let records = number(lines.fact("records")?)?;
        let root = hash(lines.fact("records-root")?)?;
        let ingest = two(lines.fact("ingest")?, number)?;
        if ingest.0 > ingest.1 {
            return Err("its numbers end before they begin".to_owned());
        }
        let span = two(lines.fact("span")?, millis)?;
        let tally = lines.fact("tally")?;
        let [taken, archived, filtered, quarantined, dropped] =
            amounts(tally, ["in=", "archived=", "filtered=", "quarantined=", "dropped="])?;
        let tally = Tally { taken, archived, filtered, quarantined, dropped };
        let mut sources: Vec<Source> = Vec::new();
        while !lines.rest.is_empty() {
            let line = lines.fact("source")?;
            let (name, rest) = line.split_once(" records=").ok_or_else(|| format!("`{line}` is no source"))?;
            let rest = format!("records={rest}");
            let [records, first, last] = amounts(&rest, ["records=", "first=", "last="])?;
            if sources.last().is_some_and(|before| *before.name >= *name) {
                return Err("its sources are not in order".to_owned());
            }
            sources.push(Source { name: name.to_owned(), records, first, last });
        }
        Ok(Data { object, sha256, bytes, records, root, ingest, span, tally, sources })
    }
}

/// The lines that are left.
struct Lines<'t> {
    rest: &'t str,
}

impl<'t> Lines<'t> {
    fn line(&mut self) -> Option<&'t str> {
        let (line, rest) = self.rest.split_once('\n')?;
        self.rest = rest;
        Some(line)
    }

    /// What the next line says about `name`.
    fn fact(&mut self, name: &str) -> Result<&'t str, String> {
        let line = self.line().unwrap_or_default();
        let fact = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
        fact.ok_or_else(|| format!("a line should begin with `{name} `"))
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn millis(text: &str) -> Result<Time, String> {
    let read = Time::parse_rfc3339(text.as_bytes()).filter(|(_, used)| *used == text.len());
    read.map(|(time, _)| time).ok_or_else(|| format!("`{text}` is no time"))
}

/// Reads a hash in base64.
pub(super) fn hash(text: &str) -> Result<Hash, String> {
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| format!("`{text}` is no SHA-256 in base64"))
}

fn known<T>(text: &str, read: fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text == "unknown" { Ok(None) } else { read(text).map(Some) }
}

fn two<T>(text: &str, read: fn(&str) -> Result<T, String>) -> Result<(T, T), String> {
    let (first, last) = text.split_once(' ').ok_or_else(|| format!("`{text}` is not two"))?;
    Ok((read(first)?, read(last)?))
}

fn amounts<const N: usize>(text: &str, names: [&str; N]) -> Result<[u64; N], String> {
    let mut amounts = [0; N];
    let mut words = text.split(' ');
    for (amount, name) in amounts.iter_mut().zip(names) {
        let word = words.next().and_then(|word| word.strip_prefix(name));
        *amount = number(word.ok_or_else(|| format!("`{text}` has no `{name}`"))?)?;
    }
    Ok(amounts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::super::merkle::{Tree, leaf, sha256};
    use super::super::note::{Note, SigningKey, sign};
    use super::*;

    const LINES: [&str; 3] = [r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c":3}"#];
    const NOON: Time = Time(1_795_251_600_000_000_000);

    fn vector() -> Seal {
        let stored = LINES.map(|line| format!("{line}\n")).concat();
        let mut tree = Tree::default();
        LINES.iter().for_each(|line| tree.push(leaf(line.as_bytes())));
        let data = Data {
            object: "data/2026/11/21/000000000000.jsonl".to_owned(),
            sha256: sha256(stored.as_bytes()),
            bytes: stored.len() as u64,
            records: 3,
            root: tree.root(),
            ingest: (0, 2),
            span: (Time(NOON.0 - 2_000_000_000), Time(NOON.0 - 500_000_000)),
            tally: Tally { taken: 3, archived: 3, ..Tally::default() },
            sources: vec![Source { name: "vm-17/docker".to_owned(), records: 3, first: 0, last: 2 }],
        };
        let origin = "gw-01.example/audit".to_owned();
        Seal { origin, seq: 0, prev: [0; 32], epoch: 0, time: NOON, body: Body::Data(data) }
    }

    /// Without its signature.
    pub(in super::super) fn vector_text() -> String {
        vector().to_string()
    }

    /// The test vector of the format, byte for byte.
    const VECTOR: &str = "audit-seal/v1
origin gw-01.example/audit
seq 0
prev AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
epoch 0
type data
time 2026-11-21T09:00:00.000Z
object data/2026/11/21/000000000000.jsonl
sha256 7xw82c18DPCwt7dFr7yFPRx+6+E086tbiWUP8GxDHjc=
bytes 24
records 3
records-root FaeAyGKD1CyME604W/lnlPK2G+zyLO/wjQJV4FUch48=
ingest 0 2
span 2026-11-21T08:59:58.000Z 2026-11-21T08:59:59.500Z
tally in=3 archived=3 filtered=0 quarantined=0 dropped=0
source vm-17/docker records=3 first=0 last=2

— gw-01.example/audit I6yl2qKPwep5s6MAGKsjPXR0IfnVtJsoDlSaiKwQ6mG9YK+wSW5xdo570nxXS2rl+t7TDFQe9w+ydm8nizvpPwg1vQY=
";

    #[test]
    fn the_test_vector_byte_for_byte() {
        let key = SigningKey::from_seed("gw-01.example/audit", [1; 32]).unwrap();
        let text = vector().to_string();
        assert_eq!(sign(&text, &[&key]).unwrap(), VECTOR);
        let note = Note::parse(VECTOR.as_bytes()).unwrap();
        assert!(note.is_signed_by(key.verifying()));
        assert_eq!(Seal::parse(note.text).unwrap(), vector());
        assert_eq!(Base64(&sha256(text.as_bytes())).to_string(), "1Q0DV1UqR3CnqZcpV45prB2Z0WL/cARDlaFcjFR72mY=");
    }

    #[test]
    fn every_kind_is_read_as_it_was_written_and_no_text_gets_a_line_of_its_own() {
        let hostile = "a\nseq 7\r\nb\u{2028}type close\u{85}".to_owned();
        let gap = Gap { source: hostile.clone(), from: None, to: Some(NOON), missing: None, cause: hostile.clone() };
        for body in [
            Body::Empty { since: NOON },
            Body::Gap(gap),
            Body::Rotate { next: "k+00000000+AAAA".to_owned() },
            Body::Close { reason: hostile },
        ] {
            let seal = Seal { body, seq: 9, epoch: 2, ..vector() };
            let text = seal.to_string();
            let read = Seal::parse(&text).unwrap();
            assert!(!text.contains(['\u{2028}', '\u{85}', '\r']), "{text:?}");
            assert_eq!((read.seq, read.to_string()), (9, text));
        }
    }

    #[test]
    fn a_second_spelling_is_refused() {
        let text = vector().to_string();
        for (from, to) in [
            ("seq 0", "seq 00"),
            ("seq 0", "seq +0"),
            ("09:00:00.000Z", "09:00:00Z"),
            ("bytes 24", "bytes  24"),
            ("type data", "type date"),
            ("dropped=0\n", "dropped=0 \n"),
            ("last=2\n", "last=2\nsource vm-1/docker records=0 first=0 last=0\n"),
            ("last=2\n", "last=2\nmore 1\n"),
            ("audit-seal/v1", "audit-seal/v2"),
        ] {
            let wrong = text.replace(from, to);
            assert_ne!(wrong, text);
            assert!(Seal::parse(&wrong).is_err(), "{to}");
        }
        assert!(Seal::parse(&text[..text.len() - 1]).is_err());
    }
}
