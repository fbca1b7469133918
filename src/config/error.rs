//! What is wrong with a configuration: where, what, and what to do about it.

use std::fmt;
use std::path::Path;

use super::node::Place;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Absent when the mistake has no place: a file that cannot be read, a part that is missing.
    pub place: Option<Place>,
    /// What is wrong: "unknown option `lisen` in `sources.in`".
    pub cause: String,
    /// The next step.
    pub hint: String,
}

impl ConfigError {
    pub(super) fn new(place: impl Into<Option<Place>>, cause: impl Into<String>, hint: impl Into<String>) -> Self {
        ConfigError { place: place.into(), cause: cause.into(), hint: hint.into() }
    }
}

/// Every mistake that was found in one file, in the order of the lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// As users named it.
    pub file: String,
    pub errors: Vec<ConfigError>,
}

impl ConfigErrors {
    pub(super) fn new(file: &Path, mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by_key(|error| error.place);
        ConfigErrors { file: file.display().to_string(), errors }
    }
}

impl std::error::Error for ConfigErrors {}

/// As it is printed, after `error: ` of the first: `file:line:column: cause`, an empty line, `hint: …`.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.errors.iter().enumerate() {
            if number > 0 {
                f.write_str("\n\nerror: ")?;
            }
            write_one(f, &self.file, error)?;
        }
        Ok(())
    }
}

/// `file:line:column: cause`, then the hint if there is one.
pub(super) fn write_one(f: &mut impl fmt::Write, file: &str, error: &ConfigError) -> fmt::Result {
    f.write_str(file)?;
    if let Some(Place { line, column }) = error.place {
        write!(f, ":{line}:{column}")?;
    }
    write!(f, ": {}", error.cause)?;
    if !error.hint.is_empty() {
        write!(f, "\n\nhint: {}", error.hint)?;
    }
    Ok(())
}

/// The known name that `name` was probably meant to be.
pub fn did_you_mean<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let name = name.to_lowercase().replace('-', "_");
    let distance = |known: &str| strsim::damerau_levenshtein(&name, known);
    let close = |(distance, known): &(usize, &str)| *distance <= ((known.len().min(name.len()) + 1) / 3).max(1);
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
            ("password", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(name, known), near, "{name}");
        }
    }
}
