//! The client of a store: how it is reached, with which credentials, and what its answers mean.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};

use super::credentials::CredentialOptions;
use crate::part::{Problem, SetupError};
use crate::sinks::Outcome;
use crate::sinks::web::{FORBIDDEN, Guarded, forbidden};

/// The longest prefix: a key has at most 1024 bytes.
const PREFIX_MAX: usize = 512;

/// How a bucket is reached, as the options of a sink say it.
pub(super) struct Access<'c> {
    pub(super) bucket: &'c str,
    pub(super) prefix: &'c str,
    pub(super) region: &'c str,
    pub(super) endpoint: Option<&'c str>,
    pub(super) path_style: Option<bool>,
    pub(super) credentials: CredentialOptions<'c>,
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
        let url = self.endpoint.and_then(|url| reqwest::Url::parse(url).ok());
        if let Some(address) = url.as_ref().and_then(forbidden) {
            let message = format!("{address} is {FORBIDDEN}");
            problem("endpoint", &message, "is it the right address?");
        }
        problems.extend(self.credentials.problems());
        problems.extend(self.ca.and_then(|ca| Problem::for_file("tls.ca", ca)));
        problems
    }

    fn http_client(&self, names: Guarded) -> Result<SharedHttpClient, SetupError> {
        let builder = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        let Some(ca) = self.ca else { return Ok(builder.build_with_resolver(names)) };
        let failed = |cause: String| SetupError::new(format!("cannot trust `{}`", ca.display()), cause);
        // The HTTP client panics on what is no certificate: it is looked at first.
        crate::tls::certificates(ca)?;
        let pem = std::fs::read(ca).map_err(|error| failed(error.to_string()))?;
        let trust = TrustStore::empty().with_pem_certificate(pem);
        let context =
            TlsContext::builder().with_trust_store(trust).build().map_err(|error| failed(error.to_string()))?;
        Ok(builder.tls_context(context).build_with_resolver(names))
    }

    fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder().connect_timeout(Duration::from_secs(10)).operation_timeout(self.timeout).build()
    }
}

/// Names that lead to an address as the ones of `endpoint` must not be. The metadata service, which is asked for
/// credentials where that is configured, is called by its address.
impl ResolveDns for Guarded {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        let told = |address| format!("{address}, which is {FORBIDDEN}");
        DnsFuture::new(async move {
            let found = self.look_up(name, told).await.map_err(ResolveDnsError::new)?;
            Ok(found.iter().map(SocketAddr::ip).collect())
        })
    }
}

/// A client, with keys as they are now; touches no network.
pub(super) fn client(access: &Access<'_>) -> Result<Client, SetupError> {
    client_by(access, Guarded::system())
}

fn client_by(access: &Access<'_>, names: Guarded) -> Result<Client, SetupError> {
    let http = access.http_client(names)?;
    let mut builder = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(access.region.to_owned()))
        .credentials_provider(access.credentials.provider(access.region, &http)?)
        .force_path_style(access.path_style.unwrap_or(access.endpoint.is_some()))
        .http_client(http)
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
        (
            Some(400),
            "RequestTimeout" | "BadDigest" | "IncompleteBody" | "XAmzContentSHA256Mismatch" | "InvalidPart",
        ) => retry(),
        // Somebody has aborted the upload.
        (Some(404), "NoSuchUpload") => retry(),
        // Bad credentials, no such bucket, wrong region, a wrong clock (RequestTimeTooSkewed).
        (Some(300..=407 | 410..=428 | 501), _) => Answer::Outcome(Outcome::Fatal { reason: reason() }),
        // 408, 429, 500, 503 SlowDown, time-outs, broken connections.
        _ => retry(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::part::Secret;
    use crate::sinks::s3::options::CredentialSource;

    /// A name is judged by where it leads, with and without the bucket before it.
    #[tokio::test]
    async fn a_name_that_leads_to_metadata_is_not_spoken_to() {
        // Whoever is reached answers that there is no such bucket.
        let store = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = store.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = store.accept().await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::AsyncReadExt::read(&mut read, &mut [0; 4096]).await;
                let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = tokio::io::AsyncWriteExt::write_all(&mut write, answer).await;
            }
        });
        let names = Guarded(|name| {
            let found: &[&str] = match name.trim_start_matches("lake.") {
                "evil.test" => &["169.254.169.254:0", "[fd00:ec2::254]:0"],
                "both.test" => &["169.254.169.254:0", "127.0.0.1:0"],
                "good.test" => &["127.0.0.1:0"],
                _ => &[],
            };
            let found = found.iter().map(|address| address.parse().unwrap()).collect();
            Box::pin(async move { Ok(found) })
        });
        let key: Secret = serde_json::from_value("k".into()).unwrap();
        for (name, path_style, expected) in [
            ("evil.test", true, "`evil.test` leads to 169.254.169.254, which is link-local or a cloud's metadata"),
            ("evil.test", false, "`lake.evil.test` leads to 169.254.169.254, which is"),
            ("both.test", true, "HTTP 404"),
            ("good.test", false, "HTTP 404"),
        ] {
            let endpoint = format!("http://{name}:{port}");
            let access = Access {
                bucket: "lake",
                prefix: "",
                region: "us-east-1",
                endpoint: Some(&endpoint),
                path_style: Some(path_style),
                credentials: CredentialOptions {
                    source: CredentialSource::Keys,
                    access_key_id: Some(&key),
                    secret_access_key: Some(&key),
                    session_token: None,
                    profile: None,
                },
                ca: None,
                timeout: Duration::from_secs(10),
            };
            let put = client_by(&access, names).unwrap().put_object().bucket("lake").key("k").send().await;
            let error = put.unwrap_err();
            let told = match judge(&error, false) {
                Answer::Outcome(Outcome::Retry { reason, .. } | Outcome::Fatal { reason }) => reason,
                other => format!("{other:?}"),
            };
            assert!(told.contains(expected), "{name}: {told}");
        }
    }

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
            (Some(400), "InvalidPart", "retry"),
            (Some(404), "NoSuchUpload", "retry"),
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
