//! Which texts of a text stand between quotes: `"…"`, in that `\"…\"`, in that `\\\"…\\\"`.
//!
//! Invariant: one pass, whatever the text.

use std::cell::OnceCell;
use std::ops::Range;

/// No text stands deeper: each depth doubles the backslashes.
const DEPTH_MAX: usize = 6;

/// All of them, looked for when the first is asked for.
pub(super) struct Quotes<'t> {
    text: &'t [u8],
    /// In order of their beginnings.
    all: OnceCell<Vec<Quoted>>,
}

/// One.
pub(super) struct Quoted {
    /// What stands between the quotes. One that never ends goes to the end of what it stands in.
    pub(super) range: Range<usize>,
    /// Backslashes before each of its quotes.
    pub(super) slashes: usize,
    /// The one that it stands in.
    outer: Option<usize>,
}

impl Quoted {
    /// Whether a quote behind so many backslashes ends it: behind its own, or those of backslashes inside besides.
    fn is_ended_by(&self, slashes: usize) -> bool {
        slashes % ((self.slashes + 1) * 2) == self.slashes
    }
}

impl<'t> Quotes<'t> {
    pub(super) fn of(text: &'t [u8]) -> Quotes<'t> {
        Quotes { text, all: OnceCell::new() }
    }

    fn all(&self) -> &[Quoted] {
        self.all.get_or_init(|| Quotes::find(self.text))
    }

    fn find(text: &[u8]) -> Vec<Quoted> {
        let (mut all, mut open) = (Vec::<Quoted>::new(), Vec::<usize>::new());
        for at in memchr::memchr_iter(b'"', text) {
            let slashes = slashes_before(text, at);
            if let Some(depth) = open.iter().position(|index| all[*index].is_ended_by(slashes)) {
                let end = at - all[open[depth]].slashes;
                let is_alone = is_beginning(&text[at + 1..]);
                for index in open.drain(depth..) {
                    let range = &mut all[index].range;
                    range.end = if is_alone { range.start } else { end };
                }
                if !is_alone {
                    continue;
                }
            }
            let outer = open.last().copied();
            let is_next = outer.is_none_or(|outer| slashes == 2 * all[outer].slashes + 1);
            if is_next && (slashes + 1).is_power_of_two() && open.len() < DEPTH_MAX {
                open.push(all.len());
                all.push(Quoted { range: at + 1..text.len(), slashes, outer });
            }
        }
        all
    }

    /// The innermost that such a piece stands in, or is.
    pub(super) fn around(&self, piece: &Range<usize>) -> Option<&Quoted> {
        let last = self.all().partition_point(|quoted| quoted.range.start <= piece.start).checked_sub(1)?;
        let mut quoted = &self.all()[last];
        while quoted.range.end < piece.end {
            quoted = self.outside(quoted)?;
        }
        Some(quoted)
    }

    /// The one that it stands in.
    pub(super) fn outside(&self, quoted: &Quoted) -> Option<&Quoted> {
        quoted.outer.map(|outer| &self.all()[outer])
    }
}

/// Whether a quote before that begins a text: what stands behind the end of one is no letter. So a quote that is
/// alone (`5" disk, password="x"`) does not turn all that follows inside out.
fn is_beginning(behind: &[u8]) -> bool {
    behind.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
}

/// Backslashes before a quote.
pub(super) fn slashes_before(text: &[u8], at: usize) -> usize {
    text[..at].iter().rev().take_while(|byte| **byte == b'\\').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_is_found() {
        for (text, piece, around) in [
            (r#"{"a":"x y"}"#, "y", Some(("x y", 0))),
            (r#"{"a":"x y"}"#, "{", None),
            (r#"{"a":"b","c":5}"#, "5", None),
            (r#"{"a":"say \"x y\" to z"}"#, "y", Some(("x y", 1))),
            (r#"{"a":"say \"x y\" to z"}"#, "z", Some((r#"say \"x y\" to z"#, 0))),
            (r#"{"a":"{\"b\":\"c \\\"d\\\"\"}"}"#, "d", Some(("d", 3))),
            (r#"{\"a\":\"b\"}"#, "b", Some(("b", 1))),
            (r#"{"a":"ends \\","b":"x"}"#, "x", Some(("x", 0))),
            (r#"{"a":"cut \"x"#, "x", Some(("x", 1))),
            (r#"{"a":"not \"closed","b":"x"}"#, "x", Some(("x", 0))),
            (r#"5" disk, a="b x""#, "x", Some(("b x", 0))),
        ] {
            let at = text.rfind(piece).unwrap_or_default();
            let quotes = Quotes::of(text.as_bytes());
            let found = quotes.around(&(at..at + 1)).map(|quoted| (&text[quoted.range.clone()], quoted.slashes));
            assert_eq!(found, around, "{text}");
        }
    }

    #[test]
    fn all_backslashes_count() {
        let text = "\\".repeat(1_000) + "\"";
        assert_eq!(slashes_before(text.as_bytes(), 1_000), 1_000);
    }
}
