//! Which events of two files are told as one: those that say the same, and between them those that say
//! most of the same, in the order of both files.
//!
//! Invariant: at most [`EVENTS_MAX`] events and about [`BYTES_MAX`] bytes of each file are held. Every event
//! is answered once, in its order.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::Said;

/// Events of each file that are looked at together; what is moved further is told as missing and as new.
const EVENTS_MAX: usize = 256;
/// The same for files of long lines; one event is held however long it is.
const BYTES_MAX: usize = 16 << 20;
/// Events that have less in common are not the same one: of eight fields, two.
const ALIKE_LEAST: f32 = 0.25;

/// An event and its place in its file, from 1.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) said: Said,
    /// Of each field with its value, in order.
    marks: Vec<u64>,
    bytes: usize,
}

/// What is told next.
#[derive(Debug)]
pub(super) enum Step {
    Both(Entry, Entry),
    One(Entry),
    Other(Entry),
}

/// The events of one file that are not yet told.
#[derive(Debug, Default)]
pub(super) struct Window {
    entries: VecDeque<Entry>,
    count: u64,
    bytes: usize,
    ended: bool,
}

impl Window {
    /// Whether another event is wanted.
    pub(super) fn has_room(&self) -> bool {
        let is_full = self.entries.len() >= EVENTS_MAX || (self.bytes >= BYTES_MAX && !self.entries.is_empty());
        !self.ended && !is_full
    }

    /// Adds what the next event says; fields of `ignored` names make it no other one.
    pub(super) fn push(&mut self, said: Said, ignored: impl Fn(&str) -> bool) {
        self.count += 1;
        let bytes = said.iter().map(|(name, value)| name.len() + value.len()).sum();
        let mut marks: Vec<u64> = said.iter().filter(|(name, _)| !ignored(name)).map(mark).collect();
        marks.sort_unstable();
        self.bytes += bytes;
        self.entries.push_back(Entry { number: self.count, said, marks, bytes });
    }

    /// There are no more.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes;
        Some(entry)
    }
}

fn mark(field: (&String, &String)) -> u64 {
    let mut hasher = DefaultHasher::new();
    field.hash(&mut hasher);
    hasher.finish()
}

/// The next steps, as many as are sure; none at the end of both files.
pub(super) fn next(one: &mut Window, other: &mut Window) -> Vec<Step> {
    let same = one.entries.iter().zip(&other.entries).take_while(|(one, other)| one.marks == other.marks).count();
    if same > 0 {
        return (0..same).filter_map(|_| Some(Step::Both(one.pop()?, other.pop()?))).collect();
    }
    let meeting = meeting(one, other);
    let (ones, others) = meeting.unwrap_or((one.entries.len(), other.entries.len()));
    let path = path(one, other, ones, others);
    // Without an event to go on from, what stands at the end of the windows may belong to what comes next.
    let is_open = meeting.is_none() && !(one.ended && other.ended);
    let enough = if is_open { EVENTS_MAX / 2 } else { usize::MAX };
    let (mut steps, mut taken) = (Vec::new(), (0, 0));
    for pairing in path {
        // A window that is short because its events are long is told at least in part.
        if !steps.is_empty() && (taken.0 >= enough || taken.1 >= enough) {
            break;
        }
        let (of_one, of_other) = (pairing != Pairing::Other, pairing != Pairing::One);
        taken = (taken.0 + usize::from(of_one), taken.1 + usize::from(of_other));
        steps.extend(match (of_one.then(|| one.pop()).flatten(), of_other.then(|| other.pop()).flatten()) {
            (Some(one), Some(other)) => Some(Step::Both(one, other)),
            (Some(one), None) => Some(Step::One(one)),
            (None, Some(other)) => Some(Step::Other(other)),
            (None, None) => None,
        });
    }
    steps
}

