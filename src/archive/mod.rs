//! The archive: objects that are made once, and a chain of signed seals over them that anyone can check
//! offline with one public key. The format is docs/custody.md.
//!
//! Way of an event: journal → sink `archive` → **object → seal → checkpoint** → store.
//!
//! Invariants: what is put under a key was on this machine's disk before, so that a crash puts the same
//! bytes again; a key is never written with other bytes; reading trusts nothing but the public key it is
//! given.

mod chain;
mod checkpoint;
mod der;
mod dir;
mod error;
#[cfg(fuzzing)]
#[allow(clippy::expect_used)]
pub mod fuzzing;
mod head;
mod hold;
mod keeper;
mod key_file;
mod manifest;
#[cfg(any(test, fuzzing))]
mod memory;
mod merkle;
mod note;
mod object;
mod outbox;
mod proof;
mod read;
mod seal;
mod state;
mod store;
mod streams;
mod timestamp;
#[cfg(feature = "pkcs11")]
mod token;
mod verify;
mod witness;

pub use chain::{Chain, Standing};
pub use checkpoint::checkpoint_of;
pub use dir::Dir;
pub use error::ChainError;
pub use head::Reached;
pub use hold::{Day, Hold, Said, clear_hold, holds, retention, set_hold};
pub use keeper::{Keeper, KeyId, Keys};
pub use key_file::{KeyError, KeyFile};
pub use manifest::{MANIFEST, Manifest};
pub use merkle::Tree;
pub use note::{SigningKey, VerifyingKey};
pub use object::{Object, OpenStore, Origin};
pub use outbox::write_whole;
pub use proof::{Proof, Shown, prove};
pub use read::{Lines, Objects, Period, Place, Reader, Reading, Sealed, Unread, read_archive, read_events, received};
pub use seal::{Gap, Source, Tally};
pub use store::{Kept, Put, Store, is_key, read_small};
pub use streams::streams;
pub use timestamp::{STAMP_BYTES_MAX, Stamp, accept, authorities, request, stamp_key, unstamped};
#[cfg(feature = "pkcs11")]
pub use token::Token;
pub use verify::{
    Fault, Finding, Mark, Others, PassedOver, Question, Report, Stamped, Verdict, Watch, Witnessed, verify,
    verify_archive, verify_object, verify_part,
};
pub use witness::{COSIGNATURES_BYTES_MAX, LogKey, Seen, Submission, WitnessKey, unwitnessed};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
