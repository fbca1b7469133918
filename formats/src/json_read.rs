//! A JSON scanner that borrows: the pieces from which the parsers of JSON formats read one object.
//!
//! It stands between the bytes of a line and the fields of an event. It goes over the input once,
//! never copies a string without escapes, and gives what a parser does not ask for as its own text,
//! checked but unread. RFC 8259 is kept to the letter; `serde_json` is the judge in the tests.
//!
//! Invariant: at most [`DEPTH_MAX`] levels and [`KEYS_MAX`] keys are read, without recursion, so
//! that no line costs more than its length.

mod strings;

use std::borrow::Cow;

pub(crate) use self::strings::Quoted;

use crate::event::{Cell, Span};
use crate::{Event, ParseError, Value};

/// A value as it was read: a string that held escapes has a text of its own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum JsonValue<'a> {
    Str(Cow<'a, str>),
    Int(i64),
    Bool(bool),
    /// Everything else, as it stands.
    Json(&'a str),
}

impl<'v> From<&'v JsonValue<'_>> for Value<'v> {
    fn from(value: &'v JsonValue<'_>) -> Self {
        match value {
            JsonValue::Str(text) => Value::Str(text),
            JsonValue::Int(number) => Value::Int(*number),
            JsonValue::Bool(truth) => Value::Bool(*truth),
            JsonValue::Json(text) => Value::Json(text),
        }
    }
}

/// Levels of objects and arrays in one event.
pub(crate) const DEPTH_MAX: u32 = 64;
/// Keys of all objects in one event.
pub(crate) const KEYS_MAX: u32 = 2_000;

/// Bytes of a line that are looked at to tell its format.
const SNIFF_BYTES: usize = 2_048;

/// Where in the text the scanner stands.
#[derive(Debug)]
pub(crate) struct JsonReader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    keys: u32,
    depth_max: u32,
    keys_max: u32,
    /// Something RFC 8259 allows and common readers refuse was passed: half a surrogate pair, or a
    /// number no double can hold.
    unportable: bool,
}

type Read<T> = Result<T, ParseError>;

impl<'a> JsonReader<'a> {
    /// A reader at the start of `input`, which must be UTF-8.
    pub(crate) fn new(input: &'a [u8]) -> Read<Self> {
        match simdutf8::basic::from_utf8(input) {
            Ok(text) => Ok(Self::over(text)),
            Err(_) => {
                let at = std::str::from_utf8(input).err().map_or(0, |error| error.valid_up_to());
                Err(ParseError::new(at, "UTF-8"))
            }
        }
    }

    /// A reader at the start of a text.
    pub(crate) fn over(text: &'a str) -> Self {
        JsonReader { text, at: 0, depth: 0, keys: 0, depth_max: DEPTH_MAX, keys_max: KEYS_MAX, unportable: false }
    }

    /// The same for a line of our own, which is larger than what was read into it.
    pub(crate) fn with_limits(self, depth_max: u32, keys_max: u32) -> Self {
        JsonReader { depth_max, keys_max, ..self }
    }

    /// Whether something was passed that strict readers of JSON refuse.
    pub(crate) fn is_unportable(&self) -> bool {
        self.unportable
    }

