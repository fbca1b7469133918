//! What became of events in a row: so many delivered, so many not for this sink, and so on.

use crate::journal::Position;
use crate::sinks::missing::Missing;

/// What became of an event at a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    Delivered,
    Filtered,
    Quarantined,
    Lost,
}

const ALL: [Became; 4] = [Became::Delivered, Became::Filtered, Became::Quarantined, Became::Lost];

/// Runs, none empty and no two of the same kind side by side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::sinks) struct Runs(Vec<(Became, u64)>);

impl Runs {
    /// Of the positions from `first` to `next`: those that were delivered, refused, and missing, in order. All others
    /// were not for the sink.
    pub(in crate::sinks) fn of(
        (first, next): (Position, Position),
        delivered: &[Position],
        refused: &[Position],
        missing: &Missing,
    ) -> Runs {
        let mut runs = Runs::default();
        let (mut at, mut delivered) = (first.0, delivered.iter().peekable());
        while at < next.0 {
            let is_delivered = delivered.next_if(|position| position.0 == at).is_some();
            let until = delivered.peek().map_or(next.0, |position| position.0.min(next.0));
            let from = refused.partition_point(|position| position.0 < at);
            let refused = refused.get(from).map_or(u64::MAX, |position| position.0);
            let (is_missing, turn) = missing.turn(Position(at));
            let (became, end) = match () {
                () if is_delivered => (Became::Delivered, at + 1),
                () if refused == at => (Became::Quarantined, at + 1),
                () if is_missing => (Became::Lost, turn.0.min(until)),
                () => (Became::Filtered, turn.0.min(until).min(refused)),
            };
            runs.push(became, end - at);
            at = end;
        }
        runs
    }

    fn push(&mut self, became: Became, count: u64) {
        match self.0.last_mut() {
            Some((same, before)) if *same == became => *before += count,
            _ => self.0.push((became, count)),
        }
    }

    /// In pieces of so many, each with how many events stand before it.
    pub(super) fn chunks(&self, runs_max: usize) -> Vec<(u64, Runs)> {
        let mut from = 0;
        let piece = |runs: &[(Became, u64)]| {
            let first = from;
            from += runs.iter().map(|(_, count)| count).sum::<u64>();
            (first, Runs(runs.to_vec()))
        };
        self.0.chunks(runs_max).map(piece).collect()
    }

    /// What became of that one, counted from the first.
    pub(super) fn at(&self, index: u64) -> Option<Became> {
        let mut end = 0_u64;
        let within = |(_, count): &&(Became, u64)| {
            end = end.saturating_add(*count);
            index < end
        };
        self.0.iter().find(within).map(|(became, _)| *became)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (became, count) in &self.0 {
            let mut number = u128::from(*count) << 2 | *became as u128;
            while number > 127 {
                out.push(number as u8 | 128);
                number >>= 7;
            }
            out.push(number as u8);
        }
    }

    /// None if they are none.
    pub(super) fn read(mut bytes: &[u8]) -> Option<Runs> {
        let mut runs = Runs::default();
        while !bytes.is_empty() {
            let (mut number, mut shift) = (0_u128, 0);
            loop {
                let (byte, rest) = bytes.split_first()?;
                bytes = rest;
                number |= u128::from(byte & 127) << shift;
                shift += 7;
                if *byte < 128 {
                    break;
                }
                if shift > 70 {
                    return None;
                }
            }
            runs.push(*ALL.get((number & 3) as usize)?, u64::try_from(number >> 2).ok()?);
        }
        Some(runs)
    }
}
