//! What the archive costs on one core: `taskset -c 0 cargo bench --bench archive`.
//!
//! Hash and signature of what is written, masking, the levels of zstd, what `verify` reads a second, and what
//! `replay` brings into a file. `BENCH=mask,levels` runs these alone, `MINUTES=525600` verifies a whole year.
//! Events are those of `fixtures/`, received again and again; archives stand in `ARCHIVE_BENCH_DIR`, or in
//! memory (`/dev/shm`). Figures are of the CPU time of this process, so that neighbours matter less.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use wharfinger::archive::{
    Chain, Dir, Keys, Object, OpenStore, Origin, Others, Question, Source, Tree, Verdict, verify_archive,
};
use wharfinger::archive::{Period, read_archive};
use wharfinger::filter::Filter;
use wharfinger::part::PartContext;
use wharfinger::replay::{Ended, Job, Progress, StateFile, replay};
use wharfinger::sinks::archive::ArchiveConfig;
use wharfinger::sinks::file::FileConfig;
use wharfinger::sinks::{Push, SinkConfig};
use wharfinger_formats::{Choice, Context, EmitContext, Event, FORMATS, Field, Offset, Time, native, parse};

const BEGIN: i64 = 1_795_251_600_000_000_000;
const SECOND: i64 = 1_000_000_000;
/// Lines of which a measurement is made.
const LINES: usize = 200_000;
const RATE: f64 = 100_000.0;
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let parent = std::env::var_os("ARCHIVE_BENCH_DIR").map_or_else(|| PathBuf::from("/dev/shm"), PathBuf::from);
    let dir = parent.join(format!("archive-bench.{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let done = all(&dir);
    fs::remove_dir_all(&dir)?;
    done
}

fn all(dir: &Path) -> Outcome<()> {
    let lines = lines()?;
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    println!("{} lines, {} bytes each", lines.len(), bytes / lines.len());
    let wanted = std::env::var("BENCH").unwrap_or_default();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.split(',').any(|wanted| wanted == name);
    let stored = compressed(&lines, 1)?;
    if is_wanted("hash") {
        hash_and_sign(&lines)?;
    }
    if is_wanted("mask") {
        push(dir, &lines)?;
    }
    if is_wanted("levels") {
        levels(&lines)?;
    }
    if is_wanted("verify") {
        read(dir, &lines, &stored)?;
    }
    if is_wanted("replay") {
        bring_back(dir, &lines, &stored)?;
    }
    if is_wanted("year") {
        year(dir)?;
    }
    Ok(())
}

/// The CPU time of this process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The shortest of three runs: the others had neighbours.
fn measured<T>(mut work: impl FnMut() -> Outcome<T>) -> Outcome<(f64, T)> {
    let mut best: Option<(f64, T)> = None;
    for _ in 0..3 {
        let start = cpu();
        let done = work()?;
        let seconds = (cpu() - start).as_secs_f64();
        if best.as_ref().is_none_or(|(least, _)| seconds < *least) {
            best = Some((seconds, done));
        }
    }
    best.ok_or_else(|| "nothing was measured".into())
}

/// Lines of native JSON as an archive has them.
fn lines() -> Outcome<Vec<Vec<u8>>> {
    let emit = FORMATS.iter().find(|format| format.name == "json").and_then(|format| format.emit);
    let emit = emit.ok_or("no native JSON")?;
    let mut frames = Vec::new();
    for folder in ["dockerd", "docker-events", "rfc5424", "docker-json", "wazuh"] {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder))? {
            let path = entry?.path();
            let is_input = path.extension().is_none_or(|ending| ending != "expected" && ending != "md");
            if path.is_file() && is_input {
                frames.extend(fs::read(path)?.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
            }
        }
    }
    frames.retain(|frame| (50..2_000).contains(&frame.len()));
    let mut lines = Vec::with_capacity(LINES);
    for (number, frame) in frames.iter().cycle().take(LINES).enumerate() {
        let number = i64::try_from(number)?;
        let mut event = Event::new(frame);
        parse(Choice::Auto, frame, &Context { received: Time(BEGIN), zone: Offset(0) }, &mut event);
        event.set(Field::EventId, &*format!("00000000000000aa-{number:016}"));
        event.set(Field::ObservedTime, Time(BEGIN + number * SECOND / 100_000));
        event.set(Field::Source, "docker");
        event.set(Field::VmName, "vm-17");
        let mut line = Vec::new();
        emit(&event, &EmitContext::default(), &mut line);
        lines.push(line);
    }
    Ok(lines)
}

