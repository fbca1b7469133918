//! The real program: help, every message about a configuration, exit codes, and what `convert`,
//! `explain` and `list` do with good and hostile input.
//! Snapshots are in `tests/snapshots`; `INSTA_UPDATE=always cargo test --test cli` writes them anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const DOCKER_EVENT: &str = r#"{"status":"start","id":"4fe2b1a09c3d","from":"alpine:3","Type":"container","Action":"start","Actor":{"ID":"4fe2b1a09c3d","Attributes":{"image":"alpine:3","name":"web"}},"time":1795251800,"timeNano":1795251800158734145}"#;

/// The program in an empty folder and an empty environment.
fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
    command.args(arguments).current_dir(dir).env_clear().env("HOME", dir);
    command
}

fn run(dir: &Path, arguments: &[&str], stdin: &[u8]) -> Output {
    let mut command = command(dir, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    // The program may end before it has read everything.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&bytes)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn shown(output: &Output) -> String {
    let code = output.status.code().unwrap();
    format!("exit {code}\n-- stdout\n{}\n-- stderr\n{}", text(&output.stdout), text(&output.stderr))
}

fn lines(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn help_and_usage() {
    let dir = TempDir::new().unwrap();
    let mut all = String::new();
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["status", "--help"],
        &["verify", "--help"],
        &["archive", "prove", "--help"],
        &["dlq", "--help"],
        &["dlq", "list", "--help"],
        &["dlq", "show", "--help"],
        &["dlq", "replay", "--help"],
        &["dlq", "purge", "--help"],
        &["selftest", "--help"],
        &["queue", "--help"],
        &["queue", "status", "--help"],
        &["queue", "check", "--help"],
        &["queue", "export", "--help"],
        &["queue", "repair", "--help"],
        &["validate", "--help"],
        &["convert", "--help"],
        &["explain", "--help"],
        &["lint", "--help"],
        &["diff", "--help"],
        &["list", "--help"],
        &["generate", "--help"],
        &["completion", "--help"],
    ] {
        let output = run(dir.path(), arguments, b"");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
        let _ = writeln!(all, "$ wharfinger {}\n{}", arguments.join(" "), text(&output.stdout));
    }
    insta::assert_snapshot!("help", all);

    for arguments in [
        &[][..],
        &["covnert"],
        &["convert", "--too", "cef"],
        &["convert", "--to", "cfe"],
        &["convert", "--zone", "CET"],
    ] {
        let output = run(dir.path(), arguments, b"");
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

/// Files with a mistake: what it is, the file's name, its text.
const WRONG: &[(&str, &str, &str)] = &[
    ("unknown section", "w.yaml", "sorces:\n  in: {type: stdin}\n"),
    ("section of another shipper", "w.yaml", "transforms:\n  x: {type: remap}\n"),
    ("unknown option", "w.yaml", "sources:\n  in:\n    type: syslog\n    mode: tcp\n    adress: 127.0.0.1:5514\n"),
    (
        "option with another name here",
        "w.yaml",
        "sources:\n  in:\n    type: syslog\n    mode: udp\n    listen: 127.0.0.1:5514\n",
    ),
    (
        "unknown option in a table",
        "w.yaml",
        "sources:\n  in:\n    type: syslog\n    mode: tcp\n    tls: {certificate: a, kye: b}\n",
    ),
    ("unknown option of the journal", "w.yaml", "journal:\n  max_bytes: 1GiB\n"),
    ("missing option", "w.yaml", "sources:\n  in:\n    type: syslog\n    address: 127.0.0.1:5514\n"),
    ("unknown type", "w.yaml", "sources:\n  in:\n    type: syslgo\n"),
    ("missing type", "w.yaml", "sources:\n  in:\n    mode: tcp\n"),
    ("type is a number", "w.yaml", "sources:\n  in:\n    type: 514\n"),
    ("part is a string", "w.yaml", "sources:\n  in: syslog\n"),
    ("parts are a list", "w.yaml", "sources:\n  - type: stdin\n"),
    ("name of a part", "w.yaml", "sources:\n  my input: {type: stdin}\n  wharfinger: {type: stdin}\n"),
    ("unknown value", "w.yaml", "sources:\n  in: {type: syslog, mode: tpc, address: '127.0.0.1:5514'}\n"),
    ("port too large", "w.yaml", "sources:\n  in: {type: syslog, mode: tcp, address: '127.0.0.1:65536'}\n"),
    ("port alone", "w.yaml", "sources:\n  in: {type: syslog, mode: tcp, address: 5514}\n"),
    ("host name to listen on", "w.yaml", "admin:\n  listen: localhost:8686\n"),
    ("bad duration", "w.yaml", "journal:\n  sync_interval: 5 seconds\n"),
    ("duration without a unit", "w.yaml", "journal:\n  sync_interval: 5\n"),
    ("bad size", "w.yaml", "journal:\n  bytes_max: 1.5 gigs\n"),
    ("size too little", "w.yaml", "journal:\n  bytes_max: 1KiB\n"),
    ("boolean as YAML 1.1 wrote it", "w.yaml", "sources:\n  in: {type: stdin, exit_at_eof: yes}\n"),
    ("number for a path", "w.yaml", "data_dir: 17\n"),
    ("string for a list", "w.yaml", "identity:\n  inventory: vms.csv\n"),
    ("string for a table", "w.yaml", "journal: 1GiB\n"),
    ("missing file", "w.yaml", "identity:\n  inventory:\n    - vms.csv\n"),
    ("unknown option of a sink", "w.yaml", "sinks:\n  out: {type: stdout, inputs: [in]}\n"),
    (
        "missing certificate",
        "w.yaml",
        "sources:\n  in:\n    type: syslog\n    mode: tcp\n    address: 0.0.0.0:6514\n    tls: {certificate: a.pem, key: b.pem}\n",
    ),
    ("missing secret", "w.yaml", "sources:\n  in: {type: hec, address: '127.0.0.1:8088', token: {file: token}}\n"),
    ("unknown word for a full journal", "w.yaml", "sinks:\n  out: {type: stdout, on_full: drop}\n"),
    ("a number for a full journal", "w.yaml", "sinks:\n  out: {type: stdout, on_full: 7, formt: cef}\n"),
    ("a filter of a field nobody has", "w.yaml", "sinks:\n  out: {type: stdout, when: 'sevrity >= 5'}\n"),
    ("full journal at a source", "w.yaml", "sources:\n  in: {type: stdin, on_full: block}\n"),
    ("unknown format", "w.yaml", "sinks:\n  out: {type: stdout, format: sef}\n"),
    ("unknown zone", "w.yaml", "sources:\n  in: {type: stdin, zone: CET}\n"),
    ("open to everybody", "w.yaml", "sources:\n  in: {type: syslog, mode: tcp, address: '0.0.0.0:5514'}\n"),
    (
        "one address twice",
        "w.yaml",
        "sources:\n  a: {type: syslog, mode: tcp, address: '127.0.0.1:5514'}\n  b: {type: syslog, mode: udp, address: '127.0.0.1:5514'}\n  c: {type: syslog, mode: tcp, address: '127.0.0.1:5514'}\n  d: {type: syslog, mode: tcp, address: '127.0.0.1:8686'}\n",
    ),
    ("variable not set", "w.yaml", "data_dir: ${WHARF_DIR}/x\n"),
    ("variable with a message", "w.yaml", "data_dir: ${WHARF_DIR:?say where to keep things}\n"),
    ("variable not closed", "w.yaml", "data_dir: ${WHARF_DIR\n"),
    ("tabs", "w.yaml", "sources:\n\tin:\n\t\ttype: stdin\n"),
    ("indentation", "w.yaml", "sources:\n  in:\n    type: syslog\n   mode: tcp\n"),
    ("quotes", "w.yaml", "data_dir: \"/var/lib\n"),
    ("colon in a value", "w.yaml", "data_dir: a: b\n"),
    ("written twice", "w.yaml", "journal:\n  sync: always\n  sync: never\n"),
    ("alias", "w.yaml", "journal: &j\n  sync: always\nadmin: *j\n"),
    ("two documents", "w.yaml", "journal: {}\n---\nadmin: {}\n"),
    ("not a table", "w.yaml", "- sources\n"),
    ("wrong JSON", "w.json", "{\n  \"journal\": {\"sync\": \"always\",}\n}\n"),
    ("JSON written twice", "w.json", "{\"journal\": {}, \"journal\": {}}"),
    ("unknown option in JSON", "w.json", "{\n\t\"journal\": {\n\t\t\"synk\": \"always\"\n\t}\n}\n"),
    ("wrong TOML", "w.toml", "[journal]\nsync = always\n"),
    ("TOML written twice", "w.toml", "[journal]\nsync = \"always\"\nsync = \"never\"\n"),
    ("unknown option in TOML", "w.toml", "[sources.in]\ntype = \"stdin\"\nzonee = \"UTC\"\n"),
    ("ending", "w.conf", "sources: {}\n"),
    ("no ending", "wharfinger", "sources: {}\n"),
    ("escape characters", "w.yaml", "\"\\e[2Jx\": 1\n"),
    (
        "several mistakes",
        "w.yaml",
        "sources:\n  a: {type: stdin, zonee: UTC, max_length: -1}\n  b: {type: stdinn}\njournal: {sync: sometimes}\nnonsense: 1\n",
    ),
];

#[test]
fn every_mistake_in_a_configuration_has_its_line_and_a_hint() {
    let dir = TempDir::new().unwrap();
    let mut all = String::new();
    for (title, file, yaml) in WRONG {
        fs::write(dir.path().join(file), yaml).unwrap();
        let output = run(dir.path(), &["validate", "--config", file], b"");
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{title}: {message}");
        assert!(output.stdout.is_empty(), "{title}");
        assert!(message.starts_with(&format!("error: {file}:")), "{title}: {message}");
        assert_eq!(message.matches("error: ").count(), message.matches("hint: ").count(), "{title}: {message}");
        assert!(message.chars().all(|letter| letter == '\n' || !letter.is_control()), "{title}");
        // Which kinds there are is not what is tested.
        let message = message
            .split_inclusive('\n')
            .map(|line| line.split_once("one of `").map_or(line.to_owned(), |(line, _)| format!("{line}one of …\n")));
        let _ = writeln!(all, "# {title}\n{yaml}\n{}", message.collect::<String>());
    }
    insta::assert_snapshot!("wrong_configurations", all);
}

#[test]
fn files_that_cannot_be_read() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("latin1.yaml"), b"data_dir: /tmp\n# caf\xe9\n").unwrap();
    fs::write(dir.path().join("large.yaml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    fs::create_dir(dir.path().join("folder.yaml")).unwrap();
    for (file, expected) in [
        ("none.yaml", "error: none.yaml: cannot be read: no such file or directory\n\nhint: check the path"),
        ("latin1.yaml", "error: latin1.yaml:2:1: this line is not UTF-8\n\nhint: save the file as UTF-8\n"),
        ("large.yaml", "error: large.yaml: longer than 1048576 bytes\n"),
        ("folder.yaml", "error: folder.yaml: cannot be read: is a directory\n\nhint: name a file in it\n"),
    ] {
        let output = run(dir.path(), &["validate", "-c", file], b"");
        assert_eq!(output.status.code(), Some(78), "{file}");
        assert!(text(&output.stderr).starts_with(expected), "{file}: {}", text(&output.stderr));
    }
}

#[test]
fn a_right_configuration_in_each_language() {
    let dir = TempDir::new().unwrap();
    let files = [
        ("w.yaml", "sources:\n  in: {type: syslog, mode: tcp, address: \"${ADDRESS:-127.0.0.1:0}\"}\nsinks:\n"),
        ("w.toml", "[sources.in]\ntype = \"syslog\"\nmode = \"tcp\"\naddress = \"127.0.0.1:0\"\n"),
        (
            "w.json",
            "{\n\t\"sources\": {\"in\": {\"type\": \"syslog\", \"mode\": \"tcp\", \"address\": \"127.0.0.1:0\"}}\n}\n",
        ),
    ];
    for (file, config) in files {
        fs::write(dir.path().join(file), config).unwrap();
        let output = run(dir.path(), &["validate", "-c", file], b"");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "source in (syslog)\nthe configuration is valid\n");
        let warning =
            format!("warning: {file}: there are no sinks\n\nhint: add one below `sinks`: events stay in the journal\n");
        assert_eq!(text(&output.stderr), warning);
    }
}

#[test]
fn the_configuration_of_the_readme_is_right() {
    let dir = TempDir::new().unwrap();
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let yaml = readme.split_once("```yaml\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    fs::write(
        dir.path().join("rvtools-vinfo.csv"),
        "VM,VM UUID,Primary IP Address\nweb,421f245c-7fa8-60fa-6af6-a46351ced0eb,192.0.2.7\n",
    )
    .unwrap();
    fs::write(dir.path().join("hec-token"), "token").unwrap();
    fs::write(dir.path().join("w.yaml"), yaml.replace("/etc/wharfinger", dir.path().to_str().unwrap())).unwrap();
    let output = run(dir.path(), &["validate", "-c", "w.yaml"], b"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn the_defaults_can_be_written_to_a_file_and_changed() {
    let dir = TempDir::new().unwrap();
    let config = run(dir.path(), &["generate", "config"], b"");
    fs::write(dir.path().join("w.yaml"), &config.stdout).unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/hec-token"), "token").unwrap();
    let mut validate = command(dir.path(), &["validate", "-c", "w.yaml"]);
    let output = validate.env("WHARFINGER_DATA_DIR", dir.path().join("data")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(run(dir.path(), &["validate"], b"").status.code(), Some(64));
}

#[test]
fn the_reference_is_up_to_date() {
    let dir = TempDir::new().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let reference = run(dir.path(), &["generate", "reference"], b"").stdout;
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &reference).unwrap();
    }
    let same = fs::read(&path).is_ok_and(|written| written == reference);
    assert!(same, "docs/configuration.md is behind the code: `BLESS=1 cargo test --test cli reference` writes it anew");
}

#[test]
fn list_shows_the_tables() {
    let dir = TempDir::new().unwrap();
    let table = run(dir.path(), &["list"], b"");
    let json: Value = serde_json::from_slice(&run(dir.path(), &["list", "--json"], b"").stdout).unwrap();
    for format in wharfinger_formats::FORMATS {
        assert!(text(&table.stdout).contains(format.about), "{}", format.name);
        let row = json["formats"].as_array().unwrap().iter().find(|row| row["name"] == format.name).unwrap();
        assert_eq!(row["write"], format.emit.is_some());
    }
    for kind in wharfinger::sinks::SINKS {
        assert!(json["sinks"].as_array().unwrap().iter().any(|row| row["name"] == kind.name), "{}", kind.name);
    }
    for kind in wharfinger::sources::SOURCES {
        assert!(text(&table.stdout).contains(kind.about), "{}", kind.name);
        let row = json["sources"].as_array().unwrap().iter().find(|row| row["name"] == kind.name).unwrap();
        assert!(row["options"].is_object());
    }
    let fields = run(dir.path(), &["list", "fields"], b"");
    assert_eq!(text(&fields.stdout).lines().count(), wharfinger_formats::Field::COUNT + 1);
    assert_eq!(run(dir.path(), &["list", "formatz"], b"").status.code(), Some(64));
}

#[test]
fn selftest_kills_itself_and_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let output = run(dir.path(), &["selftest", "--dir", ".", "--kills", "4", "--seed", "7"], b"");
    let page = text(&output.stdout);
    println!("{page}");
    assert_eq!(output.status.code(), Some(0), "{page}{}", text(&output.stderr));
    assert!(page.contains("4 times") && page.contains("seed 7") && page.contains(" 0 lost, 0 altered"), "{page}");
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
    let output = run(dir.path(), &["selftest", "--dir", "nowhere"], b"");
    assert_eq!(output.status.code(), Some(73), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("hint: name a folder"), "{}", text(&output.stderr));
}

#[test]
fn completion_of_each_shell_knows_the_verbs() {
    let dir = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = run(dir.path(), &["completion", shell], b"");
        for verb in ["convert", "status", "queue", "dlq", "selftest", "undelivered-by"] {
            assert!(text(&output.stdout).contains(verb), "{shell}: {verb}");
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn convert_reads_plain_and_compressed_files_and_stdin() {
    let dir = TempDir::new().unwrap();
    let input = format!("{DOCKER_EVENT}\r\n\n{DOCKER_EVENT}");
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("plain", input.as_bytes());
    // As log rotation appends: several members, several frames.
    write("two.gz", &[gzip(input.as_bytes()), gzip(b"\n"), gzip(input.as_bytes())].concat());
    let frame = zstd::encode_all(input.as_bytes(), 3).unwrap();
    write("two.zst", &[frame.clone(), zstd::encode_all(&b"\n"[..], 3).unwrap(), frame].concat());
    for (arguments, stdin, count) in [
        (&["convert"][..], input.as_bytes(), 2),
        (&["convert", "-"], input.as_bytes(), 2),
        (&["convert"], &gzip(input.as_bytes()), 2),
        (&["convert", "plain"], b"", 2),
        (&["convert", "two.gz"], b"", 4),
        (&["convert", "two.zst", "plain"], b"", 6),
        (&["convert", "--from", "docker_events", "--strict"], input.as_bytes(), 2),
        (&["convert"], b"", 0),
        (&["convert"], b"\n\r\n \n", 0),
    ] {
        let output = run(dir.path(), arguments, stdin);
        assert_eq!(output.status.code(), Some(0), "{arguments:?} {}", text(&output.stderr));
        assert!(output.stderr.is_empty(), "{arguments:?} {}", text(&output.stderr));
        let events = lines(&output);
        assert_eq!(events.len(), count, "{arguments:?}");
        assert!(events.iter().all(|event| event["event_class"] == "container.start"), "{arguments:?}");
    }
}

#[test]
fn convert_counts_what_it_does_not_understand() {
    let dir = TempDir::new().unwrap();
    let input = format!("what is this\n{DOCKER_EVENT}\n\u{1b}[2J\n");
    let loose = run(dir.path(), &["convert"], input.as_bytes());
    assert_eq!(loose.status.code(), Some(0));
    assert_eq!(text(&loose.stderr), "2 of 3 lines not understood: passed on as events of class `unparsed`\n");
    let strict = run(dir.path(), &["convert", "--strict"], input.as_bytes());
    assert_eq!(strict.status.code(), Some(65));
    assert_eq!(strict.stdout, loose.stdout);
    insta::assert_snapshot!("convert_strict", shown(&strict));
}

#[test]
fn convert_names_files_that_are_missing_or_broken() {
    let dir = TempDir::new().unwrap();
    let whole = gzip(format!("{DOCKER_EVENT}\n").repeat(2000).as_bytes());
    fs::write(dir.path().join("cut.gz"), &whole[..whole.len() - 9]).unwrap();
    fs::write(dir.path().join("torn.zst"), b"\x28\xb5\x2f\xfd and then nothing right").unwrap();
    for (arguments, exit) in [
        (["convert", "none.log"], 66),
        (["convert", "cut.gz"], 65),
        (["convert", "torn.zst"], 65),
        (["convert", "."], 66),
    ] {
        let output = run(dir.path(), &arguments, b"");
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{message}");
        assert!(message.starts_with("error: cannot ") && message.contains(arguments[1]), "{message}");
        assert!(message.contains("\n  cause: ") && message.contains("\n\nhint: "), "{message}");
    }
    // What could be read of a cut file is not lost.
    let output = run(dir.path(), &["convert", "cut.gz"], b"");
    assert!(lines(&output).len() >= 1990);
}

#[test]
fn convert_of_an_endless_line_takes_bounded_memory() {
    let dir = TempDir::new().unwrap();
    let part = zstd::encode_all(&vec![b'x'; 1 << 20][..], 1).unwrap();
    let end = zstd::encode_all(format!("\n{DOCKER_EVENT}\n").as_bytes(), 1).unwrap();
    fs::write(dir.path().join("bomb.zst"), [part.repeat(400), end].concat()).unwrap();
    let script = "ulimit -v 250000; exec \"$0\" convert bomb.zst";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_wharfinger")]).current_dir(dir.path()).env_clear();
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let events = lines(&output);
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["event_class"], "unparsed");
    assert!(events[0]["parse.error"].as_str().unwrap().contains("found 419430400 bytes"), "{}", events[0]);
    assert_eq!(events[1]["event_class"], "container.start");
}

#[test]
fn convert_takes_a_closed_pipe_for_the_end() {
    let dir = TempDir::new().unwrap();
    let mut command = command(dir.path(), &["convert"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || while stdin.write_all(format!("{DOCKER_EVENT}\n").as_bytes()).is_ok() {});
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    let status = child.wait().unwrap();
    writer.join().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
    assert!(first.contains("container.start"));
}

#[test]
fn convert_does_not_keep_a_line_for_itself() {
    let dir = TempDir::new().unwrap();
    let mut command = command(dir.path(), &["convert"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..3 {
        stdin.write_all(format!("{DOCKER_EVENT}\n").as_bytes()).unwrap();
        let mut line = String::new();
        // Blocks for ever if the program waits for more input.
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains("container.start"));
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn explain_shows_each_field_and_its_bytes() {
    let dir = TempDir::new().unwrap();
    let output = run(dir.path(), &["explain", DOCKER_EVENT], b"");
    assert_eq!(output.status.code(), Some(0));
    let page = text(&output.stdout);
    let at = DOCKER_EVENT.find("alpine:3").unwrap();
    assert!(page.contains("docker_events") && page.contains("as cef\n") && page.contains("as json\n"), "{page}");
    let image = page.lines().find(|line| line.trim_start().starts_with("image.ref ")).unwrap();
    let word: Vec<&str> = image.split_whitespace().collect();
    let (start, end) = word[1].split_once("..").unwrap();
    assert_eq!(&DOCKER_EVENT[start.parse().unwrap()..end.parse().unwrap()], "alpine:3", "{image} {at}");
    assert_eq!(word[2], "alpine:3");
    assert_eq!(run(dir.path(), &["explain"], DOCKER_EVENT.as_bytes()).stdout, output.stdout);
    assert_eq!(run(dir.path(), &["explain"], b"").status.code(), Some(66));
}

#[test]
fn explain_lets_nothing_act_on_the_terminal() {
    let dir = TempDir::new().unwrap();
    let hostile = [
        b"\x1b]0;owned\x07\x1b[2J\x9b31m\xff\xfe\0\r\x08 plain".to_vec(),
        "\u{202e}drowssap\u{2066}\u{200b}\u{feff}\u{e0041}\u{85}\u{2028}".as_bytes().to_vec(),
        DOCKER_EVENT.replace("web", "\\u001b[31mweb\\u202e\\n\\u0000|=\\\\").into_bytes(),
        b"<34>1 2003-10-11T22:14:15.003Z h\x1b[1m a - - [x@1 k=\"\x1b[0m\xe2\x80\xae\"] m\x07".to_vec(),
        (0..=255).filter(|byte| *byte != b'\n').collect(),
    ];
    for line in hostile {
        let output = run(dir.path(), &["explain"], &line);
        assert_eq!(output.status.code(), Some(0));
        let page = text(&output.stdout);
        let hidden = |letter: char| {
            letter != '\n' && letter.is_control()
                || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
        };
        assert_eq!(page.chars().find(|letter| hidden(*letter)), None, "{page}");
        assert!(page.starts_with("format\n"), "{page}");
    }
}
