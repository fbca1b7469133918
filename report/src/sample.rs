//! Sample: so many rows of an answer, by chance that can be repeated.
//!
//! A row is drawn by the SHA-256 of a seed and the row's `record_hash`: who made the events could not know the seed,
//! and who draws again with it gets the same rows, whatever the order and whatever stands beside them.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::engine::Engine;
use crate::output::{csv_text, each_row};

const SQL: &str = include_str!("../../catalog/sql/sample.sql");

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    pub rows: usize,
    pub seed: String,
    /// `C2`; none: of every class.
    pub class: Option<String>,
    pub absent: String,
    pub limits: crate::request::Limits,
}

impl Sample {
    /// Writes them as CSV, in the order in which they were drawn.
    ///
    /// # Errors
    /// The statement fails, or they cannot be written.
    pub fn run(&self, engine: &Engine, out: &mut dyn Write) -> Result<()> {
        let answer = engine.start(SQL)?;
        let names: Vec<String> = answer.schema().fields().iter().map(|field| field.name().clone()).collect();
        let place =
            |name: &str| names.iter().position(|known| known == name).context("the statement has other columns");
        let (class, hash) = (place("audit_class")?, place("record_hash")?);
        let mut drawn: BTreeMap<[u8; 32], Vec<Option<String>>> = BTreeMap::new();
        engine.each(answer, &mut |batch| {
            each_row(batch, &mut |cells| {
                let cell = |at: usize| cells.get(at).and_then(Option::as_deref).unwrap_or_default();
                if self.class.as_deref().is_some_and(|wanted| wanted != cell(class)) {
                    return Ok(());
                }
                let chance: [u8; 32] = Sha256::new()
                    .chain_update(self.seed.as_bytes())
                    .chain_update([0])
                    .chain_update(cell(hash).as_bytes())
                    .finalize()
                    .into();
                let is_late = drawn.len() >= self.rows && drawn.last_key_value().is_none_or(|(last, _)| chance > *last);
                if !is_late {
                    drawn.insert(chance, cells.to_vec());
                    if drawn.len() > self.rows {
                        drawn.pop_last();
                    }
                }
                Ok(())
            })
        })?;
        let line = |cells: &mut dyn Iterator<Item = &str>| cells.map(csv_text).collect::<Vec<_>>().join(",");
        writeln!(out, "{}", line(&mut names.iter().map(String::as_str)))?;
        for cells in drawn.values() {
            writeln!(out, "{}", line(&mut cells.iter().map(|cell| cell.as_deref().unwrap_or(&self.absent))))?;
        }
        Ok(out.flush()?)
    }
}
