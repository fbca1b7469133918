//! What must hold of an archive, whatever stands in it: reading ends, what is read is written again as it was,
//! and `verify` is good only where what is sealed is there.

use std::io::Read;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use wharfinger::archive::{Mark, Period, Proof, Question, Reader, Verdict, Watch, holds, prove, verify};
use wharfinger::archive::{OpenStore, Others, verify_part};
use wharfinger::fuzzing::archive::{Memory, checkpoint, head_root, key, note, seal, sealed};
use wharfinger_formats::Time;

/// Stands before the key of each file of the input.
const FILE: &[u8] = b"\n@@ ";
/// An object of the input inflates to no more here; `verify` has to stand what is larger.
const LINES_BYTES_MAX: u64 = 4 << 20;

/// The first byte says whether the seals are signed.
pub fn check(input: &[u8]) {
    crate::planted::plant();
    let Some((kind, input)) = input.split_first() else { return };
    let mut store = Memory::default();
    for file in split(input) {
        let Some(end) = file.iter().position(|byte| *byte == b'\n') else { continue };
        let (key, bytes) = (String::from_utf8_lossy(&file[..end]), &file[end + 1..]);
        check_text(bytes);
        store.0.insert(key.into_owned(), bytes.to_vec());
    }
    if kind % 2 == 1 {
        store.forge(|key, object| lines(key, object, LINES_BYTES_MAX));
    }
    check_store(store);
}

/// Between the marks.
fn split(mut input: &[u8]) -> Vec<&[u8]> {
    let mut files = Vec::new();
    while let Some(at) = input.windows(FILE.len()).position(|window| window == FILE) {
        files.push(&input[..at]);
        input = &input[at + FILE.len()..];
    }
    files.push(input);
    files
}

/// What is read has one spelling: that which is written.
fn check_text(bytes: &[u8]) {
    if let Some(text) = note(bytes) {
        assert!(bytes.starts_with(text.as_bytes()) && text.ends_with('\n'));
    }
    head_root(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(written) = seal(text) {
        assert_eq!(written, text, "a second spelling of a seal");
    }
    if let Some(written) = checkpoint(text) {
        // What follows are extensions; the end of the last line may be missing.
        assert!(format!("{text}\n").replace("\r\n", "\n").starts_with(&written), "{text:?} is read as {written:?}");
    }
    if let Ok(proof) = serde_json::from_str::<Proof>(text) {
        assert!(proof.check(&key()).is_err() || text.contains("seal"), "nothing shows something");
    }
}

fn check_store(store: Memory) {
    let end = Time(1_795_255_200_000_000_000);
    let question = Question { key: key(), deep: true, anchors: Vec::new(), end, others: Others::default() };
    let report = verify(&store, &question, &mut |_, _, _| {}).expect("in memory");
    assert_eq!(report.verdict() == Verdict::Good, report.findings.is_empty());
    for (name, bytes) in &store.0 {
        // Of findings about an object none may be missing.
        if !name.starts_with("seal/") || report.verdict() != Verdict::Good {
            continue;
        }
        let Some((object, hash, records)) = sealed(bytes) else { continue };
        let there = store.0.get(&object).expect("good, so it is there");
        assert_eq!(STANDARD.encode(Sha256::digest(there)), hash, "{object}");
        if let Some(lines) = lines(&object, there, LINES_BYTES_MAX) {
            assert_eq!(lines.len() as u64, records, "{object}");
        }
    }
    check_mark(&store, &question);
    check_lines(&store);
    // Whatever they are, a list of them ends, and a proof is of what was asked.
    let _ = holds(&store);
    if let Ok(Some(proof)) = prove(&store, 7, "00000000000000aa-0000000000000007") {
        assert!(proof.line.contains("00000000000000aa-0000000000000007"));
    }
}

#[derive(Default)]
struct Marks(Vec<Mark>);

impl Watch for Marks {
    fn done(&mut self, _: u64, _: u64, _: u64) {}

    fn reached(&mut self, mark: &Mark) {
        self.0.push(mark.clone());
    }
}

/// A walk that goes on comes to the same.
fn check_mark(store: &Memory, question: &Question) {
    let stores: OpenStore = {
        let store = store.clone();
        Arc::new(move |folder| Arc::new(if folder == "audit" { store.clone() } else { Memory::default() }))
    };
    let walk = |mark, watch: &mut Marks| {
        verify_part(&stores, "audit", question, Period::default(), mark, watch).expect("in memory")
    };
    let mut marks = Marks::default();
    let whole = walk(Mark::default(), &mut marks);
    if let Some(mark) = marks.0.pop() {
        assert!(mark.fits(&stores).expect("in memory"));
        let again = walk(mark, &mut Marks::default());
        assert_eq!(whole[0].findings, again[0].findings);
    }
}

/// What is told of an object is what is in it.
fn check_lines(store: &Memory) {
    let mut reader = Reader::new(Arc::new(store.clone()), Some(key()));
    let Ok(mut objects) = reader.objects(Period::default()) else { return };
    while let Some(Ok(object)) = objects.next() {
        let expected = store.0.get(&object.object).and_then(|bytes| lines(&object.object, bytes, LINES_BYTES_MAX));
        let Ok(mut told) = objects.lines(&object) else { continue };
        let mut number = 0;
        while let Ok(Some(line)) = told.next_line() {
            if let Some(expected) = &expected {
                assert_eq!(expected.get(number).map(Vec::as_slice), Some(line));
            }
            number += 1;
        }
    }
}

/// The lines of an object, by another reader; none if it has no end, or is too large.
fn lines(key: &str, object: &[u8], bytes_max: u64) -> Option<Vec<Vec<u8>>> {
    let inflated: Box<dyn Read> = match key.rsplit('.').next() {
        Some("zst") => Box::new(zstd::Decoder::new(object).ok()?),
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(object)),
        _ => Box::new(object),
    };
    let mut text = Vec::new();
    inflated.take(bytes_max + 1).read_to_end(&mut text).ok()?;
    let lines = text.strip_suffix(b"\n").filter(|_| text.len() as u64 <= bytes_max)?;
    Some(lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
}
