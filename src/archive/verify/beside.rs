//! What others say of a checkpoint, in files of their own beside it: when it was there, and that a witness has
//! seen the stream grow up to it.
//!
//! Invariant: nothing of this makes good what the keys of the stream do not.

use std::collections::BTreeMap;
use std::io;

use rustls_pki_types::CertificateDer;

use wharfinger_formats::Time;

use super::report::{self, Fault, Finding, Report, Stamped, Witnessed};
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
#[derive(Debug)]
pub(super) struct Beside {
    keys: BTreeMap<u64, Vec<String>>,
    /// So many seals there was time to vouch for.
    due: u64,
    /// No more than that are asked about.
    is_frozen: bool,
    /// Who is to vouch for them.
    vouchers: Vec<Voucher>,
}

/// Somebody who is to vouch for the stream.
#[derive(Debug)]
struct Voucher {
    /// A witness; none: the authorities of time stamps.
    witness: Option<WitnessKey>,
    /// What stands behind the name of a checkpoint in that of his file.
    suffix: String,
    /// The largest checkpoint that has such a file.
    largest: u64,
    /// So many seals he has vouched for.
    seals: Option<u64>,
    /// When the first seal behind those was made.
    since: Option<Time>,
    /// He is to vouch for something, however young the stream is.
    owes: bool,
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
    /// `owes`: something of the stream before is still to be vouched for.
    pub(super) fn new(others: &Others, owes: bool) -> Beside {
        let voucher = |witness, suffix, owes| Voucher { witness, suffix, largest: 0, seals: None, since: None, owes };
        let stamps = others.authorities.as_ref().map(|_| voucher(None, stamp_key(""), owes));
        let witnesses = others.witnesses.iter().map(|key| voucher(Some(key.clone()), key.key_of(""), true));
        let vouchers = stamps.into_iter().chain(witnesses).collect();
        Beside { keys: BTreeMap::new(), due: 0, is_frozen: false, vouchers }
    }

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
        for voucher in self.vouchers.iter_mut().filter(|voucher| key.ends_with(&voucher.suffix)) {
            voucher.largest = voucher.largest.max(size);
        }
        true
    }

    /// What is beside no checkpoint is nobody's.
    pub(super) fn compare(&self, checkpoints: &BTreeMap<u64, String>, report: &mut Report) {
        for key in self.keys.iter().filter(|(size, _)| !checkpoints.contains_key(*size)).flat_map(|(_, keys)| keys) {
            report.find(Fault::Foreign, key, "it is beside no checkpoint");
        }
    }

    /// Nothing that is seen from now on is asked about.
    pub(super) fn freeze(&mut self) {
        self.is_frozen = true;
    }

    /// A seal that is to be trusted. There is a checkpoint every hour.
    pub(super) fn see(&mut self, size: u64, time: Time, until: Time) {
        for voucher in &mut self.vouchers {
            voucher.since.get_or_insert(time);
        }
        self.owe(size, time, until, CHECKPOINT_NANOS + END_NANOS);
    }

    /// Seals that are so much older are due.
    fn owe(&mut self, size: u64, time: Time, until: Time, older: i64) {
        // A time that has not come yet excuses nobody.
        let is_due = until.0.saturating_sub(time.0) >= older || !has_come(time, until);
        if is_due && !self.is_frozen {
            self.due = self.due.max(size);
        }
    }

    /// Checks what is beside a checkpoint.
    pub(super) fn check(
        &mut self,
        store: &dyn Store,
        good: Good<'_>,
        others: &Others,
        until: Time,
        report: &mut Report,
    ) -> io::Result<()> {
        self.owe(good.size, good.time, until, END_NANOS);
        for key in self.keys.remove(&good.size).unwrap_or_default() {
            let bytes = match read_small(store, &key, STAMP_BYTES_MAX) {
                Err(error) if is_away(&error) => return Err(error),
                bytes => bytes.ok().flatten().unwrap_or_default(),
            };
            let vouches = match key.ends_with(".tsr") {
                true => stamp(&key, &bytes, good, others, report),
                false => cosigned(&key, &bytes, good, others, report),
            };
            for voucher in self.vouchers.iter_mut().filter(|voucher| vouches && key.ends_with(&voucher.suffix)) {
                (voucher.seals, voucher.since) = (Some(good.size), None);
            }
        }
        Ok(())
    }

    /// Whether somebody who has not vouched for all that is due yet has a file beside a checkpoint behind this
    /// size: what is said of that one is about all before it.
    pub(super) fn is_ahead(&self, size: u64) -> bool {
        self.vouchers.iter().any(|voucher| voucher.is_due(self.due) && voucher.largest > size)
    }

    /// Each must have vouched for what there was time for. What came within an hour before the last seal is of
    /// the tail: nobody had time for it, if the stream ended there.
    pub(super) fn end(&self, last: Option<Time>, report: &mut Report) {
        for voucher in self.vouchers.iter().filter(|voucher| voucher.is_due(self.due)) {
            let finding = Finding::new(Fault::Signature, "checkpoint", voucher.owed());
            let length = last.zip(voucher.since).map(|(last, since)| last.0.saturating_sub(since.0));
            let is_of_tail = length.is_none_or(|length| (0..=CHECKPOINT_NANOS + END_NANOS).contains(&length));
            report.add(Finding { is_of_tail, ..finding });
        }
    }
}

