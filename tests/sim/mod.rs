//! Simulations of the gateway: seeded, on a simulated disk and a paused clock, one thread a seed.
//! They are unit tests of the library, because only there the planted bugs exist (`src/planted.rs`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod oracle;
mod peer;
mod pipeline;
pub(crate) mod seeds;

pub(crate) use crate::planted::Bug;
