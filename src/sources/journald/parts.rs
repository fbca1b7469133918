//! Parts of a line: Docker's log driver `journald` cuts lines at 16 KiB, and says of each part to which line it
//! belongs, which one it is, and whether it is the last.
//!
//! Way of a part here: entry → **held until the last part has come** → one frame of all its entries. Invariants: only
//! what dockerd wrote is joined; an entry is given out once; what is held stays in bounds, and while something is held
//! nothing is appended, so after a crash all of it is read again.

use std::time::{Duration, Instant};

use super::entry;
use crate::sources::weight::Weight;

/// Lines that may be held at once; parts of others are events of their own.
const LINES_MAX: usize = 64;
/// How long the next part may take: the driver writes all of them at once.
pub(super) const WAIT: Duration = Duration::from_secs(2);

/// What is held.
pub(super) struct Parts {
    frame_bytes_max: usize,
    lines: Vec<Line>,
    /// Of all entries since the oldest that is held.
    weight: Weight,
    since: Option<Instant>,
}

/// The parts of one line so far.
struct Line {
    container: Vec<u8>,
    id: Vec<u8>,
    /// The number of the next part.
    next: u64,
    frame: Vec<u8>,
}

/// What an entry says of being a part.
struct Part<'e> {
    container: &'e [u8],
    id: &'e [u8],
    ordinal: u64,
    is_last: bool,
}

impl Parts {
    /// Frames of at most so many bytes: of a longer line the parts beyond are events of their own.
    pub(super) fn new(frame_bytes_max: usize) -> Parts {
        Parts { frame_bytes_max, lines: Vec::new(), weight: Weight::default(), since: None }
    }

    /// When the oldest that is held began to wait.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Takes an entry, and gives `deliver` each frame that is complete.
    pub(super) fn push(&mut self, entry: &[u8], mut deliver: impl FnMut(&[u8])) {
        self.join(entry, &mut deliver);
        if self.lines.is_empty() {
            (self.weight, self.since) = (Weight::default(), None);
            return;
        }
        self.since.get_or_insert_with(Instant::now);
        self.weight.add(entry.len());
        if self.weight.is_full() {
            self.finish(deliver);
        }
    }

    fn join(&mut self, entry: &[u8], deliver: &mut impl FnMut(&[u8])) {
        let Some(part) = part(entry) else { return deliver(entry) };
        let held = self.lines.iter().position(|line| line.container == part.container && line.id == part.id);
        let Some(at) = held else {
            if part.ordinal != 1 || part.is_last || self.lines.len() >= LINES_MAX {
                return deliver(entry);
            }
            let (container, id) = (part.container.to_vec(), part.id.to_vec());
            return self.lines.push(Line { container, id, next: 2, frame: entry.to_vec() });
        };
        let line = &mut self.lines[at];
        // Between two entries stands a blank line.
        if part.ordinal != line.next || line.frame.len() + 1 + entry.len() > self.frame_bytes_max {
            deliver(&self.lines.swap_remove(at).frame);
            return deliver(entry);
        }
        line.frame.push(b'\n');
        line.frame.extend_from_slice(entry);
        line.next += 1;
        if part.is_last {
            deliver(&self.lines.swap_remove(at).frame);
        }
    }

    /// Gives out what is held: the rest is not coming.
    pub(super) fn finish(&mut self, mut deliver: impl FnMut(&[u8])) {
        self.lines.drain(..).for_each(|line| deliver(&line.frame));
        (self.weight, self.since) = (Weight::default(), None);
    }
}

