//! Wharfinger: takes container-security logs into custody, says on which virtual machine each
//! event happened, and hands it on to a SIEM. ARCHITECTURE.md is the map.

#[macro_use]
mod planted;

pub mod admin;
pub mod archive;
pub mod cli;
pub mod config;
pub mod document;
pub mod facts;
pub mod filter;
pub mod gateway;
pub mod identity;
pub mod intake;
pub mod journal;
pub mod part;
pub mod policy;
pub mod reconcile;
pub mod replay;
pub mod sinks;
pub mod sources;
pub mod stats;
pub mod tls;

/// What fuzz targets see of the inside.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::archive::fuzzing as archive;
    pub use crate::cli::input::lines_of;
    pub use crate::sinks::redact::fuzzing as redact;
    pub use crate::sources::body::inflated;
    pub use crate::sources::forward::fuzzing as forward;
    pub use crate::sources::proxy::fuzzing as proxy;
}

#[cfg(test)]
#[path = "../tests/sim/mod.rs"]
mod sim;
