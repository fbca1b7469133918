//! Lines: texts broken at a width.

use super::Ink;
use super::face::Faces;
use super::flow::Mark;

/// Of a line, of the size of its letters.
const LINE: f32 = 1.38;
/// Room for a word beside a small rectangle.
const BESIDE: f32 = 40.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    pub size: f32,
    pub is_bold: bool,
    pub ink: Ink,
}

/// A part of a line: a text of one style, or a small rectangle.
#[derive(Debug, Clone)]
pub enum Run {
    Text(String, Style),
    Block(f32, Ink),
}

/// Runs, and where they begin.
pub type Line = Vec<(f32, Run)>;

impl Faces {
    /// Runs as lines of a width: broken at spaces, and within what is longer than a line.
    pub fn lines(&self, runs: &[Run], width: f32) -> Vec<Line> {
        let (mut lines, mut line, mut x): (Vec<Line>, Line, f32) = (Vec::new(), Vec::new(), 0.0);
        for run in runs {
            let (text, style) = match run {
                Run::Text(text, style) => (text, *style),
                Run::Block(size, _) => {
                    // The word that it belongs to stands beside it.
                    if x + size + BESIDE > width && x > 0.0 {
                        lines.push(std::mem::take(&mut line));
                        x = 0.0;
                    }
                    line.push((x, run.clone()));
                    x += size + 2.0;
                    continue;
                }
            };
            let face = self.of(style.is_bold);
            let add = |line: &mut Line, x: &mut f32, word: &str| {
                match line.last_mut() {
                    Some((_, Run::Text(text, of))) if *of == style => text.push_str(word),
                    _ => line.push((*x, Run::Text(word.to_owned(), style))),
                }
                *x += face.width(word, style.size);
            };
            for word in text.split_inclusive(' ') {
                if word == " " && x == 0.0 {
                    continue;
                }
                if x > 0.0 && x + face.width(word.trim_end(), style.size) > width {
                    lines.push(std::mem::take(&mut line));
                    x = 0.0;
                }
                if face.width(word.trim_end(), style.size) <= width {
                    add(&mut line, &mut x, word);
                    continue;
                }
                for letter in word.chars() {
                    let letter = letter.encode_utf8(&mut [0; 4]).to_owned();
                    if x > 0.0 && x + face.width(&letter, style.size) > width {
                        lines.push(std::mem::take(&mut line));
                        x = 0.0;
                    }
                    add(&mut line, &mut x, &letter);
                }
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }
}

/// A line with its upper edge at `y`.
pub fn marks(line: &Line, left: f32, y: f32, size: f32) -> Vec<Mark> {
    let mark = |(x, run): &(f32, Run)| match run {
        Run::Text(text, style) => Mark::Text {
            x: left + x,
            y: y + size,
            size: style.size,
            is_bold: style.is_bold,
            ink: style.ink,
            text: text.clone(),
        },
        Run::Block(width, ink) => {
            Mark::Block { x: left + x, y: y + size * 0.3, width: *width, height: size * 0.7, ink: *ink }
        }
    };
    line.iter().map(mark).collect()
}

/// How far it is from a line to the next.
pub const fn leading(size: f32) -> f32 {
    size * LINE
}
