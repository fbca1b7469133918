//! Instants in nanoseconds since 1970 (UTC), and the zone of timestamps that name none.

/// Nanoseconds since 1970-01-01T00:00:00Z; years 1678 to 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(
    /// Nanoseconds since the epoch.
    pub i64,
);

/// Seconds east of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offset(
    /// Seconds, at most a day in either direction.
    pub i32,
);

/// A calendar time without a zone, each part checked to be in its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// 1678 to 2261.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to the month's last day.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60; 60 is read as the first second of the next minute.
    pub second: u8,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

const NANOS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

impl Time {
    /// From whole seconds and nanoseconds; `None` outside the range.
    pub fn from_unix(seconds: i64, nanos: u32) -> Option<Time> {
        // Wide: the first second of all begins before the earliest time.
        let wide = i128::from(seconds).checked_mul(i128::from(NANOS))?.checked_add(i128::from(nanos))?;
        Some(Time(i64::try_from(wide).ok()?))
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(NANOS)
    }

    /// Nanoseconds after [`Time::seconds`].
    pub fn subsec_nanos(self) -> u32 {
        u32::try_from(self.0.rem_euclid(NANOS)).unwrap_or(0)
    }

    /// Milliseconds since the epoch, rounded down.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The calendar time in UTC.
    pub fn civil(self) -> Civil {
        let seconds = self.seconds();
        let (year, month, day) = civil_from_days(seconds.div_euclid(DAY));
        let of_day = u32::try_from(seconds.rem_euclid(DAY)).unwrap_or(0);
        let of_hour = of_day.rem_euclid(3_600);
        let small = |n: u32| u8::try_from(n).unwrap_or(0);
        Civil {
            year,
            month,
            day,
            hour: small(of_day.div_euclid(3_600)),
            minute: small(of_hour.div_euclid(60)),
            second: small(of_hour.rem_euclid(60)),
            nanos: self.subsec_nanos(),
        }
    }

    /// Appends RFC 3339 in UTC with `digits` (0 to 9) fraction digits: `2026-11-21T09:00:00.000Z`. Rounded down,
    /// but in the first second of all: what is written is always a time.
    pub fn write_rfc3339(self, digits: u8, out: &mut Vec<u8>) {
        let (block, len) = self.rfc3339(digits);
        out.extend_from_slice(block.get(..len).unwrap_or_default());
    }

    /// The same as the first bytes of a block, and how many they are.
    fn rfc3339(self, digits: u8) -> ([u8; 32], usize) {
        let c = if digits < 9 { Time(self.0.max(i64::MIN + 999_999_999)).civil() } else { self.civil() };
        let year = u32::try_from(c.year).unwrap_or(0);
        // Nine digits: four, four and the last one.
        let (first, rest) = (c.nanos.div_euclid(100_000), c.nanos.rem_euclid(100_000));
        let second = rest.div_euclid(10);
        let [_, last] = pair(rest.rem_euclid(10));
        let mut block = *b"0000-00-00T00:00:00.000000000Z\0\0";
        let pairs = [
            (0, pair(year.div_euclid(100))),
            (2, pair(year.rem_euclid(100))),
            (5, pair(c.month.into())),
            (8, pair(c.day.into())),
            (11, pair(c.hour.into())),
            (14, pair(c.minute.into())),
            (17, pair(c.second.into())),
            (20, pair(first.div_euclid(100))),
            (22, pair(first.rem_euclid(100))),
            (24, pair(second.div_euclid(100))),
            (26, pair(second.rem_euclid(100))),
            (28, [last, b'Z']),
        ];
        for (at, pair) in pairs {
            if let Some(place) = block.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                *place = pair;
            }
        }
        let len = match digits {
            0 => 20,
            _ => usize::from(digits.min(9)).saturating_add(21),
        };
        if let Some(last) = block.get_mut(len.saturating_sub(1)) {
            *last = b'Z';
        }
        (block, len)
    }

    /// Reads RFC 3339 at the start of `input`; answers the instant and the bytes used.
    ///
    /// Lenient where the wild is: lower-case `t` and `z`, a space for `T`, 0 to 9 fraction digits
    /// (more are cut), and an offset without a colon (`+0200`, as Wazuh writes it).
    pub fn parse_rfc3339(input: &[u8]) -> Option<(Time, usize)> {
        let (civil, at) = Civil::parse_rfc3339(input)?;
        let (offset, used) = Offset::parse(input.get(at..)?)?;
        Some((civil.to_time(offset)?, at.checked_add(used)?))
    }

    /// The same of a text that holds nothing else.
    pub(crate) fn of_text(text: &str) -> Option<Time> {
        Self::parse_rfc3339(text.as_bytes()).filter(|(_, used)| *used == text.len()).map(|(time, _)| time)
    }

    /// The same, and a time without an offset is one of `zone`.
    pub(crate) fn parse_rfc3339_in(input: &[u8], zone: Offset) -> Option<(Time, usize)> {
        let (civil, at) = Civil::parse_rfc3339(input)?;
        let (offset, used) = Offset::parse(input.get(at..)?).unwrap_or((zone, 0));
        Some((civil.to_time(offset)?, at.checked_add(used)?))
    }
}

