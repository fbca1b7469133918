//! `drive`: the only loop between the journal and a sink: read → decode → push → deliver → commit.
//!
//! It makes each refused event stand alone, keeps trying what is not taken, and drains at the end.
//! The journal is its only memory: what must be delivered again is read again.
//!
//! Invariants: the cursor moves only past events that were delivered, are in quarantine, synced,
//! or were declared lost. Nothing that a peer answers ends the loop. No allocation for an ordinary event.

mod receipt;
mod refuse;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wharfinger_formats::{Event, stored};

use self::receipt::Noting;
use super::drain::{Drain, jitter, sleep_until};
use super::event_id::EventId;
use super::feed::Feed;
use super::loss::{Loss, LossCause};
use super::missing::Missing;
use super::quarantine::Quarantine;
use super::receipts::Log;
use super::redact::Counts;
use super::request::{Delivered, Doubtful, More, Request, Taken, Went};
use super::settings::Declared;
use super::{Absent, Limits, Outcome, Push, Settings, Sink, SinkState, SinkStats};
use crate::journal::{Chunk, Incarnation, Passed, Position, ReadError, Record};

/// Bytes read from the journal at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// Refused events waiting to be written are written at the latest at this size.
const QUARANTINE_PENDING_BYTES: usize = 1024 * 1024;
/// No peer may ask for more patience than this.
const AFTER_MAX: Duration = Duration::from_secs(600);
/// How often a sink that may still lose requests is asked about them.
const DOUBT_INTERVAL: Duration = Duration::from_secs(1);
/// How long a goodbye may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Delivers what the cursor reads until `stop`, then drains until the deadline and closes the sink.
/// What is not delivered by then stays in the journal. The counters go on where the last run ended before anything
/// is polled.
pub fn drive(
    cursor: impl Feed,
    sink: Box<dyn Sink>,
    settings: Settings,
    stats: Arc<SinkStats>,
    stop: CancellationToken,
) -> impl Future<Output = ()> {
    stats.pass(&cursor.passed());
    async move {
        let quarantine = Quarantine::new(&settings.quarantine_dir, &settings.name, settings.quarantine_bytes_max);
        let first = cursor.committed();
        let log = settings.receipts.clone().map(|keep| Log::new(keep, &settings.name));
        let noting = match log {
            Some(log) => Noting::open(log, first).await,
            None => None,
        };
        let drive = Drive {
            limits: sink.limits(),
            drain: Drain::new(stop, settings.drain_max),
            request: Request {
                first,
                next: first,
                positions: Vec::new(),
                bytes: 0,
                since: None,
                redacted: Counts::default(),
            },
            reuse: Some(Event::new(b"")),
            skip: Vec::new(),
            unsynced: Vec::new(),
            missing: Missing::default(),
            given_up: Missing::default(),
            filtered: Missing::default(),
            taken: Taken::default(),
            redo: None,
            suspects: 0,
            doubtful: Doubtful::default(),
            is_lossy: false,
            noting,
            failures: 0,
            cursor,
            sink,
            quarantine,
            settings,
            stats,
        };
        drive.run().await;
    }
}

struct Drive<F> {
    cursor: F,
    sink: Box<dyn Sink>,
    limits: Limits,
    settings: Settings,
    stats: Arc<SinkStats>,
    drain: Drain,
    quarantine: Quarantine,
    request: Request,
    /// The memory of the last event.
    reuse: Option<Event<'static>>,
    /// Refused positions that the cursor has not passed yet, in order.
    skip: Vec<Position>,
    /// Those of them whose quarantine lines are not synced yet.
    unsynced: Vec<Position>,
    /// What the journal had lost between the committed position and where reading is.
    missing: Missing,
    /// Of these, what was given up because the journal was full.
    given_up: Missing,
    /// What is not for this sink.
    filtered: Missing,
    /// What the peer has and the cursor has not passed, because its file could not be written.
    taken: Taken,
    /// A request is being made again: it ends here, so that the same events make the same request
    /// (the peer may have it already, and an object store knows it by its name).
    redo: Option<Position>,
    /// A request was refused, and this many of its events have not been delivered or refused since:
    /// half of them are tried at a time.
    suspects: usize,
    doubtful: Doubtful,
    /// The peer lost what it had taken, and nothing has passed since.
    is_lossy: bool,
    /// None where no receipts are kept.
    noting: Option<Noting>,
    /// Failures in a row: the exponent of the backoff.
    failures: u32,
}

