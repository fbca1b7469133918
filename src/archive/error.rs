//! Why a stream takes nothing now.

use std::io;
use std::path::PathBuf;

use super::key_file::KeyError;

/// Nothing can be sealed now.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("`{}` is damaged: {cause}", path.display())]
    Damaged { path: PathBuf, cause: String },
    #[error("a seal would not be readable: {0}")]
    Unsound(String),
    #[error("another writer holds the stream: `{key}` is in the store with other content; stream {stream} begins")]
    Occupied { key: String, stream: u64 },
}

impl ChainError {
    /// Whether it stays so until somebody does something.
    pub fn is_for_people(&self) -> bool {
        match self {
            ChainError::Io(error) => error.kind() == io::ErrorKind::PermissionDenied,
            ChainError::Key(KeyError::Away(_)) => false,
            ChainError::Key(_) | ChainError::Damaged { .. } | ChainError::Unsound(_) => true,
            ChainError::Occupied { .. } => false,
        }
    }
}
