//! Intake: frame → **parse → identify → judge → append**: the story of an event in one function.
//!
//! Invariant: total. Whatever the bytes are, exactly one event comes out, and
//! [`Intake::append`] returns only after it is on disk.

mod about;
mod act;
mod common;
mod digest;
mod dropped;
mod finding;
mod gap;
mod made;
mod tally;

use std::future::pending;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use wharfinger_formats::{Choice, Context, Event, Field, Offset, Time, stored};

use crate::identity::Snapshot;
use crate::journal::{Batch, Journal, Position};
use crate::policy::Judge;
use crate::stats::{self, SourceStats};

use self::common::Common;
use self::finding::InBatch;

pub use self::about::About;
pub use self::act::Act;
pub use self::digest::{Digest, DigestState};
pub use self::dropped::Dropped;
pub use self::gap::{Gap, Numbered};
pub use self::tally::Tally;
pub use crate::identity::Trust;
pub use crate::journal::AppendError;

/// Where frames come from: made once per connection, file or engine.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Address or credential of the connection: `192.0.2.7`, `uid 0`, a path.
    pub peer: Arc<str>,
    /// The address identity is looked up by.
    pub address: Option<IpAddr>,
    /// UDP: the address proves nothing.
    pub address_unverified: bool,
    /// Whose machine the events are about.
    pub trust: Trust,
    /// The name of a format, or `None` to detect it for each frame.
    pub format: Option<&'static str>,
    /// Zone of timestamps that name none, in seconds east of UTC.
    pub zone_seconds: i32,
}

impl Origin {
    /// Of events that the gateway makes itself.
    pub fn own() -> Origin {
        Origin {
            peer: OWN_SOURCE.into(),
            address: None,
            address_unverified: false,
            trust: Trust::Local,
            format: None,
            zone_seconds: 0,
        }
    }
}

/// Frames of one origin on their way into the journal. Keep one per connection and reuse it.
#[derive(Debug)]
pub struct Frames {
    batch: Batch,
    origin: Origin,
    choice: Choice,
    received: Time,
    /// What all events of this batch and origin have in common; none before the first of them.
    common: Option<Common>,
    /// Its memory serves one frame after the other.
    event: Event<'static>,
    /// The findings in the batch.
    found: Vec<InBatch>,
    /// So many other events in it are the gateway's own.
    own: usize,
    /// Where the batch that was appended last begins.
    stored: Option<Position>,
}

impl Frames {
    /// From here on, frames come from another origin: for sources with many of them in one batch.
    pub fn turn_to(&mut self, origin: Origin) {
        if origin.format != self.origin.format {
            self.choice = choice(&origin);
        }
        self.origin = origin;
        self.common = None;
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Events waiting for [`Intake::append`].
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }
}

/// A name that is none of ours cannot come from a checked configuration; detection still works.
fn choice(origin: &Origin) -> Choice {
    origin.format.and_then(Choice::named).unwrap_or_default()
}

/// A source's way into the gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake {
    journal: Journal,
    identity: Arc<ArcSwap<Snapshot>>,
    source: Arc<str>,
    stats: Arc<SourceStats>,
    judge: Option<Arc<Judge>>,
    /// Events dropped since the last gap record.
    dropped: Arc<Mutex<Option<Dropped>>>,
}

/// How often it is tried to declare a gap while there is no room at all.
const FULL_INTERVAL: Duration = Duration::from_millis(500);

impl Intake {
    pub fn new(journal: Journal, identity: Arc<ArcSwap<Snapshot>>, source: &str, stats: Arc<SourceStats>) -> Self {
        Intake { journal, identity, source: source.into(), stats, judge: None, dropped: Arc::default() }
    }

    /// The same with a policy: what it finds goes into the batch of the event that it is about.
    #[must_use]
    pub fn judged_by(mut self, judge: Option<Arc<Judge>>) -> Self {
        self.judge = judge;
        self
    }

    /// The name of the source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The counters of the source.
    pub fn stats(&self) -> Arc<SourceStats> {
        Arc::clone(&self.stats)
    }

    /// An empty batch for frames of that origin.
    pub fn frames(&self, origin: Origin) -> Frames {
        let choice = choice(&origin);
        Frames {
            batch: Batch::new(),
            origin,
            choice,
            received: now(),
            common: None,
            event: Event::new(b""),
            found: Vec::new(),
            own: 0,
            stored: None,
        }
    }

    /// Parses, identifies, judges one frame and adds it to the batch. Never refuses.
    pub fn take(&self, frames: &mut Frames, frame: &[u8]) {
        let choice = frames.choice;
        self.add(frames, frame, |context, event| {
            wharfinger_formats::parse(choice, event.raw(), context, event);
        });
    }

    /// A frame over the limit: its first bytes become an `unparsed` event with that reason.
    pub fn take_oversize(&self, frames: &mut Frames, head: &[u8], bytes_total: u64) {
        stats::add(&self.stats.oversize, 1);
        self.add(frames, head, |_, event| {
            mark_unparsed(event, format!("frame of {bytes_total} bytes is over the limit; its first bytes are kept"));
        });
    }

