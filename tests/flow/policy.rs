//! Policy: recorded Docker events of two machines, one of which may run Docker; findings at a file.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::Value;
use wharfinger::config::Config;
use wharfinger::document::Language;
use wharfinger::identity::{Entry, Facts, Local, Snapshot};
use wharfinger::intake::{Intake, Origin, Tally, Trust};
use wharfinger::journal::Journal;
use wharfinger::policy::{Judge, MARKS};

use crate::support::cef::Cef;
use crate::support::flow::{Flow, wait_for};

/// A policy, the machines it is about, and files in CEF and native JSON for what it finds.
pub(super) struct Yard {
    pub(super) flow: Flow,
    config: Config,
    pub(super) identity: Arc<ArcSwap<Snapshot>>,
    judge: Arc<Judge>,
}

pub(super) const LAB: &str = "192.0.2.7";
pub(super) const PAYROLL: &str = "192.0.2.8";

fn config(dir: &Path, policy: &str) -> Config {
    let dir = dir.display();
    let text = format!(
        "sinks:\n  cef:\n    type: file\n    path: {dir}/out.cef\n    format: cef\n  json:\n    type: file\n    \
         path: {dir}/out.ndjson\npolicy:\n{policy}"
    );
    Config::parse(&text, Path::new("test.yaml"), Language::Yaml, &|_| None).unwrap_or_else(|error| panic!("{error}"))
}

impl Yard {
    pub(super) fn new(policy: &str) -> Yard {
        let flow = Flow::new();
        let config = config(flow.dir.path(), policy);
        let judge = Arc::new(Judge::new(Arc::clone(&config.policy)));
        let yard = Yard { flow, identity: Arc::default(), config, judge };
        yard.know(&[("lab-1", LAB), ("payroll", PAYROLL)]);
        yard
    }

    /// The inventory names these machines from now on.
    pub(super) fn know(&self, machines: &[(&str, &str)]) {
        let entry = |(name, address): &(&str, &str)| Entry {
            name: (*name).to_owned(),
            addresses: vec![address.parse().unwrap()],
            ..Entry::default()
        };
        let entries: Vec<Entry> = machines.iter().map(entry).collect();
        let group_of = |facts: &Facts| self.config.policy.group_of(facts).map(str::to_owned);
        let now = self.identity.load().renewed(&Local::default(), &entries, &group_of);
        self.identity.store(Arc::new(now));
    }

    /// The gateway is started again, on what the journal holds.
    pub(super) fn restart(&mut self, machines: &[(&str, &str)]) {
        self.identity = Arc::default();
        self.know(machines);
        self.judge = Arc::new(Judge::restored(Arc::clone(&self.config.policy), self.journal().marks(MARKS)));
        self.intake().restore_register();
    }

    fn journal(&self) -> &Journal {
        &self.flow.journal
    }

    pub(super) fn intake(&self) -> Intake {
        Intake::new(self.journal().clone(), Arc::clone(&self.identity), "in", Arc::default())
            .judged_by(Some(Arc::clone(&self.judge)))
    }

    /// Takes in lines that come from that address.
    pub(super) async fn take(&self, address: &str, lines: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        let intake = self.intake();
        let origin = Origin {
            peer: address.into(),
            address: address.parse().ok(),
            address_unverified: false,
            trust: Trust::Peer,
            format: None,
            zone_seconds: 0,
        };
        let mut frames = intake.frames(origin);
        lines.into_iter().for_each(|line| intake.take(&mut frames, line.as_ref()));
        intake.append(&mut frames).await.unwrap();
    }

    /// Everything at the two files: lines of CEF, events of JSON.
    pub(super) async fn delivered(&self) -> (Vec<String>, Vec<Value>) {
        for part in &self.config.sinks {
            let sink = part.options.open(&self.flow.context(&part.name)).unwrap();
            let running = self.flow.start(&part.name, sink);
            let behind = || self.journal().status().cursors.iter().any(|c| c.name == part.name && c.lag_records > 0);
            wait_for("all events", || !behind()).await;
            running.finish().await;
        }
        let read = |name: &str| std::fs::read_to_string(self.flow.dir.path().join(name)).unwrap();
        let json = read("out.ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (read("out.cef").lines().map(str::to_owned).collect(), json)
    }
}

pub(super) fn recorded() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/docker-events/engine-28.5.ndjson");
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

pub(super) fn findings(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["rule.id"].is_string()).collect()
}

