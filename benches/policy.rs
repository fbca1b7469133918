//! What the policy costs an event: `taskset -c 0 cargo bench --bench policy`.
//!
//! An inventory of 100,000 machines and 50 rules: finding the machine, then asking the rules, for events that no rule
//! selects, that rules select and allow, and that are findings in a quiet window. Nanoseconds an event; nothing is
//! parsed or stored. Then what the clock and the page do with 100,000 machines, in milliseconds.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use wharfinger::admin::compliance::{self, Docker, Query};
use wharfinger::admin::{SinkView, SourceView, View};
use wharfinger::config::Config;
use wharfinger::document::Language;
use wharfinger::identity::{Entry, Local, STATES, Snapshot, Who};
use wharfinger::journal::Journal;
use wharfinger::policy::{Judge, Policy, Silence};
use wharfinger_formats::{Event, Field, Time};

const MACHINES: u32 = 100_000;
const ROUNDS: u32 = 2_000_000;

fn main() {
    let policy = policy();
    println!("{}, {MACHINES} machines", policy.describe());
    let entries: Vec<Entry> = (0..MACHINES).map(entry).collect();
    let begun = Instant::now();
    let snapshot = Snapshot::grouped(&Local::default(), &entries, &|facts| policy.group_of(facts).map(str::to_owned));
    println!("{:40} {:8.0} ms", "the snapshot of machines, with groups", begun.elapsed().as_secs_f64() * 1e3);
    let judge = Judge::new(Arc::clone(&policy));

    measure("the machine of an address", |round| {
        black_box(snapshot.resolve(who(address(round.wrapping_mul(7919) % MACHINES))));
    });
    let line = event("syslog", "lab", &[(Field::App, "sshd")]);
    measure("an event that no rule selects", |_| ask(&judge, &line));
    let started = event("container.start", "lab", &[(Field::ImageRef, "registry.example/web:1")]);
    measure("a container that may start", |_| ask(&judge, &started));
    let forbidden = event("container.start", "prod", &[(Field::ImageRef, "registry.example/web:1")]);
    measure("a finding in a quiet window", |_| ask(&judge, &forbidden));
    many_machines(snapshot, judge);
}

/// What is done for all machines at once.
fn many_machines(snapshot: Snapshot, judge: Judge) {
    let now = Time(1_795_251_600_000_000_000);
    for (number, machine) in snapshot.machines().iter().enumerate() {
        machine.seen.speaks(now);
        machine.seen.stands(STATES[number % STATES.len()], now);
        if number % 10 == 0 {
            let mut event = event("container.start", "lab", &[(Field::ImageRef, "registry.example/web:1")]);
            event.set(Field::ContainerName, "web");
            machine.seen.note(&event, now);
        }
    }
    let all = || snapshot.machines().iter();
    measure_ms("the clock looks for silent machines", || {
        let machines = all().filter_map(|machine| {
            let (silent, last) = (snapshot.register().silent(&machine.seen), machine.seen.last());
            Some(Silence { machine: machine.key()?, facts: &machine.facts, silent, last })
        });
        judge.look_at_silence(now, machines);
    });
    let mut bytes = 0;
    measure_ms("what is stored of them once a minute", || {
        bytes += snapshot.register().stale(all(), 16 << 20).iter().map(|(_, value)| value.len()).sum::<usize>();
    });
    println!("{:40} {:8.1} MB the first time, with Docker on a tenth", "", bytes as f64 / 1e6);

    let shown = Shown { snapshot: Arc::new(snapshot), judge: Arc::new(judge) };
    let page = |query: Query| {
        let page = compliance::page(&shown, &query, now).unwrap_or_else(|error| panic!("{error}"));
        black_box(page.machines.len());
    };
    measure_ms("the first page of all", || page(Query::default()));
    measure_ms("page 500 of all", || page(Query { page: Some(500), ..Query::default() }));
    let lab = || Query { group: Some("lab".to_owned()), docker: Some(Docker::Yes), ..Query::default() };
    measure_ms("a page of a group with Docker", || page(lab()));
    measure_ms("a page of those with a piece of a name", || {
        page(Query { q: Some("VM-777".to_owned()), ..Query::default() })
    });
    measure_ms("one machine by its name", || {
        black_box(compliance::machine(&shown, "vm-99999", now).is_some());
    });
}

