//! `s3:` of an archive: the options of a bucket that keeps one.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::client::Access;
use super::credentials::CredentialOptions;
use super::options::{Checksum, CredentialSource, Encryption, Lock, S3Tls, part_bytes, region, timeout};
use super::terms::Terms;
use crate::part::{ByteSize, Interval, Problem, Secret};

/// A bucket that keeps an archive.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketConfig {
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
    /// Every object is put under legal hold as it is written.
    #[serde(default)]
    pub legal_hold: bool,
    /// Certificates of the store.
    #[serde(default)]
    pub tls: S3Tls,
    /// How long one request may take.
    #[serde(default = "timeout")]
    pub timeout: Interval,
}

impl BucketConfig {
    /// A bucket that is only read, with the credentials of the environment.
    pub fn reading(bucket: &str, prefix: &str) -> BucketConfig {
        BucketConfig {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            region: region(),
            endpoint: None,
            path_style: None,
            credentials: CredentialSource::Keys,
            profile: None,
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            checksum: Checksum::default(),
            encryption: None,
            kms_key: None,
            part_bytes: part_bytes(),
            lock: None,
            legal_hold: false,
            tls: S3Tls::default(),
            timeout: timeout(),
        }
    }

    pub(super) fn access(&self) -> Access<'_> {
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

    /// How objects are written that are to be kept for so long.
    pub(super) fn terms(&self, keep: Option<Duration>) -> Terms {
        Terms {
            bucket: self.bucket.clone(),
            checksum: self.checksum,
            encryption: self.encryption,
            kms_key: self.kms_key.clone(),
            lock: self.lock,
            keep,
            legal_hold: self.legal_hold,
            part_bytes: self.part_bytes.get(),
            locks: AtomicBool::new(false),
        }
    }

    /// What is wrong with the options on this machine.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = self.access().problems();
        problems.extend(self.terms(None).problems());
        problems
    }
}
