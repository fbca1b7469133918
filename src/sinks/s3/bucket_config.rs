//! `s3:` of an archive: the options of a bucket that keeps one.

use aws_sdk_s3::types::{ObjectLockMode, ObjectLockRetentionMode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client::Access;
use super::{S3Tls, region, timeout};
use crate::part::{Interval, Problem, Secret};

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
    /// The access key id; unless it is written, the environment's `AWS_ACCESS_KEY_ID`.
    #[serde(default)]
    pub access_key_id: Option<Secret>,
    /// The secret of the key; unless it is written, the environment's `AWS_SECRET_ACCESS_KEY`.
    #[serde(default)]
    pub secret_access_key: Option<Secret>,
    /// The token of temporary credentials.
    #[serde(default)]
    pub session_token: Option<Secret>,
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

/// Who may undo an Object Lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lock {
    /// Nobody, until the date.
    Compliance,
    /// Who has the right to bypass it.
    Governance,
}

impl Lock {
    pub(super) fn mode(self) -> ObjectLockMode {
        match self {
            Lock::Compliance => ObjectLockMode::Compliance,
            Lock::Governance => ObjectLockMode::Governance,
        }
    }

    pub(super) fn retention(self) -> ObjectLockRetentionMode {
        match self {
            Lock::Compliance => ObjectLockRetentionMode::Compliance,
            Lock::Governance => ObjectLockRetentionMode::Governance,
        }
    }
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
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
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
            access_key_id: self.access_key_id.as_ref(),
            secret_access_key: self.secret_access_key.as_ref(),
            session_token: self.session_token.as_ref(),
            ca: self.tls.ca.as_deref(),
            timeout: self.timeout.get(),
        }
    }

    /// What is wrong with the options on this machine.
    pub fn check(&self) -> Vec<Problem> {
        self.access().problems()
    }
}
