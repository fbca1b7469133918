//! Providers: who is asked which machines there are, again and again, beside the files.
//!
//! A provider is one file and its row in [`PROVIDERS`]. It answers with the whole inventory or not at all; the gateway
//! asks in time and keeps the last good answer.
//!
//! Invariant: an answer is bounded in bytes and in time, and no provider asks anybody that the configuration does not
//! name.

use std::time::Duration;

use async_trait::async_trait;

use super::inventory::Inventory;
use super::{Entry, aws, azure, gce, guestinfo, libvirt, proxmox, vcenter};
use crate::part::{Interval, Kind, Problem, SetupError};

/// Every type of provider.
pub const PROVIDERS: &[Kind<dyn ProviderConfig>] =
    &[aws::KIND, azure::KIND, gce::KIND, guestinfo::KIND, libvirt::KIND, proxmox::KIND, vcenter::KIND];

/// How often a server is asked, unless it is written.
pub(super) fn every() -> Interval {
    Interval::seconds(300)
}

/// How long an answer of a server may take, unless it is written.
pub(super) fn timeout() -> Interval {
    Interval::seconds(120)
}

/// What users write of a provider.
pub trait ProviderConfig: std::fmt::Debug + Send + Sync {
    /// What is wrong with it on this machine.
    fn check(&self) -> Vec<Problem>;

    /// How often it is asked.
    fn every(&self) -> Duration;

    /// How long one answer may take, with all its parts.
    fn timeout(&self) -> Duration;

    /// # Errors
    /// It cannot be asked with these options.
    fn open(&self) -> Result<Box<dyn Provider>, SetupError>;
}

/// One who is asked.
#[async_trait]
pub trait Provider: Send {
    /// Everything it knows now.
    ///
    /// # Errors
    /// It did not answer, or not with what it should.
    async fn ask(&mut self) -> Result<Told, ProviderError>;
}

/// What it knows.
#[derive(Debug)]
pub enum Told {
    /// Which machines there are.
    Machines(Inventory),
    /// What the machine is that the gateway runs on.
    ThisMachine(Box<Entry>),
}

/// Why there is no answer: what an event says of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProviderError(String);

impl ProviderError {
    pub fn new(text: impl Into<String>) -> ProviderError {
        ProviderError(text.into())
    }
}
