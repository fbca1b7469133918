//! YAML 1.2 and JSON into the tree.
//!
//! Invariant: the tree is no larger than the file and no deeper than [`DEPTH_MAX`]: aliases are
//! refused, so a few lines cannot grow into a billion.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::mistake::Mistake;
use super::node::{Entry, Node, Place, Text, Value};

/// Tables and lists in each other.
const DEPTH_MAX: usize = 32;

/// Reads one YAML document.
pub(super) fn read_yaml(text: &str) -> Result<Node, Mistake> {
    let mut reader = Reader { parser: Parser::new_from_str(text), text };
    loop {
        match reader.next()? {
            (Event::StreamStart | Event::Nothing, _) => {}
            (Event::StreamEnd, _) => return Ok(Node { place: Place { line: 1, column: 1 }, value: Value::Null }),
            (Event::DocumentStart(_), _) => break,
            (_, span) => return Err(unexpected(span)),
        }
    }
    let first = reader.next()?;
    let root = reader.node(first, 0)?;
    loop {
        match reader.next()? {
            (Event::DocumentEnd | Event::Nothing, _) => {}
            (Event::StreamEnd, _) => return Ok(root),
            (_, span) => {
                let hint = "keep one document in the file: take away what follows `---`";
                return Err(Mistake::new(place(span.start), "a second document begins here", hint));
            }
        }
    }
}

/// Reads one JSON value. JSON is YAML but for details that the strict reader looks at first.
pub(super) fn read_json(text: &str) -> Result<Node, Mistake> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let place = Place { line: error.line().max(1), column: error.column().max(1) };
        let cause = error.to_string();
        let cause = cause.split_once(" at line ").map_or(cause.as_str(), |(cause, _)| cause);
        let hint = "JSON has double quotes around names and strings, commas between entries and no comments";
        return Err(Mistake::new(place, format!("not JSON: {cause}"), hint));
    }
    read_yaml(text)
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    text: &'t str,
}

type Spanned<'t> = (Event<'t>, Span);

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Spanned<'t>, Mistake> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Err(Mistake::new(None, "the file ends too early", "close what was opened last")),
        }
    }

    fn node(&mut self, (event, span): Spanned<'t>, depth: usize) -> Result<Node, Mistake> {
        let place = place(span.start);
        if depth > DEPTH_MAX {
            let cause = format!("more than {DEPTH_MAX} tables and lists in each other");
            return Err(Mistake::new(place, cause, "no option is that deep: look for a missing bracket"));
        }
        match event {
            Event::Scalar(_, _, _, Some(tag))
            | Event::SequenceStart(_, Some(tag))
            | Event::MappingStart(_, Some(tag)) => {
                let hint = "leave the tag out; put a string in quotes";
                Err(Mistake::new(place, format!("the tag `{tag}` is not read here"), hint))
            }
            Event::Scalar(text, style, _, None) => Ok(Node { place, value: scalar(&text, style, place)? }),
            Event::SequenceStart(..) => self.list(place, depth),
            Event::MappingStart(..) => self.table(place, depth),
            Event::Alias(_) => {
                let hint = "write the value out: a file that repeats itself by reference can grow without limit";
                Err(Mistake::new(place, "aliases (`*name`) are not read here", hint))
            }
            _ => Err(unexpected(span)),
        }
    }

    fn list(&mut self, place: Place, depth: usize) -> Result<Node, Mistake> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Node { place, value: Value::List(nodes) }),
                next => nodes.push(self.node(next, depth + 1)?),
            }
        }
    }

    fn table(&mut self, start: Place, depth: usize) -> Result<Node, Mistake> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (name, place) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Node { place: start, value: Value::Table(entries) }),
                (Event::Scalar(name, ..), span) => (name.into_owned(), place(span.start)),
                (Event::Alias(_), span) => {
                    return Err(Mistake::new(place(span.start), "a name is expected, found an alias", "write it out"));
                }
                (_, span) => {
                    let hint = "put a value that begins with `{` or `[` in quotes";
                    return Err(Mistake::new(place(span.start), "a name is expected, found a table or a list", hint));
                }
            };
            if let Some(first) = entries.iter().find(|entry| entry.name == name) {
                let hint = format!("it stands already on line {}: keep one", first.place.line);
                return Err(Mistake::new(place, format!("`{name}` is written twice"), hint));
            }
            let next = self.next()?;
            let node = self.node(next, depth + 1)?;
            entries.push(Entry { name, place, node });
        }
    }

    fn syntax(&self, error: &ScanError) -> Mistake {
        let place = place(*error.marker());
        // The scanner may notice only on the line after the tab.
        let tab = |line: usize| {
            self.text.lines().nth(line).is_some_and(|text| text.trim_start_matches(' ').starts_with('\t'))
        };
        let tab_line = [place.line.saturating_sub(1), place.line.saturating_sub(2)].into_iter().find(|line| tab(*line));
        if let Some(line) = tab_line {
            let place = Place { line: line + 1, column: 1 };
            return Mistake::new(
                place,
                "the line is indented with a tab",
                "indent with spaces: YAML does not allow tabs",
            );
        }
        let hint = match error.info() {
            info if info.contains("mapping values are not allowed") => {
                "is the line above indented as it should be? A value that contains `: ` stands in quotes"
            }
            info if info.contains("quoted scalar") => "close the quotes",
            info if info.contains("flow") => "close the bracket",
            _ => "compare the indentation of this line with the one above; put special characters in quotes",
        };
        Mistake::new(place, format!("not YAML: {}", error.info()), hint)
    }
}

fn place(marker: Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1 }
}

fn unexpected(span: Span) -> Mistake {
    Mistake::new(place(span.start), "not YAML: nothing can stand here", "look at the line above")
}

/// YAML 1.2.2 §10.3.2, the core schema: what a word without quotes means.
fn scalar(text: &str, style: ScalarStyle, place: Place) -> Result<Value, Mistake> {
    let string = || Value::String(Text { text: text.to_owned(), replaced: false });
    if style != ScalarStyle::Plain {
        return Ok(string());
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match number(text) {
            Some(Ok(value)) => value,
            Some(Err(())) => {
                let hint = "put it in quotes if it is meant as a string";
                return Err(Mistake::new(place, format!("the number `{text}` is too large"), hint));
            }
            None => string(),
        },
    })
}

fn number(text: &str) -> Option<Result<Value, ()>> {
    let radix = |digits: &str, radix| {
        let all_digits = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
        all_digits.then(|| i64::from_str_radix(digits, radix).map(Value::Int).map_err(drop))
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map(Value::Int).map_err(drop));
    }
    // `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`; Rust also reads `inf` and `nan`.
    let starts_right = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let only = unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let float = (starts_right && only).then(|| text.parse::<f64>().ok()).flatten()?;
    Some(if float.is_finite() { Ok(Value::Float(float)) } else { Err(()) })
}
