//! The real binary against kill -9, power loss, disks that fail or fill up, and storms of signals:
//! nothing that was acknowledged is lost, and no number is given twice.
//!
//! Producers send numbered events over HEC and note every 200 (P1: it comes after the events are on
//! disk); another sends lines over TCP, which has no acknowledgement. Something happens to the
//! gateway at a random moment, it goes on or is started again, and so on. In the end every
//! acknowledged event is at both sinks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod archive;
mod disk;
mod files;
mod kill;
mod power;
mod producers;
mod rig;
mod signals;
#[path = "../support/mod.rs"]
mod support;
mod volume;

/// How often something happens: `push` times, at night `night` times, or `WHARFINGER_CYCLES` times.
fn cycles(push: usize, night: usize) -> usize {
    let asked = std::env::var("WHARFINGER_CYCLES").ok().map(|cycles| cycles.parse().unwrap());
    let night = std::env::var("WHARFINGER_NIGHT").is_ok_and(|night| night == "1").then_some(night);
    asked.or(night).unwrap_or(push)
}

/// As many cycles in rounds: each begins with an empty journal, and ends with a look at all that was
/// acknowledged in it, which is kept in memory.
fn rounds(cycles: usize) -> impl Iterator<Item = usize> {
    const ROUND: usize = 10;
    (0..cycles.div_ceil(ROUND)).map(move |round| ROUND.min(cycles - round * ROUND))
}

/// Moments that `WHARFINGER_SEED` chooses again.
fn random(test: &str) -> fastrand::Rng {
    let seed = std::env::var("WHARFINGER_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("seed {seed}: `WHARFINGER_SEED={seed} cargo test --test crash {test}` uses the same moments");
    fastrand::Rng::with_seed(seed)
}