/// None: a whole line, or not dockerd's word.
fn part(entry: &[u8]) -> Option<Part<'_>> {
    let (mut container, mut id, mut ordinal, mut is_last) = (None, None, None, None);
    // Anybody may call a program of his `dockerd`; these two fields the journal sets itself.
    let (mut is_named_so, mut is_root, mut is_its_unit) = (false, false, false);
    for (name, value) in entry::fields(entry) {
        match name {
            b"CONTAINER_ID_FULL" => container = container.or(Some(value)),
            b"CONTAINER_PARTIAL_ID" => id = id.or(Some(value)),
            b"CONTAINER_PARTIAL_ORDINAL" => {
                ordinal = ordinal.or(std::str::from_utf8(value).ok().and_then(|number| number.parse().ok()));
            }
            b"CONTAINER_PARTIAL_LAST" => is_last = is_last.or(Some(value == b"true")),
            b"_COMM" => is_named_so |= value == b"dockerd",
            b"_UID" => is_root |= value == b"0",
            b"_SYSTEMD_UNIT" => is_its_unit |= value == b"docker.service",
            _ => {}
        }
    }
    let is_docker = is_its_unit || (is_named_so && is_root);
    Some(Part { container: container?, id: id?, ordinal: ordinal?, is_last: is_last? }).filter(|_| is_docker)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(id: &str, ordinal: usize, last: bool) -> String {
        let text = "x".repeat(100);
        format!(
            "__CURSOR={id}{ordinal}\n_COMM=dockerd\n_UID=0\nCONTAINER_ID_FULL=c\nCONTAINER_PARTIAL_ID={id}\n\
             CONTAINER_PARTIAL_ORDINAL={ordinal}\nCONTAINER_PARTIAL_LAST={last}\nMESSAGE={text}\n"
        )
    }

    fn pushed(parts: &mut Parts, entries: &[String]) -> Vec<String> {
        let mut frames = Vec::new();
        for entry in entries {
            parts.push(entry.as_bytes(), |frame| frames.push(String::from_utf8(frame.to_vec()).unwrap()));
        }
        frames
    }

    #[test]
    fn parts_are_joined_whatever_stands_between_them() {
        let mut parts = Parts::new(10_000);
        let plain = "__CURSOR=p\n_COMM=dockerd\nMESSAGE=plain\n".to_owned();
        let (a, b) = (|n, last| entry("a", n, last), |n, last| entry("b", n, last));
        let all = [a(1, false), b(1, false), plain.clone(), a(2, false), b(2, true), a(3, true)];
        let frames = pushed(&mut parts, &all);
        let joined = |entries: &[String]| entries.join("\n");
        let expected = [plain, joined(&[b(1, false), b(2, true)]), joined(&[a(1, false), a(2, false), a(3, true)])];
        assert_eq!(frames, expected);
        assert_eq!(parts.since(), None);
    }

    #[test]
    fn what_is_no_next_part_ends_the_line_and_nobody_else_joins() {
        let mut parts = Parts::new(10_000);
        let (one, three) = (entry("a", 1, false), entry("a", 3, true));
        assert_eq!(pushed(&mut parts, &[one.clone(), three.clone()]), [one.clone(), three]);
        // Of a line that began before, and of a process that only says so.
        let late = entry("a", 2, false);
        let forged = entry("a", 2, true).replace("_UID=0", "_UID=1000");
        assert_eq!(pushed(&mut parts, &[late.clone(), one.clone(), forged.clone()]), [late, forged]);
        assert!(parts.since().is_some());
        let mut rest = Vec::new();
        parts.finish(|frame| rest.push(frame.to_vec()));
        assert_eq!(rest, [one.into_bytes()]);
    }

    #[test]
    fn what_is_held_stays_in_bounds() {
        let mut parts = Parts::new(700);
        let entries: Vec<_> = (1..=9).map(|number| entry("a", number, number == 9)).collect();
        let frames = pushed(&mut parts, &entries);
        assert!(frames.iter().all(|frame| frame.len() <= 700), "{frames:?}");
        let mut shown: Vec<_> = frames.iter().flat_map(|frame| frame.matches("__CURSOR=a")).collect();
        assert_eq!(std::mem::take(&mut shown).len(), 9, "each once");
        // Thousands of lines that never end, and others behind them.
        let mut parts = Parts::new(10_000);
        let begun: Vec<_> = (0..5_000).map(|number| entry(&format!("l{number}-"), 1, false)).collect();
        let mut frames = pushed(&mut parts, &begun);
        assert!(parts.lines.len() <= LINES_MAX);
        parts.finish(|frame| frames.push(String::from_utf8(frame.to_vec()).unwrap()));
        frames.sort();
        let mut begun = begun;
        begun.sort();
        assert_eq!(frames, begun);
    }
}
