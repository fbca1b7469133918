//! The pairs of an audit record: `key=value`, `key="text"`, and `msg='…'` with pairs of a program inside.
//!
//! Enriched records have the names behind the numbers after a group separator (0x1d).

/// One pair. `plain` is a value without quotes, which may be hex.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair<'l> {
    pub(super) key: &'l str,
    pub(super) value: &'l str,
    pub(super) plain: bool,
}

/// Pairs in their order. What has no `=` is a value without a key.
#[derive(Debug)]
pub(super) struct Pairs<'l> {
    rest: &'l str,
}

impl<'l> Pairs<'l> {
    pub(super) fn new(rest: &'l str) -> Self {
        Pairs { rest }
    }

    fn take(&mut self, len: usize) -> &'l str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}

/// Between pairs; a `'` is left over from `msg='…'`.
fn is_between(char: char) -> bool {
    matches!(char, ' ' | '\u{1d}' | '\'' | '\n' | '\r')
}

impl<'l> Iterator for Pairs<'l> {
    type Item = Pair<'l>;

    fn next(&mut self) -> Option<Pair<'l>> {
        loop {
            self.rest = self.rest.trim_start_matches(is_between);
            if self.rest.is_empty() {
                return None;
            }
            let end = self.rest.find(|char| char == '=' || is_between(char)).unwrap_or(self.rest.len());
            let key = self.take(end);
            let Some(after) = self.rest.strip_prefix('=') else {
                return Some(Pair { key: "", value: key, plain: false });
            };
            self.rest = after;
            if let Some(inside) = after.strip_prefix('\'').filter(|_| key == "msg") {
                // The pairs inside are pairs like all others.
                self.rest = inside;
                continue;
            }
            if let Some(text) = after.strip_prefix('"') {
                self.rest = text;
                let value = self.take(text.find('"').unwrap_or(text.len()));
                self.rest = self.rest.strip_prefix('"').unwrap_or(self.rest);
                return Some(Pair { key, value, plain: false });
            }
            let value = self.take(after.find(is_between).unwrap_or(after.len()));
            return Some(Pair { key, value, plain: true });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_every_kind() {
        let found: Vec<_> = Pairs::new(" a=1 b=\"x y\" msg='op=z t=\"q\" res=1'\u{1d}C=d word e= f=\"open g=h")
            .map(|pair| format!("{}:{}{}", pair.key, pair.value, if pair.plain { "" } else { "!" }))
            .collect();
        assert_eq!(found, ["a:1", "b:x y!", "op:z", "t:q!", "res:1", "C:d", ":word!", "e:", "f:open g=h!"]);
    }
}
