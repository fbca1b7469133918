//! Sink `archive`: the sealed archive. Lines of native JSON with their raw bytes become objects; each has
//! a seal that names the one before, so that anyone can check offline that nothing was changed or left
//! out. The format is docs/custody.md.
//!
//! One request is one object. Beside the requests a watch of its own seals silences, changes keys and
//! makes checkpoints, which go to every other sink as events: those copies are the anchors.
//!
//! Invariants: an event is in one object alone, also over crashes, because the stream knows the number it
//! goes on with; a silence is never sealed while an event waits.

mod lines;
mod masking;
mod timestamps;
#[cfg(feature = "pkcs11")]
mod tokens;
mod vouchers;
mod witnesses;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use wharfinger_formats::{Event, Time};

use self::lines::Lines;
use self::masking::Masking;
use self::timestamps::TimestampConfig;
use self::vouchers::{Voucher, Vouchers};
use self::witnesses::WitnessConfig;
use super::compress::Compression;
use super::drain::now;
use super::receipts::Answer;
#[cfg(feature = "s3")]
use super::s3::{Bucket, BucketConfig};
use super::{Absent, Ended, Limits, Outcome, Push, Refused, Sink, SinkConfig};
use crate::archive::{Chain, ChainError, Dir, KeyFile, Keys, OpenStore, Origin, Reached};
use crate::journal::Position;
use crate::part::{ByteSize, Interval, Kind, Notice, PartContext, Problem, SetupError};

/// The row of this sink.
pub const KIND: Kind<dyn SinkConfig> = Kind {
    name: "archive",
    about: "A sealed archive that anyone can verify with a public key",
    schema: || schemars::schema_for!(ArchiveConfig),
    read: |options| Ok(Box::new(erased_serde::deserialize::<ArchiveConfig>(options)?)),
};

/// A sealed archive that anyone can verify with a public key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArchiveConfig {
    /// The folder; a folder in it, named like the sink, holds its objects and seals. Either this is written
    /// or `s3`.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// A bucket instead of a folder.
    #[cfg(feature = "s3")]
    #[serde(default)]
    pub s3: Option<BucketConfig>,
    /// How long objects are to be kept. With `s3.lock` the bucket enforces it; `wharfinger archive
    /// retention` reports it. Nothing is ever deleted by the gateway.
    #[serde(default)]
    pub keep: Option<Interval>,
    /// How objects are compressed.
    #[serde(default = "zstd")]
    pub compression: Compression,
    /// How long an event may wait until its object is sealed. An object ends with the UTC hour too.
    #[serde(default = "max_age")]
    pub max_age: Interval,
    /// How many bytes before compression end an object; held compressed in memory meanwhile.
    #[serde(default = "max_bytes")]
    pub max_bytes: ByteSize,
    /// Passwords, tokens and keys are sealed as they came. Unless this is written, they are masked first: what
    /// is locked for years cannot be taken back.
    #[serde(default)]
    pub keep_original: bool,
    /// The private key of the first epoch, made by `wharfinger keygen`. It is taken over: the file is
    /// removed once the gateway has the key. Unless it is written, the gateway makes one.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// A token that makes and keeps the private keys, and signs (PKCS#11). Unless it is written, they are in
    /// files that their owner alone can read.
    #[cfg(feature = "pkcs11")]
    #[serde(default)]
    pub pkcs11: Option<tokens::TokenConfig>,
    /// A time stamp authority (RFC 3161) that says of each checkpoint when it was there. Nothing waits for it.
    #[serde(default)]
    pub timestamps: Option<TimestampConfig>,
    /// Witnesses (c2sp.org/tlog-witness), who sign each checkpoint only if the stream has grown and is otherwise
    /// the one they know. Nothing waits for them. Default: none.
    #[serde(default)]
    pub witnesses: Vec<WitnessConfig>,
}

const fn zstd() -> Compression {
    Compression::Zstd
}
const fn max_age() -> Interval {
    Interval::seconds(60)
}
const fn max_bytes() -> ByteSize {
    ByteSize::mib(64)
}

