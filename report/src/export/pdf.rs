//! PDF: the summary's page once more, as tagged PDF/A-1a (ISO 19005-1) on A4, for the auditor's file.
//!
//! Way: `summary.html` → blocks → lines on pages ([`flow`]) → the file ([`paint`]). The page is the one text there is;
//! what a style sheet would do for a browser is done here for the few elements that our page has.
//!
//! Invariant: the same page makes the same bytes, and what is in the page is in the PDF, but for what a browser shows
//! only to who points at a rectangle (`title`): the tables have that.

mod chart;
mod face;
mod flow;
mod lines;
mod paint;
mod table;

use anyhow::{Context as _, Result};
use krilla::metadata::{DateTime, Metadata};
use roxmltree::Document;

use face::Faces;
use flow::Flow;

/// A colour: red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ink(pub u8, pub u8, pub u8);

/// A page as PDF. `made` is the date that it says, in microseconds since 1970.
///
/// # Errors
/// The page is not well formed, or what was made of it is not PDF/A.
pub fn of_page(page: &str, tool: &str, made: i64) -> Result<Vec<u8>> {
    let page = page.get(page.find("<html").unwrap_or(0)..).unwrap_or_default();
    let document = Document::parse(page).context("the page of the summary is not well formed")?;
    let text_of = |name: &str| {
        let found = document.descendants().find(|node| node.has_tag_name(name));
        found.and_then(|node| node.text()).with_context(|| format!("the page of the summary has no `{name}`"))
    };
    let (title, style) = (text_of("title")?, text_of("style")?);
    let body = document.descendants().find(|node| node.has_tag_name("body"));
    let faces = Faces::new()?;
    let mut flow = Flow::new(&faces, Inks(style));
    flow.blocks(body.context("the page of the summary has no `body`")?)?;
    let metadata = Metadata::new()
        .title(face::drawable(title))
        .language("en".to_owned())
        .creator(tool.to_owned())
        .creation_date(date(made));
    paint::paint(&faces, flow.finish(title), metadata)
}

/// The style sheet of the page, of which the colours are taken.
#[derive(Debug, Clone, Copy)]
pub struct Inks<'p>(&'p str);

impl Inks<'_> {
    /// The first colour behind these words, as `#rrggbb`: `--warn:`, `.C1 {`. Black where they do not stand there.
    fn of(self, words: &str) -> Ink {
        let behind = self.0.split_once(words).map(|(_, behind)| behind);
        let digits = behind.and_then(|behind| behind.split_once('#')).and_then(|(_, digits)| digits.get(..6));
        let part = |at: usize| {
            digits
                .and_then(|digits| digits.get(at..at + 2))
                .and_then(|two| u8::from_str_radix(two, 16).ok())
                .unwrap_or(0)
        };
        Ink(part(0), part(2), part(4))
    }

    /// What the rectangles of a class are filled with.
    fn of_class(self, class: &str) -> Ink {
        self.of(&format!(".{class} {{"))
    }
}

fn date(micros: i64) -> DateTime {
    let text = super::facts::rfc3339(micros);
    let number = |range: std::ops::Range<usize>| text.get(range).and_then(|digits| digits.parse::<u16>().ok());
    let part = |range| number(range).and_then(|number| u8::try_from(number).ok()).unwrap_or(0);
    DateTime::new(number(0..4).unwrap_or(1970))
        .month(part(5..7))
        .day(part(8..10))
        .hour(part(11..13))
        .minute(part(14..16))
        .second(part(17..19))
        .utc_offset_hour(0)
        .utc_offset_minute(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STYLE: &str = ":root { --ink: #1b2733; --warn: #a15c00; } .X { fill: #dd3333; }";

    #[test]
    fn colours_of_a_style_sheet() {
        let inks = Inks(STYLE);
        assert_eq!(inks.of("--warn:"), Ink(0xa1, 0x5c, 0));
        assert_eq!((inks.of_class("X"), inks.of_class("Y")), (Ink(0xdd, 0x33, 0x33), Ink(0, 0, 0)));
    }

    #[test]
    fn the_same_page_makes_the_same_file_whatever_it_holds() {
        let page =
            |body: &str| format!("<html><head><title>t</title><style>{STYLE}</style></head><body>{body}</body></html>");
        let long = "W".repeat(5_000);
        let rows = "<tr><td>\u{645}\u{202e}😀</td><td class=\"n\">1</td></tr>".repeat(400);
        let body = format!(
            "<h1>A</h1><p>{long} – é Ж</p><table><thead><tr><th>H</th><th class=\"n\">n</th></tr></thead><tbody>{rows}</tbody></table>"
        );
        let made = of_page(&page(&body), "wharfinger", 0).unwrap();
        assert!(made.starts_with(b"%PDF-1.4"));
        assert_eq!(made, of_page(&page(&body), "wharfinger", 0).unwrap());
        for wrong in [
            "<p>",
            "<p></p>text",
            "<video></video>",
            "<dl><dd>a</dd></dl>",
            "<dl><dt>a</dt><dt>b</dt></dl>",
            "a\u{fffe}",
        ] {
            assert!(of_page(&page(wrong), "wharfinger", 0).is_err(), "{wrong}");
        }
    }
}
