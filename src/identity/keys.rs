//! Keys: which machine has an address, a name, a UUID or another key.
//!
//! A key is kept as 64 bits of a hash, in one of as many buckets as a second hash tells apart, and costs 13 bytes,
//! however long it is. Both hashes have secrets of their own that change with every table: a key that nobody has is
//! taken for another's once in 2⁶² questions, and nobody can look for such a key.
//!
//! Invariant: a key that two machines have selects neither, unless one of them has it on better authority.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use super::{Mac, Uuid};

/// So many keys share a bucket on average.
const BUCKET_KEYS: usize = 4;

/// What selects a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key<'k> {
    /// In its canonical form: IPv4 in IPv6 clothes is the same machine.
    Address(IpAddr),
    /// In small letters.
    Name(&'k str),
    Id(&'k str),
    /// The smaller of both byte orders.
    Uuid(Uuid),
    Mac(Mac),
}

/// Who says that a machine has a key, the best authority first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Authority {
    /// The inventory or the provider itself.
    Inventory,
    /// The same, but of a host name only its first label, which a host calls itself by.
    InventoryShort,
    /// Somebody on the machine says it of himself, through the tools in the guest.
    Guest,
    GuestShort,
}

/// The machine of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// Its place.
    At(usize),
    /// Several have it.
    Shared,
}

/// Every key of an inventory.
#[derive(Debug, Default)]
pub(super) struct Keys {
    secrets: [RandomState; 2],
    /// Where each bucket begins, and the end.
    starts: Box<[u32]>,
    /// Both halves of the hash, and the place of the machine: 12 bytes, as there is no alignment to 8.
    marks: Box<[[u32; 3]]>,
}

/// A place that no machine has: four thousand million are in no inventory.
const SHARED: u32 = u32::MAX;

/// A table to be.
#[derive(Debug, Default)]
pub(super) struct Builder {
    keys: Keys,
    found: Vec<Found>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    bucket: u64,
    mark: u64,
    authority: Authority,
    at: u32,
}

impl Builder {
    pub(super) fn add(&mut self, key: Key<'_>, authority: Authority, at: usize) {
        let [bucket, mark] = self.keys.hashes(key);
        let at = u32::try_from(at).unwrap_or(SHARED);
        self.found.push(Found { bucket, mark, authority, at });
    }

    pub(super) fn build(mut self) -> Keys {
        self.found.sort_unstable();
        let mut keys = self.keys;
        let key = |found: &Found| (found.bucket, found.mark);
        let claims = || self.found.chunk_by(|one, other| key(one) == key(other));
        let buckets = claims().count() / BUCKET_KEYS + 1;
        let (mut starts, mut marks) = (Vec::with_capacity(buckets + 1), Vec::with_capacity(claims().count()));
        for claim in claims() {
            let [first, ..] = claim else { continue };
            let mut best = claim.iter().take_while(|other| other.authority == first.authority);
            let at = if best.all(|other| other.at == first.at) { first.at } else { SHARED };
            starts.resize(starts.len().max(place(first.bucket, buckets) + 1), marks.len() as u32);
            marks.push([(first.mark >> 32) as u32, first.mark as u32, at]);
        }
        starts.resize(buckets + 1, marks.len() as u32);
        (keys.starts, keys.marks) = (starts.into(), marks.into());
        keys
    }
}

impl Keys {
    pub(super) fn get(&self, key: Key<'_>) -> Option<Slot> {
        let buckets = self.starts.len().checked_sub(1)?;
        if self.marks.is_empty() {
            return None;
        }
        let [bucket, mark] = self.hashes(key);
        let bucket = place(bucket, buckets);
        let (start, end) = (*self.starts.get(bucket)?, *self.starts.get(bucket + 1)?);
        let marks = self.marks.get(start as usize..end as usize)?;
        let wanted = [(mark >> 32) as u32, mark as u32];
        let found = marks.iter().find(|[high, low, _]| [*high, *low] == wanted)?;
        Some(match found[2] {
            SHARED => Slot::Shared,
            at => Slot::At(at as usize),
        })
    }

    /// Those of the bucket and of the mark.
    fn hashes(&self, key: Key<'_>) -> [u64; 2] {
        self.secrets.each_ref().map(|secret| secret.hash_one(key))
    }

    /// What they take, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.marks)
    }
}

/// Spreads hashes evenly over the buckets, in their order.
fn place(hash: u64, buckets: usize) -> usize {
    ((u128::from(hash) * buckets as u128) >> 64) as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_no_other() {
        for count in [0, 1, 2, 7, 1000, 10_000] {
            let mut builder = Builder::default();
            let names: Vec<String> = (0..count).map(|number| format!("web-{number}")).collect();
            for (at, name) in names.iter().enumerate() {
                builder.add(Key::Name(name), Authority::Inventory, at);
                builder.add(Key::Name(name), Authority::Guest, at);
                builder.add(Key::Address(IpAddr::from([10, 0, (at >> 8) as u8, at as u8])), Authority::Guest, at);
            }
            let keys = builder.build();
            for (at, name) in names.iter().enumerate() {
                assert_eq!(keys.get(Key::Name(name)), Some(Slot::At(at)), "{count}");
                assert_eq!(keys.get(Key::Id(name)), None, "another kind of key");
            }
            assert_eq!(keys.get(Key::Name("db")), None);
            assert_eq!(keys.get(Key::Address(IpAddr::from([10, 0, 0, 0]))), (count > 0).then_some(Slot::At(0)));
            assert!(keys.bytes() <= 13 * 2 * count + 8, "{count}: {}", keys.bytes());
        }
        assert_eq!(Keys::default().get(Key::Name("web")), None);
    }

    #[test]
    fn the_better_authority_decides_and_equals_decide_nothing() {
        let cases: [(&[(Authority, usize)], Slot); 6] = [
            (&[(Authority::Inventory, 0), (Authority::Inventory, 1)], Slot::Shared),
            (&[(Authority::Guest, 1), (Authority::Inventory, 0)], Slot::At(0)),
            (&[(Authority::Guest, 1), (Authority::InventoryShort, 2), (Authority::GuestShort, 0)], Slot::At(2)),
            (&[(Authority::Guest, 0), (Authority::Guest, 1)], Slot::Shared),
            (&[(Authority::Inventory, 3), (Authority::Inventory, 3), (Authority::Guest, 1)], Slot::At(3)),
            (&[(Authority::GuestShort, 4), (Authority::Guest, 5)], Slot::At(5)),
        ];
        for (claims, expected) in cases {
            let mut builder = Builder::default();
            claims.iter().for_each(|(authority, at)| builder.add(Key::Name("web"), *authority, *at));
            assert_eq!(builder.build().get(Key::Name("web")), Some(expected), "{claims:?}");
        }
    }
}
