//! The body of a request as dockerd logs it with `-D`: `msg="form data: {…}"` up to 27, `form-data="{…}"`
//! since 28.
//!
//! What makes a container dangerous stands here and nowhere else in the log: it becomes extras of group
//! `form`. Invariant: no value of an environment is in an extra or in the message. "Env is not masked"
//! (formats.md §4.1), so `NAME=value` is told as `NAME=***`; the line itself, in `raw`, stays as it is.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::json_read::JsonReader;
use crate::{Event, Field, ParseError, Value};

/// Bytes of form data that are read for facts.
const FORM_BYTES_MAX: usize = 64 * 1024;
/// Group of what the body asks for.
const FORM: &str = "form";
/// What stands for a value that is not told.
const MASK: &str = "***";

/// Members of `HostConfig` that are told, and their names as extras.
const HOST_CONFIG: &[(&str, &str)] = &[
    ("Privileged", "privileged"),
    ("Binds", "binds"),
    ("PidMode", "pid_mode"),
    ("NetworkMode", "network_mode"),
    ("CapAdd", "cap_add"),
];

/// Members of the body, as they stand.
#[derive(Default)]
struct Form<'f> {
    image: Option<&'f str>,
    cmd: Option<&'f str>,
    user: Option<&'f str>,
    privileged: Option<&'f str>,
    has_stdin: bool,
    host_config: [Option<&'f str>; HOST_CONFIG.len()],
}

/// Image and command, and what the container may do. A body with an image is one of a create, one with a
/// command alone is one of an exec; others say nothing of a container.
pub(super) fn facts(form: &str, event: &mut Event<'_>) {
    if form.len() > FORM_BYTES_MAX {
        return;
    }
    let Ok(form) = Form::read(form) else { return };
    match (form.image.and_then(text), form.cmd) {
        (Some(image), _) if !image.is_empty() => event.set_text(Field::ImageRef, image),
        (_, Some(cmd)) if form.has_stdin || cmd.starts_with('[') => {
            event.set_text(Field::ExecCommand, words(cmd).join(" ").trim());
        }
        _ => return,
    }
    if let Some(user) = form.user.and_then(text).filter(|user| !user.is_empty()) {
        event.extra(FORM, "user", &user);
    }
    // An exec says it of itself, a container in its HostConfig.
    let told = HOST_CONFIG.iter().map(|(_, name)| *name).zip(form.host_config);
    for (name, value) in told.chain([("privileged", form.privileged)]) {
        tell(name, value.unwrap_or_default(), event);
    }
}

impl<'f> Form<'f> {
    fn read(form: &'f str) -> Result<Self, ParseError> {
        let mut read = Form::default();
        JsonReader::over(form).object(|reader, key| {
            // Go takes a member in any case, and the last of those that come twice.
            let slot = match &*key.text().to_ascii_lowercase() {
                "hostconfig" if reader.at_object() => return read.host_config(reader),
                "image" => &mut read.image,
                "cmd" => &mut read.cmd,
                "user" => &mut read.user,
                "privileged" => &mut read.privileged,
                "attachstdin" => {
                    read.has_stdin = true;
                    return reader.skip().map(drop);
                }
                _ => return reader.skip().map(drop),
            };
            *slot = Some(reader.skip()?);
            Ok(())
        })?;
        Ok(read)
    }

    fn host_config(&mut self, reader: &mut JsonReader<'f>) -> Result<(), ParseError> {
        reader.object(|reader, key| {
            let value = reader.skip()?;
            let known = HOST_CONFIG.iter().zip(&mut self.host_config);
            let known = known.filter(|((member, _), _)| member.eq_ignore_ascii_case(&key.text()));
            known.for_each(|(_, slot)| *slot = Some(value));
            Ok(())
        })
    }
}

/// Tells a member that says something: `false`, `""`, `[]` and `null` do not.
fn tell(name: &str, value: &str, event: &mut Event<'_>) {
    match value {
        "" | "false" | "\"\"" | "null" | "[]" => {}
        "true" => event.extra(FORM, name, true),
        _ => match text(value) {
            Some(value) => event.extra(FORM, name, &value),
            None => event.extra(FORM, name, Value::Json(value)),
        },
    }
}

