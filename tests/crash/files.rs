//! A file that is followed while it is rotated in every way, and the gateway is killed: each line once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::gateway::{Gateway, Stopped};
use crate::support::lines::{SinkFile, text};
use crate::support::process::eventually;
use crate::{cycles, random};

const WITHIN: Duration = Duration::from_secs(60);

/// A program that writes numbered lines into `app.log`, and what rotates it.
struct Writer {
    folder: PathBuf,
    written: usize,
    /// The line that is being written has its beginning in the file.
    is_in_line: bool,
    /// Files set aside, each under a name of its own.
    set_aside: usize,
}

impl Writer {
    fn log(&self) -> PathBuf {
        self.folder.join("app.log")
    }

    fn write(&mut self, random: &mut fastrand::Rng) {
        let mut text = String::new();
        for _ in 0..random.usize(1..40) {
            if !self.is_in_line {
                text += &format!("line {} {}", self.written, "x".repeat(random.usize(0..100)));
            }
            text += " end\n";
            self.is_in_line = false;
            self.written += 1;
        }
        if random.bool() {
            text += &format!("line {} ", self.written);
            self.is_in_line = true;
        }
        File::options().create(true).append(true).open(self.log()).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Ends the line: nobody rotates in the middle of one.
    fn end_line(&mut self) {
        if std::mem::take(&mut self.is_in_line) {
            File::options().append(true).open(self.log()).unwrap().write_all(b"end\n").unwrap();
            self.written += 1;
        }
    }

    /// By renaming; what was renamed before is compressed.
    fn rotate(&mut self) {
        self.end_line();
        let renamed = self.folder.join("app.log.1");
        if renamed.exists() {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&fs::read(&renamed).unwrap()).unwrap();
            self.set_aside += 1;
            fs::write(self.folder.join(format!("old.{}.gz", self.set_aside)), packed.finish().unwrap()).unwrap();
            fs::remove_file(&renamed).unwrap();
        }
        if self.log().exists() {
            fs::rename(self.log(), &renamed).unwrap();
        }
    }

    /// Renamed and compressed at once.
    fn pack(&mut self) {
        self.rotate();
        self.rotate();
    }

    /// By copying and cutting.
    fn cut(&mut self) {
        self.end_line();
        if self.log().exists() {
            self.set_aside += 1;
            fs::copy(self.log(), self.folder.join(format!("copy.{}", self.set_aside))).unwrap();
            File::options().write(true).open(self.log()).unwrap().set_len(0).unwrap();
        }
    }
}

/// Lines that are at the sink, under the ids they have.
fn arrived(out: &SinkFile) -> BTreeMap<String, String> {
    let events = out.events();
    let lines = events.iter().filter(|event| text(event, "raw").starts_with("line "));
    lines.map(|event| (text(event, "event_id").to_owned(), text(event, "raw").to_owned())).collect()
}

fn has_all(out: &SinkFile, writer: &Writer, seed: &str) {
    eventually(&format!("all {} lines are there ({seed})", writer.written), WITHIN, || {
        (arrived(out).len() >= writer.written).then_some(())
    });
}

#[test]
fn files_are_read_once_over_kills_and_rotations() {
    let (mut random, cycles, begun) = (random("files"), cycles(12, 200), Instant::now());
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let out = SinkFile::in_folder(folder.path());
    let source =
        format!("{{type: file, include: [{}/app.log], poll_interval: 50ms, rotate_wait: 500ms}}", logs.display());
    let config = format!("sources:\n  in: {source}\nsinks:\n{}", out.config());
    let mut writer = Writer { folder: logs, written: 0, is_in_line: false, set_aside: 0 };
    let mut gateway = Gateway::start(folder.path(), &config);
    for cycle in 0..cycles {
        let seed = format!("cycle {cycle}");
        writer.write(&mut random);
        // What was never found under its name cannot be known under another.
        eventually("the file was found", WITHIN, || is_known(&writer, &out).then_some(()));
        match random.u8(0..4) {
            0 => writer.rotate(),
            1 => writer.pack(),
            2 => {
                writer.end_line();
                has_all(&out, &writer, &seed);
                writer.cut();
            }
            _ => {}
        }
        writer.write(&mut random);
        std::thread::sleep(Duration::from_millis(random.u64(0..200)));
        let stopped: Stopped = gateway.kill();
        // Nobody is there to see it.
        writer.write(&mut random);
        if random.bool() && is_known(&writer, &out) {
            match random.u8(0..3) {
                0 => writer.rotate(),
                1 => writer.pack(),
                _ => writer.cut(),
            }
            writer.write(&mut random);
        }
        gateway = stopped.start();
    }
    writer.end_line();
    has_all(&out, &writer, "the end");
    gateway.stop();
    let arrived = arrived(&out);
    let mut numbers: Vec<usize> =
        arrived.values().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    let expected: Vec<usize> = (0..writer.written).collect();
    assert!(numbers == expected, "{} lines of {}: lost or repeated", numbers.len(), expected.len());
    assert!(arrived.values().all(|line| line.ends_with("end")));
    let gaps = out.events().iter().filter(|event| text(event, "event_class") == "gap").count();
    assert_eq!(gaps, 0);
    println!("{cycles} cycles, {} lines, in {:?}", writer.written, begun.elapsed());
}

/// Whether some of the file that is there was read: only that is known again under another name.
fn is_known(writer: &Writer, out: &SinkFile) -> bool {
    let first = |path: &Path| fs::read_to_string(path).ok()?.lines().next().map(str::to_owned);
    let Some(first) = first(&writer.log()) else { return false };
    arrived(out).values().any(|line| *line == first)
}
