//! Who keeps private keys so that nobody can have them: a token, by PKCS#11. What signs is asked through this
//! alone.
//!
//! Invariant: a private key that is kept never leaves its keeper.

use std::fmt::Debug;
use std::sync::Arc;

use super::key_file::{KeyError, KeyFile};

/// What a key is known by to its keeper: random bytes.
pub type KeyId = [u8; 16];

/// Keeps Ed25519 keys and signs with them. Calls may wait for it.
pub trait Keeper: Debug + Send + Sync {
    /// Makes a pair of keys; answers the public one. The label is for people.
    ///
    /// # Errors
    /// [`KeyError::Away`] when the same may work later, [`KeyError::Refused`] when somebody is to do something.
    fn generate(&self, id: &KeyId, label: &str) -> Result<[u8; 32], KeyError>;

    /// Signs.
    ///
    /// # Errors
    /// As [`generate`](Keeper::generate).
    fn sign(&self, id: &KeyId, bytes: &[u8]) -> Result<[u8; 64], KeyError>;

    /// Destroys a pair; fine if there is none.
    ///
    /// # Errors
    /// As [`generate`](Keeper::generate).
    fn destroy(&self, id: &KeyId) -> Result<(), KeyError>;
}

/// Where the keys of a stream come from.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// The file of the first key; it is taken over.
    pub first: Option<KeyFile>,
    /// Who keeps those that are made; without him they are in files.
    pub keeper: Option<Arc<dyn Keeper>>,
}
