//! Those who say something of a checkpoint once it is stored: authorities of time stamps, witnesses.
//!
//! Each is asked in a task of its own. What is still to be asked stands in the store: a checkpoint without the
//! file beside it. So nothing of it can be lost, and nothing is to be remembered.
//!
//! Invariant: sealing never waits for any of them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url, redirect};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::archive::{Put, Standing, Store};
use crate::part::{Notice, SetupError, describe_http};
use crate::tls::ClientTls;

/// Asked again after that long, then after twice that, and so on to the longest.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_LONGEST: Duration = Duration::from_secs(300);

/// How severe it is that he is away.
const AWAY: i64 = 5;
/// How severe it is that somebody has put something in the place of what he says.
const PLANTED: i64 = 9;

/// One who is asked about the checkpoints of a stream.
#[async_trait]
pub(super) trait Voucher: Send {
    /// What he is, for people: "the time stamp authority `http://tsa.example`".
    fn name(&self) -> &str;

    /// The class of the events about him.
    fn class(&self) -> &'static str;

    /// Gets and stores what is missing.
    async fn vouch(&mut self, at: &Standing) -> Result<(), NotVouched>;
}

/// Why there is nothing of him beside a checkpoint.
pub(super) struct NotVouched {
    pub(super) why: String,
    /// Of the event that says so.
    pub(super) severity: i64,
}

impl From<String> for NotVouched {
    fn from(why: String) -> NotVouched {
        NotVouched { why, severity: AWAY }
    }
}

impl From<&str> for NotVouched {
    fn from(why: &str) -> NotVouched {
        why.to_owned().into()
    }
}

/// All of them, at work until this is dropped.
pub(super) struct Vouchers {
    stores: watch::Sender<Option<Standing>>,
    _tasks: JoinSet<()>,
}

impl Vouchers {
    /// Starts them, where there is a runtime.
    pub(super) fn spawn(
        vouchers: Vec<Box<dyn Voucher>>,
        archive: &str,
        notices: Option<&mpsc::Sender<Notice>>,
    ) -> Vouchers {
        let (stores, seen) = watch::channel(None);
        let mut tasks = JoinSet::new();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            for voucher in vouchers {
                let said = Said { archive: archive.to_owned(), notices: notices.cloned(), said: None };
                tasks.spawn_on(attend(voucher, seen.clone(), said), &runtime);
            }
        }
        Vouchers { stores, _tasks: tasks }
    }

    /// Where the stream is; it may have a new checkpoint.
    pub(super) fn look(&mut self, at: &Standing, is_new: bool) {
        self.stores.send_if_modified(|seen| {
            let is_new = is_new || seen.is_none();
            if is_new {
                *seen = Some(at.clone());
            }
            is_new
        });
    }
}

/// Asks when there is a new checkpoint, and again while it fails.
async fn attend(mut voucher: Box<dyn Voucher>, mut stores: watch::Receiver<Option<Standing>>, mut said: Said) {
    let mut again: Option<Duration> = None;
    loop {
        let changed = match again {
            Some(again) => tokio::time::timeout(again, stores.changed()).await.unwrap_or(Ok(())),
            None => stores.changed().await,
        };
        if changed.is_err() {
            return;
        }
        let Some(standing) = stores.borrow_and_update().clone() else { continue };
        match voucher.vouch(&standing).await {
            Ok(()) => {
                again = None;
                said.is_back(&*voucher);
            }
            Err(why) => {
                again = Some(again.map_or(AGAIN_FIRST, |again| (again * 2).min(AGAIN_LONGEST)));
                said.fails(&*voucher, &why);
            }
        }
    }
}

/// What was said of one of them: once that he fails, again if it is worse, and that he is back.
struct Said {
    archive: String,
    notices: Option<mpsc::Sender<Notice>>,
    /// How severe what was said last was.
    said: Option<i64>,
}

impl Said {
    fn fails(&mut self, voucher: &dyn Voucher, NotVouched { why, severity }: &NotVouched) {
        if self.said < Some(*severity) {
            self.said = Some(*severity);
            let text = format!("{} has not vouched for the archive `{}`: {why}", voucher.name(), self.archive);
            tracing::warn!("{text}; it is asked again");
            self.notice(voucher, *severity, text);
        }
    }

    fn is_back(&mut self, voucher: &dyn Voucher) {
        if self.said.take().is_some() {
            let text = format!("{} vouches for the archive `{}` again", voucher.name(), self.archive);
            tracing::info!("{text}");
            self.notice(voucher, 1, text);
        }
    }

    fn notice(&self, voucher: &dyn Voucher, severity: i64, text: String) {
        let notice = Notice { class: voucher.class(), severity, text };
        if let Some(Err(error)) = self.notices.as_ref().map(|notices| notices.try_send(notice)) {
            tracing::warn!("it did not become an event: {error}");
        }
    }
}

/// Asks once, at the end of a stream, from a thread that is entered into a runtime; answers why in vain.
pub(super) fn ask_now(voucher: &mut dyn Voucher, at: &Standing) -> Result<(), String> {
    let asked = match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.block_on(voucher.vouch(at)),
        Err(error) => Err(error.to_string().into()),
    };
    asked.map_err(|NotVouched { why, .. }| format!("{} has not vouched for the end: {why}", voucher.name()))
}

/// Runs what waits for a store on a thread that may wait.
pub(super) async fn on_store<T: Send + 'static>(
    store: &Arc<dyn Store>,
    work: impl FnOnce(&dyn Store) -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    let store = Arc::clone(store);
    let done = tokio::task::spawn_blocking(move || work(&*store)).await;
    done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Puts what was answered beside its checkpoint.
pub(super) async fn keep(store: &Arc<dyn Store>, key: String, bytes: Vec<u8>) -> Result<(), NotVouched> {
    let put = on_store(store, move |store| Ok((store.put_new(&key, &bytes)?, key))).await?;
    match put {
        (Put::Done | Put::Same, _) => Ok(()),
        (Put::Other, key) => {
            let why = format!("`{key}` is there already and is not his: somebody else has put it there");
            Err(NotVouched { why, severity: PLANTED })
        }
    }
}

/// An `http` or `https` URL without credentials.
pub(super) fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is no URL: {error}"))?;
    match matches!(url.scheme(), "http" | "https") && url.host().is_some() {
        true if url.username().is_empty() && url.password().is_none() => Ok(url),
        true => Err("credentials have no place in a URL".to_owned()),
        false => Err(format!("`{text}` is no http or https URL")),
    }
}

pub(super) fn client(url: &Url, tls: &ClientTls, timeout: Duration) -> Result<Client, SetupError> {
    let tls = if url.scheme() == "https" { tls.client_config()? } else { ClientTls::trusting_nobody()? };
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("wharfinger/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_gzip()
        .timeout(timeout)
        .build();
    client.map_err(|error| SetupError::new("cannot make an HTTP client", error))
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Posts, and reads an answer of at most so many bytes.
pub(super) async fn post(
    client: &Client,
    url: &Url,
    content: &'static str,
    body: Vec<u8>,
    bytes_max: u64,
) -> Result<Answer, String> {
    let sent = client.post(url.clone()).header(CONTENT_TYPE, content).body(body).send().await;
    let mut response = sent.map_err(|error| describe_http(&error))?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| describe_http(&error))? {
        body.extend_from_slice(&part);
        if body.len() as u64 > bytes_max {
            return Err(format!("its answer is longer than {bytes_max} bytes"));
        }
    }
    Ok(Answer { status, body })
}