/// What the seal of an object costs: a leaf for each line, the hash of what is stored, a signature a minute.
fn hash_and_sign(lines: &[Vec<u8>]) -> Outcome<()> {
    let stored = compressed(lines, 1)?;
    let (seconds, _) = measured(|| {
        let mut tree = Tree::default();
        lines.iter().for_each(|line| tree.add(line));
        Ok((tree.root(), Sha256::digest(&stored)))
    })?;
    let nanos = seconds * 1e9 / lines.len() as f64;
    println!("hash: {nanos:.0} ns an event, {:.1} % of a core at {RATE}/s", nanos * RATE / 1e7);
    let key = Ed25519KeyPair::from_seed_unchecked(&[1; 32])?;
    let text = "a line of a seal\n".repeat(50);
    let (seconds, ()) = measured(|| {
        for _ in 0..1_000 {
            std::hint::black_box(key.sign(text.as_bytes()));
        }
        Ok(())
    })?;
    println!("sign: {:.0} µs an object", seconds * 1e3);
    Ok(())
}

/// The sink's own way: emit, mask, hash, without compression.
fn push(dir: &Path, lines: &[Vec<u8>]) -> Outcome<()> {
    let mut raws = Vec::new();
    for line in lines {
        let mut raw = Vec::new();
        native::read(line, &mut raw, Event::new(b""))?;
        raws.push(raw);
    }
    let mut nanos = Vec::new();
    for keep_original in [true, false] {
        let options = serde_json::json!({
            "path": dir.join("push"), "compression": "none", "keep_original": keep_original, "max_bytes": "4096MiB",
        });
        let config: ArchiveConfig = serde_json::from_value(options)?;
        let name = format!("push-{keep_original}");
        let context = PartContext {
            name,
            data_dir: dir.to_owned(),
            hostname: "bench".to_owned(),
            notices: None,
            is_replay: false,
        };
        let mut sink = config.open(&context)?;
        let (seconds, ()) = measured(|| {
            sink.clear();
            for (line, raw) in lines.iter().zip(&mut raws) {
                let event = native::read(line, raw, Event::new(b""))?;
                match sink.push(&event) {
                    Ok(Push::Taken { .. }) => {}
                    other => return Err(format!("{other:?}").into()),
                }
            }
            Ok(())
        })?;
        nanos.push(seconds * 1e9 / lines.len() as f64);
    }
    let [original, masked] = nanos[..] else { return Err("two runs".into()) };
    println!(
        "mask: {:.0} ns an event, {:.1} % of a core at {RATE}/s",
        masked - original,
        (masked - original) * RATE / 1e7
    );
    Ok(())
}

fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
    let mut text = lines.join(&b'\n');
    text.push(b'\n');
    text
}

fn compressed(lines: &[Vec<u8>], level: i32) -> Outcome<Vec<u8>> {
    Ok(zstd::encode_all(&*joined(lines), level)?)
}

/// Size and speed of the levels, of a minute of a small machine: each line is another one.
fn levels(lines: &[Vec<u8>]) -> Outcome<()> {
    let text = varied(lines)?;
    println!("{} MB of lines of which each is another one", text.len() / 1_000_000);
    for level in [1, 2, 3, 6, 9, 12, 15, 19] {
        let (seconds, stored) = measured(|| Ok(zstd::encode_all(&*text, level)?))?;
        let (back, _) = measured(|| Ok(zstd::decode_all(&*stored)?))?;
        println!(
            "zstd {level}: {:.2} % of the size, {:.0} MB/s, inflates at {:.0} MB/s",
            100.0 * stored.len() as f64 / text.len() as f64,
            text.len() as f64 / seconds / 1e6,
            text.len() as f64 / back / 1e6,
        );
    }
    Ok(())
}

