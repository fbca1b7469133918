//! What others say of a checkpoint, in files of their own beside it: when it was there, and that a witness has
//! seen the stream grow up to it.
//!
//! Invariant: nothing of this makes good what the keys of the stream do not.

use std::collections::BTreeMap;
use std::io;

use rustls_pki_types::CertificateDer;

use wharfinger_formats::Time;

use super::report::{self, Fault, NOT_VOUCHED, Report, Stamped, Witnessed};
use super::{END_NANOS, has_come};
use crate::archive::chain::checkpoint_key;
use crate::archive::note::Note;
use crate::archive::store::{Store, is_away, read_small};
use crate::archive::timestamp::{STAMP_BYTES_MAX, Stamp, stamp_key};
use crate::archive::witness::WitnessKey;

/// How long seals may be without a checkpoint.
const CHECKPOINT_NANOS: i64 = 3600 * 1_000_000_000;

/// Who is trusted besides the key.
#[derive(Debug, Clone, Default)]
pub struct Others {
    /// Authorities of time stamps: one of them must have stamped. None: time stamps are read, and compared with
    /// their checkpoints, alone.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// Each of them must have signed.
    pub witnesses: Vec<WitnessKey>,
}

/// The keys of these files, by the size of the checkpoint they are beside.
#[derive(Debug, Default)]
pub(super) struct Beside {
    keys: BTreeMap<u64, Vec<String>>,
    /// So many seals there was time to vouch for.
    due: u64,
}

/// A checkpoint that is good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Good<'c> {
    pub(super) size: u64,
    pub(super) bytes: &'c [u8],
    /// Of its last seal.
    pub(super) time: Time,
}

impl Beside {
    /// Whether a key is of such a file.
    pub(super) fn take(&mut self, key: &str) -> bool {
        let Some((checkpoint, kind)) = key.split_once('.') else { return false };
        let of_witness = |id: &str| id.len() == 8 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if kind != "tsr" && !kind.strip_prefix("witness-").is_some_and(of_witness) {
            return false;
        }
        let size = checkpoint.strip_prefix("checkpoint/").and_then(|size| size.parse().ok());
        let Some(size) = size.filter(|size: &u64| checkpoint == checkpoint_key(*size)) else { return false };
        self.keys.entry(size).or_default().push(key.to_owned());
        true
    }

    /// What is beside no checkpoint is nobody's.
    pub(super) fn compare(&self, checkpoints: &BTreeMap<u64, String>, report: &mut Report) {
        for key in self.keys.iter().filter(|(size, _)| !checkpoints.contains_key(*size)).flat_map(|(_, keys)| keys) {
            report.find(Fault::Foreign, key, "it is beside no checkpoint");
        }
    }

    /// A seal that is to be trusted. There is a checkpoint every hour.
    pub(super) fn see(&mut self, size: u64, time: Option<Time>, end: Time) {
        // A time that has not come yet excuses nobody.
        let is_due = |time: Time| end.0.saturating_sub(time.0) >= CHECKPOINT_NANOS + END_NANOS || !has_come(time, end);
        if time.is_some_and(is_due) {
            self.due = size;
        }
    }

    /// Checks what is beside a checkpoint.
    pub(super) fn check(
        &mut self,
        store: &dyn Store,
        good: Good<'_>,
        others: &Others,
        end: Time,
        report: &mut Report,
    ) -> io::Result<()> {
        if end.0.saturating_sub(good.time.0) >= END_NANOS || !has_come(good.time, end) {
            self.due = self.due.max(good.size);
        }
        for key in self.keys.remove(&good.size).unwrap_or_default() {
            let bytes = match read_small(store, &key, STAMP_BYTES_MAX) {
                Err(error) if is_away(&error) => return Err(error),
                bytes => bytes.ok().flatten().unwrap_or_default(),
            };
            match key.ends_with(".tsr") {
                true => stamp(&key, &bytes, good, others, report),
                false => cosigned(&key, &bytes, good, others, report),
            }
        }
        Ok(())
    }