/// What a gateway would show.
struct Shown {
    snapshot: Arc<Snapshot>,
    judge: Arc<Judge>,
}

impl View for Shown {
    fn digests(&self) -> Vec<wharfinger::admin::status::DigestRow> {
        Vec::new()
    }

    fn journal(&self) -> &Journal {
        unreachable!("no page of machines asks for the journal")
    }

    fn seconds_left(&self) -> Option<u64> {
        None
    }

    fn sources(&self) -> Vec<SourceView> {
        Vec::new()
    }

    fn sinks(&self) -> Vec<SinkView> {
        Vec::new()
    }

    fn machines(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    fn judge(&self) -> Option<Arc<Judge>> {
        Some(Arc::clone(&self.judge))
    }

    fn receipts(&self) -> Option<&wharfinger::sinks::receipts::Keep> {
        None
    }
}

/// The best of ten runs.
fn measure_ms(what: &str, mut work: impl FnMut()) {
    let run = |_| {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64() * 1e3
    };
    let best = (0..10).map(run).fold(f64::INFINITY, f64::min);
    println!("{what:40} {best:8.2} ms");
}

/// The shipped rules, and 42 of the configuration for other classes and fields.
fn policy() -> Arc<Policy> {
    let mut text = "policy:\n  groups:\n    lab: {vms: [\"lab-*\"], docker: allowed, registries: [\"registry.example\"], \
                    images: [\"registry.example/*\"], privileged: forbidden, exec: forbidden, shell: forbidden, users: \
                    [root], working_hours: [\"00:00-24:00\"]}\n    prod: {vms: [\"vm-*\"], docker: forbidden, silent_after: 1h}\n  rules:\n"
        .to_owned();
    for number in 0..42 {
        let when = match number % 3 {
            0 => format!("event_class == \"audit.type_{number}\" && severity > 3"),
            1 => format!("event_class.startsWith(\"wazuh.\") && rule.level > {number}"),
            _ => format!("user.name == \"user-{number}\" && outcome == \"failure\""),
        };
        text.push_str(&format!("    own_{number}: {{when: '{when}', why: x}}\n"));
    }
    let config = Config::parse(&text, Path::new("bench.yaml"), Language::Yaml, &|_| None);
    config.unwrap_or_else(|mistakes| panic!("{mistakes}")).policy
}

fn entry(number: u32) -> Entry {
    let kind = if number.is_multiple_of(10) { "lab" } else { "vm" };
    Entry { name: format!("{kind}-{number}"), addresses: vec![address(number)], ..Entry::default() }
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

fn who(address: IpAddr) -> Who<'static> {
    Who { address: Some(address), ..Who::default() }
}

fn event(class: &str, group: &str, more: &[(Field, &str)]) -> Event<'static> {
    let mut event = Event::new(b"");
    event.set(Field::EventClass, class);
    event.set(Field::HostName, "a-host");
    event.set(Field::VmName, "a-machine");
    event.set(Field::VmGroup, group);
    event.set(Field::Time, Time(1_795_251_600_000_000_000));
    more.iter().for_each(|(field, text)| event.set(*field, *text));
    event
}

fn ask(judge: &Judge, event: &Event<'_>) {
    judge.judge(black_box(event), Time(1_795_251_600_000_000_000), |finding, _| {
        black_box(finding.count);
    });
}

/// The best of five runs.
fn measure(what: &str, mut work: impl FnMut(u32)) {
    let run = |_| {
        let begun = Instant::now();
        (0..ROUNDS).for_each(&mut work);
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
    };
    let best = (0..5).map(run).fold(f64::INFINITY, f64::min);
    println!("{what:40} {best:8.1} ns");
}
