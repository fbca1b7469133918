//! What ECS and OCSF ask of every document, held against each line of `fixtures/` and against events
//! that are made to break it: `fixtures/schemas/*.json` is the schema, as data.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value as Tree};
use wharfinger_formats::{Choice, Context, EmitContext, Event, FORMATS, Field, Offset, Time, Value, parse};

#[path = "support/unique.rs"]
mod unique;

#[derive(Deserialize)]
struct Ocsf {
    base: Shape,
    classes: BTreeMap<String, Shape>,
    objects: BTreeMap<String, Shape>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    one_of: Vec<String>,
    allowed: Vec<String>,
    #[serde(default)]
    activities: Vec<i64>,
}

#[derive(Deserialize)]
struct Ecs {
    required: Vec<String>,
    fields: BTreeMap<String, String>,
    maps: Vec<String>,
    words: BTreeMap<String, Vec<String>>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

fn schema<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    serde_json::from_slice(&fs::read(fixtures().join("schemas").join(name)).unwrap()).unwrap()
}

fn emitted(name: &str, event: &Event<'_>) -> Tree {
    let emit = FORMATS.iter().find(|format| format.name == name).and_then(|format| format.emit).expect("an emitter");
    let mut out = Vec::new();
    emit(event, &EmitContext::default(), &mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    assert!(!text.contains(char::is_control), "{text:?}");
    unique::parse(&text)
}

/// Shows `check` every line of every fixture as an event.
fn for_each_line(mut check: impl FnMut(&Event<'_>)) {
    let context = Context { received: Time(1_795_255_200_000_000_000), zone: Offset(0) };
    let mut lines = 0;
    for format in FORMATS.iter().filter(|format| format.parse.is_some()) {
        let folder = fixtures().join(format.name.replace('_', "-"));
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let Some(end) = path.extension().and_then(|end| end.to_str()) else { continue };
            let bytes = fs::read(&path).unwrap();
            let frames: Vec<&[u8]> = match end {
                "bin" => vec![&bytes],
                "log" | "ndjson" => bytes.split(|byte| *byte == b'\n').collect(),
                _ => continue,
            };
            for frame in frames {
                let mut event = Event::new(frame);
                parse(Choice::Named(format), frame, &context, &mut event);
                check(&event);
                lines += 1;
            }
        }
    }
    assert!(lines > 200, "only {lines} lines");
}

/// An event with something to refuse in every field.
fn hostile(value: &str) -> Event<'static> {
    let mut event = Event::new(b"\xff raw");
    for field in Field::ALL {
        event.set(*field, value);
    }
    for (group, name) in
        [("", ""), ("", "."), ("", "time"), ("labels", "x"), ("attributes", "a.b"), ("attributes", "a_b")]
    {
        event.extra(group, name, value);
    }
    event
}

