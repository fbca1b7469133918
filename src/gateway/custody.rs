//! Watches over custody: declares what sinks have lost, says when the journal fills up, and knows
//! how long it will last.
//!
//! Invariants: each loss is declared once, also over restarts, because what was declared is stored in
//! the same batch as the gap record. Alarms are written from the reserve.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::intake::{AppendError, Gap, Intake, Numbered, Origin};
use crate::journal::{Journal, Status};
use crate::part::Notice;
use crate::sinks::{Declare, Loss, LossCause};

/// How often the journal is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// The present rate is that of the last minute.
const RATE_SAMPLES: usize = 60;
/// Parts in a hundred: alarm from here on, and relief below.
const FILLING: u64 = 80;
const RELIEVED: u64 = 70;
/// Declared ranges that are remembered; the oldest go first.
const DECLARED_MAX: usize = 1024;
/// The mark that says how full the journal was last said to be.
const LEVEL: &str = "level";
/// The mark that says in which incarnation the journal was last seen.
const INCARNATION: &str = "incarnation";

/// See above. One for a gateway.
#[derive(Debug)]
pub(super) struct Custody {
    own: Intake,
    journal: Journal,
    /// One declares at a time: four sinks find the same damage.
    declaring: Mutex<()>,
    /// Seconds until the journal is full at the present rate if nothing leaves it; `MAX` unknown.
    seconds_left: AtomicU64,
}

/// How full the journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Fine,
    Filling,
    Full,
}

impl Custody {
    pub(super) fn new(own: Intake, journal: Journal) -> Custody {
        Custody { own, journal, declaring: Mutex::default(), seconds_left: AtomicU64::new(u64::MAX) }
    }

    /// How long the journal takes what comes in at the present rate, if nothing leaves it.
    pub(super) fn seconds_left(&self) -> Option<u64> {
        Some(self.seconds_left.load(Relaxed)).filter(|seconds| *seconds < u64::MAX)
    }

    /// A journal that went back to an earlier state begins a new incarnation, so that no event number
    /// is given twice: what it has forgotten is a gap. The mark is stored with the record.
    ///
    /// # Errors
    /// The journal cannot store.
    pub(super) async fn begin(&self) -> Result<(), AppendError> {
        let present = self.journal.incarnation().to_string();
        let mark = Some((INCARNATION, present.as_bytes()));
        let declared = match self.own.marked(INCARNATION) {
            Some(known) if known == present.as_bytes() => Ok(()),
            Some(known) => {
                let known = String::from_utf8_lossy(&known);
                let gap = Gap::unknown(format!(
                    "the journal was put back to an earlier state, or lost what was not synced: incarnation {known} \
                     ends here, {present} begins"
                ));
                self.own.gap_with(&Origin::own(), &gap, mark).await
            }
            None => self.own.report_with("journal.begin", 2, &format!("incarnation {present} begins"), mark).await,
        };
        match declared {
            // Not even the reserve has room: at the next start, then.
            Err(AppendError::Full { .. }) => Ok(()),
            declared => declared,
        }
    }

    /// Until `stop`, and until everything that was said is stored.
    pub(super) async fn watch(&self, stop: CancellationToken, mut noticed: mpsc::Receiver<Notice>) {
        tokio::join!(self.watch_journal(&stop), self.pass_on(&stop, &mut noticed));
    }

    /// What parts say becomes events; what they said last, too.
    async fn pass_on(&self, stop: &CancellationToken, noticed: &mut mpsc::Receiver<Notice>) {
        while let Some(Some(notice)) = stop.run_until_cancelled(noticed.recv()).await {
            self.note(notice).await;
        }
        while let Ok(notice) = noticed.try_recv() {
            self.note(notice).await;
        }
    }

    async fn note(&self, Notice { class, severity, text }: Notice) {
        if let Err(error) = self.own.report(class, severity, &text).await {
            tracing::error!(class, "what a part has to say cannot be stored: {error}");
        }
    }

