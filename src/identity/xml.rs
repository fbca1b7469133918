//! XML as a small tree: what vCenter answers and what `virsh` prints.
//!
//! Invariants: depth and number of elements are bounded; a document type, which could declare entities, is refused.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// Elements in elements: a domain of libvirt has about ten.
const DEPTH_MAX: usize = 64;
/// A page of 500 machines has about 50,000.
const ELEMENTS_MAX: usize = 1_000_000;

/// An element, without the prefix of its name.
#[derive(Debug, Default)]
pub(super) struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
    text: String,
}

impl Element {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// All children of that name.
    pub(super) fn all<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The same, to keep.
    pub(super) fn into_all(self, name: &str) -> impl Iterator<Item = Element> + use<> {
        let name = name.to_owned();
        self.children.into_iter().filter(move |child| child.name == name)
    }

    /// The first one at the end of that way.
    pub(super) fn at(&self, way: &[&str]) -> Option<&Element> {
        let Some((first, rest)) = way.split_first() else { return Some(self) };
        self.children.iter().find(|child| child.name == *first)?.at(rest)
    }

    /// Its text; nothing, where there is no such element.
    pub(super) fn text_at(&self, way: &[&str]) -> &str {
        self.at(way).map_or("", Element::text)
    }

    pub(super) fn text(&self) -> &str {
        self.text.trim()
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The elements at the top, in order, and the text behind each.
pub(super) fn read(text: &str) -> Result<Vec<(Element, String)>, String> {
    let mut reader = Reader::from_str(text);
    let (mut open, mut done): (Vec<Element>, Vec<(Element, String)>) = (Vec::new(), Vec::new());
    let mut count = 0_usize;
    loop {
        let words = match reader.read_event().map_err(|error| format!("it is no XML: {error}"))? {
            Event::Start(start) if open.len() < DEPTH_MAX => {
                open.push(begun(&start, &mut count)?);
                continue;
            }
            Event::Start(_) => return Err("its elements stand too deep in each other".to_owned()),
            Event::Empty(start) => {
                close(begun(&start, &mut count)?, &mut open, &mut done);
                continue;
            }
            Event::End(_) => {
                if let Some(element) = open.pop() {
                    close(element, &mut open, &mut done);
                }
                continue;
            }
            Event::Text(words) => words.xml10_content().into_owned(),
            Event::CData(words) => words.xml10_content().into_owned(),
            Event::GeneralRef(reference) => resolved(&reference)?,
            Event::DocType(_) => return Err("it declares a document type".to_owned()),
            Event::Eof if open.is_empty() => return Ok(done),
            Event::Eof => return Err("it is cut off".to_owned()),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => continue,
        };
        match (open.last_mut(), done.last_mut()) {
            (Some(element), _) => element.text.push_str(&words),
            (None, Some((_, behind))) => behind.push_str(&words),
            (None, None) => {}
        }
    }
}

/// Elements and attributes count alike.
fn begun(start: &BytesStart<'_>, count: &mut usize) -> Result<Element, String> {
    let mut count_one = || {
        *count += 1;
        if *count > ELEMENTS_MAX {
            Err(format!("it has more than {ELEMENTS_MAX} elements and attributes"))
        } else {
            Ok(())
        }
    };
    count_one()?;
    let mut element = Element { name: start.local_name().as_ref().to_owned(), ..Element::default() };
    for attribute in start.attributes() {
        count_one()?;
        let attribute = attribute.map_err(|error| format!("it is no XML: {error}"))?;
        let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
        let value = value.map_err(|error| format!("it is no XML: {error}"))?.into_owned();
        element.attributes.push((attribute.key.local_name().as_ref().to_owned(), value));
    }
    Ok(element)
}

fn close(element: Element, open: &mut [Element], done: &mut Vec<(Element, String)>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => done.push((element, String::new())),
    }
}

/// The five that XML knows, and numbers.
fn resolved(reference: &BytesRef<'_>) -> Result<String, String> {
    let letter = reference.resolve_char_ref().map_err(|error| format!("it is no XML: {error}"))?;
    let known = quick_xml::escape::resolve_xml_entity(reference);
    letter
        .map(String::from)
        .or_else(|| known.map(str::to_owned))
        .ok_or_else(|| format!("`&{};` is not declared", &**reference))
}

/// Text that can stand in an element.
pub(super) fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn elements_attributes_and_text() {
        let read = read(
            "<?xml version='1.0'?><s:a x:type='b&amp;c'><b>1 &lt; 2 &#x41;</b><b/><b><![CDATA[<c>]]></b></s:a>\n x <d/>",
        );
        let read = read.unwrap();
        let (a, behind) = &read[0];
        assert!(a.is("a") && read[1].0.is("d"));
        assert_eq!((a.attribute("type"), behind.trim()), (Some("b&c"), "x"));
        assert_eq!(a.all("b").map(Element::text).collect::<Vec<_>>(), ["1 < 2 A", "", "<c>"]);
        assert_eq!((a.text_at(&["b"]), a.text_at(&["b", "c"])), ("1 < 2 A", ""));
        assert_eq!(escaped("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&apos;");
    }

    #[test]
    fn what_is_hostile_is_refused() {
        for text in [
            "<a>",
            "<a></b>",
            "<a b=1/>",
            "<a>&undeclared;</a>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
            &"<a>".repeat(DEPTH_MAX + 1),
            &format!("<b>{}</b>", "<a/>".repeat(ELEMENTS_MAX)),
        ] {
            assert!(read(text).is_err(), "{}", &text[..text.len().min(100)]);
        }
    }
}
