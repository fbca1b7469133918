//! How objects are written, and what the store must say of them then: checksum, encryption, lock. The plain
//! sink and the archive write by it alike.
//!
//! Invariant: an object that is to be encrypted or locked counts as stored only when the store, asked again,
//! says that it is.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode,
    ObjectLockRetention, ServerSideEncryption,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::client::{Answer, describe, judge, status};
use super::object::Object;
use super::options::{Checksum, Encryption, Lock};
use super::parts;
use crate::part::Problem;
use crate::sinks::Outcome;
use crate::sinks::drain::now;

/// The store's clock and ours may differ so far: it refuses requests whose clock differs by more.
const CLOCK_SECONDS: i64 = 15 * 60;
/// What a part of an upload may have: AWS refuses less, but for the last.
const PART_MIN: u64 = 5 << 20;
const PART_MAX: u64 = 5 << 30;
/// Metadata that holds the hash of the stored bytes.
pub(super) const HASH_METADATA: &str = "sha256";

/// See above.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) bucket: String,
    pub(super) checksum: Checksum,
    pub(super) encryption: Option<Encryption>,
    pub(super) kms_key: Option<String>,
    pub(super) lock: Option<Lock>,
    /// How long objects are to be kept.
    pub(super) keep: Option<Duration>,
    pub(super) legal_hold: bool,
    /// Larger objects are written in parts of this size.
    pub(super) part_bytes: u64,
    /// The bucket is known to lock objects.
    pub(super) locks: AtomicBool,
}

