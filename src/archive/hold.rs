//! Legal holds: what must not be deleted whatever its date, from when to when, why, and who said so.
//!
//! ```text
//! hold/<id>.set    the hold, as JSON
//! hold/<id>.clear  its end, as JSON
//! ```
//!
//! Invariants: records are written once, so that every hold there ever was can be told; an object is let go
//! only when no hold that is in force covers it; a record that cannot be read is a hold of everything, and
//! stops nobody.

use std::io;

use serde::{Deserialize, Serialize};
use wharfinger_formats::Time;

use super::read::{Period, place};
use super::seal::Millis;
use super::store::{Put, Store, is_away, read_small};

/// No record is longer.
const RECORD_BYTES_MAX: u64 = 64 << 10;
/// Where the period of a record that cannot be read ends.
const EVER: &str = "9999-12-31T23:59:59.999Z";

/// What is said when a hold is set or cleared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    pub reason: String,
    /// Who: the user.
    pub by: String,
    pub time: String,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    pub id: String,
    /// The first moment of receipt it covers; none: from the beginning.
    pub from: Option<String>,
    /// The moment behind the last.
    pub to: String,
    pub set: Said,
    pub cleared: Option<Said>,
    /// A record of it is none: it counts as in force, and without its period it covers everything.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_damaged: bool,
}

/// `hold/<id>.set`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    from: Option<String>,
    to: String,
    set: Said,
}

impl Hold {
    /// Whether it covers objects of that hour.
    fn covers(&self, hour: Time) -> bool {
        let time = |text: &str| Time::parse_rfc3339(text.as_bytes()).map(|(time, _)| time);
        Period { from: self.from.as_deref().and_then(time), to: time(&self.to) }.has_of(hour)
    }
}

/// All holds of a stream, the oldest first.
///
/// # Errors
/// The store cannot be read.
pub fn holds(store: &dyn Store) -> io::Result<Vec<Hold>> {
    let mut holds = Vec::new();
    for (key, _) in store.keys("hold")? {
        let Some(id) = key.strip_prefix("hold/").and_then(|name| name.strip_suffix(".set")) else { continue };
        let (set, cleared) = (record(store, &key)?, record(store, &format!("hold/{id}.clear"))?);
        let is_damaged = !matches!(set, Read::Is(_)) || matches!(cleared, Read::Damaged);
        let Record { from, to, set } = match set {
            Read::Is(record) => record,
            Read::Absent | Read::Damaged => everything(&key),
        };
        let cleared = if let Read::Is(said) = cleared { Some(said) } else { None };
        holds.push(Hold { id: id.to_owned(), from, to, set, cleared, is_damaged });
    }
    Ok(holds)
}

/// A record as it is in the store.
enum Read<T> {
    Is(T),
    Absent,
    Damaged,
}

fn record<T: serde::de::DeserializeOwned>(store: &dyn Store, key: &str) -> io::Result<Read<T>> {
    match read_small(store, key, RECORD_BYTES_MAX) {
        Ok(None) => Ok(Read::Absent),
        Ok(Some(bytes)) => Ok(serde_json::from_slice(&bytes).map_or(Read::Damaged, Read::Is)),
        Err(error) if is_away(&error) => Err(error),
        Err(_) => Ok(Read::Damaged),
    }
}

/// What a record says that cannot be read.
fn everything(key: &str) -> Record {
    let reason = format!("`{key}` is no record of a hold: it counts as one of everything");
    Record { from: None, to: EVER.to_owned(), set: Said { reason, by: String::new(), time: String::new() } }
}

/// The hour of receipt that a key of an object names.
fn hour_of(key: &str) -> Option<Time> {
    place(key).map(|(_, hour)| hour)
}

fn write(store: &dyn Store, key: &str, record: &impl Serialize) -> io::Result<()> {
    match store.put_new(key, &serde_json::to_vec(record)?)? {
        Put::Done | Put::Same => Ok(()),
        Put::Other => Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("`{key}` is there already"))),
    }
}

