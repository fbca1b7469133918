//! Numbers of payment cards: 13 to 19 digits that add up (Luhn, ISO/IEC 7812-1 annex B), in one piece or in the
//! groups that are printed on cards.
//!
//! No card begins with 0 or 1, so no time since 1970 in nano- or microseconds is taken for one before the year 2033,
//! nor a number of an event. Digits that letters follow or stand before are part of an id.

use super::secrets::{Secret, escape_len};

pub(super) const RULE: &str = "card";

const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;
/// Groups as they are printed, the longest first.
const GROUPS: [&[usize]; 4] = [&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];

/// Every number, in order; none overlaps another.
pub(super) fn find(text: &[u8]) -> impl Iterator<Item = Secret> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(ahead) = text.get(at + DIGITS_MIN - 1) {
            // Whatever begins before it goes on there.
            if !(ahead.is_ascii_digit() || is_separator(*ahead)) {
                at += DIGITS_MIN;
            } else if let Some(len) = may_begin(text, at).then(|| card_len(&text[at..])).flatten() {
                let range = at..at + len;
                at += len;
                return Some(Secret { quotes: quotes(text, range.start), range, rule: RULE });
            } else {
                at += 1;
            }
        }
        None
    })
}

fn is_separator(byte: u8) -> bool {
    byte == b' ' || byte == b'-'
}

fn may_begin(text: &[u8], at: usize) -> bool {
    // Of those with 2, cards begin with 22 to 27: 20 is the year of a time.
    let is_year = text[at] == b'2' && !text.get(at + 1).is_some_and(|next| (b'2'..=b'7').contains(next));
    if is_year || !(b'2'..=b'6').contains(&text[at]) {
        return false;
    }
    let is_fraction = || text[..at].ends_with(b".") && at > 1 && text[at - 2].is_ascii_digit();
    match at.checked_sub(1).map(|before| text[before]) {
        // The rest of an escape, `\n` or `%20`.
        Some(byte) if byte.is_ascii_alphanumeric() => {
            (at > 1 && escape_len(text, at - 1) == 1) || (at > 2 && text[at - 3] == b'%')
        }
        _ => !is_fraction(),
    }
}

/// How long the number is that a text begins with.
fn card_len(text: &[u8]) -> Option<usize> {
    let run = text.iter().take(DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
    let ends = |len: usize| !text.get(len).is_some_and(u8::is_ascii_alphanumeric);
    if run >= DIGITS_MIN {
        return (run <= DIGITS_MAX && ends(run) && adds_up(&text[..run])).then_some(run);
    }
    let separator = *text.get(run).filter(|byte| run == 4 && is_separator(**byte))?;
    let len_of = |groups: &&[usize]| groups.iter().sum::<usize>() + groups.len() - 1;
    let fits = |groups: &&[usize]| {
        let mut at = 0;
        groups.iter().enumerate().all(|(number, digits)| {
            let is_apart = number == 0 || text.get(at - 1) == Some(&separator);
            let group = text.get(at..at + digits);
            at += digits + 1;
            is_apart && group.is_some_and(|group| group.iter().all(u8::is_ascii_digit))
        })
    };
    GROUPS.iter().filter(|groups| fits(groups)).map(len_of).find(|len| ends(*len) && adds_up(&text[..*len]))
}

/// Luhn.
fn adds_up(text: &[u8]) -> bool {
    let digits = text.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// A number behind a name of JSON: in its place stands a text.
fn quotes(text: &[u8], at: usize) -> Option<usize> {
    let before = text[..at].trim_ascii_end().strip_suffix(b":")?.trim_ascii_end().strip_suffix(b"\"")?;
    Some(before.iter().rev().take(64).take_while(|byte| **byte == b'\\').count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<&str> {
        find(text.as_bytes()).map(|card| &text[card.range]).collect()
    }

    #[test]
    fn cards_are_found() {
        for (text, card) in [
            // Numbers that card organisations publish for tests.
            ("4111111111111111", "4111111111111111"),
            ("pay 4222222222222 now", "4222222222222"),
            ("378282246310005", "378282246310005"),
            ("30569309025904", "30569309025904"),
            ("6011111111111117", "6011111111111117"),
            ("3530111333300000", "3530111333300000"),
            ("2223003122003222", "2223003122003222"),
            ("card 4111 1111 1111 1111, exp", "4111 1111 1111 1111"),
            ("3782-822463-10005", "3782-822463-10005"),
            ("3056 930902 5904", "3056 930902 5904"),
            ("port 22 4111 1111 1111 1111 exp 12 27", "4111 1111 1111 1111"),
            ("2026-11-22 4111111111111111", "4111111111111111"),
            (r"a\n4111111111111111\n", "4111111111111111"),
            ("n=%204111111111111111&x", "4111111111111111"),
            ("_4111111111111111_", "4111111111111111"),
        ] {
            assert_eq!(shown(text), [card], "{text}");
        }
        let two = "4111111111111111,5555555555554444";
        assert_eq!(shown(two), ["4111111111111111", "5555555555554444"]);
        assert_eq!(find(br#"{"card": 4111111111111111}"#).next().and_then(|card| card.quotes), Some(0));
        assert_eq!(find(br#"{\"card\":4111111111111111}"#).next().and_then(|card| card.quotes), Some(1));
    }

    #[test]
    fn what_is_no_card_is_left() {
        for text in [
            "4111111111111112",
            "a4111111111111111",
            "4111111111111111f",
            "0.4111111111111111",
            "41111111111111110000000000000000",
            "4111 1111 1111 1112",
            "4111 1111-1111 1111",
            "",
        ] {
            assert_eq!(shown(text), Vec::<&str>::new(), "{text}");
        }
    }

    /// Of a thousand stamps in a row a hundred add up; none is a card. Nor is any number of an event or any part
    /// of the id of a container.
    #[test]
    fn ids_and_times_of_ours_are_no_cards() {
        for step in 0..1_000_u64 {
            let nanos = 1_795_251_800_158_734_145 + step * 7_919;
            let (micros, millis) = (nanos / 1_000, nanos / 1_000_000);
            for text in [
                format!(r#"{{"timeNano":{nanos}}}"#),
                format!("{micros} {millis} {}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000),
                format!("{nanos:016x}-{:016}", step * 9_999),
                format!("{:064x}", u128::from(nanos) * u128::from(nanos)),
                format!("550e8400-e29b-41d4-a716-{:012}", 446_655_440_000 + step),
            ] {
                assert_eq!(shown(&text), Vec::<&str>::new(), "{text}");
            }
        }
    }
}
