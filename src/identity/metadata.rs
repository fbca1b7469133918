//! What the three clouds' metadata services have in common: their options, and how they are asked.
//!
//! Invariant: only the fixed address is asked, or one of this machine or this link that the configuration names: never
//! through a proxy, never where a redirect leads, never more than a small answer. So nothing that a sender or a server
//! says makes the gateway ask anybody else.

use std::marker::PhantomData;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Entry;
use super::http::{self, Answer};
use super::provider::{Provider, ProviderConfig, ProviderError, Told};
use crate::part::{Interval, Problem, SetupError};

/// A document of a machine takes a few kB.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The address of all three.
pub(super) const ADDRESS: &str = "169.254.169.254";
/// The address of EC2 in networks without IPv4: it is unique-local, not link-local.
const EC2_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Off unless it is written: a machine that is not of this cloud should ask nobody.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Options {
    /// Another address of the service; of this machine or of its link alone. Default: that of the cloud.
    pub(super) endpoint: Option<String>,
    /// How often it is asked. Default: 10m.
    pub(super) every: Interval,
    /// How long an answer may take. Default: 5s.
    pub(super) timeout: Interval,
}

impl Default for Options {
    fn default() -> Self {
        Options { endpoint: None, every: Interval::seconds(600), timeout: Interval::seconds(5) }
    }
}

/// Whether an address is one that only this machine or this link has.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local() || address == EC2_IPV6,
    }
}

impl Options {
    pub(super) fn problems(&self) -> Vec<Problem> {
        let Some(endpoint) = &self.endpoint else { return Vec::new() };
        let is_good = Url::parse(endpoint).is_ok_and(|url| {
            let is_bare = url.path() == "/" && url.query().is_none() && url.username().is_empty();
            url.scheme() == "http" && is_bare && http::address_of(&url).is_some_and(is_near)
        });
        if is_good {
            return Vec::new();
        }
        let message = format!("`{endpoint}` is no address of this machine or its link");
        let hint = format!("leave it out, or write `http://` and a loopback or link-local address: `http://{ADDRESS}`");
        vec![Problem { option: "endpoint", message, hint }]
    }

    /// Where and how to ask. `host` is the name that the service wants to be called by.
    pub(super) fn service(&self, host: &'static str) -> Result<Service, ProviderError> {
        // Options that nobody checked are checked here, too.
        if let Some(problem) = self.problems().pop() {
            return Err(ProviderError::new(problem.message));
        }
        let address: IpAddr = IpAddr::from([169, 254, 169, 254]);
        let fixed = (host.parse::<IpAddr>().is_err()).then(|| (host, SocketAddr::new(address, 80)));
        let client = http::client(None, self.timeout.get(), fixed);
        let client = client.map_err(|error| ProviderError::new(error.to_string()))?;
        let base = self.endpoint.clone().unwrap_or_else(|| format!("http://{host}"));
        Ok(Service { client, base: base.trim_end_matches('/').to_owned() })
    }
}

/// What is particular to one of them.
#[async_trait]
pub(super) trait Cloud: std::fmt::Debug + Send + Sync + 'static {
    /// What it says of the machine that asks.
    async fn machine(options: &Options) -> Result<Entry, ProviderError>;
}

/// The provider that asks one of them.
#[derive(Debug)]
pub(super) struct Metadata<C>(Options, PhantomData<C>);

impl<C> Metadata<C> {
    pub(super) fn new(options: Options) -> Self {
        Metadata(options, PhantomData)
    }
}

impl<C: Cloud> ProviderConfig for Metadata<C> {
    fn check(&self) -> Vec<Problem> {
        self.0.problems()
    }

    fn every(&self) -> Duration {
        self.0.every.get()
    }

    fn timeout(&self) -> Duration {
        // Some ask more than once.
        self.0.timeout.get().saturating_mul(4)
    }

    fn open(&self) -> Result<Box<dyn Provider>, SetupError> {
        Ok(Box::new(Metadata::<C>::new(self.0.clone())))
    }
}

#[async_trait]
impl<C: Cloud> Provider for Metadata<C> {
    async fn ask(&mut self) -> Result<Told, ProviderError> {
        Ok(Told::ThisMachine(Box::new(C::machine(&self.0).await?)))
    }
}

/// A metadata service.
pub(super) struct Service {
    client: Client,
    base: String,
}

impl Service {
    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    pub(super) fn put(&self, path: &str) -> RequestBuilder {
        self.client.put(format!("{}{path}", self.base))
    }
}

pub(super) async fn send(request: RequestBuilder) -> Result<Answer, ProviderError> {
    http::send(request, ANSWER_BYTES_MAX).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_asked() {
        for (endpoint, is_good) in [
            ("http://169.254.169.254", true),
            ("http://169.254.169.254/", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://[fe80::1]", true),
            ("http://[fd00:ec2::254]", true),
            ("http://[::ffff:169.254.169.254]", true),
            ("http://[::ffff:192.0.2.1]", false),
            ("http://192.0.2.1", false),
            ("http://10.0.0.1", false),
            ("http://localhost", false),
            ("http://metadata.google.internal", false),
            ("http://127.0.0.1@192.0.2.1", false),
            ("http://user@127.0.0.1", false),
            ("http://127.0.0.1/latest", false),
            ("https://127.0.0.1", false),
            ("file:///etc/passwd", false),
            ("169.254.169.254", false),
        ] {
            let options = Options { endpoint: Some(endpoint.to_owned()), ..Options::default() };
            assert_eq!(options.problems().is_empty(), is_good, "{endpoint}");
            assert_eq!(options.service("127.0.0.1").is_ok(), is_good, "{endpoint}");
        }
    }
}
