//! Addresses of e-mail: `name@host.domain`, also with `%40` as forms write it.
//!
//! Invariant: linear, because no part is longer than RFC 5321 §4.5.3.1 lets it be.

use std::ops::Range;

use super::secrets::{Secret, escape_len};

const RULE: &str = "email";

const LOCAL_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 255;
/// `getty@tty1.service` is a unit of systemd.
const UNITS: &[&[u8]] = &[
    b"service",
    b"socket",
    b"device",
    b"mount",
    b"automount",
    b"swap",
    b"target",
    b"path",
    b"timer",
    b"slice",
    b"scope",
];

/// Every address, in order; none overlaps another.
pub(super) fn find(text: &[u8]) -> impl Iterator<Item = Secret> {
    let mut end = 0;
    memchr::memchr2_iter(b'@', b'%', text).filter_map(move |at| {
        let behind = match text[at] {
            b'@' => at + 1,
            _ if text[at..].starts_with(b"%40") => at + 3,
            _ => return None,
        };
        let range = address(text, end, at, behind)?;
        end = range.end;
        Some(Secret { range, rule: RULE, quotes: None })
    })
}

fn address(text: &[u8], from: usize, at: usize, behind: usize) -> Option<Range<usize>> {
    let before = &text[from.max(at.saturating_sub(LOCAL_BYTES_MAX + 1))..at];
    let len = before.iter().rev().take_while(|byte| is_local(**byte)).count();
    let mut start = at - len;
    start += escape_len(text, start);
    if start >= at || len > LOCAL_BYTES_MAX {
        return None;
    }
    let domain = &text[behind..text.len().min(behind + DOMAIN_BYTES_MAX)];
    let mut len = domain.iter().take_while(|byte| is_domain(**byte)).count();
    // What is too long is cut before a letter, and not within one.
    for _ in 0..3 {
        len -= usize::from(len > 0 && text.get(behind + len).is_some_and(|byte| byte & 0xc0 == 0x80));
    }
    let domain = domain[..len].trim_ascii_end();
    let end = domain.iter().rposition(|byte| !b".-".contains(byte))? + 1;
    let domain = &domain[..end];
    let top = memchr::memrchr(b'.', domain).filter(|dot| *dot > 0)? + 1;
    let top = &domain[top..];
    let is_top = top.len() >= 2 && top.iter().all(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
    (is_top && !UNITS.contains(&top)).then_some(start..behind + end)
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._+-".contains(&byte) || !byte.is_ascii()
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-".contains(&byte) || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_domain_is_cut_between_letters() {
        let text = format!("a@x.{}", "\u{d4d4}".repeat(200));
        let found = shown(&text);
        assert_eq!(found, [&text[..2 + 254]]);
    }

    fn shown(text: &str) -> Vec<&str> {
        find(text.as_bytes()).map(|email| &text[email.range]).collect()
    }

    #[test]
    fn addresses_are_found() {
        for (text, address) in [
            ("mail from <alice@example.com>.", "alice@example.com"),
            ("a.b+c_d-e@mail.example.co.uk.", "a.b+c_d-e@mail.example.co.uk"),
            (r#"{"to":"x\nalice@example.com"}"#, "alice@example.com"),
            ("form: user=alice%40example.com&x=1", "alice%40example.com"),
            ("für jürgen@müller.example!", "jürgen@müller.example"),
            ("=alice@example.com,", "alice@example.com"),
        ] {
            assert_eq!(shown(text), [address], "{text}");
        }
        assert_eq!(shown("a@b.example;c@d.example"), ["a@b.example", "c@d.example"]);
    }

    #[test]
    fn what_is_no_address_is_left() {
        for text in [
            "getty@tty1.service",
            "nginx@sha256:17abc",
            "wharfinger@32473",
            "user@localhost",
            "@example.com",
            "a@.com",
            "a@b.c",
            "100%4 x",
        ] {
            assert_eq!(shown(text), Vec::<&str>::new(), "{text}");
        }
        assert_eq!(shown(&format!("{}@example.com", "a".repeat(65))), Vec::<&str>::new());
    }
}
