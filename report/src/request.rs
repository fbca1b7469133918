//! Request: what `wharfinger` asks for, as one line of JSON on standard input.
//!
//! The answer's first line says of which objects there is no Parquet yet, as numbers into `objects`; their lines
//! follow on standard input (see `compact`), and then comes what was asked for.

use std::path::PathBuf;

use serde::Deserialize;

use crate::export::{Digest, Export};
use crate::output::Format;
use crate::parts::Object;
use crate::sample::Sample;

/// See above.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Where Parquet is, and goes.
    pub folder: PathBuf,
    /// The evidence of the period, in the order of its seals.
    pub objects: Vec<Object>,
    #[serde(default)]
    pub period: Period,
    pub task: Task,
}

/// From one time of receipt until before another, in microseconds since 1970.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    pub from: Option<i64>,
    pub to: Option<i64>,
}

/// What is to be done once everything is Parquet.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Nothing more: the answer is what was written.
    Compact,
    Query(Query),
    Sample(Sample),
    Export(Box<Export>),
    Digest(Box<Digest>),
}

/// One statement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    pub sql: String,
    pub format: Format,
    /// What stands in texts where a row has nothing.
    pub absent: String,
    pub limits: Limits,
}

/// What a statement may take.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub seconds: u64,
    /// Of memory; what needs more is written to disk meanwhile, or fails.
    pub memory_bytes: usize,
}
