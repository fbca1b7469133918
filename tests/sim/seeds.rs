//! Seeds: how many lives a simulation lives, and how one of them is lived again.
//!
//! `WHARFINGER_SEEDS=100000` asks for more of them, `WHARFINGER_SEEDS=5000..6000` for others, and
//! `WHARFINGER_SEED=17` for just one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::planted::{self, Bug};

/// A life takes milliseconds, some seconds where archives are forged. One that takes so long, on a machine that is
/// busy with other tests, has no end.
const ENDS_WITHIN: Duration = Duration::from_secs(900);

/// How many seeds may pass before a planted bug is caught.
const CAUGHT_WITHIN: u64 = 200;

/// Lives the seeds that were asked for, or the first `count`; the test fails with the first seed
/// that does. Answers how many there were.
pub(crate) fn live(test: &str, count: u64, life: impl Fn(u64) + Sync) -> u64 {
    let seeds = asked_for().unwrap_or(0..count);
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let under_way = Mutex::new(BTreeMap::new());
    let work = || {
        while !failed.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                break;
            }
            under_way.lock().unwrap().insert(seed, Instant::now());
            let lived = is_lived(&life, seed);
            under_way.lock().unwrap().remove(&seed);
            if !lived {
                failed.store(true, Relaxed);
                return Some(seed);
            }
        }
        None
    };
    let workers = thread::available_parallelism().map_or(1, |cores| cores.get());
    let wrong: Vec<u64> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            thread::sleep(Duration::from_millis(5));
            let under_way = under_way.lock().unwrap();
            if let Some((seed, _)) = under_way.iter().find(|(_, begun)| begun.elapsed() > ENDS_WITHIN) {
                // Nothing ends a thread that does not want to.
                eprintln!("seed {seed} of {test} has no end");
                std::process::exit(1);
            }
        }
        workers.into_iter().filter_map(|worker| worker.join().unwrap()).collect()
    });
    if let Some(seed) = wrong.first() {
        panic!("seed {seed} fails; replay it with: WHARFINGER_SEED={seed} cargo test --lib {test} -- --nocapture");
    }
    seeds.end.saturating_sub(seeds.start)
}

/// Requires that each bug is caught within 200 seeds, and says how many it took.
pub(crate) fn catch(bugs: &[Bug], life: impl Fn(u64) + Sync) {
    let mut missed = Vec::new();
    for &bug in bugs {
        match (0..CAUGHT_WITHIN).find(|&seed| planted::with(bug, || !is_lived(&life, seed))) {
            Some(seed) => println!("planted {bug:?}: caught after {} seeds", seed + 1),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "{CAUGHT_WITHIN} seeds did not see {missed:?}");
}

/// How much of something is tried: at night, `WHARFINGER_NIGHT=1`, more than at a push.
pub(crate) fn size(push: usize, night: usize) -> usize {
    if std::env::var("WHARFINGER_NIGHT").is_ok_and(|at_night| at_night == "1") { night } else { push }
}

fn is_lived(life: impl Fn(u64), seed: u64) -> bool {
    catch_unwind(AssertUnwindSafe(|| life(seed))).is_ok()
}

fn asked_for() -> Option<Range<u64>> {
    let number = |text: &str| text.parse().unwrap_or_else(|error| panic!("`{text}` is no seed: {error}"));
    if let Ok(seed) = std::env::var("WHARFINGER_SEED") {
        let seed = number(&seed);
        return Some(seed..seed + 1);
    }
    let seeds = std::env::var("WHARFINGER_SEEDS").ok()?;
    Some(seeds.split_once("..").map_or_else(|| 0..number(&seeds), |(from, to)| number(from)..number(to)))
}
