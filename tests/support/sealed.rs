//! An archive that is the same every time: one day of four machines, sealed hour by hour with a known key.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wharfinger::archive::{Chain, Dir, KeyFile, Keys, Object, OpenStore, Origin, SigningKey, Source, Tree};
use wharfinger_formats::Time;

pub const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 24 * 3_600 * SECOND;
/// A test takes no longer.
const TEST_MAX: i64 = 240 * SECOND;
/// 2026-11-21T08:00:00Z.
pub const BEGIN: i64 = 1_795_248_000 * SECOND;
pub const FROM: &str = "2026-11-21T08:00:00Z";
pub const TO: &str = "2026-11-21T12:00:00Z";
const HOURS: i64 = 4;
pub const MACHINES: [(&str, &str, &str); 4] = [
    ("app-01", "421f0000-0000-4000-8000-000000000001", "apps"),
    ("app-02", "421f0000-0000-4000-8000-000000000002", "apps"),
    ("db-01", "421f0000-0000-4000-8000-000000000003", "default"),
    ("gw-01", "421f0000-0000-4000-8000-000000000004", "default"),
];

/// Starts with the program of the engine built: cargo builds it for no other package's tests.
pub fn wharfinger() -> Command {
    static ENGINE: Once = Once::new();
    ENGINE.call_once(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--package", "wharfinger-report"]);
        assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo").success());
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command.env("WHARFINGER_DATA_DIR", "/nonexistent");
    command
}

/// A formula, a script, what a terminal acts on, letters that cannot be seen.
const EVIL: &str =
    "=cmd|'/c calc'!A1<script>alert(1)</script>\u{1b}]8;;http://x\u{7}\u{202e}gpj.\u{200b}\u{fffe}\",\n@SUM(1)";

/// See above.
pub struct Archive {
    pub dir: tempfile::TempDir,
    pub key: String,
}

impl Archive {
    /// With the events that `change` leaves.
    pub fn with(change: impl Fn(Value) -> Option<Value>) -> Archive {
        Archive::begun(BEGIN, true, change)
    }

    /// One that begins at another time, and that a gateway with its folder `data` beside it may go on with. One that
    /// is not closed proves nothing of what comes behind it.
    pub fn begun(begin: i64, is_closed: bool, change: impl Fn(Value) -> Option<Value>) -> Archive {
        let dir = tempfile::tempdir().expect("a folder");
        let file = KeyFile::new(dir.path().join("key"));
        let key = SigningKey::from_seed("gw-01/audit", [1; 32]).expect("a key");
        file.create(&key).expect("a file of it");
        let mut chain = chain(dir.path(), Some(file), begin);
        let events: Vec<Value> = day(begin).into_iter().filter_map(change).collect();
        for hour in 0..HOURS {
            let (from, to) = (begin + hour * 3_600 * SECOND, begin + (hour + 1) * 3_600 * SECOND);
            let is_in = |event: &&Value| (from..to).contains(&nanos(event));
            let lines: Vec<Vec<u8>> = events.iter().filter(is_in).map(|event| event.to_string().into_bytes()).collect();
            if !lines.is_empty() {
                let object = object(&lines, chain.reached().next, Time(from));
                chain.seal(&object, Vec::new(), Time(to)).expect("it is sealed");
            }
        }
        let end = Time(begin + HOURS * 3_600 * SECOND + 60 * SECOND);
        if is_closed {
            chain.close("the test is over", end).expect("it is closed");
        }
        Archive { dir, key: key.verifying().to_string() }
    }

    /// The gateway starts again behind the end, and seals a stream of its own.
    pub fn goes_on(&self) {
        let begin = BEGIN + (HOURS + 1) * 3_600 * SECOND;
        let mut chain = chain(self.dir.path(), None, begin);
        let lines: Vec<Vec<u8>> = day(begin).iter().map(|event| event.to_string().into_bytes()).collect();
        let object = object(&lines, chain.reached().next, Time(begin));
        chain.seal(&object, Vec::new(), Time(begin + 3_600 * SECOND)).expect("it is sealed");
    }

    /// With events of one morning, so many days ago, that goes on. No midnight comes while a test runs: one that begins
    /// shortly before it waits.
    pub fn of_days_ago(days: i64) -> Archive {
        let left = DAY - now().rem_euclid(DAY);
        if left < TEST_MAX {
            std::thread::sleep(Duration::from_nanos(left.unsigned_abs()));
        }
        Archive::begun(midnight(days) + 8 * 3_600 * SECOND, false, Some)
    }

    pub fn whole() -> Archive {
        Archive::with(Some)
    }

    /// With what a gateway tells of its digests: made, made late, not made.
    pub fn with_digests() -> Archive {
        let gateways_own = |event: &Value| event["vm.name"] == "gw-01";
        let number = std::cell::Cell::new(0);
        Archive::with(|mut event| {
            if !gateways_own(&event) {
                return Some(event);
            }
            number.set(number.get() + 1);
            let (day, outcome, reason) = match number.get() {
                // Told on the 21st, at eight.
                1 => ("2026-11-16", "success", "complete"),
                2 => ("2026-11-18", "failure", "no room"),
                3 => ("2026-11-18", "failure", "no room"),
                4 => ("2026-11-19", "success", "not provable"),
                5 => ("2026-11-20", "failure", "no room"),
                6 => ("2026-11-20", "success", "complete with listed gaps"),
                _ => return Some(event),
            };
            event["event_class"] = json!("report.digest");
            event["name"] = json!("digest daily");
            event["start"] = json!(format!("{day}T00:00:00.000000000Z"));
            event["outcome"] = json!(outcome);
            event["reason"] = json!(reason);
            event["count"] = json!(7);
            event["file.path"] = json!(format!("digests/gw-01/daily/{day}.json"));
            Some(event)
        })
    }

    /// With names and texts by somebody who means harm.
    pub fn hostile() -> Archive {
        Archive::with(|mut event| {
            for name in ["vm.name", "container.name", "exec.command", "user.name", "image.ref", "reason"] {
                if event.get(name).is_some() {
                    event[name] = json!(EVIL);
                }
            }
            Some(event)
        })
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    /// Where a gateway that goes on with it writes what its sinks are told.
    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out.ndjson")
    }

    /// What is there of digests, in order.
    pub fn told(&self) -> Vec<Value> {
        let told = std::fs::read_to_string(self.out()).unwrap_or_default();
        let events = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event_class"] == "report.digest").collect()
    }

    /// The machines that should have been heard.
    pub fn inventory(&self, more: &str) -> PathBuf {
        let path = self.dir.path().join("machines.yaml");
        let machine =
            |(name, uuid, group): &(&str, &str, &str)| format!("  - {{name: {name}, uuid: {uuid}, group: {group}}}\n");
        let machines: String = MACHINES.iter().map(machine).collect();
        std::fs::write(&path, format!("machines:\n{machines}{more}")).expect("a list of machines");
        path
    }

    /// `report NAME` or the like over it, for its whole time.
    pub fn ask(&self, words: &[&str]) -> Command {
        let mut command = wharfinger();
        command.args(words).arg(self.path()).args(["--key", &self.key]);
        command
    }

    /// A pack.
    pub fn export(&self, framework: &str, out: &Path) -> Command {
        let mut command = self.ask(&["report", "export"]);
        command.args(["--framework", framework, "--from", FROM, "--to", TO, "--inventory"]).arg(self.inventory(""));
        command.arg("--out").arg(out);
        command
    }
}

fn chain(dir: &Path, first: Option<KeyFile>, now: i64) -> Chain {
    let path = dir.join("archive");
    let stores: OpenStore = Arc::new(move |folder| Arc::new(Dir::new(path.join(folder))));
    let origin = Origin { host: "gw-01".to_owned(), name: "audit".to_owned() };
    let keys = Keys { first, ..Keys::default() };
    Chain::open(dir.join("data/sealing/audit"), origin, keys, stores, Time(now)).expect("it begins, or goes on")
}

fn object(lines: &[Vec<u8>], first: u64, received: Time) -> Object {
    let mut tree = Tree::default();
    lines.iter().for_each(|line| tree.add(line));
    let bytes = lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect();
    let (records, last) = (lines.len() as u64, first + lines.len() as u64 - 1);
    let sources = vec![Source { name: "gw-01/docker".to_owned(), records, first, last }];
    let (incarnation, span) = ("00000000000000aa".to_owned(), (received, received));
    let root = tree.root();
    Object {
        bytes,
        suffix: ".ndjson",
        received,
        records,
        root,
        incarnation,
        first,
        last,
        span,
        quarantined: 0,
        dropped: 0,
        sources,
    }
}

fn nanos(event: &Value) -> i64 {
    let text = event["observed_time"].as_str().expect("a time of receipt");
    Time::parse_rfc3339(text.as_bytes()).expect("a time").0.0
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    i64::try_from(since.as_nanos()).expect("a time")
}

/// Midnight so many days ago.
pub fn midnight(days_ago: i64) -> i64 {
    now().div_euclid(DAY) * DAY - days_ago * DAY
}

/// The date of it.
pub fn date(days_ago: i64) -> String {
    time(midnight(days_ago)).chars().take(10).collect()
}

pub fn time(nanos: i64) -> String {
    let mut text = Vec::new();
    Time(nanos).write_rfc3339(9, &mut text);
    String::from_utf8(text).expect("ASCII")
}

/// Every five minutes each machine says something; what it is goes round.
fn day(begin: i64) -> Vec<Value> {
    let mut events = Vec::new();
    for step in 0..HOURS * 12 {
        for (number, (name, uuid, group)) in MACHINES.iter().enumerate() {
            let at = begin + step * 300 * SECOND + number as i64 * 7 * SECOND;
            let id = format!("{:064x}", 0xc0 + number);
            let registry = if *name == "app-02" { "docker.io/evil" } else { "registry.example/shop" };
            let mut event = json!({
                "event_id": format!("00000000000000aa-{:016}", events.len()),
                "time": time(at - 40_000_000), "observed_time": time(at),
                "vm.name": name, "vm.uuid": uuid, "vm.group": group, "vm.evidence": "inventory",
                "host.name": name, "source": "docker", "peer": "192.0.2.1", "format": "docker_events",
            });
            let set: Value = match (*name, step % 6) {
                ("gw-01", _) => json!({"event_class": "gateway.reload", "outcome": "success", "source": "wharfinger"}),
                (_, 0) => {
                    json!({"event_class": "image.pull", "action": "pull", "image.ref": format!("{registry}/web:1")})
                }
                (_, 1 | 2) => json!({
                    "event_class": if step % 6 == 1 { "container.create" } else { "container.start" },
                    "container.id": id, "container.name": "web", "image.ref": format!("{registry}/web:1"),
                    "outcome": "success",
                }),
                (_, 3) => json!({
                    "event_class": "container.exec_create", "container.id": id, "container.name": "web",
                    "exec.command": "sh -c id", "user.name": "alice", "image.ref": format!("{registry}/web:1"),
                }),
                (_, 4) => json!({
                    "event_class": "container.die", "container.id": id, "container.name": "web", "exit_code": 137,
                    "outcome": "failure", "image.ref": format!("{registry}/web:1"),
                }),
                ("app-02", _) => json!({
                    "event_class": "finding.untrusted_registry", "rule.id": "untrusted_registry", "source": "wharfinger",
                    "image.ref": "docker.io/evil/web:1", "severity": 7, "reason": "not on the list",
                    "fields": {"finding.id": "f-1", "finding.state": "open"},
                }),
                ("db-01", _) => json!({
                    "event_class": "compliance.docker_not_allowed", "rule.id": "docker_not_allowed", "severity": 8,
                    "source": "wharfinger", "container.id": id, "fields": {"finding.id": "f-2", "finding.state": "open"},
                }),
                (_, _) => json!({"event_class": "container.log", "container.id": id, "msg": "GET / 200"}),
            };
            for (name, value) in set.as_object().expect("an object") {
                event[name] = value.clone();
            }
            // What was parsed has a format; what the gateway says itself has none.
            if event["source"] == "wharfinger" {
                event.as_object_mut().expect("an object").remove("format");
            }
            events.push(event);
        }
    }
    events
}
