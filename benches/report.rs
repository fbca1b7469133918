//! What reports cost: `EVENTS=10000000 cargo bench --bench report` (a million unless it is said).
//!
//! Makes an archive of a day of 1,000 machines, and asks for Parquet, for reports and for a whole evidence pack, with
//! the programs of the release build (`cargo build --release --workspace`). Figures are of the wall clock, and of the
//! most memory that the engine had. The archive stands in `REPORT_BENCH_DIR`, or in the folder for temporary files.
//! `DUCKDB_PYTHON`, a Python with `duckdb`, answers the same statements over the same Parquet.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wharfinger::archive::{Chain, Dir, Keys, Object, OpenStore, Origin, Source, Tree};
use wharfinger_formats::Time;

const BEGIN: i64 = 1_795_219_200_000_000_000;
const DAY: i64 = 86_400_000_000_000;
const MACHINES: u64 = 1_000;
/// As many as the gateway seals in a busy minute.
const OBJECT_EVENTS: u64 = 100_000;
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let events: u64 = std::env::var("EVENTS").map_or(Ok(1_000_000), |events| events.parse())?;
    let parent = std::env::var_os("REPORT_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("report-bench.{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let done = all(&dir, events);
    fs::remove_dir_all(&dir)?;
    done
}

fn all(dir: &Path, events: u64) -> Outcome<()> {
    let key = archive(dir, events)?;
    let (archive, pack) = (dir.join("archive"), dir.join("pack"));
    let (archive, pack) = (archive.to_string_lossy(), pack.to_string_lossy());
    let period = ["--from", "2026-11-21T00:00:00Z", "--to", "2026-11-22T00:00:00Z"];
    println!("{events} events of {MACHINES} machines");
    timed("archive compact", &["archive", "compact", &archive, "--key", &key])?;
    timed("query, no table", &["query", "select 1", &archive, "--key", &key])?;
    for report in ["vms", "images", "lifecycle"] {
        timed(&format!("report {report}"), &["report", report, &archive, "--key", &key, "--format", "csv"])?;
        duckdb(report, &archive)?;
    }
    let export = ["report", "export", &archive, "--key", &key, "--framework", "pci-dss-4.0.1", "--out", &pack];
    let parquet = format!("{archive}/parquet");
    timed("report export, of Parquet", &[&export[..], &period[..], &["--parquet", &parquet]].concat())?;
    fs::remove_dir_all(&*pack)?;
    timed("report export, of evidence", &[&export[..], &period[..]].concat())
}

/// Runs it and says how long it took, and how much memory the engine had.
fn timed(name: &str, words: &[&str]) -> Outcome<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let begun = Instant::now();
    let mut command = Command::new(target.join("release/wharfinger"));
    let mut child = command.args(words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut most = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        most = most.max(memory(child.id()));
        thread::sleep(Duration::from_millis(10));
    };
    let seconds = begun.elapsed().as_secs_f64();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().ok_or("no pipe")?, &mut said)?;
    match status.success() {
        true => println!("{name}: {seconds:.2} s, {} MiB", most >> 10),
        false => return Err(format!("{name}: {status}: {said}").into()),
    }
    Ok(())
}

/// The statement of a report in DuckDB, as a process of its own, written as CSV.
fn duckdb(report: &str, archive: &str) -> Outcome<()> {
    let Some(python) = std::env::var_os("DUCKDB_PYTHON") else { return Ok(()) };
    let sql = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("catalog/sql/{report}.sql"));
    let script = "import duckdb, sys; base = duckdb.connect(); base.execute(\"set timezone = 'UTC'\"); \
                  base.execute(f\"create view events as select * from read_parquet('{sys.argv[1]}/parquet/**/*.parquet')\"); \
                  base.sql(open(sys.argv[2]).read()).write_csv('/dev/null')";
    let begun = Instant::now();
    let status = Command::new(python).args(["-c", script, archive]).arg(sql).status()?;
    match status.success() {
        true => println!("report {report}, DuckDB: {:.2} s", begun.elapsed().as_secs_f64()),
        false => return Err(format!("DuckDB: {status}").into()),
    }
    Ok(())
}

