//! What a request to the Engine's API asks for, by method and path.
//!
//! Invariant: the class says what was asked, never that it was done.

use std::borrow::Cow;

use crate::{Event, Field};

/// Method, path before the name, path after the name, class. A name is there when the third is
/// not `None`; it may hold slashes, as images do.
type Route = (&'static str, &'static str, Option<&'static str>, &'static str);

const ROUTES: &[Route] = &[
    ("POST", "containers/create", None, "container.create"),
    ("POST", "containers/prune", None, "container.prune"),
    ("POST", "containers/", Some("/start"), "container.start"),
    ("POST", "containers/", Some("/stop"), "container.stop"),
    ("POST", "containers/", Some("/kill"), "container.kill"),
    ("POST", "containers/", Some("/restart"), "container.restart"),
    ("POST", "containers/", Some("/pause"), "container.pause"),
    ("POST", "containers/", Some("/unpause"), "container.unpause"),
    ("POST", "containers/", Some("/rename"), "container.rename"),
    ("POST", "containers/", Some("/update"), "container.update"),
    ("POST", "containers/", Some("/attach"), "container.attach"),
    ("GET", "containers/", Some("/attach/ws"), "container.attach"),
    ("POST", "containers/", Some("/exec"), "container.exec_create"),
    ("POST", "containers/", Some("/resize"), "container.resize"),
    ("POST", "containers/", Some("/copy"), "container.copy"),
    ("GET", "containers/", Some("/export"), "container.export"),
    ("GET", "containers/", Some("/archive"), "container.archive-path"),
    ("PUT", "containers/", Some("/archive"), "container.extract-to-dir"),
    ("DELETE", "containers/", Some(""), "container.destroy"),
    ("POST", "commit", None, "container.commit"),
    ("POST", "exec/", Some("/start"), "container.exec_start"),
    ("POST", "images/create", None, "image.pull"),
    ("POST", "images/load", None, "image.load"),
    ("POST", "images/prune", None, "image.prune"),
    ("GET", "images/get", None, "image.save"),
    ("GET", "images/", Some("/get"), "image.save"),
    ("POST", "images/", Some("/push"), "image.push"),
    ("POST", "images/", Some("/tag"), "image.tag"),
    ("DELETE", "images/", Some(""), "image.delete"),
    ("POST", "build", None, "image.build"),
    ("POST", "build/prune", None, "builder.prune"),
    ("POST", "volumes/create", None, "volume.create"),
    ("POST", "volumes/prune", None, "volume.prune"),
    ("DELETE", "volumes/", Some(""), "volume.destroy"),
    ("POST", "networks/create", None, "network.create"),
    ("POST", "networks/prune", None, "network.prune"),
    ("POST", "networks/", Some("/connect"), "network.connect"),
    ("POST", "networks/", Some("/disconnect"), "network.disconnect"),
    ("DELETE", "networks/", Some(""), "network.destroy"),
    ("POST", "services/create", None, "service.create"),
    ("POST", "services/", Some("/update"), "service.update"),
    ("DELETE", "services/", Some(""), "service.remove"),
    ("POST", "secrets/create", None, "secret.create"),
    ("POST", "secrets/", Some("/update"), "secret.update"),
    ("DELETE", "secrets/", Some(""), "secret.remove"),
    ("POST", "configs/create", None, "config.create"),
    ("POST", "configs/", Some("/update"), "config.update"),
    ("DELETE", "configs/", Some(""), "config.remove"),
    ("POST", "nodes/", Some("/update"), "node.update"),
    ("DELETE", "nodes/", Some(""), "node.remove"),
    ("POST", "plugins/pull", None, "plugin.pull"),
    ("POST", "plugins/create", None, "plugin.create"),
    ("POST", "plugins/", Some("/enable"), "plugin.enable"),
    ("POST", "plugins/", Some("/disable"), "plugin.disable"),
    ("DELETE", "plugins/", Some(""), "plugin.remove"),
    ("POST", "swarm/init", None, "swarm.init"),
    ("POST", "swarm/join", None, "swarm.join"),
    ("POST", "swarm/leave", None, "swarm.leave"),
    ("POST", "swarm/update", None, "swarm.update"),
    ("POST", "auth", None, "registry.login"),
];

/// Requests of no route: they read, or are of no interest to an audit.
const OTHERS: &[(&str, &str)] = &[
    ("GET", "api.get"),
    ("HEAD", "api.head"),
    ("POST", "api.post"),
    ("PUT", "api.put"),
    ("DELETE", "api.delete"),
    ("OPTIONS", "api.options"),
    ("PATCH", "api.patch"),
];

/// Whether a word is a method the Engine serves.
pub(super) fn is_method(word: &str) -> bool {
    OTHERS.iter().any(|(method, _)| *method == word)
}

/// Sets class, action, method, URL and what the URL names. `url` is a path with or without a query.
pub(super) fn set<'a>(event: &mut Event<'a>, method: Cow<'a, str>, url: Cow<'a, str>) {
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let found = route(&method, without_version(path));
    let other = || OTHERS.iter().find(|(name, _)| *name == method).map(|(_, class)| (*class, ""));
    if let Some((class, name)) = found.or_else(other) {
        // Importing an image is a pull without a registry.
        let class = if class == "image.pull" && param(query, "fromSrc").is_some() { "image.import" } else { class };
        set_class(event, class);
        named(event, class, &decoded(name, false));
        queried(event, class, query);
    }
    event.set_text(Field::HttpMethod, method);
    event.set_text(Field::HttpUrl, url);
}

/// Sets the class and its action word.
pub(super) fn set_class(event: &mut Event<'_>, class: &'static str) {
    event.set(Field::EventClass, class);
    if let Some((_, action)) = class.split_once('.') {
        event.set(Field::Action, action);
    }
}