/// Lines that repeat would compress to nothing. So ids, hashes, addresses and times are made new in each: every
/// row of eight or more digits and letters a to f, and every number of two digits or more, by the same rule in
/// all of a line.
fn varied(lines: &[Vec<u8>]) -> Outcome<Vec<u8>> {
    const BYTES: usize = 24 << 20;
    let mut text = Vec::with_capacity(BYTES);
    for (number, line) in lines.iter().enumerate().take_while(|(number, _)| number * 500 < BYTES) {
        let line = std::str::from_utf8(line)?;
        let mut rest = line;
        while let Some(at) = rest.find(|letter: char| letter.is_ascii_hexdigit()) {
            let (before, from) = rest.split_at(at);
            let len = from.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(from.len());
            let (word, behind) = from.split_at(len);
            text.extend_from_slice(before.as_bytes());
            let is_number = word.len() >= 2 && word.bytes().all(|byte| byte.is_ascii_digit());
            let is_id = word.len() >= 8 && word.bytes().any(|byte| byte.is_ascii_digit());
            match is_number || is_id {
                true => new_word(word, number, &mut text),
                false => text.extend_from_slice(word.as_bytes()),
            }
            rest = behind;
        }
        text.extend_from_slice(rest.as_bytes());
        text.push(b'\n');
    }
    Ok(text)
}

/// Numbers keep their first half, as those of events that follow one another do; ids are those of one of a
/// hundred containers.
fn new_word(word: &str, line: usize, text: &mut Vec<u8>) {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    let of = if is_number { line } else { line % 100 };
    let hash = Sha256::digest(format!("{word} {of}"));
    let digits = hash.iter().cycle().flat_map(|byte| [byte >> 4, byte & 15]);
    for (at, (old, digit)) in word.bytes().zip(digits).enumerate() {
        text.push(match is_number {
            true if at < word.len() / 2 => old,
            true => b'0' + digit % 10,
            false => b"0123456789abcdef"[usize::from(digit)],
        });
    }
}

struct Written {
    stores: OpenStore,
    question: Question,
}

/// An archive of `count` objects, one a minute.
fn write(root: &Path, count: i64, object: impl Fn(u64) -> Object) -> Outcome<Written> {
    let path = root.to_owned();
    let stores: OpenStore = Arc::new(move |folder| Arc::new(Dir::new(path.join("archive").join(folder))));
    let origin = Origin { host: "bench".to_owned(), name: "audit".to_owned() };
    let mut chain = Chain::open(root.join("state"), origin, Keys::default(), stores.clone(), Time(BEGIN))?;
    let key = chain.first_key().ok_or("no key")?;
    let mut now = Time(BEGIN);
    for _ in 0..count {
        let object = Object { received: now, ..object(chain.reached().next) };
        chain.seal(&object, Vec::new(), now)?;
        now.0 += 60 * SECOND;
        chain.tick(now, false)?;
    }
    Ok(Written {
        stores,
        question: Question { key, deep: false, anchors: Vec::new(), end: now, others: Others::default() },
    })
}

fn checked(written: &Written, deep: bool) -> Outcome<(f64, u64)> {
    let question = Question { deep, ..written.question.clone() };
    measured(|| {
        let reports = verify_archive(&written.stores, "audit", &question, &mut |_, _, _| {})?;
        match reports.iter().all(|report| report.verdict() == Verdict::Good) {
            true => Ok(reports.iter().map(|report| report.bytes).sum()),
            false => Err(format!("{reports:?}").into()),
        }
    })
}

fn object_of(lines: &[Vec<u8>], stored: &[u8], first: u64) -> Object {
    let mut tree = Tree::default();
    lines.iter().for_each(|line| tree.add(line));
    let (records, last) = (lines.len() as u64, first + lines.len() as u64 - 1);
    Object {
        bytes: stored.to_vec(),
        suffix: ".ndjson.zst",
        received: Time(BEGIN),
        records,
        root: tree.root(),
        incarnation: "00000000000000aa".to_owned(),
        first,
        last,
        span: (Time(BEGIN), Time(BEGIN)),
        quarantined: 0,
        dropped: 0,
        sources: vec![Source { name: "vm-17/docker".to_owned(), records, first, last }],
    }
}

