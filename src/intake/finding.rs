//! Findings on their way into the journal: behind the event that they are about, or told by the clock.
//!
//! Invariant: one that an event makes stands behind its cause in one batch, so it is never stored without it; each
//! counts as an event of the gateway's own, and its place in the book is stored with it.

use std::sync::Arc;

use wharfinger_formats::{Event, Field, Time, stored};

use super::{AppendError, Intake, OWN_SOURCE, Tally, no_room, now};
use crate::identity::{self, STRANGERS_MAX, Snapshot, State, has_left};
use crate::journal::{Batch, Position};
use crate::policy::{Due, Finding, Judge, Policy, Sender, Silence, Standing, Told, rfc3339};

/// Marks are stored in batches of about so many bytes: the smallest journal takes one.
const MARKS_BYTES: usize = 128 << 10;
/// What is stored of the containers of all machines takes no more than this part of the journal.
const DOCKER_PART: usize = 64;
/// Strangers for whom there is no room.
const OTHERS: &str = "others";

/// A finding that is in a batch, and where.
#[derive(Debug)]
pub(super) struct InBatch {
    place: u64,
    /// Where the event stands that made it.
    cause: u64,
    told: Told,
}

/// Judges an event that was just added, and adds what is found.
pub(super) fn add(judge: &Judge, cause: &Event<'_>, received: Time, batch: &mut Batch, found: &mut Vec<InBatch>) {
    let mut behind = 0;
    judge.judge(cause, received, |finding, told| {
        behind += 1;
        push(judge.policy(), finding, (cause, &format!("-{behind}")), received, batch);
        batch.mark(&told.mark.0, &told.mark.1);
        let place = batch.len() as u64 - 1;
        found.push(InBatch { place, cause: place - behind, told });
    });
}

/// Asks about those who are silent, and those who are in no inventory.
fn look(judge: &Judge, machines: &Snapshot, now: Time) {
    let register = machines.register();
    let known = machines.listed().iter().filter_map(|machine| {
        let (silent, last) = (register.silent(&machine.seen), machine.seen.last());
        Some(Silence { machine: machine.key()?, facts: &machine.facts, silent, last })
    });
    judge.look_at_silence(now, known);

    let strangers = register.strangers_now(now, |stranger| machines.knows(&stranger.facts()));
    let mut senders: Vec<Sender<'_>> = strangers
        .iter()
        .map(|stranger| Sender {
            machine: &stranger.name,
            facts: stranger.facts(),
            last: stranger.last,
            note: format!("it spoke first at {}", rfc3339(stranger.first)),
        })
        .collect();
    if let Some(last) = register.others().filter(|last| !has_left(*last, now)) {
        let note = format!("more than {STRANGERS_MAX} speak, and not all of them are told apart");
        senders.push(Sender { machine: OTHERS, facts: [(Field::Peer, OTHERS)].into_iter().collect(), last, note });
    }
    judge.look_at_strangers(now, senders.into_iter(), |facts| machines.knows(facts), |last| has_left(last, now));
}

/// Notes how each machine stands, after everything is told.
fn note_states(judge: &Judge, machines: &Snapshot, now: Time) {
    let (standings, register) = (judge.take_stock(), machines.register());
    for (at, machine) in machines.machines().iter().enumerate() {
        let Some(key) = machine.key() else { continue };
        let is_listed = at < machines.listed().len();
        let is_silent = is_listed && judge.policy().is_silent(&machine.facts, register.silent(&machine.seen));
        machine.seen.stands(state(standings.get(key), is_silent, machine.seen.last(), judge.policy()), now);
    }
}

/// How a machine stands: what is wrong weighs more than what is not known.
fn state(standing: Option<&Standing>, is_silent: bool, last: Option<Time>, policy: &Policy) -> State {
    match last {
        _ if standing.is_some_and(|standing| standing.violates) => State::Violating,
        _ if is_silent => State::Silent,
        Some(_) if !policy.is_empty() => State::Compliant,
        _ => State::Unknown,
    }
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
    /// Looks at who is silent and who speaks without being known, and tells what findings have to say by the clock:
    /// that they happened again while they were quiet, or that their cause is gone. Stores what changed in the book.
    /// Answers how many were told.
    ///
    /// # Errors
    /// [`AppendError::Full`]: not even the reserve has room; it is told the next time. Or the journal cannot store.
    pub async fn tell_due(&self) -> Result<usize, AppendError> {
        let Some(judge) = &self.judge else { return Ok(0) };
        let (machines, now) = (self.identity.load_full(), now());
        look(judge, &machines, now);
        let due = judge.due(now, |facts| machines.group_of(facts).map(str::to_owned));
        let told = self.tell(judge, &due, now).await;
        note_states(judge, &machines, now);
        told?;
        self.store_marks(judge.stale()).await?;
        Ok(due.len())
    }

    async fn tell(&self, judge: &Judge, due: &[Due], now: Time) -> Result<(), AppendError> {
        for one in due {
            let Some((finding, cause, cause_id, mark)) = judge.finding(one) else { continue };
            let mut batch = Batch::new();
            push(judge.policy(), &finding, (&cause, cause_id), now, &mut batch);
            batch.mark(&mark.0, &mark.1);
            let receipt = self.journal.append_reserved(batch).await.map_err(no_room)?;
            judge.settle(one, now, self.id_at(receipt.first.0));
        }
        Ok(())
    }

    /// Stores who has spoken, and for how long the gateway has listened: what comes after this, and until it is
    /// restored, is nobody's silence.
    ///
    /// # Errors
    /// As [`tell_due`](Self::tell_due).
    pub async fn store_register(&self) -> Result<(), AppendError> {
        let machines = self.identity.load_full();
        // All marks are written again at the head of every segment.
        let docker_bytes_max = usize::try_from(self.journal.status().bytes_max).unwrap_or(usize::MAX) / DOCKER_PART;
        let all = machines.machines().iter();
        self.store_marks(machines.register().stale(all, docker_bytes_max)).await
    }

    /// Puts back what [`store_register`](Self::store_register) has stored.
    pub fn restore_register(&self) {
        let machines = self.identity.load_full();
        let [marks, docker] =
            [identity::MARKS, identity::DOCKER_MARKS].map(|name| self.journal.marks(name).into_iter());
        machines.register().restore(machines.machines().iter(), marks, docker);
    }

    /// The machines as they are known now.
    pub fn machines(&self) -> Arc<Snapshot> {
        self.identity.load_full()
    }

    async fn store_marks(&self, marks: Vec<(String, Vec<u8>)>) -> Result<(), AppendError> {
        let mut marks = marks.iter().peekable();
        while marks.peek().is_some() {
            let mut batch = Batch::new();
            while batch.bytes() < MARKS_BYTES
                && let Some((mark, value)) = marks.next()
            {
                batch.mark(mark, value);
            }
            self.journal.append_reserved(batch).await.map_err(no_room)?;
        }
        Ok(())
    }

    fn id_at(&self, position: u64) -> String {
        format!("{}-{position:016}", self.journal.incarnation())
    }

    /// What is in a batch is stored: its first event has that position.
    pub(super) fn stored(&self, found: &mut Vec<InBatch>, first: Position) {
        for InBatch { place, cause, told } in found.drain(..) {
            if let Some(judge) = &self.judge {
                judge.stored(&told, self.id_at(first.0 + place), self.id_at(first.0 + cause));
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
