//! What others say of a checkpoint, in files of their own beside it: when it was there.
//!
//! Invariant: nothing of this makes good what the keys of the stream do not.

use std::collections::BTreeMap;
use std::io;

use rustls_pki_types::CertificateDer;

use super::report::{self, Fault, Report, Stamped};
use crate::archive::store::{Store, is_away, read_small};
use crate::archive::timestamp::{STAMP_BYTES_MAX, Stamp};

/// Who is trusted besides the key.
#[derive(Debug, Clone, Default)]
pub struct Others {
    /// Authorities of time stamps. None: time stamps are read, and compared with their checkpoints, alone.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
}

/// The keys of these files, by the size of the checkpoint they are beside.
#[derive(Debug, Default)]
pub(super) struct Beside(BTreeMap<u64, Vec<String>>);

impl Beside {
    /// Whether a key is of such a file.
    pub(super) fn take(&mut self, key: &str) -> bool {
        let Some((checkpoint, "tsr")) = key.split_once('.') else { return false };
        let size = checkpoint.strip_prefix("checkpoint/").and_then(|size| size.parse().ok());
        let Some(size) = size.filter(|size: &u64| checkpoint == format!("checkpoint/{size:012}")) else { return false };
        self.0.entry(size).or_default().push(key.to_owned());
        true
    }

    /// What is beside no checkpoint is nobody's.
    pub(super) fn compare(&self, checkpoints: &BTreeMap<u64, String>, report: &mut Report) {
        for key in self.0.iter().filter(|(size, _)| !checkpoints.contains_key(*size)).flat_map(|(_, keys)| keys) {
            report.find(Fault::Foreign, key, "it is beside no checkpoint");
        }
    }

    /// Checks what is beside a checkpoint that is good.
    pub(super) fn check(
        &mut self,
        store: &dyn Store,
        size: u64,
        checkpoint: &[u8],
        others: &Others,
        report: &mut Report,
    ) -> io::Result<()> {
        for key in self.0.remove(&size).unwrap_or_default() {
            let bytes = match read_small(store, &key, STAMP_BYTES_MAX) {
                Err(error) if is_away(&error) => return Err(error),
                bytes => bytes.ok().flatten().unwrap_or_default(),
            };
            stamp(&key, size, &bytes, checkpoint, others, report);
        }
        Ok(())
    }
}

fn stamp(key: &str, size: u64, bytes: &[u8], checkpoint: &[u8], others: &Others, report: &mut Report) {
    let stamp = match Stamp::read(bytes) {
        Ok(stamp) if stamp.is_over(checkpoint) => stamp,
        Ok(_) => return report.find(Fault::Altered, key, "it is the time stamp of something else"),
        Err(why) => return report.find(Fault::Altered, key, why),
    };
    let checked = others.authorities.as_ref().map(|authorities| stamp.check(authorities));
    if let Some(Err(why)) = &checked {
        return report.find(Fault::Signature, key, why);
    }
    report.stamps += 1;
    report.stamped = Some(Stamped { seals: size, time: report::time(stamp.time), is_proven: checked.is_some() });
}
