//! How providers ask over HTTP: no redirects, no proxy, bounded answers.
//!
//! Invariant: nobody is asked but the host that the configuration names: a redirect or a proxy could lead anywhere.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, Url, redirect};

use super::provider::ProviderError;
use crate::part::{Problem, SetupError, describe_http};
use crate::tls::ClientTls;

/// The largest answer of an inventory: a page of 500 machines takes about 2 MB.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A client with the certificates as they are now. Names in `fixed` are not looked up.
pub(super) fn client(
    tls: Option<&ClientTls>,
    timeout: Duration,
    fixed: Option<(&str, SocketAddr)>,
) -> Result<Client, SetupError> {
    let tls = tls.map_or_else(ClientTls::trusting_nobody, ClientTls::client_config)?;
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("wharfinger/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .no_gzip()
        .connect_timeout(CONNECT_MAX.min(timeout))
        .timeout(timeout);
    if let Some((name, address)) = fixed {
        builder = builder.resolve(name, address);
    }
    builder.build().map_err(|error| SetupError::new("cannot make an HTTP client", error))
}

/// Asks, and reads at most so many bytes.
pub(super) async fn send(request: RequestBuilder, bytes_max: usize) -> Result<Answer, ProviderError> {
    let failed = |error: reqwest::Error| ProviderError::new(describe_http(&error));
    let mut response = request.send().await.map_err(failed)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(failed)? {
        if body.len() + part.len() > bytes_max {
            return Err(ProviderError::new(format!("the answer is longer than {bytes_max} bytes")));
        }
        body.extend_from_slice(&part);
    }
    Ok(Answer { status, headers, body })
}

impl Answer {
    /// As JSON.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, ProviderError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ProviderError::new(format!("the answer is not what it should be: {error}")))
    }

    /// Fails where it is not 200.
    pub(super) fn good(self) -> Result<Answer, ProviderError> {
        match self.status {
            200 => Ok(self),
            status @ 300..400 => Err(ProviderError::new(format!("it answers {status}: redirects are not followed"))),
            status => Err(ProviderError::new(format!("it answers {status}"))),
        }
    }
}

/// What is wrong with the certificates. The name in the server's is always that of the URL.
pub(super) fn tls_problems(tls: &ClientTls) -> Vec<Problem> {
    let mut problems = tls.problems();
    if tls.server_name.is_some() {
        let message = "the name is that of `url`".to_owned();
        let hint = "write the name that the certificate has into `url`, and leave this out".to_owned();
        problems.push(Problem { option: "tls.server_name", message, hint });
    }
    problems
}

/// The host of a URL, if it is an address and not a name.
pub(super) fn address_of(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// A server's address, and what is wrong with it: without TLS a password would be read by anyone between.
pub(super) fn url_problem(option: &'static str, url: &str) -> Option<Problem> {
    let problem = |message: String, hint: &str| Some(Problem { option, message, hint: hint.to_owned() });
    let Ok(url) = Url::parse(url) else {
        return problem(format!("`{url}` is no URL"), "write `https://name`");
    };
    let is_loopback = address_of(&url).is_some_and(|address| address.is_loopback());
    match url.scheme() {
        _ if !url.has_host() => problem(format!("`{url}` names no host"), "write `https://name`"),
        _ if !url.username().is_empty() || url.password().is_some() => {
            problem("a URL with a password is shown to everybody".to_owned(), "use the options for user and password")
        }
        "https" => None,
        "http" if is_loopback => None,
        _ => problem(format!("`{url}` has no TLS"), "write `https://…`; only a loopback address may be without"),
    }
}