impl Terms {
    /// What is wrong with the options.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |option, message: &str, hint: &str| {
            problems.push(Problem { option, message: message.to_owned(), hint: hint.to_owned() });
        };
        if self.kms_key.is_some() && self.encryption != Some(Encryption::Kms) {
            problem("kms_key", "a key is named and not used", "write `encryption: kms`");
        }
        if !(PART_MIN..=PART_MAX).contains(&self.part_bytes) {
            problem("part_bytes", "stores take parts of 5 MiB to 5 GiB", "leave it out for 32MiB");
        }
        problems
    }

    /// Asks, once, whether the bucket can lock objects, if they are to be locked. What is no bucket with
    /// Object Lock is written nothing.
    pub(super) async fn ready(&self, client: &Client) -> Result<(), Outcome> {
        if self.locks.load(Relaxed) || (self.lock.is_none() && !self.legal_hold) {
            return Ok(());
        }
        let answer = client.get_object_lock_configuration().bucket(&self.bucket).send().await;
        let is_enabled = match &answer {
            Ok(answer) => {
                let lock = answer.object_lock_configuration().and_then(|lock| lock.object_lock_enabled());
                lock == Some(&ObjectLockEnabled::Enabled)
            }
            Err(error) if status(error) == Some(404) && error.code() != Some("NoSuchBucket") => false,
            Err(error) => return Err(outcome(error)),
        };
        if !is_enabled {
            let reason = format!("the bucket `{}` does not lock objects: make one with Object Lock", self.bucket);
            return Err(Outcome::Fatal { reason });
        }
        self.locks.store(true, Relaxed);
        Ok(())
    }

    /// Writes an object, in parts if it is large. `conditional`: unless there is one under its key.
    pub(super) async fn put(&self, client: &Client, object: &Object, conditional: bool) -> Answer {
        if self.is_in_parts(object) {
            return parts::put(self, client, object, conditional).await;
        }
        let mut request = client
            .put_object()
            .bucket(&self.bucket)
            .key(&object.key)
            .set_content_type(object.content_type.map(str::to_owned))
            .metadata(HASH_METADATA, object.sha256_hex())
            .set_server_side_encryption(self.encryption.map(Encryption::algorithm))
            .set_ssekms_key_id(self.kms_key.clone())
            .set_object_lock_mode(self.lock.map(Lock::mode))
            .set_object_lock_retain_until_date(self.until())
            .set_object_lock_legal_hold_status(self.hold());
        // The algorithm's name too: some stores look for that when the bucket locks its objects.
        request = match self.checksum() {
            Checksum::Sha256 => {
                request.checksum_algorithm(ChecksumAlgorithm::Sha256).checksum_sha256(STANDARD.encode(object.sha256))
            }
            Checksum::Crc32c => {
                request.checksum_algorithm(ChecksumAlgorithm::Crc32C).checksum_crc32_c(crc32c(&object.bytes))
            }
            Checksum::WhenRequired => request,
        };
        if conditional {
            request = request.if_none_match("*");
        }
        match request.body(ByteStream::from(object.bytes.clone())).send().await {
            Ok(_) => Answer::Stored,
            Err(error) => judge(&error, conditional),
        }
    }

    /// Whether an object is too large for one request.
    pub(super) fn is_in_parts(&self, object: &Object) -> bool {
        object.bytes.len() as u64 > self.part_bytes
    }

    /// Makes sure that an object that is there is encrypted and locked as it is to be.
    pub(super) async fn confirm(&self, client: &Client, key: &str) -> Result<(), Outcome> {
        if self.encryption.is_none() && self.lock.is_none() && !self.legal_hold {
            return Ok(());
        }
        let head = self.head(client, key).await?;
        if let Some(wanted) = self.encryption.filter(|wanted| !wanted.is_that_of(&head)) {
            let is = head.server_side_encryption().map_or("not at all", ServerSideEncryption::as_str);
            let wanted = wanted.algorithm();
            let reason = format!("`{key}` is stored, but the store says of its encryption `{is}`, not `{wanted}`");
            return Err(Outcome::Fatal { reason });
        }
        if self.is_kept(&head) {
            return Ok(());
        }
        // What the store forgot to do with the object it may do when it is told once more.
        if let Some((lock, until)) = self.lock.zip(self.until()) {
            let retention = ObjectLockRetention::builder().mode(lock.retention()).retain_until_date(until).build();
            let request = client.put_object_retention().bucket(&self.bucket).key(key).retention(retention);
            request.send().await.map_err(|error| outcome(&error))?;
        }
        if self.legal_hold {
            let hold = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::On).build();
            let request = client.put_object_legal_hold().bucket(&self.bucket).key(key).legal_hold(hold);
            request.send().await.map_err(|error| outcome(&error))?;
        }
        match self.is_kept(&self.head(client, key).await?) {
            true => Ok(()),
            false => Err(Outcome::Fatal {
                reason: format!(
                    "`{key}` is stored, but the store does not say that it is locked: is `s3:GetObjectRetention` \
                     allowed?"
                ),
            }),
        }
    }

    async fn head(&self, client: &Client, key: &str) -> Result<HeadObjectOutput, Outcome> {
        client.head_object().bucket(&self.bucket).key(key).send().await.map_err(|error| outcome(&error))
    }

    fn is_kept(&self, head: &HeadObjectOutput) -> bool {
        let is_held = is_held(head);
        let Some(lock) = self.lock else { return is_held || !self.legal_hold };
        let keep = i64::try_from(self.keep.unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
        let is_mode =
            head.object_lock_mode().is_some_and(|mode| *mode == ObjectLockMode::Compliance || *mode == lock.mode());
        let ends = head.object_lock_retain_until_date().zip(head.last_modified());
        let is_long = ends.is_some_and(|(until, from)| {
            until.secs().saturating_add(CLOCK_SECONDS) >= from.secs().saturating_add(keep)
        });
        is_mode && is_long && (is_held || !self.legal_hold)
    }

    /// What locks want is a checksum: without one a store refuses them.
    pub(super) fn checksum(&self) -> Checksum {
        match self.checksum {
            Checksum::WhenRequired if self.lock.is_some() || self.legal_hold => Checksum::Sha256,
            checksum => checksum,
        }
    }

    /// The end of the lock of an object that is written now.
    pub(super) fn until(&self) -> Option<DateTime> {
        let keep = self.lock.and(self.keep)?;
        let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
        // Dates of S3 are whole seconds.
        Some(DateTime::from_secs(now().0.div_euclid(1_000_000_000).saturating_add(1).saturating_add(keep)))
    }

    pub(super) fn hold(&self) -> Option<ObjectLockLegalHoldStatus> {
        self.legal_hold.then_some(ObjectLockLegalHoldStatus::On)
    }
}

pub(super) fn is_held(head: &HeadObjectOutput) -> bool {
    head.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On)
}

/// As S3 writes it.
pub(super) fn crc32c(bytes: &[u8]) -> String {
    STANDARD.encode(crc32c::crc32c(bytes).to_be_bytes())
}

/// What an error means where nothing is written.
pub(super) fn outcome<E>(error: &SdkError<E, HttpResponse>) -> Outcome
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match judge(error, false) {
        Answer::Outcome(outcome) => outcome,
        _ => Outcome::Retry { after: None, reason: describe(error) },
    }
}