#[tokio::test]
async fn docker_is_a_finding_only_where_it_is_not_allowed() {
    let yard = Yard::new(
        "  rule_sets: [docker-placement]\n  groups:\n    playground: {vms: [\"lab-*\"], docker: allowed}\n    \
         default: {docker: forbidden}\n",
    );
    let events = recorded();
    yard.take(LAB, &events).await;
    yard.take(PAYROLL, &events).await;
    let (cef, json) = yard.delivered().await;
    assert_eq!((cef.len(), json.len()), (2 * events.len() + 1, 2 * events.len() + 1));

    let findings = findings(&json);
    let [finding] = findings.as_slice() else { panic!("{findings:#?}") };
    let text = |name: &str| finding[name].as_str().unwrap_or_else(|| panic!("no {name} in {finding:#}"));
    assert_eq!(text("event_class"), "compliance.docker_not_allowed");
    assert_eq!((text("rule.id"), text("rule.groups")), ("docker_not_allowed", "docker-placement"));
    assert_eq!((text("vm.name"), text("action"), text("source")), ("payroll", "create", "wharfinger"));
    assert_eq!(finding["severity"], 8);
    assert_eq!(finding["count"], 1);
    let fields = &finding["fields"];
    assert_eq!(fields["finding.state"], "open");
    assert_eq!(fields["finding.id"].as_str().map(str::len), Some(16));
    assert!(fields["finding.recommendation"].as_str().unwrap().contains("(`playground`)"), "{finding:#}");
    assert!(text("msg").starts_with("Docker runs where it is not allowed on `payroll`: Docker is at work ("));

    // It stands behind its cause, and names it: the first event of that machine.
    let cause = json.iter().find(|event| event["event_id"] == finding["cause"]).expect("the cause is there");
    assert_eq!((cause["vm.name"].as_str(), cause["event_class"].as_str()), (Some("payroll"), Some("image.tag")));
    assert_eq!(json.iter().filter(|event| event["vm.group"] == "playground").count(), events.len());

    let line = cef.iter().find(|line| line.contains("docker_not_allowed")).unwrap();
    let read = Cef::read(line);
    let header = [&*read.class, &*read.name, &*read.severity];
    assert_eq!(header, ["compliance.docker_not_allowed", "Docker runs where it is not allowed", "8"]);
    assert_eq!((read.labelled("vmName"), read.get("externalId")), ("payroll", text("event_id")));
    assert!(read.get("reason").contains("docker"), "{line}");

    let tally = |name: &str| Tally::from_sums(&yard.journal().status().tallies[name]);
    assert_eq!((tally("in").taken, tally("wharfinger").taken), (2 * events.len() as u64, 1));
}

/// The book of findings is in the journal: a restart tells nothing twice, and what is allowed now is resolved.
#[tokio::test]
async fn a_restart_keeps_what_is_open_and_resolves_what_is_allowed_now() {
    let mut yard = Yard::new("  groups:\n    default: {docker: forbidden}\n");
    let events = recorded();
    yard.take(PAYROLL, &events[..1]).await;
    yard.take(PAYROLL, &events[..2]).await;
    assert_eq!(yard.intake().tell_due().await.unwrap(), 0);
    let restored = |yard: &Yard, policy: &str| {
        let policy = config(yard.flow.dir.path(), policy).policy;
        Arc::new(Judge::restored(policy, yard.journal().marks(MARKS)))
    };
    yard.judge = restored(&yard, "  groups:\n    default: {docker: forbidden}\n");
    yard.take(PAYROLL, &events[1..2]).await;
    assert_eq!(yard.intake().tell_due().await.unwrap(), 0);
    yard.judge = restored(&yard, "  groups:\n    default: {docker: allowed}\n");
    assert_eq!(yard.intake().tell_due().await.unwrap(), 1);
    assert_eq!(yard.intake().tell_due().await.unwrap(), 0);
    assert!(yard.journal().marks(MARKS).is_empty());

    let (_, json) = yard.delivered().await;
    let findings = findings(&json);
    let [open, resolved] = findings.as_slice() else { panic!("{findings:#?}") };
    assert_eq!((&open["action"], &resolved["action"]), (&"create".into(), &"close".into()));
    assert_eq!((&open["outcome"], &resolved["outcome"]), (&"failure".into(), &"success".into()));
    assert_eq!(open["fields"]["finding.id"], resolved["fields"]["finding.id"]);
    assert_eq!(resolved["fields"]["finding.state"], "resolved");
    assert_eq!((&resolved["vm.name"], &resolved["count"]), (&"payroll".into(), &4.into()));
    let told = json.iter().find(|event| event["event_id"] == resolved["cause"]);
    assert_eq!(told.expect("what was told is named")["event_id"], open["event_id"]);
}

/// A rule of one's own, an exception to it, and an event that two rules are about.
#[tokio::test]
async fn own_rules_and_exceptions() {
    let yard = Yard::new(
        "  groups:\n    default: {docker: forbidden}\n  rules:\n    imported:\n      \
         when: 'event_class == \"image.import\"'\n      why: images are pulled\n      severity: 3\n  exceptions:\n    \
         - {rule: docker_*, vms: [lab-1], until: 2199-01-01, reason: a test}\n",
    );
    let events = recorded();
    assert!(events[1].contains("import"));
    yard.take(LAB, &events[1..2]).await;
    yard.take(PAYROLL, &events[1..2]).await;
    let (_, json) = yard.delivered().await;
    let found: Vec<_> = findings(&json)
        .iter()
        .map(|event| {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            let cause = json.iter().find(|cause| cause["event_id"] == event["cause"]).unwrap();
            assert_eq!((&cause["event_class"], &cause["vm.name"]), (&"image.import".into(), &event["vm.name"]));
            (text("vm.name"), text("event_class"))
        })
        .collect();
    let pair = |vm: &str, class: &str| (vm.to_owned(), class.to_owned());
    let expected = [
        pair("lab-1", "finding.imported"),
        pair("payroll", "compliance.docker_not_allowed"),
        pair("payroll", "finding.imported"),
    ];
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
}