    /// Reads an object: `member` is called at each value, with its key, and must read that value.
    pub(crate) fn object(&mut self, mut member: impl FnMut(&mut Self, Quoted<'a>) -> Read<()>) -> Read<()> {
        self.expect(b'{', "`{`")?;
        self.enter()?;
        if self.peek() == Some(b'}') {
            self.step();
        } else {
            loop {
                let key = self.key()?;
                member(self, key)?;
                match self.peek() {
                    Some(b',') => self.step(),
                    Some(b'}') => break self.step(),
                    _ => return Err(self.refuse("`,` or `}`")),
                }
            }
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    /// Reads an array: `element` is called at each value and must read it.
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.expect(b'[', "`[`")?;
        self.enter()?;
        if self.peek() == Some(b']') {
            self.step();
        } else {
            loop {
                element(self)?;
                match self.peek() {
                    Some(b',') => self.step(),
                    Some(b']') => break self.step(),
                    _ => return Err(self.refuse("`,` or `]`")),
                }
            }
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Read<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.refuse("the end")),
        }
    }

    /// Whether an object starts here.
    pub(crate) fn at_object(&mut self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Bytes that were read.
    pub(crate) fn used(&self) -> usize {
        self.at
    }

    /// What follows what was read.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.peek();
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Reads a string if one starts here.
    pub(crate) fn try_string(&mut self) -> Read<Option<Quoted<'a>>> {
        if self.peek() == Some(b'"') { self.string().map(Some) } else { Ok(None) }
    }

    /// Reads a string into an event if one starts here.
    #[inline]
    pub(crate) fn try_kept(&mut self, event: &mut Event<'_>) -> Read<Option<Span>> {
        if self.peek() == Some(b'"') { self.kept(event).map(Some) } else { Ok(None) }
    }

    /// Reads any value: strings, whole numbers and truth values as such, the rest as its own text.
    pub(crate) fn value(&mut self) -> Read<JsonValue<'a>> {
        match self.peek() {
            Some(b'"') => Ok(JsonValue::Str(self.string()?.text())),
            Some(b't') => self.word("true").map(|_| JsonValue::Bool(true)),
            Some(b'f') => self.word("false").map(|_| JsonValue::Bool(false)),
            Some(b'-' | b'0'..=b'9') => self.number().map(number_value),
            _ => Ok(JsonValue::Json(self.skip()?)),
        }
    }

    /// The same as a value of an event.
    #[inline]
    pub(crate) fn cell(&mut self, event: &mut Event<'_>) -> Read<Cell> {
        match self.peek() {
            Some(b'"') => self.kept(event).map(Cell::Str),
            _ => Ok(match self.value()? {
                JsonValue::Str(text) => Cell::Str(event.span(&text)),
                JsonValue::Int(number) => Cell::Int(number),
                JsonValue::Bool(truth) => Cell::Bool(truth),
                JsonValue::Json(text) => Cell::Json(event.span(text)),
            }),
        }
    }

