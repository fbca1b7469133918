//! The store: one PUT for each object, made so that doing it twice is the same as doing it once.

use aws_sdk_s3::Client;

use super::client::{Answer, client, status};
use super::object::{Layout, Object};
use super::parts;
use super::terms::{HASH_METADATA, Terms, outcome};
use super::{Exclusive, S3Config};
use crate::part::SetupError;
use crate::sinks::Outcome;

pub(super) struct Store {
    client: Client,
    terms: Terms,
    /// Whether PUTs carry `If-None-Match: *`; off once the store has said that it does not know it.
    conditional: bool,
    /// Ask before each PUT whether the object is there.
    look_first: bool,
}

impl Store {
    /// A client with the credentials as they are now; touches no network.
    pub(super) fn new(config: &S3Config) -> Result<Store, SetupError> {
        Ok(Store {
            client: client(&config.access())?,
            terms: config.terms(),
            conditional: config.exclusive == Exclusive::IfNoneMatch,
            look_first: config.exclusive == Exclusive::Head,
        })
    }

    /// Before anything is written: the bucket is one that can lock objects, if they are to be locked.
    pub(super) async fn ready(&self) -> Result<(), Outcome> {
        self.terms.ready(&self.client).await
    }

    /// Aborts uploads of ours that an earlier run left unfinished.
    pub(super) async fn sweep(&self, layout: &Layout) {
        parts::sweep(&self.terms, &self.client, &layout.root(), Some(layout)).await;
    }

    /// Stores the object, and what is to be so is encrypted and locked, unless it is there already. `unsure`: an earlier try may have stored it, and
    /// some stores ignore `If-None-Match` without a word.
    pub(super) async fn put(&mut self, object: Object, unsure: bool) -> Outcome {
        let outcome = self.put_unless_there(&object, unsure).await;
        if outcome != Outcome::Delivered {
            return outcome;
        }
        self.terms.confirm(&self.client, &object.key).await.err().unwrap_or(Outcome::Delivered)
    }

    async fn put_unless_there(&mut self, object: &Object, unsure: bool) -> Outcome {
        // A large one is not sent to find out that it is there.
        if self.look_first || unsure || self.terms.is_in_parts(object) {
            match self.is_there(object).await {
                Ok(true) => return Outcome::Delivered,
                Ok(false) => {}
                Err(outcome) => return outcome,
            }
        }
        let mut answer = self.terms.put(&self.client, object, self.conditional).await;
        if matches!(answer, Answer::NotConditional) {
            answer = match self.is_there(object).await {
                Ok(true) => Answer::Stored,
                Ok(false) => self.terms.put(&self.client, object, false).await,
                Err(outcome) => Answer::Outcome(outcome),
            };
            // The store may have refused something else of the request, and refuses it again.
            if matches!(answer, Answer::Stored) {
                tracing::warn!(
                    "the store of `{}` does not know `If-None-Match`: keys are read before",
                    self.terms.bucket
                );
                (self.conditional, self.look_first) = (false, true);
            }
        }
        match answer {
            Answer::Stored => Outcome::Delivered,
            Answer::Outcome(outcome) => outcome,
            // It was asked without the condition.
            Answer::NotConditional => {
                Outcome::Retry { after: None, reason: "the store refuses no condition".to_owned() }
            }
            Answer::Exists => match self.is_there(object).await {
                Ok(true) => Outcome::Delivered,
                Ok(false) => Outcome::Retry { after: None, reason: format!("`{}` is there and is not", object.key) },
                Err(outcome) => outcome,
            },
        }
    }

    /// Whether the store has this very object: the name holds part of its hash, the metadata all of it.
    async fn is_there(&self, object: &Object) -> Result<bool, Outcome> {
        match self.client.head_object().bucket(&self.terms.bucket).key(&object.key).send().await {
            Ok(head) => {
                let hash = head.metadata().and_then(|metadata| metadata.get(HASH_METADATA));
                let same_hash = hash.is_none_or(|hash| *hash == object.sha256_hex());
                if same_hash && head.content_length() == i64::try_from(object.bytes.len()).ok() {
                    return Ok(true);
                }
                let reason = format!("`{}` is in the bucket with other content", object.key);
                Err(Outcome::Fatal { reason })
            }
            // HEAD has no body: 404 is all that is said of a missing object.
            Err(error) if status(&error) == Some(404) => Ok(false),
            Err(error) => Err(outcome(&error)),
        }
    }
}
