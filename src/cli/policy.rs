//! `wharfinger policy`: unit tests of a policy, and each rule's reason for one event.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use wharfinger_formats::{Event, Field, Time};

use super::config_file::ConfigFile;
use super::failure::{Exit, Failure};
use super::output;
use super::records::{Reading, readable};
use super::table::{Cell, table};
use super::visible::visible;
use crate::document::{self, Language, Mistakes};
use crate::facts::Facts;
use crate::identity::{Local, Snapshot, Trust, Who, inventory};
use crate::policy::{Answer, Case, DEFAULT_GROUP, Judge, Policy, Verdict, read_cases};

/// Try a policy: unit tests of it, and what each rule says of one event
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run unit tests: events in, findings out. Ends with 1 when one fails
    Test {
        /// The tests, `.yaml`, `.toml` or `.json`: `tests: [{name: …, machine: {vm.name: web-1},
        /// event: {event_class: container.start}, findings: [docker_not_allowed]}]`
        file: PathBuf,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Say what each rule answers about one line, and why
    Explain {
        /// The line, in any format that is read
        line: OsString,
        /// The machine it comes from: a name of the inventory, or any other
        #[arg(long, value_name = "NAME")]
        vm: Option<String>,
        /// Format to read the line as, in place of a guess
        #[arg(long, value_name = "FORMAT", default_value = "auto", hide_possible_values = true,
              value_parser = PossibleValuesParser::new(readable()))]
        from: String,
        #[command(flatten)]
        config: ConfigFile,
    },
}

/// The largest file of tests that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.verb {
        Verb::Test { file, config } => test(file, &config.load()?.config.policy),
        Verb::Explain { line, vm, from, config } => {
            let config = config.load()?.config;
            let facts = match vm {
                Some(name) => facts_of(name, &config.identity.inventory)?,
                None => Facts::default(),
            };
            let reading = Reading::new(from, wharfinger_formats::Offset(0));
            let mut raw = Vec::new();
            let mut event = reading.event(None, line.as_bytes(), &mut raw, Event::new(b""));
            set_machine(&mut event, &facts, &config.policy);
            output::write(explained(&config.policy, &event, reading.context.received).as_bytes())?;
            Ok(Exit::Ok)
        }
    }
}

/// What the inventories know of the machine of that name; its name alone, if they do not.
fn facts_of(name: &str, inventories: &[PathBuf]) -> Result<Facts, Failure> {
    let mut entries = Vec::new();
    for path in inventories {
        let read = inventory::read(path);
        entries
            .extend(read.map_err(|error| Failure::new(Exit::Config, error, "look at `identity.inventory`"))?.entries);
    }
    let snapshot = Snapshot::new(&Local::default(), &entries);
    let who = Who { trust: Trust::Relay, claimed_host: Some(name), ..Who::default() };
    Ok(match snapshot.resolve(who) {
        Some((identity, _)) => identity.facts.clone(),
        None => [(Field::VmName, name)].into_iter().collect(),
    })
}

fn set_machine(event: &mut Event<'_>, facts: &Facts, policy: &Policy) {
    facts.set_on(event);
    if let Some(group) = policy.group_of(facts) {
        event.set(Field::VmGroup, group);
    }
}

fn explained(policy: &Policy, event: &Event<'_>, now: Time) -> String {
    let machine = event.text(Field::VmName).unwrap_or("unknown");
    let group = event.text(Field::VmGroup).unwrap_or(DEFAULT_GROUP);
    let class = event.text(Field::EventClass).unwrap_or("none");
    let mut text =
        format!("machine  {}\ngroup    {}\nclass    {}\n\n", visible(machine), visible(group), visible(class));
    let rows: Vec<[Cell; 3]> = policy
        .explain(event, now)
        .map(|(rule, unless, answer)| {
            let option = unless.map_or("", |unless| unless.name());
            let (word, why) = match answer {
                Answer::Finding if option.is_empty() => ("finding", String::new()),
                Answer::Finding => ("finding", format!("`{option}` does not allow it")),
                Answer::OtherEvent => ("no", "it is about other events".to_owned()),
                Answer::Excepted(reason) => ("excepted", reason.to_owned()),
                Answer::Fine(Verdict::NotAsked) => ("no", format!("neither the group nor `default` says `{option}`")),
                Answer::Fine(Verdict::NotTold) => ("no", format!("the event does not say what `{option}` asks")),
                Answer::Fine(_) => ("allowed", format!("`{option}` allows it")),
            };
            [Cell::from(rule), Cell::from(word), Cell::from(&*why)]
        })
        .collect();
    match rows.is_empty() {
        true => text.push_str("the policy has no rules: write `policy:` in the configuration\n"),
        false => text.push_str(&table(["rule", "answer", "why"], &rows)),
    }
    text
}

fn test(file: &Path, policy: &Arc<Policy>) -> Result<Exit, Failure> {
    let one = |mistake| Mistakes::new(file, vec![mistake]);
    let language = Language::of(file).map_err(one)?;
    let text = document::read_file(file, FILE_BYTES_MAX).map_err(one)?;
    let root = document::read(&text, language).map_err(one)?;
    let cases = read_cases(&root).map_err(|mistakes| Mistakes::new(file, mistakes))?;
    let (mut text, mut failed) = (String::new(), 0);
    for case in &cases {
        let found = findings(case, policy);
        if found == case.findings {
            text.push_str(&format!("ok      {}\n", visible(&case.name)));
            continue;
        }
        failed += 1;
        let (expected, found) = (case.findings.join(", "), found.join(", "));
        let place = format!("{}:{}", file.display(), case.place.line);
        text.push_str(&format!(
            "FAILED  {}\n        {place}: expected [{}], found [{found}]\n",
            visible(&case.name),
            visible(&expected)
        ));
    }
    text.push_str(&format!("{} of {} tests passed\n", cases.len() - failed, cases.len()));
    output::write(text.as_bytes())?;
    Ok(if failed == 0 { Exit::Ok } else { Exit::Failed })
}

/// The rules of the findings that are told, sorted: as the gateway would, from an empty book.
fn findings(case: &Case, policy: &Arc<Policy>) -> Vec<String> {
    let judge = Judge::new(Arc::clone(policy));
    let reading = Reading::new(&case.from, wharfinger_formats::Offset(0));
    let mut found = Vec::new();
    for one in &case.events {
        let mut raw = Vec::new();
        let mut event = match &one.line {
            Some(line) => reading.event(None, line.as_bytes(), &mut raw, Event::new(b"")),
            None => Event::new(b""),
        };
        one.fill(&mut event);
        set_machine(&mut event, &case.machine, policy);
        let now = case.at.or_else(|| event.time(Field::Time)).unwrap_or(reading.context.received);
        if let Some(at) = case.at {
            event.set(Field::Time, at);
        }
        judge.judge(&event, now, |finding, _| found.push(finding.rule_id().to_owned()));
    }
    found.sort();
    found
}
