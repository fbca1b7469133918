//! What must hold of compressed files and bodies, whatever bytes they hold.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use wharfinger::fuzzing::{inflated, lines_of};

/// The longest line, and so much of a longer one is kept.
const LINE_MAX: usize = 64;
const HEAD: usize = 1024;
/// The largest body, above what is looked at for its ratio.
const BODY_MAX: usize = 3 << 20;
const RATIO_FROM: usize = 1 << 20;

/// The first byte says what is done with the rest, the second in how large pieces it comes.
pub fn check(input: &[u8]) {
    crate::planted::plant();
    let [kind, step, rest @ ..] = input else { return };
    let step = usize::from(*step).max(1);
    match kind % 4 {
        0 => check_lines(gzip(rest), rest),
        1 => check_lines(zstd::bulk::compress(rest, 1).expect("in memory"), rest),
        2 => {
            assert_eq!(inflated(b"gzip", &gzip(rest), step, BODY_MAX).as_deref(), Some(rest));
            let zstd = zstd::bulk::compress(rest, 1).expect("in memory");
            assert_eq!(inflated(b"zstd", &zstd, step, BODY_MAX).as_deref(), Some(rest));
        }
        _ => check_hostile(rest, step),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

/// A file with that text: each of its lines, and of those that are too long the beginning and the length.
fn check_lines(file: Vec<u8>, text: &[u8]) {
    let mut expected: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if expected.last().is_some_and(|last| last.is_empty()) {
        expected.pop();
    }
    let expected: Vec<_> = expected
        .into_iter()
        .map(|line| match line {
            long if long.len() > LINE_MAX => (long[..long.len().min(HEAD)].to_vec(), long.len() as u64),
            whole => {
                let line = whole.strip_suffix(b"\r").unwrap_or(whole);
                (line.to_vec(), line.len() as u64)
            }
        })
        .collect();
    assert_eq!(lines_of(file, LINE_MAX).expect("just compressed"), expected);
}

/// Bytes that may be anything: what comes out is within the limits, and the same in pieces of any size.
fn check_hostile(bytes: &[u8], step: usize) {
    for (line, length) in lines_of(bytes.to_vec(), LINE_MAX).unwrap_or_default() {
        assert!(line.len() <= HEAD && (length > LINE_MAX as u64 || line.len() as u64 == length));
    }
    let whole = inflated(b"gzip", bytes, bytes.len().max(1), BODY_MAX);
    let of_zstd = inflated(b"zstd", bytes, step, BODY_MAX);
    for body in whole.iter().chain(&of_zstd) {
        assert!(body.len() <= BODY_MAX);
        assert!(body.len() <= RATIO_FROM || body.len() / 100 <= bytes.len(), "a bomb");
    }
    let pieces = inflated(b"gzip", bytes, step, BODY_MAX);
    // In pieces, what is even may look like a bomb before its rest has come.
    assert!(pieces.is_none() || pieces == whole);
    assert!(pieces.is_some() || whole.as_ref().is_none_or(|body| body.len() > RATIO_FROM));
}
