//! Working hours: `Mon-Fri 08:00-18:00`, in the zone of the policy.

use wharfinger_formats::Time;

/// Days of the week and minutes of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hours {
    first_day: i64,
    last_day: i64,
    from: i64,
    /// Exclusive; before `from` it is on the next day.
    to: i64,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY: i64 = 24 * 60;

impl Hours {
    /// `Mon-Fri 08:00-18:00`, `Sat 22:00-02:00`, `08:00-18:00` for every day.
    pub(super) fn parse(text: &str) -> Option<Hours> {
        let (days, hours) = text.trim().rsplit_once(' ').unwrap_or(("mon-sun", text.trim()));
        let (first, last) = days.split_once('-').unwrap_or((days, days));
        let day = |name: &str| {
            let name = name.trim().to_ascii_lowercase();
            DAYS.iter().position(|day| *day == name).and_then(|day| i64::try_from(day).ok())
        };
        let (from, to) = hours.split_once('-')?;
        let hours = Hours { first_day: day(first)?, last_day: day(last)?, from: minute(from)?, to: minute(to)? };
        (hours.from < DAY && hours.from != hours.to).then_some(hours)
    }

    /// Whether they hold at that time in the zone, in seconds east of UTC.
    pub(super) fn hold(&self, time: Time, zone_seconds: i64) -> bool {
        let minutes = (time.seconds() + zone_seconds).div_euclid(60);
        // The epoch began on a Thursday.
        let (day, minute) = ((minutes.div_euclid(DAY) + 3).rem_euclid(7), minutes.rem_euclid(DAY));
        let has = |day: i64| match self.first_day <= self.last_day {
            true => (self.first_day..=self.last_day).contains(&day),
            false => day >= self.first_day || day <= self.last_day,
        };
        match self.from < self.to {
            true => has(day) && (self.from..self.to).contains(&minute),
            // Over midnight: the day is that on which they begin.
            false => has(day) && minute >= self.from || has((day + 6) % 7) && minute < self.to,
        }
    }
}

fn minute(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| text.len() == 2 && *number >= 0);
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= DAY).then_some(minute)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn holds(hours: &str, time: &str, zone: i64) -> bool {
        let (time, _) = Time::parse_rfc3339(time.as_bytes()).unwrap();
        Hours::parse(hours).unwrap().hold(time, zone)
    }

    #[test]
    fn days_hours_and_zones() {
        // 2026-11-21 is a Saturday.
        assert!(holds("Mon-Fri 08:00-18:00", "2026-11-20T08:00:00Z", 0));
        assert!(!holds("Mon-Fri 08:00-18:00", "2026-11-20T18:00:00Z", 0));
        assert!(!holds("Mon-Fri 08:00-18:00", "2026-11-21T09:00:00Z", 0));
        assert!(holds("Sat-Mon 08:00-24:00", "2026-11-22T23:59:59Z", 0));
        assert!(holds("Fri 22:00-02:00", "2026-11-21T01:59:00Z", 0));
        assert!(!holds("Fri 22:00-02:00", "2026-11-20T01:59:00Z", 0));
        assert!(holds("08:00-18:00", "2026-11-21T07:30:00Z", 3600));
    }

    #[test]
    fn what_is_none() {
        for text in
            ["", "Mon", "Mon-Fri", "8-18", "Mon 08:00-08:00", "Mon 25:00-26:00", "Xyz 08:00-09:00", "08:61-09:00"]
        {
            assert_eq!(Hours::parse(text), None, "{text}");
        }
    }
}