impl Offset {
    /// Reads `Z`, `z`, `±hh:mm` or `±hhmm` at the start of `input`; answers the bytes used.
    pub fn parse(input: &[u8]) -> Option<(Offset, usize)> {
        let sign = match input.first()? {
            b'Z' | b'z' => return Some((Offset(0), 1)),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (minutes_at, used) = if input.get(3) == Some(&b':') { (4, 6) } else { (3, 5) };
        let hours = number(input.get(1..3)?)?;
        let minutes = number(input.get(minutes_at..used)?)?;
        if hours > 23 || minutes > 59 {
            return None;
        }
        let seconds = hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60)?;
        Some((Offset(i32::try_from(seconds).ok()?.checked_mul(sign)?), used))
    }

    /// The offset that a time of RFC 3339 at the start of `input` names.
    pub(crate) fn of_rfc3339(input: &[u8]) -> Option<Offset> {
        let (_, at) = Civil::parse_rfc3339(input)?;
        Offset::parse(input.get(at..)?).map(|(offset, _)| offset)
    }
}

impl Civil {
    /// The part of RFC 3339 before the offset; answers the bytes used.
    #[inline]
    fn parse_rfc3339(input: &[u8]) -> Option<(Civil, usize)> {
        let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't' | b' ', hms @ ..] = input.first_chunk::<19>()?
        else {
            return None;
        };
        let [h1, h2, b':', n1, n2, b':', s1, s2] = hms else { return None };
        let (nanos, at) = match input.get(19) {
            Some(b'.' | b',') => fraction(input, 20)?,
            _ => (0, 19),
        };
        let century = i32::from(two_digits(*y1, *y2)?);
        let civil = Civil {
            year: century.wrapping_mul(100).wrapping_add(two_digits(*y3, *y4)?.into()),
            month: two_digits(*m1, *m2)?,
            day: two_digits(*d1, *d2)?,
            hour: two_digits(*h1, *h2)?,
            minute: two_digits(*n1, *n2)?,
            second: two_digits(*s1, *s2)?,
            nanos,
        };
        Some((civil, at))
    }

    /// The instant, when every part is in its range.
    #[inline]
    pub fn to_time(self, offset: Offset) -> Option<Time> {
        let in_range = (1..=12).contains(&self.month)
            && (1..=days_in_month(self.year, self.month)).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second <= 60
            && self.nanos < 1_000_000_000;
        if !in_range {
            return None;
        }
        let of_day = u32::from(self.hour).wrapping_mul(3600).wrapping_add(u32::from(self.minute).wrapping_mul(60));
        let of_day = i64::from(of_day.wrapping_add(self.second.into()));
        let days = days_from_civil(self.year, self.month, self.day)?;
        // Days are at most 3,000,000 either way: only the nanoseconds can overflow.
        let seconds = days.wrapping_mul(DAY).wrapping_add(of_day).wrapping_sub(offset.0.into());
        Time::from_unix(seconds, self.nanos)
    }
}

/// The last day of a month.
pub(crate) fn days_in_month(year: i32, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Whether February has 29 days: of the hundreds, those that 400 divides, which are those that 16 divides.
pub(crate) fn is_leap(year: i32) -> bool {
    year & 3 == 0 && (year.rem_euclid(100) != 0 || year & 15 == 0)
}

/// Days since 1970-01-01 of a Gregorian date that is in its range, years 0 to 9999: years are counted
/// from March, so that the leap day is the last of its year and months before it need no case of their own.
#[allow(clippy::arithmetic_side_effects, reason = "checked: no step leaves 32 bits")]
#[inline]
fn days_from_civil(year: i32, month: u8, day: u8) -> Option<i64> {
    let year = u32::try_from(year).ok().filter(|year| *year <= 9999)?;
    let (month, day) = (u32::from(month), u32::from(day));
    // A whole era of 400 years earlier, so that the January of year 0 is no special case.
    let year = year + 400 - u32::from(month <= 2);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (from_march * 153 + 2) / 5 + day - 1;
    Some(i64::from(days) - 719_468 - 146_097)
}

/// The inverse of [`days_from_civil`] for the days a [`Time`] can hold (±106,752), so that no step overflows.
/// Years are counted from March here too. The factors stand for divisions by 365¼ and by the 30.6
/// days of a month (Neri and Schneider, "Euclidean affine functions and their application to
/// calendar algorithms", 2023).
#[allow(clippy::arithmetic_side_effects)]
fn civil_from_days(days: i64) -> (i32, u8, u8) {
    let days = u32::try_from(days.clamp(-700_000, 1_000_000) + 719_468).unwrap_or(0);
    let quarters = 4 * days + 3;
    let century = quarters / 146_097;
    let quarters = (quarters % 146_097) | 3;
    let product = 2_939_745 * u64::from(quarters);
    let year = 100 * century + (product >> 32) as u32;
    let day_of_year = product as u32 / 2_939_745 / 4;
    let months = 2_141 * day_of_year + 197_913;
    let (month, day) = (months >> 16, (months & 0xffff) / 2_141 + 1);
    // January and February are of the next year.
    let (year, month) = if day_of_year >= 306 { (year + 1, month - 12) } else { (year, month) };
    (i32::try_from(year).unwrap_or(0), u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
}

/// The number of two ASCII digits.
#[inline]
pub(crate) fn two_digits(tens: u8, ones: u8) -> Option<u8> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| tens.wrapping_mul(10).wrapping_add(ones))
}