    /// Whether somebody who has not vouched for all that is due yet has a file beside a later checkpoint: what is
    /// said of that one is about all before it.
    pub(super) fn is_ahead(&self, others: &Others, report: &Report) -> bool {
        let is_later = |file_of: &dyn Fn(&str) -> String| {
            self.keys.iter().any(|(size, keys)| *size >= self.due && keys.contains(&file_of(&checkpoint_key(*size))))
        };
        let is_due = |seals: Option<u64>| seals.is_none_or(|seals| seals < self.due);
        others.authorities.is_some() && is_due(stamped(report)) && is_later(&stamp_key)
            || others
                .witnesses
                .iter()
                .any(|witness| is_due(signed_by(witness, report)) && is_later(&|checkpoint| witness.key_of(checkpoint)))
    }

    /// Each must have vouched for what there was time for; of a young stream a witness for anything.
    pub(super) fn end(&self, others: &Others, report: &mut Report) {
        if others.authorities.is_some() && stamped(report).unwrap_or(0) < self.due {
            let what = match stamped(report) {
                Some(seals) => format!("of what came behind {seals} seals there is no time stamp"),
                None => "there is no time stamp of these authorities".to_owned(),
            };
            report.find(Fault::Signature, NOT_VOUCHED, what);
        }
        for witness in &others.witnesses {
            let what = match signed_by(witness, report) {
                Some(seals) if seals >= self.due => continue,
                Some(seals) => format!("{witness} has signed none since {seals} seals: what follows may be a fork"),
                None => format!("{witness} has signed none: the stream may be a fork"),
            };
            report.find(Fault::Signature, NOT_VOUCHED, what);
        }
    }
}

/// So many seals were there at the newest time that is proven.
fn stamped(report: &Report) -> Option<u64> {
    report.stamped.as_ref().filter(|stamped| stamped.is_proven).map(|stamped| stamped.seals)
}

/// So many seals a witness has signed.
fn signed_by(witness: &WitnessKey, report: &Report) -> Option<u64> {
    let witness = witness.to_string();
    report.witnesses.iter().find(|one| one.witness == witness).map(|one| one.seals)
}

fn stamp(key: &str, bytes: &[u8], good: Good<'_>, others: &Others, report: &mut Report) {
    let stamp = match Stamp::read(bytes) {
        Ok(stamp) if stamp.is_over(good.bytes) => stamp,
        Ok(_) => return report.find(Fault::Altered, key, "it is the time stamp of something else"),
        Err(why) => return report.find(Fault::Altered, key, why),
    };
    let checked = others.authorities.as_ref().map(|authorities| stamp.check(authorities));
    if let Some(Err(why)) = &checked {
        return report.find(Fault::Signature, key, why);
    }
    report.stamps += 1;
    report.stamped = Some(Stamped { seals: good.size, time: report::time(stamp.time), is_proven: checked.is_some() });
}

fn cosigned(key: &str, bytes: &[u8], good: Good<'_>, others: &Others, report: &mut Report) {
    let (note, checkpoint) = (Note::parse(bytes), Note::parse(good.bytes));
    let note = match (note, checkpoint) {
        (Ok(note), Ok(checkpoint)) if note.text == checkpoint.text => note,
        (Err(why), _) => return report.find(Fault::Altered, key, format!("it is no signed note: {why}")),
        _ => return report.find(Fault::Altered, key, "it is another checkpoint"),
    };
    let beside = checkpoint_key(good.size);
    let Some(witness) = others.witnesses.iter().find(|witness| witness.key_of(&beside) == key) else { return };
    let Some(time) = witness.has_signed(&note) else {
        return report.find(Fault::Signature, key, format!("it is not signed by {witness}"));
    };
    let (name, witness, time) = (witness.name().to_owned(), witness.to_string(), report::time(time));
    report.witnesses.retain(|one| one.witness != witness);
    report.witnesses.push(Witnessed { name, witness, seals: good.size, time });
}
