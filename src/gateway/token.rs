//! Tokens that the gateway makes for itself: one for the built-in HEC source, one for the admin page.
//!
//! Invariant: a token is made once, is whole or absent whatever happens meanwhile, and only its owner can read it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::hex;

/// The file of the built-in HEC source's token in the data directory.
pub(super) const HEC: &str = "hec-token";
/// The file of the admin page's token.
const PAGE: &str = "page-token";

/// Where the token of the admin page is.
pub fn page_token_file(data_dir: &Path) -> PathBuf {
    data_dir.join(PAGE)
}

/// The token of the admin page; made when it is not there yet.
///
/// # Errors
/// It cannot be written or read.
pub fn page_token(data_dir: &Path) -> anyhow::Result<String> {
    super::make_private_dir(data_dir)?;
    make(data_dir, PAGE)?;
    let path = page_token_file(data_dir);
    let token = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(token.trim().to_owned())
}

/// Makes a token in that file, if there is none.
///
/// # Errors
/// It cannot be written.
pub(super) fn make(data_dir: &Path, name: &str) -> anyhow::Result<()> {
    let path = data_dir.join(name);
    match fs::read_to_string(&path) {
        Ok(token) if !token.trim().is_empty() => return Ok(()),
        // An empty one is none: everybody knows it.
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read the token `{}`", path.display())),
    }
    write(data_dir, &path).with_context(|| format!("cannot write the token `{}`", path.display()))
}

fn write(data_dir: &Path, path: &Path) -> anyhow::Result<()> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let digits = hex(&random);
    // The form of a GUID, as Splunk's own tokens have it: some clients insist.
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(parts.join("-").as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(data_dir)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_never_empty() {
        let dir = tempfile::tempdir().unwrap();
        let token = page_token(dir.path()).unwrap();
        assert_eq!(token.len(), 36);
        assert_eq!(page_token(dir.path()).unwrap(), token);
        assert_eq!(fs::metadata(page_token_file(dir.path())).unwrap().permissions().mode() & 0o777, 0o600);
        // What a power loss could leave of a file that nobody synced.
        fs::write(page_token_file(dir.path()), "\n").unwrap();
        let another = page_token(dir.path()).unwrap();
        assert!(another.len() == 36 && another != token);
    }
}