/// The nearest events that say the same.
fn meeting(one: &Window, other: &Window) -> Option<(usize, usize)> {
    let mut first: HashMap<&[u64], usize> = HashMap::new();
    for (at, entry) in other.entries.iter().enumerate() {
        first.entry(&entry.marks).or_insert(at);
    }
    let meetings = one.entries.iter().enumerate().filter_map(|(at, entry)| Some((at, *first.get(&*entry.marks)?)));
    meetings.min_by_key(|(one, other)| one + other)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pairing {
    Both,
    One,
    Other,
}

/// How the first events of both files are paired so that all pairs together have most in common.
fn path(one: &Window, other: &Window, ones: usize, others: usize) -> Vec<Pairing> {
    let width = others + 1;
    // What is gained from the cell on; of one file alone nothing is.
    let mut gains = vec![0.0_f32; (ones + 1) * width];
    let mut alikes = vec![0.0_f32; ones * others];
    for at_one in (0..ones).rev() {
        for at_other in (0..others).rev() {
            let alike = alike(&one.entries[at_one].marks, &other.entries[at_other].marks);
            alikes[at_one * others + at_other] = alike;
            let cell = at_one * width + at_other;
            let both = if alike >= ALIKE_LEAST { alike + gains[cell + width + 1] } else { 0.0 };
            gains[cell] = both.max(gains[cell + width]).max(gains[cell + 1]);
        }
    }
    let (mut at_one, mut at_other) = (0, 0);
    let mut path = Vec::new();
    while at_one < ones || at_other < others {
        let cell = at_one * width + at_other;
        let pairing = if at_one == ones {
            Pairing::Other
        } else if at_other == others {
            Pairing::One
        } else {
            let alike = alikes[at_one * others + at_other];
            // The gain of a cell is one of the three sums: it is found again by the same addition.
            match gains[cell] {
                gain if alike >= ALIKE_LEAST && gain == alike + gains[cell + width + 1] => Pairing::Both,
                gain if gain == gains[cell + width] => Pairing::One,
                _ => Pairing::Other,
            }
        };
        at_one += usize::from(pairing != Pairing::Other);
        at_other += usize::from(pairing != Pairing::One);
        path.push(pairing);
    }
    path
}

/// The part of all fields that both say alike, 0 to 1.
fn alike(one: &[u64], other: &[u64]) -> f32 {
    let (mut at_one, mut at_other, mut common) = (0, 0, 0_u32);
    while let (Some(left), Some(right)) = (one.get(at_one), other.get(at_other)) {
        common += u32::from(left == right);
        at_one += usize::from(left <= right);
        at_other += usize::from(left >= right);
    }
    let all = one.len() + other.len();
    if all == 0 { 1.0 } else { 2.0 * common as f32 / all as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters are events that have all in common but one field; `+` and `-` at their places, and `=` where the
    /// letters are the same, `~` where they are not.
    fn told(one: &str, other: &str) -> String {
        let said = |letter: char| {
            let number = u32::from(letter.to_ascii_lowercase());
            let mut said: Said = (0..4).map(|at| (format!("of {number}, {at}"), String::new())).collect();
            said.insert("case".to_owned(), letter.to_string());
            said
        };
        let (mut ones, mut others) = (one.chars().map(said), other.chars().map(said));
        let (mut one, mut other) = (Window::default(), Window::default());
        let mut told = String::new();
        loop {
            for (window, source) in [(&mut one, &mut ones), (&mut other, &mut others)] {
                while window.has_room() {
                    match source.next() {
                        Some(said) => window.push(said, |_| false),
                        None => window.end(),
                    }
                }
            }
            let steps = next(&mut one, &mut other);
            if steps.is_empty() {
                return told;
            }
            told.extend(steps.iter().map(|step| match step {
                Step::Both(one, other) if one.said == other.said => '=',
                Step::Both(..) => '~',
                Step::One(_) => '-',
                Step::Other(_) => '+',
            }));
        }
    }

    #[test]
    fn one_event_more_shifts_no_other() {
        for (one, other, expected) in [
            ("", "", ""),
            ("abc", "abc", "==="),
            ("abc", "ac", "=-="),
            ("ac", "abc", "=+="),
            ("abc", "aBc", "=~="),
            ("abcd", "bCd", "-=~="),
            ("abc", "axc", "=-+="),
            ("abc", "", "---"),
            ("", "ab", "++"),
            ("abcdef", "BCDEF", "-~~~~~"),
        ] {
            assert_eq!(told(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn files_longer_than_the_windows() {
        let many: String = ('a'..='z').cycle().take(2_000).collect();
        let upper = many.to_uppercase();
        // An event missing at the start, then nothing that is the same: the pairs hold over all windows.
        let expected = ["-", &"~".repeat(1_999)].concat();
        assert_eq!(told(&many, &upper[1..]), expected);
        let expected = [&"=".repeat(1_000), "+", &"=".repeat(1_000)].concat();
        assert_eq!(told(&many, &[&many[..1_000], "!", &many[1_000..]].concat()), expected);
    }
}
