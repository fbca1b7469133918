//! `/metrics` in OpenMetrics text. Names are Vector's with our prefix, so that its dashboards fit.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::status::{self, DigestRow, Page, SinkRow, SourceRow};
use super::{SinkView, SourceView, View};
use crate::journal::Status;
use crate::sinks::SinkState;
use crate::sinks::redact::Rule;
use crate::stats;

/// The page's text.
pub(super) fn render(view: Arc<dyn View>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("wharfinger");
    registry.register_collector(Box::new(Metrics(view)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

struct Metrics(Arc<dyn View>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Labels of a row, as Vector names them.
type Labels = [(&'static str, String); 3];

fn labels(name: &str, kind: &str, place: &str) -> Labels {
    [("component_id", name.to_owned()), ("component_type", kind.to_owned()), ("component_kind", place.to_owned())]
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        sources(&mut encoder, &self.0.sources())?;
        custody(&mut encoder, &status::page(&*self.0))?;
        let status = self.0.journal().status();
        sinks(&mut encoder, &self.0.sinks(), &status)?;
        digests(&mut encoder, &self.0.digests())?;
        journal(&mut encoder, &status)
    }
}

fn digests(encoder: &mut DescriptorEncoder<'_>, rows: &[DigestRow]) -> fmt::Result {
    let of = |row: &DigestRow| [("digest", row.name.clone())];
    let failing = rows.iter().map(|row| (of(row), i64::from(row.state == "fails")));
    gauges(encoder, "digest_failing", "1 while the digest of a day cannot be made", failing)?;
    let last = rows.iter().filter(|row| row.last_end > 0).map(|row| (of(row), row.last_end));
    gauges(encoder, "digest_last_day_end_seconds", "End of the last day that has a digest, Unix time", last)
}

fn sources(encoder: &mut DescriptorEncoder<'_>, sources: &[SourceView]) -> fmt::Result {
    type Read = fn(&stats::SourceStats) -> u64;
    let columns: [(&str, &str, Read); 7] = [
        ("component_received_event_bytes", "Bytes of frames taken in", |stats| stats::read(&stats.received_bytes)),
        ("component_unparsed_events", "Events no parser accepted", |stats| stats::read(&stats.unparsed)),
        ("component_oversize_events", "Frames over the limit", |stats| stats::read(&stats.oversize)),
        ("component_excluded_events", "Events left out by options of the source", |stats| stats::read(&stats.excluded)),
        ("component_panics", "Frames a parser panicked on", |stats| stats::read(&stats.panics)),
        ("component_refused_connections", "Connections refused before their first frame", |stats| {
            stats::read(&stats.refused_connections)
        }),
        ("component_refused_logins", "Requests and senders with wrong credentials", |stats| {
            stats::read(&stats.refused_logins)
        }),
    ];
    for (name, help, read) in columns {
        let rows = sources.iter().map(|source| (labels(&source.name, source.kind, "source"), read(&source.stats)));
        counters(encoder, name, help, rows)?;
    }
    Ok(())
}

/// What was received and what became of it, from one moment: the accounts agree on every page.
fn custody(encoder: &mut DescriptorEncoder<'_>, page: &Page) -> fmt::Result {
    let of_source = |row: &SourceRow| labels(&row.name, &row.kind, "source");
    let of_sink = |row: &SinkRow| labels(&row.name, &row.kind, "sink");
    let received = page.sources.iter().map(|row| (of_source(row), row.taken));
    let received = received.chain(page.sinks.iter().map(|row| (of_sink(row), row.received)));
    counters(encoder, "component_received_events", "Events taken in, or in the journal for a sink", received)?;
    let lost = page.sources.iter().map(|row| (of_source(row), row.lost));
    let lost = lost.chain(page.sinks.iter().map(|row| (of_sink(row), row.lost)));
    counters(encoder, "component_discarded_events", "Events lost and declared by a gap record", lost)?;
    type OfSink = fn(&SinkRow) -> u64;
    let sinks: [(&str, &str, OfSink); 3] = [
        ("component_sent_events", "Events the peer has", |sink| sink.delivered),
        ("component_filtered_events", "Events that were not meant for the sink", |sink| sink.filtered),
        ("component_quarantined_events", "Events refused for good", |sink| sink.quarantined),
    ];
    for (name, help, read) in sinks {
        counters(encoder, name, help, page.sinks.iter().map(|row| (of_sink(row), read(row))))?;
    }
    let in_doubt = page.sinks.iter().map(|row| (of_sink(row), i64::try_from(row.in_doubt).unwrap_or(i64::MAX)));
    gauges(encoder, "component_unacknowledged_events", "Events the peer has taken and may still lose", in_doubt)?;
    let unaccounted = page.sinks.iter().map(|row| (of_sink(row), row.unaccounted));
    gauges(encoder, "component_unaccounted_events", "Events in none of the counts: always zero", unaccounted)
}

fn sinks(encoder: &mut DescriptorEncoder<'_>, sinks: &[SinkView], status: &Status) -> fmt::Result {
    type Read = fn(&crate::sinks::SinkStats) -> u64;
    let columns: [(&str, &str, Read); 4] = [
        ("component_sent_event_bytes", "Bytes the peer has", crate::sinks::SinkStats::delivered_bytes_total),
        ("component_sent_requests", "Requests the peer has", crate::sinks::SinkStats::requests_total),
        ("component_retries", "Requests made again", crate::sinks::SinkStats::retries_total),
        ("component_damaged_ranges", "Damaged places in the journal", crate::sinks::SinkStats::damaged_total),
    ];
    for (name, help, read) in columns {
        counters(
            encoder,
            name,
            help,
            sinks.iter().map(|sink| (labels(&sink.name, sink.kind, "sink"), read(&sink.stats))),
        )?;
    }
    let redacted = sinks.iter().flat_map(|sink| {
        Rule::ALL.into_iter().map(|rule| {
            let [name, kind, place] = labels(&sink.name, sink.kind, "sink");
            ([name, kind, place, ("rule", rule.name().to_owned())], sink.stats.redacted_total(rule))
        })
    });
    counters(encoder, "component_redacted_secrets", "Secrets taken out of what the peer has", redacted)?;
    let up = sinks
        .iter()
        .map(|sink| (labels(&sink.name, sink.kind, "sink"), i64::from(sink.stats.state() == SinkState::Working)));
    gauges(encoder, "component_up", "1 when the sink's peer takes events", up)?;
    let kind_of = |name: &str| sinks.iter().find(|sink| sink.name == name).map_or("", |sink| sink.kind);
    let lag = |read: fn(&crate::journal::CursorStatus) -> u64| {
        status.cursors.iter().map(move |cursor| {
            (labels(&cursor.name, kind_of(&cursor.name), "sink"), i64::try_from(read(cursor)).unwrap_or(i64::MAX))
        })
    };
    gauges(
        encoder,
        "buffer_events",
        "Events in the journal a sink has not delivered",
        lag(|cursor| cursor.lag_records),
    )?;
    gauges(encoder, "buffer_byte_size", "Bytes in the journal a sink has not delivered", lag(|cursor| cursor.lag_bytes))
}

fn journal(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> fmt::Result {
    let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    for (name, help, value) in [
        ("journal_byte_size", "Bytes of the journal on disk", gauge(status.bytes_used)),
        ("journal_max_byte_size", "The journal's byte budget", gauge(status.bytes_max)),
        ("journal_last_sequence", "The highest sequence that is synced", gauge(status.last.0)),
        ("journal_healthy", "1 while the journal can store", i64::from(status.healthy)),
    ] {
        ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
    }
    for (name, help, value) in [
        ("journal_syncs", "Syncs of the journal's segments", status.syncs_total),
        ("journal_sync_failures", "Of them, those that failed", status.sync_failures_total),
    ] {
        ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
    }
    Ok(())
}

fn counters<L>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = (L, u64)>,
) -> fmt::Result
where
    L: prometheus_client::encoding::EncodeLabelSet,
{
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in rows {
        ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauges<L>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = (L, i64)>,
) -> fmt::Result
where
    L: prometheus_client::encoding::EncodeLabelSet,
{
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in rows {
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}