impl<F: Feed> Drive<F> {
    async fn run(mut self) {
        self.stats.enter(SinkState::Working, None);
        let mut chunk = Chunk::new();
        loop {
            match self.more(&mut chunk).await {
                More::Records => self.fill(&chunk).await,
                More::Nothing => {
                    self.settle().await;
                }
                More::End => break,
            }
        }
        self.sink.clear();
        let all_there = tokio::time::timeout(CLOSE_MAX, self.sink.close()).await.unwrap_or(false);
        if all_there {
            self.commit_delivered(0).await;
        }
        self.stats.enter(SinkState::Stopped, None);
    }

    /// Reads the next records; waits for them, for the age of the request, or for `stop`.
    async fn more(&mut self, chunk: &mut Chunk) -> More {
        if self.drain.is_over() {
            return More::End;
        }
        match self.cursor.try_read(chunk, CHUNK_BYTES).await {
            Ok(true) => return More::Records,
            Ok(false) => {}
            Err(error) => return self.journal_failed(error).await,
        }
        let idle = self.request.is_empty();
        if self.drain.is_stopping() {
            return if idle { More::End } else { More::Nothing };
        }
        let wake = match self.request.since {
            Some(since) => Some(since + self.limits.age_max),
            None if !idle => return More::Nothing,
            None if self.doubtful.is_empty() && self.taken.next.is_none() => None,
            None => Some(Instant::now() + DOUBT_INTERVAL),
        };
        if wake.is_some_and(|wake| wake <= Instant::now()) {
            return More::Nothing;
        }
        tokio::select! {
            biased;
            read = self.cursor.read(chunk, CHUNK_BYTES) => match read {
                Ok(()) => More::Records,
                Err(error) => self.journal_failed(error).await,
            },
            () = sleep_until(wake) => More::Nothing,
            () = self.drain.stopping() => More::Nothing,
        }
    }

    /// Pushes the records of a chunk; delivers whenever the request is full.
    async fn fill(&mut self, chunk: &Chunk) {
        if !self.note_missing(chunk).await {
            return;
        }
        self.noting.iter_mut().for_each(|noting| noting.read(chunk));
        for record in chunk.records() {
            // A record past the end of a request that is made again belongs to the next one.
            if let Some(end) = self.redo.filter(|end| record.position >= *end) {
                self.request.next = end;
                if self.settle().await == Went::Back {
                    return;
                }
            }
            if self.take(&record) == Push::Full {
                if self.settle().await == Went::Back {
                    return;
                }
                if self.take(&record) == Push::Full {
                    self.quarantine(&record, "larger than a whole request");
                    self.request.next = record.position.next();
                }
            }
            if self.is_full() && self.settle().await == Went::Back {
                return;
            }
            if self.drain.is_over() {
                return;
            }
        }
        for damage in chunk.damaged() {
            // Between records the next record says where to go on; at the end only this does.
            self.request.next = self.request.next.max(damage.missing.1.next());
        }
    }

    /// Notes what the journal has lost before anything behind it is passed; damage is declared now.
    /// False if that failed, and everything begins again.
    async fn note_missing(&mut self, chunk: &Chunk) -> bool {
        for damage in chunk.damaged() {
            let (first, last) = damage.missing;
            if damage.given_up {
                // A request that held some of it cannot be made again as it was.
                if self.redo.is_some_and(|end| first < end) {
                    self.redo = None;
                    self.suspects = 0;
                }
                self.given_up.add(damage.missing);
            } else if !self.missing.has(damage.missing) {
                let count = last.0 - first.0 + 1;
                let life = chunk.incarnation().unwrap_or_else(|| self.cursor.incarnation());
                if let Err(reason) = self.declare(LossCause::Damaged, life, (first, last), count).await {
                    self.again(None, format!("damage of the journal cannot be declared: {reason}")).await;
                    return false;
                }
                SinkStats::add(&self.stats.damaged, 1);
            }
            self.missing.add(damage.missing);
            self.filtered.remove(damage.missing);
            self.skip.retain(|position| *position < first || *position > last);
            self.sink.passed_over(damage.missing, Absent::Lost);
        }
        true
    }

    fn declare(
        &self,
        cause: LossCause,
        life: Incarnation,
        (first, last): (Position, Position),
        count: u64,
    ) -> Declared {
        let id = |position| EventId::new(life, position);
        let sink = self.settings.name.to_string();
        self.settings.declare(Loss { sink, first: id(first), last: id(last), count, cause })
    }

