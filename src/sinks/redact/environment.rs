//! Values of environments: `"Env":["NAME=value"]` as the Engine's API writes them, also in texts of texts, and
//! `-e NAME=value` of commands.

use std::ops::Range;

use super::secrets::{SEPARATORS, Secret, is_name};
use super::values::{bare, quoted, to_quote};

pub(super) const RULE: &str = "env";

/// Whether there may be a value in it.
pub(super) fn is_suspect(text: &[u8]) -> bool {
    members(text).next().is_some() || flags(text).next().is_some()
}

/// Adds every value.
pub(super) fn find(text: &[u8], found: &mut Vec<Secret>) {
    let mut covered = 0;
    for from in members(text) {
        if from >= covered {
            covered = values(text, from, found);
        }
    }
    found.extend(flags(text).map(secret));
}

fn secret(range: Range<usize>) -> Secret {
    Secret { range, rule: RULE, quotes: None }
}

/// Where the list or table behind a name `Env` begins.
fn members(text: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memchr2_iter(b'v', b'V', text).filter_map(|at| {
        let name = text.get(at.checked_sub(2)?..=at)?;
        let rest = text[at + 1..].trim_ascii_start();
        let slashes = rest.iter().take(64).take_while(|byte| **byte == b'\\').count();
        let is_quoted = at > 2 && text[at - 3] == b'"' && rest.get(slashes) == Some(&b'"');
        if !is_quoted || !name.eq_ignore_ascii_case(b"env") {
            return None;
        }
        let rest = rest[slashes + 1..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        rest.first().filter(|byte| b"[{".contains(byte))?;
        Some(text.len() - rest.len())
    })
}

/// The values in a list or table that begins there; where it ends.
fn values(text: &[u8], from: usize, found: &mut Vec<Secret>) -> usize {
    let (is_list, mut at) = (text[from] == b'[', from + 1);
    let mut is_value = is_list;
    while let Some(byte) = text.get(at) {
        match byte {
            b']' | b'}' => return at + 1,
            b'"' | b'\\' => {
                let Some(piece) = quoted(text, at) else { return at + 1 };
                let opening = piece.start - at;
                let inside = &text[piece.clone()];
                let value = match memchr::memchr(b'=', inside) {
                    Some(sign) if is_list => Some(piece.start + sign + 1..piece.end),
                    // An escape may hide the sign.
                    None if is_list => inside.contains(&b'\\').then(|| piece.clone()),
                    _ => is_value.then(|| piece.clone()),
                };
                found.extend(value.filter(|value| !value.is_empty()).map(secret));
                at = (piece.end + opening).min(text.len());
                is_value = is_list;
                continue;
            }
            b':' => is_value = true,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Values behind `-e NAME=` and `--env NAME=`.
fn flags(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut covered = 0;
    memchr::memmem::find_iter(text, b"-e").filter_map(move |at| {
        // What is a value already is not looked at again: that keeps it linear.
        if at < covered {
            return None;
        }
        let is_apart = |before: usize| before == 0 || b" \t\"'\\,[".contains(&text[before - 1]);
        let is_long = text[at..].starts_with(b"-env") && at > 0 && text[at - 1] == b'-' && is_apart(at - 1);
        if !is_long && !is_apart(at) {
            return None;
        }
        let behind = at + if is_long { 4 } else { 2 };
        let gap = text[behind..].iter().take(32).take_while(|byte| b"\"'\\, =\t".contains(byte)).count();
        let name = behind + gap;
        let len = text[name..].iter().take(128).take_while(|byte| is_name(**byte)).count();
        let is_variable = |name: &[u8]| {
            let is_upper = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
            name.first().is_some_and(|first| !first.is_ascii_digit()) && (is_long || name.iter().all(is_upper))
        };
        let is_flag = (!is_long || gap > 0) && is_variable(&text[name..name + len]);
        if !is_flag || text.get(name + len) != Some(&b'=') {
            return None;
        }
        let from = name + len + 1;
        let value =
            quoted(text, from).or_else(|| to_quote(text, name, from)).unwrap_or_else(|| bare(text, from, SEPARATORS));
        covered = value.end;
        (!value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        find(text.as_bytes(), &mut found);
        assert!(is_suspect(text.as_bytes()) || found.is_empty(), "{text}");
        found.into_iter().map(|secret| &text[secret.range]).collect()
    }

    #[test]
    fn values_are_found() {
        let long = "ä".repeat(5_000);
        for (text, values) in [
            (r#"{"Env":["A=b","C=d=e","F"],"User":"x=y"}"#, vec!["b", "d=e"]),
            (r#"msg="form data: {\"Env\":[\"A=b c\",\"B=\"],\"x\":\"A=b\"}""#, vec!["b c"]),
            (r#"{"T":{"C":{"env" : [ "A=]\"b" , "B=["]}},"x":"A=b"}"#, vec![r#"]\"b"#, "["]),
            (r#"{"env":{"A":"b","C":"d"},"x":"y"}"#, vec!["b", "d"]),
            (r#"{"Env":["A\u003db"]}"#, vec![r"A\u003db"]),
            (r#"{"Env":["A=b","PASS=hun"#, vec!["b", "hun"]),
            ("docker run -e MODE=prod --env tier=db --env=X=1 nginx", vec!["prod", "db", "1"]),
            (r#"["docker","run","-e","MODE=a b","nginx"]"#, vec!["a b"]),
            ("docker exec -e A='b c' web sh", vec!["b c"]),
            ("docker exec -eMODE=b web sh", vec!["b"]),
            (&format!("docker exec -e MODE={long} web sh"), vec![&long]),
        ] {
            assert_eq!(shown(text), values, "{text}");
        }
    }

    #[test]
    fn what_is_no_environment_is_left() {
        for text in [
            r#"{"Env":null,"Cmd":["A=b"]}"#,
            r#"{"Cmd":["Env","A=b"]}"#,
            r#"{"Environment":["A=b"]}"#,
            "sed -e s=a=b= file",
            "grep -exec A=b",
            "SRC=10.0.0.1 DST=10.0.0.2",
            "\"env\"",
        ] {
            assert_eq!(shown(text), Vec::<&str>::new(), "{text}");
        }
    }
}
