//! Sink `s3`: objects of lines in any S3-compatible store.
//!
//! One request holds the events of one batch window, split by source and hour; each part becomes one
//! object, finished and written once. The cursor waits for all of them.
//!
//! Invariant: writing a request again writes nothing twice: names hold the hash of the content.

mod body;
mod bucket;
mod bucket_config;
mod client;
mod object;
#[cfg(test)]
mod played;
mod store;

use std::path::PathBuf;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfinger_formats::Event;

pub use self::bucket::Bucket;
pub use self::bucket_config::{BucketConfig, Lock};
use self::client::Access;
use self::object::{Layout, Object, Objects};
use self::store::Store;
use super::compress::Compression;
use super::emitter::Emitter;
use super::{Limits, Outcome, Push, Refused, Sink, SinkConfig};
use crate::part::{ByteSize, Interval, Kind, PartContext, Problem, Secret, SetupError};

/// The row of this sink.
pub const KIND: Kind<dyn SinkConfig> = Kind {
    name: "s3",
    about: "Objects in Amazon S3 or any store that speaks its protocol",
    schema: || schemars::schema_for!(S3Config),
    read: |options| Ok(Box::new(erased_serde::deserialize::<S3Config>(options)?)),
};

/// Objects in Amazon S3 or any store that speaks its protocol.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// The bucket; it must exist.
    pub bucket: String,
    /// What keys begin with; a slash after it is added.
    #[serde(default)]
    pub prefix: String,
    /// The region.
    #[serde(default = "region")]
    pub region: String,
    /// The URL of a store that is not AWS: `https://minio.example:9000`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path instead of the host name. Default: with `endpoint`.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// The access key id; unless it is written, the environment's `AWS_ACCESS_KEY_ID`.
    #[serde(default)]
    pub access_key_id: Option<Secret>,
    /// The secret of the key; unless it is written, the environment's `AWS_SECRET_ACCESS_KEY`.
    #[serde(default)]
    pub secret_access_key: Option<Secret>,
    /// The token of temporary credentials.
    #[serde(default)]
    pub session_token: Option<Secret>,
    /// What a line looks like.
    #[serde(default = "Emitter::native")]
    pub format: Emitter,
    /// How objects are compressed.
    #[serde(default = "gzip")]
    pub compression: Compression,
    /// The checksum the store is to verify. Older stores know none: `none`.
    #[serde(default)]
    pub checksum: Checksum,
    /// How an object that is already there is found.
    #[serde(default)]
    pub exclusive: Exclusive,
    /// Certificates of the store.
    #[serde(default)]
    pub tls: S3Tls,
    /// How long an event may wait until its object is written.
    #[serde(default = "max_age")]
    pub max_age: Interval,
    /// How many bytes before compression end the objects. With `compression: none` they are held in
    /// memory.
    #[serde(default = "max_bytes")]
    pub max_bytes: ByteSize,
    /// How long one request may take.
    #[serde(default = "timeout")]
    pub timeout: Interval,
}

/// Certificates of the store.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct S3Tls {
    /// PEM file of the authorities to trust, instead of those of the operating system.
    pub ca: Option<PathBuf>,
}

/// The checksum sent with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    #[default]
    Sha256,
    Crc32c,
    /// Only where the protocol requires one.
    #[serde(alias = "when_required")]
    None,
}

/// How an object that is already there is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exclusive {
    /// `If-None-Match: *`; a store that answers that it does not know it is asked by HEAD instead.
    #[default]
    IfNoneMatch,
    /// HEAD before each PUT: for stores that ignore `If-None-Match`, such as Ceph before 18.
    Head,
}

fn region() -> String {
    "us-east-1".to_owned()
}
const fn gzip() -> Compression {
    Compression::Gzip
}
const fn max_age() -> Interval {
    Interval::seconds(60)
}
const fn max_bytes() -> ByteSize {
    ByteSize::mib(64)
}
const fn timeout() -> Interval {
    Interval::seconds(300)
}

