//! The value of a key, by what the dictionary says it takes.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use super::extension::Extension;
use super::{LENGTH, TIME, TYPE};
use crate::cef::grammar::Pair;
use crate::cef::keys::{KEYS, Known, Takes, family, lookup};
use crate::cef::value::{Place, instant, is_number, unescape, whole};
use crate::{Context, Offset, Time};

impl Extension<'_, '_> {
    pub(super) fn value(&mut self, pair: &Pair, name: &str) {
        let range = pair.value.range();
        let takes = match lookup(name.as_bytes()) {
            Known::Key(key) => KEYS.get(usize::from(key)).map(|key| key.takes),
            _ => family(name.as_bytes()),
        };
        let (Some(takes), false) = (takes, range.is_empty()) else { return };
        let bytes = self.report.bytes(range.clone());
        let written = String::from_utf8_lossy(bytes).into_owned();
        let written = written.trim();
        let wanted = match takes {
            Takes::Text(most) => {
                // What counts is the value, before it was escaped.
                let mut value = String::new();
                unescape(written, Place::Extension, &mut value);
                if value.len() > most {
                    let message = format!("`{name}` has {} bytes; at most {most} are kept", value.len());
                    self.report.say(&LENGTH, range, message);
                }
                return;
            }
            Takes::Time => return self.time(range, name, written),
            Takes::Int | Takes::Port | Takes::Long => match is_outside(name, takes, whole(written)) {
                Some(wanted) => wanted,
                None => return,
            },
            Takes::Float if !is_number(written) => "a number",
            Takes::Float if is_off_the_globe(name, written) => "degrees, at most 90 of latitude and 180 of longitude",
            Takes::Address if self.is_first && written.parse::<Ipv4Addr>().is_err() => {
                if written.parse::<IpAddr>().is_ok() {
                    "an IPv4 address; IPv6 goes to c6a1 to c6a4, or begin with `CEF:1|`"
                } else {
                    "an IPv4 address; a host's name has its own key"
                }
            }
            Takes::Address if written.parse::<IpAddr>().is_err() => "an address; a host's name has its own key",
            Takes::Ipv6 if !written.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) => "an IPv6 address",
            Takes::Mac if !is_mac(written) => "six pairs of hex digits with colons",
            _ => return,
        };
        let shown = self.report.text(range.clone());
        self.report.say(&TYPE, range, format!("`{name}` is `{shown}`; write {wanted}"));
    }

    fn time(&mut self, range: Range<usize>, name: &str, written: &str) {
        let is_digits = written.bytes().all(|byte| byte.is_ascii_digit());
        let message = |what: &str| format!("`{name}` is {what}; write milliseconds since 1970");
        match (is_digits, written.len()) {
            (true, 10) => self.report.fix(&TIME, range, message("in seconds"), format!("{written}000")),
            (true, 16 | 19) => {
                let fix: String = written.chars().take(13).collect();
                self.report.fix(&TIME, range, message("finer than milliseconds"), fix);
            }
            // Of 1970: nobody means that, but for the zero that says nothing is known.
            (true, 2..=11) => {
                self.report.say(&TIME, range, format!("`{name}` is `{written}`, a moment of 1970; write milliseconds"));
            }
            (true, 1 | 12 | 13) => {}
            _ if is_date(written) => {}
            _ => {
                let shown = self.report.text(range.clone());
                self.report.say(&TIME, range, format!("`{name}` is `{shown}`; write milliseconds since 1970"));
            }
        }
    }
}

/// What a key of numbers takes, if the number is something else. A plus sign and zeros before it make it none.
fn is_outside(name: &str, takes: Takes, number: Option<i64>) -> Option<&'static str> {
    let (least, most, wanted) = match (name, takes) {
        ("type", _) => (0, 3, "0 for a base event, 1 aggregated, 2 correlation, 3 action"),
        ("deviceDirection", _) => (0, 1, "0 for inbound, 1 for outbound"),
        (_, Takes::Port) => (0, 65_535, "a port, 0 to 65535"),
        (_, Takes::Int) => (i64::from(i32::MIN), i64::from(i32::MAX), "a whole number of 32 bits"),
        _ => (i64::MIN, i64::MAX, "a whole number of 64 bits"),
    };
    let is_inside = number.is_some_and(|number| (least..=most).contains(&number));
    (!is_inside).then_some(wanted)
}

/// Whether a place is none on earth.
fn is_off_the_globe(name: &str, written: &str) -> bool {
    let most = match name {
        "slat" | "dlat" | "sourceGeoLatitude" | "destinationGeoLatitude" => 90.0,
        "slong" | "dlong" | "sourceGeoLongitude" | "destinationGeoLongitude" => 180.0,
        _ => return false,
    };
    written.parse().is_ok_and(|degrees: f64| degrees.abs() > most)
}

/// Six pairs of hex digits with colons between them.
pub(in super::super) fn is_mac(written: &str) -> bool {
    let pairs: Vec<&str> = written.split(':').collect();
    pairs.len() == 6 && pairs.iter().all(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// `MMM dd [yyyy] HH:mm:ss[.SSS] [zzz]`: the month with a capital letter, the hour with two digits.
pub(in super::super) fn is_date(written: &str) -> bool {
    let context = Context { received: Time(0), zone: Offset(0) };
    let is_month = matches!(written.as_bytes(), [b'A'..=b'Z', b'a'..=b'z', b'a'..=b'z', b' ', ..]);
    let clock = written.split(' ').find(|word| word.contains(':'));
    is_month && clock.is_some_and(|clock| clock.find(':') == Some(2)) && instant(written, &context).is_some()
}
