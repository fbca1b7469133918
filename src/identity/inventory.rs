//! Inventory files: which machines exist, as somebody else knows them.
//!
//! Told apart by what is in them: CSV (`.csv`) of RVTools, PowerCLI or one's own; JSON (`.json`) of govc or one's own;
//! own lists in YAML and TOML.
//!
//! Invariant: a file is taken as a whole or not at all, and one that changes while it is read not at all.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Entry, duplicates, encoding, govc, own, spreadsheet};
use crate::document::{self, Language, Mistake, Mistakes};

/// Larger files are refused: 100,000 machines take about 60 MB in RVTools' widest form.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// So many things are told of one file.
pub const NOTES_MAX: usize = 10_000;

/// What a file or a provider says.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Who wrote it: `RVTools`, `PowerCLI`, `govc`, `own list`.
    pub kind: &'static str,
    pub entries: Vec<Entry>,
    /// What is odd in it, in the order of its lines. It can be used all the same.
    pub notes: Vec<Note>,
}

impl Inventory {
    /// Joins what is said twice of one machine, and notes what several share.
    #[must_use]
    pub fn joined(mut self) -> Inventory {
        self.entries.iter_mut().for_each(Entry::bound);
        duplicates::join(&mut self);
        self.notes.sort_by_key(|note| note.line);
        self.notes.truncate(NOTES_MAX);
        self
    }
}

/// Something odd, and what was done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Zero: of no line.
    pub line: usize,
    pub text: String,
}

/// An inventory file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    #[error(transparent)]
    Wrong(#[from] Mistakes),
}

impl InventoryError {
    /// Every mistake, with its place.
    pub fn mistakes(&self) -> &Mistakes {
        let InventoryError::Wrong(mistakes) = self;
        mistakes
    }
}

/// Reads one file.
///
/// # Errors
/// It cannot be read or understood, names no machine, or changes while it is read: every mistake with file, line and
/// what to do.
pub fn read(path: &Path) -> Result<Inventory, InventoryError> {
    let before = State::of(path);
    let read = read_once(path);
    if State::of(path).ok() != before.ok() {
        let hint = "it is read again when it has come to rest; better write a new file and rename it";
        let mistake = Mistake::new(None, "was changed or replaced while it was read", hint);
        return Err(Mistakes::new(path, vec![mistake]).into());
    }
    read
}

fn read_once(path: &Path) -> Result<Inventory, InventoryError> {
    let one = |mistake| Mistakes::new(path, vec![mistake]);
    let ends_in = |ending: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending));
    let is_csv = ends_in("csv") || ends_in("tsv");
    if !is_csv {
        Language::of(path).map_err(|mistake| {
            let hint = "exports of RVTools and PowerCLI end in `.csv`, govc's in `.json`, own lists in `.csv`, `.yaml`, `.toml` or `.json`";
            one(Mistake::new(None, mistake.cause, hint))
        })?;
    }
    let bytes = document::read_bytes(path, FILE_BYTES_MAX).map_err(one)?;
    let decoded = encoding::decode(&bytes).map_err(one)?;
    let mut inventory =
        if is_csv { spreadsheet::read(&decoded.text).map_err(one)? } else { from_document(path, &decoded)? };
    if let Some(line) = decoded.odd_line {
        let text = "the file is not UTF-8 from this line on: read as Windows-1252".to_owned();
        inventory.notes.push(Note { line, text });
    }
    // An own list may be empty on purpose; an export that is has gone wrong.
    if inventory.entries.is_empty() && inventory.kind != own::KIND {
        return Err(one(Mistake::new(None, "names no machine", "export it again")).into());
    }
    Ok(inventory.joined())
}

fn from_document(path: &Path, decoded: &encoding::Decoded<'_>) -> Result<Inventory, InventoryError> {
    let one = |mistake| Mistakes::new(path, vec![mistake]);
    let language = Language::of(path).map_err(one)?;
    // What people write themselves they can save as UTF-8.
    if let Some(line) = decoded.odd_line {
        let place = document::Place { line, column: 1 };
        return Err(one(Mistake::new(place, "this line is not UTF-8", "save the file as UTF-8")).into());
    }
    if language == Language::Json && govc::is_one(&decoded.text) {
        return Ok(govc::read(&decoded.text).map_err(one)?);
    }
    let root = document::read(&decoded.text, language).map_err(one)?;
    let entries = own::read_list(&root).map_err(|mistakes| Mistakes::new(path, mistakes))?;
    Ok(Inventory { kind: own::KIND, entries, notes: Vec::new() })
}

