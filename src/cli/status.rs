//! `wharfinger status`: what a running gateway received and what became of it.

use std::net::SocketAddr;

use super::asking::Gateway;
use super::config_file::ConfigFile;
use super::failure::{Exit, Failure};
use super::output;
use super::table::{grouped, size, table, time};
use super::visible::visible;
use crate::admin::status::{JournalRow, Page};

/// Show what the running gateway received and what became of it: received = delivered + filtered +
/// quarantined + lost + queued
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,

    /// Address of the gateway's admin page, in place of the configuration's `admin.listen`
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,

    /// As JSON, just as the gateway answers it
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let gateway = Gateway::named(arguments.address, &arguments.file)?;
    let answer = gateway.get("/api/status")?;
    let page: Page = gateway.read(&answer)?;
    let text = if arguments.json { format!("{}\n", String::from_utf8_lossy(&answer)) } else { describe(&page) };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// The page for people.
fn describe(page: &Page) -> String {
    let Page { version, pid, journal, sources, sinks } = page;
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
        if row.undeclared > 0 {
            let count = grouped(row.undeclared);
            text.push_str(&format!("  {}: gave up {count} events, a gap record follows\n", visible(&row.name)));
        }
        if row.unaccounted != 0 {
            let count = row.unaccounted;
            text.push_str(&format!("  {}: {count} events are unaccounted for: please report it\n", visible(&row.name)));
        }
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