fn every_event(mut check: impl FnMut(&Event<'_>)) {
    for_each_line(&mut check);
    check(&Event::new(b""));
    for value in ["x", "", "1", "a\"b\\\n\u{2028}", "}],\"class_uid\":1"] {
        check(&hostile(value));
        for class in
            ["container.exec_start", "image.pull", "container.start", "compliance.x", "registry.login", "wazuh.1"]
        {
            let mut event = hostile(value);
            event.set(Field::EventClass, class);
            check(&event);
            event.remove(Field::RuleId);
            check(&event);
            let mut bare = Event::new(b"");
            bare.set(Field::EventClass, class);
            check(&bare);
        }
    }
}

fn check_shape(shape: &Shape, also: &Shape, object: &Map<String, Tree>, name: &str) {
    for wanted in shape.required.iter().chain(&also.required) {
        assert!(object.contains_key(wanted), "{name} without `{wanted}`: {object:?}");
    }
    let one_of = &shape.one_of;
    assert!(one_of.is_empty() || one_of.iter().any(|one| object.contains_key(one)), "{name}: none of {one_of:?}");
    for key in object.keys() {
        assert!(shape.allowed.contains(key) || also.allowed.contains(key), "{name} has no `{key}`");
    }
}

fn check_objects(ocsf: &Ocsf, object: &Map<String, Tree>) {
    let none = Shape { required: vec![], one_of: vec![], allowed: vec![], activities: vec![] };
    for (name, tree) in object.iter().filter(|(name, _)| *name != "unmapped") {
        let items = match tree {
            Tree::Object(inner) => vec![inner],
            Tree::Array(items) => items.iter().filter_map(Tree::as_object).collect(),
            _ => continue,
        };
        for inner in items {
            let shape = ocsf.objects.get(name).unwrap_or_else(|| panic!("no object `{name}`"));
            check_shape(shape, &none, inner, name);
            check_objects(ocsf, inner);
        }
    }
}

#[test]
fn ocsf_holds_what_its_class_requires() {
    let ocsf: Ocsf = schema("ocsf-1.5.json");
    let mut seen = BTreeMap::new();
    every_event(|event| {
        let tree = emitted("ocsf", event);
        let object = tree.as_object().unwrap();
        let number = |name: &str| object.get(name).and_then(Tree::as_i64).unwrap_or_else(|| panic!("`{name}`: {tree}"));
        let class_uid = number("class_uid");
        let shape = ocsf.classes.get(&class_uid.to_string()).unwrap_or_else(|| panic!("no class {class_uid}"));
        check_shape(shape, &ocsf.base, object, "the event");
        check_objects(&ocsf, object);
        assert!(shape.activities.contains(&number("activity_id")), "{tree}");
        assert_eq!(number("type_uid"), class_uid * 100 + number("activity_id"));
        assert_eq!(number("category_uid"), class_uid / 1_000);
        assert!((0..=6).contains(&number("severity_id")));
        number("time");
        let has_container = object.iter().any(|(_, tree)| tree.get("container").is_some());
        let profiles = tree.pointer("/metadata/profiles").and_then(Tree::as_array).unwrap();
        assert!(!has_container || profiles.contains(&Tree::from("container")), "{tree}");
        *seen.entry(class_uid).or_insert(0) += 1;
    });
    assert_eq!(seen.len(), ocsf.classes.len(), "a class without an event: {seen:?}");
}

/// OCSF 1.5, findings: 1 Create, 2 Update, 3 Close, and one `uid` for all that is told of a finding.
#[test]
fn what_is_told_of_a_finding_is_told_of_the_same() {
    let emit = FORMATS.iter().find(|format| format.name == "ocsf").and_then(|format| format.emit).unwrap();
    for (class, class_uid) in [("finding.a_rule", 2004), ("compliance.a_rule", 2003)] {
        for (action, activity, name) in [("create", 1, "Create"), ("update", 2, "Update"), ("close", 3, "Close")] {
            let mut event = Event::new(b"");
            event.set(Field::EventClass, class);
            event.set(Field::RuleId, "a_rule");
            event.set(Field::Action, action);
            event.set(Field::EventId, "0000000000000001-0000000000000002");
            event.extra("finding", "id", "17");
            let mut out = Vec::new();
            emit(&event, &EmitContext::default(), &mut out);
            let told: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(told["type_uid"], class_uid * 100 + activity, "{told}");
            assert_eq!((&told["activity_name"], &told["finding_info"]["uid"]), (&name.into(), &"17".into()), "{told}");
            assert_eq!(told["metadata"]["uid"], "0000000000000001-0000000000000002", "{told}");
        }
    }
}

fn check_ecs(ecs: &Ecs, path: &str, tree: &Tree) {
    if ecs.maps.iter().any(|map| map == path) {
        for (key, value) in tree.as_object().unwrap() {
            assert!(!key.contains('.') && !key.trim().is_empty(), "`{path}` has the key `{key}`");
            let is_text = |value: &Tree| value.is_string();
            assert!(is_text(value) || value.as_array().is_some_and(|list| list.iter().all(is_text)), "{path}.{key}");
        }
        return;
    }
    let Some(kind) = ecs.fields.get(path) else {
        let object = tree.as_object().unwrap_or_else(|| panic!("`{path}` is no field"));
        for (key, value) in object {
            check_ecs(ecs, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value);
        }
        return;
    };
    let text = |tree: &Tree| tree.as_str().map(str::to_owned);
    let texts = || tree.as_array().and_then(|list| list.iter().map(text).collect::<Option<Vec<_>>>());
    let is_ip = |text: &String| text.parse::<IpAddr>().is_ok();
    let fits = match kind.as_str() {
        "long" => tree.is_i64(),
        "ip" => text(tree).is_some_and(|text| is_ip(&text)),
        "ips" => texts().is_some_and(|list| list.iter().all(is_ip)),
        "keywords" => texts().is_some(),
        "date" => text(tree).is_some_and(|text| Time::parse_rfc3339(text.as_bytes()).is_some()),
        _ => tree.is_string(),
    };
    assert!(fits, "`{path}` takes no {tree}");
    if let Some(words) = ecs.words.get(path) {
        let found = texts().or_else(|| text(tree).map(|word| vec![word])).unwrap();
        assert!(found.iter().all(|word| words.contains(word)), "`{path}`: {found:?}");
    }
}

#[test]
fn ecs_holds_fields_of_the_schema_and_maps_of_texts() {
    let ecs: Ecs = schema("ecs-8.17.json");
    every_event(|event| {
        let tree = emitted("ecs", event);
        for wanted in &ecs.required {
            let pointer = format!("/{}", wanted.replace('.', "/"));
            assert!(tree.pointer(&pointer).is_some(), "without `{wanted}`: {tree}");
        }
        check_ecs(&ecs, "", &tree);
    });
}

/// Whether `wanted` stands somewhere in the tree, also as a part of a text.
fn holds(tree: &Tree, wanted: &str) -> bool {
    match tree {
        Tree::String(text) => text.contains(wanted),
        Tree::Number(number) => number.to_string() == wanted,
        Tree::Bool(truth) => truth.to_string() == wanted,
        Tree::Array(list) => list.iter().any(|tree| holds(tree, wanted)),
        Tree::Object(object) => object.values().any(|tree| holds(tree, wanted)),
        Tree::Null => false,
    }
}

#[test]
fn nothing_of_an_event_is_lost() {
    every_event(|event| {
        for form in ["ecs", "ocsf"] {
            let mut tree = emitted(form, event);
            // The raw bytes hold everything: they do not count.
            for (object, raw) in [("/event", "original"), ("", "raw_data")] {
                tree.pointer_mut(object).and_then(Tree::as_object_mut).map(|object| object.remove(raw));
            }
            let fields = event.fields().map(|(field, value)| (field.name(), value));
            let words = ["success", "failure", "unknown"];
            for (name, value) in fields.chain(event.extras().map(|extra| (extra.name, extra.value))) {
                let found = match value {
                    Value::Str(text) if name == "image.ref" => {
                        text.split([':', '@']).all(|part| holds(&tree, part) || part == "sha256")
                    }
                    Value::Str(text) if words.contains(&text) => true,
                    Value::Str(text) => holds(&tree, text),
                    Value::Int(_) if name == "severity" => true,
                    Value::Int(number) => holds(&tree, &number.to_string()),
                    Value::Bool(truth) => holds(&tree, &truth.to_string()),
                    Value::Time(_) | Value::Json(_) => true,
                };
                assert!(found, "{form}: {name} {value:?} is gone: {tree}");
            }
        }
    });
}
