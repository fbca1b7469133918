//! Which names occurred before: the one check behind `parse.duplicate_keys` and the emitters' `_dup`.
//!
//! Invariant: an ordinary event costs no allocation, and no choice of names costs more than sorting them.

use std::cmp::Ordering;

use crate::Event;

/// A name and the group it stands in; together they are read as `group.name`.
pub(crate) type Key<'k> = (&'k str, &'k str);

/// The names of extras that equal an earlier one, each once and sorted, joined with commas; none is
/// named that has no name.
pub(crate) fn repeated_names<'e>(
    keys: impl ExactSizeIterator<Item = Key<'e>> + Clone,
    others: impl IntoIterator<Item = &'e str>,
) -> Option<String> {
    let mut wanted = repeats(keys.clone()).into_iter().peekable();
    let mut names: Vec<&str> = others.into_iter().collect();
    if wanted.peek().is_some() {
        // In one pass: both are in order, and there may be a hundred thousand.
        names.extend(keys.enumerate().filter(|(at, _)| wanted.next_if_eq(at).is_some()).map(|(_, (_, name))| name));
    }
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(","))
}

const FEW: usize = 64;

/// The positions of the keys that equal an earlier one, in order.
pub(crate) fn repeats<'k>(keys: impl ExactSizeIterator<Item = Key<'k>> + Clone) -> Vec<usize> {
    if keys.len() > FEW {
        return among_many(keys);
    }
    let mut seen = Seen::default();
    if keys.clone().all(|key| seen.is_new(key)) {
        return Vec::new();
    }
    among_few(keys)
}

/// A bit for each mark: while all bits are new, so are all keys.
pub(crate) struct Seen([u64; 64]);

impl Default for Seen {
    fn default() -> Self {
        Seen([0; 64])
    }
}

impl Seen {
    /// Whether no key before can be the same; it is one of them from now on.
    #[inline]
    pub(crate) fn is_new(&mut self, (group, name): Key<'_>) -> bool {
        self.is_new_mark(mark(group.as_bytes(), name.as_bytes()))
    }

    /// Whether no extra of the event from the `first` on can have the name of another.
    pub(crate) fn all_new(event: &Event<'_>, first: usize) -> bool {
        let mut seen = Seen::default();
        event.extra_key_bytes().skip(first).all(|(group, name)| seen.is_new_mark(mark(group, name)))
    }

    #[inline]
    fn is_new_mark(&mut self, mark: u64) -> bool {
        // The odd number spreads every bit of the mark over the highest twelve.
        let mixed = mark.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_shr(52);
        let bit = 1_u64.wrapping_shl((mixed & 63) as u32);
        self.0.get_mut(mixed.wrapping_shr(6) as usize).is_some_and(|word| {
            let is_new = *word & bit == 0;
            *word |= bit;
            is_new
        })
    }
}

fn among_few<'k>(keys: impl Iterator<Item = Key<'k>> + Clone) -> Vec<usize> {
    let mut found = Vec::new();
    // Length and last bytes of each key: those that differ there need no comparison.
    let mut marks = [0_u64; FEW];
    for (at, key) in keys.clone().enumerate() {
        let mark = mark(key.0.as_bytes(), key.1.as_bytes());
        let (before, rest) = marks.split_at_mut_checked(at).unwrap_or_default();
        if before.contains(&mark) && keys.clone().take(at).any(|other| compare(other, key).is_eq()) {
            found.push(at);
        }
        if let Some(slot) = rest.first_mut() {
            *slot = mark;
        }
    }
    found
}

fn among_many<'k>(keys: impl Iterator<Item = Key<'k>>) -> Vec<usize> {
    let mut sorted: Vec<(usize, Key<'k>)> = keys.enumerate().collect();
    sorted.sort_by(|(_, one), (_, other)| compare(*one, *other));
    let pairs = sorted.iter().zip(sorted.iter().skip(1));
    let mut found: Vec<usize> =
        pairs.filter(|((_, one), (_, other))| compare(*one, *other).is_eq()).map(|(_, (at, _))| *at).collect();
    found.sort_unstable();
    found
}

/// The length, the first byte and the last bytes of a name with its group.
#[inline]
fn mark(group: &[u8], name: &[u8]) -> u64 {
    let dot = if group.is_empty() { 0 } else { b'.' };
    let len = group.len().wrapping_add(usize::from(dot > 0)).wrapping_add(name.len());
    // Where the group ends and the name begins makes no difference.
    let last = match (name, group) {
        ([.., third, second, last], _) => [*last, *second, *third, 0],
        ([second, last], _) => [*last, *second, dot, 0],
        ([last], [.., third]) => [*last, dot, *third, 0],
        ([last], []) => [*last, 0, 0, 0],
        ([], [.., third, second]) => [dot, *second, *third, 0],
        ([], [second]) => [dot, *second, 0, 0],
        ([], []) => [0; 4],
    };
    let first = group.first().or(name.first()).copied().unwrap_or(0);
    (len as u64).wrapping_shl(32) | u64::from(first).wrapping_shl(24) | u64::from(u32::from_le_bytes(last))
}

fn compare(one: Key<'_>, other: Key<'_>) -> Ordering {
    if one.0 == other.0 {
        return one.1.cmp(other.1);
    }
    bytes(one).cmp(bytes(other))
}

fn bytes<'k>((group, name): Key<'k>) -> impl Iterator<Item = u8> + 'k {
    let dot = if group.is_empty() { "" } else { "." };
    group.bytes().chain(dot.bytes()).chain(name.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keys: &[Key<'_>], expected: &[usize]) {
        assert_eq!(repeats(keys.iter().copied()), expected, "{keys:?}");
        // The same keys among many others, which takes the other way.
        let others: Vec<String> = (0..100).map(|number| format!("other {number}")).collect();
        let many: Vec<Key<'_>> = keys.iter().copied().chain(others.iter().map(|name| ("g", name.as_str()))).collect();
        assert_eq!(repeats(many.iter().copied()), expected, "{keys:?}");
    }

    #[test]
    fn equal_means_equal_when_written_out() {
        check(&[], &[]);
        check(&[("a", "b"), ("a", "c"), ("a", "b")], &[2]);
        check(&[("a.b", "c"), ("a", "b.c"), ("", "a.b.c"), ("", "a.b.d")], &[1, 2]);
        check(&[("", "x"), ("", ""), ("x", ""), ("", "x."), ("", "")], &[3, 4]);
    }
}
