//! The answers of a HEC: each a code, a text and an HTTP status, as Splunk documents them.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::super::body::BodyError;
use super::super::web::{RETRY_AFTER_SECONDS, Unstored, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Success,
    /// On disk, under this number of the client's channel.
    Accepted(u64),
    TokenRequired,
    InvalidAuthorization,
    InvalidToken,
    /// A wrong token, once too often.
    TooManyFailures,
    NoData,
    /// The zero-based number of the event.
    InvalidFormat(usize),
    EventRequired(usize),
    EventBlank(usize),
    BadFields(usize),
    InternalError,
    Busy,
    ChannelMissing,
    InvalidChannel,
    QueryTokenDisabled,
    Healthy,
    Options,
    NotFound,
    MethodNotAllowed,
    TooLarge,
    TooSlow,
    UnknownEncoding,
}

impl Answer {
    /// HTTP status, HEC code, text, and the event at fault.
    fn parts(self) -> (StatusCode, u16, &'static str, Option<usize>) {
        use StatusCode as S;
        match self {
            Answer::Success | Answer::Accepted(_) => (S::OK, 0, "Success", None),
            Answer::TokenRequired => (S::UNAUTHORIZED, 2, "Token is required", None),
            Answer::InvalidAuthorization => (S::UNAUTHORIZED, 3, "Invalid authorization", None),
            Answer::InvalidToken => (S::FORBIDDEN, 4, "Invalid token", None),
            Answer::TooManyFailures => (S::TOO_MANY_REQUESTS, 4, "Invalid token", None),
            Answer::NoData => (S::BAD_REQUEST, 5, "No data", None),
            Answer::InvalidFormat(event) => (S::BAD_REQUEST, 6, "Invalid data format", Some(event)),
            Answer::InternalError => (S::INTERNAL_SERVER_ERROR, 8, "Internal server error", None),
            Answer::Busy => (S::SERVICE_UNAVAILABLE, 9, "Server is busy", None),
            Answer::EventRequired(event) => (S::BAD_REQUEST, 12, "Event field is required", Some(event)),
            Answer::EventBlank(event) => (S::BAD_REQUEST, 13, "Event field cannot be blank", Some(event)),
            Answer::ChannelMissing => (S::BAD_REQUEST, 10, "Data channel is missing", None),
            Answer::InvalidChannel => (S::BAD_REQUEST, 11, "Invalid data channel", None),
            Answer::BadFields(event) => (S::BAD_REQUEST, 15, "Error in handling indexed fields", Some(event)),
            Answer::QueryTokenDisabled => (S::BAD_REQUEST, 16, "Query string authorization is not enabled", None),
            Answer::Healthy => (S::OK, 17, "HEC is healthy", None),
            // Splunk has no code for these; its own answers carry the HTTP status.
            Answer::Options => (S::OK, 0, "Success", None),
            Answer::NotFound => (S::NOT_FOUND, 404, "The requested URL was not found on this server.", None),
            Answer::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, 405, "Method Not Allowed", None),
            Answer::TooSlow => (S::REQUEST_TIMEOUT, 408, "Request Timeout", None),
            Answer::TooLarge => (S::PAYLOAD_TOO_LARGE, 413, "Content-Length or inflated size is too large", None),
            Answer::UnknownEncoding => (S::UNSUPPORTED_MEDIA_TYPE, 415, "Only gzip and zstd are understood", None),
        }
    }
}

impl From<BodyError> for Answer {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Answer::TooLarge,
            BodyError::TooSlow => Answer::TooSlow,
            BodyError::UnknownEncoding => Answer::UnknownEncoding,
            BodyError::Damaged => Answer::InvalidFormat(0),
            BodyError::Busy => Answer::Busy,
        }
    }
}

impl From<Unstored> for Answer {
    fn from(unstored: Unstored) -> Self {
        match unstored {
            Unstored::Full => Answer::Busy,
            Unstored::Failed => Answer::InternalError,
        }
    }
}

impl From<Answer> for Response<Full<Bytes>> {
    fn from(answer: Answer) -> Self {
        let (status, code, text, event) = answer.parts();
        let more = match (answer, event) {
            (Answer::Accepted(number), _) => format!(",\"ackId\":{number}"),
            (_, Some(event)) => format!(",\"invalid-event-number\":{event}"),
            _ => String::new(),
        };
        let mut response = json(format!("{{\"text\":\"{text}\",\"code\":{code}{more}}}"));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        match answer {
            Answer::Busy | Answer::TooManyFailures => drop(headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS)),
            Answer::Options | Answer::MethodNotAllowed => {
                headers.insert(ALLOW, HeaderValue::from_static("POST, GET, OPTIONS"));
            }
            _ => {}
        }
        response
    }
}
