//! What tests of the whole gateway share. Each test binary uses a part of it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod cef;
pub mod chaos;
pub mod flow;
pub mod gateway;
pub mod hec_server;
pub mod inventory;
pub mod lines;
pub mod pki;
pub mod process;
pub mod scripted;
pub mod sealed;
pub mod web_server;

use std::path::{Path, PathBuf};

/// Where `tests/setup-peers` puts what is not a Debian package.
pub fn peers_folder() -> PathBuf {
    target_folder().join("peers")
}

/// Cargo's target folder.
pub fn target_folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the tmp folder has a parent")
}
