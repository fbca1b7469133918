//! Where an archive is, as verbs that read one are told: a folder, or `s3://bucket/prefix`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::failure::{Exit, Failure};
use crate::archive::{Dir, OpenStore};

/// How a bucket is reached; credentials come from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
#[derive(Debug, clap::Args)]
pub(super) struct Reach {
    /// URL of a store that is not AWS
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL", hide_env_values = true)]
    pub(super) endpoint: Option<String>,
    /// Region of the bucket
    #[arg(long, env = "AWS_REGION", hide_env_values = true)]
    region: Option<String>,
    /// PEM file of the authorities to trust for the store
    #[arg(long, value_name = "FILE", env = "AWS_CA_BUNDLE", hide_env_values = true)]
    ca: Option<PathBuf>,
}

impl Reach {
    /// The folders of a place.
    pub(super) fn stores(&self, place: &Path) -> Result<OpenStore, Failure> {
        match place.to_str().and_then(|place| place.strip_prefix("s3://")) {
            Some(bucket) => self.bucket(bucket),
            None => {
                let root = place.to_owned();
                Ok(Arc::new(move |folder| Arc::new(Dir::new(root.join(folder)))))
            }
        }
    }

    #[cfg(feature = "s3")]
    fn bucket(&self, place: &str) -> Result<OpenStore, Failure> {
        use std::sync::OnceLock;

        use tokio::runtime::{Builder, Runtime};

        use crate::sinks::s3::{Bucket, BucketConfig, S3Tls};

        /// Stores are read until the program ends.
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();

        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let mut config = BucketConfig::reading(bucket, prefix);
        config.endpoint.clone_from(&self.endpoint);
        config.region = self.region.clone().unwrap_or(config.region);
        config.tls = S3Tls { ca: self.ca.clone() };
        let usage = |error: anyhow::Error, hint: &str| Failure::new(Exit::Usage, error, hint);
        if let Some(problem) = config.check().into_iter().next() {
            return Err(usage(anyhow::anyhow!("`s3://{place}`: {}", problem.message), &problem.hint));
        }
        let runtime = match RUNTIME.get() {
            Some(runtime) => runtime,
            None => {
                let made = Builder::new_multi_thread().worker_threads(1).enable_all().build();
                let made = made.map_err(|error| Failure::new(Exit::Unavailable, error, ""))?;
                RUNTIME.get_or_init(|| made)
            }
        };
        Bucket::stores(&config, None, runtime.handle().clone())
            .map_err(|error| usage(error.into(), "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`"))
    }

    #[cfg(not(feature = "s3"))]
    fn bucket(&self, _place: &str) -> Result<OpenStore, Failure> {
        let error = anyhow::anyhow!("this program was built without S3");
        Err(Failure::new(Exit::Usage, error, "build it with feature `s3`"))
    }
}

/// The place above and the name of what it names, of a folder as of a prefix.
pub(super) fn above(place: &Path) -> Option<(PathBuf, String)> {
    if let Some(bucket) = place.to_str().and_then(|place| place.strip_prefix("s3://")) {
        let (above, name) = bucket.trim_end_matches('/').rsplit_once('/')?;
        return Some((format!("s3://{above}").into(), name.to_owned()));
    }
    let absolute = std::fs::canonicalize(place).ok()?;
    Some((absolute.parent()?.to_owned(), absolute.file_name()?.to_str()?.to_owned()))
}
