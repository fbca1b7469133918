//! Sink `s3`: objects of lines in any S3-compatible store.
//!
//! One request holds the events of one batch window, split by source and hour; each part becomes one
//! object, finished and written once. The cursor waits for all of them.
//!
//! Invariant: writing a request again writes nothing twice, also after a kill: names hold the hash of the content, and
//! where the request ends is on disk before the first object is written.

mod body;
mod bucket;
mod bucket_config;
mod client;
mod credentials;
mod cut;
mod folder;
mod object;
mod options;
mod parts;
#[cfg(test)]
mod played;
mod store;
mod terms;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfinger_formats::{Event, Field};

pub use self::bucket::Bucket;
pub use self::bucket_config::BucketConfig;
use self::client::Access;
use self::credentials::CredentialOptions;
use self::cut::Cut;
use self::folder::Folder;
use self::object::{Layout, Object, Objects};
pub use self::options::{Checksum, CredentialSource, Encryption, Lock, S3Tls};
use self::options::{part_bytes, region, timeout};
use self::store::Store;
use self::terms::Terms;
use super::compress::Compression;
use super::emitter::Emitter;
use super::receipts::Answer;
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
    /// Where credentials come from.
    #[serde(default)]
    pub credentials: CredentialSource,
    /// The profile, with `credentials: profile`; `AWS_PROFILE` or `default` unless it is written.
    #[serde(default)]
    pub profile: Option<String>,
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
    /// The folder of an object below `prefix`. In braces stands what an event says (places of docs/http.md), and
    /// `{time.date}` and `{time.hour}`, both in UTC; events that say other things go into other objects.
    #[serde(default = "folder")]
    pub folder: String,
    /// The checksum the store is to verify. Older stores know none: `when_required`.
    #[serde(default)]
    pub checksum: Checksum,
    /// How the store is to encrypt objects; what it does not confirm does not count as stored. Default: as the
    /// bucket says.
    #[serde(default)]
    pub encryption: Option<Encryption>,
    /// The key of `encryption: kms`: its id, ARN or alias. Default: the account's own for S3.
    #[serde(default)]
    pub kms_key: Option<String>,
    /// Objects larger than this are uploaded in parts of this size.
    #[serde(default = "part_bytes")]
    pub part_bytes: ByteSize,
    /// Object Lock of every object, for as long as `keep` says. The bucket must have been made with Object
    /// Lock; where it was not, nothing is written.
    #[serde(default)]
    pub lock: Option<Lock>,
    /// How long objects are locked, from when they are written.
    #[serde(default)]
    pub keep: Option<Interval>,
    /// Every object is put under legal hold as it is written.
    #[serde(default)]
    pub legal_hold: bool,
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

fn folder() -> String {
    folder::DEFAULT.to_owned()
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
/// How long a request that is cut again may take to be read.
const AGAIN: Duration = Duration::from_secs(1);

impl S3Config {
    fn access(&self) -> Access<'_> {
        Access {
            bucket: &self.bucket,
            prefix: &self.prefix,
            region: &self.region,
            endpoint: self.endpoint.as_deref(),
            path_style: self.path_style,
            credentials: CredentialOptions {
                source: self.credentials,
                profile: self.profile.as_deref(),
                access_key_id: self.access_key_id.as_ref(),
                secret_access_key: self.secret_access_key.as_ref(),
                session_token: self.session_token.as_ref(),
            },
            ca: self.tls.ca.as_deref(),
            timeout: self.timeout.get(),
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            bucket: self.bucket.clone(),
            checksum: self.checksum,
            encryption: self.encryption,
            kms_key: self.kms_key.clone(),
            lock: self.lock,
            keep: self.keep.map(Interval::get),
            legal_hold: self.legal_hold,
            part_bytes: self.part_bytes.get(),
            locks: AtomicBool::new(false),
        }
    }
}

impl SinkConfig for S3Config {
    fn check(&self) -> Vec<Problem> {
        let mut problems = self.access().problems();
        problems.extend(self.terms().problems());
        let mut problem = |option, message: &str, hint: &str| {
            problems.push(Problem { option, message: message.to_owned(), hint: hint.to_owned() });
        };
        if self.max_bytes.get() == 0 {
            problem("max_bytes", "an object must be able to hold an event", "leave it out for 64MiB");
        }
        if let Err(message) = Folder::parse(&self.folder) {
            problem("folder", &message, "write a folder such as `vm={vm.name}/dt={time.date}`");
        }
        if self.lock.is_some() != self.keep.is_some() {
            problem(
                "keep",
                "a lock has a mode and a time",
                "write both `lock: governance` and `keep: 365d`, or neither",
            );
        }
        problems
    }

    fn open(&self, context: &PartContext) -> Result<Box<dyn Sink>, SetupError> {
        let folder = Folder::parse(&self.folder).map_err(|cause| SetupError::new("`folder` is none", cause))?;
        let layout = Layout::new(&self.prefix, folder, &context.hostname, self.format.name(), self.compression);
        let cut_path = context.data_dir.join("s3").join(format!("{}.cut", context.name));
        Ok(Box::new(S3 {
            store: Some(Store::new(self)?),
            layout: layout.clone(),
            config: self.clone(),
            objects: Objects::new(layout),
            record: Vec::new(),
            last_id: String::new(),
            cut: Some(Cut::open(cut_path.clone())),
            cut_path,
            // Beside a replay the gateway may have an upload under way, which looks like one of ours.
            is_swept: context.is_replay,
            // What was under way when the gateway last ended may be there.
            unsure: true,
            answer: Answer::new(),
        }))
    }
}

