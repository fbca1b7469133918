//! The store: one PUT for each object, made so that doing it twice is the same as doing it once.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::client::{Answer, client, describe, judge, status};
use super::object::Object;
use super::{Checksum, Exclusive, S3Config};
use crate::part::SetupError;
use crate::sinks::Outcome;

/// Metadata that holds the hash of the stored bytes.
const HASH_METADATA: &str = "sha256";

pub(super) struct Store {
    client: Client,
    bucket: String,
    checksum: Checksum,
    /// Whether PUTs carry `If-None-Match: *`; off once the store has said that it does not know it.
    conditional: bool,
    /// Ask before each PUT whether the object is there.
    look_first: bool,
}

impl Store {
    /// A client with the credentials as they are now; touches no network.
    pub(super) fn new(config: &S3Config) -> Result<Store, SetupError> {
        Ok(Store {
            client: client(&config.access())?,
            bucket: config.bucket.clone(),
            checksum: config.checksum,
            conditional: config.exclusive == Exclusive::IfNoneMatch,
            look_first: config.exclusive == Exclusive::Head,
        })
    }

    /// Stores the object, unless it is there already. `unsure`: an earlier try may have stored it, and
    /// some stores ignore `If-None-Match` without a word.
    pub(super) async fn put(&mut self, object: Object, unsure: bool) -> Outcome {
        if self.look_first || unsure {
            match self.is_there(&object).await {
                Ok(true) => return Outcome::Delivered,
                Ok(false) => {}
                Err(outcome) => return outcome,
            }
        }
        let mut answer = self.put_once(&object, self.conditional).await;
        if matches!(answer, Answer::NotConditional) {
            answer = match self.is_there(&object).await {
                Ok(true) => Answer::Stored,
                Ok(false) => self.put_once(&object, false).await,
                Err(outcome) => Answer::Outcome(outcome),
            };
            // The store may have refused something else of the request, and refuses it again.
            if matches!(answer, Answer::Stored) {
                tracing::warn!("the store of `{}` does not know `If-None-Match`: keys are read before", self.bucket);
                (self.conditional, self.look_first) = (false, true);
            }
        }
        match answer {
            Answer::Stored => Outcome::Delivered,
            Answer::Outcome(outcome) => outcome,
            // It was asked without the condition.
            Answer::NotConditional => {
                Outcome::Retry { after: None, reason: "the store refuses no condition".to_owned() }
            }
            Answer::Exists => match self.is_there(&object).await {
                Ok(true) => Outcome::Delivered,
                Ok(false) => Outcome::Retry { after: None, reason: format!("`{}` is there and is not", object.key) },
                Err(outcome) => outcome,
            },
        }
    }

    async fn put_once(&self, object: &Object, conditional: bool) -> Answer {
        let mut request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(&object.key)
            .content_type(object.content_type)
            .metadata(HASH_METADATA, object.sha256_hex());
        request = match self.checksum {
            // Some stores look for the name of the algorithm when the bucket locks its objects.
            Checksum::Sha256 => {
                request.checksum_algorithm(ChecksumAlgorithm::Sha256).checksum_sha256(STANDARD.encode(object.sha256))
            }
            Checksum::Crc32c => request
                .checksum_algorithm(ChecksumAlgorithm::Crc32C)
                .checksum_crc32_c(STANDARD.encode(crc32c::crc32c(&object.bytes).to_be_bytes())),
            Checksum::None => request,
        };
        if conditional {
            request = request.if_none_match("*");
        }
        let body = ByteStream::from(object.bytes.clone());
        match request.body(body).send().await {
            Ok(_) => Answer::Stored,
            Err(error) => judge(&error, conditional),
        }
    }

    /// Whether the store has this very object: the name holds part of its hash, the metadata all of it.
    async fn is_there(&self, object: &Object) -> Result<bool, Outcome> {
        match self.client.head_object().bucket(&self.bucket).key(&object.key).send().await {
            Ok(head) => {
                let hash = head.metadata().and_then(|metadata| metadata.get(HASH_METADATA));
                let same_hash = hash.is_none_or(|hash| *hash == object.sha256_hex());
                if same_hash && head.content_length() == i64::try_from(object.bytes.len()).ok() {
                    return Ok(true);
                }
                let reason = format!("`{}` is in the bucket with other content", object.key);
                Err(Outcome::Fatal { reason })
            }
            // HEAD has no body: 404 is all that is said of a missing object.
            Err(error) if status(&error) == Some(404) => Ok(false),
            Err(error) => match judge(&error, false) {
                Answer::Outcome(outcome) => Err(outcome),
                _ => Err(Outcome::Retry { after: None, reason: describe(&error) }),
            },
        }
    }
}