fn text(value: &str) -> Option<String> {
    serde_json::from_str(value).ok()
}

/// The words of a command; Docker takes a text for a list of one.
fn words(value: &str) -> Vec<String> {
    serde_json::from_str(value).ok().or_else(|| Some(vec![text(value)?])).unwrap_or_default()
}

/// The body as an extra: JSON where it is, else a text.
pub(super) fn keep(form: &str, event: &mut Event<'_>) {
    let is_json = serde_json::from_str::<&RawValue>(form).is_ok();
    event.extra("dockerd", "form-data", if is_json { Value::Json(form) } else { Value::Str(form) });
}

/// The body without the values of any member `Env`, at whatever depth. Total: a body that was cut is
/// masked as far as it goes.
pub(super) fn masked<'f>(form: Cow<'f, str>) -> Cow<'f, str> {
    if !form.as_bytes().windows(5).any(|bytes| bytes.eq_ignore_ascii_case(b"\"env\"")) {
        return form;
    }
    let mut out = String::with_capacity(form.len());
    let mut rest = &*form;
    // Whether the last string was the name, and whether its list is open.
    let (mut is_name, mut is_open) = (false, false);
    while let Some((before, after)) = rest.split_once('"') {
        let opens = is_name && before.trim_start().starts_with(':') && before.contains('[');
        is_open = (opens || is_open) && !before.contains(']');
        let (body, closed, behind) = string(after);
        out.push_str(before);
        out.push('"');
        match is_open {
            true => mask(body, &mut out),
            false => out.push_str(body),
        }
        out.push_str(closed);
        is_name = !is_open && body.eq_ignore_ascii_case("env");
        rest = behind;
    }
    out.push_str(rest);
    if out == *form { form } else { Cow::Owned(out) }
}

/// `NAME=***`; a name alone has no value. Where an escape may hide the equals sign nothing is told.
fn mask(body: &str, out: &mut String) {
    match body.split_once('=') {
        Some((name, _)) => {
            out.push_str(name);
            out.push('=');
            out.push_str(MASK);
        }
        None if body.contains('\\') => out.push_str(MASK),
        None => out.push_str(body),
    }
}

/// A string of JSON behind its first quote: what is inside, its last quote, what is behind.
fn string(text: &str) -> (&str, &str, &str) {
    let mut at = 0_usize;
    while let Some(found) = text.as_bytes().get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at = at.saturating_add(found);
        if text.as_bytes().get(at) == Some(&b'"') {
            let (body, rest) = text.split_at_checked(at).unwrap_or((text, ""));
            let (quote, behind) = rest.split_at_checked(1).unwrap_or((rest, ""));
            return (body, quote, behind);
        }
        at = at.saturating_add(2);
    }
    (text, "", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: &str, expected: &str) {
        assert_eq!(masked(form.into()), expected, "{form}");
    }

    #[test]
    fn no_value_of_an_environment_is_told() {
        check(
            r#"{"Image":"a","Env":["A=b","C=d=e","F"],"User":"x=y"}"#,
            r#"{"Image":"a","Env":["A=***","C=***","F"],"User":"x=y"}"#,
        );
        check(
            r#"{"T":{"C":{"env" : [ "A=]\"b" , "B=["]}},"x":"A=b"}"#,
            r#"{"T":{"C":{"env" : [ "A=***" , "B=***"]}},"x":"A=b"}"#,
        );
        check(r#"{"Env":["A=b","PASS=hun"#, r#"{"Env":["A=***","PASS=***"#);
        check(r#"{"Env":[],"Cmd":["A=b"]}"#, r#"{"Env":[],"Cmd":["A=b"]}"#);
        check(r#"{"Env":null,"Cmd":["A=b"]}"#, r#"{"Env":null,"Cmd":["A=b"]}"#);
        check(r#"{"Cmd":["Env","A=b"]}"#, r#"{"Cmd":["Env","A=b"]}"#);
        check(r#"{"Env":["A\u003db"]}"#, r#"{"Env":["***"]}"#);
        check("no JSON \"Env\":[\"\\", "no JSON \"Env\":[\"***");
    }
}
