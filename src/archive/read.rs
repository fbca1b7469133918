//! Read: the objects of an archive by the time of receipt, for whoever lists, shows or replays them.
//!
//! Way: seals of the period, in order → object → **checked against its seal** → lines. With a public key
//! the seals are checked as well; without one they are taken on trust, and `verify` is to be asked.
//!
//! Invariants: no line of an object is told before its bytes are those that were sealed; what is sealed and
//! not there is an error with its name; memory is that of the list of keys and of one stored object.

mod events;
mod keys;
mod lines;

use std::io;
use std::sync::Arc;

use wharfinger_formats::{Civil, Offset, Time};

pub use self::events::{Place, Reading, read_events, received};
use self::keys::Keys;
pub use self::lines::Lines;
use super::chain::seal_key;
use super::merkle::{Hash, sha256};
use super::note::{Note, VerifyingKey};
use super::object::OpenStore;
use super::seal::{Body, Data, Seal, Source, Tally};
use super::store::{NOTE_BYTES_MAX, Store, is_away, is_key, read_small};
use super::streams::{Beginning, streams};
use super::verify::Fault;

const HOUR_NANOS: i64 = 3_600_000_000_000;

/// The archive cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    #[error("the store cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not as it was sealed.
    #[error("`{key}`: {what}")]
    Fault { fault: Fault, key: String, what: String },
}

impl Unread {
    fn fault(fault: Fault, key: &str, what: impl Into<String>) -> Unread {
        Unread::Fault { fault, key: key.to_owned(), what: what.into() }
    }
}

/// From one moment of receipt until before another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    pub from: Option<Time>,
    pub to: Option<Time>,
}

impl Period {
    /// Whether it was received then.
    pub fn has(&self, received: Time) -> bool {
        self.from.is_none_or(|from| received >= from) && self.to.is_none_or(|to| received < to)
    }

    /// Whether some of the hour is in it.
    pub(super) fn has_of(&self, hour: Time) -> bool {
        let is_over = |from: Time| hour.0.saturating_add(HOUR_NANOS) <= from.0;
        !self.from.is_some_and(is_over) && self.to.is_none_or(|to| hour < to)
    }

    fn is_before(&self, hour: Time) -> bool {
        self.from.is_some_and(|from| hour.0.saturating_add(HOUR_NANOS) <= from.0)
    }
}

/// An object as its seal says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The number of its seal.
    pub seq: u64,
    /// When it was sealed.
    pub time: Time,
    /// Its key.
    pub object: String,
    /// As it is stored.
    pub bytes: u64,
    pub sha256: Hash,
    pub records: u64,
    /// The numbers of the journal it accounts for.
    pub ingest: (u64, u64),
    /// The earliest and the latest time of an event.
    pub span: (Time, Time),
    pub tally: Tally,
    pub sources: Vec<Source>,
}

impl Sealed {
    fn new(seal: Seal, data: Data) -> Sealed {
        let Data { object, sha256, bytes, records, ingest, span, tally, sources, .. } = data;
        Sealed { seq: seal.seq, time: seal.time, object, bytes, sha256, records, ingest, span, tally, sources }
    }
}

/// Streams, each with its name.
pub type Named = Vec<(String, Reader)>;

/// All streams of an archive, from the one in `folder` on, each with its name and, if `key` is that of the
/// first seal, with the key that one before has signed; and the names of those that go on from none of them.
///
/// # Errors
/// The store cannot be read, or the streams before are not as they were sealed.
pub fn read_archive(
    stores: &OpenStore,
    folder: &str,
    key: Option<VerifyingKey>,
) -> Result<(Named, Vec<String>), Unread> {
    let (has_key, mut foreign) = (key.is_some(), Vec::new());
    let mut readers = Named::new();
    let mut key = key;
    for name in streams(stores, folder)? {
        let store = stores(&name);
        if name == folder {
            readers.push((name, Reader::new(store, key.take())));
            continue;
        }
        let beginning = Beginning::read(&*store)?;
        let key = match beginning.as_ref().filter(|beginning| beginning.is_of(&name)) {
            Some(beginning) if has_key => {
                let folder_of =
                    |(folder, _): &&mut (String, Reader)| beginning.of.rsplit('/').next() == Some(&**folder);
                match readers.iter_mut().find(folder_of) {
                    Some((_, before)) => before.key_of_next(beginning, &name)?.map(Some),
                    None => None,
                }
            }
            // On trust: whoever has no key sees what calls itself a stream.
            _ if !has_key && is_stream(&*store, &name)? => Some(None),
            _ => None,
        };
        match key {
            Some(key) => readers.push((name, Reader::new(store, key))),
            None => foreign.push(name),
        }
    }
    Ok((readers, foreign))
}

