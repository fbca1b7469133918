//! The token of an archive, as the configuration says it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::archive::{Keeper, Token};
use crate::part::Problem;

/// A token that is reached by PKCS#11.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// The library of its maker: `/usr/lib/softhsm/libsofthsm2.so`.
    pub module: PathBuf,
    /// The label of the token.
    pub token: String,
    /// The file with the PIN of its user, which nobody else may read. A PIN that was refused is not tried again
    /// until the file is written anew.
    pub pin_file: PathBuf,
}

impl TokenConfig {
    pub(super) fn check(&self, has_key: bool) -> Vec<Problem> {
        let files = [("pkcs11.module", &self.module), ("pkcs11.pin_file", &self.pin_file)];
        let mut problems: Vec<Problem> =
            files.into_iter().filter_map(|(option, path)| Problem::for_file(option, path)).collect();
        if has_key {
            let message = "the first key is made in the token: one from a file was somewhere else before".to_owned();
            problems.push(Problem { option: "key", message, hint: "leave out `key` or `pkcs11`".to_owned() });
        }
        problems
    }

    pub(super) fn open(&self, state: &Path) -> Arc<dyn Keeper> {
        let TokenConfig { module, token, pin_file } = self.clone();
        Arc::new(Token::new(module, token, pin_file, state))
    }
}
