//! `wharfinger compliance`: how each machine stands to the policy, as a running gateway knows it.

use std::net::SocketAddr;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use wharfinger_formats::Time;

use super::asking::Gateway;
use super::config_file::ConfigFile;
use super::failure::{Exit, Failure};
use super::output;
use super::table::{Cell, grouped, table};
use crate::admin::compliance::{Page, Query, ROWS_MAX, Row};
use crate::identity::{STATES, State};

/// Show which machines there are, and how each stands to the policy: violating, silent, unknown or compliant
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,

    /// Address of the gateway's admin page, in place of the configuration's `admin.listen`
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,

    /// Only machines of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,

    /// Only machines in this state
    #[arg(long, value_name = "STATE",
          value_parser = PossibleValuesParser::new(STATES.map(State::name)).map(|name| state(&name)))]
    state: Option<State>,

    /// How it was then, as far back as changes are kept: `2026-11-21T09:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<String>,

    /// As JSON, one machine in a line
    #[arg(long)]
    json: bool,
}

/// The parser of arguments has let no other word through.
fn state(name: &str) -> State {
    STATES.into_iter().find(|state| state.name() == name).unwrap_or(State::Unknown)
}

fn time(text: &str) -> Result<String, String> {
    match Time::parse_rfc3339(text.as_bytes()) {
        Some((_, used)) if used == text.len() => Ok(text.to_owned()),
        _ => Err("write a time such as `2026-11-21T09:00:00Z`".to_owned()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let gateway = Gateway::named(arguments.address, &arguments.file)?;
    let mut query = Query {
        group: arguments.group.clone(),
        state: arguments.state,
        at: arguments.at.clone(),
        per_page: Some(ROWS_MAX),
        ..Query::default()
    };
    let (mut rows, mut head) = (Vec::new(), None);
    for number in 1.. {
        query.page = Some(number);
        let page: Page = gateway.read(&gateway.get(&path(&query))?)?;
        let is_last = number >= page.pages;
        rows.extend(page.machines.iter().cloned());
        head.get_or_insert(page);
        if is_last {
            break;
        }
    }
    let Some(head) = head else { return Ok(Exit::Ok) };
    let text = if arguments.json { lines(&rows) } else { describe(&head, &rows) };
    output::write(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// The path with the query; a letter that has a meaning in a URL is written by its number.
fn path(query: &Query) -> String {
    let state = query.state.map(|state| state.name().to_owned());
    let number = |number: Option<usize>| number.map(|number| number.to_string());
    let parameters = [
        ("group", query.group.clone()),
        ("state", state),
        ("at", query.at.clone()),
        ("page", number(query.page)),
        ("per_page", number(query.per_page)),
    ];
    let one = |(name, value): (&str, Option<String>)| Some(format!("{name}={}", encoded(&value?)));
    format!("/api/compliance?{}", parameters.into_iter().filter_map(one).collect::<Vec<_>>().join("&"))
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

fn lines(rows: &[Row]) -> String {
    let line = |row: &Row| serde_json::to_string(row).unwrap_or_default() + "\n";
    rows.iter().map(line).collect()
}

fn describe(head: &Page, rows: &[Row]) -> String {
    let counts = head.counts;
    let mut text = match &head.at {
        Some(at) => format!("at {at}: "),
        None => String::new(),
    };
    text.push_str(&format!(
        "{} machines: {} violating, {} silent, {} unknown, {} compliant\n\n",
        grouped(head.total as u64),
        grouped(counts.violating as u64),
        grouped(counts.silent as u64),
        grouped(counts.unknown as u64),
        grouped(counts.compliant as u64)
    ));
    let cells: Vec<[Cell; 8]> = rows
        .iter()
        .map(|row| {
            let seen = row.last_seen.as_deref().unwrap_or("never");
            let registries = row.untrusted_registries.join(", ");
            [
                row.name.as_str().into(),
                row.group.as_str().into(),
                row.state.name().into(),
                row.since.as_deref().unwrap_or("-").into(),
                seen.into(),
                Cell::Number(u64::from(row.findings)),
                Cell::Number(row.unique_containers as u64),
                registries.as_str().into(),
            ]
        })
        .collect();
    match cells.is_empty() {
        true => text.push_str("no machine is asked for\n"),
        false => {
            let head = [
                "machine",
                "group",
                "state",
                "since",
                "last seen",
                "findings",
                "containers 24h",
                "untrusted registries",
            ];
            text.push_str(&table(head, &cells));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_path_whatever_a_group_is_called() {
        let query =
            Query { group: Some("a&b=c/ü".to_owned()), state: Some(State::Silent), page: Some(2), ..Query::default() };
        assert_eq!(path(&query), "/api/compliance?group=a%26b%3Dc%2F%C3%BC&state=silent&page=2");
    }
}
