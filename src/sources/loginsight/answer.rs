//! The answers of the ingestion API: those that its documentation shows, and the others in the same form.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::super::body::BodyError;
use super::super::web::{RETRY_AFTER_SECONDS, Unstored, json};

/// Why nothing was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    NoAgent,
    NoEvents,
    NoJson,
    Damaged,
    NotFound,
    MethodNotAllowed,
    TooSlow,
    TooLarge,
    UnknownEncoding,
    Failed,
    Busy,
}

impl Answer {
    fn parts(self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Answer::NoAgent => (S::BAD_REQUEST, "Invalid agent id"),
            // As it is documented.
            Answer::NoEvents => (S::BAD_REQUEST, "Missing events"),
            Answer::NoJson => (S::BAD_REQUEST, "Invalid JSON: expected {\\\"events\\\":[...]}"),
            Answer::Damaged => (S::BAD_REQUEST, "The body is not what Content-Encoding says"),
            Answer::NotFound => (S::NOT_FOUND, "Only the ingestion API is served here"),
            Answer::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "Method not allowed"),
            Answer::TooSlow => (S::REQUEST_TIMEOUT, "Request timeout"),
            Answer::TooLarge => (S::PAYLOAD_TOO_LARGE, "Request too large"),
            Answer::UnknownEncoding => (S::UNSUPPORTED_MEDIA_TYPE, "Only gzip and zstd are understood"),
            Answer::Failed => (S::INTERNAL_SERVER_ERROR, "Internal server error"),
            Answer::Busy => (S::SERVICE_UNAVAILABLE, "Server is busy"),
        }
    }
}

/// That so many events are on disk.
pub(super) fn ingested(count: usize) -> Response<Full<Bytes>> {
    json(format!("{{\"status\":\"ok\",\"message\":\"events ingested\",\"ingested\":{count}}}"))
}

impl From<BodyError> for Answer {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Answer::TooLarge,
            BodyError::TooSlow => Answer::TooSlow,
            BodyError::UnknownEncoding => Answer::UnknownEncoding,
            BodyError::Damaged => Answer::Damaged,
            BodyError::Busy => Answer::Busy,
        }
    }
}

impl From<Unstored> for Answer {
    fn from(unstored: Unstored) -> Self {
        match unstored {
            Unstored::Full => Answer::Busy,
            Unstored::Failed => Answer::Failed,
        }
    }
}

impl From<Answer> for Response<Full<Bytes>> {
    fn from(answer: Answer) -> Self {
        let (status, text) = answer.parts();
        let mut response = json(format!("{{\"errorMessage\":\"{text}\"}}"));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        match answer {
            Answer::Busy => drop(headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS)),
            Answer::MethodNotAllowed => drop(headers.insert(ALLOW, HeaderValue::from_static("POST"))),
            _ => {}
        }
        response
    }
}
