//! Trail: what befalls the gateway's own parts, as events of its own: a sink that fails and works again, events that
//! are put in quarantine, senders that are refused.
//!
//! Invariant: however often it happens, what is told is bounded: of the same again after twice as long each time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::{SinkView, SourceView, View};
use crate::intake::Intake;
use crate::sinks::SinkState;
use crate::stats;

/// How often parts are looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// A sink that fails for so long is told of; what is shorter is the network's everyday life.
const FAILING_AFTER: Duration = Duration::from_secs(10);
/// What grows is told of again after so long, then after twice as long, up to the longest.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Until `stop`.
pub(super) async fn tell(own: Intake, view: Arc<dyn View>, wrong_tokens: Arc<AtomicU64>, stop: CancellationToken) {
    let mut trail = Trail::default();
    while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        let (now, page) = (Instant::now(), stats::read(&wrong_tokens));
        for Told { class, severity, text } in trail.look(&view.sinks(), &view.sources(), page, now) {
            // A full journal is waited for, but not by who stops.
            if let Some(Err(error)) = stop.run_until_cancelled(own.report(class, severity, &text)).await {
                tracing::error!("what befalls a part cannot be recorded: {error}");
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Told {
    class: &'static str,
    severity: i64,
    text: String,
}

/// What is known of the parts, by their names.
#[derive(Default)]
struct Trail {
    failing: BTreeMap<String, Failing>,
    quarantined: BTreeMap<String, Growing>,
    refused: BTreeMap<String, Growing>,
    logins: BTreeMap<String, Growing>,
    page: Growing,
}

struct Failing {
    since: Instant,
    is_told: bool,
}

/// A counter, of which each growth is told, and less often while it goes on.
#[derive(Default)]
struct Growing {
    told: u64,
    /// Not before this, and how long it is waited then.
    next: Option<(Instant, Duration)>,
}

impl Growing {
    /// By how much it has grown, if that is to be told now.
    fn grown(&mut self, count: u64, now: Instant) -> Option<u64> {
        let wait = match self.next {
            Some((next, _)) if now < next => return None,
            // Nothing for as long as was waited: it begins anew.
            Some((next, wait)) if count == self.told => {
                self.next = (now < next + wait).then_some((next, wait));
                return None;
            }
            Some((_, wait)) => (wait * 2).min(AGAIN_AFTER_MAX),
            None => AGAIN_AFTER,
        };
        let more = count.saturating_sub(self.told);
        if more == 0 {
            return None;
        }
        (self.told, self.next) = (count, Some((now + wait, wait)));
        Some(more)
    }
}

impl Trail {
    fn look(&mut self, sinks: &[SinkView], sources: &[SourceView], page: u64, now: Instant) -> Vec<Told> {
        let mut told = Vec::new();
        self.failing.retain(|name, _| sinks.iter().any(|sink| sink.name == *name));
        for SinkView { name, stats, .. } in sinks {
            told.extend(self.sink(name, stats.state(), stats.last_error(), now));
            // What earlier runs of the gateway have put there was told by them.
            let growing = self
                .quarantined
                .entry(name.clone())
                .or_insert_with(|| Growing { told: stats.quarantined_total(), next: None });
            told.extend(growing.grown(stats.quarantined_total(), now).map(|more| Told {
                class: "sink.quarantined",
                severity: 6,
                text: format!("sink `{name}`: {more} more events are in quarantine; `wharfinger dlq list` names them"),
            }));
        }
        for SourceView { name, stats, .. } in sources {
            let refused = stats::read(&stats.refused_connections);
            told.extend(self.refused.entry(name.clone()).or_default().grown(refused, now).map(|more| Told {
                class: "source.refused",
                severity: 5,
                text: format!("source `{name}`: {more} connections refused: too many, not trusted, or no handshake"),
            }));
            let logins = stats::read(&stats.refused_logins);
            told.extend(self.logins.entry(name.clone()).or_default().grown(logins, now).map(|more| Told {
                class: "source.authentication_failed",
                severity: 6,
                text: format!("source `{name}`: {more} times wrong credentials, or none; the log has the addresses"),
            }));
        }
        told.extend(self.page.grown(page, now).map(|more| Told {
            class: "gateway.authentication_failed",
            severity: 6,
            text: format!("page: {more} times a wrong token"),
        }));
        told
    }

    fn sink(&mut self, name: &str, state: SinkState, error: Option<String>, now: Instant) -> Option<Told> {
        if matches!(state, SinkState::Working | SinkState::Stopped) {
            let failing = self.failing.remove(name).filter(|failing| failing.is_told)?;
            let seconds = now.duration_since(failing.since).as_secs();
            let text = match state {
                SinkState::Working => format!("sink `{name}` works again after {seconds} s"),
                _ => format!("sink `{name}` was stopped; it had failed for {seconds} s"),
            };
            return Some(Told { class: "sink.recovered", severity: 3, text });
        }
        let failing = self.failing.entry(name.to_owned()).or_insert_with(|| Failing { since: now, is_told: false });
        if failing.is_told || now.duration_since(failing.since) < FAILING_AFTER {
            return None;
        }
        failing.is_told = true;
        let why = error.unwrap_or_else(|| "it does not say why".to_owned());
        Some(Told { class: "sink.failing", severity: 7, text: format!("sink `{name}` delivers nothing: {why}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(trail: &mut Trail, state: SinkState, now: Instant) -> Option<&'static str> {
        trail.sink("siem", state, Some("refused".to_owned()), now).map(|told| told.class)
    }

    #[test]
    fn a_sink_that_fails_is_told_of_once_and_when_it_works_again() {
        let (mut trail, begin) = (Trail::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(said(&mut trail, SinkState::Retrying, at(0)), None);
        assert_eq!(said(&mut trail, SinkState::Working, at(9)), None, "too short to be told");
        assert_eq!(said(&mut trail, SinkState::Retrying, at(10)), None);
        assert_eq!(said(&mut trail, SinkState::Alarm, at(20)), Some("sink.failing"));
        assert_eq!(said(&mut trail, SinkState::Retrying, at(60)), None, "once");
        assert_eq!(said(&mut trail, SinkState::Working, at(70)), Some("sink.recovered"));
        assert_eq!(said(&mut trail, SinkState::Working, at(80)), None);
    }

    #[test]
    fn what_grows_is_told_less_and_less_often() {
        let (mut growing, begin) = (Growing { told: 7, next: None }, Instant::now());
        let told: Vec<_> =
            (0..86_400).filter_map(|at| Some((at, growing.grown(8 + at, begin + Duration::from_secs(at))?))).collect();
        assert_eq!(told[..4], [(0, 1), (60, 60), (180, 120), (420, 240)]);
        assert!(told.len() < 31, "{} in a day", told.len());
        // Quiet for long enough, it is told at once again.
        let at = |seconds| begin + Duration::from_secs(seconds);
        let rest = 90_000 - growing.told;
        assert_eq!(growing.grown(90_000, at(90_000)), Some(rest));
        assert_eq!((growing.grown(90_000, at(97_200)), growing.grown(90_001, at(97_201))), (None, Some(1)));
    }
}
