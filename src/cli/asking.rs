//! Asks a running gateway on its admin listener.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::config_file::ConfigFile;
use super::failure::{Exit, Failure};
use crate::gateway;

/// A gateway that is well answers at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Thousands of parts fit, and a thousand machines.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Where it listens, and what it wants to be sent.
pub(super) struct Gateway {
    address: SocketAddr,
    token: String,
    token_file: PathBuf,
}

impl Gateway {
    /// The one on that address, else the one of the configuration; its token is in its data directory.
    pub(super) fn named(address: Option<SocketAddr>, file: &ConfigFile) -> Result<Gateway, Failure> {
        let address = match address {
            Some(address) => address,
            None => file.load()?.config.admin.listen.get(),
        };
        let token_file = gateway::page_token_file(&file.data_dir()?);
        // Whether it is missed, the gateway says.
        let token = fs::read_to_string(&token_file).unwrap_or_default().trim().to_owned();
        Ok(Gateway { address, token, token_file })
    }

    /// What it answers to a GET of that path.
    pub(super) fn get(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(Exit::Unavailable, error, ""))?;
        runtime.block_on(self.ask(path)).map_err(|error| match error.downcast_ref() {
            Some(Unauthorized) => {
                let error = error.context(format!("`{}` is not its token, or not readable", self.token_file.display()));
                let hint =
                    "name its configuration (`--config`) or data directory (`--data-dir`), as a user who may read it";
                Failure::new(Exit::NotPermitted, error, hint)
            }
            None => {
                let hint = "is a gateway running with this configuration? `wharfinger run` starts one; \
                            `wharfinger queue status` looks at the journal without it";
                Failure::new(Exit::Unavailable, error, hint)
            }
        })
    }

    /// The answer as what it should be.
    pub(super) fn read<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(answer).map_err(|error| {
            let context = format!("what answers on {} is no gateway of this version", self.address);
            let error = anyhow::Error::from(error).context(context);
            Failure::new(Exit::Unavailable, error, "compare `wharfinger --version` with the gateway's")
        })
    }

    async fn ask(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let exchange = async {
            let stream = TcpStream::connect(self.address).await?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let connection = tokio::spawn(connection);
            let request = Request::get(path)
                .header("host", self.address.to_string())
                .header("authorization", format!("Bearer {}", self.token))
                .body(Empty::<&[u8]>::new())?;
            let answer = sender.send_request(request).await?;
            match answer.status() {
                StatusCode::UNAUTHORIZED => bail!(Unauthorized),
                status if !status.is_success() => bail!("it answers {status}"),
                _ => {}
            }
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            connection.abort();
            body.map(|body| body.to_bytes().to_vec()).map_err(|error| anyhow::anyhow!(error))
        };
        let asked = tokio::time::timeout(PATIENCE, exchange).await;
        let asked = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {} s", PATIENCE.as_secs())));
        asked.with_context(|| format!("cannot ask the gateway on {}", self.address))
    }
}

/// It wants another token.
#[derive(Debug, thiserror::Error)]
#[error("it asks for the token of its admin page")]
struct Unauthorized;
