//! `stdin`: lines from standard input until it ends.

use std::io::Read;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::arrivals::Arrivals;
use super::fill::PIECE_BYTES;
use super::lines::Lines;
use super::options::{FormatName, Reading, Zone};
use super::weight::Weight;
use super::{Source, SourceConfig, journal_failed};
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
        self.read(std::io::stdin(), intake, &stop).await?;
        if !self.config.exit_at_eof {
            stop.cancelled().await;
        }
        Ok(())
    }
}

impl Stdin {
    async fn read(
        &self,
        input: impl Read + Send + 'static,
        intake: Intake,
        stop: &CancellationToken,
    ) -> Result<(), SetupError> {
        let Config { format, zone, max_length, .. } = self.config;
        let mut frames = intake.frames(Reading { format, zone, trust: Trust::Local }.origin("stdin"));
        let mut lines = Lines::new(max_length.as_usize());
        let mut pieces = pieces_of(input)?;
        let (arrivals, mut held) = (Arrivals::until(stop.clone()), Vec::new());
        loop {
            match arrivals.next(pieces.recv()).await.flatten() {
                Some(Ok(piece)) => held.extend_from_slice(&piece),
                Some(Err(error)) => return Err(SetupError::new("cannot read standard input", error)),
                None => {
                    lines.finish(&held, |line| line.take(&intake, &mut frames, &mut Weight::default()));
                    return intake.append(&mut frames).await.map_err(journal_failed);
                }
            }
            let mut weight = Weight::default();
            loop {
                let done = lines.cut(&held, |line| line.take(&intake, &mut frames, &mut weight));
                held.drain(..done);
                intake.append(&mut frames).await.map_err(journal_failed)?;
                if !weight.is_full() {
                    break;
                }
                weight.clear();
            }
        }
    }
}

/// Reads ahead by one piece, in a thread of its own: a read from a terminal cannot be cancelled,
/// and must not hold up the end of the process.
fn pieces_of(mut input: impl Read + Send + 'static) -> Result<mpsc::Receiver<std::io::Result<Vec<u8>>>, SetupError> {
    let (sender, receiver) = mpsc::channel(1);
    let read = move || {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let piece = match input.read(&mut buffer) {
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
