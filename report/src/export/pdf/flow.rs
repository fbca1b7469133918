//! Flow: the blocks of the page as lines on sheets of A4, one below the other.
//!
//! Lengths are in points, from the upper left corner.

use std::num::NonZeroU16;

use anyhow::{Result, bail, ensure};
use krilla::tagging::{ListNumbering, Tag, TagKind};
use roxmltree::Node as Element;

use super::face::{Faces, drawable};
use super::lines::{Run, Style, leading, marks};
use super::{Ink, Inks};

pub const SHEET: (f32, f32) = (595.28, 841.89);
pub const LEFT: f32 = 40.0;
const TOP: f32 = 42.0;
const BOTTOM: f32 = SHEET.1 - 52.0;
pub const WIDTH: f32 = SHEET.0 - 2.0 * LEFT;
const TERM_WIDTH: f32 = 84.0;
pub const TEXT: f32 = 9.0;
pub const SMALL: f32 = 8.0;

/// What is painted.
#[derive(Debug, Clone)]
pub enum Mark {
    /// `y` is that of the line on which letters stand.
    Text {
        x: f32,
        y: f32,
        size: f32,
        is_bold: bool,
        ink: Ink,
        text: String,
    },
    Block {
        x: f32,
        y: f32,
        width: f32,
        height: f32,
        ink: Ink,
    },
}

/// Marks of one sheet that stand at one place of the structure.
#[derive(Debug)]
pub struct Piece {
    pub sheet: usize,
    pub marks: Vec<Mark>,
    /// Whether it says something; else it is ornament, and in no structure.
    pub is_content: bool,
}

/// The structure: what a reader for the blind goes by.
#[derive(Debug)]
pub enum Node {
    Group(TagKind, Vec<Node>),
    /// A piece, by its number.
    Piece(usize),
}

/// All of it.
#[derive(Debug)]
pub struct Laid {
    pub sheets: usize,
    pub pieces: Vec<Piece>,
    pub structure: Vec<Node>,
}

pub struct Flow<'f> {
    pub faces: &'f Faces,
    pub inks: Inks<'f>,
    sheet: usize,
    pub y: f32,
    laid: Laid,
}