    /// Passes over any value and answers its text.
    pub(crate) fn skip(&mut self) -> Read<&'a str> {
        self.peek();
        let from = self.at;
        // One bit for each open level, the innermost lowest: 1 is an object, 0 an array.
        let mut objects = 0_u128;
        let outside = self.depth;
        loop {
            match self.peek() {
                Some(b'{') => {
                    self.step();
                    if self.peek() != Some(b'}') {
                        self.enter()?;
                        objects = objects.wrapping_shl(1) | 1;
                        self.key()?;
                        continue;
                    }
                    self.step();
                }
                Some(b'[') => {
                    self.step();
                    if self.peek() != Some(b']') {
                        self.enter()?;
                        objects = objects.wrapping_shl(1);
                        continue;
                    }
                    self.step();
                }
                _ => self.scalar()?,
            }
            // A value has ended, and with it perhaps the levels around it.
            loop {
                if self.depth == outside {
                    return Ok(self.since(from));
                }
                match (self.peek(), objects & 1) {
                    (Some(b','), in_object) => {
                        self.step();
                        if in_object == 1 {
                            self.key()?;
                        }
                        break;
                    }
                    (Some(b'}'), 1) | (Some(b']'), 0) => {
                        self.step();
                        self.depth = self.depth.saturating_sub(1);
                        objects = objects.wrapping_shr(1);
                    }
                    (_, 1) => return Err(self.refuse("`,` or `}`")),
                    _ => return Err(self.refuse("`,` or `]`")),
                }
            }
        }
    }

    fn scalar(&mut self) -> Read<()> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ => Err(self.refuse("a JSON value")),
        }
    }

    fn key(&mut self) -> Read<Quoted<'a>> {
        if self.peek() != Some(b'"') {
            return Err(self.refuse("a key in quotes"));
        }
        self.keys = self.keys.saturating_add(1);
        if self.keys > self.keys_max {
            let of_input = self.keys_max == KEYS_MAX;
            return Err(self.refuse(if of_input { "at most 2,000 keys" } else { "fewer keys" }));
        }
        let key = self.string()?;
        self.expect(b':', "`:`")?;
        Ok(key)
    }

    fn word(&mut self, word: &'static str) -> Read<()> {
        if self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            self.at = self.at.saturating_add(word.len());
            return Ok(());
        }
        Err(self.refuse("a JSON value"))
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    fn number(&mut self) -> Read<&'a str> {
        let from = self.at;
        if self.byte() == Some(b'-') {
            self.step();
        }
        if self.byte() == Some(b'0') {
            self.step();
        } else {
            self.digits()?;
        }
        let mut plain = true;
        if self.byte() == Some(b'.') {
            self.step();
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            plain = false;
            self.step();
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.step();
            }
            self.digits()?;
        }
        let number = self.since(from);
        // 300 digits without an exponent stay below the largest double, 1.8e308.
        let holds = plain && number.len() <= 300;
        if !holds && !number.parse::<f64>().is_ok_and(f64::is_finite) {
            self.unportable = true;
        }
        Ok(number)
    }

    fn digits(&mut self) -> Read<()> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        if len == 0 {
            return Err(self.refuse("a digit"));
        }
        self.at = self.at.saturating_add(len);
        Ok(())
    }

    fn enter(&mut self) -> Read<()> {
        if self.depth >= self.depth_max {
            let of_input = self.depth_max == DEPTH_MAX;
            return Err(self.refuse(if of_input { "at most 64 levels of JSON" } else { "fewer levels of JSON" }));
        }
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    /// The next byte that is not white space, not yet taken.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.step(),
                other => return other,
            }
        }
    }

    fn expect(&mut self, wanted: u8, name: &'static str) -> Read<()> {
        if self.peek() != Some(wanted) {
            return Err(self.refuse(name));
        }
        self.step();
        Ok(())
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    pub(crate) fn since(&self, from: usize) -> &'a str {
        self.text.get(from..self.at).unwrap_or_default()
    }

    /// The error that something else should stand here.
    #[cold]
    pub(crate) fn refuse(&self, expected: &'static str) -> ParseError {
        ParseError::new(self.at, expected)
    }
}

/// Shows `look` the keys of the object `input` begins with, one after the other, until it has an
/// answer or [`SNIFF_BYTES`] are read.
pub(crate) fn sniff(input: &[u8], mut look: impl FnMut(&str) -> Option<u8>) -> u8 {
    if input.trim_ascii_start().first() != Some(&b'{') {
        return 0;
    }
    let input = input.get(..SNIFF_BYTES).unwrap_or(input);
    let text = match simdutf8::compat::from_utf8(input) {
        Ok(text) => text,
        Err(error) => input.get(..error.valid_up_to()).and_then(|valid| str::from_utf8(valid).ok()).unwrap_or_default(),
    };
    let mut score = None;
    // The answer ends the reading, and so does the end of the piece: neither is an error here.
    let _ = JsonReader::over(text).object(|reader, key| {
        score = look(key.body);
        if score.is_some() {
            return Err(reader.refuse("no further key"));
        }
        reader.skip().map(drop)
    });
    score.unwrap_or(0)
}

/// Numbers that fit are numbers; all others, and minus zero, stay as written.
fn number_value(number: &str) -> JsonValue<'_> {
    match number.parse() {
        Ok(whole) if number != "-0" => JsonValue::Int(whole),
        _ => JsonValue::Json(number),
    }
}

#[cfg(test)]
mod tests;
