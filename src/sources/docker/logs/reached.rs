//! How far the output of a container was read, as it is stored, and which lines come again.
//!
//! The engine is asked for what was written since a moment, which it includes. So a stored place is a time, how
//! many lines of each stream had that time, and a hash over them. Each stream is in order, two of them are only
//! nearly so: therefore a second more is asked for. Invariant: a line is called a repeat only while none of its
//! stream was news, and what should have come again and did not is a gap.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wharfinger_formats::Time;

use super::super::glance::SECOND;
use super::cut::LogLine;

/// Where reading of a container's output stands; as JSON the value of its mark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reached {
    pub(super) id: String,
    /// The moment to ask for, nanoseconds since 1970: of the last line, or of one that was begun before.
    since: i64,
    last: [Lines; 2],
    /// The container had ended, and all it had written was read.
    pub(super) ended: bool,
}

/// The last lines of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Lines {
    time: i64,
    /// How many lines of that time were read.
    count: u32,
    /// Over all of them.
    hash: u64,
}

/// Finds out which lines come again.
#[derive(Debug)]
pub(super) struct Resume {
    pub(super) reached: Reached,
    /// For each stream: what must come again, and what of it has.
    awaited: [Option<(Lines, Lines)>; 2],
    /// The time of the last line that was news.
    newest: Option<i64>,
    is_gap: bool,
}

impl Reached {
    /// Before all that a container has written.
    pub(super) fn nothing(id: &str) -> Reached {
        Reached { id: id.to_owned(), ..Reached::default() }
    }

    /// From that moment on.
    pub(super) fn from(id: &str, since: Time) -> Reached {
        Reached { since: since.0, ..Reached::nothing(id) }
    }

    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Reached> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Texts and numbers can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether nothing was read so far.
    pub(super) fn is_nothing(&self) -> bool {
        self.since == 0
    }

    /// What to ask the engine for.
    pub(super) fn since(&self) -> Time {
        let has_lines = self.last.iter().any(|last| last.count > 0);
        Time(if has_lines { self.since.saturating_sub(SECOND).max(0) } else { self.since })
    }
}

impl Lines {
    fn add(&mut self, line: &LogLine<'_>) {
        if self.time != line.time.0 {
            *self = Lines { time: line.time.0, ..Lines::default() };
        }
        let mut hasher = Sha256::new();
        hasher.update(self.hash.to_le_bytes());
        hasher.update(line.bytes_total.to_le_bytes());
        hasher.update(line.text);
        let mut hash = [0; 8];
        hash.copy_from_slice(&hasher.finalize()[..8]);
        self.hash = u64::from_le_bytes(hash);
        self.count = self.count.saturating_add(1);
    }
}

impl Resume {
    /// A new answer of the engine begins, which was asked for what is not `reached`.
    pub(super) fn new(reached: Reached) -> Resume {
        // Of a stream that fell silent before the moment that is asked for nothing comes again.
        let is_awaited = |last: Lines| last.count > 0 && last.time >= reached.since().0;
        let awaited = reached.last.map(|last| is_awaited(last).then(|| (last, Lines::default())));
        Resume { reached, awaited, newest: None, is_gap: false }
    }

    /// Whether the line is news. Notes it.
    pub(super) fn is_new(&mut self, line: &LogLine<'_>) -> bool {
        let stream = line.stream as usize;
        if let Some((last, seen)) = &mut self.awaited[stream] {
            if line.time.0 < last.time {
                return false;
            }
            if line.time.0 == last.time && seen.count < last.count {
                seen.add(line);
                if seen.count == last.count {
                    self.is_gap |= seen.hash != last.hash;
                    self.awaited[stream] = None;
                }
                return false;
            }
            self.is_gap = true;
            self.awaited[stream] = None;
        }
        self.reached.last[stream].add(line);
        self.reached.ended = false;
        // Not the latest of all: the clock may have been set back.
        self.newest = Some(line.time.0);
        true
    }

    /// All lines up to now are in the batch; the earliest that has not ended was begun then.
    pub(super) fn advance(&mut self, open_since: Option<Time>) {
        // While lines come again the old place still is the right one.
        if self.awaited.iter().all(Option::is_none) {
            let newest = self.newest.unwrap_or(self.reached.since);
            self.reached.since = open_since.map_or(newest, |open| open.0.min(newest));
        }
    }

    /// The engine has sent all: what did not come again is gone.
    pub(super) fn end(&mut self) {
        self.is_gap |= self.awaited.iter_mut().filter_map(Option::take).count() > 0;
        self.reached.ended = true;
    }

    /// Whether [`take_gap`](Self::take_gap) has something to say.
    pub(super) fn has_gap(&self) -> bool {
        self.is_gap
    }