const NO_PLACE: &str = "it is not said where the archive is";
/// Options of the bucket as the archive's own mistakes name them.
#[cfg(feature = "s3")]
const BUCKET_OPTIONS: &[&str] = &[
    "s3.bucket",
    "s3.prefix",
    "s3.endpoint",
    "s3.access_key_id",
    "s3.secret_access_key",
    "s3.session_token",
    "s3.tls.ca",
];

/// How often it is looked whether a silence, a checkpoint or a new key is due.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

impl SinkConfig for ArchiveConfig {
    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.max_bytes.get() == 0 {
            let (message, hint) = ("an object must be able to hold an event", "leave it out for 64MiB");
            problems.push(Problem { option: "max_bytes", message: message.to_owned(), hint: hint.to_owned() });
        }
        if let Some(path) = self.path.as_ref().filter(|path| path.is_file()) {
            let message = format!("`{}` is no folder", path.display());
            problems.push(Problem { option: "path", message, hint: "choose another path".to_owned() });
        }
        self.check_place(&mut problems);
        #[cfg(feature = "pkcs11")]
        problems.extend(self.pkcs11.iter().flat_map(|token| token.check(self.key.is_some())));
        problems.extend(self.timestamps.iter().flat_map(TimestampConfig::check));
        problems.extend(self.witnesses.iter().flat_map(WitnessConfig::check));
        problems
    }

    fn open(&self, context: &PartContext) -> Result<Box<dyn Sink>, SetupError> {
        let failed = |cause: String| failed(context, cause);
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if context.name.is_empty() || !context.name.bytes().all(legal) {
            return Err(failed("its name stands in keys: letters, digits, `_` and `-` make one".to_owned()));
        }
        let chain = self.chain(context, now())?;
        if let Some(key) = chain.first_key() {
            tracing::info!(archive = context.name, "`wharfinger verify` checks it with {key}");
        }
        let reached = Mutex::new(chain.reached());
        let stream = Arc::new(Stream { chain: Mutex::new(chain), reached, pushed: Mutex::new(None) });
        let vouchers = Vouchers::spawn(self.vouchers(context)?, &context.name, context.notices.as_ref());
        let watch = watch(Arc::clone(&stream), vouchers, context.notices.clone());
        let masker = (!self.keep_original).then(|| Masking::open(&state(context).join("salt"))).transpose();
        let masker = masker.map_err(|error| failed(error.to_string()))?;
        let lines = Lines::new(self.compression, masker).map_err(|error| failed(error.to_string()))?;
        let notices = context.notices.clone();
        let (begun_at, first, seal) = (None, None, None);
        Ok(Box::new(Archive { config: self.clone(), lines, stream, begun_at, first, seal, notices, watch }))
    }

    fn archive(&self) -> Option<Result<OpenStore, SetupError>> {
        Some(self.stores())
    }

    fn is_evidence(&self) -> bool {
        true
    }

    fn end(&self, context: &PartContext, reason: &str, now: Time) -> Option<Result<Ended, SetupError>> {
        let failed = |cause: String| failed(context, cause);
        if !state(context).join("head.json").exists() {
            return Some(Err(failed(format!("nothing was sealed yet in `{}`", state(context).display()))));
        }
        Some(self.chain(context, now).and_then(|mut chain| {
            let checkpoint = chain.close(reason, now).map_err(|error| failed(error.to_string()))?;
            // There may be no next start that asks for it.
            let mut vouchers = self.vouchers(context)?;
            let asked = vouchers.iter_mut().map(|voucher| vouchers::ask_now(voucher.as_mut(), &chain.standing()));
            let not_vouched = asked.filter_map(Result::err).collect();
            let proof = checkpoint.ok_or_else(|| failed("nothing was sealed yet".to_owned()))?;
            Ok(Ended { proof, not_vouched })
        }))
    }
}

fn failed(context: &PartContext, cause: String) -> SetupError {
    SetupError::new(format!("cannot go on with the archive `{}`", context.name), cause)
}

