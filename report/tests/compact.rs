//! A real archive, compacted by the real programs and read back by DuckDB: every line is there once, under
//! its time, and leads back to its evidence.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

const EVENTS: usize = 3_000;
const SCRIPT: &str = "
import duckdb, json, sys
rows = duckdb.sql(f\"\"\"select line, event_id, epoch_us(event_time), severity, host_name, stream, seal, line_number,
    lower(hex(record_hash)), cast(dt as varchar), cast(hour as integer) from read_parquet('{sys.argv[1]}/**/*.parquet', hive_partitioning = true)
    order by event_id\"\"\").fetchall()
for row in rows: print(json.dumps(row))
";

/// The gateway's program: both are built with the workspace.
fn wharfinger() -> Command {
    let beside = Path::new(env!("CARGO_BIN_EXE_wharfinger-report")).with_file_name("wharfinger");
    assert!(beside.is_file(), "`{}` is not built: `cargo test --workspace` does", beside.display());
    Command::new(beside)
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn python() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("peers/duckdb/bin/python")
}

/// An archive of events whose times are not in order.
fn seal(folder: &Path) {
    let config = folder.join("wharfinger.yaml");
    let text = format!(
        "data_dir: {0}/data\nadmin: {{listen: '127.0.0.1:0'}}\nsources:\n  in: {{type: stdin}}\nsinks:\n  \
         audit: {{type: archive, path: {0}/archive, max_bytes: 256KiB}}\n",
        folder.display()
    );
    fs::write(&config, text).unwrap();
    let mut command = wharfinger();
    command.arg("run").arg("--config").arg(&config).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut gateway = command.spawn().unwrap();
    let mut stdin = gateway.stdin.take().unwrap();
    for number in 0..EVENTS {
        let (second, vm) = (number * 7 % 60, number % 5);
        writeln!(stdin, "<134>1 2026-11-21T09:05:{second:02}.{number:06}Z vm-{vm} app - - - \"message\" {number} ä")
            .unwrap();
    }
    drop(stdin);
    assert!(gateway.wait().unwrap().success());
}

#[test]
fn duckdb_reads_every_line_once_and_each_leads_back_to_its_evidence() {
    if std::env::var_os("WHARFINGER_PEERS").is_some_and(|value| value == "off") {
        eprintln!("skipped: WHARFINGER_PEERS=off");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    seal(folder.path());
    let (archive, parquet) = (folder.path().join("archive"), folder.path().join("parquet"));
    let lines = done(&wharfinger().args(["archive", "cat"]).arg(&archive).output().unwrap());
    let mut compact = wharfinger();
    compact.args(["archive", "compact", "--json", "--out"]).arg(&parquet).arg(&archive);
    let report: Value = serde_json::from_str(&done(&compact.output().unwrap())).unwrap();
    assert_eq!(report["rows"], lines.lines().count());

    let rows = Command::new(python()).args(["-c", SCRIPT]).arg(&parquet).output();
    let rows = rows.unwrap_or_else(|error| panic!("{}: {error}; run `tests/setup-peers`", python().display()));
    let rows: Vec<Value> = done(&rows).lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let mut expected: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    expected.sort_by_key(|event| event["event_id"].as_str().unwrap().to_owned());
    assert_eq!(rows.len(), expected.len());
    for (row, event) in rows.iter().zip(&expected) {
        let line = row[0].as_str().unwrap();
        assert_eq!(&serde_json::from_str::<Value>(line).unwrap(), event);
        let hash: String = Sha256::new()
            .chain_update([0])
            .chain_update(line)
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!((&row[1], &row[3], &row[4]), (&event["event_id"], &event["severity"], &event["host.name"]));
        assert_eq!((row[5].as_str(), row[8].as_str()), (Some("audit"), Some(hash.as_str())));
        let time = event["time"].as_str().unwrap();
        let time = wharfinger_formats::Time::parse_rfc3339(time.as_bytes()).unwrap().0;
        assert_eq!(row[2], time.0.div_euclid(1_000));
        let received = event["observed_time"].as_str().unwrap();
        assert_eq!((row[9].as_str().unwrap(), row[10].as_u64()), (&received[..10], received[11..13].parse().ok()));
    }
    // The list names each object with the hash of what is stored.
    let files = report["files"].as_array().unwrap();
    let objects: Vec<&Value> = files.iter().flat_map(|file| file["objects"].as_array().unwrap()).collect();
    assert!(objects.len() > 1);
    for object in objects {
        let stored = fs::read(archive.join("audit").join(object["object"].as_str().unwrap())).unwrap();
        let hash: String = Sha256::digest(stored).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(object["sha256"], hash);
    }
    for file in files {
        let bytes = fs::read(parquet.join(file["file"].as_str().unwrap())).unwrap();
        assert_eq!(file["bytes"], bytes.len());
    }
}
