//! Sink `stdout`: one record a line on standard output.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::io::{AsyncWriteExt, Stdout};
use wharfinger_formats::Event;

use super::emitter::Emitter;
use super::{Limits, Outcome, Push, Refused, Sink, SinkConfig};
use crate::part::{Kind, PartContext, SetupError};

/// The row of this sink.
pub const KIND: Kind<dyn SinkConfig> = Kind {
    name: "stdout",
    about: "Lines on standard output",
    schema: || schemars::schema_for!(StdoutConfig),
    read: |options| Ok(Box::new(erased_serde::deserialize::<StdoutConfig>(options)?)),
};

/// Lines on standard output.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdoutConfig {
    /// What a line looks like.
    #[serde(default = "Emitter::native")]
    pub format: Emitter,
}

impl SinkConfig for StdoutConfig {
    fn open(&self, _context: &PartContext) -> Result<Box<dyn Sink>, SetupError> {
        Ok(Box::new(Lines { format: self.format, request: Vec::new(), out: tokio::io::stdout() }))
    }
}

struct Lines {
    format: Emitter,
    request: Vec<u8>,
    out: Stdout,
}

#[async_trait]
impl Sink for Lines {
    fn limits(&self) -> Limits {
        Limits { events_max: 10_000, bytes_max: 256 * 1024, age_max: Duration::ZERO }
    }

    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused> {
        self.format.emit(event, &mut self.request);
        self.request.push(b'\n');
        Ok(Push::Taken { bytes: self.request.len() })
    }

    async fn deliver(&mut self) -> Outcome {
        let written = match self.out.write_all(&self.request).await {
            Ok(()) => self.out.flush().await,
            Err(error) => Err(error),
        };
        self.clear();
        match written {
            Ok(()) => Outcome::Delivered,
            // Nobody reads any more: it will not come back by itself.
            Err(error) => Outcome::Fatal { reason: format!("standard output cannot be written: {error}") },
        }
    }

    fn clear(&mut self) {
        self.request.clear();
    }
}