/// Where the writer of an archive keeps what it must not lose.
fn state(context: &PartContext) -> PathBuf {
    context.data_dir.join("sealing").join(&context.name)
}

impl ArchiveConfig {
    fn chain(&self, context: &PartContext, now: Time) -> Result<Chain, SetupError> {
        let host: String = context.hostname.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
        let origin = Origin { host, name: context.name.clone() };
        let keys = self.keys(&state(context));
        let chain = Chain::open(state(context), origin, keys, self.stores()?, now);
        chain.map_err(|error| failed(context, error.to_string()))
    }

    #[cfg(feature = "pkcs11")]
    fn keys(&self, state: &Path) -> Keys {
        let keeper = self.pkcs11.as_ref().map(|token| token.open(state));
        Keys { first: self.key.clone().map(KeyFile::new), keeper }
    }

    #[cfg(not(feature = "pkcs11"))]
    fn keys(&self, _: &Path) -> Keys {
        Keys { first: self.key.clone().map(KeyFile::new), keeper: None }
    }

    /// Who else is asked about checkpoints.
    fn vouchers(&self, context: &PartContext) -> Result<Vec<Box<dyn Voucher>>, SetupError> {
        let mut vouchers: Vec<Box<dyn Voucher>> = Vec::new();
        if let Some(timestamps) = &self.timestamps {
            vouchers.push(Box::new(timestamps.open()?));
        }
        for witness in &self.witnesses {
            vouchers.push(Box::new(witness.open(&state(context))?));
        }
        Ok(vouchers)
    }

    #[cfg(feature = "s3")]
    fn check_place(&self, problems: &mut Vec<Problem>) {
        let mut problem = |option, message: &str, hint: &str| {
            problems.push(Problem { option, message: message.to_owned(), hint: hint.to_owned() });
        };
        let Some(bucket) = &self.s3 else {
            if self.path.is_none() {
                problem("path", NO_PLACE, "write `path: /var/lib/wharfinger/archive`, or `s3:` with a bucket");
            }
            return;
        };
        if self.path.is_some() {
            problem("s3", "an archive has one place", "leave out `path` or `s3`; a second sink makes a second archive");
        }
        if bucket.lock.is_some() && self.keep.is_none() {
            problem("keep", "it is not said for how long objects are to be locked", "write `keep: 365d`");
        }
        for mut found in bucket.check() {
            found.option = BUCKET_OPTIONS.iter().find(|name| name.ends_with(found.option)).unwrap_or(&"s3");
            problems.push(found);
        }
    }

    #[cfg(not(feature = "s3"))]
    fn check_place(&self, problems: &mut Vec<Problem>) {
        if self.path.is_none() {
            let hint = "write `path: /var/lib/wharfinger/archive`".to_owned();
            problems.push(Problem { option: "path", message: NO_PLACE.to_owned(), hint });
        }
    }

    fn stores(&self) -> Result<OpenStore, SetupError> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.s3 {
            let runtime = tokio::runtime::Handle::try_current();
            let runtime = runtime.map_err(|error| SetupError::new("cannot reach the bucket", error))?;
            return Bucket::stores(bucket, self.keep.map(Interval::get), runtime);
        }
        let root = self.path.clone().ok_or_else(|| SetupError::new("cannot go on with the archive", NO_PLACE))?;
        Ok(Arc::new(move |folder| Arc::new(Dir::new(root.join(folder)))))
    }
}

/// What a name of a key may hold of a host's name.
fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || ".-_".contains(letter)
}

/// The writing end, shared with the watch.
struct Stream {
    chain: Mutex<Chain>,
    /// How far the chain has got, to be looked at while it is at work.
    reached: Mutex<Reached>,
    /// The incarnation and number of the last event that is to be sealed.
    pushed: Mutex<Option<(String, u64)>>,
}