/// KiB that the child of a process has had at most.
fn memory(parent: u32) -> u64 {
    let of = |pid: &str| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next();
        (line("PPid:")?.parse() == Ok(parent)).then(|| line("VmHWM:")?.parse().ok())?
    };
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    entries.flatten().filter_map(|entry| of(entry.file_name().to_str()?)).max().unwrap_or(0)
}

/// An archive of a day; its public key.
fn archive(dir: &Path, events: u64) -> Outcome<String> {
    let path = dir.join("archive");
    let stores: OpenStore = Arc::new(move |folder| Arc::new(Dir::new(path.join(folder))));
    let origin = Origin { host: "bench".to_owned(), name: "audit".to_owned() };
    let mut chain = Chain::open(dir.join("state"), origin, Keys::default(), stores, Time(BEGIN))?;
    let key = chain.first_key().ok_or("no key")?;
    let (mut next, mut hour) = (0, 0);
    while next < events {
        let end = (next + OBJECT_EVENTS).min(events);
        let (mut tree, mut text) = (Tree::default(), Vec::new());
        let received = at(next, events);
        while next < end && at(next, events) / 3_600_000_000_000 == received / 3_600_000_000_000 {
            let begins = text.len();
            event(next, events, &mut text)?;
            tree.add(&text[begins..]);
            text.push(b'\n');
            next += 1;
        }
        let (first, records) = (chain.reached().next, tree.size());
        let last = first + records - 1;
        let object = Object {
            bytes: zstd::encode_all(&*text, 1)?,
            suffix: ".ndjson.zst",
            received: Time(received),
            records,
            root: tree.root(),
            incarnation: "00000000000000aa".to_owned(),
            first,
            last,
            span: (Time(received), Time(received)),
            quarantined: 0,
            dropped: 0,
            sources: vec![Source { name: "bench/docker".to_owned(), records, first, last }],
        };
        hour = hour.max(received);
        chain.seal(&object, Vec::new(), Time(hour))?;
    }
    chain.close("the bench", Time(BEGIN + DAY))?;
    Ok(key.to_string())
}

fn at(number: u64, events: u64) -> i64 {
    BEGIN + i64::try_from(u128::from(number) * u128::from(DAY.unsigned_abs()) / u128::from(events)).unwrap_or(DAY)
}

/// A start, an exec, a death or a line of output, with all that a real one says.
fn event(number: u64, events: u64, text: &mut Vec<u8>) -> Outcome<()> {
    let machine = number.wrapping_mul(0x9e37_79b9) % MACHINES;
    let container = number / 8 % 5_000;
    let (class, more) = match number % 8 {
        0 => ("container.create", ""),
        1 => ("container.start", ",\"outcome\":\"success\""),
        2 => ("container.exec_create", ",\"exec.command\":\"sh -c id\""),
        3 => ("container.die", ",\"exit_code\":137,\"outcome\":\"failure\""),
        4 => ("image.pull", ""),
        _ => ("container.log", ",\"msg\":\"GET /health 200 0.003\""),
    };
    let mut time = Vec::with_capacity(32);
    Time(at(number, events)).write_rfc3339(9, &mut time);
    let time = String::from_utf8(time)?;
    write!(
        text,
        "{{\"event_id\":\"00000000000000aa-{number:016}\",\"time\":\"{time}\",\"observed_time\":\"{time}\",\
         \"event_class\":\"{class}\",\"severity\":3,\"container.id\":\"{container:064x}\",\
         \"container.name\":\"web-{container}\",\"image.ref\":\"registry.example/shop/web:{}\",\
         \"host.name\":\"app-{machine}\",\"vm.uuid\":\"421f0000-0000-4000-8000-{machine:012}\",\
         \"vm.name\":\"app-{machine}\",\"vm.group\":\"apps\",\"source\":\"docker\",\"format\":\"docker_events\"{more},\
         \"raw\":\"{{\\\"status\\\":\\\"start\\\",\\\"id\\\":\\\"{container:064x}\\\",\\\"Type\\\":\\\"container\\\"}}\"}}",
        container % 50
    )?;
    Ok(())
}