impl<'f> Flow<'f> {
    pub fn new(faces: &'f Faces, inks: Inks<'f>) -> Flow<'f> {
        let laid = Laid { sheets: 1, pieces: Vec::new(), structure: Vec::new() };
        Flow { faces, inks, sheet: 0, y: TOP, laid }
    }

    /// Ends it: each sheet says what it is of, and which.
    pub fn finish(mut self, title: &str) -> Laid {
        let sheets = self.sheet + 1;
        self.laid.sheets = sheets;
        let (size, ink) = (7.0, self.soft());
        for sheet in 0..sheets {
            let text = format!("{} – page {} of {sheets}", drawable(title), sheet + 1);
            let y = SHEET.1 - 28.0;
            let marks = vec![Mark::Text { x: LEFT, y, size, is_bold: false, ink, text }];
            self.laid.pieces.push(Piece { sheet, marks, is_content: false });
        }
        self.laid
    }

    pub fn soft(&self) -> Ink {
        self.inks.of("--soft:")
    }

    pub fn style(&self, size: f32) -> Style {
        Style { size, is_bold: false, ink: self.inks.of("--ink:") }
    }

    pub fn fits(&self, height: f32) -> bool {
        self.y + height <= BOTTOM
    }

    pub fn next_sheet(&mut self) {
        self.sheet += 1;
        self.y = TOP;
    }

    /// So much room below, or the next sheet. Whether it is a new one.
    pub fn room(&mut self, height: f32) -> bool {
        let is_new = !self.fits(height);
        if is_new {
            self.next_sheet();
        }
        is_new
    }

    /// Something is painted on the sheet at hand.
    pub fn piece(&mut self, marks: Vec<Mark>) -> Node {
        self.laid.pieces.push(Piece { sheet: self.sheet, marks, is_content: true });
        Node::Piece(self.laid.pieces.len() - 1)
    }

    /// The same, as ornament.
    pub fn ornament(&mut self, marks: Vec<Mark>) {
        self.laid.pieces.push(Piece { sheet: self.sheet, marks, is_content: false });
    }

    /// A line across, at `y`.
    pub fn rule(&mut self, y: f32) {
        let ink = self.inks.of("--line:");
        self.ornament(vec![Mark::Block { x: LEFT, y, width: WIDTH, height: 0.5, ink }]);
    }

    pub fn put(&mut self, kind: impl Into<TagKind>, children: Vec<Node>) {
        self.laid.structure.push(Node::Group(kind.into(), children));
    }

    /// Everything in an element.
    ///
    /// # Errors
    /// Something in it has no place in the PDF: nothing of the page is left out unsaid.
    pub fn blocks(&mut self, within: Element<'_, '_>) -> Result<()> {
        for block in within.children() {
            match block.is_text() {
                true => ensure!(block.text().is_none_or(|text| text.trim().is_empty()), "text outside of a block"),
                false => self.block(block)?,
            }
        }
        Ok(())
    }

    fn block(&mut self, block: Element<'_, '_>) -> Result<()> {
        match block.tag_name().name() {
            "h1" => self.heading(block, 1, 15.0),
            "h2" => self.heading(block, 2, 11.5),
            "h3" => self.heading(block, 3, 9.5),
            "dl" => self.terms(block)?,
            "ul" => self.list(block),
            "table" => {
                let table = self.table(block);
                self.laid.structure.push(table);
                self.y += 6.0;
            }
            "svg" => self.chart(block),
            "div" => {
                self.blocks(block)?;
                self.rule(self.y);
                self.y += 4.0;
            }
            "p" => {
                let style = self.style(if class_of(block) == "note" { SMALL } else { TEXT });
                let lines = self.paragraph(block, style, LEFT, WIDTH);
                self.put(Tag::P, lines);
                self.y += 3.0;
            }
            other => bail!("the page has an element `{other}` that no PDF is made of"),
        }
        Ok(())
    }

    fn heading(&mut self, block: Element<'_, '_>, level: u16, size: f32) {
        self.y += if self.y > TOP { size * 0.7 } else { 0.0 };
        self.room(size + 60.0);
        let text = drawable(&words(block));
        let style = Style { is_bold: true, ..self.style(size) };
        let lines = self.paragraph(block, style, LEFT, WIDTH);
        if level == 2 {
            self.rule(self.y);
            self.y += 4.0;
        }
        self.put(Tag::Hn(NonZeroU16::new(level).unwrap_or(NonZeroU16::MIN), Some(text)), lines);
    }

    /// Terms, and beside each what it is.
    fn terms(&mut self, block: Element<'_, '_>) -> Result<()> {
        let (mut items, mut label) = (Vec::new(), Vec::new());
        for part in block.children().filter(Element::is_element) {
            let style = self.style(TEXT);
            ensure!(part.has_tag_name("dt") == label.is_empty(), "terms and what they are do not go by twos");
            if part.has_tag_name("dt") {
                self.room(leading(TEXT));
                let (y, ink) = (self.y, self.soft());
                label = self.paragraph(part, Style { ink, ..style }, LEFT, TERM_WIDTH);
                self.y = y;
            } else {
                let body = self.paragraph(part, style, LEFT + TERM_WIDTH, WIDTH - TERM_WIDTH);
                let label = Node::Group(Tag::Lbl.into(), std::mem::take(&mut label));
                items.push(Node::Group(Tag::LI.into(), vec![label, Node::Group(Tag::LBody.into(), body)]));
                self.y += 1.5;
            }
        }
        self.put(Tag::L(ListNumbering::None), items);
        self.y += 4.0;
        Ok(())
    }

    fn list(&mut self, block: Element<'_, '_>) {
        let mut items = Vec::new();
        for part in block.children().filter(|part| part.has_tag_name("li")) {
            let mut style = self.style(TEXT);
            if class_of(part) == "unproven" {
                style = Style { is_bold: true, ink: self.inks.of("--bad:"), ..style };
            }
            self.room(leading(TEXT));
            let y = self.y + TEXT;
            let dot =
                Mark::Text { x: LEFT + 4.0, y, size: TEXT, is_bold: false, ink: style.ink, text: "• ".to_owned() };
            let label = Node::Group(Tag::Lbl.into(), vec![self.piece(vec![dot])]);
            let body = self.paragraph(part, style, LEFT + 14.0, WIDTH - 14.0);
            items.push(Node::Group(Tag::LI.into(), vec![label, Node::Group(Tag::LBody.into(), body)]));
        }
        self.put(Tag::L(ListNumbering::Disc), items);
        self.y += 4.0;
    }

    /// A text from the place at hand on, broken into lines.
    fn paragraph(&mut self, block: Element<'_, '_>, style: Style, x: f32, width: f32) -> Vec<Node> {
        let runs = self.runs(block, style);
        let lines = self.faces.lines(&runs, width);
        let mut nodes = Vec::with_capacity(lines.len());
        for line in &lines {
            self.room(leading(style.size));
            let marks = marks(line, x, self.y, style.size);
            nodes.push(self.piece(marks));
            self.y += leading(style.size);
        }
        nodes
    }

    /// What is in an element, in the order in which it is read.
    pub fn runs(&self, block: Element<'_, '_>, style: Style) -> Vec<Run> {
        let mut runs = Vec::new();
        self.collect(block, style, &mut runs);
        runs
    }

    fn collect(&self, block: Element<'_, '_>, style: Style, runs: &mut Vec<Run>) {
        for part in block.children().filter(|part| !part.is_comment()) {
            let class = class_of(part);
            match part.tag_name().name() {
                "" => runs.push(Run::Text(drawable(&collapsed(part.text().unwrap_or_default())), style)),
                "svg" => {
                    let rect = part.children().find(|part| part.has_tag_name("rect"));
                    let ink = self.inks.of_class(rect.map_or("", class_of));
                    runs.push(Run::Block(style.size * 0.7, ink));
                }
                "span" if class == "key" => {
                    self.collect(part, style, runs);
                    runs.push(Run::Text("   ".to_owned(), style));
                }
                "strong" => self.collect(part, Style { is_bold: true, ..style }, runs),
                _ if class == "bar" => {
                    let digits = part.attribute("style").and_then(|style| style.split([' ', 'p']).nth(1));
                    let width = digits.and_then(|digits| digits.parse::<f32>().ok()).unwrap_or(0.0);
                    runs.push(Run::Block(width * 0.4, self.inks.of(".bar {")));
                }
                _ if class.starts_with("result") => {
                    let name = match class.split(' ').nth(1) {
                        Some("complete") => "--good:",
                        Some("bad") => "--bad:",
                        _ => "--warn:",
                    };
                    let style = Style { size: style.size + 1.5, is_bold: true, ink: self.inks.of(name) };
                    self.collect(part, style, runs);
                }
                _ => self.collect(part, style, runs),
            }
        }
    }
}

pub fn class_of<'e>(element: Element<'e, '_>) -> &'e str {
    element.attribute("class").unwrap_or_default()
}

pub fn words(element: Element<'_, '_>) -> String {
    let all: String = element.descendants().filter(Element::is_text).filter_map(|part| part.text()).collect();
    collapsed(&all).trim().to_owned()
}

/// Spaces and ends of lines as one space, as in a browser.
fn collapsed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            ' ' | '\n' | '\t' | '\r' if out.ends_with(' ') => {}
            ' ' | '\n' | '\t' | '\r' => out.push(' '),
            _ => out.push(letter),
        }
    }
    out
}
