//! Requests signed as AWS wants them: Signature Version 4.
//!
//! Invariant: the body is hashed as it is sent; nothing is signed that a proxy may change.

use std::time::SystemTime;

use aws_sdk_s3::config::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::part::Secret;

/// How requests are signed for AWS.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sigv4Config {
    /// The region of the service: `eu-central-1`.
    pub region: String,
    /// The name it signs with: `es`, `aoss`, `execute-api`, `lambda`.
    pub service: String,
    /// The id of the access key.
    pub access_key_id: Secret,
    /// The access key.
    pub secret_access_key: Secret,
    /// The token of a session, where keys are temporary.
    #[serde(default)]
    pub session_token: Option<Secret>,
}

/// The same with its secrets as they stood when they were read.
pub(super) struct Sigv4 {
    region: String,
    service: String,
    id: String,
    key: String,
    token: Option<String>,
}

impl Sigv4 {
    /// # Errors
    /// The option that cannot be used, and why.
    pub(super) fn read(config: &Sigv4Config) -> Result<Sigv4, (&'static str, String)> {
        let read = |option, secret: &Secret| secret.read().map_err(|error| (option, error.to_string()));
        for (option, text) in [("auth.sigv4.region", &config.region), ("auth.sigv4.service", &config.service)] {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if text.is_empty() || !text.bytes().all(is_name) {
                return Err((option, format!("`{text}` is no name: letters, digits and `-` make one")));
            }
        }
        Ok(Sigv4 {
            region: config.region.clone(),
            service: config.service.clone(),
            id: read("auth.sigv4.access_key_id", &config.access_key_id)?,
            key: read("auth.sigv4.secret_access_key", &config.secret_access_key)?,
            token: config.session_token.as_ref().map(|it| read("auth.sigv4.session_token", it)).transpose()?,
        })
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        [self.id.as_str(), &self.key].into_iter().chain(self.token.as_deref())
    }

    /// The headers that a request needs beside those it has.
    pub(super) fn sign(
        &self,
        method: &str,
        url: &Url,
        headers: &HeaderMap,
        body: &[u8],
        time: SystemTime,
    ) -> Vec<(String, String)> {
        let mut settings = SigningSettings::default();
        // OpenSearch Serverless wants it as a header; no other service minds.
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        self.sign_with(settings, method, url, headers, body, time).unwrap_or_else(|error| {
            // The receiver will say that a signature is missing.
            tracing::error!(error, "a request cannot be signed");
            Vec::new()
        })
    }

    fn sign_with(
        &self,
        settings: SigningSettings,
        method: &str,
        url: &Url,
        headers: &HeaderMap,
        body: &[u8],
        time: SystemTime,
    ) -> Result<Vec<(String, String)>, String> {
        let credentials = Credentials::new(&self.id, &self.key, self.token.clone(), None, "configuration");
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(time)
            .settings(settings)
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let signed = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let signed = signed.into_iter().map(|value| ("content-type", value));
        let request = SignableRequest::new(method, url.as_str(), signed, SignableBody::Bytes(body));
        let request = request.map_err(|error| error.to_string())?;
        let (instructions, _) = sign(request, &parameters).map_err(|error| error.to_string())?.into_parts();
        Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use reqwest::header::HeaderValue;

    use super::*;

    fn keys(token: Option<&str>) -> Sigv4 {
        Sigv4 {
            region: "us-east-1".to_owned(),
            service: "service".to_owned(),
            id: "AKIDEXAMPLE".to_owned(),
            key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            token: token.map(str::to_owned),
        }
    }

    /// 2015-08-30T12:36:00Z, as in all of AWS's vectors.
    fn time() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160)
    }

    fn signed(keys: &Sigv4, content_type: Option<&'static str>, body: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        content_type.map(|value| headers.insert(CONTENT_TYPE, HeaderValue::from_static(value)));
        let url = Url::parse("https://example.amazonaws.com/").unwrap();
        let signed = keys.sign_with(SigningSettings::default(), "POST", &url, &headers, body, time()).unwrap();
        let header = |wanted| signed.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        assert_eq!(header("x-amz-date").unwrap(), "20150830T123600Z");
        assert_eq!(header("x-amz-security-token"), keys.token);
        header("authorization").unwrap()
    }

    /// AWS Signature Version 4 test suite: `post-vanilla`.
    #[test]
    fn aws_s_own_vectors() {
        let credential = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        assert_eq!(
            signed(&keys(None), None, b""),
            format!(
                "{credential}, SignedHeaders=host;x-amz-date, \
                 Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
            )
        );
        // With a type, a body and a session all of them are signed.
        let session = signed(&keys(Some("session")), Some("application/json"), b"{}");
        assert!(session.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token,"), "{session}");
        assert_ne!(session, signed(&keys(Some("session")), Some("application/json"), b"{ }"));
    }

    #[test]
    fn the_hash_of_the_body_is_a_header() {
        let url = Url::parse("https://example.amazonaws.com/a?b=c").unwrap();
        let signed = keys(None).sign("POST", &url, &HeaderMap::new(), b"Param1=value1", time());
        let hash = signed.iter().find(|(name, _)| name == "x-amz-content-sha256").unwrap();
        assert_eq!(hash.1, "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e");
    }
}