struct S3 {
    config: S3Config,
    /// Absent after the store refused us: credentials are read again.
    store: Option<Store>,
    layout: Layout,
    objects: Objects,
    record: Vec<u8>,
    /// The id of the last event of the request.
    last_id: String,
    /// Absent only while it is written.
    cut: Option<Cut>,
    cut_path: PathBuf,
    /// What earlier runs left unfinished is aborted; credentials that are read again change nothing of that.
    is_swept: bool,
    /// An earlier try may have stored some of the objects.
    unsure: bool,
    /// Keys and hashes of the objects of the last request.
    answer: Answer,
}

#[async_trait]
impl Sink for S3 {
    fn limits(&self) -> Limits {
        let config = &self.config;
        let mut age_max = config.max_age.get();
        // What is to end there again is in the journal: time does not end it before.
        if self.cut.as_ref().is_some_and(Cut::is_due) {
            age_max = age_max.max(AGAIN);
        }
        Limits { events_max: usize::MAX, bytes_max: config.max_bytes.as_usize(), age_max }
    }

    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused> {
        self.record.clear();
        self.config.format.emit(event, &mut self.record);
        self.record.push(b'\n');
        let id = event.text(Field::EventId).unwrap_or_default();
        if self.cut.as_mut().is_some_and(|cut| cut.is_before(id, self.objects.is_empty())) {
            return Ok(Push::Full);
        }
        let push = self.objects.push(event, &self.record);
        let push = push.map_err(|error| Refused(format!("cannot be compressed: {error}")))?;
        if push != Push::Full {
            self.last_id.clear();
            self.last_id.push_str(id);
        }
        Ok(push)
    }

    async fn deliver(&mut self) -> Outcome {
        let finished = match self.finish().await {
            Ok(finished) => finished,
            Err(error) => return Outcome::Retry { after: None, reason: format!("cannot be written: {error}") },
        };
        let store = match &mut self.store {
            Some(store) => store,
            None => match Store::new(&self.config) {
                Ok(store) => self.store.insert(store),
                Err(error) => return Outcome::Fatal { reason: error.to_string() },
            },
        };
        let pieces = finished.iter().flat_map(|object| [("key", object.key.clone()), ("sha256", object.sha256_hex())]);
        self.answer = std::iter::once(("bucket", self.config.bucket.clone())).chain(pieces).collect();
        let unsure = std::mem::replace(&mut self.unsure, true);
        let outcome = match store.ready().await {
            Ok(()) => {
                if !std::mem::replace(&mut self.is_swept, true) {
                    store.sweep(&self.layout).await;
                }
                put_all(store, finished, unsure).await
            }
            Err(outcome) => outcome,
        };
        match outcome {
            Outcome::Delivered => self.unsure = false,
            Outcome::Fatal { .. } => self.store = None,
            _ => {}
        }
        outcome
    }

    fn answer(&mut self) -> Answer {
        std::mem::take(&mut self.answer)
    }

    fn clear(&mut self) {
        self.objects.clear();
    }
}

impl S3 {
    /// The objects of the request, of which it is on disk where they end.
    async fn finish(&mut self) -> std::io::Result<Vec<Object>> {
        let (objects, last_id) = (self.objects.take(), self.last_id.clone());
        let path = self.cut_path.clone();
        let mut cut = self.cut.take().unwrap_or_else(|| Cut::open(path));
        let done = tokio::task::spawn_blocking(move || {
            let set = cut.set(&last_id);
            (set.and_then(|()| objects.finish()), cut)
        });
        let (finished, cut) = done.await.map_err(std::io::Error::other)?;
        self.cut = Some(cut);
        finished
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
            (serde_json::json!({ "bucket": "a", "endpoint": "http://169.254.169.254" }), "endpoint"),
            (serde_json::json!({ "bucket": "a", "max_bytes": 0 }), "max_bytes"),
            (serde_json::json!({ "bucket": "a", "part_bytes": "1MiB" }), "part_bytes"),
            (serde_json::json!({ "bucket": "a", "kms_key": "k", "encryption": "s3" }), "kms_key"),
            (serde_json::json!({ "bucket": "a", "lock": "governance" }), "keep"),
            (serde_json::json!({ "bucket": "a", "keep": "1d" }), "keep"),
            (serde_json::json!({ "bucket": "a", "folder": "../{vm.name}" }), "folder"),
            (serde_json::json!({ "bucket": "a", "profile": "p" }), "profile"),
            (serde_json::json!({ "bucket": "a", "credentials": "instance", "access_key_id": "k" }), "access_key_id"),
            (serde_json::json!({ "bucket": "a", "tls": { "ca": "/nowhere/ca.pem" } }), "tls.ca"),
        ] {
            let config: S3Config = serde_json::from_value(options).unwrap();
            assert_eq!(config.check().first().map(|problem| problem.option), Some(option));
        }
        let config: S3Config = serde_json::from_value(serde_json::json!({ "bucket": "logs" })).unwrap();
        assert!(config.check().is_empty());
    }
}
