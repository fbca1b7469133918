//! The objects of one request: events split by source and hour, compressed while they come.
//!
//! Key: `<prefix>/source=<s>/dt=YYYY-MM-DD/hour=HH/<host>-<first_ns>-<last_ns>-<hash>.ndjson.gz`, by
//! event time in UTC, or another folder. The hash is of the stored bytes and the id of the first event, so the same
//! events make the same key, and an object that is there already under its key is the same object.
//!
//! Invariant: a key holds only `[A-Za-z0-9!_.*'()=/-]`, no `..` and no leading `/`, whatever a source,
//! host or event is called.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use wharfinger_formats::{Event, Field, Time};

use super::folder::{Folder, PART_MAX};
use crate::sinks::Push;
use crate::sinks::compress::{Compression, Encoder};

/// Objects open at once. An hour or source more ends the request, so that senders who write wild times
/// cost requests and no memory.
const OPEN_MAX: usize = 32;
const HOUR_NANOS: i64 = 3_600_000_000_000;

/// What is the same in every key.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Without slashes at its ends; may be empty.
    prefix: String,
    /// Unless it is the default.
    folder: Option<Folder>,
    host: String,
    /// `.ndjson.gz`, `.cef`.
    suffix: String,
    compression: Compression,
}

impl Layout {
    pub(super) fn new(
        prefix: &str,
        folder: Option<Folder>,
        host: &str,
        format: &str,
        compression: Compression,
    ) -> Layout {
        let lines = if format == "json" { "ndjson" } else { format };
        Layout {
            prefix: prefix.trim_matches('/').to_owned(),
            folder,
            host: safe(host),
            suffix: format!(".{lines}{}", compression.suffix()),
            compression,
        }
    }

    /// What says in which object an event goes: its source, or its folder, and its hour.
    fn place<'e>(&self, event: &'e Event<'_>, time: Time) -> (Cow<'e, str>, i64) {
        match &self.folder {
            None => (Cow::Borrowed(event.text(Field::Source).unwrap_or_default()), time.0.div_euclid(HOUR_NANOS)),
            // It has what of the time it wants.
            Some(folder) => (Cow::Owned(folder.of(event)), 0),
        }
    }

    fn folder(&self, place: &str, hour: i64) -> String {
        if self.folder.is_some() {
            return place.to_owned();
        }
        let civil = Time(hour.saturating_mul(HOUR_NANOS)).civil();
        let source = safe(place);
        format!("source={source}/dt={:04}-{:02}-{:02}/hour={:02}", civil.year, civil.month, civil.day, civil.hour)
    }

    fn key(&self, folder: &str, first: Time, last: Time, hash: &str) -> String {
        let Layout { host, suffix, .. } = self;
        let hash = hash.get(..16).unwrap_or(hash);
        format!("{}{folder}/{host}-{}-{}-{hash}{suffix}", self.root(), first.0, last.0)
    }

    /// What all its keys begin with: empty, or with a slash at the end.
    pub(super) fn root(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}{slash}", self.prefix)
    }

    /// Whether a key may be one of ours, and not of another gateway.
    pub(super) fn is_ours(&self, key: &str) -> bool {
        let name = key.rsplit('/').next().unwrap_or(key);
        let rest = name.strip_prefix(&*self.host).and_then(|rest| rest.strip_suffix(&*self.suffix));
        // `gw-2` begins as `gw` does: behind the host stand two times and a hash, and nothing else.
        let Some((times, hash)) = rest.and_then(|rest| rest.strip_prefix('-')?.rsplit_once('-')) else { return false };
        let is_time = |text: &str| text.parse::<i64>().is_ok();
        let are_times = times
            .char_indices()
            .skip(1)
            .filter(|(_, letter)| *letter == '-')
            .any(|(at, _)| is_time(&times[..at]) && is_time(&times[at + 1..]));
        are_times && hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

/// A part of a key from a name: `[a-z0-9._-]`, no dot at the start, anything else as `!` and its byte in
/// hex, so that different names stay different. A long one is cut and ends with a hash of the whole.
pub(super) fn safe(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => out.push(byte.into()),
            b'.' if at > 0 && !out.ends_with('.') => out.push('.'),
            _ => out.push_str(&format!("!{byte:02X}")),
        }
    }
    if out.is_empty() {
        out.push_str("none");
    }
    if out.len() > PART_MAX {
        let hash = hex(&Sha256::digest(name));
        out.truncate(PART_MAX - 17);
        out.push('-');
        out.push_str(&hash[..16]);
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The request under construction.
pub(super) struct Objects {
    layout: Layout,
    open: Vec<Open>,
    /// The one the last event went to.
    last: usize,
    bytes: usize,
}

struct Open {
    /// Of [`Layout::place`].
    place: String,
    hour: i64,
    first: Time,
    last: Time,
    /// Of its first event: what the key says of content alone would be the same for lines that repeat.
    id: String,
    encoder: Encoder,
}

/// A finished object.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) bytes: Bytes,
    pub(super) sha256: [u8; 32],
    pub(super) content_type: Option<&'static str>,
}

