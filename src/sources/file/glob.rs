//! Path patterns: `*`, `?` and `[a-z]` within a name, `**` for any number of folders.

use std::path::{Component, Path, PathBuf};

/// How deep `**` goes.
const DEPTH_MAX: usize = 16;

/// A pattern for whole paths.
#[derive(Debug, Clone)]
pub(super) struct Glob {
    /// The folders before the first part with a wildcard.
    root: PathBuf,
    parts: Vec<String>,
}

impl Glob {
    pub(super) fn new(pattern: &Path) -> Self {
        let mut glob = Glob { root: PathBuf::new(), parts: Vec::new() };
        let last = pattern.components().count().saturating_sub(1);
        for (at, part) in pattern.components().enumerate() {
            let text = part.as_os_str().to_string_lossy();
            let is_plain = !matches!(part, Component::Normal(_)) || !text.contains(['*', '?', '[']);
            if is_plain && glob.parts.is_empty() && at < last {
                glob.root.push(part);
            } else {
                glob.parts.push(text.into_owned());
            }
        }
        glob
    }

    /// The folder that holds everything the pattern can match.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn matches(&self, path: &Path) -> bool {
        let Ok(rest) = path.strip_prefix(&self.root) else { return false };
        let names: Vec<_> = rest.components().map(|part| part.as_os_str().to_string_lossy()).collect();
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        parts_match(&self.parts, &names)
    }

    /// Gives every path that exists and matches to `each`. Folders that cannot be read are as if
    /// they were empty.
    pub(super) fn find(&self, each: &mut impl FnMut(PathBuf)) {
        walk(&self.root, &self.parts, DEPTH_MAX, each);
    }
}

fn walk(folder: &Path, parts: &[String], depth: usize, each: &mut impl FnMut(PathBuf)) {
    let Some((part, rest)) = parts.split_first() else { return };
    if part == "**" {
        walk(folder, rest, depth, each);
        if depth > 0 {
            // Links are not followed here: they can lead back.
            let folders = entries(folder).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            folders.for_each(|entry| walk(&entry.path(), parts, depth - 1, each));
        }
        return;
    }
    let mut step = |path: PathBuf| match rest.is_empty() {
        true => each(path),
        false => walk(&path, rest, depth, each),
    };
    if !part.contains(['*', '?', '[']) {
        let path = folder.join(part);
        if path.exists() {
            step(path);
        }
        return;
    }
    entries(folder)
        .filter(|entry| name_matches(part.as_bytes(), entry.file_name().as_encoded_bytes()))
        .for_each(|entry| step(entry.path()));
}

fn entries(folder: &Path) -> impl Iterator<Item = std::fs::DirEntry> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    std::fs::read_dir(folder).into_iter().flatten().flatten()
}

fn parts_match(parts: &[String], names: &[&str]) -> bool {
    match (parts.split_first(), names.split_first()) {
        (None, None) => true,
        (Some((part, rest)), _) if part == "**" => {
            (0..=names.len().min(DEPTH_MAX)).any(|skipped| parts_match(rest, &names[skipped..]))
        }
        (Some((part, parts)), Some((name, names))) => {
            name_matches(part.as_bytes(), name.as_bytes()) && parts_match(parts, names)
        }
        _ => false,
    }
}

/// Linear in the length of both, but for one step back to the last `*`.
pub(in crate::sources) fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    loop {
        if n == name.len() && pattern[p..].iter().all(|byte| *byte == b'*') {
            return true;
        }
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, n));
            p += 1;
        } else if let Some(used) = name.get(n).and_then(|byte| byte_matches(&pattern[p..], *byte)) {
            p += used;
            n += 1;
        } else {
            match star {
                Some((after, from)) if from < name.len() => {
                    star = Some((after, from + 1));
                    (p, n) = (after, from + 1);
                }
                _ => return false,
            }
        }
    }
}

/// How many bytes of the pattern match that byte.
fn byte_matches(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => {
            // A `]` that comes first stands for itself, as in every shell.
            let Some(end) = set.iter().skip(1).position(|byte| *byte == b']').map(|at| at + 1) else {
                return (byte == b'[').then_some(1);
            };
            let (negated, set) = match &set[..end] {
                [b'!' | b'^', rest @ ..] => (true, rest),
                rest => (false, rest),
            };
            let found = set.windows(3).any(|range| range[1] == b'-' && (range[0]..=range[2]).contains(&byte));
            let end = end + 2;
            (negated != (found || set.contains(&byte))).then_some(end)
        }
        [plain, ..] => (*plain == byte).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (pattern, name, expected) in [
            ("*.log", "a.log", true),
            ("*.log", ".log", true),
            ("*.log", "a.log.1", false),
            ("*-json.log*", "abc-json.log.1", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]x", "]x", true),
            ("[x", "[x", true),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "xxaxxcxxbxx", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(name_matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
        let many = "*a".repeat(50);
        assert!(!name_matches(many.as_bytes(), "a".repeat(1000).replace("aaa", "aab").as_bytes().split_at(90).0));
    }

    #[test]
    fn paths() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("containers/abc/deep")).unwrap();
        for name in ["a.log", "b.txt", "containers/abc/abc-json.log", "containers/abc/deep/x.log"] {
            std::fs::write(root.join(name), "").unwrap();
        }
        let find = |pattern: &str| {
            let glob = Glob::new(&root.join(pattern));
            let mut found = Vec::new();
            glob.find(&mut |path| {
                assert!(glob.matches(&path), "{pattern} {}", path.display());
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            });
            found.sort();
            found
        };
        assert_eq!(find("a.log"), ["a.log"]);
        assert_eq!(find("*.log"), ["a.log"]);
        assert_eq!(find("containers/*/*-json.log"), ["containers/abc/abc-json.log"]);
        assert_eq!(find("**/*.log"), ["a.log", "containers/abc/abc-json.log", "containers/abc/deep/x.log"]);
        assert_eq!(find("missing/*.log"), Vec::<String>::new());
        assert_eq!(Glob::new(Path::new("/var/log/*.log")).root(), Path::new("/var/log"));
    }
}
