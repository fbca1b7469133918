//! The store: one PUT for each object, made so that doing it twice is the same as doing it once.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

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

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Stored,
    /// There is an object of that name.
    Exists,
    /// The store does not know conditional writes.
    NotConditional,
    Outcome(Outcome),
}

impl Store {
    /// A client with the credentials as they are now; touches no network.
    pub(super) fn new(config: &S3Config) -> Result<Store, SetupError> {
        let mut builder = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .credentials_provider(credentials(config)?)
            .force_path_style(config.path_style.unwrap_or(config.endpoint.is_some()))
            .http_client(http_client(config)?)
            // `drive` retries; two loops would multiply.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts(config.timeout.get()))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Stores that are not AWS refuse the checksum trailers that newer SDKs add by default.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        Ok(Store {
            client: Client::from_conf(builder.build()),
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
        match self.put_once(&object).await {
            Answer::Stored => Outcome::Delivered,
            Answer::Outcome(outcome) => outcome,
            Answer::NotConditional => {
                self.conditional = false;
                self.look_first = true;
                let reason = "the store does not know `If-None-Match`: asking before each write from now on";
                Outcome::Retry { after: Some(Duration::ZERO), reason: reason.to_owned() }
            }
            Answer::Exists => match self.is_there(&object).await {
                Ok(true) => Outcome::Delivered,
                Ok(false) => Outcome::Retry { after: None, reason: format!("`{}` is there and is not", object.key) },
                Err(outcome) => outcome,
            },
        }
    }

    async fn put_once(&self, object: &Object) -> Answer {
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
        if self.conditional {
            request = request.if_none_match("*");
        }
        let body = ByteStream::from(object.bytes.clone());
        match request.body(body).send().await {
            Ok(_) => Answer::Stored,
            Err(error) => judge(&error, self.conditional),
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

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

fn describe<E: std::error::Error + 'static>(error: &SdkError<E, HttpResponse>) -> String {
    format!("{}", DisplayErrorContext(error))
}

fn judge<E>(error: &SdkError<E, HttpResponse>, conditional: bool) -> Answer
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    if matches!(error, SdkError::ConstructionFailure(_)) {
        return Answer::Outcome(Outcome::Fatal { reason: describe(error) });
    }
    let code = error.code().unwrap_or_default();
    judge_answer(status(error), code, conditional, || match (status(error), error.message()) {
        (Some(status), message) => format!("HTTP {status} {code}: {}", message.unwrap_or("no message")),
        (None, _) => describe(error),
    })
}

/// A store judges requests, never events: nothing is rejected, whatever it says.
fn judge_answer(status: Option<u16>, code: &str, conditional: bool, reason: impl Fn() -> String) -> Answer {
    let retry = || Answer::Outcome(Outcome::Retry { after: None, reason: reason() });
    match (status, code) {
        (Some(412), _) => Answer::Exists,
        // Another write of the same key is under way.
        (Some(409), _) => retry(),
        (Some(501), _) if conditional => Answer::NotConditional,
        (Some(400), "NotImplemented" | "InvalidArgument") if conditional => Answer::NotConditional,
        // Lost or damaged on the way.
        (Some(400), "RequestTimeout" | "BadDigest" | "IncompleteBody" | "XAmzContentSHA256Mismatch") => retry(),
        // Bad credentials, no such bucket, wrong region, a wrong clock (RequestTimeTooSkewed).
        (Some(300..=407 | 410..=428 | 501), _) => Answer::Outcome(Outcome::Fatal { reason: reason() }),
        // 408, 429, 500, 503 SlowDown, time-outs, broken connections.
        _ => retry(),
    }
}

fn credentials(config: &S3Config) -> Result<Credentials, SetupError> {
    let read = |secret: &Option<crate::part::Secret>, variable: &str| match secret {
        Some(secret) => secret.read().map_err(|error| error.to_string()),
        None => std::env::var(variable).map_err(|_| format!("neither the option nor `{variable}` is set")),
    };
    let failed = |what: &str, cause: String| SetupError::new(format!("cannot read the {what}"), cause);
    let key = read(&config.access_key_id, "AWS_ACCESS_KEY_ID").map_err(|cause| failed("access key id", cause))?;
    let secret =
        read(&config.secret_access_key, "AWS_SECRET_ACCESS_KEY").map_err(|cause| failed("secret access key", cause))?;
    let token = match &config.session_token {
        Some(token) => Some(token.read().map_err(|error| failed("session token", error.to_string()))?),
        // A token of the environment belongs to the key of the environment.
        None if config.access_key_id.is_none() => std::env::var("AWS_SESSION_TOKEN").ok(),
        None => None,
    };
    Ok(Credentials::new(key, secret, token, None, "configuration"))
}

fn http_client(config: &S3Config) -> Result<aws_sdk_s3::config::SharedHttpClient, SetupError> {
    let builder = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
    let Some(ca) = &config.tls.ca else { return Ok(builder.build_https()) };
    let failed = |cause: String| SetupError::new(format!("cannot trust `{}`", ca.display()), cause);
    // The HTTP client panics on what is no certificate: it is looked at first.
    crate::tls::certificates(ca)?;
    let pem = std::fs::read(ca).map_err(|error| failed(error.to_string()))?;
    let trust = TrustStore::empty().with_pem_certificate(pem);
    let context = TlsContext::builder().with_trust_store(trust).build().map_err(|error| failed(error.to_string()))?;
    Ok(builder.tls_context(context).build_https())
}

fn timeouts(operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(Duration::from_secs(10)).operation_timeout(operation).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_keeps_the_events() {
        let shape = |status, code, conditional| match judge_answer(status, code, conditional, String::new) {
            Answer::Exists => "exists",
            Answer::NotConditional => "not conditional",
            Answer::Outcome(Outcome::Retry { .. }) => "retry",
            Answer::Outcome(Outcome::Fatal { .. }) => "fatal",
            _ => "?",
        };
        for (status, code, expected) in [
            (Some(412), "PreconditionFailed", "exists"),
            (Some(409), "ConditionalRequestConflict", "retry"),
            (Some(501), "NotImplemented", "not conditional"),
            (Some(400), "RequestTimeout", "retry"),
            (Some(400), "BadDigest", "retry"),
            (Some(400), "ExpiredToken", "fatal"),
            (Some(403), "AccessDenied", "fatal"),
            (Some(403), "RequestTimeTooSkewed", "fatal"),
            (Some(403), "SignatureDoesNotMatch", "fatal"),
            (Some(404), "NoSuchBucket", "fatal"),
            (Some(301), "PermanentRedirect", "fatal"),
            (Some(408), "", "retry"),
            (Some(429), "", "retry"),
            (Some(500), "InternalError", "retry"),
            (Some(503), "SlowDown", "retry"),
            (Some(504), "", "retry"),
            (None, "", "retry"),
        ] {
            assert_eq!(shape(status, code, true), expected, "{status:?} {code}");
        }
        assert_eq!(shape(Some(501), "NotImplemented", false), "fatal");
    }
}