impl Object {
    /// Without a key yet.
    pub(super) fn new(bytes: Vec<u8>, content_type: Option<&'static str>) -> Object {
        let sha256 = Sha256::digest(&bytes).into();
        Object { key: String::new(), bytes: bytes.into(), sha256, content_type }
    }

    pub(super) fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }
}

impl Objects {
    pub(super) fn new(layout: Layout) -> Objects {
        Objects { layout, open: Vec::new(), last: 0, bytes: 0 }
    }

    /// Adds the record of an event.
    pub(super) fn push(&mut self, event: &Event<'_>, record: &[u8]) -> io::Result<Push> {
        let time = event.time(Field::Time).or_else(|| event.time(Field::ObservedTime)).unwrap_or(Time(0));
        let (place, hour) = self.layout.place(event, time);
        let id = event.text(Field::EventId).unwrap_or_default();
        let Some(at) = self.find(&place, hour, id)? else { return Ok(Push::Full) };
        self.last = at;
        let open = &mut self.open[at];
        open.encoder.write_all(record)?;
        open.first = open.first.min(time);
        open.last = open.last.max(time);
        self.bytes += record.len();
        Ok(Push::Taken { bytes: self.bytes })
    }

    /// The open object of that place and hour; a new one if there is room.
    fn find(&mut self, place: &str, hour: i64, id: &str) -> io::Result<Option<usize>> {
        let is = |open: &Open| open.hour == hour && open.place == place;
        if self.open.get(self.last).is_some_and(is) {
            return Ok(Some(self.last));
        }
        if let Some(at) = self.open.iter().position(is) {
            return Ok(Some(at));
        }
        if self.open.len() == OPEN_MAX {
            return Ok(None);
        }
        let encoder = self.layout.compression.encoder()?;
        let (first, last) = (Time(i64::MAX), Time(i64::MIN));
        let (place, id) = (place.to_owned(), id.to_owned());
        self.open.push(Open { place, hour, first, last, id, encoder });
        Ok(Some(self.open.len() - 1))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Forgets the request.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.last = 0;
        self.bytes = 0;
    }

    /// Takes what was pushed, to be finished elsewhere.
    pub(super) fn take(&mut self) -> Objects {
        let layout = self.layout.clone();
        std::mem::replace(self, Objects::new(layout))
    }