/// Sets the container by its id, or by its name.
pub(super) fn set_container(event: &mut Event<'_>, text: &str) {
    let field = if crate::syslog::is_container_id(text.as_bytes()) { Field::ContainerId } else { Field::ContainerName };
    event.set_text(field, text);
}

fn route<'p>(method: &str, path: &'p str) -> Option<(&'static str, &'p str)> {
    ROUTES.iter().filter(|(of, ..)| *of == method).find_map(|(_, prefix, suffix, class)| match suffix {
        None => (path == *prefix).then_some((*class, "")),
        Some(suffix) => {
            let name = path.strip_prefix(prefix)?.strip_suffix(suffix)?;
            (!name.is_empty()).then_some((*class, name))
        }
    })
}

/// `/v1.41/containers/x` and the unversioned `/containers/x` without what is before `containers`.
fn without_version(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    let version = path.strip_prefix('v').and_then(|rest| rest.split_once('/'));
    match version {
        Some((number, rest)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.') => rest,
        _ => path,
    }
}

/// What the name in the path stands for. Old engines log the route, `{name:.*}`, which names nothing.
fn named(event: &mut Event<'_>, class: &str, name: &str) {
    if name.is_empty() || name.starts_with('{') {
        return;
    }
    match class.split_once('.') {
        Some((_, "exec_start")) => event.extra("dockerd", "execID", name),
        Some(("container", _)) => set_container(event, name),
        Some(("image", _)) => event.set(Field::ImageRef, name),
        Some((kind, _)) => event.extra("dockerd", kind, name),
        None => {}
    }
}

/// What the query says; the whole of it stays in the URL.
fn queried(event: &mut Event<'_>, class: &str, query: &str) {
    let text = |event: &mut Event<'_>, field, name| {
        if let Some(value) = param(query, name) {
            event.set_text(field, value);
        }
    };
    match class {
        "container.create" => text(event, Field::ContainerName, "name"),
        "container.kill" => text(event, Field::Signal, "signal"),
        "container.rename" => {
            if let Some(name) = param(query, "name") {
                event.extra("dockerd", "newName", &name);
            }
        }
        "container.commit" => {
            if let Some(container) = param(query, "container") {
                set_container(event, &container);
            }
        }
        "image.pull" | "image.import" => {
            let name = param(query, "fromImage").or_else(|| param(query, "repo")).unwrap_or_default();
            let tag = param(query, "tag").unwrap_or_default();
            let separator = if tag.starts_with("sha256:") { "@" } else { ":" };
            let separator = if tag.is_empty() { "" } else { separator };
            event.set_text(Field::ImageRef, format!("{name}{separator}{tag}"));
        }
        "image.build" => text(event, Field::ImageRef, "t"),
        _ => {}
    }
}

/// The first value of a parameter, percent-decoded.
fn param(query: &str, wanted: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == wanted).map(|(_, value)| decoded(value, true)).next()
}

/// Percent-decoded; in a query `+` is a space. A `%` without two digits stays as it is.
fn decoded(text: &str, query: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let coded = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match coded.filter(|digits| !digits.starts_with('+')).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(if *first == b'+' && query { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &'static str, url: &'static str, expected: &[(Field, &str)]) {
        let mut event = Event::new(b"");
        set(&mut event, method.into(), url.into());
        for (field, value) in expected {
            assert_eq!(event.text(*field), Some(*value), "{method} {url}: {}", field.name());
        }
    }

    #[test]
    fn paths_are_classes() {
        use Field::{Action, ContainerId, ContainerName, EventClass, ImageRef, Signal};
        let id = "0123456789ab";
        check(
            "POST",
            "/v1.41/containers/create?name=web%201",
            &[(EventClass, "container.create"), (ContainerName, "web 1")],
        );
        check("POST", "/containers/create", &[(EventClass, "container.create"), (Action, "create")]);
        check("POST", "/v1.41/containers/0123456789ab/start", &[(EventClass, "container.start"), (ContainerId, id)]);
        check("POST", "/v1.50/containers/web/exec", &[(EventClass, "container.exec_create"), (ContainerName, "web")]);
        check("POST", "/v1.50/containers/web/kill?signal=TERM", &[(EventClass, "container.kill"), (Signal, "TERM")]);
        check("DELETE", "/v1.50/containers/web?force=1", &[(EventClass, "container.destroy"), (ContainerName, "web")]);
        check("POST", "/v1.50/images/create?fromImage=a%2Fb&tag=1", &[(EventClass, "image.pull"), (ImageRef, "a/b:1")]);
        check("POST", "/images/create?fromSrc=-&repo=a&tag=1", &[(EventClass, "image.import"), (ImageRef, "a:1")]);
        check(
            "POST",
            "/v1.50/images/r.example:5000/a/b:1/push?tag=1",
            &[(EventClass, "image.push"), (ImageRef, "r.example:5000/a/b:1")],
        );
        check("DELETE", "/v1.50/images/a%2Fb:1", &[(EventClass, "image.delete"), (ImageRef, "a/b:1")]);
        check("GET", "/v1.50/containers/json?all=1", &[(EventClass, "api.get"), (Action, "get")]);
        check("HEAD", "/_ping", &[(EventClass, "api.head")]);
        check("POST", "/v1.41/build?t=x%3A1", &[(EventClass, "image.build"), (ImageRef, "x:1")]);
    }

    #[test]
    fn a_route_names_no_container() {
        let mut event = Event::new(b"");
        set(&mut event, "POST".into(), "/containers/{name:.*}/start".into());
        assert_eq!(event.text(Field::EventClass), Some("container.start"));
        assert_eq!(event.text(Field::ContainerName), None);
    }
}
