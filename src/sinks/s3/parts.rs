//! Uploads in parts: for objects that are too large for one request.
//!
//! Invariant: nothing is seen of an object before all its parts are there. What is not ended costs room that
//! nobody sees: it is aborted at once, or at the next start.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sha2::{Digest, Sha256};

use super::client::{Answer, describe, judge};
use super::object::{Layout, Object};
use super::options::{Checksum, Encryption, Lock};
use super::terms::{HASH_METADATA, Terms, crc32c};
use crate::sinks::Outcome;

/// Parts under way at once.
const AT_ONCE: usize = 4;
/// Pages of unfinished uploads that are looked at, each of at most 1000.
const PAGES_MAX: usize = 100;

/// Writes an object in parts. `conditional`: unless there is one under its key.
pub(super) async fn put(terms: &Terms, client: &Client, object: &Object, conditional: bool) -> Answer {
    let (algorithm, kind) = match terms.checksum() {
        Checksum::Sha256 => (Some(ChecksumAlgorithm::Sha256), None),
        // The sum of the whole can be told from those of its parts: the store is to verify that one, too.
        Checksum::Crc32c => (Some(ChecksumAlgorithm::Crc32C), Some(ChecksumType::FullObject)),
        Checksum::WhenRequired => (None, None),
    };
    let begun = client
        .create_multipart_upload()
        .bucket(&terms.bucket)
        .key(&object.key)
        .set_content_type(object.content_type.map(str::to_owned))
        .metadata(HASH_METADATA, object.sha256_hex())
        .set_server_side_encryption(terms.encryption.map(Encryption::algorithm))
        .set_ssekms_key_id(terms.kms_key.clone())
        .set_object_lock_mode(terms.lock.map(Lock::mode))
        .set_object_lock_retain_until_date(terms.until())
        .set_object_lock_legal_hold_status(terms.hold())
        .set_checksum_algorithm(algorithm)
        .set_checksum_type(kind.clone())
        .send()
        .await;
    let upload = match begun {
        Ok(begun) => match begun.upload_id {
            Some(upload) => upload,
            None => return retry("the store began an upload without a name".to_owned()),
        },
        Err(error) => return judge(&error, false),
    };
    let answer = match put_parts(terms, client, object, &upload).await {
        Ok(parts) => {
            let whole = kind.is_some().then(|| crc32c(&object.bytes));
            let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
            let end = client.complete_multipart_upload().bucket(&terms.bucket).key(&object.key).upload_id(&upload);
            let end = end.multipart_upload(parts).set_checksum_type(kind).set_checksum_crc32_c(whole);
            match end.set_if_none_match(conditional.then(|| "*".to_owned())).send().await {
                Ok(_) => Answer::Stored,
                Err(error) => judge(&error, conditional),
            }
        }
        Err(answer) => answer,
    };
    if answer != Answer::Stored {
        abort(terms, client, &object.key, &upload).await;
    }
    answer
}

async fn put_parts(
    terms: &Terms,
    client: &Client,
    object: &Object,
    upload: &str,
) -> Result<Vec<CompletedPart>, Answer> {
    let part_bytes = usize::try_from(terms.part_bytes).unwrap_or(usize::MAX);
    let pieces = (1..).zip(object.bytes.chunks(part_bytes).map(|piece| object.bytes.slice_ref(piece)));
    let parts: Vec<_> = pieces.map(|(number, piece)| part(terms, client, object, upload, number, piece)).collect();
    stream::iter(parts).buffered(AT_ONCE).try_collect().await
}

async fn part(
    terms: &Terms,
    client: &Client,
    object: &Object,
    upload: &str,
    number: i32,
    piece: Bytes,
) -> Result<CompletedPart, Answer> {
    let (algorithm, sha256, crc) = match terms.checksum() {
        Checksum::Sha256 => (Some(ChecksumAlgorithm::Sha256), Some(STANDARD.encode(Sha256::digest(&piece))), None),
        Checksum::Crc32c => (Some(ChecksumAlgorithm::Crc32C), None, Some(crc32c(&piece))),
        Checksum::WhenRequired => (None, None, None),
    };
    let request = client.upload_part().bucket(&terms.bucket).key(&object.key).upload_id(upload).part_number(number);
    let request = request.set_checksum_algorithm(algorithm).set_checksum_sha256(sha256.clone());
    let request = request.set_checksum_crc32_c(crc.clone()).body(ByteStream::from(piece));
    let done = request.send().await.map_err(|error| judge(&error, false))?;
    let part = CompletedPart::builder().part_number(number).set_e_tag(done.e_tag);
    Ok(part.set_checksum_sha256(sha256).set_checksum_crc32_c(crc).build())
}

async fn abort(terms: &Terms, client: &Client, key: &str, upload: &str) {
    let abort = client.abort_multipart_upload().bucket(&terms.bucket).key(key).upload_id(upload);
    if let Err(error) = abort.send().await {
        tracing::debug!(key, "an upload was not aborted, the next start does it: {}", describe(&error));
    }
}

/// Aborts what was begun under a prefix and never ended; where others write there too, under keys of a layout
/// alone. It is no reason to stop when that fails.
pub(super) async fn sweep(terms: &Terms, client: &Client, prefix: &str, ours: Option<&Layout>) {
    let (mut key_marker, mut upload_marker, mut aborted) = (None, None, 0);
    for _ in 0..PAGES_MAX {
        let list = client.list_multipart_uploads().bucket(&terms.bucket).prefix(prefix);
        let page = match list.set_key_marker(key_marker).set_upload_id_marker(upload_marker).send().await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!("unfinished uploads in `{}` cannot be looked for: {}", terms.bucket, describe(&error));
                return;
            }
        };
        for (key, upload) in page.uploads().iter().filter_map(|upload| upload.key().zip(upload.upload_id())) {
            if ours.is_none_or(|layout| layout.is_ours(key)) {
                abort(terms, client, key, upload).await;
                aborted += 1;
            }
        }
        if page.is_truncated() != Some(true) || page.next_key_marker().is_none() {
            break;
        }
        (key_marker, upload_marker) = (page.next_key_marker, page.next_upload_id_marker);
    }
    if aborted > 0 {
        tracing::info!("{aborted} unfinished uploads of ours in `{}` were aborted", terms.bucket);
    }
}

fn retry(reason: String) -> Answer {
    Answer::Outcome(Outcome::Retry { after: None, reason })
}
