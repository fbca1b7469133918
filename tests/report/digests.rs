//! The digests of days: made by a running gateway, and by hand; each once, each telling what is missing, each known
//! by the event that is sealed of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::gateway::Gateway;
use crate::support::process::eventually;
use crate::support::sealed::{Archive, SECOND, date as day, midnight, time, wharfinger};
use crate::{done, said, text};

const WITHIN: Duration = Duration::from_secs(120);

/// An archive with events of one morning, three days ago.
fn archive() -> Archive {
    Archive::of_days_ago(3)
}

/// `digest` are more options of it.
fn config(archive: &Archive, digest: &str) -> String {
    format!(
        "sinks:\n  audit: {{type: archive, path: {}, max_age: 1s}}\n  out: {{type: file, path: {}, format: json}}\n\
         identity:\n  inventory: [{}]\n\
         digests:\n  daily: {{archive: audit, at: \"00:00\"{digest}}}\n",
        archive.path().display(),
        archive.out().display(),
        archive.inventory("").display(),
    )
}

fn of(events: &[Value], outcome: &str) -> Vec<Value> {
    events.iter().filter(|event| event["outcome"] == outcome).cloned().collect()
}

/// How the gateway says that they stand.
fn standing(gateway: &Gateway) -> Option<Value> {
    let (_, page) = gateway.get("/api/status")?;
    Some(serde_json::from_str::<Value>(&page).ok()?["digests"][0].clone())
}

fn stands(gateway: &Gateway, state: &str) -> Value {
    eventually(&format!("digests are {state}"), WITHIN, || standing(gateway).filter(|row| row["state"] == state))
}

