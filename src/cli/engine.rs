//! `wharfinger-report`, asked: which evidence is meant, what is to be done with it, and the lines of which it has no
//! Parquet yet. The engine is a program of its own, so that the gateway stays small.

use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::sealed::{Which, unread};
use crate::archive::{Period, Reader, Sealed, Unread};
use crate::config::report_program;

/// Stands before what is said about an object, and alone at the end.
const MARK: u8 = 0x1e;
const PROGRAM: &str = "wharfinger-report";
/// It says no more than that.
const SAID_BYTES_MAX: u64 = 64 << 10;

/// Where Parquet is.
#[derive(Debug, clap::Args)]
pub(super) struct Parquet {
    /// The folder with the Parquet of the archive, which is made there where it is missing. Unless it is given,
    /// `parquet` in the folder of the archive; of a bucket one that is removed afterwards
    #[arg(long, value_name = "FOLDER")]
    parquet: Option<PathBuf>,
}

/// A folder, and whether it goes away with this.
#[derive(Debug)]
pub(super) struct Folder {
    pub path: PathBuf,
    is_temporary: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary {
            std::fs::remove_dir_all(&self.path).ok();
        }
    }
}

impl Folder {
    /// One that stays.
    pub(super) fn kept(path: PathBuf) -> Folder {
        Folder { path, is_temporary: false }
    }

    /// One that goes away, of a name that nobody else has: `name` and something behind it.
    pub(super) fn temporary(name: &Path) -> Result<Folder, Failure> {
        let mut path = name.as_os_str().to_owned();
        path.push(format!("-{:016x}", fastrand::u64(..)));
        let path = PathBuf::from(path);
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|error| {
            let error = anyhow::Error::from(error).context(format!("cannot make `{}`", path.display()));
            Failure::new(Exit::CannotCreate, error, "is there room, and may this user write there?")
        })?;
        Ok(Folder { path, is_temporary: true })
    }

    /// It has another name now.
    pub(super) fn keep(&mut self) {
        self.is_temporary = false;
    }
}

impl Parquet {
    pub(super) fn folder(&self, archive: &Path) -> Result<Folder, Failure> {
        if let Some(path) = &self.parquet {
            return Ok(Folder::kept(path.clone()));
        }
        if archive.is_dir() {
            return Ok(Folder::kept(archive.join("parquet")));
        }
        Folder::temporary(&std::env::temp_dir().join("wharfinger-parquet"))
    }
}

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
#[error("stream {stream}: {why}")]
pub(super) struct Named {
    stream: String,
    pub why: Unread,
}

/// The evidence of a period.
pub(super) struct Evidence {
    pub readers: Vec<(String, Reader)>,
    /// With the number of its reader, in the order of the seals.
    pub sealed: Vec<(usize, Sealed)>,
}

impl Evidence {
    pub(super) fn read(which: &Which) -> Result<Evidence, Failure> {
        let mut readers = which.open()?;
        let mut sealed = Vec::new();
        for (number, (_, reader)) in readers.iter_mut().enumerate() {
            for object in reader.objects(which.part.period()).map_err(unread)? {
                sealed.push((number, object.map_err(unread)?));
            }
        }
        Ok(Evidence { readers, sealed })
    }

    /// What is there and can be believed: without objects of these keys, and up to a seal that cannot be read; then
    /// why it ends there.
    pub(super) fn there(
        mut readers: Vec<(String, Reader)>,
        period: Period,
        faulty: &[(String, String)],
    ) -> (Evidence, Vec<Named>) {
        let (mut sealed, mut unread) = (Vec::new(), Vec::new());
        for (number, (name, reader)) in readers.iter_mut().enumerate() {
            let objects = match reader.objects(period) {
                Ok(objects) => objects,
                Err(why) => {
                    unread.push(Named { stream: name.clone(), why });
                    continue;
                }
            };
            for object in objects {
                match object {
                    Ok(object) if faulty.iter().any(|(of, key)| of == name && *key == object.object) => {}
                    Ok(object) => sealed.push((number, object)),
                    Err(why) => {
                        unread.push(Named { stream: name.clone(), why });
                        break;
                    }
                }
            }
        }
        (Evidence { readers, sealed }, unread)
    }

    /// The last seal of each stream that has events of the period.
    pub(super) fn last_seals(&self) -> impl Iterator<Item = (&str, u64)> {
        self.readers.iter().enumerate().filter_map(|(number, (name, _))| {
            let last = self.sealed.iter().rev().find(|(of, _)| *of == number)?;
            Some((name.as_str(), last.1.seq))
        })
    }

    fn stream(&self, number: usize) -> &str {
        self.readers.get(number).map_or("", |(name, _)| name)
    }

    fn said(&self, (number, sealed): &(usize, Sealed)) -> Value {
        let sha256: String = sealed.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({
            "stream": self.stream(*number), "seal": sealed.seq, "object": sealed.object, "sha256": sha256,
            "records": sealed.records,
        })
    }
}

/// The engine, at work.
pub(super) struct Engine {
    child: Child,
    answer: BufReader<std::process::ChildStdout>,
    /// What it says on standard error.
    said: Option<JoinHandle<String>>,
}