/// Whether a first seal is there that has the name of the folder.
fn is_stream(store: &dyn Store, folder: &str) -> io::Result<bool> {
    let bytes = match read_small(store, &seal_key(0), NOTE_BYTES_MAX) {
        Err(error) if is_away(&error) => return Err(error),
        bytes => bytes.ok().flatten().unwrap_or_default(),
    };
    let seal = Note::parse(&bytes).ok().and_then(|note| Seal::parse(note.text).ok());
    Ok(seal.is_some_and(|seal| seal.origin.rsplit('/').next() == Some(folder)))
}

/// One stream, to be read.
#[derive(Debug)]
pub struct Reader {
    store: Arc<dyn Store>,
    keys: Option<Keys>,
}

impl Reader {
    /// Nothing is read yet. `key` is that of the first seal.
    pub fn new(store: Arc<dyn Store>, key: Option<VerifyingKey>) -> Reader {
        Reader { store, keys: key.map(Keys::new) }
    }

    /// The hash of its first seal, as it stands there: no other stream has the same. None of an empty one.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn beginning(&self) -> Result<Option<[u8; 32]>, Unread> {
        Ok(read_small(&*self.store, &seal_key(0), NOTE_BYTES_MAX)?.map(|seal| sha256(&seal)))
    }

    /// When its first seal was made, as it says itself. None of an empty one, or one that cannot be read.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn began(&self) -> Result<Option<Time>, Unread> {
        let note = read_small(&*self.store, &seal_key(0), NOTE_BYTES_MAX)?.unwrap_or_default();
        Ok(Note::parse(&note).ok().and_then(|note| Seal::parse(note.text).ok()).map(|seal| seal.time))
    }

    /// The key of a stream that says that it goes on from this one, if the key that signs there says so.
    fn key_of_next(&mut self, next: &Beginning, folder: &str) -> Result<Option<VerifyingKey>, Unread> {
        let Some(keys) = &mut self.keys else { return Ok(None) };
        let Some(signer) = keys.behind(&*self.store, next.seq, &next.hash)? else { return Ok(None) };
        Ok(next.is_signed(&signer, folder).then(|| next.key.clone()))
    }

    /// The numbers of the seals that the store lists, in order.
    fn numbers(&self) -> Result<Vec<u64>, Unread> {
        let listed = self.store.keys("seal")?;
        let mut numbers: Vec<u64> =
            listed.iter().filter_map(|(key, _)| key.strip_prefix("seal/")?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The objects of a period, in order: all that are sealed, also those that are not there.
    ///
    /// # Errors
    /// The store cannot be listed, or a seal that says where the period begins or ends cannot be believed.
    pub fn objects(&mut self, period: Period) -> Result<Objects<'_>, Unread> {
        let seals = self.numbers()?;
        let size = seals.last().map_or(0, |last| last.saturating_add(1));
        // Anybody who may write can put keys there: the seals alone say which of them are of the period.
        let (mut next, mut end) = (0, size);
        if period.from.is_some() {
            next = self.first_from(&seals, |hour| !period.is_before(hour))?.0;
        }
        if let Some(to) = period.to {
            end = self.first_from(&seals, |hour| hour >= to)?.1.unwrap_or(size);
        }
        // Where a clock was put back, hours are in no order: what is listed may add to that, if its seal agrees.
        for (key, _) in self.store.keys("data")? {
            if let Some((seq, hour)) = place(&key).filter(|(_, hour)| period.has_of(*hour))
                && !(next..end).contains(&seq)
                && seals.binary_search(&seq).is_ok()
                && self.hour(seq)? == Some(hour)
            {
                (next, end) = (next.min(seq), end.max(seq.saturating_add(1)));
            }
        }
        Ok(Objects { reader: self, period, next, end, prev: None })
    }

    /// Where the hours begin that `is_in` takes: the number behind the last seal that is of an hour before,
    /// and the first that is of such an hour. Hours are halved, so few seals are read.
    fn first_from(&mut self, seals: &[u64], is_in: impl Fn(Time) -> bool) -> Result<(u64, Option<u64>), Unread> {
        let (mut low, mut high) = (0, seals.len());
        let (mut behind, mut first) = (0, None);
        while low < high {
            let middle = low + (high - low) / 2;
            // A seal without an object is of no hour: the next one that has an object decides.
            let mut known = None;
            for (at, seq) in seals.iter().enumerate().take(high).skip(middle) {
                if let Some(hour) = self.hour(*seq)? {
                    known = Some((at, *seq, hour));
                    break;
                }
            }
            match known {
                Some((at, seq, hour)) if !is_in(hour) => (low, behind) = (at + 1, seq.saturating_add(1)),
                Some((_, seq, _)) => (high, first) = (middle, Some(seq)),
                None => high = middle,
            }
        }
        Ok((behind, first))
    }

    /// The hour of receipt of the object that a seal is of.
    fn hour(&mut self, seq: u64) -> Result<Option<Time>, Unread> {
        match self.seal(seq)?.0.body {
            Body::Data(data) => Ok(place(&data.object).map(|(_, hour)| hour)),
            _ => Ok(None),
        }
    }

    /// What the seal of an object says, if there is one that names it.
    pub(super) fn sealed(&mut self, object: &str) -> Result<Option<(Sealed, Data)>, Unread> {
        let Some((seq, _)) = place(object).filter(|_| is_key(object)) else { return Ok(None) };
        let (seal, _) = self.seal(seq)?;
        match seal.body.clone() {
            Body::Data(data) if data.object == object => Ok(Some((Sealed::new(seal, data.clone()), data))),
            _ => Ok(None),
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The lines of an object.
    ///
    /// # Errors
    /// It is not there, or its bytes are not those that were sealed.
    pub fn lines(&self, sealed: &Sealed) -> Result<Lines, Unread> {
        Lines::open(&*self.store, sealed)
    }

    fn seal(&mut self, seq: u64) -> Result<(Seal, Hash), Unread> {
        let key = seal_key(seq);
        let bytes = read_small(&*self.store, &key, NOTE_BYTES_MAX)?;
        let bytes = bytes.ok_or_else(|| Unread::fault(Fault::Missing, &key, "the seal is not there"))?;
        let altered = |what: String| Unread::fault(Fault::Altered, &key, what);
        let note = Note::parse(&bytes).map_err(|why| altered(why.to_owned()))?;
        let seal = Seal::parse(note.text).map_err(altered)?;
        if seal.seq != seq {
            return Err(Unread::fault(Fault::Missing, &key, format!("it is seal {}", seal.seq)));
        }
        if let Some(keys) = &mut self.keys {
            keys.check(&*self.store, &key, &note, &seal)?;
        }
        Ok((seal, sha256(note.text.as_bytes())))
    }
}

/// The number of a seal and the hour of receipt that a key of an object names.
pub(super) fn place(key: &str) -> Option<(u64, Time)> {
    let (date, rest) = key.strip_prefix("data/dt=")?.split_once("/hour=")?;
    let (hour, name) = rest.split_once('/')?;
    let mut parts = date.split('-').map(|part| part.parse::<i32>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (month, day) = (u8::try_from(month).ok()?, u8::try_from(day).ok()?);
    let civil = Civil { year, month, day, hour: hour.parse().ok()?, minute: 0, second: 0, nanos: 0 };
    Some((name.get(..12)?.parse().ok()?, civil.to_time(Offset(0))?))
}

/// See [`Reader::objects`].
#[derive(Debug)]
pub struct Objects<'r> {
    reader: &'r mut Reader,
    period: Period,
    next: u64,
    end: u64,
    /// Hash of the seal before.
    prev: Option<Hash>,
}

impl Objects<'_> {
    /// How many seals are left to be looked at.
    pub fn left(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }

    /// Begins with the seal of that number, if it is one of them.
    pub fn skip_to(&mut self, seq: u64) {
        if seq > self.next {
            (self.next, self.prev) = (seq.min(self.end), None);
        }
    }

    /// See [`Reader::lines`].
    ///
    /// # Errors
    /// As there.
    pub fn lines(&self, sealed: &Sealed) -> Result<Lines, Unread> {
        self.reader.lines(sealed)
    }

    fn advance(&mut self) -> Result<Option<Sealed>, Unread> {
        while self.next < self.end {
            let (seal, hash) = self.reader.seal(self.next)?;
            if self.prev.is_some_and(|prev| prev != seal.prev) {
                let what = "the seal before it is another one";
                return Err(Unread::fault(Fault::Missing, &seal_key(self.next), what));
            }
            self.next += 1;
            self.prev = Some(hash);
            if let Body::Data(data) = seal.body.clone()
                && place(&data.object).is_none_or(|(_, hour)| self.period.has_of(hour))
            {
                return Ok(Some(Sealed::new(seal, data)));
            }
        }
        Ok(None)
    }
}

impl Iterator for Objects<'_> {
    type Item = Result<Sealed, Unread>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if matches!(next, Some(Err(_))) {
            self.next = self.end;
        }
        next
    }
}
