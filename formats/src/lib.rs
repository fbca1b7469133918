//! `wharfinger-formats`: container-security logs from bytes to [`Event`] and back to bytes.
//!
//! Every parser borrows from its input and is *total* through [`parse`]: what no parser accepts
//! becomes an event of class `unparsed` that carries the reason. Every emitter appends exactly one
//! record, whatever bytes the fields hold.
//!
//! The module `examples` has one for each format. `Cargo.toml` names the features: without `default` there are syslog,
//! native JSON and the framers; each other family is a feature of its own.
//!
//! Invariant: no I/O, no clock, no async, no unsafe, no panic. Time is an argument ([`Context`]).

// What a part of the formats does not need is there for the others.
#![cfg_attr(not(feature = "default"), allow(dead_code, unused_imports))]

#[macro_use]
mod planted;

#[cfg(feature = "auditd")]
mod auditd;
mod carried;
mod cee;
#[cfg(feature = "cef")]
mod cef;
#[cfg(feature = "schemas")]
mod classes;
mod cursor;
mod detect;
#[cfg(any(feature = "docker", feature = "schemas"))]
mod docker_actions;
#[cfg(feature = "docker")]
mod docker_events;
#[cfg(feature = "docker")]
mod docker_json;
#[cfg(feature = "docker")]
mod docker_local;
#[cfg(feature = "docker")]
mod dockerd;
#[cfg(feature = "schemas")]
mod ecs;
mod epoch;
mod error;
mod escape;
mod event;
mod field;
#[cfg(feature = "docker")]
mod fluent;
pub mod frame;
#[cfg(feature = "docker")]
mod gelf;
#[cfg(feature = "hec")]
mod hec;
#[cfg(any(doc, doctest))]
#[doc = include_str!("examples.md")]
pub mod examples {}
pub mod image;
#[cfg(feature = "docker")]
pub mod join;
#[cfg(feature = "journald")]
mod journald;
mod json;
mod json_members;
mod json_read;
mod lead;
#[cfg(feature = "leef")]
mod leef;
#[cfg(feature = "lint")]
pub mod lint;
#[cfg(feature = "loginsight")]
mod loginsight;
mod marker;
mod names;
pub mod native;
mod near;
mod objects;
#[cfg(feature = "schemas")]
mod ocsf;
#[cfg(feature = "schemas")]
mod places;
mod repeats;
mod rfc3164;
mod rfc5424;
pub mod stored;
mod syslog;
mod text;
mod time;
pub mod visible;
#[cfg(feature = "wazuh")]
mod wazuh;
#[cfg(feature = "wazuh")]
mod wazuh_syslog;

pub use detect::{Choice, detect, parse};
pub use error::ParseError;
pub use event::{Event, Extra, Value};
pub use field::{Field, Kind};
#[cfg(feature = "hec")]
pub use hec::envelope::Envelope;
#[cfg(feature = "planted")]
#[doc(hidden)]
pub use planted::{is_planted, plant};
pub use time::{Civil, Offset, Time};

/// What the caller knows and a line of text does not say.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// When the bytes were received: the reference for years that a timestamp leaves out.
    pub received: Time,
    /// The zone of timestamps that name none (formats: RFC 3164). UTC unless configured.
    pub zone: Offset,
}

/// How an emitter names the product when the event does not bring a name of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmitContext<'s> {
    /// CEF and LEEF device vendor, at most 63 bytes.
    pub vendor: &'s str,
    /// CEF and LEEF device product, at most 63 bytes.
    pub product: &'s str,
    /// CEF and LEEF device version, at most 31 bytes.
    pub version: &'s str,
}

impl Default for EmitContext<'_> {
    fn default() -> Self {
        EmitContext { vendor: "Wharfinger", product: "Wharfinger", version: env!("CARGO_PKG_VERSION") }
    }
}

/// Fills an event from `input`, a piece of the event's raw bytes.
pub type Parse = for<'a> fn(input: &'a [u8], context: &Context, event: &mut Event<'a>) -> Result<(), ParseError>;

/// Appends one record to `out`, without a line end.
pub type Emit = fn(event: &Event<'_>, context: &EmitContext<'_>, out: &mut Vec<u8>);

type Open = for<'a> fn(input: &'a [u8], context: &Context, event: &mut Event<'a>) -> Result<&'a [u8], ParseError>;

/// One row of [`FORMATS`].
#[derive(Debug)]
pub struct Format {
    /// The name users write: `cef`, `rfc5424`.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// How sure we are, 0 to 100, that `input` is one frame of this format. Looks at a bounded
    /// number of bytes.
    pub detect: Option<fn(input: &[u8]) -> u8>,
    /// The bytes a frame of it begins with, white space aside, when it is surely one; none: any.
    pub(crate) starts: &'static [u8],
    /// Absent for formats that are only written.
    pub parse: Option<Parse>,
    /// Absent for formats that are only read.
    pub emit: Option<Emit>,
    /// For formats that carry lines of others: parses, and answers the part that may be such a line.
    pub(crate) open: Option<Open>,
}

/// Every format of the crate. Help texts, documents and tests are made from this table.
pub const FORMATS: &[Format] = &[
    rfc5424::FORMAT,
    rfc3164::FORMAT,
    #[cfg(feature = "docker")]
    dockerd::FORMAT,
    #[cfg(feature = "docker")]
    docker_events::FORMAT,
    #[cfg(feature = "docker")]
    docker_events::cli::FORMAT,
    #[cfg(feature = "docker")]
    docker_json::FORMAT,
    #[cfg(feature = "docker")]
    docker_local::FORMAT,
    #[cfg(feature = "journald")]
    journald::FORMAT,
    #[cfg(feature = "docker")]
    gelf::FORMAT,
    #[cfg(feature = "docker")]
    fluent::FORMAT,
    json::FORMAT,
    #[cfg(feature = "schemas")]
    ecs::FORMAT,
    #[cfg(feature = "schemas")]
    ocsf::FORMAT,
    #[cfg(feature = "cef")]
    cef::FORMAT,
    #[cfg(feature = "leef")]
    leef::FORMAT,
    #[cfg(feature = "wazuh")]
    wazuh::FORMAT,
    #[cfg(feature = "wazuh")]
    wazuh::emit::INPUT,
    #[cfg(feature = "wazuh")]
    wazuh_syslog::FORMAT,
    #[cfg(feature = "wazuh")]
    wazuh::forms::JSON,
    #[cfg(feature = "wazuh")]
    wazuh::forms::SPLUNK,
    #[cfg(feature = "wazuh")]
    wazuh::forms::CEF,
    #[cfg(feature = "auditd")]
    auditd::FORMAT,
    #[cfg(feature = "hec")]
    hec::FORMAT,
    #[cfg(feature = "loginsight")]
    loginsight::FORMAT,
];
