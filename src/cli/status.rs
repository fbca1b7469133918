//! `wharfinger status`: what a running gateway received and what became of it.

use std::net::SocketAddr;

use super::asking::Gateway;
use super::config_file::ConfigFile;
use super::failure::{Exit, Failure};
use super::output;
use super::table::{grouped, size, table, time};
use super::visible::visible;
use crate::admin::receipts;
use crate::admin::status::{JournalRow, Page};
use crate::sinks::EventId;

/// Show what the running gateway received and what became of it: received = delivered + filtered +
/// quarantined + lost + queued
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,

    /// Address of the gateway's admin page, in place of the configuration's `admin.listen`
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,

    /// What became of this event at each sink: when it was delivered and what the peer answered
    #[arg(long, value_name = "ID", value_parser = event_id)]
    event: Option<String>,

    /// As JSON, just as the gateway answers it
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let gateway = Gateway::named(arguments.address, &arguments.file)?;
    if let Some(id) = &arguments.event {
        return tell(&gateway, id, arguments.json);
    }
    let answer = gateway.get("/api/status")?;
    let page: Page = gateway.read(&answer)?;
    let text = if arguments.json { format!("{}\n", String::from_utf8_lossy(&answer)) } else { describe(&page) };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn event_id(text: &str) -> Result<String, String> {
    let is_one = EventId::read(text).is_some();
    let wrong = "expected the `event_id` of an event: 16 hex digits, a dash, 16 digits";
    is_one.then(|| text.to_owned()).ok_or_else(|| wrong.to_owned())
}

/// What became of one event.
fn tell(gateway: &Gateway, id: &str, json: bool) -> Result<Exit, Failure> {
    let answer = gateway.get(&format!("/api/event?id={id}"))?;
    let page: receipts::Page = gateway.read(&answer)?;
    if let Some(last) = &page.last {
        let error = anyhow::anyhow!("no event has the number `{id}` yet: the last one is `{last}`");
        return Err(Failure::new(Exit::NoInput, error, "is it an event of this gateway?"));
    }
    let text = if json { format!("{}\n", String::from_utf8_lossy(&answer)) } else { describe_event(&page) };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// A line for each sink, and one for each delivery.
fn describe_event(page: &receipts::Page) -> String {
    let mut text = format!("event {}\n", visible(&page.event_id));
    if page.sinks.is_empty() {
        text.push_str("there are no sinks\n");
    }
    for row in &page.sinks {
        let note = row.note.as_deref().map(|note| format!(": {}", visible(note))).unwrap_or_default();
        text.push_str(&format!("{} ({}) {}{note}\n", visible(&row.name), visible(&row.kind), visible(&row.became)));
        for receipt in &row.receipts {
            let answer: Vec<_> = receipt.answer.iter().map(|(name, said)| format!("{name} {said}")).collect();
            let confirmed = match receipt.confirmed == receipt.answered {
                true => String::new(),
                false => format!(", confirmed {}", visible(&receipt.confirmed)),
            };
            text.push_str(&format!("  {}{confirmed}  {}\n", visible(&receipt.answered), visible(&answer.join(", "))));
        }
    }
    text
}

/// The page for people.
fn describe(page: &Page) -> String {
    let Page { version, pid, journal, sources, sinks, digests } = page;
    let mut text = format!("gateway  version {}, process {pid}\n{}\n", visible(version), describe_journal(journal));
    let rows: Vec<_> = sources
        .iter()
        .map(|row| {
            [row.name.as_str().into(), row.kind.as_str().into(), row.received.into(), row.taken.into(), row.lost.into()]
        })
        .collect();
    text.push_str(&table(["source", "type", "received", "taken in", "lost"], &rows));
    for row in sources.iter().filter(|row| row.undeclared > 0) {
        text.push_str(&format!("  {} is dropping events: {} so far\n", visible(&row.name), grouped(row.undeclared)));
    }
    text.push('\n');
    let rows: Vec<_> = sinks
        .iter()
        .map(|row| {
            let words = [&row.name, &row.kind, &row.state].map(|word| word.as_str().into());
            let numbers = [row.received, row.delivered, row.filtered, row.quarantined, row.lost, row.queued];
            let [name, kind, state] = words;
            let [received, delivered, filtered, quarantined, lost, queued] = numbers.map(Into::into);
            [name, kind, state, received, delivered, filtered, quarantined, lost, queued]
        })
        .collect();
    let head = ["sink", "type", "state", "received", "delivered", "filtered", "quarantined", "lost", "queued"];
    text.push_str(&table(head, &rows));
    for row in sinks {
        if let Some(error) = &row.error {
            text.push_str(&format!("  {}: {}\n", visible(&row.name), visible(error)));
        }
        if row.in_doubt > 0 {
            let count = grouped(row.in_doubt);
            text.push_str(&format!("  {}: {count} of the queued are sent and not acknowledged\n", visible(&row.name)));
        }
        if !row.redacted.is_empty() {
            let counts: Vec<_> =
                row.redacted.iter().map(|(rule, count)| format!("{rule} {}", grouped(*count))).collect();
            text.push_str(&format!(
                "  {}: redacted since the start: {}\n",
                visible(&row.name),
                visible(&counts.join(", "))
            ));
        }
        if row.undeclared > 0 {
            let count = grouped(row.undeclared);
            text.push_str(&format!("  {}: gave up {count} events, a gap record follows\n", visible(&row.name)));
        }
        if row.unaccounted != 0 {
            let count = row.unaccounted;
            text.push_str(&format!("  {}: {count} events are unaccounted for: please report it\n", visible(&row.name)));
        }
    }
    if digests.is_empty() {
        return text;
    }
    text.push('\n');
    let rows: Vec<_> = digests
        .iter()
        .map(|row| [&row.name, &row.state, &row.last_day, &row.result].map(|word| word.as_str().into()))
        .collect();
    text.push_str(&table(["digest", "state", "last day", "result"], &rows));
    for (row, error) in digests.iter().filter_map(|row| Some((row, row.error.as_ref()?))) {
        text.push_str(&format!("  {}: {}\n", visible(&row.name), visible(error)));
    }
    text
}

fn describe_journal(journal: &JournalRow) -> String {
    let percent = journal.bytes_used.saturating_mul(100) / journal.bytes_ordinary.max(1);
    let mut text = format!(
        "journal  {} of {} ({percent} %), {} events since it began\n",
        size(journal.bytes_used),
        size(journal.bytes_ordinary),
        grouped(journal.events)
    );
    if let Some(seconds) = journal.seconds_left {
        text.push_str(&format!("         room for {} at the present rate, if nothing leaves it\n", time(seconds)));
    }
    if !journal.healthy {
        text.push_str("         cannot store: nothing is acknowledged, the disk fails\n");
    }
    if journal.stalled {
        text.push_str("         the disk is full: senders wait\n");
    }
    if journal.damaged > 0 {
        text.push_str(&format!("         {} events were found damaged since the start\n", grouped(journal.damaged)));
    }
    if journal.unattributed != 0 {
        text.push_str(&format!("         of {} events the source is not known\n", journal.unattributed));
    }
    text
}
