//! Paint: what was laid, as a file of PDF/A-1a with its structure.

use anyhow::{Context as _, Result, anyhow};
use krilla::color::rgb;
use krilla::configure::{Archival, ConfigurationBuilder};
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::metadata::Metadata;
use krilla::page::PageSettings;
use krilla::paint::Fill;
use krilla::surface::Surface;
use krilla::tagging::{Artifact, ArtifactType, ContentTag, Identifier, Node as Tagged, SpanTag, TagGroup, TagTree};
use krilla::{Document, SerializeSettings};

use super::Ink;
use super::face::Faces;
use super::flow::{Laid, Mark, Node, SHEET};

/// # Errors
/// It would not be PDF/A.
pub fn paint(faces: &Faces, laid: Laid, metadata: Metadata) -> Result<Vec<u8>> {
    let configuration = ConfigurationBuilder::new()
        .with_archival_validator(Archival::A1_A)
        .finish()
        .map_err(|error| anyhow!("{error:?}"))?;
    let mut document = Document::new_with(SerializeSettings { configuration, ..SerializeSettings::default() });
    document.set_metadata(metadata);
    let mut placed: Vec<Option<Identifier>> = vec![None; laid.pieces.len()];
    let mut sheets: Vec<Vec<usize>> = vec![Vec::new(); laid.sheets];
    for (number, piece) in laid.pieces.iter().enumerate() {
        sheets.get_mut(piece.sheet).context("a piece of no sheet")?.push(number);
    }
    for pieces in &sheets {
        let settings = PageSettings::from_wh(SHEET.0, SHEET.1).context("no such sheet")?;
        let mut page = document.start_page_with(settings);
        let mut surface = page.surface();
        for number in pieces {
            let (Some(piece), Some(placed)) = (laid.pieces.get(*number), placed.get_mut(*number)) else { continue };
            let tag = match piece.is_content {
                true => ContentTag::Span(SpanTag::empty()),
                false => ContentTag::Artifact(Artifact::with_kind(ArtifactType::Other)),
            };
            *placed = Some(surface.start_tagged(tag));
            piece.marks.iter().for_each(|mark| put(&mut surface, faces, mark));
            surface.end_tagged();
        }
        surface.finish();
        page.finish();
    }
    let mut tree = TagTree::new().with_lang(Some("en".to_owned()));
    laid.structure.into_iter().filter_map(|node| tagged(node, &placed)).for_each(|node| tree.push(node));
    document.set_tag_tree(tree);
    document.finish().map_err(|error| anyhow!("the summary cannot be written as PDF/A: {error:?}"))
}

fn tagged(node: Node, placed: &[Option<Identifier>]) -> Option<Tagged> {
    match node {
        Node::Piece(piece) => placed.get(piece).copied().flatten().map(Tagged::from),
        Node::Group(kind, children) => {
            let children = children.into_iter().filter_map(|child| tagged(child, placed)).collect();
            Some(TagGroup::with_children(kind, children).into())
        }
    }
}

fn put(surface: &mut Surface<'_>, faces: &Faces, mark: &Mark) {
    let fill = |ink: Ink| Some(Fill { paint: rgb::Color::new(ink.0, ink.1, ink.2).into(), ..Fill::default() });
    match mark {
        Mark::Text { x, y, size, is_bold, ink, text } => {
            let face = faces.of(*is_bold);
            surface.set_fill(fill(*ink));
            let (start, glyphs) = (Point::from_xy(*x, *y), face.glyphs(text));
            surface.draw_glyphs(start, &glyphs, face.font.clone(), text, *size, false);
        }
        Mark::Block { x, y, width, height, ink } => {
            surface.set_fill(fill(*ink));
            let mut path = PathBuilder::new();
            if let Some(rect) = Rect::from_xywh(*x, *y, *width, *height) {
                path.push_rect(rect);
            }
            if let Some(path) = path.finish() {
                surface.draw_path(&path);
            }
        }
    }
}