    /// Whether lines are missing that were not read; once each time that is found.
    pub(super) fn take_gap(&mut self) -> bool {
        std::mem::take(&mut self.is_gap)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cut::Stream::{self, Stderr, Stdout};
    use super::*;

    fn line(stream: Stream, time: i64, text: &str) -> LogLine<'_> {
        LogLine { stream, time: Time(time), text: text.as_bytes(), bytes_total: text.len() as u64 }
    }

    type Written = [(Stream, i64, &'static str)];

    /// Reads `before`, restarts, is sent `again`: what is new, and is something missing?
    fn check(before: &Written, again: &Written, expected: &[&str], is_gap: bool) {
        let mut resume = Resume::new(Reached::nothing("c1"));
        for (stream, time, text) in before {
            assert!(resume.is_new(&line(*stream, *time, text)));
            resume.advance(None);
        }
        let stored = Reached::of_bytes(&resume.reached.to_bytes());
        assert_eq!(stored.as_ref(), Some(&resume.reached));
        let mut resume = Resume::new(stored.unwrap_or_default());
        let is_new = |(stream, time, text): &&(Stream, i64, &'static str)| resume.is_new(&line(*stream, *time, text));
        let new: Vec<_> = again.iter().filter(is_new).map(|(.., text)| *text).collect();
        resume.end();
        assert_eq!((&*new, resume.take_gap()), (expected, is_gap), "{before:?} {again:?}");
    }

    #[test]
    fn repeats_are_known_and_gaps_are_found() {
        check(&[], &[(Stdout, 5, "a"), (Stdout, 5, "a")], &["a", "a"], false);
        let before = [(Stdout, 4, "a"), (Stdout, 5, "b"), (Stdout, 5, "b")];
        check(&before, &[(Stdout, 5, "b"), (Stdout, 5, "b"), (Stdout, 5, "b"), (Stdout, 6, "c")], &["b", "c"], false);
        check(&before, &[(Stdout, 5, "b"), (Stdout, 5, "b")], &[], false);
        // Rotated away, in part or whole; or another line stands in its place.
        check(&before, &[(Stdout, 5, "b"), (Stdout, 6, "c")], &["c"], true);
        check(&before, &[(Stdout, 6, "c")], &["c"], true);
        check(&before, &[], &[], true);
        check(&before, &[(Stdout, 5, "b"), (Stdout, 5, "x"), (Stdout, 6, "c")], &["c"], true);
    }

    #[test]
    fn each_stream_has_its_own_lines() {
        const S: i64 = SECOND;
        let before = [(Stderr, 3 * S, "old"), (Stdout, 5 * S, "a"), (Stderr, 5 * S, "e")];
        check(&before, &[(Stderr, 5 * S, "e"), (Stdout, 5 * S, "a"), (Stdout, 5 * S, "b")], &["b"], false);
        // One that fell silent before is not missed.
        let before = [(Stderr, 3 * S, "old"), (Stdout, 5 * S, "a")];
        check(&before, &[(Stdout, 5 * S, "a"), (Stderr, 6 * S, "e")], &["e"], false);
        // One that was overtaken by the other is not lost.
        let before = [(Stdout, 5 * S, "a"), (Stderr, 5 * S + 9, "e")];
        let again = [(Stdout, 5 * S, "a"), (Stderr, 5 * S + 9, "e"), (Stdout, 5 * S + 8, "late")];
        check(&before, &again, &["late"], false);
        // After the clock was set back lines come twice rather than never.
        let before = [(Stdout, 9 * S, "a"), (Stdout, 2 * S, "b")];
        check(&before, &[(Stdout, 9 * S, "a"), (Stdout, 2 * S, "b"), (Stdout, 3 * S, "c")], &["a", "b", "c"], true);
    }

    #[test]
    fn a_line_that_was_begun_is_asked_for_from_its_beginning() {
        const S: i64 = SECOND;
        let mut resume = Resume::new(Reached::nothing("c1"));
        assert!(resume.is_new(&line(Stdout, 5 * S, "a")));
        assert!(resume.is_new(&line(Stderr, 9 * S, "e")));
        resume.advance(Some(Time(7 * S)));
        assert_eq!(resume.reached.since(), Time(6 * S));
        let mut resume = Resume::new(resume.reached);
        assert!(resume.is_new(&line(Stdout, 7 * S, "begun")), "stdout was not read that far");
        assert!(!resume.is_new(&line(Stderr, 9 * S, "e")));
        assert!(resume.is_new(&line(Stderr, 10 * S, "f")));
        resume.advance(None);
        assert_eq!((resume.reached.since(), resume.take_gap()), (Time(9 * S), false));
    }
}
