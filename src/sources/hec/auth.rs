//! Who may send: the token of a request.
//!
//! Invariants: a valid token always passes, whatever others at the same address do; a wrong one
//! takes as long as any other wrong one; no token is logged.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Request;
use hyper::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::answer::Answer;

/// Wrong tokens from one address before it is told to wait.
const FAILURES_MAX: u32 = 10;
const FAILURES_WINDOW: Duration = Duration::from_secs(60);

/// Addresses whose failures are counted; beyond, the count begins anew for all.
const ADDRESSES_MAX: usize = 4096;

pub(super) struct Doorkeeper {
    /// SHA-256 of each token, and its name if it has one.
    tokens: Vec<([u8; 32], Option<Arc<str>>)>,
    failures: Mutex<HashMap<Option<IpAddr>, (Instant, u32)>>,
}

impl Doorkeeper {
    pub(super) fn new<'t>(tokens: impl IntoIterator<Item = (&'t str, Option<&'t str>)>) -> Self {
        let tokens = tokens.into_iter().map(|(token, name)| (Sha256::digest(token).into(), name.map(Arc::from)));
        Doorkeeper { tokens: tokens.collect(), failures: Mutex::default() }
    }

    /// Whether the request carries a token; answers its name if it has one.
    ///
    /// # Errors
    /// What to answer if not.
    pub(super) fn admit<B>(&self, request: &Request<B>, address: Option<IpAddr>) -> Result<Option<Arc<str>>, Answer> {
        let Some(header) = request.headers().get(AUTHORIZATION) else {
            let query = request.uri().query().unwrap_or_default();
            let in_query = query.split('&').any(|pair| pair.starts_with("token="));
            return Err(if in_query { Answer::QueryTokenDisabled } else { Answer::TokenRequired });
        };
        let token = header.to_str().ok().and_then(token).ok_or(Answer::InvalidAuthorization)?;
        match self.named(token.as_bytes()) {
            Some(name) => Ok(name),
            None => Err(self.failed(address)),
        }
    }

    /// The name of the token that this is. Whole values, hashed, every byte of every token compared: the time tells
    /// nothing of them.
    fn named(&self, token: &[u8]) -> Option<Option<Arc<str>>> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for (at, (ours, _)) in self.tokens.iter().enumerate() {
            if hash.iter().zip(ours).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0 {
                found = Some(at);
            }
        }
        found.and_then(|at| self.tokens.get(at)).map(|(_, name)| name.clone())
    }

    fn failed(&self, address: Option<IpAddr>) -> Answer {
        // Nothing panics while the lock is held.
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES_MAX && !failures.contains_key(&address) {
            failures.clear();
        }
        let now = Instant::now();
        let (since, count) = failures.entry(address).or_insert((now, 0));
        if now.duration_since(*since) > FAILURES_WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count == 1 {
            tracing::warn!(?address, "a request came with a wrong token");
        }
        if *count > FAILURES_MAX { Answer::TooManyFailures } else { Answer::InvalidToken }
    }
}

/// The token in `Splunk <token>` or `Bearer <token>`, or the password in `Basic <base64 of user:password>`.
fn token(header: &str) -> Option<String> {
    let (scheme, credentials) = header.split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("splunk") || scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(doorkeeper: &Doorkeeper, header: Option<&str>, uri: &str, expected: Result<(), Answer>) {
        let mut request = Request::get(uri);
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        let admitted = doorkeeper.admit(&request.body(()).unwrap(), None);
        assert_eq!(admitted.map(|name| assert_eq!(name, None)), expected, "{header:?} {uri}");
    }

    #[tokio::test(start_paused = true)]
    async fn tokens() {
        let doorkeeper = Doorkeeper::new([("s3cret", None), ("0ther", Some("web"))]);
        let named = Request::get("/").header(AUTHORIZATION, "Splunk 0ther").body(()).unwrap();
        assert_eq!(doorkeeper.admit(&named, None), Ok(Some("web".into())));
        check(&doorkeeper, Some("Splunk s3cret"), "/", Ok(()));
        check(&doorkeeper, Some("splunk  s3cret "), "/", Ok(()));
        check(&doorkeeper, Some(&format!("Basic {}", STANDARD.encode("x:s3cret"))), "/", Ok(()));
        check(&doorkeeper, None, "/", Err(Answer::TokenRequired));
        check(&doorkeeper, None, "/?channel=a&token=s3cret", Err(Answer::QueryTokenDisabled));
        check(&doorkeeper, Some("Bearer s3cret"), "/", Ok(()));
        for odd in ["s3cret", "Digest s3cret", "Basic ???", "Basic czNjcmV0"] {
            check(&doorkeeper, Some(odd), "/", Err(Answer::InvalidAuthorization));
        }
        for wrong in ["Splunk ", "Splunk s3cre", "Splunk s3crett", "Splunk S3CRET"] {
            check(&doorkeeper, Some(wrong), "/", Err(Answer::InvalidToken));
        }
        for _ in 4..10 {
            check(&doorkeeper, Some("Splunk no"), "/", Err(Answer::InvalidToken));
        }
        check(&doorkeeper, Some("Splunk no"), "/", Err(Answer::TooManyFailures));
        check(&doorkeeper, Some("Splunk s3cret"), "/", Ok(()));
        tokio::time::advance(Duration::from_secs(61)).await;
        check(&doorkeeper, Some("Splunk no"), "/", Err(Answer::InvalidToken));
    }
}
