//! A bucket as the store of an archive: objects written once, locked for as long as they are to be kept.
//!
//! Calls block, on a thread that is not one of the runtime's own.
//!
//! Invariants: what is there is never written over, also by a store that ignores `If-None-Match`; an object
//! counts as stored only when the store says of it that it is locked as the configuration wants; a store
//! that gives no answer is never taken for one that has nothing.

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ObjectLockLegalHold, ObjectLockLegalHoldStatus};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::runtime::Handle;
use wharfinger_formats::Time;

use super::body::Body;
use super::bucket_config::BucketConfig;
use super::client::{Answer, client, judge, status};
use super::object::Object;
use super::parts;
use super::terms::{Terms, is_held};
use crate::archive::{Kept, OpenStore, Put, Store, is_key};
use crate::part::SetupError;
use crate::sinks::Outcome;

/// What keys of objects begin with; the rest is small.
const OBJECTS: &str = "data/";
/// How often what only reads is tried, and how long it waits before it is tried again, and twice that.
const TRIES: u32 = 4;
const WAIT: Duration = Duration::from_millis(200);
/// Requests under way at once, where there are many.
const AT_ONCE: usize = 32;
/// Objects that are read at once by whoever reads many.
const READ_AT_ONCE: usize = 16;

/// One folder of a bucket.
#[derive(Clone)]
pub struct Bucket {
    account: Arc<Account>,
    /// What its keys begin with: empty, or with a slash at the end.
    root: String,
}

/// A bucket and the way there.
struct Account {
    config: BucketConfig,
    terms: Terms,
    runtime: Handle,
    /// None after the store has refused us: credentials are read again.
    client: Mutex<Option<Client>>,
    /// The store has not said that it does not know `If-None-Match`.
    conditional: AtomicBool,
    /// Folders whose unfinished uploads were aborted.
    swept: Mutex<Vec<String>>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket(s3://{}/{})", self.account.config.bucket, self.root)
    }
}

/// Why there is no answer that can be used.
pub(super) enum No {
    /// Nothing is there.
    Absent,
    /// Something is there already, or something else.
    Other,
    NotConditional,
    Failed(io::Error),
}

impl Bucket {
    /// Opens the folders of a bucket; touches no network. Objects that are written are to be kept for `keep`.
    ///
    /// # Errors
    /// Credentials or certificates cannot be read.
    pub fn stores(config: &BucketConfig, keep: Option<Duration>, runtime: Handle) -> Result<OpenStore, SetupError> {
        let client = Mutex::new(Some(client(&config.access())?));
        let prefix = config.prefix.trim_matches('/').to_owned();
        let (conditional, swept) = (AtomicBool::new(true), Mutex::default());
        let (config, terms) = (config.clone(), config.terms(keep));
        let account = Arc::new(Account { config, terms, runtime, client, conditional, swept });
        Ok(Arc::new(move |folder| {
            let parts = [prefix.as_str(), folder].into_iter().filter(|part| !part.is_empty());
            let root = parts.map(|part| format!("{part}/")).collect();
            Arc::new(Bucket { account: Arc::clone(&account), root })
        }))
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    fn put_once(&self, object: &Object, conditional: bool) -> Result<(), No> {
        let account = &*self.account;
        let client = account.client()?;
        match account.runtime.block_on(account.terms.put(&client, object, conditional)) {
            Answer::Stored => Ok(()),
            answer => Err(account.no(answer)),
        }
    }

    /// Makes sure that an object that is there is encrypted and locked as it is to be.
    fn confirm(&self, key: &str) -> io::Result<()> {
        let account = &*self.account;
        Ok(account.patiently(|| {
            let client = account.client()?;
            let confirmed = account.runtime.block_on(account.terms.confirm(&client, &self.full(key)));
            confirmed.map_err(|outcome| account.no(Answer::Outcome(outcome)))
        })?)
    }

    /// Aborts, once, uploads that an earlier run left unfinished: nobody else writes objects of this stream.
    fn sweep(&self) -> io::Result<()> {
        let account = &*self.account;
        let client = account.client()?;
        let mut swept = account.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if !swept.contains(&self.root) {
            account.runtime.block_on(parts::sweep(&account.terms, &client, &self.full(OBJECTS), None));
            swept.push(self.root.clone());
        }
        Ok(())
    }

    /// The bytes of an object from one on, as long as it is the one of that tag.
    pub(super) fn get(&self, key: &str, from: u64, tag: Option<&str>) -> Result<(ByteStream, Option<String>), No> {
        let account = &*self.account;
        account.patiently(|| {
            let mut request = account.client()?.get_object().bucket(&account.config.bucket).key(self.full(key));
            if from > 0 {
                request = request.range(format!("bytes={from}-")).set_if_match(tag.map(str::to_owned));
            }
            let answer = account.ask(false, request.send())?;
            // A store that knows no ranges begins anew: its bytes are not those that come next.
            let is_rest = |range: &str| range.starts_with(&format!("bytes {from}-"));
            if from > 0 && !answer.content_range.as_deref().is_some_and(is_rest) {
                let reason = format!("the store was asked for the bytes from {from} on, and gave others");
                return Err(No::Failed(io::Error::new(ErrorKind::NotConnected, reason)));
            }
            Ok((answer.body, answer.e_tag))
        })
    }

    /// The next piece of a body.
    pub(super) fn next(&self, stream: &mut ByteStream) -> Option<io::Result<bytes::Bytes>> {
        let account = &*self.account;
        // The time-out of a request ends with the headers of its answer.
        let timeout = account.config.timeout.get();
        let piece = account.runtime.block_on(async { tokio::time::timeout(timeout, stream.next()).await });
        let cause = match piece {
            Ok(None) => return None,
            Ok(Some(Ok(piece))) => return Some(Ok(piece)),
            Ok(Some(Err(error))) => error.to_string(),
            Err(_) => format!("nothing came for {timeout:?}"),
        };
        Some(Err(io::Error::new(ErrorKind::NotConnected, cause)))
    }
}

impl Account {
    fn client(&self) -> io::Result<Client> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *client {
            Some(client) => Ok(client.clone()),
            none => {
                let made = self::client(&self.config.access()).map_err(|error| refused(error.to_string()))?;
                Ok(none.insert(made).clone())
            }
        }
    }

