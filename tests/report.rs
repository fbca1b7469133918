//! Reports of an archive: what each says, that a pack names whatever is missing, and that nothing an event says acts
//! on whoever reads it.
//!
//! The archive is the same every time (`support::sealed`); `INSTA_UPDATE=always cargo test --test report` writes the
//! snapshots of the packs anew.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "report/digests.rs"]
mod digests;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::sealed::{Archive, FROM, TO};
use wharfinger::config::FRAMEWORKS;

const VIEWS: [&str; 11] = [
    "vms",
    "containers",
    "images",
    "registries",
    "untrusted",
    "lifecycle",
    "exec",
    "not-allowed",
    "findings",
    "gaps",
    "digests",
];

fn done(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it says, of one that must succeed.
fn said(command: &mut Command) -> String {
    let output = done(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    text(&output)
}

/// Files of a pack that its manifest lists, by name, inflated.
fn files(pack: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(pack).unwrap().map(|entry| entry.unwrap());
    let read = |entry: fs::DirEntry| {
        let (name, bytes) = (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
        let bytes = if name.ends_with(".zst") { zstd::decode_all(&*bytes).unwrap() } else { bytes };
        (name, bytes)
    };
    entries.map(read).filter(|(name, _)| name != "run.json").collect()
}

#[test]
fn every_view() {
    let archive = Archive::whole();
    let mut all = String::new();
    for view in VIEWS {
        let csv = said(archive.ask(&["report", view]).args(["--format", "csv"]));
        let sql = said(archive.ask(&["report", view]).arg("--sql"));
        assert!(sql.starts_with("-- "), "{sql}");
        all.push_str(&format!("== {view}\n{csv}\n"));
    }
    insta::assert_snapshot!("views", all);
}

#[test]
fn a_pack_for_every_framework() {
    let archive = Archive::whole();
    for framework in FRAMEWORKS.iter().copied() {
        let pack = archive.dir.path().join(framework);
        let output = done(&mut archive.export(framework, &pack));
        assert!(output.status.success(), "{framework}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(text(&output).lines().next().unwrap(), format!("{}: complete", pack.display()), "{framework}");
        let files = files(&pack);
        insta::assert_snapshot!(framework, String::from_utf8_lossy(&files["manifest.seal"]));
        for (name, bytes) in &files {
            let text = String::from_utf8_lossy(bytes).to_lowercase();
            assert!(!text.contains("compliant"), "{framework}: {name} passes judgement");
        }
        if framework == "pci-dss-4.0.1" {
            for name in ["summary.txt", "not-covered.txt", "coverage.csv", "details.csv", "tally.csv", "integrity.txt"]
            {
                insta::assert_snapshot!(name, String::from_utf8_lossy(&files[name]));
            }
            population(&files);
        }
    }
}

/// Every event of a class stands there once, with the six details and where it is sealed.
fn population(files: &BTreeMap<String, Vec<u8>>) {
    let mut classes = BTreeMap::new();
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("events-")) {
        let lines: Vec<Value> =
            String::from_utf8_lossy(bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &lines {
            for detail in ["who", "event_class", "outcome", "machine", "object", "source", "sealed_in", "event_time"] {
                assert!(line[detail].as_str().is_some_and(|text| !text.is_empty()), "{name}: {detail} in {line}");
            }
        }
        let mut places: Vec<_> =
            lines.iter().map(|line| (line["seal"].as_u64(), line["line_number"].as_u64())).collect();
        assert!(places.is_sorted(), "{name} is in the order of the seals");
        places.dedup();
        assert_eq!(places.len(), lines.len(), "{name} has each event once");
        classes.insert(name.clone(), lines.len());
    }
    let expected = [("C1", 72), ("C10", 48), ("C2", 24), ("C4", 24), ("X", 16)];
    assert_eq!(classes, expected.map(|(class, events)| (format!("events-{class}.ndjson.zst"), events)).into());
}

#[test]
fn a_pack_made_again_is_the_same_and_whatever_is_changed_in_it_is_found() {
    let archive = Archive::whole();
    let (first, second, key) =
        (archive.dir.path().join("first"), archive.dir.path().join("second"), archive.dir.path().join("reports.key"));
    let public = said(support::sealed::wharfinger().args(["keygen", "gw-01/reports"]).arg(&key));
    said(archive.export("pci-dss-4.0.1", &first).arg("--sign").arg(&key));
    said(archive.export("pci-dss-4.0.1", &second).args(["--memory", "64"]).arg("--sign").arg(&key));
    assert_eq!(files(&first), files(&second));
    // A stream that begins behind the period says nothing of it.
    archive.goes_on();
    assert!(archive.path().join("audit.2").exists());
    let later = archive.dir.path().join("later");
    said(archive.export("pci-dss-4.0.1", &later).arg("--sign").arg(&key));
    assert_eq!(files(&first), files(&later));
    // Of Parquet that is there already: the same, and it is said.
    said(&mut archive.ask(&["archive", "compact"]));
    let third = archive.dir.path().join("third");
    said(archive.export("pci-dss-4.0.1", &third).arg("--parquet").arg(archive.path().join("parquet")));
    let (fresh, trusted) = (files(&first), files(&third));
    for (name, bytes) in &trusted {
        let is_same = fresh[name] == *bytes;
        let says_so =
            ["integrity.txt", "manifest.seal", "summary.txt", "summary.html", "summary.pdf"].contains(&&**name);
        assert_eq!(is_same, !says_so, "{name}");
    }
    assert!(String::from_utf8_lossy(&trusted["integrity.txt"]).contains("was not compared with the evidence"));
    assert!(
        fs::read_dir(archive.dir.path()).unwrap().all(|entry| !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('.'))
    );
    let verify =
        |pack: &Path| done(support::sealed::wharfinger().args(["report", "verify", "--key", public.trim()]).arg(pack));
    assert!(text(&verify(&first)).contains("signed by gw-01/reports"), "{:?}", verify(&first));
    let original = fs::read(first.join("gaps.csv")).unwrap();
    fs::write(first.join("gaps.csv"), [&original[..], b"more\n"].concat()).unwrap();
    assert_eq!(verify(&first).status.code(), Some(10));
    fs::remove_file(first.join("gaps.csv")).unwrap();
    assert_eq!(verify(&first).status.code(), Some(11));
    fs::write(first.join("gaps.csv"), original).unwrap();
    fs::write(first.join("extra.csv"), "").unwrap();
    assert_eq!(verify(&first).status.code(), Some(12));
    let manifest = fs::read_to_string(second.join("manifest.seal")).unwrap();
    fs::write(second.join("manifest.seal"), manifest.replace("complete", "perfect")).unwrap();
    assert_eq!(verify(&second).status.code(), Some(13));
    // A pack is never written over.
    assert_eq!(done(&mut archive.export("pci-dss-4.0.1", &first)).status.code(), Some(73));
}

/// The first line and what is missing, of a pack that is asked for with these words more.
fn missing(archive: &Archive, words: &[&str]) -> (Option<i32>, String) {
    let pack = archive.dir.path().join("pack");
    let output = done(archive.export("pci-dss-4.0.1", &pack).args(words));
    let said = text(&output);
    assert!(!said.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = fs::read_to_string(pack.join("summary.html")).unwrap();
    for line in said.lines().filter_map(|line| line.strip_prefix("  ")) {
        let escaped = line
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('\'', "&#x27;")
            .replace('/', "&#x2f;");
        assert!(page.contains(escaped.trim()) || line.starts_with("and "), "the page does not say: {escaped}");
    }
    (output.status.code(), said)
}

#[test]
fn whatever_is_missing_is_named() {
    let hour = |event: &Value, hour: &str| event["observed_time"].as_str().unwrap().starts_with(hour);
    // A machine.
    let archive = Archive::with(|event| (event["vm.name"] != "db-01").then_some(event));
    let (code, said) = missing(&archive, &[]);
    assert!(said.contains("complete with listed gaps"), "{said}");
    assert!(said.contains("machine db-01 of the inventory was never heard"), "{said}");
    assert_eq!(code, Some(0));
    // An hour, of one machine.
    let archive =
        Archive::with(|event| (!(event["vm.name"] == "app-01" && hour(&event, "2026-11-21T09"))).then_some(event));
    let (_, said) = missing(&archive, &[]);
    assert!(
        said.contains("machine app-01 was silent for 1 h 5 min from 2026-11-21T08:55:00Z to 2026-11-21T10:00:00Z"),
        "{said}"
    );
    // An hour, of all.
    let archive = Archive::with(|event| (!hour(&event, "2026-11-21T10")).then_some(event));
    let (_, said) = missing(&archive, &[]);
    assert!(said.contains("nothing was received from 2026-11-21T10:00:00Z to 2026-11-21T11:00:00Z"), "{said}");
    // A field, in one event.
    let archive = Archive::with(|mut event| {
        if event["event_id"] == "00000000000000aa-0000000000000008" {
            event.as_object_mut().unwrap().remove("image.ref");
        }
        Some(event)
    });
    let (_, said) = missing(&archive, &[]);
    assert!(said.contains("1 events of class C1 from source docker do not say the image"), "{said}");
    // Who an event is of.
    let archive = Archive::with(|mut event| {
        if event["event_id"] == "00000000000000aa-0000000000000008" {
            for name in ["vm.name", "vm.uuid", "host.name"] {
                event.as_object_mut().unwrap().remove(name);
            }
        }
        Some(event)
    });
    let (_, said) = missing(&archive, &[]);
    assert!(said.contains("1 events name no machine"), "{said}");
    assert!(said.contains("1 events of class C1 from source docker do not say the machine"), "{said}");
    // What was lost, as the gateway has declared it.
    let archive = Archive::with(|mut event| {
        if event["event_id"] == "00000000000000aa-0000000000000003" {
            event["event_class"] = json!("gap");
            event["count"] = json!(699);
            event["reason"] = json!("the reader was too slow");
            event["start"] = json!("2026-11-21T08:00:01.000000000Z");
            event["end"] = json!("2026-11-21T08:00:09.000000000Z");
            event["fields"] = json!({"gap.source": "engine"});
            assert!(event.get("format").is_none(), "the gateway's own");
        }
        Some(event)
    });
    let (_, said) = missing(&archive, &[]);
    let gap = "699 events of source engine were lost, from 2026-11-21T08:00:01Z to 2026-11-21T08:00:09Z: the reader was too slow";
    assert!(said.contains(gap), "{said}");
    // The first hour, and the last.
    let archive = Archive::with(|event| (!hour(&event, "2026-11-21T08")).then_some(event));
    let (_, said) = missing(&archive, &[]);
    assert!(said.contains("nothing was received from 2026-11-21T08:00:00Z to 2026-11-21T09:00:00Z"), "{said}");
    assert!(said.contains("machine app-01 was silent for 1 h 0 min from 2026-11-21T08:00:00Z"), "{said}");
    let archive = Archive::with(|event| (!hour(&event, "2026-11-21T11")).then_some(event));
    let (_, said) = missing(&archive, &[]);
    assert!(said.contains("nothing was received from 2026-11-21T11:00:00Z to 2026-11-21T12:00:00Z"), "{said}");
    // What somebody else says in the gateway's name counts for nothing.
    let archive = Archive::with(|mut event| {
        if event["vm.name"] == "app-01" && event["event_class"] == "container.log" {
            for (name, value) in [("event_class", "gap"), ("reason", "forged"), ("user.name", "mallory")] {
                event[name] = json!(value);
            }
        }
        Some(event)
    });
    let (_, said) = missing(&archive, &[]);
    assert!(said.starts_with(&format!("{}: complete\n", archive.dir.path().join("pack").display())), "{said}");
    // A machine that no inventory knows.
    let archive = Archive::with(|mut event| {
        if event["vm.name"] == "app-02" {
            event.as_object_mut().unwrap().remove("vm.name");
        }
        Some(event)
    });
    let (_, said) = missing(&archive, &[]);
    assert!(said.contains("machine app-02 was heard and is in no inventory"), "{said}");
}

#[test]
fn an_archive_that_cannot_be_vouched_for() {
    let archive = Archive::whole();
    let object = archive.path().join("audit/data/dt=2026-11-21/hour=09/000000000001.ndjson");
    let bytes = fs::read(&object).unwrap();
    // Parquet that was made before does not hide that its evidence is gone.
    said(archive.ask(&["report", "vms"]).args(["--format", "csv"]));
    fs::remove_file(&object).unwrap();
    let (code, said) = missing(&archive, &[]);
    assert_eq!(code, Some(11), "{said}");
    assert!(said.contains("pack: not provable") && said.contains("hour=09/000000000001.ndjson"), "{said}");
    assert!(said.contains("nothing was received from 2026-11-21T09:00:00Z to 2026-11-21T10:00:00Z"), "{said}");
    let page = fs::read_to_string(archive.dir.path().join("pack/summary.txt")).unwrap();
    assert!(page.contains("NOT PROVABLE") && page.contains("144 events"), "{page}");
    // Altered; and told not to mind.
    fs::remove_dir_all(archive.dir.path().join("pack")).unwrap();
    fs::write(&object, bytes.to_ascii_uppercase()).unwrap();
    let (code, said) = missing(&archive, &["--allow-unproven"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("pack: not provable"), "{said}");
    // Without a key.
    fs::write(&object, bytes).unwrap();
    let mut command = support::sealed::wharfinger();
    command.args(["report", "export", "--framework", "soc2-2017", "--from", FROM, "--to", TO, "--out"]);
    let output = done(command.arg(archive.dir.path().join("without")).arg(archive.path()));
    assert_eq!(output.status.code(), Some(65));
    assert!(text(&output).contains("not provable") && text(&output).contains("no public key was given"), "{output:?}");
}

#[test]
fn periods_and_scopes() {
    let archive = Archive::whole();
    let of = |from: &str, to: &str, name: &str| {
        let mut command = archive.ask(&["report", "export", "--framework", "soc2-2017"]);
        done(command.args(["--from", from, "--to", to, "--out"]).arg(archive.dir.path().join(name)))
    };
    // Before anything, on a leap day.
    let output = of("2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z", "leap");
    assert!(text(&output).contains("no object was sealed in the period"), "{output:?}");
    // One second, given in another time zone.
    let output = of("2026-11-21T10:05:00+01:00", "2026-11-21T10:05:01+01:00", "second");
    assert!(output.status.success(), "{output:?}");
    let summary = fs::read_to_string(archive.dir.path().join("second/summary.txt")).unwrap();
    assert!(summary.contains("1 events of 1 machines"), "{summary}");
    // Still to come: nobody can vouch for it.
    let output = of("2126-01-01T00:00:00Z", "2126-01-02T00:00:00Z", "future");
    assert!(text(&output).contains("not provable") && text(&output).contains("the period has not ended"), "{output:?}");
    assert_eq!(output.status.code(), Some(65));
    // Backwards, and none at all.
    assert_eq!(of(TO, FROM, "backwards").status.code(), Some(64));
    let mut command = archive.ask(&["report", "export", "--framework", "soc2-2017", "--out", "none"]);
    assert_eq!(done(&mut command).status.code(), Some(64));
    // One group, and what the gateway says of itself.
    let pack = archive.dir.path().join("scoped");
    said(archive.export("pci-dss-4.0.1", &pack).args(["--scope", "apps"]));
    let coverage = fs::read_to_string(pack.join("coverage.csv")).unwrap();
    let machines: Vec<_> = coverage.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(machines, ["app-01", "app-02", "gw-01"]);
    let summary = fs::read_to_string(pack.join("summary.txt")).unwrap();
    assert!(summary.contains("silent after 15m; an inventory of 4 machines"), "{summary}");
}

#[test]
fn nothing_an_event_says_acts_on_a_reader() {
    let archive = Archive::hostile();
    let pack = archive.dir.path().join("pack");
    done(&mut archive.export("pci-dss-4.0.1", &pack));
    let mut all = files(&pack);
    for view in VIEWS {
        for format in ["table", "csv", "json"] {
            let text = said(archive.ask(&["report", view]).args(["--format", format]));
            all.insert(format!("{view}.{format}"), text.into_bytes());
        }
    }
    // What the PDF holds is asked of another program, as is the workbook: see `tests/peers/pages.rs`.
    assert!(all.remove("summary.pdf").unwrap().starts_with(b"%PDF-1.4"));
    assert!(all.remove("tables.xlsx").unwrap().starts_with(b"PK"));
    for (name, bytes) in &all {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{200b}', '\u{fffe}', '\u{0}']), "{name}");
        assert!(!name.ends_with(".html") || !text.contains("<script"), "{name}");
        if name.ends_with("csv") {
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            for record in reader.records() {
                for cell in record.unwrap().iter() {
                    let is_number = cell.parse::<f64>().is_ok();
                    assert!(is_number || !cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{name}: {cell}");
                }
            }
        }
    }
    assert!(String::from_utf8_lossy(&all["coverage.csv"]).contains("'=cmd|"), "it is there, and inert");
    assert!(String::from_utf8_lossy(&all["summary.html"]).contains("&lt;script&gt;"), "it is there, and inert");
}

#[test]
fn no_name_is_too_long_for_a_pack() {
    let name = "\u{645}".repeat(60_000) + &"😀".repeat(20_000);
    let mut is_first = std::sync::atomic::AtomicBool::new(true);
    let archive = Archive::with(|mut event| {
        if event["vm.name"] == "db-01" && is_first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            event["vm.name"] = json!(name);
            event["vm.uuid"] = json!(name);
        }
        Some(event)
    });
    assert!(!*is_first.get_mut());
    let pack = archive.dir.path().join("pack");
    done(&mut archive.export("pci-dss-4.0.1", &pack));
    let files = files(&pack);
    assert!(String::from_utf8_lossy(&files["coverage.csv"]).contains(&name), "whole");
    let page = String::from_utf8_lossy(&files["summary.html"]);
    assert!(
        page.len() < 200_000 && files["summary.pdf"].len() < 500_000,
        "{} {}",
        page.len(),
        files["summary.pdf"].len()
    );
}

#[test]
fn only_questions_are_taken() {
    let archive = Archive::whole();
    let ask = |sql: &str, words: &[&str]| done(archive.ask(&["query", sql]).args(words));
    let output = ask("select audit_class, count(*) as n from events group by 1 order by 1", &["--format", "json"]);
    assert!(text(&output).starts_with("{\"audit_class\":\"C1\",\"n\":72}\n"), "{output:?}");
    let (path, elsewhere) = (archive.dir.path().join("out.parquet"), archive.dir.path().join("stolen"));
    for sql in [
        &format!("copy events to '{}' stored as csv", elsewhere.display()),
        "create table mine as select 1",
        "create external table passwd stored as csv location '/etc/passwd'",
        "insert into events select * from events",
        "drop table events",
        "set datafusion.execution.batch_size = 1",
        "select * from '/etc/passwd'",
        "select * from read_csv('/etc/passwd')",
        "select 1; drop table events",
        "selekt 1",
        "",
    ] {
        let output = ask(sql, &[]);
        assert_eq!(output.status.code(), Some(65), "{sql}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("error: ") && told.contains("hint: "), "{sql}: {told}");
    }
    assert!(!elsewhere.exists());
    // What takes too long, or too much.
    let forever = "select count(*) from events a cross join events b cross join events c cross join events d \
                   where a.event_id || b.event_id || c.event_id || d.event_id like '%x%'";
    let output = ask(forever, &["--timeout", "1"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("longer than 1 s"), "{output:?}");
    // From a file, as Parquet.
    let file = archive.dir.path().join("q.sql");
    fs::write(&file, "select event_id from events order by 1").unwrap();
    let output = ask(&format!("@{}", file.display()), &["--format", "parquet"]);
    assert!(output.stdout.starts_with(b"PAR1") && output.stdout.ends_with(b"PAR1"), "{:?}", output.stderr);
    fs::write(path, output.stdout).unwrap();
    // Saved: an own one goes before one of the reports, and a file is named by its path.
    let queries = archive.dir.path().join("queries");
    fs::create_dir(&queries).unwrap();
    fs::write(queries.join("mine.sql"), "-- How many\nselect count(*) as n from events").unwrap();
    fs::write(queries.join("gaps.sql"), "select 'own' as whose").unwrap();
    fs::write(queries.join("no name.sql"), "select 1").unwrap();
    let folder = ["--format", "csv", "--queries", queries.to_str().unwrap()];
    assert_eq!(text(&ask("@mine", &folder)), "n\n192\n");
    assert_eq!(text(&ask("@gaps", &folder)), "whose\nown\n");
    assert_eq!(text(&ask("@gaps", &folder[..2])), "told,event_id,source,machine,gap_from,gap_to,events,cause\n");
    fs::write(archive.dir.path().join("c.yaml"), "sources: {}\n").unwrap();
    let config = archive.dir.path().join("c.yaml");
    assert_eq!(text(&ask("@mine", &["--format", "csv", "--config", config.to_str().unwrap()])), "n\n192\n");
    let output = ask("@nothing", &folder);
    assert_eq!(output.status.code(), Some(66));
    assert!(String::from_utf8_lossy(&output.stderr).contains("wharfinger query --list"), "{output:?}");
    assert_eq!(ask("@../queries/mine", &folder).status.code(), Some(66), "a name is no way");
    let list = said(support::sealed::wharfinger().args(["query", "--list", "--queries"]).arg(&queries));
    assert!(list.contains("exec         Commands and shells in containers: each one (built in)\n"), "{list}");
    assert!(list.contains(&format!("mine         How many ({})\n", queries.join("mine.sql").display())), "{list}");
    assert!(list.contains("gaps         no comment in the first line") && !list.contains("no name"), "{list}");
    // The same period again finds its Parquet, and makes none twice.
    let again = ask("select count(*) as n from events", &["--format", "csv"]);
    assert_eq!(text(&again), "n\n192\n");
    let part = ask(
        "select count(*) as n from events",
        &["--format", "csv", "--from", "2026-11-21T09:30:00Z", "--to", "2026-11-21T10:30:00Z"],
    );
    assert_eq!(text(&part), "n\n48\n");
}

#[test]
fn everything_of_a_machine_in_any_format() {
    let archive = Archive::whole();
    let cef = said(archive.ask(&["report", "events"]).args(["--vm", "app-01", "--format", "cef"]));
    assert_eq!(cef.lines().count(), 48);
    assert!(cef.lines().all(|line| line.starts_with("CEF:0|")), "{cef}");
}

#[test]
fn a_sample_can_be_drawn_again() {
    let archive = Archive::whole();
    let draw = |words: &[&str]| said(archive.ask(&["report", "sample"]).args(words));
    let ids = |csv: &str| -> Vec<String> {
        csv::Reader::from_reader(csv.as_bytes()).records().map(|record| record.unwrap()[1].to_owned()).collect()
    };
    let first = draw(&["--n", "10", "--seed", "2026 Q4, room 3"]);
    assert_eq!(first, draw(&["--n", "10", "--seed", "2026 Q4, room 3"]));
    assert_eq!(ids(&first).len(), 10);
    // A larger one begins with the smaller, another seed draws others, and a class is kept to.
    assert_eq!(ids(&draw(&["--n", "20", "--seed", "2026 Q4, room 3"]))[..10], ids(&first));
    assert_ne!(ids(&draw(&["--n", "10", "--seed", "another"])), ids(&first));
    let of_class = draw(&["--n", "1000", "--seed", "x", "--class", "C2"]);
    assert_eq!(ids(&of_class).len(), 24);
    assert!(of_class.lines().skip(1).all(|line| line.starts_with("C2,")), "{of_class}");
}
