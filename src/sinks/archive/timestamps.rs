//! Time stamps of checkpoints (RFC 3161), asked for over HTTP (§3.4).
//!
//! Invariant: what is stored is over its checkpoint, and answers the request that was made for it.

use std::path::PathBuf;

use async_trait::async_trait;
use reqwest::{Client, Url};
use rustls::pki_types::CertificateDer;
use schemars::JsonSchema;
use serde::Deserialize;

use super::vouchers::{Answer, NotVouched, Voucher, client, keep, on_store, post, url};
use crate::archive::{STAMP_BYTES_MAX, Standing, accept, authorities, checkpoint_of, request, stamp_key, unstamped};
use crate::part::{Interval, Problem, SetupError};
use crate::tls::ClientTls;

/// A time stamp authority.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimestampConfig {
    /// Where requests are posted to: `http://tsa.example/tsr`.
    pub url: String,
    /// PEM file of the authorities of time stamps. With it a stamp is stored only if its signature leads to
    /// one of them; `wharfinger verify --tsa-ca` takes the same file.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// How long an answer may take.
    #[serde(default = "timeout")]
    pub timeout: Interval,
    /// Certificates of an `https` connection.
    #[serde(default)]
    pub tls: ClientTls,
}

const fn timeout() -> Interval {
    Interval::seconds(30)
}

impl TimestampConfig {
    pub(super) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |option, message, hint: &str| {
            problems.push(Problem { option, message, hint: hint.to_owned() });
        };
        if let Err(message) = url(&self.url) {
            problem("timestamps.url", message, "write where requests are posted to: `http://tsa.example/tsr`");
        }
        if let Some(Err(error)) = self.ca.as_deref().map(authorities) {
            problem("timestamps.ca", error.to_string(), "a PEM file with the certificate of the authority");
        }
        if let Some(found) = self.tls.problems().into_iter().next() {
            problem("timestamps.tls", format!("{}: {}", found.option, found.message), &found.hint);
        }
        problems
    }

    pub(super) fn open(&self) -> Result<Authority, SetupError> {
        let url = url(&self.url).map_err(|cause| SetupError::new("cannot use `timestamps.url`", cause))?;
        let authorities = self.ca.as_deref().map(authorities).transpose();
        let authorities = authorities.map_err(|error| SetupError::new("cannot use `timestamps.ca`", error))?;
        Ok(Authority {
            name: format!("the time stamp authority `{url}`"),
            client: client(&url, &self.tls, self.timeout.get())?,
            authorities,
            foreign: None,
            url,
        })
    }
}

pub(super) struct Authority {
    name: String,
    url: Url,
    client: Client,
    authorities: Option<Vec<CertificateDer<'static>>>,
    /// What is no checkpoint and was named last.
    foreign: Option<String>,
}

#[async_trait]
impl Voucher for Authority {
    fn name(&self) -> &str {
        &self.name
    }

    fn class(&self) -> &'static str {
        "archive.timestamp"
    }

    async fn vouch(
        &mut self,
        Standing { store, key: signer, checkpoint: newest }: &Standing,
    ) -> Result<(), NotVouched> {
        let newest = *newest;
        let mut foreign = None;
        for key in on_store(store, move |store| unstamped(store, newest)).await? {
            let (asked, origin) = (key.clone(), signer.name().to_owned());
            // What somebody else has put there is not ours to be stamped, and holds up nothing that is.
            match on_store(store, move |store| checkpoint_of(store, &asked, &origin)).await? {
                Some(checkpoint) => {
                    let stamp = self.stamp(&checkpoint).await?;
                    keep(store, stamp_key(&key), stamp).await?;
                }
                None => drop(foreign.get_or_insert(key)),
            }
        }
        if let Some(key) = foreign.filter(|key| self.foreign.as_ref() != Some(key)) {
            tracing::warn!("`{key}` is no checkpoint of the stream: somebody else has put it there");
            self.foreign = Some(key);
        }
        Ok(())
    }
}

impl Authority {
    async fn stamp(&self, checkpoint: &[u8]) -> Result<Vec<u8>, String> {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(|error| error.to_string())?;
        let question = request(checkpoint, &mut nonce);
        let answer = post(&self.client, &self.url, "application/timestamp-query", question, STAMP_BYTES_MAX).await?;
        match answer {
            Answer { status: 200, body } => {
                let accepted = accept(&body, checkpoint, &nonce, self.authorities.as_deref());
                accepted.map(|_| body).map_err(|why| format!("its answer is not kept: {why}"))
            }
            Answer { status, .. } => Err(format!("it answers with status {status}")),
        }
    }
}
