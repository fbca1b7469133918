//! The folder of an object: a template between slashes.
//!
//! Invariant: whatever an event says stays within its part of the key: `[a-z0-9._-]` and `!` before what is
//! none of these, at most 64 bytes, no dot in front, so no `/` and no `..`.

use wharfinger_formats::Event;

use super::object::safe;
use crate::sinks::template::Template;

/// What it is unless another one is written. It is known to depend on source and hour alone.
pub(super) const DEFAULT: &str = "source={source}/dt={time.date}/hour={time.hour}";
/// Bytes of a part of a key that comes from an event, and of all parts together.
pub(super) const PART_MAX: usize = 64;
const FOLDER_MAX: usize = 384;

/// See above.
#[derive(Debug, Clone)]
pub(super) struct Folder(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Place(Template),
}

impl Folder {
    /// None for the folder that is the default.
    ///
    /// # Errors
    /// It cannot be one: what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Option<Folder>, String> {
        if text == DEFAULT {
            return Ok(None);
        }
        let (mut parts, mut rest, mut longest) = (Vec::new(), text, 0);
        while !rest.is_empty() {
            let (words, behind) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!_*'()=/-".contains(&byte);
            if let Some(odd) = words.chars().find(|letter| !u8::try_from(*letter).is_ok_and(legal)) {
                return Err(format!("`{odd}` cannot stand in a folder: letters, digits and `!_*'()=/-` can"));
            }
            if !words.is_empty() {
                parts.push(Part::Text(words.to_owned()));
            }
            longest += words.len();
            rest = behind;
            if !behind.is_empty() {
                let end = behind.find('}').ok_or_else(|| format!("`{behind}` is not closed"))?;
                let (place, behind) = behind.split_at(end + 1);
                let template = Template::parse_text(place)?;
                if template.is_constant() {
                    return Err(format!("`{place}` names nothing; write a field, such as `{{vm.name}}`"));
                }
                parts.push(Part::Place(template));
                longest += PART_MAX;
                rest = behind;
            }
        }
        if text.split('/').any(str::is_empty) {
            return Err("a part of it is empty: it has no slash at its ends, and no two together".to_owned());
        }
        if longest > FOLDER_MAX {
            return Err(format!(
                "it may have {longest} bytes, more than {FOLDER_MAX}: each place has up to {PART_MAX}"
            ));
        }
        Ok(Some(Folder(parts)))
    }

    /// Of an event; what it does not say is `none`.
    pub(super) fn of(&self, event: &Event<'_>) -> String {
        let mut folder = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => folder.push_str(text),
                Part::Place(place) => folder.push_str(&safe(&place.text(event).unwrap_or_default())),
            }
        }
        folder
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use wharfinger_formats::{Field, Time};

    use super::*;

    #[test]
    fn what_an_event_says_stays_in_its_part() {
        let folder = Folder::parse("vm={vm.name}/{time.date}/{time.hour}-{fields.a.b:4}/x").unwrap().unwrap();
        let mut event = Event::new(b"");
        event.set(Field::Time, Time(1_795_262_400_000_000_000));
        event.extra("a", "b", "tenant");
        assert_eq!(folder.of(&event), "vm=none/2026-11-21/12-tena/x");
        for name in ["../../etc", "a/../b", ".", "..", "/", "a..", "%2e%2e%2f", "é\n\0", &"x/".repeat(500)] {
            event.set(Field::VmName, name);
            let of = folder.of(&event);
            assert!(of.matches('/').count() == 3 && !of.contains("/.") && !of.contains("=.") && of.len() < 100, "{of}");
            assert!(
                !of.contains("..") && of.bytes().all(|byte| b"!=/.-_".contains(&byte) || byte.is_ascii_alphanumeric())
            );
        }
    }

    #[test]
    fn what_is_no_folder_says_why() {
        for (text, expected) in [
            ("", "empty"),
            ("/a", "empty"),
            ("a//b", "empty"),
            ("a/", "empty"),
            ("a/../b", "`.`"),
            ("a b", "` `"),
            ("{vm.name", "not closed"),
            ("{no.such}", "names nothing"),
            ("{ vm.name }", "names nothing"),
            ("{secret}", "for bodies"),
            ("{vm.name}/{vm.group}/{source}/{container.id}/{container.name}/{event_class}", "384"),
        ] {
            let error = Folder::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(Folder::parse(DEFAULT).unwrap().is_none());
    }
}
