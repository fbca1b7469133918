//! Charts: where the rectangles of a drawing are. The page only paints them.
//!
//! Invariant: bounded, however many machines and days there are: what is not drawn is said.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::facts::{Facts, lasting, rfc3339};
use super::summary::shortened;

/// Of the part in which is drawn.
pub const WIDTH: f64 = 720.0;
const DAYS_HEIGHT: f64 = 160.0;
/// Columns of a chart; where there are more days, several make one.
const COLUMNS_MAX: usize = 92;
/// A column is no wider.
const COLUMN_MAX: f64 = 40.0;
const MACHINES_MAX: usize = 100;
const SILENT_MAX: usize = 40;
const RECTS_MAX: usize = 500;

/// A rectangle; `kind` says how it is painted, `says` what a reader is told who points at it.
#[derive(Debug, Serialize)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    pub kind: String,
    pub says: String,
}

/// Lines with a name each, or one drawing without.
#[derive(Debug, Default, Serialize)]
pub struct Chart {
    pub rows: Vec<Line>,
    /// What stands below: the first day, the last.
    pub begins: String,
    pub ends: String,
    /// The greatest value, where there is a scale.
    pub most: u64,
    /// Rows that are not drawn.
    pub more: usize,
    pub height: f64,
}

#[derive(Debug, Serialize)]
pub struct Line {
    pub name: String,
    pub rects: Vec<Rect>,
}

/// In which column a day is.
struct Columns<'d> {
    of: BTreeMap<&'d str, usize>,
    first: Vec<&'d str>,
    width: f64,
}

impl<'d> Columns<'d> {
    fn new(facts: &'d Facts) -> Columns<'d> {
        let days: BTreeSet<&str> = facts.days.iter().map(|day| day.day.as_str()).collect();
        let (mut of, mut first) = (BTreeMap::new(), Vec::new());
        let count = days.len().min(COLUMNS_MAX);
        for (at, day) in days.iter().enumerate() {
            let column = at * count / days.len();
            of.insert(*day, column);
            if first.len() == column {
                first.push(*day);
            }
        }
        Columns { of, first, width: (WIDTH / count.max(1) as f64).min(COLUMN_MAX) }
    }

    fn ends(&self) -> (String, String) {
        let last = self.of.keys().next_back();
        (
            self.first.first().map_or_else(String::new, |day| (*day).to_owned()),
            last.map_or_else(String::new, |day| (*day).to_owned()),
        )
    }
}

/// With two digits, so that a drawing is the same everywhere.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Events of each day, one upon the other by class.
pub fn days(facts: &Facts) -> Chart {
    let columns = Columns::new(facts);
    let mut stacks: BTreeMap<usize, BTreeMap<&str, u64>> = BTreeMap::new();
    for day in &facts.days {
        if let Some(column) = columns.of.get(day.day.as_str()) {
            *stacks.entry(*column).or_default().entry(day.of.as_str()).or_default() += day.events;
        }
    }
    let most = stacks.values().map(|stack| stack.values().sum::<u64>()).max().unwrap_or(0);
    let mut rects = Vec::new();
    for (column, stack) in &stacks {
        let mut y = DAYS_HEIGHT;
        for (class, events) in stack {
            let height = *events as f64 / most.max(1) as f64 * DAYS_HEIGHT;
            y -= height;
            rects.push(Rect {
                x: round(*column as f64 * columns.width),
                y: round(y),
                width: round((columns.width - 1.0).max(0.5)),
                height: round(height),
                kind: (*class).to_owned(),
                says: format!(
                    "{}: {events} events of {class}",
                    columns.first.get(*column).copied().unwrap_or_default()
                ),
            });
        }
    }
    let (begins, ends) = columns.ends();
    let rows = vec![Line { name: String::new(), rects }];
    Chart { rows, begins, ends, most, more: 0, height: DAYS_HEIGHT }
}

/// On which days which machine has spoken: five shades, by the logarithm.
pub fn coverage(facts: &Facts) -> Chart {
    let columns = Columns::new(facts);
    let mut cells: BTreeMap<(&str, usize), u64> = BTreeMap::new();
    for day in &facts.coverage {
        if let Some(column) = columns.of.get(day.day.as_str()) {
            *cells.entry((day.of.as_str(), *column)).or_default() += day.events;
        }
    }
    let most = cells.values().copied().max().unwrap_or(0);
    let mut machines: Vec<_> = facts.machines.iter().collect();
    machines.sort_by(|one, two| one.name.cmp(&two.name));
    let more = machines.len().saturating_sub(MACHINES_MAX);
    machines.truncate(MACHINES_MAX);
    let rows = machines.into_iter().map(|spoken| {
        let name = shortened(&spoken.name);
        let rects = (0..columns.first.len()).map(|column| {
            let events = cells.get(&(spoken.id.as_str(), column)).copied().unwrap_or(0);
            let shade = if events == 0 {
                0
            } else {
                1 + (events as f64).ln().mul_add(3.99, 0.0) as u64 / ((most as f64).ln().max(1.0).ceil() as u64)
            };
            Rect {
                x: round(column as f64 * columns.width),
                y: 0.0,
                width: round((columns.width - 1.0).max(0.5)),
                height: 12.0,
                kind: format!("shade{}", shade.min(4)),
                says: format!("{name}, {}: {events} events", columns.first.get(column).copied().unwrap_or_default()),
            }
        });
        let rects = rects.collect();
        Line { name, rects }
    });
    let rows: Vec<_> = rows.collect();
    let (begins, ends) = columns.ends();
    Chart { rows, begins, ends, most, more, height: 12.0 }
}

/// When machines were silent, the longest first, and when nothing was received at all.
pub fn silences(facts: &Facts) -> Chart {
    let Some((begin, end)) = facts.span.filter(|(begin, end)| begin < end) else { return Chart::default() };
    let scale = WIDTH / (end - begin) as f64;
    let rect = |(from, to): &(i64, i64), name: &str, kind: &str| Rect {
        x: round((from - begin) as f64 * scale),
        y: 0.0,
        width: round(((to - from) as f64 * scale).max(1.0)),
        height: 12.0,
        kind: kind.to_owned(),
        says: format!("{name}: {} from {} to {}", lasting(to - from), rfc3339(*from), rfc3339(*to)),
    };
    let mut rows = Vec::new();
    if !facts.empty.is_empty() {
        let rects = facts.empty.iter().take(RECTS_MAX).map(|empty| rect(empty, "nothing received", "empty")).collect();
        rows.push(Line { name: "nothing received".to_owned(), rects });
    }
    let mut silent: Vec<_> = facts.machines.iter().filter(|spoken| !spoken.silences.is_empty()).collect();
    silent.sort_by_key(|spoken| (std::cmp::Reverse(spoken.longest_silence), spoken.name.clone()));
    let more = silent.len().saturating_sub(SILENT_MAX);
    for spoken in silent.into_iter().take(SILENT_MAX) {
        let name = shortened(&spoken.name);
        let rects = spoken.silences.iter().take(RECTS_MAX).map(|silence| rect(silence, &name, "silence")).collect();
        rows.push(Line { name, rects });
    }
    Chart { rows, begins: rfc3339(begin), ends: rfc3339(end), most: 0, more, height: 12.0 }
}
