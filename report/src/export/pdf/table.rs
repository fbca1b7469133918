//! Table: columns as wide as what is in them, rows that go on to the next sheet below the heads.

use krilla::tagging::{TableHeaderScope, Tag};
use roxmltree::Node as Element;

use super::flow::{Flow, LEFT, Node, SMALL, WIDTH, class_of};
use super::lines::{Line, Run, Style, leading, marks};

const GAP: f32 = 8.0;
/// A column is at least so wide, if it asks for as much.
const COLUMN_MIN: f32 = 40.0;

/// A cell as it is asked for.
struct Cell {
    runs: Vec<Run>,
    is_number: bool,
    /// On one line.
    width: f32,
}

impl Flow<'_> {
    /// Lays a table and answers its structure.
    pub fn table(&mut self, table: Element<'_, '_>) -> Node {
        let of = |name: &'static str| table.descendants().filter(move |part| part.has_tag_name(name));
        let rows: Vec<Vec<Cell>> = of("tr").map(|row| self.cells(row)).collect();
        let heads = usize::from(of("thead").next().is_some());
        let widths = widths(&rows);
        let mut structure = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let cells = self.row(row, &widths, at < heads, rows.get(..heads).unwrap_or_default());
            structure.push(Node::Group(Tag::TR.into(), cells));
        }
        Node::Group(Tag::Table.into(), structure)
    }

    fn cells(&self, row: Element<'_, '_>) -> Vec<Cell> {
        let cell = |cell: Element<'_, '_>| {
            let style = Style { is_bold: cell.has_tag_name("th"), ..self.style(SMALL) };
            let runs = self.runs(cell, style);
            let width = self.faces.lines(&runs, f32::MAX).first().map_or(0.0, |line| self.width(line));
            Cell { runs, is_number: class_of(cell) == "n", width }
        };
        row.children().filter(Element::is_element).map(cell).collect()
    }

    fn width(&self, line: &Line) -> f32 {
        line.last().map_or(0.0, |(x, run)| match run {
            Run::Text(text, style) => x + self.faces.of(style.is_bold).width(text.trim_end(), style.size),
            Run::Block(width, _) => x + width,
        })
    }

    /// A row, line by line; where a sheet ends within it or before it, the heads stand above the rest again.
    fn row(&mut self, cells: &[Cell], widths: &[f32], is_head: bool, heads: &[Vec<Cell>]) -> Vec<Node> {
        let lines: Vec<_> =
            cells.iter().zip(widths).map(|(cell, width)| self.faces.lines(&cell.runs, *width)).collect();
        let height = lines.iter().map(Vec::len).max().unwrap_or(0);
        // Short rows are not parted.
        let mut room = leading(SMALL) * height.min(8) as f32 + 3.0;
        let mut nodes: Vec<Vec<Node>> = cells.iter().map(|_| Vec::new()).collect();
        for at in 0..height {
            if self.room(room) && !is_head {
                for head in heads {
                    let lines: Vec<_> =
                        head.iter().zip(widths).map(|(cell, width)| self.faces.lines(&cell.runs, *width)).collect();
                    for at in 0..lines.iter().map(Vec::len).max().unwrap_or(0) {
                        for mark in self.line(head, &lines, widths, at).into_iter().flatten() {
                            self.ornament(mark);
                        }
                        self.y += leading(SMALL);
                    }
                    self.rule(self.y);
                    self.y += 2.0;
                }
            }
            room = leading(SMALL);
            for (marks, nodes) in self.line(cells, &lines, widths, at).into_iter().zip(&mut nodes) {
                if let Some(marks) = marks {
                    nodes.push(self.piece(marks));
                }
            }
            self.y += leading(SMALL);
        }
        self.rule(self.y + 0.5);
        self.y += 2.5;
        let group = |children| match is_head {
            true => Node::Group(Tag::TH(TableHeaderScope::Column).into(), children),
            false => Node::Group(Tag::TD.into(), children),
        };
        nodes.into_iter().map(group).collect()
    }

    /// The marks of one line of each cell.
    fn line(
        &self,
        cells: &[Cell],
        lines: &[Vec<Line>],
        widths: &[f32],
        at: usize,
    ) -> Vec<Option<Vec<super::flow::Mark>>> {
        let mut x = LEFT;
        let mut out = Vec::with_capacity(cells.len());
        for ((cell, lines), width) in cells.iter().zip(lines).zip(widths) {
            out.push(lines.get(at).map(|line| {
                let shift = if cell.is_number { (width - self.width(line)).max(0.0) } else { 0.0 };
                marks(line, x + shift, self.y, SMALL)
            }));
            x += width + GAP;
        }
        out
    }
}

/// Each column gets what it asks for, if all fit; else the widest give way, down to the same width.
fn widths(rows: &[Vec<Cell>]) -> Vec<f32> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0.0_f32; columns];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = width.max(cell.width + 0.5);
        }
    }
    let all = WIDTH - GAP * columns.saturating_sub(1) as f32;
    let sum: f32 = widths.iter().sum();
    if sum <= all {
        // What is left over goes to the columns, so that a table is as wide as the page.
        let more = (all - sum) / columns.max(1) as f32;
        return widths.into_iter().map(|width| width + more).collect();
    }
    let mut sorted = widths.clone();
    sorted.sort_by(f32::total_cmp);
    let (mut left, mut most) = (all, all);
    for (at, width) in sorted.iter().enumerate() {
        let share = left / (columns - at) as f32;
        if *width > share {
            most = share;
            break;
        }
        left -= width;
    }
    widths.into_iter().map(|width| width.min(most.max(COLUMN_MIN))).collect()
}