impl S3Config {
    fn access(&self) -> Access<'_> {
        Access {
            bucket: &self.bucket,
            prefix: &self.prefix,
            region: &self.region,
            endpoint: self.endpoint.as_deref(),
            path_style: self.path_style,
            access_key_id: self.access_key_id.as_ref(),
            secret_access_key: self.secret_access_key.as_ref(),
            session_token: self.session_token.as_ref(),
            ca: self.tls.ca.as_deref(),
            timeout: self.timeout.get(),
        }
    }
}

impl SinkConfig for S3Config {
    fn check(&self) -> Vec<Problem> {
        let mut problems = self.access().problems();
        if self.max_bytes.get() == 0 {
            let (message, hint) = ("an object must be able to hold an event", "leave it out for 64MiB");
            problems.push(Problem { option: "max_bytes", message: message.to_owned(), hint: hint.to_owned() });
        }
        problems
    }

    fn open(&self, context: &PartContext) -> Result<Box<dyn Sink>, SetupError> {
        let layout = Layout::new(&self.prefix, &context.hostname, self.format.name(), self.compression);
        Ok(Box::new(S3 {
            store: Some(Store::new(self)?),
            config: self.clone(),
            objects: Objects::new(layout),
            record: Vec::new(),
            // What was under way when the gateway last ended may be there.
            unsure: true,
        }))
    }
}

struct S3 {
    config: S3Config,
    /// Absent after the store refused us: credentials are read again.
    store: Option<Store>,
    objects: Objects,
    record: Vec<u8>,
    /// An earlier try may have stored some of the objects.
    unsure: bool,
}

#[async_trait]
impl Sink for S3 {
    fn limits(&self) -> Limits {
        let config = &self.config;
        Limits { events_max: usize::MAX, bytes_max: config.max_bytes.as_usize(), age_max: config.max_age.get() }
    }

    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused> {
        self.record.clear();
        self.config.format.emit(event, &mut self.record);
        self.record.push(b'\n');
        self.objects.push(event, &self.record).map_err(|error| Refused(format!("cannot be compressed: {error}")))
    }

    async fn deliver(&mut self) -> Outcome {
        let objects = self.objects.take();
        let finished = match tokio::task::spawn_blocking(move || objects.finish()).await {
            Ok(Ok(finished)) => finished,
            Ok(Err(error)) => return Outcome::Retry { after: None, reason: format!("cannot be compressed: {error}") },
            Err(error) => return Outcome::Retry { after: None, reason: error.to_string() },
        };
        let store = match &mut self.store {
            Some(store) => store,
            None => match Store::new(&self.config) {
                Ok(store) => self.store.insert(store),
                Err(error) => return Outcome::Fatal { reason: error.to_string() },
            },
        };
        let unsure = std::mem::replace(&mut self.unsure, true);
        let outcome = put_all(store, finished, unsure).await;
        match outcome {
            Outcome::Delivered => self.unsure = false,
            Outcome::Fatal { .. } => self.store = None,
            _ => {}
        }
        outcome
    }

    fn clear(&mut self) {
        self.objects.clear();
    }
}

/// One after the other; what comes after a failure is written with all of them at the next try.
async fn put_all(store: &mut Store, objects: Vec<Object>, unsure: bool) -> Outcome {
    for object in objects {
        let outcome = store.put(object, unsure).await;
        if outcome != Outcome::Delivered {
            return outcome;
        }
    }
    Outcome::Delivered
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_a_problem_with_its_option() {
        for (options, option) in [
            (serde_json::json!({ "bucket": "a/b" }), "bucket"),
            (serde_json::json!({ "bucket": "a", "prefix": "x/../y" }), "prefix"),
            (serde_json::json!({ "bucket": "a", "prefix": "ä" }), "prefix"),
            (serde_json::json!({ "bucket": "a", "endpoint": "minio:9000" }), "endpoint"),
            (serde_json::json!({ "bucket": "a", "max_bytes": 0 }), "max_bytes"),
            (serde_json::json!({ "bucket": "a", "tls": { "ca": "/nowhere/ca.pem" } }), "tls.ca"),
        ] {
            let config: S3Config = serde_json::from_value(options).unwrap();
            assert_eq!(config.check().first().map(|problem| problem.option), Some(option));
        }
        let config: S3Config = serde_json::from_value(serde_json::json!({ "bucket": "logs" })).unwrap();
        assert!(config.check().is_empty());
    }
}