impl Voucher {
    fn is_due(&self, due: u64) -> bool {
        self.seals.map_or(self.owes || due > 0, |seals| seals < due)
    }

    fn owed(&self) -> String {
        match (&self.witness, self.seals) {
            (Some(witness), Some(seals)) => {
                format!("{witness} has signed none since {seals} seals: what follows may be a fork")
            }
            (Some(witness), None) => format!("{witness} has signed none: the stream may be a fork"),
            (None, Some(seals)) => format!("of what came behind {seals} seals there is no time stamp"),
            (None, None) => "there is no time stamp of these authorities".to_owned(),
        }
    }
}

/// It vouches for nothing.
fn bad(report: &mut Report, fault: Fault, key: &str, what: impl Into<String>) -> bool {
    report.find(fault, key, what);
    false
}

fn stamp(key: &str, bytes: &[u8], good: Good<'_>, others: &Others, report: &mut Report) -> bool {
    let stamp = match Stamp::read(bytes) {
        Ok(stamp) if stamp.is_over(good.bytes) => stamp,
        Ok(_) => return bad(report, Fault::Altered, key, "it is the time stamp of something else"),
        Err(why) => return bad(report, Fault::Altered, key, why),
    };
    let checked = others.authorities.as_ref().map(|authorities| stamp.check(authorities));
    if let Some(Err(why)) = &checked {
        return bad(report, Fault::Signature, key, why);
    }
    report.stamps += 1;
    report.stamped = Some(Stamped { seals: good.size, time: report::time(stamp.time), is_proven: checked.is_some() });
    true
}

fn cosigned(key: &str, bytes: &[u8], good: Good<'_>, others: &Others, report: &mut Report) -> bool {
    let (note, checkpoint) = (Note::parse(bytes), Note::parse(good.bytes));
    let note = match (note, checkpoint) {
        (Ok(note), Ok(checkpoint)) if note.text == checkpoint.text => note,
        (Err(why), _) => return bad(report, Fault::Altered, key, format!("it is no signed note: {why}")),
        _ => return bad(report, Fault::Altered, key, "it is another checkpoint"),
    };
    let beside = checkpoint_key(good.size);
    let Some(witness) = others.witnesses.iter().find(|witness| witness.key_of(&beside) == key) else { return false };
    let Some(time) = witness.has_signed(&note) else {
        return bad(report, Fault::Signature, key, format!("it is not signed by {witness}"));
    };
    let (name, witness, time) = (witness.name().to_owned(), witness.to_string(), report::time(time));
    report.witnesses.retain(|one| one.witness != witness);
    report.witnesses.push(Witnessed { name, witness, seals: good.size, time });
    true
}