impl Stream {
    fn reached(&self) -> Reached {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pushed(&self) -> MutexGuard<'_, Option<(String, u64)>> {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No event waits to be sealed, whether it is in a request or comes again.
    fn is_silent(&self, chain: &Chain) -> bool {
        let pushed = self.pushed();
        pushed.as_ref().is_none_or(|(incarnation, number)| chain.reached().has(incarnation, *number))
    }
}

struct Archive {
    config: ArchiveConfig,
    lines: Lines,
    stream: Arc<Stream>,
    /// Where the chain stood when the request under construction began: what it passed over depends on it.
    begun_at: Option<Reached>,
    /// The incarnation and number of its first event, sealed or not.
    first: Option<(String, u64)>,
    /// The seal of the last request.
    seal: Option<String>,
    notices: Option<mpsc::Sender<Notice>>,
    watch: Option<Watch>,
}

/// The watch ends behind what it is at, whether it is stopped or forgotten.
struct Watch {
    stop: DropGuard,
    task: JoinHandle<()>,
}

/// Does what time asks for, every second.
fn watch(stream: Arc<Stream>, mut vouchers: Vouchers, notices: Option<mpsc::Sender<Notice>>) -> Option<Watch> {
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let task = runtime.spawn(async move {
        let mut failed = false;
        while stopped.run_until_cancelled(tokio::time::sleep(WATCH_INTERVAL)).await.is_some() {
            let asked = Arc::clone(&stream);
            let tick = move |chain: &mut Chain| Ok((chain.tick(now(), asked.is_silent(chain))?, chain.standing()));
            match on_chain(&stream, tick).await {
                Ok((checkpoint, standing)) => {
                    failed = false;
                    vouchers.look(&standing, checkpoint.is_some());
                    announce(&notices, checkpoint);
                }
                // The requests say it too; here once, until it works again.
                Err(reason) if !std::mem::replace(&mut failed, true) => {
                    tracing::error!(reason = reason.0, "the archive cannot be sealed");
                }
                Err(_) => {}
            }
        }
    });
    Some(Watch { stop: stop.drop_guard(), task })
}

/// A checkpoint goes to every sink: where it arrives, it is an anchor.
fn announce(notices: &Option<mpsc::Sender<Notice>>, checkpoint: Option<String>) {
    let (Some(notices), Some(text)) = (notices, checkpoint) else { return };
    let notice = Notice { class: "archive.checkpoint", severity: 1, text };
    if let Err(error) = notices.try_send(notice) {
        tracing::warn!("a checkpoint did not become an event: {error}; the next one will");
    }
}

/// Why a stream did not take something, and whether only a person can help.
struct Failed(String, bool);

/// Runs on a thread that may wait for disks and stores.
async fn on_chain<T: Send + 'static>(
    stream: &Arc<Stream>,
    work: impl FnOnce(&mut Chain) -> Result<T, ChainError> + Send + 'static,
) -> Result<T, Failed> {
    let stream = Arc::clone(stream);
    let work = tokio::task::spawn_blocking(move || {
        let mut chain = stream.chain.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut chain);
        *stream.reached.lock().unwrap_or_else(PoisonError::into_inner) = chain.reached();
        done
    });
    match work.await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            let for_people = error.is_for_people();
            Err(Failed(error.to_string(), for_people))
        }
        Err(error) => Err(Failed(error.to_string(), false)),
    }
}

#[async_trait]
impl Sink for Archive {
    fn limits(&self) -> Limits {
        let config = &self.config;
        Limits { events_max: usize::MAX, bytes_max: config.max_bytes.as_usize(), age_max: config.max_age.get() }
    }

    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused> {
        let reached = self.begun_at.get_or_insert_with(|| self.stream.reached());
        let taken = self.lines.push(event, reached)?;
        if self.first.is_none() {
            self.first = lines::number(event).map(|(incarnation, number)| (incarnation.to_owned(), number));
        }
        if let Some((incarnation, number)) = self.lines.last() {
            match &mut *self.stream.pushed() {
                Some((same, last)) if same == incarnation => *last = number,
                other => *other = Some((incarnation.to_owned(), number)),
            }
        }
        Ok(taken)
    }