    /// Waits for an answer.
    fn ask<T, E>(
        &self,
        conditional: bool,
        answer: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, No>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        self.runtime.block_on(self.answer(conditional, answer))
    }

    async fn answer<T, E>(
        &self,
        conditional: bool,
        answer: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, No>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let error = match answer.await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if status(&error) == Some(404) && error.code() != Some("NoSuchBucket") {
            return Err(No::Absent);
        }
        Err(self.no(judge(&error, conditional)))
    }

    /// What an answer means that is not that all is done.
    fn no(&self, answer: Answer) -> No {
        let away = |reason| No::Failed(io::Error::new(ErrorKind::NotConnected, reason));
        match answer {
            Answer::Exists => No::Other,
            Answer::NotConditional => No::NotConditional,
            Answer::Outcome(Outcome::Fatal { reason }) => {
                *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
                No::Failed(refused(reason))
            }
            Answer::Outcome(Outcome::Retry { reason, .. }) => away(reason),
            _ => away("the store gives no answer that can be used".to_owned()),
        }
    }

    /// Asks about many objects, some at a time; answers are in the order of the keys.
    fn ask_each<T, F>(&self, keys: &[String], ask: impl Fn(Client, &str) -> F) -> io::Result<Vec<T>>
    where
        F: Future<Output = Result<T, No>>,
    {
        let client = self.client()?;
        let answers = stream::iter(keys.iter().map(|key| ask(client.clone(), key))).buffered(AT_ONCE);
        Ok(self.runtime.block_on(answers.try_collect())?)
    }

    /// Asks again while the store gives no answer: whoever reads has no other loop.
    fn patiently<T>(&self, ask: impl Fn() -> Result<T, No>) -> Result<T, No> {
        let mut wait = WAIT;
        for _ in 1..TRIES {
            match ask() {
                Err(No::Failed(error)) if error.kind() == ErrorKind::NotConnected => std::thread::sleep(wait),
                done => return done,
            }
            wait *= 2;
        }
        ask()
    }
}

/// Only a person can help.
fn refused(reason: String) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, reason)
}

impl From<No> for io::Error {
    fn from(no: No) -> io::Error {
        match no {
            No::Failed(error) => error,
            No::Absent => io::Error::new(ErrorKind::NotFound, "the store has no such object"),
            No::Other => io::Error::other("the object has changed meanwhile"),
            No::NotConditional => io::Error::other("the store does not know `If-None-Match`"),
        }
    }
}

impl From<io::Error> for No {
    fn from(error: io::Error) -> No {
        No::Failed(error)
    }
}