impl Engine {
    /// Asks for a task over the evidence and hands over what there is no Parquet of. What it answers can be read
    /// then.
    pub(super) fn ask(period: Period, evidence: &Evidence, folder: &Path, task: &Value) -> Result<Engine, Failure> {
        let mut child = start()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            let error = anyhow::anyhow!("`{PROGRAM}` was started without pipes");
            return Err(Failure::new(Exit::Unavailable, error, ""));
        };
        let said = thread::spawn(move || {
            let mut said = String::new();
            stderr.take(SAID_BYTES_MAX).read_to_string(&mut said).ok();
            said
        });
        let mut engine = Engine { child, answer: BufReader::new(stdout), said: Some(said) };
        let mut input = BufWriter::with_capacity(1 << 20, stdin);
        let micros = |time: Option<wharfinger_formats::Time>| time.map(|time| time.0.div_euclid(1_000));
        let request = json!({
            "folder": folder,
            "objects": evidence.sealed.iter().map(|sealed| evidence.said(sealed)).collect::<Vec<_>>(),
            "period": {"from": micros(period.from), "to": micros(period.to)},
            "task": task,
        });
        let sent = writeln!(input, "{request}").and_then(|()| input.flush());
        let mut wanted = String::new();
        let read = engine.answer.read_line(&mut wanted);
        let wanted: Option<Vec<usize>> = serde_json::from_str(&wanted).ok();
        let (Ok(()), Ok(_), Some(wanted)) = (sent, read, wanted) else { return Err(engine.ended()) };
        let told = tell(&mut input, evidence, &wanted);
        // Without an end it lists nothing, and asks for nothing.
        drop(input);
        match told {
            Ok(()) => Ok(engine),
            Err(Told::Gone) => Err(engine.ended()),
            Err(Told::Unread(failure)) => {
                engine.child.kill().ok();
                engine.child.wait().ok();
                Err(failure)
            }
        }
    }

    /// What it answers, piece by piece.
    pub(super) fn each(mut self, take: &mut dyn FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        loop {
            let piece = match self.answer.fill_buf() {
                Ok(piece) => piece,
                Err(_) => return Err(self.ended()),
            };
            let length = piece.len();
            if length == 0 {
                break;
            }
            take(piece)?;
            self.answer.consume(length);
        }
        match self.child.wait() {
            Ok(status) if status.success() => {
                eprint!("{}", self.said());
                Ok(())
            }
            _ => Err(self.ended()),
        }
    }

    fn said(&mut self) -> String {
        self.said.take().and_then(|said| said.join().ok()).unwrap_or_default()
    }

    /// Why it did not do what it was asked for.
    fn ended(&mut self) -> Failure {
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let said = self.said();
        match said.trim_end().strip_prefix("error: ") {
            Some(said) => {
                let (error, hint) = said.split_once("; hint: ").unwrap_or((said, "docs/reports.md has the columns"));
                Failure::new(Exit::Data, anyhow::anyhow!("{error}"), hint)
            }
            None => Failure::new(Exit::Unavailable, anyhow::anyhow!("`{PROGRAM}` ended: {status}"), said.trim()),
        }
    }

    /// What it answers, as one JSON value.
    pub(super) fn value(self) -> Result<Value, Failure> {
        let mut all = Vec::new();
        self.each(&mut |piece| {
            all.extend_from_slice(piece);
            Ok(())
        })?;
        serde_json::from_slice(&all).map_err(|error| {
            let error = anyhow::Error::from(error).context(format!("`{PROGRAM}` answers something else"));
            Failure::new(Exit::Unavailable, error, "is it of the same version?")
        })
    }
}

/// The program beside this one, or in the path.
fn start() -> Result<Child, Failure> {
    let program = report_program().unwrap_or_else(|| PathBuf::from(PROGRAM));
    let mut command = Command::new(&program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| {
        let error = anyhow::Error::from(error).context(format!("cannot start `{}`", program.display()));
        Failure::new(Exit::Unavailable, error, "it belongs beside this program: `cargo build -p wharfinger-report`")
    })
}

/// Why lines were not handed over.
enum Told {
    Gone,
    Unread(Failure),
}

impl From<std::io::Error> for Told {
    fn from(_: std::io::Error) -> Told {
        Told::Gone
    }
}

impl From<crate::archive::Unread> for Told {
    fn from(error: crate::archive::Unread) -> Told {
        Told::Unread(unread(error))
    }
}

/// Hands over the lines of these objects, each behind what its seal says.
fn tell(input: &mut dyn Write, evidence: &Evidence, wanted: &[usize]) -> Result<(), Told> {
    let bar = match wanted.len() {
        0 => ProgressBar::hidden(),
        len => ProgressBar::new(len as u64),
    };
    let style = ProgressStyle::with_template("{elapsed} {bar:30} {pos}/{len} objects become Parquet, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    for number in wanted {
        let Some(sealed) = evidence.sealed.get(*number) else { continue };
        let Some((_, reader)) = evidence.readers.get(sealed.0) else { continue };
        let mut lines = reader.lines(&sealed.1)?;
        input.write_all(&[MARK])?;
        writeln!(input, "{}", evidence.said(sealed))?;
        while let Some(line) = lines.next_line()? {
            input.write_all(line)?;
            input.write_all(b"\n")?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    input.write_all(&[MARK, b'\n'])?;
    Ok(input.flush()?)
}
