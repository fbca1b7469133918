//! The part of XML that `ossec.conf` is written in: elements, attributes, text, comments.
//!
//! Invariant: bounded depth, and every element knows its line. There may be several roots, as Wazuh allows.

use std::fmt;

/// Deeper is no configuration.
const DEPTH_MAX: usize = 32;

/// One element.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    /// Where it begins, from 1.
    pub(super) line: usize,
    attributes: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
    /// All text in it, without spaces around.
    pub(super) text: String,
}

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct XmlError {
    pub(super) line: usize,
    expected: String,
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: expected {}", self.line, self.expected)
    }
}

impl std::error::Error for XmlError {}

impl Element {
    /// The text of the first child of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().map(|child| child.text.as_str())
    }

    /// Whether that child says `yes`.
    pub(super) fn says_yes(&self, name: &str) -> bool {
        self.get(name) == Some("yes")
    }

    pub(super) fn all<'e>(&'e self, name: &str) -> impl Iterator<Item = &'e Element> {
        let name = name.to_owned();
        self.children.iter().filter(move |child| child.name == name)
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a whole file: an element without a name that holds the roots.
///
/// # Errors
/// It is no XML.
pub(super) fn parse(text: &str) -> Result<Element, XmlError> {
    let mut reader = Reader { rest: text, line: 1 };
    let mut open = vec![Element::default()];
    loop {
        let before = reader.until('<');
        let innermost = open.len() - 1;
        open[innermost].text.push_str(&unescaped(before));
        if reader.rest.is_empty() {
            break;
        }
        let line = reader.line;
        if reader.skip("<!--") {
            reader.behind("-->")?;
        } else if reader.skip("<![CDATA[") {
            let data = reader.behind("]]>")?;
            open[innermost].text.push_str(data);
        } else if reader.skip("<?") {
            reader.behind("?>")?;
        } else if reader.skip("<!") {
            reader.behind(">")?;
        } else if reader.skip("</") {
            let name = reader.behind(">")?.trim();
            let closed = open.pop().filter(|element| element.name == name && !open.is_empty());
            let Some(mut closed) = closed else { return Err(XmlError { line, expected: format!("no `</{name}>`") }) };
            closed.text = closed.text.trim().to_owned();
            let innermost = open.len() - 1;
            open[innermost].children.push(closed);
        } else {
            reader.skip("<");
            let tag = reader.behind(">")?;
            let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let element = element(tag, line)?;
            match is_empty {
                true => open[innermost].children.push(element),
                false if open.len() > DEPTH_MAX => {
                    return Err(XmlError { line, expected: format!("at most {DEPTH_MAX} elements in each other") });
                }
                false => open.push(element),
            }
        }
    }
    match open.pop() {
        Some(whole) if open.is_empty() => Ok(whole),
        unclosed => {
            let name = unclosed.map_or_else(String::new, |element| element.name);
            Err(XmlError { line: reader.line, expected: format!("`</{name}>`") })
        }
    }
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Reader<'t> {
    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn until(&mut self, end: char) -> &'t str {
        self.take(self.rest.find(end).unwrap_or(self.rest.len()))
    }

    fn skip(&mut self, text: &str) -> bool {
        let is_there = self.rest.starts_with(text);
        if is_there {
            self.take(text.len());
        }
        is_there
    }

    /// Everything up to `end`, which is passed over.
    fn behind(&mut self, end: &str) -> Result<&'t str, XmlError> {
        let line = self.line;
        let at = self.rest.find(end).ok_or_else(|| XmlError { line, expected: format!("`{end}`") })?;
        let taken = self.take(at);
        self.take(end.len());
        Ok(taken)
    }
}

/// Name and attributes between `<` and `>`.
fn element(tag: &str, line: usize) -> Result<Element, XmlError> {
    let wrong = |expected: &str| XmlError { line, expected: expected.to_owned() };
    let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let is_name = |name: &str| {
        !name.is_empty()
            && name.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':'))
    };
    if !is_name(name) {
        return Err(wrong("the name of an element behind `<`"));
    }
    let mut attributes = Vec::new();
    while !rest.trim().is_empty() {
        let (name, behind) = rest.split_once('=').ok_or_else(|| wrong("`=` behind the name of an attribute"))?;
        let behind = behind.trim_start();
        let quote = behind.chars().next().filter(|quote| matches!(quote, '"' | '\''));
        let quote = quote.ok_or_else(|| wrong("a value in quotes"))?;
        let (value, after) = behind[1..].split_once(quote).ok_or_else(|| wrong("the quote at the end of a value"))?;
        attributes.push((name.trim().to_owned(), unescaped(value)));
        rest = after;
    }
    Ok(Element { name: name.to_owned(), line, attributes, ..Element::default() })
}

fn unescaped(text: &str) -> String {
    let names = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    names.iter().fold(text.to_owned(), |text, (name, letter)| text.replace(name, letter))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn elements_attributes_and_several_roots() {
        let text = "<!-- a <b> -->\n<a x='1' y=\"&lt;\">\n one <b/>two\n <c> &amp;<![CDATA[<&]]></c>\n</a>\n<a>3</a>\n";
        let whole = parse(text).unwrap();
        let [first, second] = &whole.children[..] else { panic!("{whole:?}") };
        assert_eq!((first.line, first.attribute("x"), first.attribute("y")), (2, Some("1"), Some("<")));
        assert_eq!((first.text.as_str(), first.children.len()), ("one two", 2));
        assert_eq!((first.get("c"), first.children[1].line), (Some("&<&"), 4));
        assert_eq!((second.text.as_str(), second.line), ("3", 6));
    }

    #[test]
    fn what_is_none_says_where() {
        for (text, expected) in [
            ("<a>\n<b>\n</a>", "line 3: expected no `</a>`"),
            ("<a>\n", "line 2: expected `</a>`"),
            ("<a", "line 1: expected `>`"),
            ("</a>", "line 1: expected no `</a>`"),
            ("< a></a>", "line 1: expected the name of an element behind `<`"),
            ("<a b></a>", "line 1: expected `=` behind the name of an attribute"),
            ("<a b=c></a>", "line 1: expected a value in quotes"),
            ("\n<!-- ", "line 2: expected `-->`"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
        }
        assert!(parse(&"<a>".repeat(100_000)).is_err());
        assert_eq!(parse("").unwrap(), Element::default());
    }
}
