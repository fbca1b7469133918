//! The client of a store: how it is reached, with which credentials, and what its answers mean.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

use crate::part::{Problem, Secret, SetupError};
use crate::sinks::Outcome;

/// The longest prefix: a key has at most 1024 bytes.
const PREFIX_MAX: usize = 512;

/// How a bucket is reached, as the options of a sink say it.
pub(super) struct Access<'c> {
    pub(super) bucket: &'c str,
    pub(super) prefix: &'c str,
    pub(super) region: &'c str,
    pub(super) endpoint: Option<&'c str>,
    pub(super) path_style: Option<bool>,
    pub(super) access_key_id: Option<&'c Secret>,
    pub(super) secret_access_key: Option<&'c Secret>,
    pub(super) session_token: Option<&'c Secret>,
    /// PEM file of the authorities to trust.
    pub(super) ca: Option<&'c Path>,
    /// How long one request may take.
    pub(super) timeout: Duration,
}

impl Access<'_> {
    /// What is wrong with the options on this machine.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |option, message: &str, hint: &str| {
            problems.push(Problem { option, message: message.to_owned(), hint: hint.to_owned() });
        };
        if self.bucket.is_empty() || self.bucket.contains('/') {
            problem("bucket", &format!("`{}` is no name of a bucket", self.bucket), "folders go into `prefix:`");
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!_.*'()=/-".contains(&byte);
        if self.prefix.len() > PREFIX_MAX || self.prefix.contains("..") || !self.prefix.bytes().all(legal) {
            let hint = "letters, digits and `!_.*'()=/-`, without `..`, at most 512";
            problem("prefix", &format!("`{}` cannot begin a key", self.prefix), hint);
        }
        if self.endpoint.is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            problem("endpoint", "it is no http or https URL", "write `https://minio.example:9000`");
        }
        let secrets = [
            ("access_key_id", self.access_key_id),
            ("secret_access_key", self.secret_access_key),
            ("session_token", self.session_token),
        ];
        problems.extend(secrets.into_iter().filter_map(|(option, secret)| secret?.problem(option)));
        problems.extend(self.ca.and_then(|ca| Problem::for_file("tls.ca", ca)));
        problems
    }

    fn credentials(&self) -> Result<Credentials, SetupError> {
        let read = |secret: Option<&Secret>, variable: &str| match secret {
            Some(secret) => secret.read().map_err(|error| error.to_string()),
            None => std::env::var(variable).map_err(|_| format!("neither the option nor `{variable}` is set")),
        };
        let failed = |what: &str, cause: String| SetupError::new(format!("cannot read the {what}"), cause);
        let key = read(self.access_key_id, "AWS_ACCESS_KEY_ID").map_err(|cause| failed("access key id", cause))?;
        let secret = read(self.secret_access_key, "AWS_SECRET_ACCESS_KEY")
            .map_err(|cause| failed("secret access key", cause))?;
        let token = match self.session_token {
            Some(token) => Some(token.read().map_err(|error| failed("session token", error.to_string()))?),
            // A token of the environment belongs to the key of the environment.
            None if self.access_key_id.is_none() => std::env::var("AWS_SESSION_TOKEN").ok(),
            None => None,
        };
        Ok(Credentials::new(key, secret, token, None, "configuration"))
    }

    fn http_client(&self) -> Result<SharedHttpClient, SetupError> {
        let builder = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        let Some(ca) = self.ca else { return Ok(builder.build_https()) };
        let failed = |cause: String| SetupError::new(format!("cannot trust `{}`", ca.display()), cause);
        // The HTTP client panics on what is no certificate: it is looked at first.
        crate::tls::certificates(ca)?;
        let pem = std::fs::read(ca).map_err(|error| failed(error.to_string()))?;
        let trust = TrustStore::empty().with_pem_certificate(pem);
        let context =
            TlsContext::builder().with_trust_store(trust).build().map_err(|error| failed(error.to_string()))?;
        Ok(builder.tls_context(context).build_https())
    }

    fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder().connect_timeout(Duration::from_secs(10)).operation_timeout(self.timeout).build()
    }
}

/// A client with the credentials as they are now; touches no network.
pub(super) fn client(access: &Access<'_>) -> Result<Client, SetupError> {
    let mut builder = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(access.region.to_owned()))
        .credentials_provider(access.credentials()?)
        .force_path_style(access.path_style.unwrap_or(access.endpoint.is_some()))
        .http_client(access.http_client()?)
        // Who calls tries again; two loops would multiply.
        .retry_config(RetryConfig::disabled())
        .timeout_config(access.timeouts())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Stores that are not AWS refuse the checksum trailers that newer SDKs add by default.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = access.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    Ok(Client::from_conf(builder.build()))
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Stored,
    /// There is an object of that name.
    Exists,
    /// The store does not know conditional writes.
    NotConditional,
    Outcome(Outcome),
}

pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

pub(super) fn describe<E: std::error::Error + 'static>(error: &SdkError<E, HttpResponse>) -> String {
    format!("{}", DisplayErrorContext(error))
}

pub(super) fn judge<E>(error: &SdkError<E, HttpResponse>, conditional: bool) -> Answer
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
