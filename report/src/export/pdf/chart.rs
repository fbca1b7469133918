//! Chart: a drawing of the page, its groups on as many sheets as they need.

use krilla::tagging::Tag;
use roxmltree::Node as Element;

use super::face::drawable;
use super::flow::{Flow, LEFT, Mark, WIDTH, words};

/// Letters are no smaller.
const TEXT: f32 = 6.0;

impl Flow<'_> {
    /// A drawing, of its groups as many on a sheet as there is room for.
    pub fn chart(&mut self, svg: Element<'_, '_>) {
        let number = |part: Element<'_, '_>, name: &str| {
            part.attribute(name).and_then(|value| value.parse::<f32>().ok()).unwrap_or(0.0)
        };
        let size =
            svg.attribute("viewBox").and_then(|sizes| sizes.split(' ').nth(2)).and_then(|size| size.parse().ok());
        let scale = WIDTH / size.unwrap_or(WIDTH);
        let text_size = (9.0 * scale).max(TEXT);
        let (mut pieces, mut marks, mut lowest) = (Vec::new(), Vec::new(), 0.0_f32);
        // What stands beside the groups, below them, goes by the last of these.
        let mut shift = 0.0;
        for group in svg.children().filter(Element::is_element) {
            let is_group = group.has_tag_name("g");
            let begins = match group.attribute("transform").and_then(|to| to.split_once(',')) {
                Some((_, y)) => y.trim_end_matches(')').parse().unwrap_or(0.0),
                None => 0.0,
            };
            let parts: Vec<_> = if is_group { group.children().collect() } else { vec![group] };
            let ends = |part: &Element<'_, '_>| begins + number(*part, "y") + number(*part, "height");
            let end = parts.iter().map(ends).fold(0.0_f32, f32::max);
            if is_group && !self.fits((end - shift) * scale + 2.0 * text_size) {
                if !marks.is_empty() {
                    pieces.push(self.piece(std::mem::take(&mut marks)));
                }
                self.next_sheet();
                (shift, lowest) = (begins, 0.0);
            }
            let y = |part: Element<'_, '_>| self.y + (begins + number(part, "y") - shift) * scale;
            for part in parts.into_iter().filter(Element::is_element) {
                let x = LEFT + number(part, "x") * scale;
                if part.has_tag_name("rect") {
                    let (width, height) = (number(part, "width") * scale, number(part, "height") * scale);
                    let ink = self.inks.of_class(part.attribute("class").unwrap_or_default());
                    marks.push(Mark::Block { x, y: y(part), width, height, ink });
                } else {
                    let is_end = part.attribute("text-anchor") == Some("end");
                    let room = if is_end { x - LEFT } else { LEFT + WIDTH - x };
                    let text = self.faces.regular.fitting(&drawable(&words(part)), text_size, room);
                    let width = if is_end { self.faces.regular.width(&text, text_size) } else { 0.0 };
                    let ink = self.soft();
                    let text = format!("{text} ");
                    marks.push(Mark::Text { x: x - width, y: y(part), size: text_size, is_bold: false, ink, text });
                }
            }
            lowest = lowest.max((end - shift) * scale);
        }
        pieces.push(self.piece(marks));
        self.y += lowest + 8.0;
        self.put(Tag::Figure(svg.attribute("aria-label").map(str::to_owned)), pieces);
    }
}