fn hash(path: &Path) -> String {
    Sha256::digest(fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `report digest daily` of the gateway's configuration, by hand.
fn by_hand(archive: &Archive, words: &[&str]) -> Command {
    let mut command = wharfinger();
    command.args(["report", "digest", "daily", "--config"]).arg(archive.dir.path().join("wharfinger.yaml"));
    command.args(words);
    command
}

/// Writes the configuration without a gateway.
fn write(archive: &Archive, digest: &str) {
    let data = archive.dir.path().join("data");
    let text = format!("data_dir: {}\n{}", data.display(), config(archive, digest));
    fs::write(archive.dir.path().join("wharfinger.yaml"), text).unwrap();
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_gateway_makes_up_for_the_days_it_was_off_and_tells_each_once() {
    wharfinger();
    let archive = archive();
    let folder = archive.path().join("digests/gw-01/daily");
    let file = |days_ago, ending: &str| folder.join(format!("{}.{ending}", day(days_ago)));
    let gateway = Gateway::start(archive.dir.path(), &config(&archive, ""));
    let row = stands(&gateway, "made");
    assert_eq!((row["last_day"].as_str(), &row["error"]), (Some(&*day(1)), &Value::Null));
    let told = eventually("three days are told", WITHIN, || Some(archive.told()).filter(|told| told.len() >= 3));
    assert_eq!(of(&told, "success").len(), 3, "{told:#?}");
    let mut before = Value::Null;
    for (days_ago, event) in [3, 2, 1].into_iter().zip(&told) {
        let (bytes, page) =
            (fs::read(file(days_ago, "json")).unwrap(), fs::read_to_string(file(days_ago, "txt")).unwrap());
        let digest: Value = serde_json::from_slice(&bytes).unwrap();
        let sha256 = hash(&file(days_ago, "json"));
        assert_eq!((digest["day"].as_str(), digest["gateway"].as_str()), (Some(&*day(days_ago)), Some("gw-01")));
        assert_eq!(digest["previous"], before, "the one before it");
        assert_eq!(digest["text"], page);
        assert_eq!(digest["result"], "complete with listed gaps");
        let fields = &event["fields"];
        assert_eq!((&fields["digest.day"], &fields["digest.sha256"]), (&digest["day"], &json!(sha256)), "{event:#}");
        assert_eq!(
            (&event["reason"], &event["count"], &event["source"]),
            (&digest["result"], &digest["events"], &json!("wharfinger"))
        );
        assert_eq!(
            (event["start"].as_str(), event["end"].as_str()),
            (Some(&*time(midnight(days_ago))), Some(&*time(midnight(days_ago - 1))))
        );
        assert!(event["file.path"].as_str().unwrap().ends_with(&format!("gw-01/daily/{}.json", day(days_ago))));
        assert!(fields["digest.text"].as_str().unwrap().starts_with(&format!("DIGEST `daily` OF {}", day(days_ago))));
        let empty = page.contains("nothing was received in the period");
        assert_eq!((digest["events"] == 192, empty), (days_ago == 3, days_ago != 3), "{page}");
        before = json!({"day": digest["day"], "sha256": sha256});
    }
    let first = fs::read_to_string(file(3, "txt")).unwrap();
    for line in [
        "C2             24  Commands in containers",
        "untrusted_registry (open) on app-02",
        "48  db-01: longest silence",
        "Reviewed by",
    ] {
        assert!(first.contains(line), "{line}: {first}");
    }
    assert!(!first.to_lowercase().contains("compliant"));
    let (_, metrics) = gateway.get("/metrics").unwrap();
    assert!(metrics.contains("wharfinger_digest_failing{digest=\"daily\"} 0"), "{metrics}");

    // The events are sealed, and the report of them says so.
    let proof = |state: &str| {
        let csv = said(archive.ask(&["report", "digests"]).args(["--format", "csv"]));
        Some(csv.lines().filter(|line| line.contains(state)).count()).filter(|lines| *lines == 3).map(|_| csv)
    };
    eventually("all three are sealed", WITHIN, || proof("complete with listed gaps"));

    // Nothing is made or told twice, also where the journal has forgotten what was told.
    let hashes = [3, 2, 1].map(|days_ago| hash(&file(days_ago, "json")));
    gateway.stop();
    let gateway = Gateway::start(archive.dir.path(), &config(&archive, ""));
    stands(&gateway, "made");
    assert_eq!(archive.told().len(), 3);
    gateway.stop();

    // One that is gone is made again; one that is another than was told is told of, and stays.
    fs::remove_file(file(1, "json")).unwrap();
    let altered = fs::read_to_string(file(3, "json")).unwrap().replace("\"events\": 192", "\"events\": 191");
    fs::write(file(3, "json"), altered).unwrap();
    let gateway = Gateway::start(archive.dir.path(), &config(&archive, ""));
    let row = stands(&gateway, "fails");
    assert!(row["error"].as_str().unwrap().contains("is not the digest that was made"), "{row}");
    eventually("the one that is gone", WITHIN, || file(1, "json").exists().then_some(()));
    assert_eq!(hash(&file(1, "json")), hashes[2]);
    let failed =
        eventually("it is told", WITHIN, || Some(of(&archive.told(), "failure")).filter(|told| !told.is_empty()));
    assert_eq!((failed.len(), &failed[0]["fields"]["digest.day"]), (1, &json!(day(3))), "{failed:#?}");
    let (_, metrics) = gateway.get("/metrics").unwrap();
    assert!(metrics.contains("wharfinger_digest_failing{digest=\"daily\"} 1"), "{metrics}");
    gateway.stop();
}

#[test]
fn what_is_in_the_way_is_told_once_and_tried_again() {
    wharfinger();
    let archive = archive();
    // No folder can be made where a file is.
    let to = archive.dir.path().join("full");
    fs::write(&to, "").unwrap();
    let gateway = Gateway::start(archive.dir.path(), &config(&archive, &format!(", to: {}/shared", to.display())));
    let row = stands(&gateway, "fails");
    assert!(row["error"].as_str().unwrap().contains("digests cannot be kept in"), "{row}");
    let told = eventually("it is told", WITHIN, || Some(archive.told()).filter(|told| !told.is_empty()));
    assert_eq!((&told[0]["outcome"], &told[0]["severity"]), (&json!("failure"), &json!(8)), "{told:#?}");
    assert!(told[0]["reason"].as_str().unwrap().contains("is there room"), "{told:#?}");
    // The folder of somebody else of that name.
    let folder = to.join("shared/gw-01/daily");
    fs::remove_file(&to).unwrap();
    fs::create_dir_all(&folder).unwrap();
    let foreign = json!({"digest": "daily", "day": day(2), "key": "gw-01/audit+1234abcd+AAAA"});
    fs::write(folder.join(format!("{}.json", day(2))), foreign.to_string()).unwrap();
    let told = eventually("another is told", WITHIN, || {
        Some(of(&archive.told(), "failure")).filter(|told| told.iter().any(|one| one["fields"]["digest.day"] == day(2)))
    });
    assert!(
        told.last().unwrap()["reason"].as_str().unwrap().contains("is no digest `daily` of this archive"),
        "{told:#?}"
    );
    // It holds up no other day.
    let reached =
        |days_ago| of(&archive.told(), "success").iter().any(|one| one["fields"]["digest.day"] == day(days_ago));
    eventually("the day behind it", WITHIN, || reached(1).then_some(()));
    // What was in the way is gone.
    fs::remove_file(folder.join(format!("{}.json", day(2)))).unwrap();
    stands(&gateway, "made");
    let told =
        eventually("all are told", WITHIN, || Some(of(&archive.told(), "success")).filter(|told| told.len() == 3));
    assert_eq!(told.len(), 3);
    let failures = of(&archive.told(), "failure");
    let mut reasons: Vec<_> =
        failures.iter().map(|one| (one["fields"]["digest.day"].clone(), one["reason"].clone())).collect();
    reasons.dedup();
    assert_eq!(reasons.len(), failures.len(), "each once: {failures:#?}");
    gateway.stop();
}

#[test]
fn by_hand_and_before_anything_proves_that_the_day_is_whole() {
    let archive = archive();
    write(&archive, ", to: digests, scope: apps");
    let run = |words: &[&str]| done(by_hand(&archive, words).current_dir(archive.dir.path()));
    // Behind the last seal anything may have been withheld.
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(14), "{output:?}");
    assert!(text(&output).contains("not made: the archive does not prove yet that the day is whole"), "{output:?}");
    assert!(!archive.dir.path().join("digests").exists());
    let output = run(&["--day", &day(3), "--unproven"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output).starts_with(&format!("{}: not provable, digests/gw-01/daily/", day(3))), "{output:?}");
    let page = archive.dir.path().join(format!("digests/gw-01/daily/{}.txt", day(3)));
    let page = fs::read_to_string(page).unwrap();
    assert!(
        page.contains("Result:     NOT PROVABLE") && page.contains("machines of group or with tag `apps`"),
        "{page}"
    );
    assert!(page.contains("app-01") && !page.contains("db-01: longest"), "{page}");
    // It is there, so it stays.
    assert_eq!(text(&run(&["--day", &day(3)])), text(&run(&["--day", &day(3), "--unproven",])));
    // What cannot be meant.
    for (words, code, what) in [
        (&["--day", "2026-02-30"][..], 64, "expected a day such as"),
        (&["--day", &day(0)], 64, "is not over"),
        (&["--day", &day(-1)], 64, "is not over"),
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        assert!(stderr(&output).contains(what), "{words:?}: {output:?}");
    }
    let mut other = wharfinger();
    let output =
        done(other.args(["report", "digest", "weekly", "--config"]).arg(archive.dir.path().join("wharfinger.yaml")));
    assert!(output.status.code() == Some(64) && stderr(&output).contains("has `daily`"), "{output:?}");
    // An archive that was altered is told of at once, and stays told.
    fs::remove_dir_all(archive.dir.path().join("digests")).unwrap();
    let name = time(midnight(3)).chars().take(10).collect::<String>();
    let object = archive.path().join(format!("audit/data/dt={name}/hour=09/000000000001.ndjson"));
    fs::write(&object, fs::read(&object).unwrap().to_ascii_uppercase()).unwrap();
    let told: Value = serde_json::from_str(text(&run(&["--day", &day(3), "--json"])).trim()).unwrap();
    assert_eq!((&told["state"], &told["result"]), (&json!("made"), &json!("not provable")), "{told}");
    assert!(told["text"].as_str().unwrap().contains("hour=09/000000000001.ndjson"), "{told}");
}

/// A gateway that catches up seals old events late: its clock proves nothing, what it has sealed of later does.
#[test]
fn a_seal_at_the_end_of_a_day_does_not_prove_that_the_day_is_whole() {
    drop(archive());
    let archive = Archive::begun(midnight(1) - 4 * 3_600 * SECOND, false, Some);
    write(&archive, "");
    let output = done(by_hand(&archive, &["--day", &day(2)]).current_dir(archive.dir.path()));
    assert_eq!(output.status.code(), Some(14), "{output:?}");
    assert!(text(&output).contains("does not prove yet that the day is whole"), "{output:?}");
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let archive = archive();
    let validate = |program: &Path, digests: &str| {
        let folder = archive.dir.path();
        let text = format!(
            "data_dir: {}\nsources: {{in: {{type: stdin}}}}\nsinks:\n  audit: {{type: archive, path: {}}}\ndigests: {digests}\n",
            folder.join("data").display(),
            archive.path().display()
        );
        fs::write(folder.join("wrong.yaml"), text).unwrap();
        let mut command = Command::new(program);
        done(command.args(["validate", "--config"]).arg(folder.join("wrong.yaml")).env("PATH", folder))
    };
    let program = PathBuf::from(wharfinger().get_program());
    for (digests, what) in [
        ("{daily: {archive: stock}}", "there is no sink `stock` of type `archive`"),
        ("{daily: {archive: audit, framework: pci-dss-4.0}}", "did you mean `pci-dss-4.0.1`"),
        ("{daily: {archive: audit, at: \"6 o'clock\"}}", "expected a time of day"),
        ("{daily: {archive: audit, catch_up_days: 0}}", "0 days cannot be made up for"),
        ("{daily: {archive: audit, too: x}}", "unknown option `too`"),
        ("{\"a/b\": {archive: audit}}", "cannot be the name of a digest"),
        ("[daily]", "expected a table of names"),
        ("{daily: {}}", "archive"),
    ] {
        let output = validate(&program, digests);
        assert_eq!(output.status.code(), Some(78), "{digests}: {output:?}");
        assert!(stderr(&output).contains(what) && stderr(&output).contains("hint: "), "{digests}: {}", stderr(&output));
    }
    assert_eq!(validate(&program, "{daily: {archive: audit}}").status.code(), Some(0));
    // Without the engine there would be no digest, ever.
    let alone = archive.dir.path().join("wharfinger");
    fs::hard_link(&program, &alone).or_else(|_| fs::copy(&program, &alone).map(drop)).unwrap();
    let output = validate(&alone, "{daily: {archive: audit}}");
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(stderr(&output).contains("`wharfinger-report`, which makes it, is neither in"), "{output:?}");
    assert_eq!(validate(&alone, "{}").status.code(), Some(0), "nobody else needs it");
}

/// The view, over days of every kind.
#[test]
fn the_view_lists_every_day() {
    let archive = Archive::with_digests();
    let csv = said(archive.ask(&["report", "digests"]).args(["--format", "csv"]));
    insta::assert_snapshot!("digests", csv);
    // Somebody else's word counts for nothing.
    let archive = Archive::with(|mut event| {
        if event["vm.name"] == "app-01" {
            event["event_class"] = json!("report.digest");
            event["start"] = json!("2026-11-20T00:00:00.000000000Z");
            event["outcome"] = json!("success");
        }
        Some(event)
    });
    let csv = said(archive.ask(&["report", "digests"]).args(["--format", "csv"]));
    assert_eq!(csv.lines().count(), 1, "{csv}");
}
