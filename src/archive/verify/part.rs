//! Which objects a walk reads: those of a period, and those that an earlier walk has not read.
//!
//! Seals are walked from the first in any case: they are small, and nothing else says who signs. Invariant:
//! what is not read is counted, and said.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use wharfinger_formats::Time;

use super::report::time;
use crate::archive::chain::seal_key;
use crate::archive::merkle::{Hash, sha256};
use crate::archive::object::OpenStore;
use crate::archive::read::{Period, place};
use crate::archive::seal::Base64;
use crate::archive::store::{NOTE_BYTES_MAX, read_small};

/// More faults of objects than that are kept by no mark: who goes on begins before them.
const FAULTS_MAX: usize = 1000;

/// What is told of the way.
pub trait Watch {
    /// So many seals of so many are done, with the objects they name; `bytes` of these.
    fn done(&mut self, seals: u64, of: u64, bytes: u64);

    /// A walk that is stopped now can go on behind this.
    fn reached(&mut self, _mark: &Mark) {}
}

/// Tells a function how far it is.
pub(super) struct Told<'p>(pub(super) &'p mut dyn FnMut(u64, u64, u64));

impl Watch for Told<'_> {
    fn done(&mut self, seals: u64, of: u64, bytes: u64) {
        (self.0)(seals, of, bytes);
    }
}

/// How far a walk has come in an archive: what it has read it need not read again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    streams: Vec<StreamMark>,
}

/// In one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamMark {
    folder: String,
    /// The objects of seals below this number are read.
    pub(super) seals: u64,
    /// Of the last of these seals, as it is stored.
    sha256: String,
    /// What was wrong with the bytes of objects, by the number of the seal.
    pub(super) faults: BTreeMap<u64, String>,
}

impl Mark {
    /// Whether the archive is the one that was walked: each stream has the seal with which it was left.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn fits(&self, stores: &OpenStore) -> io::Result<bool> {
        for mark in &self.streams {
            let Some(last) = mark.seals.checked_sub(1) else { return Ok(false) };
            let seal = read_small(&*stores(&mark.folder), &seal_key(last), NOTE_BYTES_MAX)?;
            if seal.is_none_or(|seal| text(&sha256(&seal)) != mark.sha256) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many seals of all streams it is behind.
    pub fn seals(&self) -> u64 {
        self.streams.iter().fold(0, |sum, mark| sum.saturating_add(mark.seals))
    }

    pub(super) fn of(&self, folder: &str) -> Option<&StreamMark> {
        self.streams.iter().find(|mark| mark.folder == folder)
    }

    /// The objects of all seals up to this one are read. False: it goes no further.
    pub(super) fn set(&mut self, folder: &str, seq: u64, sha256: &Hash, fault: Option<&str>) -> bool {
        let at = self.streams.iter().position(|mark| mark.folder == folder).unwrap_or_else(|| {
            self.streams.push(StreamMark { folder: folder.to_owned(), ..StreamMark::default() });
            self.streams.len() - 1
        });
        let mark = &mut self.streams[at];
        if mark.faults.len() >= FAULTS_MAX || seq < mark.seals {
            return false;
        }
        if let Some(fault) = fault {
            mark.faults.insert(seq, fault.to_owned());
        }
        (mark.seals, mark.sha256) = (seq + 1, text(sha256));
        true
    }
}

fn text(hash: &Hash) -> String {
    Base64(hash).to_string()
}

/// What a walk does not look at, because it was asked about a period.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// The period that was asked about, of receipt.
    pub from: Option<String>,
    pub to: Option<String>,
    /// Objects of other hours: whether they are there, and as they were sealed, is not known.
    pub objects: u64,
    /// Seals behind the period.
    pub seals: u64,
}

impl PassedOver {
    pub(super) fn of(period: Period) -> Option<PassedOver> {
        let Period { from, to } = period;
        let is_all = from.is_none() && to.is_none();
        (!is_all).then(|| PassedOver { from: from.map(time), to: to.map(time), ..PassedOver::default() })
    }
}

/// Whether an object is of the period. In doubt it is.
pub(super) fn is_of(period: Period, object: &str) -> bool {
    place(object).is_none_or(|(_, hour)| period.has_of(hour))
}

/// Whether an object is of an hour behind the period.
pub(super) fn is_behind(period: Period, object: &str) -> bool {
    let is_behind = |to: Time| place(object).is_some_and(|(_, hour)| hour >= to);
    period.to.is_some_and(is_behind)
}
