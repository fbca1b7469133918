//! `stdin`: lines from standard input until it ends.

use std::io::Read;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::arrivals::Arrivals;
use super::fill::PIECE_BYTES;
use super::lines::Lines;
use super::options::{FormatName, Reading, Zone};
use super::weight::Weight;
use super::{Source, SourceConfig};
use crate::intake::{Intake, Trust};
use crate::part::{ByteSize, Kind, PartContext, SetupError};

pub const KIND: Kind<dyn SourceConfig> = Kind {
    name: "stdin",
    about: "Lines from standard input, until it ends",
    schema: || schemars::schema_for!(Config),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Config>(options)?)),
};

/// Lines from standard input.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Whether the gateway drains its sinks and ends when standard input ends. Default: true.
    exit_at_eof: bool,
    /// Longest line; of a longer one the first 1 KiB is kept. Default: 256KiB.
    max_length: ByteSize,
    /// Format of the lines. Default: auto.
    format: FormatName,
    /// Zone of timestamps that name none. Default: UTC.
    zone: Zone,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            exit_at_eof: true,
            max_length: ByteSize::kib(256),
            format: FormatName::default(),
            zone: Zone::default(),
        }
    }
}

impl SourceConfig for Config {
    fn open(&self, _: &PartContext) -> Result<Box<dyn Source>, SetupError> {
        Ok(Box::new(Stdin { config: *self }))
    }
}

struct Stdin {
    config: Config,
}

#[async_trait]
impl Source for Stdin {
    fn endpoints(&self) -> Vec<String> {
        vec!["stdin".to_owned()]
    }

    async fn run(self: Box<Self>, intake: Intake, stop: CancellationToken) -> Result<(), SetupError> {
        self.read(&intake, &stop).await?;
        if !self.config.exit_at_eof {
            stop.cancelled().await;
        }
        Ok(())
    }
}

impl Stdin {
    async fn read(&self, intake: &Intake, stop: &CancellationToken) -> Result<(), SetupError> {
        let Config { format, zone, max_length, .. } = self.config;
        let mut frames = intake.frames(Reading { format, zone, trust: Trust::Local }.origin("stdin"));
        let mut lines = Lines::new(max_length.as_usize());
        let mut pieces = tokio::select! {
            pieces = PIECES.lock() => pieces,
            () = stop.cancelled() => return Ok(()),
        };
        if pieces.is_none() {
            *pieces = Some(read_ahead()?);
        }
        let (arrivals, mut held) = (Arrivals::until(stop.clone()), Vec::new());
        loop {
            let Some(reader) = pieces.as_mut() else { return Ok(()) };
            let piece = arrivals.next(reader.recv()).await;
            if let Some(None | Some(Err(_))) = piece {
                *pieces = None;
            }
            match piece.flatten() {
                Some(Ok(piece)) => held.extend_from_slice(&piece),
                Some(Err(error)) => return Err(SetupError::new("cannot read standard input", error)),
                None => {
                    lines.finish(&held, |line| line.take(intake, &mut frames, &mut Weight::default()));
                    return arrivals.append(intake, &mut frames).await;
                }
            }
            let mut weight = Weight::default();
            loop {
                let done = lines.cut(&held, |line| line.take(intake, &mut frames, &mut weight));
                held.drain(..done);
                arrivals.append(intake, &mut frames).await?;
                if !weight.is_full() {
                    break;
                }
                weight.clear();
            }
        }
    }
}

type Pieces = mpsc::Receiver<std::io::Result<Vec<u8>>>;

/// What is read of standard input. A read cannot be cancelled: what it brings after a source has ended is its
/// successor's, so one thread reads for all of them. None: it has ended, or nobody has read yet.
static PIECES: Mutex<Option<Pieces>> = Mutex::const_new(None);

/// Reads ahead by one piece, in a thread of its own: a read from a terminal must not hold up the end of the process.
fn read_ahead() -> Result<Pieces, SetupError> {
    let (sender, receiver) = mpsc::channel(1);
    let read = move || {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let piece = match std::io::stdin().read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => Ok(buffer[..length].to_vec()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(read)
        .map_err(|error| SetupError::new("cannot start the thread that reads standard input", error))?;
    Ok(receiver)
}