/// What tells that a file is no longer the one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl State {
    /// # Errors
    /// Nobody can look at it.
    pub fn of(path: &Path) -> io::Result<State> {
        let of = |file: Metadata| State {
            device: file.dev(),
            inode: file.ino(),
            len: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        };
        std::fs::metadata(path).map(of)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn file(name: &str, bytes: &[u8]) -> Result<Inventory, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        read(&path).map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    #[test]
    fn each_kind_is_known_by_what_is_in_it() {
        let utf16: Vec<u8> = "\u{feff}#TYPE VMware.X\r\n\"Name\",\"Id\"\r\n\"Büro\",\"VirtualMachine-vm-1\"\r\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let cases: [(&str, &[u8], &str, &str); 7] = [
            ("a.csv", b"VM,VM ID\nweb,vm-1\n", "RVTools", "web"),
            ("a.CSV", &utf16, "PowerCLI", "Büro"),
            ("a.csv", b"name;group\nweb;lab\n", "own list", "web"),
            ("a.csv", b"VM,VM ID\nB\xfcro,vm-1\n", "RVTools", "Büro"),
            ("a.json", b"{\"virtualMachines\": [{\"name\": \"web\"}]}", "govc", "web"),
            ("a.json", b"{\"machines\": [{\"name\": \"web\"}]}", "own list", "web"),
            ("a.yaml", b"machines: [{name: web}]\n", "own list", "web"),
        ];
        for (name, bytes, kind, machine) in cases {
            let inventory = file(name, bytes).unwrap();
            assert_eq!((inventory.kind, inventory.entries[0].name.as_str()), (kind, machine));
        }
    }

    #[test]
    fn what_cannot_be_used_says_where_and_what_to_do() {
        for (name, bytes, expected) in [
            ("a.csv", &b"VM,VM ID\n"[..], "a.csv: names no machine"),
            ("a.csv", b"Host,Cluster\nx,y\n", "a.csv:1:1: no column `VM`, `vInfoVMName`, `Name` or `name`"),
            ("a.csv", b"VM,Note\nweb,\"cut", "a.csv:2:1: a cell in quotes does not end"),
            ("a.csv", b"\xff\xfeV\0M\0\n\0a", "a.csv:2:1: UTF-16 with an odd number of bytes"),
            ("a.json", b"{\"virtualMachines\": []}", "a.json: names no machine"),
            ("a.json", b"{\"virtualMachines\": [\n{\"name\": 7}]}", "a.json:2:"),
            ("a.yaml", b"machines:\n  - name: B\xfcro\n", "a.yaml:2:1: this line is not UTF-8"),
            ("a.xlsx", b"PK", "a.xlsx: the ending `.xlsx` is not known here"),
        ] {
            let error = file(name, bytes).unwrap_err();
            assert!(error.starts_with(expected), "{expected}\n{error}");
            assert!(error.contains("hint: "), "{error}");
        }
        assert!(file("a.yaml", b"machines: []\n").unwrap().entries.is_empty(), "on purpose");
    }

    /// The reader waits at a pipe that stands where the file is; meanwhile another file takes that place.
    #[test]
    fn a_file_that_is_replaced_while_it_is_read_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (path, new) = (dir.path().join("a.csv"), dir.path().join("new"));
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        std::fs::write(&new, "VM,VM ID\nnew,vm-2\n").unwrap();
        let at = path.clone();
        let writer = std::thread::spawn(move || {
            let mut pipe = std::fs::File::options().write(true).open(&at).unwrap();
            std::fs::rename(&new, &at).unwrap();
            std::io::Write::write_all(&mut pipe, b"VM,VM ID\nold,vm-1\n").unwrap();
        });
        let error = read(&path).unwrap_err().to_string();
        writer.join().unwrap();
        assert!(error.contains("a.csv: was changed or replaced while it was read"), "{error}");
        assert_eq!(read(&path).unwrap().entries[0].name, "new");
    }

    /// Whatever the bytes are, nothing panics, and each line is at most one machine.
    #[test]
    fn hostile_files() {
        use proptest::prelude::*;
        let words = [
            "VM",
            "Name",
            "name",
            "VM UUID",
            "#TYPE x",
            ",",
            ";",
            "\"",
            "\n",
            "\r\n",
            "\u{feff}",
            "{",
            "}",
            "[",
            "]",
            ":",
            "virtualMachines",
            "config",
            "uuid",
            "421f245c-7fa8-60fa-6af6-a46351ced0eb",
            "<domain>",
            "</domain>",
            "&amp;",
            "ü",
        ];
        let text = proptest::collection::vec(
            prop_oneof![proptest::sample::select(words.to_vec()).prop_map(str::to_owned), ".{0,4}"],
            0..40,
        );
        proptest!(ProptestConfig::with_cases(512), |(text in text, bytes in proptest::collection::vec(any::<u8>(), 0..80))| {
            let text = text.concat();
            for bytes in [text.as_bytes(), &bytes, &[&[0xff, 0xfe], &*bytes].concat()] {
                let Ok(decoded) = encoding::decode(bytes) else { continue };
                let mut read: Vec<Inventory> = [spreadsheet::read(&decoded.text), govc::read(&decoded.text)].into_iter().flatten().collect();
                for inventory in &mut read {
                    prop_assert!(inventory.entries.len() <= decoded.text.len() + 1);
                    duplicates::join(inventory);
                }
                let _ = super::super::xml::read(&decoded.text);
            }
        });
    }

    #[test]
    fn a_hundred_thousand_rows() {
        let mut text = "VM,Powerstate,DNS Name,Primary IP Address,VM ID,SMBIOS UUID,VM UUID\r\n".to_owned();
        for n in 0..100_000_u32 {
            let (a, b) = (n / 250, n % 250);
            let _ = write!(
                text,
                "vm-{n},poweredOn,vm-{n}.example,10.{}.{}.{b},vm-{n},421f245c-7fa8-60fa-6af6-{n:012x},5001245c-7fa8-60fa-6af6-{n:012x}\r\n",
                a / 250,
                a % 250
            );
        }
        let inventory = file("a.csv", text.as_bytes()).unwrap();
        assert_eq!((inventory.entries.len(), inventory.notes.len()), (100_000, 0));
        assert_eq!(inventory.entries[99_999].line, 100_001);
    }
}