/// Holds the objects of a period, and all seals and checkpoints of the stream, without which nothing is
/// proved, and the record of the hold. Answers how many objects of the period there are.
///
/// # Errors
/// The store cannot be written to, or refuses.
pub fn set_hold(store: &dyn Store, period: Period, reason: &str, by: &str, now: Time) -> io::Result<(Hold, u64)> {
    // What comes later is not held: the period ends now at the latest.
    let to = period.to.map_or(now, |to| to.min(now));
    // Records have milliseconds, and a hold covers rather more than less.
    let to = Time(to.0.saturating_add(999_999));
    let text = |time: Time| Millis(time).to_string();
    let said = Said { reason: reason.to_owned(), by: by.to_owned(), time: text(now) };
    let id = text(now).replace([':', '.', '-'], "");
    let hold =
        Hold { id, from: period.from.map(text), to: text(to), set: said.clone(), cleared: None, is_damaged: false };
    let held: Vec<String> = objects(store, &hold)?;
    // Said before it is done: what breaks off is seen, and set again.
    let key = format!("hold/{}.set", hold.id);
    write(store, &key, &Record { from: hold.from.clone(), to: hold.to.clone(), set: said })?;
    // The record stays held for good: it tells why the objects are.
    store.hold(&[key], true)?;
    store.hold(&held, true)?;
    store.hold(&notes(store)?, true)?;
    Ok((hold, held.len() as u64))
}

/// Ends a hold; what another one covers stays held. None if there is no such hold in force.
///
/// # Errors
/// As [`set_hold`].
pub fn clear_hold(store: &dyn Store, id: &str, reason: &str, by: &str, now: Time) -> io::Result<Option<(Hold, u64)>> {
    let (this, others): (Vec<_>, Vec<_>) = in_force(store)?.into_iter().partition(|hold| hold.id == id);
    let Some(mut hold) = this.into_iter().next() else { return Ok(None) };
    let mut free = objects(store, &hold)?;
    free.retain(|key| !is_covered(&others, key));
    store.hold(&free, false)?;
    let notes = if others.is_empty() { notes(store)? } else { Vec::new() };
    store.hold(&notes, false)?;
    // A hold that was set meanwhile has held what was let go behind it.
    let others: Vec<Hold> = in_force(store)?.into_iter().filter(|hold| hold.id != id).collect();
    let (again, free): (Vec<_>, Vec<_>) = free.into_iter().partition(|key| is_covered(&others, key));
    store.hold(&again, true)?;
    if !others.is_empty() {
        store.hold(&notes, true)?;
    }
    let said = Said { reason: reason.to_owned(), by: by.to_owned(), time: Millis(now).to_string() };
    let key = format!("hold/{id}.clear");
    write(store, &key, &said)?;
    store.hold(&[key], true)?;
    hold.cleared = Some(said);
    Ok(Some((hold, free.len() as u64)))
}

fn in_force(store: &dyn Store) -> io::Result<Vec<Hold>> {
    Ok(holds(store)?.into_iter().filter(|hold| hold.cleared.is_none()).collect())
}

fn is_covered(holds: &[Hold], key: &str) -> bool {
    hour_of(key).is_some_and(|hour| holds.iter().any(|hold| hold.covers(hour)))
}

/// The objects a hold covers.
fn objects(store: &dyn Store, hold: &Hold) -> io::Result<Vec<String>> {
    let keys = store.keys("data")?.into_iter().map(|(key, _)| key);
    Ok(keys.filter(|key| hour_of(key).is_some_and(|hour| hold.covers(hour))).collect())
}

fn notes(store: &dyn Store) -> io::Result<Vec<String>> {
    let mut keys = store.keys("seal")?;
    keys.append(&mut store.keys("checkpoint")?);
    Ok(keys.into_iter().map(|(key, _)| key).collect())
}