    fn add(&self, frames: &mut Frames, frame: &[u8], parse: impl for<'a> Fn(&Context, &mut Event<'a>)) {
        if frames.batch.is_empty() {
            frames.received = now();
            frames.common = None;
            frames.found.clear();
        }
        let Frames { batch, origin, received, event, common, found, .. } = frames;
        let context = Context { received: *received, zone: Offset(origin.zone_seconds) };
        let common =
            common.get_or_insert_with(|| Common::new(&self.source, self.identity.load_full(), origin, *received));
        let mut filled = std::mem::replace(event, Event::new(b"")).reuse(frame);
        // A bug in a parser costs one event its fields, never the process (decisions: panics).
        if catch_unwind(AssertUnwindSafe(|| parse(&context, &mut filled))).is_err() {
            stats::add(&self.stats.panics, 1);
            filled = filled.reuse(frame);
            mark_unparsed(&mut filled, "the parser panicked on this frame: please report it".to_owned());
        }
        stats::add(&self.stats.received_bytes, frame.len() as u64);
        if filled.text(Field::ParseStatus) == Some("failed") {
            stats::add(&self.stats.unparsed, 1);
        }
        common.add_to(&mut filled, origin);
        batch.push_with(|out| stored::encode(&filled, out));
        if let Some(judge) = &self.judge {
            finding::add(judge, &filled, *received, batch, found);
        }
        *event = filled.reuse(b"");
    }

    /// Stores where a pull source stands after these frames, in the same batch.
    pub fn mark(&self, frames: &mut Frames, name: &str, position: &[u8]) {
        frames.batch.mark(&format!("{}/{name}", self.source), position);
    }

    /// Where a pull source stood when it was last stored.
    pub fn marked(&self, name: &str) -> Option<Vec<u8>> {
        self.journal.mark(&format!("{}/{name}", self.source))
    }

    /// Waits until the batch is on disk; empties it for reuse. Nothing to do for an empty batch.
    /// Waits for room when the journal is full, and for a disk that fails: that is the backpressure.
    ///
    /// # Errors
    /// The journal cannot store: nothing of the batch may be acknowledged.
    pub async fn append(&self, frames: &mut Frames) -> Result<(), AppendError> {
        self.append_until(frames, pending()).await
    }

    /// The same for frames that nobody sends again: what still waits when `given_up` ends is dropped and counted, for
    /// [`declare_dropped`](Self::declare_dropped).
    ///
    /// # Errors
    /// The journal cannot store.
    pub async fn append_until(
        &self,
        frames: &mut Frames,
        given_up: impl Future<Output = ()>,
    ) -> Result<(), AppendError> {
        let mut given_up = pin!(given_up);
        let events = (frames.len() - frames.found.len() - frames.own) as u64;
        let mut waiting = self.counted(frames);
        while let Some(batch) = waiting.take() {
            match self.journal.append_until(batch, given_up.as_mut()).await {
                Ok(receipt) => {
                    self.stored(&mut frames.found, receipt.first);
                    frames.stored = Some(receipt.first);
                    frames.batch = receipt.batch;
                }
                Err(_) if planted!(RefusalAcknowledged) => {}
                Err(AppendError::Failed { batch, .. }) => tokio::select! {
                    () = tokio::time::sleep(FULL_INTERVAL) => waiting = Some(batch),
                    () = &mut given_up => self.give_up(frames, events),
                },
                Err(AppendError::Full { .. }) => self.give_up(frames, events),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The same, refusing at once when there is no room or the disk fails: the peer is told to come
    /// again.
    ///
    /// # Errors
    /// [`AppendError::Full`], with the batch emptied; or the journal cannot store.
    pub async fn try_append(&self, frames: &mut Frames) -> Result<(), AppendError> {
        if let Some(batch) = self.counted(frames) {
            match self.journal.try_append(batch).await {
                Ok(receipt) => {
                    self.stored(&mut frames.found, receipt.first);
                    frames.stored = Some(receipt.first);
                    frames.batch = receipt.batch;
                }
                Err(error) => {
                    self.take_back(&mut frames.found);
                    return Err(no_room(error));
                }
            }
        }
        Ok(())
    }

    /// Takes the batch out of `frames`, with what it adds to the source's tally; none if empty.
    fn counted(&self, frames: &mut Frames) -> Option<Batch> {
        let mut batch = std::mem::take(&mut frames.batch);
        frames.stored = None;
        // What is the gateway's own stands in its tally.
        let events = (batch.len() - frames.found.len() - std::mem::take(&mut frames.own)) as u64;
        if events > 0 && !planted!(TallyForgotten) {
            Tally { taken: events, lost: 0 }.add_to(&mut batch, &self.source);
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// As [`gap`](Self::gap), and waits when even the reserve is used up.
    ///
    /// # Errors
    /// The journal cannot store.
    pub async fn declare(&self, origin: &Origin, gap: &Gap) -> Result<(), AppendError> {
        loop {
            match self.gap(origin, gap).await {
                Err(AppendError::Full { .. }) => tokio::time::sleep(FULL_INTERVAL).await,
                declared => return declared,
            }
        }
    }

    /// An event of the gateway about itself; it may use the reserve of the journal.
    ///
    /// # Errors
    /// The journal cannot store.
    pub async fn report(&self, class: &'static str, severity: i64, text: &str) -> Result<(), AppendError> {
        match self.report_with(class, severity, text, None).await {
            Err(AppendError::Full { .. }) => {
                // Nothing of anybody's is lost, and whoever waits for this must not wait for a sink.
                tracing::error!(text, "no room in the journal for an event of the gateway itself");
                Ok(())
            }
            reported => reported,
        }
    }

    /// The same, with a mark of this source that is stored with it, whole or not at all.
    ///
    /// # Errors
    /// As [`gap`](Self::gap).
    pub async fn report_with(
        &self,
        class: &'static str,
        severity: i64,
        text: &str,
        mark: Option<(&str, &[u8])>,
    ) -> Result<(), AppendError> {
        let mut frames = self.own(Origin::own(), text, |event| {
            event.set(Field::EventClass, class);
            event.set(Field::Name, class);
            event.set(Field::Severity, severity);
        });
        if let Some((name, value)) = mark {
            self.mark(&mut frames, name, value);
        }
        self.append_own(frames).await
    }

    /// Records who has done something with what is in custody.
    ///
    /// # Errors
    /// As [`gap`](Self::gap).
    pub async fn act(&self, act: &Act, mark: Option<(&str, &[u8])>) -> Result<(), AppendError> {
        let act = &act.clone().cut();
        let mut frames = self.own(Origin::own(), &act.text(), |event| act.fill(event));
        if let Some((name, value)) = mark {
            self.mark(&mut frames, name, value);
        }
        self.append_own(frames).await
    }

    /// Brings an event back that a sink had refused, for that sink alone. It gets a number of its own
    /// and names the one it had as its cause.
    ///
    /// # Errors
    /// The record is none, there is no room now, or the journal cannot store.
    pub async fn replay(&self, record: &[u8], event_id: &str, sink: &str) -> Result<(), ReplayError> {
        let mut event = stored::decode(record, Event::new(b""))?;
        event.set(Field::Replayed, true);
        event.set(Field::Cause, event_id);
        event.set(Field::ToSink, sink);
        let mut batch = Batch::new();
        batch.push_with(|out| stored::encode(&event, out));
        Tally { taken: 1, lost: 0 }.add_to(&mut batch, OWN_SOURCE);
        self.journal.try_append(batch).await?;
        Ok(())
    }

    /// Stores an event of the gateway's own, and what was found about it; it may use the reserve.
    async fn append_own(&self, mut frames: Frames) -> Result<(), AppendError> {
        let stored = self.journal.append_reserved(frames.batch).await;
        match &stored {
            Ok(receipt) => self.stored(&mut frames.found, receipt.first),
            Err(_) => self.take_back(&mut frames.found),
        }
        stored.map(drop).map_err(no_room)
    }

    /// An event of the gateway's own, counted under its own name.
    fn own(&self, origin: Origin, text: &str, fill: impl for<'a> Fn(&mut Event<'a>)) -> Frames {
        let mut frames = self.frames(origin);
        self.add_own(&mut frames, text, fill);
        frames
    }

    fn add_own(&self, frames: &mut Frames, text: &str, fill: impl for<'a> Fn(&mut Event<'a>)) {
        self.add(frames, text.as_bytes(), |context, event| {
            event.set(Field::Time, context.received);
            event.set(Field::Msg, &String::from_utf8_lossy(event.raw()));
            event.set(Field::DeviceVendor, "Wharfinger");
            event.set(Field::DeviceProduct, "Wharfinger");
            fill(event);
        });
        frames.own += 1;
        Tally { taken: 1, lost: 0 }.add_to(&mut frames.batch, OWN_SOURCE);
    }
}

/// A quarantined event stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the record cannot be read: {0}")]
    Record(#[from] wharfinger_formats::ParseError),
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// A disk that fails takes in as little as one that is full, and may be well again as soon.
fn no_room(error: AppendError) -> AppendError {
    match error {
        AppendError::Failed { batch, .. } => AppendError::Full { batch },
        error => error,
    }
}

/// The name under which events that the gateway makes itself are counted.
pub const OWN_SOURCE: &str = "wharfinger";

fn mark_unparsed(event: &mut Event<'_>, reason: String) {
    event.set(Field::EventClass, "unparsed");
    event.set(Field::Name, "Unparsed frame");
    event.set(Field::ParseStatus, "failed");
    event.set(Field::ParseError, &reason);
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