/// What `verify` reads a second: stored bytes, and with `--deep` inflated again.
fn read(dir: &Path, lines: &[Vec<u8>], stored: &[u8]) -> Outcome<()> {
    // Compressed lines are a small part of what they were: more objects for the hashes alone.
    let objects = (256 << 20) / stored.len() + 1;
    let written = write(&dir.join("read"), i64::try_from(objects)?, |first| object_of(lines, stored, first))?;
    let (seconds, bytes) = checked(&written, false)?;
    println!("verify: {:.0} MB/s stored ({} MB)", bytes as f64 / seconds / 1e6, bytes / 1_000_000);
    fs::remove_dir_all(dir.join("read"))?;
    // Lines that repeat would inflate for nothing.
    let text = varied(lines)?;
    let others: Vec<Vec<u8>> = text.trim_ascii_end().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let stored = compressed(&others, 1)?;
    let written = write(&dir.join("deep"), 3, |first| object_of(&others, &stored, first))?;
    let (seconds, bytes) = checked(&written, true)?;
    let inflated = 3.0 * text.len() as f64;
    println!(
        "verify --deep of lines that compress {:.1} times: {:.0} MB/s stored, {:.0} MB/s inflated",
        inflated / bytes as f64,
        bytes as f64 / seconds / 1e6,
        inflated / seconds / 1e6
    );
    fs::remove_dir_all(dir.join("deep"))?;
    let text = joined(lines);
    let plain = |first| Object { suffix: ".ndjson", ..object_of(lines, &text, first) };
    let written = write(&dir.join("plain"), 3, plain)?;
    let (seconds, bytes) = checked(&written, true)?;
    println!("verify --deep, without compression: {:.0} MB/s stored", bytes as f64 / seconds / 1e6);
    Ok(fs::remove_dir_all(dir.join("plain"))?)
}

/// What `replay` brings into a file of NDJSON: sealed lines become events, and these lines again.
fn bring_back(dir: &Path, lines: &[Vec<u8>], stored: &[u8]) -> Outcome<()> {
    let dir = dir.join("replay");
    let written = write(&dir, 3, |first| object_of(lines, stored, first))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let config: FileConfig = serde_json::from_value(serde_json::json!({ "path": dir.join("out.ndjson") }))?;
    let context = PartContext {
        name: "out".to_owned(),
        data_dir: dir.clone(),
        hostname: "bench".to_owned(),
        notices: None,
        is_replay: false,
    };
    let mut wall = f64::MAX;
    let (seconds, delivered) = measured(|| {
        let start = std::time::Instant::now();
        let job = Job {
            readers: read_archive(&written.stores, "audit", Some(written.question.key.clone()))?.0,
            period: Period::default(),
            filter: Filter::all(),
            rate: None,
            sink: "out".to_owned(),
            redact: None,
            refused_dir: dir.join("refused"),
        };
        let state = Arc::new(StateFile::open(&dir.join("state-of-replay"), "bench", true)?);
        let progress = Arc::new(Progress::default());
        let done = replay(job, state, || config.open(&context), progress, CancellationToken::new());
        let Ended::Finished(passed) = runtime.block_on(done)? else { return Err("it was stopped".into()) };
        wall = wall.min(start.elapsed().as_secs_f64());
        fs::remove_file(dir.join("out.ndjson"))?;
        Ok(passed.delivered)
    })?;
    let nanos = seconds * 1e9 / delivered as f64;
    println!("replay: {:.0} events/s, {nanos:.0} ns CPU an event, {delivered} events", delivered as f64 / wall);
    Ok(fs::remove_dir_all(dir)?)
}

/// Small objects, one a minute: a year has 525,600 of them.
fn year(dir: &Path) -> Outcome<()> {
    let minutes = std::env::var("MINUTES").map_or(Ok(52_560), |minutes| minutes.parse())?;
    let line = vec![br#"{"event_id":"00000000000000aa-0000000000000000"}"#.to_vec()];
    let stored = compressed(&line, 1)?;
    let written = write(&dir.join("year"), minutes, |first| object_of(&line, &stored, first))?;
    let (seconds, _) = checked(&written, false)?;
    let year = seconds * 525_600.0 / minutes as f64;
    println!("verify: {minutes} seals of a minute in {seconds:.1} s CPU, a year in {year:.0} s");
    Ok(())
}
