//! What a pack shows people, looked at by programs of others: the summary as Chromium and poppler draw it beside kept
//! pictures, the PDF before PDFBox's Preflight (PDF/A-1) and qpdf, the workbook as openpyxl reads it.
//!
//! `BLESS=1` keeps the pictures that are drawn now; look at them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::peers_are_off;
use crate::support::peers_folder;
use crate::support::sealed::Archive;

/// A pack, and what is drawn of it.
struct Pack {
    archive: Archive,
    folder: PathBuf,
}

impl Pack {
    fn of(archive: Archive) -> Pack {
        let folder = archive.dir.path().join("pack");
        run(&mut archive.export("pci-dss-4.0.1", &folder));
        Pack { archive, folder }
    }

    fn drawn(&self) -> PathBuf {
        let drawn = self.archive.dir.path().join("drawn");
        fs::create_dir_all(&drawn).unwrap();
        drawn
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run `tests/setup-peers`"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}

/// What `tests/peers/pages.py` says of these.
fn python(words: &[&Path], what: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/pages.py");
    let mut command = Command::new(peers_folder().join("office/bin/python"));
    String::from_utf8(run(command.arg(script).arg(what).args(words)).stdout).unwrap()
}

/// Draws each sheet of a PDF, and lays them beside those that are kept.
fn looks_as_kept(pdf: &Path, name: &str, drawn: &Path) {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pack").join(name);
    let drawn = drawn.join(name);
    fs::create_dir_all(&drawn).unwrap();
    run(Command::new("pdftoppm").args(["-r", "60", "-gray", "-png"]).arg(pdf).arg(drawn.join("sheet")));
    if std::env::var_os("BLESS").is_some() {
        let _ = fs::remove_dir_all(&kept);
        fs::create_dir_all(&kept).unwrap();
        for entry in fs::read_dir(&drawn).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, kept.join(path.file_name().unwrap())).unwrap();
        }
    }
    let said = python(&[&kept, &drawn], "pictures");
    assert!(said.is_empty(), "{said}the pictures are in `{}`; BLESS=1 keeps them", drawn.display());
}

#[test]
fn the_summary_looks_as_it_did() {
    if peers_are_off() {
        return;
    }
    let pack = Pack::of(Archive::whole());
    let drawn = pack.drawn();
    looks_as_kept(&pack.folder.join("summary.pdf"), "pdf", &drawn);
    let printed = drawn.join("printed.pdf");
    let profile = format!("--user-data-dir={}", drawn.join("profile").display());
    let mut chromium = Command::new("chromium");
    chromium.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", &profile]);
    chromium.arg(format!("--print-to-pdf={}", printed.display()));
    run(chromium.arg(format!("file://{}", pack.folder.join("summary.html").display())));
    looks_as_kept(&printed, "html", &drawn);
}

#[test]
fn the_pdf_is_pdf_a_and_says_what_the_page_says() {
    if peers_are_off() {
        return;
    }
    [Archive::whole(), Archive::hostile()].map(Pack::of).iter().for_each(is_pdf_a);
}

fn is_pdf_a(pack: &Pack) {
    let pdf = pack.folder.join("summary.pdf");
    run(Command::new("qpdf").arg("--check").arg(&pdf));
    let jars =
        ["preflight", "pdfbox2", "fontbox2", "xmpbox", "commons-logging", "javax.activation", "jaxb-api", "commons-io"];
    let jars = jars.map(|jar| format!("/usr/share/java/{jar}.jar")).join(":");
    let mut preflight = Command::new("java");
    run(preflight.args(["-cp", &jars, "org.apache.pdfbox.preflight.Validator_A1b"]).arg(&pdf));
    let structure = run(Command::new("pdfinfo").arg("-struct-text").arg(&pdf)).stdout;
    let structure = String::from_utf8(structure).unwrap();
    let said = python(&[&pack.folder.join("summary.html")], "words");
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.lines().count() > 100, "{said}");
    for name in ["H1", "H2", "Table", "TH", "TD", "Figure", "LBody"] {
        assert!(structure.lines().any(|line| line.trim_start().starts_with(name)), "{name}: {structure}");
    }
    let text = run(Command::new("pdftotext").args(["-raw"]).arg(&pdf).arg("-")).stdout;
    let text = String::from_utf8(text).unwrap();
    // What stands below each sheet is of none of them.
    let lines: Vec<_> = text.lines().filter(|line| !line.contains(" – page ")).collect();
    let text = squeezed(&lines.join(" ")).replace(' ', "");
    let mut rest = text.as_str();
    for line in said.lines() {
        let behind = rest.split_once(&squeezed(line).replace(' ', ""));
        rest = behind.unwrap_or_else(|| panic!("{line:?} is in the page and not in the PDF, before {rest:.200}")).1;
    }
    let bare = run(Command::new("qpdf").args(["--qdf", "--object-streams=disable"]).arg(&pdf).arg("-")).stdout;
    let bare = String::from_utf8_lossy(&bare);
    for act in ["/JS ", "/JavaScript", "/URI", "/Annots", "/AA ", "/OpenAction", "/EmbeddedFile", "/Launch"] {
        assert!(!bare.contains(act), "{act}");
    }
}

#[test]
fn the_workbook_holds_the_tables() {
    if peers_are_off() {
        return;
    }
    for archive in [Archive::whole(), Archive::hostile()] {
        let said = python(&[&Pack::of(archive).folder], "workbook");
        assert_eq!(said.trim(), "coverage findings gaps tally details");
    }
}
