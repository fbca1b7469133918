//! Events of the gateway about machines that are not its own: what became of them in the inventories.
//!
//! Invariant: that something is said of a machine is no sign of its life.

use wharfinger_formats::{Event, Field, stored};

use super::{AppendError, Intake, OWN_SOURCE, Origin, finding, now};
use crate::identity::Facts;

/// So many are stored at once.
const AT_ONCE_MAX: usize = 256;

/// What is said of one machine.
#[derive(Debug)]
pub struct About<'a> {
    pub class: &'static str,
    pub text: &'a str,
    /// What is known of the machine.
    pub facts: &'a Facts,
}

impl Intake {
    /// Tells it, one event for each; waits while the journal is full.
    ///
    /// # Errors
    /// The journal cannot store.
    pub async fn report_about(&self, all: impl Iterator<Item = About<'_>>) -> Result<(), AppendError> {
        let mut frames = self.frames(Origin::own());
        for about in all {
            if frames.len() >= AT_ONCE_MAX {
                self.append(&mut frames).await?;
            }
            if frames.is_empty() {
                frames.found.clear();
            }
            let received = now();
            let mut event = Event::new(about.text.as_bytes());
            event.set(Field::Time, received);
            event.set(Field::ObservedTime, received);
            event.set(Field::EventClass, about.class);
            event.set(Field::Name, about.class);
            event.set(Field::Severity, 2);
            event.set(Field::Msg, about.text);
            event.set(Field::DeviceVendor, "Wharfinger");
            event.set(Field::DeviceProduct, "Wharfinger");
            event.set(Field::Source, OWN_SOURCE);
            event.set(Field::Peer, OWN_SOURCE);
            about.facts.set_on(&mut event);
            frames.batch.push_with(|out| stored::encode(&event, out));
            if let Some(judge) = &self.judge {
                finding::add(judge, &event, received, &mut frames.batch, &mut frames.found);
            }
        }
        self.append(&mut frames).await
    }
}
