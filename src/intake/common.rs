//! What the gateway knows of events beside what their senders claim.
//!
//! Invariant: what a sender claims stays beside what is known, never in its place.

use std::sync::Arc;

use wharfinger_formats::{Event, Field, Time};

use super::Origin;
use crate::identity::{Snapshot, Trust, Who};

/// What all events of a batch and an origin have in common, known before a frame is looked at.
#[derive(Debug)]
pub(super) struct Common {
    fields: Event<'static>,
    /// The machines as they are known at the beginning of the batch.
    machines: Arc<Snapshot>,
}

impl Common {
    pub(super) fn new(source: &str, machines: Arc<Snapshot>, origin: &Origin, received: Time) -> Common {
        let mut fields = Event::new(b"");
        fields.set(Field::ObservedTime, received);
        fields.set(Field::Source, source);
        fields.set_text(Field::Peer, &origin.peer);
        // A relay speaks for many machines: each event says which.
        if origin.trust != Trust::Relay {
            identify(&machines, origin, &mut fields);
        }
        Common { fields, machines }
    }

    /// Sets what the gateway knows beside what the sender claims.
    pub(super) fn add_to(&self, event: &mut Event<'_>, origin: &Origin) {
        if origin.trust == Trust::Relay {
            identify(&self.machines, origin, event);
        } else if origin.trust == Trust::Peer
            && let Some(known) = self.fields.text(Field::HostName)
        {
            keep_claim(event, known);
        }
        event.set_all(&self.fields);
    }
}

/// Sets what is known of the machine.
fn identify(machines: &Snapshot, origin: &Origin, event: &mut Event<'_>) {
    let who = Who {
        trust: origin.trust,
        address: origin.address,
        address_unverified: origin.address_unverified,
        claimed_host: event.text(Field::HostName),
    };
    let Some((identity, evidence)) = machines.resolve(who) else { return };
    if let Some((_, known)) = identity.fields.iter().find(|(field, _)| *field == Field::HostName) {
        keep_claim(event, known);
    }
    for (field, value) in &identity.fields {
        event.set(*field, value);
    }
    event.set(Field::VmEvidence, evidence.name());
}

/// A host name that is not the one we know stays beside it.
fn keep_claim(event: &mut Event<'_>, known: &str) {
    if event.text(Field::HostName).is_some_and(|claimed| claimed != known) {
        event.copy(Field::HostName, Field::HostClaimedName);
    }
}
