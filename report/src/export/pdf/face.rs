//! Faces: the two fonts, how wide a text is in them, and what cannot be drawn.

use anyhow::{Context as _, Result};
use krilla::text::{Font, GlyphId, KrillaGlyph};
use skrifa::charmap::Charmap;
use skrifa::instance::{LocationRef, Size};
use skrifa::metrics::GlyphMetrics;
use skrifa::{FontRef, MetadataProvider as _};

/// Both fonts. They are in the program, so that a page looks the same wherever it is made.
pub struct Faces {
    pub regular: Face,
    pub bold: Face,
}

pub struct Face {
    pub font: Font,
    glyphs: Charmap<'static>,
    /// For a size of one point.
    widths: GlyphMetrics<'static>,
}

impl Faces {
    /// # Errors
    /// A font cannot be read.
    pub fn new() -> Result<Faces> {
        Ok(Faces { regular: Face::new(dejavu::sans::regular())?, bold: Face::new(dejavu::sans::bold())? })
    }

    pub fn of(&self, is_bold: bool) -> &Face {
        if is_bold { &self.bold } else { &self.regular }
    }
}

impl Face {
    fn new(bytes: &'static [u8]) -> Result<Face> {
        let font = Font::new(bytes.into(), 0).context("a font cannot be read")?;
        let read = FontRef::new(bytes)?;
        Ok(Face { font, glyphs: read.charmap(), widths: read.glyph_metrics(Size::new(1.0), LocationRef::default()) })
    }

    /// In points.
    pub fn width(&self, text: &str, size: f32) -> f32 {
        text.chars().map(|letter| self.advance(letter).1).sum::<f32>() * size
    }

    /// As much of a text as there is room for.
    pub fn fitting(&self, text: &str, size: f32, room: f32) -> String {
        if self.width(text, size) <= room {
            return text.to_owned();
        }
        let mut left = room - self.width("…", size);
        let fits = |letter: &char| {
            left -= self.advance(*letter).1 * size;
            left >= 0.0
        };
        text.chars().take_while(fits).chain(['…']).collect()
    }

    fn advance(&self, letter: char) -> (skrifa::GlyphId, f32) {
        let glyph = self.glyphs.map(letter).unwrap_or_default();
        (glyph, self.widths.advance_width(glyph).unwrap_or(0.0))
    }

    pub fn glyphs(&self, text: &str) -> Vec<KrillaGlyph> {
        let glyph = |(at, letter): (usize, char)| {
            let (glyph, width) = self.advance(letter);
            let range = at..at + letter.len_utf8();
            KrillaGlyph::new(GlyphId::new(glyph.to_u32()), width, 0.0, 0.0, 0.0, range, None)
        };
        text.char_indices().map(glyph).collect()
    }
}

/// A text of letters that stand one behind the other from left to right and are in both fonts: Latin, Greek, Cyrillic,
/// punctuation. Others are written out, `\u{6f22}`: PDF/A forbids letters without a glyph.
pub fn drawable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            ' '..='~'
            | '\u{a1}'..='\u{ac}'
            | '\u{ae}'..='\u{24f}'
            | '\u{384}'..='\u{386}'
            | '\u{388}'..='\u{38a}'
            | '\u{38e}'..='\u{3a1}'
            | '\u{3a3}'..='\u{3ff}'
            | '\u{400}'..='\u{482}'
            | '\u{48a}'..='\u{4ff}'
            | '\u{2013}'
            | '\u{2014}'
            | '\u{2018}'..='\u{201f}'
            | '\u{2022}'
            | '\u{2026}'
            | '\u{20ac}'
            | '\u{2116}'
            | '\u{2122}'
            | '\u{2190}'..='\u{2193}' => {
                out.push(letter);
            }
            _ => out.extend(letter.escape_unicode()),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_that_is_drawn_is_in_both_fonts() {
        let faces = Faces::new().unwrap();
        let drawn = ('\0'..='\u{ffff}').filter(|letter| drawable(&letter.to_string()).starts_with(*letter));
        for letter in drawn.filter(|letter| *letter != '\\') {
            for face in [&faces.regular, &faces.bold] {
                assert!(face.glyphs.map(letter).is_some_and(|glyph| glyph.to_u32() > 0), "{}", letter.escape_unicode());
            }
        }
        assert_eq!(faces.regular.fitting("abc", 10.0, 100.0), "abc");
        let narrow = faces.regular.fitting(&"W".repeat(1_000), 10.0, 100.0);
        assert!(narrow.ends_with("W…") && faces.regular.width(&narrow, 10.0) <= 100.0, "{narrow}");
        assert_eq!(drawable("é 漢\u{202e}"), "é \\u{6f22}\\u{202e}");
    }
}