/// A run of ASCII digits as a number; `None` when it is empty, too long or not digits.
pub(crate) fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(digit.into())
    })
}

/// Fraction digits from `at`: nanoseconds and where they end. Digits past the ninth are cut.
#[inline]
pub(crate) fn fraction(input: &[u8], at: usize) -> Option<(u32, usize)> {
    /// What one unit is worth after so many digits.
    const WORTH: [u32; 10] = [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
    let rest = input.get(at..)?;
    let (mut number, mut len) = rest.first_chunk().map_or((0, 0), up_to_eight_digits);
    if len == 0 || len == 8 {
        for byte in rest.get(len..)? {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            if len < 9 {
                // At most 999,999,999: it fits.
                number = number.wrapping_mul(10).wrapping_add(digit.into());
            }
            len = len.wrapping_add(1);
        }
    }
    let worth = WORTH.get(len.min(9))?;
    (len > 0).then(|| (number.wrapping_mul(*worth), at.wrapping_add(len)))
}

/// The number that the digits at the start of eight bytes are, and how many they are.
#[inline]
fn up_to_eight_digits(bytes: &[u8; 8]) -> (u32, usize) {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let values = u64::from_le_bytes(*bytes) ^ ZEROS;
    // A byte that is no digit has a bit in its upper half, at the latest once six is added.
    let others = (values.wrapping_add(0x0606_0606_0606_0606) | values) & 0xF0F0_F0F0_F0F0_F0F0;
    let len = others.trailing_zeros() >> 3;
    if len == 0 {
        return (0, 0);
    }
    // Zeros before the first digit, then pairs, fours and eights of digits are joined.
    let values = values.wrapping_shl(64_u32.wrapping_sub(len.wrapping_mul(8)));
    let values = if len == 8 { u64::from_le_bytes(*bytes) ^ ZEROS } else { values };
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_FFFF_0000_FFFF;
    let eight = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xFFFF_FFFF;
    (eight as u32, len as usize)
}

/// The two digits of a number below 100.
#[inline]
fn pair(number: u32) -> [u8; 2] {
    usize::try_from(number).ok().and_then(|number| PAIRS.get(number)).copied().unwrap_or(*b"00")
}

// Evaluated when the crate is compiled: an index out of bounds would be an error there.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0_u8;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_time_is_read_back() {
        assert_eq!(Time::from_unix(-9_223_372_037, 145_224_192), Some(Time(i64::MIN)));
        assert_eq!(Time::from_unix(-9_223_372_037, 145_224_191), None);
        let (time, _) = Time::parse_rfc3339(b"1677-09-21T00:12:43.145224192Z").unwrap();
        assert_eq!(time, Time(i64::MIN));
    }

    #[test]
    fn the_earliest_time_is_one_in_any_number_of_digits() {
        for digits in 0..=9 {
            let text = rfc3339(Time(i64::MIN), digits);
            assert!(Time::parse_rfc3339(text.as_bytes()).is_some(), "{text}");
        }
        assert_eq!(rfc3339(Time(i64::MIN), 6), "1677-09-21T00:12:44.145224Z");
    }

    fn rfc3339(time: Time, digits: u8) -> String {
        let mut out = Vec::new();
        time.write_rfc3339(digits, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rfc3339_in_all_its_shapes() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-21T09:03:20.158734145Z", 1_795_251_800_158_734_145),
            ("2026-11-21t10:03:20.158734145+01:00", 1_795_251_800_158_734_145),
            ("2026-11-21 04:03:20.1587341459-0500", 1_795_251_800_158_734_145),
            ("2000-02-29T23:59:59.5Z", 951_868_799_500_000_000),
            ("1969-12-31T23:59:59.9Z", -100_000_000),
        ] {
            assert_eq!(Time::parse_rfc3339(text.as_bytes()), Some((Time(nanos), text.len())), "{text}");
        }
        for text in [
            "",
            "2026-11-21",
            "2026-13-21T09:03:20Z",
            "2026-02-29T09:03:20Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T09:03:20",
            "2026-11-21T09:03:20.Z",
        ] {
            assert_eq!(Time::parse_rfc3339(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn every_day_from_1700_to_2200_comes_back() {
        for day in -98_000..84_000 {
            let time = Time::from_unix(day * DAY + 3_723, 7).unwrap();
            assert_eq!(time.civil().to_time(Offset(0)), Some(time));
        }
        assert_eq!(rfc3339(Time(1_795_251_800_158_734_145), 6), "2026-11-21T09:03:20.158734Z");
        assert_eq!(rfc3339(Time(-1), 9), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(rfc3339(Time(0), 0), "1970-01-01T00:00:00Z");
    }
}
