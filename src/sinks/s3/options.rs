//! Options that the sink `s3` and an archive in a bucket have in common.

use std::path::PathBuf;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ObjectLockMode, ObjectLockRetentionMode, ServerSideEncryption};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::part::{ByteSize, Interval};

/// Certificates of the store, and of who gives credentials for it.
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
    #[serde(alias = "none")]
    WhenRequired,
}

/// How the store encrypts what it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// With keys of the store (SSE-S3).
    S3,
    /// With a key of a key management service (SSE-KMS).
    Kms,
}

impl Encryption {
    pub(super) fn algorithm(self) -> ServerSideEncryption {
        match self {
            Encryption::S3 => ServerSideEncryption::Aes256,
            Encryption::Kms => ServerSideEncryption::AwsKms,
        }
    }

    /// Whether the store has done at least that.
    pub(super) fn is_that_of(self, head: &HeadObjectOutput) -> bool {
        use ServerSideEncryption::{Aes256, AwsKms, AwsKmsDsse};
        match head.server_side_encryption() {
            Some(AwsKms | AwsKmsDsse) => true,
            Some(Aes256) => self == Encryption::S3,
            _ => false,
        }
    }
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

/// Where credentials come from. Only `instance` and `chain` ask the metadata service of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialSource {
    /// The options, or the environment.
    #[default]
    Keys,
    /// A profile of the files of the AWS CLI.
    Profile,
    /// A token file and a role: `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`, as EKS sets them.
    WebIdentity,
    /// The service of ECS and of EKS Pod Identity: `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    Container,
    /// The role of the machine (IMDSv2).
    Instance,
    /// The environment, then each of these.
    Chain,
}

pub(super) fn region() -> String {
    "us-east-1".to_owned()
}
pub(super) const fn part_bytes() -> ByteSize {
    ByteSize::mib(32)
}
pub(super) const fn timeout() -> Interval {
    Interval::seconds(300)
}
