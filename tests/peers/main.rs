//! The gateway against software written by others: rsyslog, syslog-ng, a Docker Engine, S3 servers, a browser,
//! a vCenter, libvirt.
//!
//! `tests/setup-peers` installs them. An absent peer is a failure, unless `WHARFINGER_PEERS=off`.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod archive;
mod browser;
mod buckets;
mod chaos;
mod containers;
mod custody;
mod digests;
mod docker;
mod drivers;
mod harness;
mod hec_clients;
mod identity;
mod inspect;
mod journald;
mod lifecycle;
mod live;
mod logs;
mod objects;
mod pages;
mod proxied;
mod pycef;
mod relp;
mod replay;
mod reports;
mod restart;
mod rsyslog;
mod s3;
mod shared;
mod slow_clients;
mod structured;
#[path = "../support/mod.rs"]
mod support;
mod syslog;
mod syslog_ng;
mod syslog_peer;
mod timestamps;
mod tokens;
mod witnesses;

/// Whether the peers were switched off by hand. Says so, once a test.
fn peers_are_off() -> bool {
    let off = std::env::var_os("WHARFINGER_PEERS").is_some_and(|value| value == "off");
    if off {
        eprintln!("skipped: WHARFINGER_PEERS=off");
    }
    off
}