impl Store for Bucket {
    fn ready(&self) -> io::Result<()> {
        let account = &*self.account;
        let ready = account.runtime.block_on(account.terms.ready(&account.client()?));
        Ok(ready.map_err(|outcome| account.no(Answer::Outcome(outcome)))?)
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> io::Result<Put> {
        if !is_key(key) {
            return Err(io::Error::other(format!("`{key}` is no key")));
        }
        self.ready()?;
        if key.starts_with(OBJECTS) {
            self.sweep()?;
        }
        // Asked first, because some stores ignore `If-None-Match` without a word.
        let mut put = match self.holds(key, bytes)? {
            Some(true) => Put::Same,
            Some(false) => return Ok(Put::Other),
            None => Put::Done,
        };
        if put == Put::Done {
            let account = &*self.account;
            let mut object = Object::new(bytes.to_vec(), None);
            object.key = self.full(key);
            let mut answer = self.put_once(&object, account.conditional.load(Relaxed));
            if matches!(answer, Err(No::NotConditional)) {
                answer = self.put_once(&object, false);
                // The store may have refused something else of the request, and refuses it again.
                if answer.is_ok() && account.conditional.swap(false, Relaxed) {
                    let bucket = &account.config.bucket;
                    tracing::warn!("the store of `{bucket}` does not know `If-None-Match`: keys are only read before");
                }
            }
            put = match answer {
                Ok(()) => Put::Done,
                Err(No::Other) => match self.holds(key, bytes)? {
                    Some(true) => Put::Same,
                    Some(false) => return Ok(Put::Other),
                    None => {
                        return Err(io::Error::new(ErrorKind::NotConnected, format!("`{key}` is there and is not")));
                    }
                },
                Err(no) => return Err(no.into()),
            };
        }
        self.confirm(key)?;
        Ok(put)
    }

    fn open(&self, key: &str) -> io::Result<Option<Box<dyn Read>>> {
        if !is_key(key) {
            return Ok(None);
        }
        match self.get(key, 0, None) {
            Ok((body, tag)) => Ok(Some(Box::new(Body::new(self.clone(), key, body, tag)))),
            Err(No::Absent) => Ok(None),
            Err(no) => Err(no.into()),
        }
    }

    fn keys(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let account = &*self.account;
        let (mut keys, mut from) = (Vec::new(), None::<String>);
        loop {
            let page = account.patiently(|| {
                let request = account.client()?.list_objects_v2().bucket(&account.config.bucket);
                let request = request.prefix(self.full(&format!("{folder}/"))).set_continuation_token(from.clone());
                account.ask(false, request.send())
            })?;
            for object in page.contents() {
                let key = object.key().and_then(|key| key.strip_prefix(&*self.root)).unwrap_or_default();
                keys.push((key.to_owned(), u64::try_from(object.size().unwrap_or(0)).unwrap_or(0)));
            }
            let next = page.next_continuation_token().filter(|_| page.is_truncated() == Some(true));
            match next {
                Some(next) if from.as_deref() != Some(next) => from = Some(next.to_owned()),
                Some(_) => return Err(io::Error::other("the store lists the same page again and again")),
                None => break,
            }
        }
        keys.sort();
        Ok(keys)
    }

    fn read_at_once(&self) -> usize {
        READ_AT_ONCE
    }

    fn locks(&self) -> bool {
        true
    }

    fn kept(&self, keys: &[String]) -> io::Result<Vec<Kept>> {
        let account = &*self.account;
        account.ask_each(keys, |client, key| {
            let request = client.head_object().bucket(&account.config.bucket).key(self.full(key));
            async move {
                let head = account.answer(false, request.send()).await?;
                let until = head.object_lock_retain_until_date();
                let until = until.map(|until| Time(until.secs().saturating_mul(1_000_000_000)));
                Ok(Kept { until, is_held: is_held(&head) })
            }
        })
    }

    fn hold(&self, keys: &[String], is_held: bool) -> io::Result<()> {
        let account = &*self.account;
        let status = if is_held { ObjectLockLegalHoldStatus::On } else { ObjectLockLegalHoldStatus::Off };
        let hold = ObjectLockLegalHold::builder().status(status).build();
        let done = account.ask_each(keys, |client, key| {
            let request = client.put_object_legal_hold().bucket(&account.config.bucket).key(self.full(key));
            let request = request.legal_hold(hold.clone());
            async move { account.answer(false, request.send()).await.map(drop) }
        });
        done.map(|_: Vec<()>| ())
    }
}