    async fn watch_journal(&self, stop: &CancellationToken) {
        let mut rate = Rate::default();
        let mut full_before = 0;
        let mut level = match self.own.marked(LEVEL).as_deref() {
            Some(b"full") => Level::Full,
            Some(b"filling") => Level::Filling,
            _ => Level::Fine,
        };
        while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            let status = self.journal.status();
            self.seconds_left.store(rate.seconds_left(&status).unwrap_or(u64::MAX), Relaxed);
            let found_no_room = status.full_total > full_before || status.stalled;
            full_before = status.full_total;
            let now = next_level(level, &status, found_no_room);
            if now != level {
                match self.alarm(now, &status).await {
                    Ok(()) => level = now,
                    Err(error) => tracing::error!("an alarm about the journal cannot be stored: {error}"),
                }
            }
        }
    }

    async fn alarm(&self, level: Level, status: &Status) -> Result<(), AppendError> {
        let percent = percent(status);
        let behind =
            status.cursors.iter().max_by_key(|cursor| cursor.lag_bytes).filter(|cursor| cursor.lag_records > 0);
        let behind = behind.map_or_else(String::new, |cursor| {
            format!("; sink `{}` is {} events behind", cursor.name, cursor.lag_records)
        });
        let used = format!("{percent} % of {} bytes used", status.bytes_ordinary);
        let (class, severity, mark, text) = match level {
            Level::Full if status.stalled => {
                ("journal.full", 9, "full", format!("the disk under the journal is full: senders wait{behind}"))
            }
            Level::Full => ("journal.full", 9, "full", format!("the journal is full, {used}{behind}")),
            Level::Filling => ("journal.filling", 7, "filling", format!("the journal fills up, {used}{behind}")),
            Level::Fine => ("journal.relieved", 3, "", format!("the journal has room again, {used}")),
        };
        tracing::warn!("{text}");
        match self.own.report_with(class, severity, &text, Some((LEVEL, mark.as_bytes()))).await {
            // It stands in the log of the process, and the level is looked at again at the next start.
            Err(AppendError::Full { .. }) => Ok(()),
            reported => reported,
        }
    }
}

fn percent(status: &Status) -> u64 {
    status.bytes_used.saturating_mul(100) / status.bytes_ordinary.max(1)
}

/// Up at once, down only with some distance: a level that is just reached makes one alarm.
fn next_level(level: Level, status: &Status, found_no_room: bool) -> Level {
    let percent = percent(status);
    let reached = match percent {
        _ if found_no_room => Level::Full,
        100.. => Level::Full,
        FILLING.. => Level::Filling,
        _ => Level::Fine,
    };
    match level {
        _ if reached > level => reached,
        Level::Fine => level,
        _ if percent < RELIEVED && !found_no_room => Level::Fine,
        _ => level,
    }
}

/// How fast the journal grows.
#[derive(Debug, Default)]
struct Rate {
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    fn seconds_left(&mut self, status: &Status) -> Option<u64> {
        let now = Instant::now();
        self.samples.push_back((now, status.appended_bytes_total));
        if self.samples.len() > RATE_SAMPLES {
            self.samples.pop_front();
        }
        let (since, bytes) = *self.samples.front()?;
        let seconds = now.duration_since(since).as_secs_f64();
        let grown = status.appended_bytes_total.saturating_sub(bytes);
        if grown == 0 || seconds < 1.0 {
            return None;
        }
        let free = status.bytes_ordinary.saturating_sub(status.bytes_used);
        Some((free as f64 / (grown as f64 / seconds)) as u64)
    }
}