    /// Decodes one record and pushes it; what cannot be pushed goes to quarantine.
    fn take(&mut self, record: &Record<'_>) -> Push {
        let taken = Push::Taken { bytes: self.request.bytes };
        let request = &mut self.request;
        if self.skip.binary_search(&record.position).is_ok() {
            request.next = record.position.next();
            return taken;
        }
        let reuse = self.reuse.take().unwrap_or_else(|| Event::new(b""));
        let id = EventId::new(record.incarnation, record.position);
        let pushed = match stored::decode(record.payload, reuse) {
            Ok(mut event) => {
                // What is replayed brings the id it has had from the first.
                id.number(&mut event);
                if !self.settings.wants(&event) {
                    self.filtered.add((record.position, record.position));
                    self.reuse = Some(event.reuse(b""));
                    self.request.next = record.position.next();
                    return taken;
                }
                let pushed = self.settings.push(&mut *self.sink, &event, &mut request.redacted);
                let pushed = pushed.map_err(|refused| refused.0);
                self.reuse = Some(event.reuse(b""));
                pushed
            }
            Err(error) => Err(format!("the stored record cannot be read: {error}")),
        };
        match pushed {
            Ok(Push::Full) => return Push::Full,
            Ok(Push::Taken { bytes }) => {
                request.since.get_or_insert_with(Instant::now);
                request.bytes = bytes;
                request.positions.push(record.position);
            }
            Err(reason) => self.quarantine(record, &reason),
        }
        self.request.next = record.position.next();
        taken
    }

    fn is_full(&self) -> bool {
        let request = &self.request;
        let events_max = if self.suspects > 0 { (self.suspects / 2).max(1) } else { usize::MAX };
        request.positions.len() >= self.limits.events_max.min(events_max)
            || request.bytes >= self.limits.bytes_max
            || self.redo.is_some_and(|end| request.next >= end)
            || self.quarantine.pending() >= QUARANTINE_PENDING_BYTES
    }

    /// Delivers the request, if any, and moves the cursor past it.
    async fn settle(&mut self) -> Went {
        match self.quarantine.sync().await {
            Ok(added) => {
                SinkStats::add(&self.stats.quarantine_full, added.not_kept);
                self.unsynced.clear();
            }
            Err(error) => {
                self.quarantine.forget_pending();
                self.skip.retain(|position| !self.unsynced.contains(position));
                self.unsynced.clear();
                return self.again(None, format!("the quarantine cannot be written: {error}")).await;
            }
        }
        if self.request.positions.is_empty() {
            return self.went_on(None).await;
        }
        if planted!(CommitBeforeDelivery) {
            let passed = Passed::delivered(self.request.positions.len() as u64);
            let _ = self.cursor.commit_passed(self.request.next, passed);
        }
        let Some(outcome) = self.drain.unless_over(self.sink.deliver()).await else {
            return Went::Back;
        };
        match outcome {
            Outcome::Delivered => self.went_on(None).await,
            Outcome::Crowded { pause } => self.went_on(Some(pause)).await,
            Outcome::Retry { after, reason } => self.again(after, reason).await,
            Outcome::Fatal { reason } => self.alarm(reason).await,
            Outcome::Reject { which, reason } => self.refused(which, &reason).await,
        }
    }

    /// The request is delivered, or held nothing but refused events.
    async fn went_on(&mut self, pause: Option<Duration>) -> Went {
        let request = &self.request;
        let (next, events, bytes) = (request.next, request.positions.len(), request.bytes);
        if self.redo.is_some_and(|end| next >= end) {
            self.redo = None;
            self.suspects = 0;
        }
        if events > 0 {
            // This half was good, so the other holds what was refused.
            self.suspects = self.suspects.saturating_sub(events);
            SinkStats::add(&self.stats.requests, 1);
            self.stats.redact(&self.request.redacted);
            self.works();
        }
        let is_nothing = next == self.request.first;
        // Nothing was delivered, so the peer is not back: what is given up may become more.
        let waits = events == 0 && self.doubtful.is_empty() && self.given_up.before(next) > 0;
        if !is_nothing && !waits {
            let note = self.note();
            match self.doubtful.last_mut().filter(|_| events == 0) {
                // Refused events need no answer: they ride along with the request before them.
                Some(last) => {
                    last.next = next;
                    last.receipts.extend(note);
                }
                None => self.doubtful.push(Delivered { next, events, bytes, receipts: note }),
            }
        }
        self.begin(self.request.next);
        match self.sink.in_doubt() {
            Ok(in_doubt) => self.commit_delivered(if planted!(DoubtIgnored) { 0 } else { in_doubt }).await,
            Err(lost) => {
                self.lose_doubtful();
                return self.again(None, lost.0).await;
            }
        }
        if let Some(pause) = pause {
            self.drain.pause(pause).await;
        }
        Went::On
    }

