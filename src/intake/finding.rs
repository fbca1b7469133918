//! Findings on their way into the batch of the event that they are about.
//!
//! Invariant: a finding stands behind its cause in one batch, so it is never stored without it; it counts as an
//! event of the gateway's own.

use wharfinger_formats::{Event, Field, Time, stored};

use super::{OWN_SOURCE, Tally};
use crate::journal::Batch;
use crate::policy::{Judge, Told};

/// Judges an event that was just added, and adds what is found.
pub(super) fn add(judge: &Judge, cause: &Event<'_>, received: Time, batch: &mut Batch, told: &mut Vec<Told>) {
    let mut behind = 0;
    judge.judge(cause, received, |finding, this| {
        behind += 1;
        let text = finding.text(judge.policy(), cause);
        let mut event = Event::new(text.as_bytes());
        event.set(Field::Time, received);
        event.set(Field::ObservedTime, received);
        event.set(Field::Msg, text.as_str());
        event.set(Field::DeviceVendor, "Wharfinger");
        event.set(Field::DeviceProduct, "Wharfinger");
        event.set(Field::Source, OWN_SOURCE);
        event.set(Field::Peer, OWN_SOURCE);
        finding.fill(judge.policy(), cause, behind, &mut event);
        batch.push_with(|out| stored::encode(&event, out));
        Tally { taken: 1, lost: 0 }.add_to(batch, OWN_SOURCE);
        told.push(this);
    });
}