    fn passed_over(&mut self, range: (Position, Position), why: Absent) {
        self.lines.passed_over(range, why);
        // What was given up does not come again.
        self.stream.pushed().take_if(|(_, number)| why == Absent::Lost && *number <= range.1.0);
    }

    async fn deliver(&mut self) -> Outcome {
        let lines = self.lines.take();
        let (begun_at, first) = (self.begun_at.take(), self.first.clone());
        let sealed = on_chain(&self.stream, move |chain| {
            chain.flush()?;
            if begun_at.is_some_and(|begun_at| begun_at != chain.reached()) {
                // Events that it did not need then, it needs now.
                return Err(std::io::Error::other("the stream goes on from another place").into());
            }
            // Without a line, all of it was staged by an earlier try.
            lines.finish()?.map_or(Ok(()), |(object, gaps)| chain.seal(&object, gaps, now()))?;
            Ok(first.and_then(|(incarnation, number)| chain.seal_from(&incarnation, number)))
        });
        match sealed.await {
            Ok(seal) => {
                (self.seal, self.first) = (seal, None);
                Outcome::Delivered
            }
            Err(Failed(reason, false)) => Outcome::Retry { after: None, reason },
            Err(Failed(reason, true)) => Outcome::Fatal { reason },
        }
    }

    fn answer(&mut self) -> Answer {
        self.seal.take().into_iter().map(|seal| ("seal", seal)).collect()
    }

    fn clear(&mut self) {
        self.lines.clear();
        (self.begun_at, self.first) = (None, None);
    }

    async fn close(&mut self) -> bool {
        if let Some(Watch { stop, task }) = self.watch.take() {
            drop(stop);
            // What it is at may be a checkpoint, which is to be announced.
            let _ = task.await;
        }
        let asked = Arc::clone(&self.stream);
        match on_chain(&self.stream, move |chain| chain.pause(now(), asked.is_silent(chain))).await {
            Ok(checkpoint) => announce(&self.notices, checkpoint),
            Err(Failed(reason, _)) => tracing::warn!(reason, "no last checkpoint of the archive"),
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WITNESS: &str = "witness.test/one+99cfedef+BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    #[cfg(feature = "s3")]
    fn each_mistake_is_a_problem_with_its_option() {
        for (options, option) in [
            (serde_json::json!({}), "path"),
            (serde_json::json!({ "path": "a", "s3": { "bucket": "b" } }), "s3"),
            (serde_json::json!({ "s3": { "bucket": "a/b" } }), "s3.bucket"),
            (serde_json::json!({ "s3": { "bucket": "a", "prefix": ".." } }), "s3.prefix"),
            (serde_json::json!({ "s3": { "bucket": "a", "tls": { "ca": "/nowhere" } } }), "s3.tls.ca"),
            (serde_json::json!({ "s3": { "bucket": "a", "lock": "compliance" } }), "keep"),
            (serde_json::json!({ "path": "a", "max_bytes": 0 }), "max_bytes"),
            (serde_json::json!({ "path": "a", "timestamps": { "url": "ftp://tsa" } }), "timestamps.url"),
            (serde_json::json!({ "path": "a", "timestamps": { "url": "http://u:p@tsa" } }), "timestamps.url"),
            (serde_json::json!({ "path": "a", "timestamps": { "url": "http://tsa", "ca": "/none" } }), "timestamps.ca"),
            (serde_json::json!({ "path": "a", "witnesses": [{ "url": "w", "vkey": WITNESS }] }), "witnesses.url"),
            (serde_json::json!({ "path": "a", "witnesses": [{ "url": "http://w", "vkey": "k" }] }), "witnesses.vkey"),
        ] {
            let config: ArchiveConfig = serde_json::from_value(options).unwrap();
            assert_eq!(config.check().first().map(|problem| problem.option), Some(option));
        }
        let locked = serde_json::json!({ "keep": "400d", "s3": { "bucket": "b", "lock": "compliance" } });
        let config: ArchiveConfig = serde_json::from_value(locked).unwrap();
        assert!(config.check().is_empty());
    }
}
