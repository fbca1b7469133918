//! What a line of dockerd says, by its message: requests, failures, jobs of old engines, signs of life.
//!
//! Invariant: text that a client or container chose is only ever compared after the engine's own words.

use std::borrow::Cow;

use super::request;
use crate::{Event, Field, docker_actions};

/// How a message begins, its class, its name.
const SIGNS: &[(&str, &str, &str)] = &[
    ("Starting up", "daemon.start", "Docker daemon starting"),
    ("Docker daemon", "daemon.version", "Docker daemon version"),
    ("Daemon has completed initialization", "daemon.ready", "Docker daemon ready"),
    ("API listen on ", "daemon.listen", "Docker API listens"),
    ("Processing signal '", "daemon.signal", "Docker daemon got a signal"),
    ("Daemon shutdown complete", "daemon.stop", "Docker daemon stopped"),
    ("Default bridge (", "daemon.bridge", "Docker default bridge assigned"),
    ("Container failed to exit within ", "container.kill", "Container killed after its time to stop"),
    ("Health check for container ", "container.health_status", "Container health check"),
];

/// Parts of a line that are not extras.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    pub(super) message: Cow<'a, str>,
    pub(super) method: Option<Cow<'a, str>>,
    pub(super) url: Option<Cow<'a, str>>,
    pub(super) topic: Option<Cow<'a, str>>,
    /// The value of `error-response`, or of `error`.
    pub(super) error: Option<Cow<'a, str>>,
    /// The level is error or worse.
    pub(super) failed: bool,
    pub(super) has_level: bool,
    /// Keys that have a field and came again.
    pub(super) again: Vec<&'static str>,
}

/// Sets class, name, outcome and whatever else follows from the message.
pub(super) fn set<'a>(event: &mut Event<'a>, mut facts: Facts<'a>) {
    let message = std::mem::take(&mut facts.message);
    // A message without escapes is a piece of the line, and so are the pieces of it.
    match &message {
        Cow::Borrowed(text) => judge(event, text.trim_end(), facts, Cow::Borrowed),
        Cow::Owned(text) => judge(event, text.trim_end(), facts, |piece| Cow::Owned(piece.to_owned())),
    }
    event.set_text(Field::Msg, message);
}

fn judge<'a, 't>(event: &mut Event<'a>, text: &'t str, facts: Facts<'a>, keep: fn(&'t str) -> Cow<'a, str>) {
    let Facts { method, url, topic, error, failed, .. } = facts;
    let refused = text.starts_with("error response for ");
    let handled = text.strip_prefix("Handler for ").and_then(|rest| rest.split_once(" returned error"));
    let wrong = failed || refused || handled.is_some();
    let asked = handled.map_or(text.strip_prefix("Calling ").unwrap_or(text), |(asked, _)| asked);
    let asked = asked.split_once(' ').filter(|(method, url)| request::is_method(method) && url.starts_with('/'));
    // 28 and later name the request beside the message, some of it or all; the path in the message is the route.
    match (method, url, asked) {
        (Some(method), Some(url), _) if request::is_method(&method) => request::set(event, method, url),
        (None, Some(url), Some((method, _))) if url.starts_with('/') => request::set(event, keep(method), url),
        (method, url, asked) => {
            let is_asked = asked.is_some();
            if let Some((method, url)) = asked {
                request::set(event, keep(method), keep(url.trim_end()));
            }
            for (field, name, text) in [(Field::HttpMethod, "method", method), (Field::HttpUrl, "request-url", url)] {
                match text {
                    Some(text) if is_asked => event.extra("dockerd", name, &text),
                    text => event.set_text(field, text.unwrap_or_default()),
                }
            }
        }
    }
    if event.has(Field::EventClass) {
        event.set(Field::Name, if wrong { "Docker API request failed" } else { "Docker API request" });
    } else if topic.as_deref() == Some("/tasks/delete") && text == "ignoring event" {
        request::set_class(event, "container.task_delete");
        event.set(Field::Name, "Container process ended");
    } else if let Some(job) = text.strip_prefix("+job log(").and_then(|rest| rest.strip_suffix(')')) {
        logged(event, job);
    } else if let Some((_, class, name)) = SIGNS.iter().find(|(begin, ..)| text.starts_with(begin)) {
        request::set_class(event, class);
        event.set(Field::Name, *name);
    } else {
        event.set(Field::EventClass, "daemon.log");
    }
    if wrong {
        event.set(Field::Outcome, "failure");
        let told = handled.and_then(|(_, rest)| rest.strip_prefix(": ")).map(keep);
        event.set_text(Field::Reason, told.or(error).unwrap_or_default());
    } else if let Some(error) = error {
        event.extra("dockerd", "error", &error);
    }
}

/// Engines up to 1.6: `+job log(create, <id>, <image>)` is what later became an event of the API.
fn logged(event: &mut Event<'_>, job: &str) {
    let mut parts = job.splitn(3, ", ");
    let action = parts.next().unwrap_or_default();
    let action = action.split_once(": ").map_or(action, |(action, _)| action);
    let kind = if docker_actions::is_image_action(action) { "image" } else { "container" };
    let Some(row) = docker_actions::row(kind, action) else {
        event.set(Field::EventClass, "daemon.log");
        return;
    };
    request::set_class(event, row.class);
    event.set(Field::Name, row.name);
    event.set(Field::Severity, row.severity);
    let (id, image) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if kind == "container" {
        request::set_container(event, id);
        event.set_text(Field::ImageRef, image);
    } else {
        event.set_text(Field::ImageRef, id);
    }
}
