//! What is wrong with a document: where, what, and what to do about it.

use std::fmt;
use std::path::Path;

use super::node::Place;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Absent when the mistake has no place: a file that cannot be read, a part that is missing.
    pub place: Option<Place>,
    /// What is wrong: "unknown option `lisen` in `sources.in`".
    pub cause: String,
    /// The next step; may be empty.
    pub hint: String,
}

impl Mistake {
    pub fn new(place: impl Into<Option<Place>>, cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Mistake { place: place.into(), cause: cause.into(), hint: hint.into() }
    }
}

/// Every mistake that was found in one file, in the order of the lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    file: String,
    list: Vec<Mistake>,
}

impl Mistakes {
    /// Mistakes in a file that users call `file`.
    pub fn new(file: &Path, mut list: Vec<Mistake>) -> Self {
        list.sort_by_key(|mistake| mistake.place);
        Mistakes { file: file.display().to_string(), list }
    }

    /// One by one.
    pub fn list(&self) -> &[Mistake] {
        &self.list
    }

    /// Each as users read it: `file:line:column: cause`, an empty line, `hint: …`.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(|mistake| {
            let place = mistake.place.map(|place| format!(":{}:{}", place.line, place.column)).unwrap_or_default();
            let hint = if mistake.hint.is_empty() { String::new() } else { format!("\n\nhint: {}", mistake.hint) };
            format!("{}{place}: {}{hint}", self.file, mistake.cause)
        })
    }
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().collect::<Vec<_>>().join("\n\n"))
    }
}

/// The known name that `name` was probably meant to be.
pub fn did_you_mean<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let name = name.to_lowercase().replace('-', "_");
    // `max_bytes` is `bytes_max`.
    let words = |name: &str| {
        let mut words: Vec<String> = name.split('_').map(str::to_owned).collect();
        words.sort();
        words
    };
    let distance = |known: &str| match words(known) == words(&name) {
        true => 0,
        false => strsim::damerau_levenshtein(&name, known),
    };
    let close = |(distance, known): &(usize, &str)| *distance <= (known.len().min(name.len()) + 1) / 3;
    known.into_iter().map(|known| (distance(known), known)).filter(close).min().map(|(_, known)| known)
}

/// The hint for a name nobody knows: the nearest one, or all of them.
pub fn hint_for_name(name: &str, known: &[&str]) -> String {
    match (did_you_mean(name, known.iter().copied()), known) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "there is none to choose from".to_owned(),
        (None, [only]) => format!("the only one is `{only}`"),
        (None, _) => format!("one of {}", list(known)),
    }
}

/// `a`, `b`, `c`
pub fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names() {
        let known = ["listen", "mode", "tls", "max_connections"];
        for (name, near) in [
            ("lisen", Some("listen")),
            ("Listen", Some("listen")),
            ("max-connections", Some("max_connections")),
            ("mod", Some("mode")),
            ("tsl", Some("tls")),
            ("connections_max", Some("max_connections")),
            ("password", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(name, known), near, "{name}");
        }
    }
}