#[async_trait]
impl Declare for Custody {
    async fn declare(&self, loss: Loss) -> Result<(), String> {
        let _one = self.declaring.lock().await;
        let (mark, sink, cause) = match loss.cause {
            LossCause::Damaged => ("damage".to_owned(), None, "the journal's files are damaged there"),
            LossCause::GivenUp => {
                let cause = "the journal was full, and this sink was too far behind";
                (format!("gap/{}", loss.sink), Some(loss.sink.clone()), cause)
            }
        };
        let (first, last) = (loss.first.position().0, loss.last.position().0);
        let mut declared = Declared::from_bytes(&self.own.marked(&mark).unwrap_or_default());
        let Some(new) = declared.add(first, last) else { return Ok(()) };
        let numbered = Numbered {
            first_id: loss.first.at(new.0).text().to_owned(),
            last_id: loss.last.at(new.1).text().to_owned(),
            sink,
        };
        // What was declared before is not counted again.
        let count = loss.count.min(new.1 - new.0 + 1);
        let gap = Gap { count: Some(count), from: None, to: None, cause: cause.to_owned(), numbered: Some(numbered) };
        let result = self.own.gap_with(&Origin::own(), &gap, Some((&mark, &declared.to_bytes()))).await;
        result.map_err(|error| error.to_string())
    }
}

/// Ranges of positions that were declared, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Declared(Vec<(u64, u64)>);

impl Declared {
    fn from_bytes(bytes: &[u8]) -> Declared {
        let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Declared(bytes.chunks_exact(16).map(|range| (word(range), word(&range[8..]))).collect())
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(first, last)| [first.to_le_bytes(), last.to_le_bytes()]).flatten().collect()
    }

    /// Adds a range; answers the part of it that is new, from its first new position to its last.
    fn add(&mut self, first: u64, last: u64) -> Option<(u64, u64)> {
        let (mut new_first, mut new_last) = (first, last);
        for known in &self.0 {
            if known.0 <= new_first && new_first <= known.1 {
                new_first = known.1 + 1;
            }
        }
        for known in self.0.iter().rev() {
            if known.0 <= new_last && new_last <= known.1 {
                new_last = known.0.saturating_sub(1);
            }
        }
        if new_first > new_last {
            return None;
        }
        let at = self.0.partition_point(|known| known.0 < new_first);
        self.0.insert(at, (new_first, new_last));
        if self.0.len() > DECLARED_MAX {
            self.0.remove(0);
        }
        Some((new_first, new_last))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Levels as the journal fills and empties: percent used, whether somebody found no room.
    #[tokio::test]
    async fn an_alarm_at_80_one_when_full_and_one_when_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let settings = crate::journal::Settings::new(dir.path().join("journal"));
        let journal = Journal::open(settings, std::sync::Arc::new(crate::journal::storage::Disk)).unwrap();
        let mut status = journal.status();
        let mut level = Level::Fine;
        let mut alarms = Vec::new();
        let steps =
            [(10, false), (79, false), (80, false), (79, false), (85, false), (99, true), (99, false), (75, false)];
        for (percent, found_no_room) in steps.into_iter().chain([(69, false), (81, false), (60, false)]) {
            status.bytes_used = status.bytes_ordinary / 100 * percent + 1000;
            let now = next_level(level, &status, found_no_room);
            if now != level {
                alarms.push((percent, now));
            }
            level = now;
        }
        let expected =
            [(80, Level::Filling), (99, Level::Full), (69, Level::Fine), (81, Level::Filling), (60, Level::Fine)];
        assert_eq!(alarms, expected);
    }

    #[test]
    fn a_range_is_declared_once() {
        let mut declared = Declared::default();
        assert_eq!(declared.add(10, 20), Some((10, 20)));
        assert_eq!(declared.add(10, 20), None);
        assert_eq!(declared.add(12, 30), Some((21, 30)));
        assert_eq!(declared.add(5, 15), Some((5, 9)));
        assert_eq!(declared.add(5, 30), None);
        assert_eq!(declared.add(40, 40), Some((40, 40)));
        assert_eq!(Declared::from_bytes(&declared.to_bytes()), declared);
    }
}
