//! `${VAR}`, `${VAR:-default}`, `${VAR:?message}` in strings; `$$` is a dollar sign.
//!
//! Invariant: replacement comes after parsing, so whatever a variable holds, it cannot add an
//! option or a part.

use crate::document::{Mistake, Node, Text, Value};

/// How a variable is looked up: the environment, or a test's own.
pub(super) type Lookup<'l> = &'l dyn Fn(&str) -> Option<String>;

/// Replaces in every string of the tree; a mistake leaves its string as it is.
pub(super) fn replace(node: &mut Node, lookup: Lookup<'_>, errors: &mut Vec<Mistake>) {
    match &mut node.value {
        Value::String(value) => match replaced(&value.text, lookup) {
            Ok(Some(text)) => *value = Text { text, replaced: true },
            Ok(None) => {}
            Err((cause, hint)) => errors.push(Mistake::new(node.place, cause, hint)),
        },
        Value::List(nodes) => nodes.iter_mut().for_each(|node| replace(node, lookup, errors)),
        Value::Table(entries) => entries.iter_mut().for_each(|entry| replace(&mut entry.node, lookup, errors)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
    }
}

type CauseAndHint = (String, String);

fn replaced(text: &str, lookup: Lookup<'_>) -> Result<Option<String>, CauseAndHint> {
    if !text.contains('$') {
        return Ok(None);
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            after
        } else if let Some(after) = after.strip_prefix('{') {
            let (expression, after) = after.split_once('}').ok_or_else(|| {
                ("`${` is not closed".to_owned(), "add the `}`, or write `$${` for the characters".to_owned())
            })?;
            out.push_str(&value_of(expression, lookup)?);
            after
        } else {
            out.push('$');
            after
        };
    }
    out.push_str(rest);
    Ok((out != text).then_some(out))
}

fn value_of(expression: &str, lookup: Lookup<'_>) -> Result<String, CauseAndHint> {
    let (name, otherwise) = match expression.split_once(':') {
        Some((name, otherwise)) => (name, Some(otherwise)),
        None => (expression, None),
    };
    if !is_name(name) {
        let hint = "a name has letters, digits and `_`; write `$$` for a dollar sign".to_owned();
        return Err((format!("`{name}` is not the name of a variable"), hint));
    }
    let value = lookup(name);
    match otherwise {
        None => value.ok_or_else(|| {
            let hint = format!("set it, or give a default: `${{{name}:-default}}`");
            (format!("the environment variable `{name}` is not set"), hint)
        }),
        Some(otherwise) => match (value.filter(|value| !value.is_empty()), otherwise.split_at_checked(1)) {
            (Some(value), Some(("-" | "?", _))) => Ok(value),
            (None, Some(("-", default))) => Ok(default.to_owned()),
            (None, Some(("?", message))) => Err((message.to_owned(), format!("set the environment variable `{name}`"))),
            _ => {
                let hint = format!("write `${{{name}:-default}}` or `${{{name}:?message}}`");
                Err((format!("`{otherwise}` after the name `{name}` means nothing"), hint))
            }
        },
    }
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        let lookup = |name: &str| match name {
            "A" => Some("x".to_owned()),
            "EMPTY" => Some(String::new()),
            "EVIL" => Some("a\nsinks: {}".to_owned()),
            _ => None,
        };
        let text = |text: &str| replaced(text, &lookup).map(|new| new.unwrap_or_else(|| text.to_owned()));
        for (given, expected) in [
            ("plain", "plain"),
            ("${A}", "x"),
            ("a-${A}-${B:-y}-b", "a-x-y-b"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY}", ""),
            ("${B:-}", ""),
            ("${A:?no}", "x"),
            ("$$ $${A} $1 $", "$ ${A} $1 $"),
            ("${EVIL}", "a\nsinks: {}"),
        ] {
            assert_eq!(text(given).as_deref(), Ok(expected), "{given}");
        }
        for (given, cause) in [
            ("${B}", "the environment variable `B` is not set"),
            ("${B:?say where}", "say where"),
            ("${B", "`${` is not closed"),
            ("${}", "`` is not the name of a variable"),
            ("${B:+x}", "`+x` after the name `B` means nothing"),
            ("${A:}", "`` after the name `A` means nothing"),
        ] {
            assert_eq!(text(given).map_err(|(cause, _)| cause), Err(cause.to_owned()), "{given}");
        }
    }
}
