//! Files that grow, are rotated, truncated, and followed across restarts.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::Yard;

fn append(path: &Path, lines: &str) {
    File::options().create(true).append(true).open(path).unwrap().write_all(lines.as_bytes()).unwrap();
}

#[tokio::test]
async fn rotation_by_rename_and_by_truncation() {
    let mut yard = Yard::new();
    let folder = yard.folder.path().join("logs");
    fs::create_dir(&folder).unwrap();
    let log = folder.join("app.log");
    let source = yard.start("file", json!({"include": [log], "poll_interval": "50ms", "rotate_wait": "200ms"}));
    // The file is not there yet.
    append(&log, "one\n");
    assert_eq!(yard.raws(1).await, ["one"]);

    // Renamed; the writer goes on for a while in the old file.
    fs::rename(&log, folder.join("app.log.1")).unwrap();
    append(&folder.join("app.log.1"), "two\n");
    append(&log, "three\n");
    let mut both = yard.raws(2).await;
    both.sort();
    assert_eq!(both, ["three", "two"]);

    // Copied and truncated.
    fs::copy(&log, folder.join("app.log.2")).unwrap();
    File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    append(&log, "four\n");
    assert_eq!(yard.raws(1).await, ["four"]);

    // The last line of a deleted file has no end.
    append(&log, "no end");
    fs::remove_file(&log).unwrap();
    assert_eq!(yard.raws(1).await, ["no end"]);
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn what_is_written_right_before_a_cut_is_read_in_the_copy() {
    let mut yard = Yard::new();
    let folder = yard.folder.path().join("logs");
    fs::create_dir(&folder).unwrap();
    let log = folder.join("app.log");
    let source = yard.start("file", json!({"include": [log], "poll_interval": "50ms"}));
    for round in 0..10 {
        let (known, late) = (format!("{round}: it is known by this"), format!("{round}: right before the cut"));
        append(&log, &format!("{known}\n"));
        assert_eq!(yard.raws(1).await, [known]);
        append(&log, &format!("{late}\n"));
        fs::copy(&log, folder.join(format!("copy.{round}"))).unwrap();
        File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
        assert_eq!(yard.raws(1).await, [late]);
    }
    source.stop().await;
    yard.is_empty().await;
}

/// One that is always written to puts off nobody's search: a folder that was not there cannot be watched.
#[tokio::test]
async fn a_file_in_a_new_folder_is_found_while_another_grows() {
    let mut yard = Yard::new();
    let folder = yard.folder.path().join("logs");
    fs::create_dir(&folder).unwrap();
    let (busy, late) = (folder.join("busy.log"), yard.folder.path().join("later/late.log"));
    let source = yard.start("file", json!({"include": [busy, late], "poll_interval": "100ms"}));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = std::thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                append(&busy, "busy\n");
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    });
    assert_eq!(yard.raws(1).await, ["busy"]);
    fs::create_dir(late.parent().unwrap()).unwrap();
    append(&late, "late\n");
    let mut seen = 0;
    while !yard.raws(1).await.contains(&"late".to_owned()) {
        seen += 1;
        assert!(seen < 1_000, "the late file is not found");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
    source.stop().await;
}

#[tokio::test]
async fn a_restart_neither_loses_nor_repeats() {
    let mut yard = Yard::new();
    let folder = yard.folder.path().join("logs");
    fs::create_dir_all(folder.join("deep")).unwrap();
    let options =
        json!({"include": [folder.join("**/*.log")], "exclude": [folder.join("no*.log")], "poll_interval": "50ms"});
    append(&folder.join("no.log"), "excluded\n");
    append(&folder.join("packed.log.gz"), "packed\n");
    for round in 0..5 {
        let a = folder.join("a.log");
        append(&a, &format!("a {round} before\n"));
        append(&folder.join("deep/b.log"), &format!("b {round}\npart"));
        if round == 3 {
            // Rotated while the gateway is down: the rest stands in a file that no pattern finds.
            fs::rename(&a, folder.join("a.old")).unwrap();
            append(&a, "a new\n");
        }
        let source = yard.start("file", options.clone());
        let mut expected =
            vec![format!("a {round} before"), format!("{}b {round}", "part".repeat(usize::from(round > 0)))];
        if round == 3 {
            expected.push("a new".to_owned());
        }
        expected.sort();
        let mut lines = yard.raws(expected.len()).await;
        lines.sort();
        assert_eq!(lines, expected);
        append(&a, &format!("a {round} during\n"));
        assert_eq!(yard.raws(1).await, [format!("a {round} during")]);
        source.stop().await;
        yard.is_empty().await;
    }
}

#[tokio::test]
async fn only_what_is_new_when_told_so() {
    let mut yard = Yard::new();
    let log = yard.folder.path().join("app.log");
    append(&log, "old\nhal");
    let options = json!({"include": [yard.folder.path().join("*.log")], "read_from": "end", "poll_interval": "50ms"});
    let source = yard.start("file", options.clone());
    // Its position is stored before anything new comes.
    while yard.journal.mark("in/started").is_none() {
        tokio::task::yield_now().await;
    }
    source.stop().await;
    append(&log, "f\nnew\n");
    append(&yard.folder.path().join("later.log"), "later\n");
    let source = yard.start("file", options);
    let mut lines = yard.raws(3).await;
    lines.sort();
    assert_eq!(lines, ["half", "later", "new"]);
    source.stop().await;
    yard.is_empty().await;
}

#[tokio::test]
async fn many_lines_in_many_files() {
    let mut yard = Yard::new();
    let folder = yard.folder.path().join("logs");
    fs::create_dir(&folder).unwrap();
    let (files, lines) = (50, 1000);
    for file in 0..files {
        let text: String = (0..lines).map(|line| format!("{file} {line}\n")).collect();
        append(&folder.join(format!("{file}.log")), &text);
    }
    append(&folder.join("long.log"), &format!("{}\n", "x".repeat(1 << 20)));
    let source = yard.start("file", json!({"include": [folder.join("*.log")]}));
    let events = yard.events(files * lines + 1).await;
    let mut next = vec![0; files];
    for event in events.iter().filter(|event| event.field("parse.status") != "failed" || event.raw.len() < 100) {
        let raw = event.raw();
        let (file, line) = raw.split_once(' ').unwrap();
        let next = &mut next[file.parse::<usize>().unwrap()];
        assert_eq!(line.parse::<usize>().unwrap(), *next, "in order");
        *next += 1;
    }
    assert_eq!(next, vec![lines; files]);
    assert!(events.iter().any(|event| event.field("parse.error").contains("1048576 bytes")));
    source.stop().await;
}
