//! The reading of options with a part of the tests' own, in all three languages.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::*;
use crate::part::{ByteSize, Interval, Listen, PartContext, Secret, SetupError};
use crate::sinks::Sink;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by the deserializer alone")]
struct Crane {
    listen: Listen,
    #[serde(default)]
    mode: Mode,
    port: Option<u16>,
    max: Option<ByteSize>,
    wait: Option<Interval>,
    token: Option<Secret>,
    hooks: Option<Vec<Hook>>,
    paths: Option<Vec<PathBuf>>,
    quick: Option<bool>,
    label: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Tcp,
    Udp,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "read by the deserializer alone")]
struct Hook {
    name: String,
    #[serde(default)]
    depth: u8,
}

impl SinkConfig for Crane {
    fn open(&self, _: &PartContext) -> Result<Box<dyn Sink>, SetupError> {
        Err(SetupError::new("a crane", "only for tests"))
    }
}

const KINDS: &[Kind<dyn SinkConfig>] = &[Kind {
    name: "crane",
    about: "",
    schema: || schemars::schema_for!(String),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Crane>(options)?)),
}];

fn mistakes(node: &Node) -> Vec<String> {
    let mut errors = Vec::new();
    read_parts(node.entry("sinks"), "sinks", KINDS, &mut errors);
    let line = |error: &Mistake| {
        let place = error.place.unwrap();
        format!("{}:{} {} | {}", place.line, place.column, error.cause, error.hint)
    };
    errors.sort_by_key(|error| error.place);
    errors.iter().map(line).collect()
}

#[test]
fn every_mistake_at_once_each_in_its_place() {
    let text = "\
sinks:
  a:
    type: crane
    lisen: 127.0.0.1:1
    mode: tpc
    port: 99999
    max: 64 megs
    wait: 5
    token: {path: x}
    hooks:
      - {name: x, dept: 3}
      - name: 17
      - {}
    paths: /etc
    quick: yes
    label: 1234
  b:
    type: crain
  c:
    listen: 127.0.0.1:1
  d: 17
  e f: {}
";
    // That `listen` is missing follows from `lisen`, and is not said again.
    let expected = [
        "4:5 unknown option `lisen` in `sinks.a` | did you mean `listen`?",
        "5:11 `sinks.a.mode`: unknown value `tpc` | did you mean `tcp`?",
        "6:11 `sinks.a.port`: expected a whole number from 0 to 65535, found the number `99999` | write digits only",
        "7:10 `sinks.a.max`: expected a size, found `64 megs` | write a whole number and a unit: `64MiB`, `1GiB`, `500KB`",
        "8:11 `sinks.a.wait`: expected a duration, found the number `5` | say the unit: `5s` for seconds, `5ms` for milliseconds",
        "9:5 unknown option `path` in `sinks.a.token` | it is called `file` here",
        "11:19 unknown option `dept` in `sinks.a.hooks.1` | did you mean `depth`?",
        "12:15 `sinks.a.hooks.2.name`: expected a string, found the number `17` | put it in quotes: `\"17\"`",
        "13:9 `sinks.a.hooks.3` lacks the option `name` | add `name: …` below `3`",
        "14:12 `sinks.a.paths`: expected a list, found the string `/etc` | write a list: `[/etc]`",
        "15:12 `sinks.a.quick`: expected `true` or `false`, found the string `yes` | write `true`",
        "16:12 `sinks.a.label`: expected a string, found the number `1234` | put it in quotes: `\"1234\"`",
        "18:11 `sinks.b`: unknown type `crain` | did you mean `crane`?",
        "19:3 `sinks.c` has no type | add `type:` with one of `crane`",
        "21:6 `sinks.d`: expected a table of options, found a number | write the options below it, indented, beginning with `type: …`",
        "22:3 `e f` cannot be the name of a part | use letters, digits, `-` and `_`, at most 64; `wharfinger` names the gateway itself",
    ];
    assert_eq!(mistakes(&document::read(text, Language::Yaml).unwrap()), expected);
}

#[test]
fn three_languages_say_the_same() {
    let yaml =
        "journal:\n  sync: never\n  bytes_max: 20MiB\nidentity: {inventory: [a.csv]}\nadmin: {listen: '[::1]:1'}\n";
    let toml = "[journal]\nbytes_max = \"20MiB\"\nsync = \"never\"\n[identity]\ninventory = ['a.csv']\n[admin]\nlisten = '[::1]:1'\n";
    let json = "{\"admin\": {\"listen\": \"[::1]:1\"},\n\t\"identity\": {\"inventory\": [\"a.csv\"]},\n\t\"journal\": {\"sync\": \"never\", \"bytes_max\": \"20MiB\"}}";
    let read = |text: &str, language| Config::parse(text, Path::new("x"), language, &|_| None).unwrap();
    let [yaml, toml, json] = [(yaml, Language::Yaml), (toml, Language::Toml), (json, Language::Json)]
        .map(|(text, language)| read(text, language));
    assert_eq!(yaml.journal, Journal { bytes_max: ByteSize::mib(20), sync: Sync::Never, ..Journal::default() });
    assert_eq!((&toml.journal, &toml.identity, &toml.admin), (&yaml.journal, &yaml.identity, &yaml.admin));
    assert_eq!((&json.journal, &json.identity, &json.admin), (&yaml.journal, &yaml.identity, &yaml.admin));
    assert_eq!(yaml.hash(), toml.hash());
    assert_eq!(yaml.hash(), json.hash());
    let other = read("journal: {sync: always}", Language::Yaml);
    assert_ne!(yaml.hash(), other.hash());
}

