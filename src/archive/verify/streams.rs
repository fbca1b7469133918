//! All streams of an archive: where one could not go on, the next names it, and both keys have signed that.
//!
//! Invariant: a stream is trusted only because the key of the one before has signed its first seal.

use std::io;

use super::part::Told;
use super::{Fault, Mark, Question, Report, Watch, Way, walk};
use crate::archive::chain::seal_key;
use crate::archive::checkpoint::Checkpoint;
use crate::archive::note::{Note, VerifyingKey};
use crate::archive::object::OpenStore;
use crate::archive::read::Period;
use crate::archive::seal::{Base64, Body, Seal};
use crate::archive::store::{NOTE_BYTES_MAX, Store, read_small};

/// More streams than that are no archive of ours.
const STREAMS_MAX: u64 = 10_000;

/// Checks the stream in `folder` and those that go on from it.
///
/// # Errors
/// The store cannot be read: nothing is said about the archive.
pub fn verify_archive(
    stores: &OpenStore,
    folder: &str,
    question: &Question,
    progress: &mut dyn FnMut(u64, u64, u64),
) -> io::Result<Vec<Report>> {
    verify_part(stores, folder, question, Period::default(), Mark::default(), &mut Told(progress))
}

/// The same of what was received in a period, by whole hours, behind what an earlier walk has read. Seals are
/// walked from the first to the one that is behind the period; no other objects are looked at.
///
/// # Errors
/// The store cannot be read: nothing is said about the archive.
pub fn verify_part(
    stores: &OpenStore,
    folder: &str,
    question: &Question,
    period: Period,
    mut mark: Mark,
    watch: &mut dyn Watch,
) -> io::Result<Vec<Report>> {
    let mut reports: Vec<Report> = Vec::new();
    let mut question = question.clone();
    let mut anchors = std::mem::take(&mut question.anchors);
    let numbered = folder.rsplit_once('.').and_then(|(base, number)| Some((base, number.parse::<u64>().ok()?)));
    let (base, first) = numbered.unwrap_or((folder, 1));
    for stream in first..first.saturating_add(STREAMS_MAX) {
        let folder = if stream == 1 { base.to_owned() } else { format!("{base}.{stream}") };
        let store = stores(&folder);
        if let Some(before) = reports.last_mut() {
            let Some(key) = successor(&*store, before)? else { break };
            before.is_followed();
            question.key = key;
        }
        question.anchors = anchors.extract_if(.., |anchor| is_of(anchor, question.key.name())).collect();
        // Where a later stream has an anchor, it is to be reached.
        // And a stream that goes on from this one says so of its last seal: where a clock was put back, that one
        // has events of the period, too.
        let next = stores(&format!("{base}.{}", stream + 1));
        let is_followed = read_small(&*next, &seal_key(0), NOTE_BYTES_MAX)?.is_some();
        let way = Way { folder: &folder, period, is_whole: is_followed || !anchors.is_empty() };
        let (report, is_left) = walk(&*store, &question, &way, &mut mark, watch)?;
        reports.push(report);
        if is_left {
            break;
        }
    }
    if let Some(last) = reports.last_mut() {
        for _ in anchors {
            last.find(Fault::Anchor, "anchor", "it is no checkpoint of this archive");
        }
    }
    Ok(reports)
}

fn is_of(anchor: &[u8], origin: &str) -> bool {
    let checkpoint = Note::parse(anchor).ok().and_then(|note| Checkpoint::parse(note.text));
    checkpoint.is_some_and(|checkpoint| checkpoint.origin == origin)
}

/// The key of the stream that goes on from the one of the report, if the key of that one says so.
fn successor(store: &dyn Store, before: &Report) -> io::Result<Option<VerifyingKey>> {
    let Some((last_key, last_seq, last_hash)) = &before.last else { return Ok(None) };
    let Some(bytes) = read_small(store, &seal_key(0), NOTE_BYTES_MAX)? else { return Ok(None) };
    let Ok(note) = Note::parse(&bytes) else { return Ok(None) };
    let Ok(Seal { body: Body::Gap(gap), .. }) = Seal::parse(note.text) else { return Ok(None) };
    let beginning = format!("continues {} behind seal {last_seq} {} with ", before.origin, Base64(last_hash));
    let key = gap.cause.strip_prefix(&beginning).and_then(|rest| VerifyingKey::parse(rest.split_once(": ")?.0));
    Ok(key.filter(|key| note.is_signed_by(last_key) && note.is_signed_by(key)))
}