    /// Ends compression, hashes and names each object.
    pub(super) fn finish(self) -> io::Result<Vec<Object>> {
        let layout = &self.layout;
        let finished = self.open.into_iter().map(|open| {
            let Open { place, hour, first, last, id, encoder } = open;
            let mut object = Object::new(encoder.finish()?, Some(layout.compression.content_type()));
            let hash = hex(&Sha256::new().chain_update(object.sha256).chain_update(id).finalize());
            object.key = layout.key(&layout.folder(&place, hour), first, last, &hash);
            Ok(object)
        });
        finished.collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOON: i64 = 1_795_262_400_000_000_000;

    fn objects(prefix: &str, compression: Compression) -> Objects {
        Objects::new(Layout::new(prefix, None, "Gateway 1", "json", compression))
    }

    fn event<'a>(source: &'a str, time: i64) -> Event<'a> {
        let mut event = Event::new(b"x");
        event.set(Field::Source, source);
        event.set(Field::Time, Time(time));
        event
    }

    #[test]
    fn one_object_for_each_source_and_hour_with_keys_that_repeat() {
        let make = || {
            let mut objects = objects("/a/b/", Compression::Gzip);
            for (source, time) in [("docker", NOON), ("syslog", NOON), ("docker", NOON + 5), ("docker", NOON - 1)] {
                assert!(matches!(objects.push(&event(source, time), b"{}\n").unwrap(), Push::Taken { .. }));
            }
            objects.finish().unwrap()
        };
        let keys: Vec<String> = make().into_iter().map(|object| object.key).collect();
        assert_eq!(keys, make().into_iter().map(|object| object.key).collect::<Vec<_>>());
        let expected = [
            "a/b/source=docker/dt=2026-11-21/hour=12/!47ateway!201-1795262400000000000-1795262400000000005-",
            "a/b/source=syslog/dt=2026-11-21/hour=12/!47ateway!201-1795262400000000000-1795262400000000000-",
            "a/b/source=docker/dt=2026-11-21/hour=11/!47ateway!201-1795262399999999999-1795262399999999999-",
        ];
        assert_eq!(keys.len(), expected.len());
        for (key, expected) in keys.iter().zip(expected) {
            let hash = key.strip_prefix(expected).unwrap().strip_suffix(".ndjson.gz").unwrap();
            assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
        }
    }

    /// They were one object once, and the second event was nowhere.
    #[test]
    fn the_same_line_in_two_requests_is_two_objects() {
        let key = |id: &str| {
            let mut objects = objects("", Compression::None);
            let mut event = event("syslog", NOON);
            event.set(Field::EventId, id);
            objects.push(&event, b"the same\n").unwrap();
            objects.finish().unwrap().remove(0).key
        };
        assert_ne!(key("00000000000000aa-0000000000000001"), key("00000000000000aa-0000000000000002"));
        assert_eq!(key("00000000000000aa-0000000000000001"), key("00000000000000aa-0000000000000001"));
    }

    #[test]
    fn keys_of_other_gateways_are_not_ours() {
        let layout = Layout::new("", None, "gw", "json", Compression::None);
        let key = |host: &str, first: i64| {
            let other = Layout::new("", None, host, "json", Compression::None);
            other.key("source=s", Time(first), Time(NOON), "0123456789abcdef0123")
        };
        assert!(layout.is_ours(&key("gw", NOON)) && layout.is_ours(&key("gw", -5)));
        for other in ["gw-2", "gw-b", "gw-1795262400000000000", "g"] {
            assert!(!layout.is_ours(&key(other, NOON)), "{other}");
        }
    }

    #[test]
    fn no_name_leaves_its_place_in_the_key() {
        for name in ["", ".", "..", "../../etc/cron.d/x", "a/b", "A", "é", "a\0b", "%2e%2e/", "a..b", &"x".repeat(500)]
        {
            let mut objects = objects("", Compression::None);
            objects.push(&event(name, i64::MIN), b"{}\n").unwrap();
            let key = objects.finish().unwrap().remove(0).key;
            assert!(key.len() <= 1024 && key.matches('/').count() == 3, "{key}");
            assert!(key.starts_with("source=") && !key.contains(".."), "{key}");
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!_.*'()=/-".contains(&byte);
            assert!(key.bytes().all(legal), "{key}");
        }
        assert_ne!(safe("a b"), safe("a_b"));
        assert_ne!(safe(&"x".repeat(500)), safe(&"x".repeat(501)));
    }

    #[test]
    fn wild_times_end_the_request() {
        let mut objects = objects("", Compression::Zstd);
        for hour in 0..OPEN_MAX as i64 {
            assert_ne!(objects.push(&event("s", hour * HOUR_NANOS), b"{}\n").unwrap(), Push::Full);
        }
        assert_eq!(objects.push(&event("s", -1), b"{}\n").unwrap(), Push::Full);
        assert_ne!(objects.push(&event("s", 1), b"{}\n").unwrap(), Push::Full);
    }
}