    /// Commits all delivered requests but the latest `in_doubt`.
    async fn commit_delivered(&mut self, in_doubt: usize) {
        self.doubtful.pass(in_doubt, &mut self.taken);
        self.stats.doubt(self.doubtful.events());
        let Some(next) = self.taken.next else { return };
        // Not before: a peer that loses each time what it takes is backed off from, too.
        (self.failures, self.is_lossy) = (0, false);
        self.works();
        if let Some(span) = self.given_up.span_before(next) {
            // The sink is back: now it is known how much it has lost, and one record says so.
            let count = self.given_up.before(next);
            if let Err(reason) = self.declare(LossCause::GivenUp, self.cursor.incarnation(), span, count).await {
                tracing::error!(sink = &*self.settings.name, reason, "what was given up cannot be declared yet");
                return;
            }
        }
        let passed = Passed {
            delivered: self.taken.events as u64,
            filtered: self.filtered.before(next),
            quarantined: self.skip.partition_point(|position| *position < next) as u64,
            lost: self.missing.before(next),
        };
        self.write_receipts();
        if let Err(error) = self.cursor.commit_passed(next, passed) {
            // The events are delivered; a later commit covers this one. A crash before it repeats them.
            tracing::error!(sink = &*self.settings.name, %error, "the cursor cannot be stored");
            return;
        }
        self.stats.pass(&passed);
        SinkStats::add(&self.stats.delivered_bytes, std::mem::take(&mut self.taken).bytes);
        self.skip.retain(|position| *position >= next);
        self.missing.forget_before(next);
        self.given_up.forget_before(next);
        self.filtered.forget_before(next);
    }

    fn works(&self) {
        if !self.is_lossy && self.stats.enter(SinkState::Working, None) != SinkState::Working {
            tracing::info!(sink = &*self.settings.name, "the sink delivers again");
        }
    }

    /// Not now: the same again after a while.
    async fn again(&mut self, after: Option<Duration>, reason: String) -> Went {
        if self.stats.enter(SinkState::Retrying, Some(&reason)) == SinkState::Working {
            tracing::warn!(sink = &*self.settings.name, reason, "the sink does not take events; trying again");
        }
        let doubled = self.settings.backoff_min.saturating_mul(2_u32.saturating_pow(self.failures.min(16)));
        let wait = after.map_or_else(|| jitter(doubled.min(self.settings.backoff_max)), |after| after.min(AFTER_MAX));
        self.back_and_wait(wait).await
    }

    /// Only a person can help; everything is kept.
    async fn alarm(&mut self, reason: String) -> Went {
        if self.stats.enter(SinkState::Alarm, Some(&reason)) != SinkState::Alarm {
            tracing::error!(sink = &*self.settings.name, reason, "the sink cannot deliver until this is put right");
        }
        self.back_and_wait(jitter(self.settings.backoff_max)).await
    }

    async fn back_and_wait(&mut self, wait: Duration) -> Went {
        SinkStats::add(&self.stats.retries, 1);
        self.redo = self.redo.or(Some(self.request.next).filter(|next| *next > self.request.first));
        // What was delivered before comes again only if the sink has lost it.
        match self.sink.in_doubt() {
            Ok(in_doubt) => self.commit_delivered(in_doubt).await,
            Err(_) => self.lose_doubtful(),
        }
        self.failures = self.failures.saturating_add(1);
        self.back_to(if planted!(RetrySkips) { self.request.next } else { self.request.first });
        self.drain.back_off(wait).await;
        Went::Back
    }

    /// What the peer had taken is lost: everything from the cursor on is delivered again.
    fn lose_doubtful(&mut self) {
        self.request.first = self.cursor.committed();
        self.is_lossy = true;
        self.doubtful.clear();
        self.taken = Taken::default();
        self.stats.doubt(0);
    }

    async fn journal_failed(&mut self, error: ReadError) -> More {
        if matches!(error, ReadError::Closed) {
            return if self.request.is_empty() { More::End } else { More::Nothing };
        }
        self.again(None, format!("the journal cannot be read: {error}")).await;
        More::Nothing
    }

    fn back_to(&mut self, position: Position) {
        self.noting.iter_mut().for_each(|noting| noting.back_to(position));
        self.cursor.rewind(position);
        self.sink.clear();
        self.begin(position);
    }

    fn begin(&mut self, first: Position) {
        self.limits = self.sink.limits();
        self.request.positions.clear();
        self.request.first = first;
        self.request.next = first;
        self.request.bytes = 0;
        self.request.redacted = Counts::default();
        self.request.since = None;
    }
}