/// What may be deleted when, of one day of receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Day {
    /// `2026-11-21`.
    pub day: String,
    pub objects: u64,
    pub bytes: u64,
    /// How many the store keeps under a lock whose date is not over.
    pub locked: u64,
    /// How many are under legal hold: the store's own, where it has one, else that of the records.
    pub held: u64,
    /// From when on all of them may be deleted, holds apart. None: nothing was said.
    pub until: Option<String>,
    /// How many may be deleted now.
    pub free: u64,
}

/// What the store keeps of each object, and what `keep` says where it keeps nothing.
///
/// # Errors
/// The store cannot be read.
pub fn retention(store: &dyn Store, keep: Option<std::time::Duration>, now: Time) -> io::Result<Vec<Day>> {
    let holds = in_force(store)?;
    let objects = store.keys("data")?;
    let keys: Vec<String> = objects.iter().map(|(key, _)| key.clone()).collect();
    let keep = keep.map(|keep| i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX));
    let mut days: Vec<Day> = Vec::new();
    for ((key, bytes), kept) in objects.iter().zip(store.kept(&keys)?) {
        let Some(hour) = hour_of(key) else { continue };
        let day = Millis(hour).to_string().get(..10).unwrap_or_default().to_owned();
        if days.last().is_none_or(|last| last.day != day) {
            let (objects, bytes, locked, held, free) = (0, 0, 0, 0, 0);
            days.push(Day { day, objects, bytes, locked, held, until: None, free });
        }
        let Some(last) = days.last_mut() else { continue };
        // Received at the end of its hour at the latest.
        let planned = keep.map(|keep| Time(hour.0.saturating_add(3_600_000_000_000).saturating_add(keep)));
        let until = kept.until.into_iter().chain(planned).max();
        // What came into an hour behind its hold is in its period, and the store has not held it.
        let is_covered = holds.iter().any(|hold| hold.covers(hour));
        let is_held = kept.is_held || (is_covered && !store.locks());
        last.objects += 1;
        last.bytes += bytes;
        last.locked += u64::from(kept.until.is_some_and(|until| until > now));
        last.held += u64::from(is_held);
        last.free += u64::from(!is_held && !is_covered && until.is_some_and(|until| until <= now));
        let until = until.map(|until| Millis(until).to_string());
        last.until = until.into_iter().chain(last.until.take()).max();
    }
    Ok(days)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::super::dir::Dir;
    use super::*;

    const DAY: i64 = 86_400_000_000_000;
    /// 2026-11-21T00:00Z.
    const BEGIN: i64 = 1_795_219_200_000_000_000;

    #[test]
    fn what_a_hold_covers_stays_until_the_last_that_does_is_cleared() {
        let root = tempfile::tempdir().unwrap();
        let store = Dir::new(root.path());
        assert!(holds(&store).unwrap().is_empty() && retention(&store, None, Time(BEGIN)).unwrap().is_empty());
        for (at, key) in ["dt=2026-11-20/hour=23", "dt=2026-11-21/hour=00", "dt=2026-11-21/hour=09"].iter().enumerate()
        {
            store.put_new(&format!("data/{key}/{at:012}.ndjson"), b"{}\n").unwrap();
        }
        store.put_new("data/more", b"of somebody").unwrap();
        let now = Time(BEGIN + 3 * DAY);
        let of = |from, to| Period { from: Some(Time(from)), to };
        let (first, objects) = set_hold(&store, of(BEGIN, None), "case 7", "ann (uid 7)", now).unwrap();
        assert_eq!(
            (objects, first.to.as_str(), first.id.as_str()),
            (2, "2026-11-24T00:00:00.000Z", "20261124T000000000Z")
        );
        let to = Some(Time(BEGIN + 1));
        let (second, objects) = set_hold(&store, of(BEGIN - 1, to), "case 8", "bob", Time(now.0 + DAY)).unwrap();
        assert_eq!(objects, 2);
        // The same moment again is another writer's.
        assert!(set_hold(&store, of(0, None), "x", "eve", now).is_err());

        let shown = |keep| {
            let days = retention(&store, keep, now).unwrap();
            days.into_iter().map(|day| (day.day, day.objects, day.held, day.until, day.free)).collect::<Vec<_>>()
        };
        let until = |text: &str| Some(text.to_owned());
        assert_eq!(
            shown(Some(Duration::from_secs(2 * 86_400))),
            [
                ("2026-11-20".to_owned(), 1, 1, until("2026-11-23T00:00:00.000Z"), 0),
                ("2026-11-21".to_owned(), 2, 2, until("2026-11-23T10:00:00.000Z"), 0),
            ]
        );
        let cleared = clear_hold(&store, &first.id, "settled", "ann", now).unwrap().unwrap();
        assert_eq!((cleared.1, cleared.0.cleared.unwrap().reason.as_str()), (1, "settled"), "one is held twice");
        assert!(clear_hold(&store, &first.id, "again", "ann", now).unwrap().is_none());
        assert_eq!(shown(Some(Duration::from_secs(2 * 86_400))).pop().unwrap().4, 1);
        assert_eq!(clear_hold(&store, &second.id, "settled", "ann", now).unwrap().unwrap().1, 2);
        assert_eq!(shown(None)[1], ("2026-11-21".to_owned(), 2, 0, None, 0), "nobody has said how long");
        assert_eq!(holds(&store).unwrap().iter().filter(|hold| hold.cleared.is_some()).count(), 2);
    }

    /// Whoever plants a record frees nothing by it, and stops nobody.
    #[test]
    fn a_damaged_record_counts_as_a_hold_of_everything() {
        let root = tempfile::tempdir().unwrap();
        let store = Dir::new(root.path());
        store.put_new("data/dt=2026-11-21/hour=00/000000000000.ndjson", b"{}\n").unwrap();
        let now = Time(BEGIN + DAY);
        let (first, _) = set_hold(&store, Period::default(), "case 7", "ann", now).unwrap();
        store.put_new("hold/x.set", b"{}").unwrap();
        store.put_new("hold/y.set", &vec![b' '; 1 << 17]).unwrap();
        let damaged = |holds: Vec<Hold>| holds.into_iter().filter(|hold| hold.is_damaged).map(|hold| hold.id);
        assert_eq!(damaged(holds(&store).unwrap()).collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(clear_hold(&store, &first.id, "settled", "ann", now).unwrap().unwrap().1, 0, "x covers it");
        let keep = Some(Duration::from_secs(1));
        assert_eq!(retention(&store, keep, now).unwrap()[0].held, 1);
        // An end that is none ends nothing.
        store.put_new("hold/y.clear", b"[").unwrap();
        assert_eq!(clear_hold(&store, "x", "planted", "ann", now).unwrap().unwrap().1, 0, "y covers it");
        assert_eq!(damaged(in_force(&store).unwrap()).collect::<Vec<_>>(), ["y"]);
    }

    /// A store with holds of its own, which says of none that it is there.
    #[derive(Debug)]
    struct Locking(Dir);

    impl Store for Locking {
        fn put_new(&self, key: &str, bytes: &[u8]) -> io::Result<Put> {
            self.0.put_new(key, bytes)
        }

        fn open(&self, key: &str) -> io::Result<Option<Box<dyn io::Read>>> {
            self.0.open(key)
        }

        fn keys(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
            self.0.keys(folder)
        }

        fn locks(&self) -> bool {
            true
        }
    }

    #[test]
    fn what_the_store_does_not_hold_is_not_called_held() {
        let root = tempfile::tempdir().unwrap();
        let store = Locking(Dir::new(root.path()));
        store.put_new("data/dt=2026-11-21/hour=00/000000000000.ndjson", b"{}\n").unwrap();
        set_hold(&store, Period::default(), "case 7", "ann", Time(BEGIN + DAY)).unwrap();
        let days = retention(&store, Some(Duration::from_secs(1)), Time(BEGIN + DAY)).unwrap();
        assert_eq!((days[0].held, days[0].free), (0, 0), "nor free");
    }
}
