//! Witnesses of checkpoints (c2sp.org/tlog-witness): each is sent the newest, with a proof that the stream has
//! only grown since he was asked last, and answers with his signature.
//!
//! A witness knows a log by one key, and keys of epochs change every day. So the gateway signs what it sends
//! with a key that it keeps for that alone: it says which stream this is, and vouches for nothing.
//!
//! Invariant: nothing is sent that the key of the epoch has not signed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::{Client, Url};
use schemars::JsonSchema;
use serde::Deserialize;

use super::vouchers::{Answer, NotVouched, Voucher, client, keep, on_store, post, url};
use crate::archive::{COSIGNATURES_BYTES_MAX, LogKey, Seen, Standing, Submission, WitnessKey, unwitnessed};
use crate::part::{Interval, Problem, SetupError};
use crate::tls::ClientTls;

/// Tries in a row when the witness has seen another size than we remember.
const TRIES: u32 = 3;
/// How severe it is that a witness holds the stream to be another one.
const FORKED: i64 = 9;

/// A witness of checkpoints.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// What stands before `/add-checkpoint`: `https://witness.example`.
    pub url: String,
    /// His public key: `name+id+base64`.
    pub vkey: String,
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

impl WitnessConfig {
    pub(super) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem =
            |option, message, hint: &str| problems.push(Problem { option, message, hint: hint.to_owned() });
        if let Err(message) = url(&self.url) {
            problem("witnesses.url", message, "write what stands before `/add-checkpoint`: `https://witness.example`");
        }
        if WitnessKey::parse(&self.vkey).is_none() {
            let message = format!("`{}` is no key of a witness", self.vkey);
            problem("witnesses.vkey", message, "write `name+id+base64`, as the witness publishes it; its kind is 4");
        }
        if let Some(found) = self.tls.problems().into_iter().next() {
            problem("witnesses.tls", format!("{}: {}", found.option, found.message), &found.hint);
        }
        problems
    }

    pub(super) fn open(&self, state: &Path) -> Result<Witness, SetupError> {
        let unusable = |cause: String| SetupError::new("cannot use `witnesses`", cause);
        let text = format!("{}/add-checkpoint", self.url.trim_end_matches('/'));
        let url = url(&text).map_err(unusable)?;
        let no_key = || unusable(format!("`{}` is no key of a witness", self.vkey));
        let key = WitnessKey::parse(&self.vkey).ok_or_else(no_key)?;
        Ok(Witness {
            name: format!("the witness `{}`", key.name()),
            client: client(&url, &self.tls, self.timeout.get())?,
            url,
            key,
            state: state.to_owned(),
        })
    }
}

pub(super) struct Witness {
    name: String,
    url: Url,
    client: Client,
    key: WitnessKey,
    state: PathBuf,
}

#[async_trait]
impl Voucher for Witness {
    fn name(&self) -> &str {
        &self.name
    }

    fn class(&self) -> &'static str {
        "archive.witness"
    }

    async fn vouch(&mut self, at: &Standing) -> Result<(), NotVouched> {
        let (key, state, signer, newest) = (self.key.clone(), self.state.clone(), at.key.clone(), at.checkpoint);
        let work = move |store: &dyn crate::archive::Store| {
            let log = LogKey::open(&state, signer.name())?;
            let seen = Seen::read(&state, &key, signer.name());
            Ok((unwitnessed(store, newest, &key, &signer, &log)?, log, seen))
        };
        let (submission, log, mut seen) = on_store(&at.store, work).await?;
        let Some(submission) = submission else { return Ok(()) };
        let submission = Arc::new(submission);
        let mut size = seen.size();
        for _ in 0..TRIES {
            let (sent, before) = (Arc::clone(&submission), seen);
            let made = on_store(&at.store, move |store| sent.body(store, before, size)).await?;
            let (body, known, grown) = made;
            seen = known;
            let answer = post(&self.client, &self.url, "text/plain", body.into_bytes(), COSIGNATURES_BYTES_MAX).await?;
            match self.read(&answer, &submission, &log)? {
                Answered::Signed(bytes) => {
                    keep(&at.store, self.key.key_of(&submission.key), bytes).await?;
                    let (state, key) = (self.state.clone(), self.key.clone());
                    return Ok(on_store(&at.store, move |_| grown.write(&state, &key)).await?);
                }
                Answered::Has(other) => size = other,
            }
        }
        Err(format!("it answers each time with another size, {size} at last").into())
    }
}

enum Answered {
    Signed(Vec<u8>),
    /// It has signed a stream of that many seals.
    Has(u64),
}

impl Witness {
    fn read(&self, answer: &Answer, sent: &Submission, log: &LogKey) -> Result<Answered, NotVouched> {
        let forked = |why: String| NotVouched { why, severity: FORKED };
        match answer.status {
            200 => {
                let signed = sent.cosigned(&self.key, &answer.body);
                signed.map(Answered::Signed).map_err(|why| format!("its answer is not kept: {why}").into())
            }
            409 => {
                let size = std::str::from_utf8(&answer.body).ok().and_then(|text| text.trim().parse().ok());
                match size.ok_or("its answer 409 says no size")? {
                    size if size > sent.size => Err(forked(format!(
                        "it has signed {size} seals of `{}`, and there are {}: the stream was cut back or forked",
                        sent.origin, sent.size
                    ))),
                    size => Ok(Answered::Has(size)),
                }
            }
            422 => Err(forked(format!("it holds `{}` to be another stream than it has seen: a fork", sent.origin))),
            status @ (403 | 404) => {
                let why = format!("status {status}: it does not know `{}`; its operator is to add {log}", sent.origin);
                Err(why.into())
            }
            status => Err(format!("it answers with status {status}").into()),
        }
    }
}
