//! An expression from its text: one look ahead, with a limit to its length and depth.

use wharfinger_formats::{Field, Time};

use super::{Expression, Literal, Operand, Test};

const TEXT_BYTES_MAX: usize = 16 * 1024;
const DEPTH_MAX: u32 = 64;

/// The text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {at} of the filter")]
pub struct FilterError {
    pub at: usize,
    pub expected: String,
}

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Result<Expression, FilterError> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    if text.len() > TEXT_BYTES_MAX {
        return parser.refuse("at most 16 KiB");
    }
    let expression = parser.any()?;
    match parser.rest().is_empty() {
        true => Ok(expression),
        false => parser.refuse("the end"),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: u32,
}

type Read<T> = Result<T, FilterError>;

const TESTS: &[(&str, Test)] = &[
    ("==", Test::Equal),
    ("!=", Test::Unequal),
    ("<=", Test::LessOrEqual),
    (">=", Test::GreaterOrEqual),
    ("<", Test::Less),
    (">", Test::Greater),
];

const METHODS: &[(&str, Test)] =
    &[("startsWith", Test::StartsWith), ("endsWith", Test::EndsWith), ("contains", Test::Contains)];

impl<'t> Parser<'t> {
    /// `a || b`.
    fn any(&mut self) -> Read<Expression> {
        let mut parts = vec![self.every()?];
        while self.take("||") {
            parts.push(self.every()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) })
    }

    /// `a && b`.
    fn every(&mut self) -> Read<Expression> {
        let mut parts = vec![self.one()?];
        while self.take("&&") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
    }

    fn one(&mut self) -> Read<Expression> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.refuse("less depth");
        }
        let one = match self.rest().as_bytes() {
            [b'!', ..] => {
                self.at += 1;
                Expression::Not(Box::new(self.one()?))
            }
            [b'(', ..] => {
                self.at += 1;
                let inside = self.any()?;
                self.expect(")")?;
                inside
            }
            [b'"' | b'\'' | b'-' | b'0'..=b'9', ..] => self.turned()?,
            _ => self.statement()?,
        };
        self.depth -= 1;
        Ok(one)
    }

    /// `5 < severity`.
    fn turned(&mut self) -> Read<Expression> {
        let literal = self.literal()?;
        if matches!(literal, Literal::Text(_)) && self.take_word("in") {
            return Ok(Expression::Is(self.name()?.0, Test::IsElement, literal));
        }
        let Some(test) = self.test() else { return self.refuse("a comparison") };
        let test = match test {
            Test::Less => Test::Greater,
            Test::LessOrEqual => Test::GreaterOrEqual,
            Test::Greater => Test::Less,
            Test::GreaterOrEqual => Test::LessOrEqual,
            same => same,
        };
        Ok(Expression::Is(self.name()?.0, test, literal))
    }

    /// What begins with a word.
    fn statement(&mut self) -> Read<Expression> {
        for (word, truth) in [("true", true), ("false", false)] {
            if self.take_word(word) {
                return Ok(Expression::Always(truth));
            }
        }
        if self.take_word("has") {
            self.expect("(")?;
            let (operand, _) = self.name()?;
            self.expect(")")?;
            return Ok(Expression::Has(operand));
        }
        let (operand, method) = self.name()?;
        if let Some(method) = method {
            self.expect("(")?;
            let at = self.at;
            let Literal::Text(text) = self.literal()? else {
                self.at = at;
                return self.refuse("a text in quotes");
            };
            self.expect(")")?;
            return Ok(Expression::Is(operand, method, Literal::Text(text)));
        }
        if self.take_word("in") {
            return Ok(Expression::In(operand, self.list()?));
        }
        match self.test() {
            Some(test) => Ok(Expression::Is(operand, test, self.literal()?)),
            None => Ok(Expression::Is(operand, Test::Equal, Literal::Bool(true))),
        }
    }

    fn list(&mut self) -> Read<Vec<Literal>> {
        self.expect("[")?;
        let mut literals = Vec::new();
        while !self.take("]") {
            if !literals.is_empty() {
                self.expect(",")?;
            }
            literals.push(self.literal()?);
        }
        Ok(literals)
    }

    /// A field, and the method that is called on it.
    fn name(&mut self) -> Read<(Operand, Option<Test>)> {
        let rest = self.rest();
        let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
        let len = rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len());
        let word = rest.get(..len).unwrap_or_default();
        if word == "fields" && rest[len..].starts_with('[') {
            self.at += len + 1;
            let at = self.at;
            let Literal::Text(name) = self.literal()? else {
                self.at = at;
                return self.refuse("a name in quotes");
            };
            self.expect("]")?;
            let method = match self.text[self.at..].starts_with('.') {
                true => {
                    self.at += 1;
                    Some(self.method()?)
                }
                false => None,
            };
            return Ok((Operand::Extra(name), method));
        }
        if let Some(field) = Field::from_name(word) {
            self.at += len;
            return Ok((Operand::Field(field), None));
        }
        if let Some((field, name)) = word.rsplit_once('.')
            && let Some(field) = Field::from_name(field)
            && let Some((_, method)) = METHODS.iter().find(|(known, _)| *known == name)
        {
            self.at += len;
            return Ok((Operand::Field(field), Some(*method)));
        }
        self.refuse("the name of a field, or `fields[\"group.name\"]` for what has none,")
    }

    fn method(&mut self) -> Read<Test> {
        for (name, method) in METHODS {
            if self.take_word(name) {
                return Ok(*method);
            }
        }
        self.refuse("`startsWith`, `endsWith` or `contains`")
    }

    fn test(&mut self) -> Option<Test> {
        TESTS.iter().find(|(sign, _)| self.take(sign)).map(|(_, test)| *test)
    }

    fn literal(&mut self) -> Read<Literal> {
        let rest = self.rest();
        if rest.starts_with(['"', '\'']) {
            return self.quoted().map(Literal::Text);
        }
        for (word, truth) in [("true", true), ("false", false)] {
            if self.take_word(word) {
                return Ok(Literal::Bool(truth));
            }
        }
        if self.take_word("timestamp") {
            self.expect("(")?;
            self.rest();
            let at = self.at;
            let text = self.quoted()?;
            let Some((time, _)) = Time::parse_rfc3339(text.as_bytes()).filter(|(_, used)| *used == text.len()) else {
                self.at = at;
                return self.refuse("a time such as \"2026-11-21T09:00:00Z\"");
            };
            self.expect(")")?;
            return Ok(Literal::Time(time));
        }
        let len = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '-').unwrap_or(rest.len());
        match rest[..len].parse() {
            Ok(number) => {
                self.at += len;
                Ok(Literal::Int(number))
            }
            Err(_) => self.refuse("a text in quotes, a whole number, `true`, `false` or `timestamp(\"…\")`"),
        }
    }

    /// A text in quotes, with the escapes `\\`, `\"`, `\'`, `\n`, `\r`, `\t` and `\uXXXX`.
    fn quoted(&mut self) -> Read<String> {
        let begin = self.at;
        let mut letters = self.text[begin..].char_indices();
        let Some((_, quote @ ('"' | '\''))) = letters.next() else { return self.refuse("a text in quotes") };
        let mut text = String::new();
        while let Some((at, letter)) = letters.next() {
            match letter {
                _ if letter == quote => {
                    self.at = begin + at + 1;
                    return Ok(text);
                }
                '\\' => {
                    let escaped = match letters.next() {
                        Some((_, same @ ('\\' | '"' | '\''))) => Some(same),
                        Some((_, 'n')) => Some('\n'),
                        Some((_, 'r')) => Some('\r'),
                        Some((_, 't')) => Some('\t'),
                        Some((_, 'u')) => {
                            let digits: String = letters.by_ref().take(4).map(|(_, digit)| digit).collect();
                            u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
                        }
                        _ => None,
                    };
                    let Some(escaped) = escaped else {
                        self.at = begin + at;
                        return self.refuse("an escape");
                    };
                    text.push(escaped);
                }
                _ => text.push(letter),
            }
        }
        self.refuse("a text with its closing quote")
    }

    /// What is left behind white space.
    fn rest(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_of_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
        let behind = self.rest().strip_prefix(word);
        let found = behind.is_some_and(|behind| !behind.starts_with(is_of_word));
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn expect(&mut self, sign: &str) -> Read<()> {
        match self.take(sign) {
            true => Ok(()),
            false => self.refuse(&format!("`{sign}`")),
        }
    }

    fn refuse<T>(&mut self, expected: &str) -> Read<T> {
        self.rest();
        Err(FilterError { at: self.at, expected: expected.to_owned() })
    }
}
