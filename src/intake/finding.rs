//! Findings on their way into the journal: behind the event that they are about, or told by the clock.
//!
//! Invariant: one that an event makes stands behind its cause in one batch, so it is never stored without it; each
//! counts as an event of the gateway's own, and its place in the book is stored with it.

use wharfinger_formats::{Event, Field, Time, stored};

use super::{AppendError, Intake, OWN_SOURCE, Tally, no_room, now};
use crate::journal::{Batch, Position};
use crate::policy::{Finding, Judge, Policy, Told};

/// A finding that is in a batch, and where.
#[derive(Debug)]
pub(super) struct InBatch {
    place: u64,
    told: Told,
}

/// Judges an event that was just added, and adds what is found.
pub(super) fn add(judge: &Judge, cause: &Event<'_>, received: Time, batch: &mut Batch, found: &mut Vec<InBatch>) {
    let mut behind = 0;
    judge.judge(cause, received, |finding, told| {
        behind += 1;
        push(judge.policy(), finding, (cause, &format!("-{behind}")), received, batch);
        batch.mark(&told.mark.0, &told.mark.1);
        found.push(InBatch { place: batch.len() as u64 - 1, told });
    });
}

/// Adds the event of a finding and its tally.
fn push(policy: &Policy, finding: &Finding<'_>, (cause, cause_id): (&Event<'_>, &str), now: Time, batch: &mut Batch) {
    let text = finding.text(policy, cause);
    let mut event = Event::new(text.as_bytes());
    event.set(Field::Time, now);
    event.set(Field::ObservedTime, now);
    event.set(Field::Msg, text.as_str());
    event.set(Field::DeviceVendor, "Wharfinger");
    event.set(Field::DeviceProduct, "Wharfinger");
    event.set(Field::Source, OWN_SOURCE);
    event.set(Field::Peer, OWN_SOURCE);
    finding.fill(policy, cause, cause_id, &mut event);
    batch.push_with(|out| stored::encode(&event, out));
    Tally { taken: 1, lost: 0 }.add_to(batch, OWN_SOURCE);
}

impl Intake {
    /// Tells what findings have to say by the clock: that they happened again while they were quiet, or that their
    /// cause is gone. Stores what changed in the book. Answers how many were told.
    ///
    /// # Errors
    /// [`AppendError::Full`]: not even the reserve has room; it is told the next time. Or the journal cannot store.
    pub async fn tell_due(&self) -> Result<usize, AppendError> {
        let Some(judge) = &self.judge else { return Ok(0) };
        let (machines, now) = (self.identity.load_full(), now());
        let due = judge.due(now, |facts| machines.group_of(facts).map(str::to_owned));
        for one in &due {
            let Some((finding, cause, cause_id, mark)) = judge.finding(one) else { continue };
            let mut batch = Batch::new();
            push(judge.policy(), &finding, (&cause, cause_id), now, &mut batch);
            batch.mark(&mark.0, &mark.1);
            self.journal.append_reserved(batch).await.map_err(no_room)?;
            judge.settle(one, now);
        }
        let mut batch = Batch::new();
        judge.stale().iter().for_each(|(mark, value)| batch.mark(mark, value));
        if !batch.is_empty() {
            self.journal.append_reserved(batch).await.map_err(no_room)?;
        }
        Ok(due.len())
    }

    /// What is in a batch is stored: its first event has that position.
    pub(super) fn stored(&self, found: &mut Vec<InBatch>, first: Position) {
        for InBatch { place, told } in found.drain(..) {
            if let Some(judge) = &self.judge {
                judge.stored(&told, format!("{}-{:016}", self.journal.incarnation(), first.0 + place));
            }
        }
    }

    /// It could not be stored, and is told again.
    pub(super) fn take_back(&self, found: &mut Vec<InBatch>) {
        if let Some(judge) = &self.judge {
            judge.take_back(found.drain(..).map(|InBatch { told, .. }| told));
        }
    }
}
