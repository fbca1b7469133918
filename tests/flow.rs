//! Flow: events from a journal through `drive` and a sink to a scripted peer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "flow/accounting.rs"]
mod accounting;
#[path = "flow/drive.rs"]
mod drive;
#[path = "flow/failover.rs"]
mod failover;
#[path = "flow/hec_acks.rs"]
mod hec_acks;
#[path = "flow/http.rs"]
mod http;
#[path = "flow/policy.rs"]
mod policy;
#[path = "flow/receipts.rs"]
mod receipts;
#[path = "flow/recipes.rs"]
mod recipes;
#[path = "flow/redaction.rs"]
mod redaction;
#[path = "flow/relp.rs"]
mod relp;
#[cfg(feature = "s3")]
#[path = "flow/s3.rs"]
mod s3;
#[path = "flow/silence.rs"]
mod silence;
#[path = "flow/splunk_hec.rs"]
mod splunk_hec;
mod support;
#[path = "flow/syslog.rs"]
mod syslog;
#[path = "flow/ways.rs"]
mod ways;
