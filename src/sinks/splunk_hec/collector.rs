//! One collector: where it is, how it stands, and the cookies that keep us at one node behind a balancer.
//!
//! Invariant: of what a collector answers no more is kept than a fixed number of bytes.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE,
};

use super::acks::Question;
use super::answer::acknowledged;
use crate::part::{Secret, describe_http};
use crate::sinks::web::{Reply, Web};

/// No more cookies than that; a balancer needs one or two.
const COOKIES_MAX: usize = 8;
const COOKIE_BYTES_MAX: usize = 4096;
const CHANNEL: HeaderName = HeaderName::from_static("x-splunk-request-channel");

#[derive(Debug)]
pub(super) struct Collector {
    url: Url,
    ack_url: Url,
    cookies: Mutex<BTreeMap<String, String>>,
}

/// What all collectors share.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) web: Web,
    pub(super) token: Secret,
    /// `Splunk <token>`; absent until it is needed, and again after the token was refused.
    pub(super) authorization: Mutex<Option<HeaderValue>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoReply {
    /// The token cannot be had.
    Token(String),
    Peer(String),
}

impl Access {
    fn authorization(&self) -> Result<HeaderValue, String> {
        let mut known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(authorization) = &*known {
            return Ok(authorization.clone());
        }
        let token = self.token.read().map_err(|error| error.to_string())?;
        let value = HeaderValue::try_from(format!("Splunk {token}"));
        let mut value = value.map_err(|_| "the token holds characters that no header can hold".to_owned())?;
        value.set_sensitive(true);
        Ok(known.insert(value).clone())
    }

    /// The token was refused: it is read again before the next request.
    pub(super) fn forget_token(&self) {
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Collector {
    pub(super) fn new(url: Url) -> Collector {
        let ack_url = ack_url(&url);
        Collector { url, ack_url, cookies: Mutex::default() }
    }

    /// Host and port, for people.
    pub(super) fn name(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Sends envelopes, or lines that are filed under what the query says.
    pub(super) async fn send(
        &self,
        access: &Access,
        channel: Option<String>,
        is_gzip: bool,
        query: &[(&str, String)],
        body: Bytes,
    ) -> Result<Reply, NoReply> {
        if query.is_empty() {
            return self.post(access, &self.url, channel, is_gzip, body).await;
        }
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(query);
        self.post(access, &url, channel, is_gzip, body).await
    }

    /// Asks which of the numbers are indexed. An error says why there is no answer to that.
    pub(super) async fn ask(&self, access: &Access, question: &Question) -> Result<HashSet<u64>, Reply> {
        let body = serde_json::json!({ "acks": question.numbers }).to_string();
        let channel = Some(question.channel.clone());
        match self.post(access, &self.ack_url, channel, false, body.into()).await {
            Ok(reply) => acknowledged(&reply.body).filter(|_| reply.status == 200).ok_or(reply),
            Err(NoReply::Token(reason) | NoReply::Peer(reason)) => {
                Err(Reply { status: 0, after: None, body: reason.into_bytes() })
            }
        }
    }

    async fn post(
        &self,
        access: &Access,
        url: &Url,
        channel: Option<String>,
        is_gzip: bool,
        body: Bytes,
    ) -> Result<Reply, NoReply> {
        let mut request = access.web.client().post(url.clone()).header(CONTENT_TYPE, "application/json");
        request = request.header(AUTHORIZATION, access.authorization().map_err(NoReply::Token)?);
        if let Some(channel) = channel {
            request = request.header(CHANNEL, channel);
        }
        if is_gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        if let Some(cookies) = self.cookies() {
            request = request.header(COOKIE, cookies);
        }
        let response = request.body(body).send().await.map_err(|error| NoReply::Peer(describe_http(&error)))?;
        self.keep_cookies(response.headers());
        Reply::read(response).await.map_err(|error| NoReply::Peer(describe_http(&error)))
    }

    /// Cookies of the answers so far: what RFC 6265 §5.4 has of them for one host and as long as we run.
    fn cookies(&self) -> Option<HeaderValue> {
        let cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        HeaderValue::try_from(pairs.join("; ")).ok().filter(|value| !value.is_empty())
    }

    /// Perhaps another node does what this one does not.
    pub(super) fn forget_cookies(&self) {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn keep_cookies(&self, headers: &HeaderMap) {
        let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        for value in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let pair = value.split(';').next().unwrap_or_default();
            let Some((name, value)) = pair.split_once('=') else { continue };
            let is_room = cookies.contains_key(name.trim()) || cookies.len() < COOKIES_MAX;
            if is_room && pair.len() <= COOKIE_BYTES_MAX {
                cookies.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
    }
}

/// Where a collector answers about acknowledgements: `…/collector/ack`, whatever stands behind `collector`.
fn ack_url(url: &Url) -> Url {
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/1.0").unwrap_or(path);
    let base = path.strip_suffix("/event").or(path.strip_suffix("/raw")).unwrap_or(path);
    let mut ack = url.clone();
    ack.set_path(&format!("{base}/ack"));
    ack
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn where_acknowledgements_are_asked() {
        for (events, acks) in [
            ("https://s:8088/services/collector/event", "https://s:8088/services/collector/ack"),
            ("https://s:8088/services/collector/event/1.0", "https://s:8088/services/collector/ack"),
            ("https://lb/hec/services/collector", "https://lb/hec/services/collector/ack"),
            ("https://s:8088/services/collector/raw", "https://s:8088/services/collector/ack"),
            ("https://lb/hec/services/collector/", "https://lb/hec/services/collector/ack"),
        ] {
            assert_eq!(ack_url(&Url::parse(events).unwrap()).as_str(), acks);
        }
    }

    #[test]
    fn cookies_are_kept_and_bounded() {
        let collector = Collector::new(Url::parse("https://s:8088/services/collector").unwrap());
        assert!(collector.cookies().is_none());
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, HeaderValue::from_static("AWSALB=one; Path=/; HttpOnly"));
        headers.append(SET_COOKIE, HeaderValue::from_static("no pair"));
        collector.keep_cookies(&headers);
        headers.append(SET_COOKIE, HeaderValue::from_static("AWSALB=two"));
        collector.keep_cookies(&headers);
        assert_eq!(collector.cookies().unwrap(), "AWSALB=two");
        for number in 0..100 {
            headers.append(SET_COOKIE, HeaderValue::try_from(format!("c{number}=x")).unwrap());
        }
        collector.keep_cookies(&headers);
        assert_eq!(collector.cookies().unwrap().to_str().unwrap().split("; ").count(), COOKIES_MAX);
    }
}
