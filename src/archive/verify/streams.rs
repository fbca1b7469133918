//! All streams of an archive: where one could not go on, the next names it, and both keys have signed that.
//!
//! Invariants: a stream is trusted only because a key of one before has signed its first seal; what stands where
//! a stream would be and is none is a finding.

use std::io;

use super::part::Told;
use super::{Fault, Mark, Question, Report, Watch, Way, walk};
use crate::archive::chain::seal_key;
use crate::archive::checkpoint::Checkpoint;
use crate::archive::merkle::sha256;
use crate::archive::note::Note;
use crate::archive::object::OpenStore;
use crate::archive::read::Period;
use crate::archive::seal::Base64;
use crate::archive::store::{NOTE_BYTES_MAX, Store, is_away, read_small};
use crate::archive::streams::{Beginning, streams};

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
    let mut question = question.clone();
    let mut anchors = std::mem::take(&mut question.anchors);
    let mut later = streams(stores, folder)?;
    later.retain(|name| name != folder);
    let (mut walked, mut foreign) = (Vec::<Walked>::new(), Vec::new());
    let mut left = later.len();
    for name in std::iter::once(folder.to_owned()).chain(later) {
        let store = stores(&name);
        let mut owes = false;
        if !walked.is_empty() {
            left -= 1;
            let Some((before, beginning)) = followed(stores, &walked, &name)? else {
                foreign.push(name);
                continue;
            };
            owes = walked[before].report.is_followed_by(&name, beginning.seq, &beginning.hash);
            question.key = beginning.key;
        }
        question.anchors = anchors.extract_if(.., |anchor| is_of(anchor, question.key.name())).collect();
        // Where a later stream has an anchor, it is to be reached.
        // And a stream that goes on from this one says so of its last seal: where a clock was put back, that one
        // has events of the period, too.
        let way = Way { folder: &name, period, is_whole: left > 0 || !anchors.is_empty(), owes };
        let (report, is_left) = walk(&*store, &question, &way, &mut mark, watch)?;
        walked.push(Walked { folder: name.clone(), report });
        if is_left {
            break;
        }
    }
    let mut reports: Vec<Report> = walked.into_iter().map(|walked| walked.report).collect();
    if let Some(last) = reports.last_mut() {
        for name in foreign {
            last.find(Fault::Foreign, &name, "it goes on from no stream that this key leads to");
        }
        for _ in anchors {
            last.find(Fault::Anchor, "anchor", "it is no checkpoint of this archive");
        }
    }
    Ok(reports)
}

/// A stream that was walked.
struct Walked {
    folder: String,
    report: Report,
}

fn is_of(anchor: &[u8], origin: &str) -> bool {
    let checkpoint = Note::parse(anchor).ok().and_then(|note| Checkpoint::parse(note.text));
    checkpoint.is_some_and(|checkpoint| checkpoint.origin == origin)
}

/// Which of the streams a later one goes on from, if the key that signed there says so: mostly the last seal of
/// the last. Where the state of its writer was put back, an earlier one.
fn followed(stores: &OpenStore, walked: &[Walked], folder: &str) -> io::Result<Option<(usize, Beginning)>> {
    let Some(beginning) = Beginning::read(&*stores(folder))? else { return Ok(None) };
    let Some(at) = walked.iter().position(|walked| walked.report.origin == beginning.of) else { return Ok(None) };
    let Walked { folder: before, report } = &walked[at];
    let is_signed = report.key_behind(beginning.seq).is_some_and(|key| beginning.is_signed(key, folder));
    let is_its = is_signed && seal_hash(&*stores(before), beginning.seq)?.is_some_and(|hash| hash == beginning.hash);
    Ok(is_its.then_some((at, beginning)))
}

/// The hash of the text of a seal, as a beginning names it.
fn seal_hash(store: &dyn Store, seq: u64) -> io::Result<Option<String>> {
    let bytes = match read_small(store, &seal_key(seq), NOTE_BYTES_MAX) {
        Err(error) if is_away(&error) => return Err(error),
        bytes => bytes.ok().flatten().unwrap_or_default(),
    };
    Ok(Note::parse(&bytes).ok().map(|note| Base64(&sha256(note.text.as_bytes())).to_string()))
}
