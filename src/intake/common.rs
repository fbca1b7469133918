//! What the gateway knows of events beside what their senders claim.
//!
//! Invariant: what a sender claims stays beside what is known, never in its place.

use std::sync::Arc;

use wharfinger_formats::{Event, Field, Time};

use super::{OWN_SOURCE, Origin};
use crate::identity::{Evidence, Identity, Seen, Snapshot, Trust, Who};

/// What all events of a batch and an origin have in common, known before a frame is looked at.
#[derive(Debug)]
pub(super) struct Common {
    fields: Event<'static>,
    /// The machines as they are known at the beginning of the batch.
    machines: Arc<Snapshot>,
    received: Time,
    /// Nobody knows who speaks, and what it calls itself is not noted yet.
    is_strange: bool,
    /// Where it is noted what is seen of the machine; nowhere for a relay, and for the gateway itself.
    seen: Option<Arc<Seen>>,
}

impl Common {
    pub(super) fn new(source: &str, machines: Arc<Snapshot>, origin: &Origin, received: Time) -> Common {
        let mut fields = Event::new(b"");
        fields.set(Field::ObservedTime, received);
        fields.set(Field::Source, source);
        fields.set_text(Field::Peer, &origin.peer);
        let (mut is_strange, mut seen) = (false, None);
        // A relay speaks for many machines: each event says which.
        if origin.trust != Trust::Relay {
            match machines.resolve(who(source, origin)) {
                Some((identity, evidence)) => {
                    // What the gateway says of itself is no sign of life of a machine.
                    if source != OWN_SOURCE {
                        identity.seen.speaks(received);
                        seen = Some(Arc::clone(&identity.seen));
                    }
                    set(identity, evidence, &mut fields);
                }
                None => is_strange = origin.address.is_some(),
            }
        }
        Common { fields, machines, received, is_strange, seen }
    }

    /// Sets what the gateway knows beside what the sender claims.
    pub(super) fn add_to(&mut self, event: &mut Event<'_>, origin: &Origin) {
        match origin.trust {
            Trust::Relay => self.add_relayed(event, origin),
            Trust::Peer => {
                if let Some(known) = self.fields.text(Field::HostName) {
                    keep_claim(event, known);
                }
            }
            Trust::Local => {}
        }
        if std::mem::take(&mut self.is_strange) {
            let claimed = event.text(Field::HostName);
            self.seen = self.machines.register().stranger(&origin.peer, claimed, false, self.received);
        }
        if let Some(seen) = &self.seen {
            seen.note(event, self.received);
        }
        event.set_all(&self.fields);
    }

    fn add_relayed(&self, event: &mut Event<'_>, origin: &Origin) {
        let who = Who {
            trust: origin.trust,
            claimed_host: event.text(Field::HostName),
            claimed_id: event.text(Field::HostId),
            claimed_address: event.text(Field::HostIp),
            ..Who::default()
        };
        let found = self.machines.resolve(who);
        if let Some((identity, evidence)) = found {
            identity.seen.speaks(self.received);
            identity.seen.note(event, self.received);
            set(identity, evidence, event);
        } else if let Some(claimed) = event.text(Field::HostName)
            && let Some(seen) = self.machines.register().stranger(claimed, None, true, self.received)
        {
            seen.note(event, self.received);
        }
    }
}

/// What a connection proves, without a look at what it says.
fn who<'e>(source: &'e str, origin: &'e Origin) -> Who<'e> {
    let Origin { trust, address, address_unverified, .. } = *origin;
    Who { trust, address, address_unverified, credential: Some(&origin.peer), source, ..Who::default() }
}

/// Sets what is known of the machine.
fn set(identity: &Identity, evidence: Evidence, event: &mut Event<'_>) {
    if let Some(known) = identity.fact(Field::HostName) {
        keep_claim(event, known);
    }
    identity.facts.set_on(event);
    event.set(Field::VmEvidence, evidence.name());
}

/// A host name that is not the one we know stays beside it.
fn keep_claim(event: &mut Event<'_>, known: &str) {
    if event.text(Field::HostName).is_some_and(|claimed| claimed != known) {
        event.copy(Field::HostName, Field::HostClaimedName);
    }
}
