//! Peers that take seconds to start are shared by all tests of the binary.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::thread;

use crate::support::process::Process;
use crate::support::target_folder;

/// A shared peer in the hands of a test. When the test fails, what the peer said is printed.
pub struct Shared<T: 'static> {
    peer: &'static T,
    process: fn(&T) -> &Process,
}

impl<T> Shared<T> {
    pub fn new(peer: &'static T, process: fn(&T) -> &Process) -> Shared<T> {
        Shared { peer, process }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.peer
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- a shared peer said:\n{}\n---", (self.process)(self.peer).log());
        }
    }
}

/// An empty folder for a shared peer. Short, because a unix socket's path may have 107 bytes only.
pub fn folder(peer: &str) -> PathBuf {
    let folder = target_folder().join("peers/run").join(format!("{peer}.{}", std::process::id()));
    remove_leftovers(folder.parent().expect("has a parent"));
    fs::create_dir_all(&folder).expect("create folder for a peer");
    folder
}

/// A peer removes its folder itself when the test binary ends. If the machine was stopped before,
/// the folder is still there and its process is not.
fn remove_leftovers(run: &Path) {
    for entry in fs::read_dir(run).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().rsplit_once('.').and_then(|(_, pid)| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Another test binary may be removing it at the same time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