#[test]
fn a_variable_may_be_a_number_and_never_more_than_a_value() {
    let mut node =
        document::read("sinks: {a: {type: crane, listen: \"${L}\", port: \"${P}\", quick: \"${Q}\"}}", Language::Yaml)
            .unwrap();
    let lookup = |name: &str| {
        let value = match name {
            "L" => "127.0.0.1:1",
            "P" => "514",
            _ => "true",
        };
        Some(value.to_owned())
    };
    let mut errors = Vec::new();
    variables::replace(&mut node, &lookup, &mut errors);
    assert!(errors.is_empty());
    assert_eq!(mistakes(&node), Vec::<String>::new());
}

#[test]
fn hostile_files_end_in_one_message() {
    let deep = "[".repeat(100_000);
    let laughs = "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n";
    let nested = "{a: ".repeat(5_000) + "1" + &"}".repeat(5_000);
    for (text, language, cause) in [
        (deep.as_str(), Language::Yaml, ""),
        (deep.as_str(), Language::Json, "not JSON: EOF while parsing a list"),
        (deep.as_str(), Language::Toml, "not TOML: "),
        (nested.as_str(), Language::Yaml, ""),
        (laughs, Language::Yaml, "aliases (`*name`) are not read here"),
        ("a: 1\na: 2\n", Language::Yaml, "`a` is written twice"),
        ("{\"a\": 1, \"a\": 2}", Language::Json, "`a` is written twice"),
        ("a = 1\na = 2\n", Language::Toml, "not TOML: duplicate key"),
        (
            "a: !!python/object:os.system x\n",
            Language::Yaml,
            "the tag `tag:yaml.org,2002:!python/object:os.system` is not read here",
        ),
        ("---\na: 1\n---\nb: 2\n", Language::Yaml, "a second document begins here"),
        ("sinks:\n\tx: 1\n", Language::Yaml, "the line is indented with a tab"),
        ("? [a]\n: b\n", Language::Yaml, "a name is expected, found a table or a list"),
        (
            "- a\n",
            Language::Yaml,
            "expected a table with `data_dir`, `sources`, `sinks`, `identity`, `policy`, `journal`, `receipts`, `admin`, `digests`, found a list",
        ),
        ("admin: {listen: 99999999999999999999}\n", Language::Yaml, "the number `99999999999999999999` is too large"),
        ("journal: {bytes_max: -1}", Language::Yaml, "`journal.bytes_max`: expected a size, found `-1`"),
    ] {
        let mistakes = Config::parse(text, Path::new("x"), language, &|_| None).unwrap_err();
        let errors = mistakes.list();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].cause.starts_with(cause), "{:?} {cause}", errors[0]);
        assert!(!errors[0].hint.is_empty(), "{:?}", errors[0]);
    }
}

#[test]
fn the_defaults_are_a_configuration() {
    let embedded = Config::embedded(Some(Path::new("/tmp/wharfinger"))).unwrap();
    assert_eq!(embedded.config.data_dir, Path::new("/tmp/wharfinger"));
    // What listens is never left out.
    let names: Vec<&str> = embedded.config.sources.iter().map(|source| source.name.as_str()).collect();
    assert!(names.starts_with(&["syslog_tcp", "syslog_udp", "hec"]), "{names:?}");
}

#[test]
fn rules_of_redaction() {
    let config = |redact: &str| {
        let text = format!("sinks:\n  out: {{type: stdout, redact: {redact}}}\n");
        Config::parse(&text, Path::new("x"), Language::Yaml, &|_| None)
    };
    let right = config("[cards, {rule: emails, hash: 0123456789abcdef}]").unwrap();
    let rules: Vec<_> = right.sinks[0].every.redact.0.iter().map(|(rule, key)| (rule.name(), key.is_some())).collect();
    assert_eq!(rules, [("cards", false), ("emails", true)]);
    assert!(right.check().is_ok());
    for (redact, cause, hint) in [
        ("tokens", "`sinks.out.redact`: expected a list of rules, found a string", "any of `env`, "),
        ("[crads]", "`sinks.out.redact`: unknown rule `crads`", "did you mean `cards`?"),
        ("[cards, cards]", "`sinks.out.redact`: `cards` stands there twice", "leave one"),
        ("[4]", "`sinks.out.redact`: expected the name of a rule, found a number", "any of `env`, "),
        ("[{rule: cards}]", "`sinks.out.redact` lacks the option `hash`", "add `hash: …`"),
    ] {
        let mistakes = config(redact).unwrap_err();
        let [mistake] = mistakes.list() else { panic!("{redact}: {mistakes:?}") };
        assert!(mistake.cause.starts_with(cause) && mistake.hint.starts_with(hint), "{redact}: {mistake:?}");
    }
    let check = |text: &str| {
        let config = Config::parse(text, Path::new("x"), Language::Yaml, &|_| None).unwrap();
        config.check().unwrap_err().list().first().unwrap().cause.clone()
    };
    let sealed = check("sinks: {a: {type: archive, path: /tmp, redact: [cards]}}");
    assert_eq!(sealed, "`sinks.a.redact`: what is sealed is evidence: nothing of it is redacted");
    let short = check("sinks: {a: {type: stdout, redact: [{rule: cards, hash: short}]}}");
    assert_eq!(short, "`sinks.a.redact`: rule `cards`: a key of 5 bytes can be guessed");
}
