//! Whose credentials a bucket is reached with.
//!
//! Invariant: the metadata service of the machine, and that of its containers, is asked only where the
//! configuration says so.

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_sdk_s3::config::{Credentials, Region, SharedCredentialsProvider, SharedHttpClient};

use super::options::CredentialSource;
use crate::part::{Problem, Secret, SetupError};

/// The options that say it.
pub(super) struct CredentialOptions<'c> {
    pub(super) source: CredentialSource,
    pub(super) profile: Option<&'c str>,
    pub(super) access_key_id: Option<&'c Secret>,
    pub(super) secret_access_key: Option<&'c Secret>,
    pub(super) session_token: Option<&'c Secret>,
}

impl CredentialOptions<'_> {
    /// What is wrong with them on this machine.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let secrets = [
            ("access_key_id", self.access_key_id),
            ("secret_access_key", self.secret_access_key),
            ("session_token", self.session_token),
        ];
        let mut problems: Vec<Problem> =
            secrets.into_iter().filter_map(|(option, secret)| secret?.problem(option)).collect();
        let mut problem = |option, message: &str, hint: &str| {
            problems.push(Problem { option, message: message.to_owned(), hint: hint.to_owned() });
        };
        if let Some((option, _)) = secrets.iter().find(|(_, secret)| secret.is_some())
            && self.source != CredentialSource::Keys
        {
            problem(option, "`credentials` says that they come from elsewhere", "leave out one of the two");
        }
        if self.profile.is_some() && !matches!(self.source, CredentialSource::Profile | CredentialSource::Chain) {
            problem("profile", "no profile is read", "write `credentials: profile`");
        }
        problems
    }

    /// Who is asked for them, now and whenever they run out; touches no network.
    pub(super) fn provider(
        &self,
        region: &str,
        http: &SharedHttpClient,
    ) -> Result<SharedCredentialsProvider, SetupError> {
        if self.source == CredentialSource::Keys {
            return self.keys().map(SharedCredentialsProvider::new);
        }
        let config = ProviderConfig::default().with_region(Some(Region::new(region.to_owned())));
        let config = config.with_http_client(http.clone());
        let profile = || {
            let profile = ProfileFileCredentialsProvider::builder().configure(&config);
            match self.profile {
                Some(name) => profile.profile_name(name).build(),
                None => profile.build(),
            }
        };
        let web_identity = || WebIdentityTokenCredentialsProvider::builder().configure(&config).build();
        let container = || EcsCredentialsProvider::builder().configure(&config).build();
        let instance = || ImdsCredentialsProvider::builder().configure(&config).build();
        Ok(match self.source {
            CredentialSource::Keys | CredentialSource::Profile => SharedCredentialsProvider::new(profile()),
            CredentialSource::WebIdentity => SharedCredentialsProvider::new(web_identity()),
            CredentialSource::Container => SharedCredentialsProvider::new(container()),
            CredentialSource::Instance => SharedCredentialsProvider::new(instance()),
            CredentialSource::Chain => SharedCredentialsProvider::new(
                CredentialsProviderChain::first_try("environment", EnvironmentVariableCredentialsProvider::new())
                    .or_else("profile", profile())
                    .or_else("web identity", web_identity())
                    .or_else("container", container())
                    .or_else("instance", instance()),
            ),
        })
    }

    /// As they are now.
    fn keys(&self) -> Result<Credentials, SetupError> {
        let read = |secret: Option<&Secret>, variable: &str| match secret {
            Some(secret) => secret.read().map_err(|error| error.to_string()),
            None => std::env::var(variable).map_err(|_| format!("neither the option nor `{variable}` is set")),
        };
        let failed = |what: &str, cause: String| SetupError::new(format!("cannot read the {what}"), cause);
        let key = read(self.access_key_id, "AWS_ACCESS_KEY_ID").map_err(|cause| failed("access key id", cause))?;
        let secret = read(self.secret_access_key, "AWS_SECRET_ACCESS_KEY")
            .map_err(|cause| failed("secret access key", cause))?;
        let token = match self.session_token {
            Some(token) => Some(token.read().map_err(|error| failed("session token", error.to_string()))?),
            // A token of the environment belongs to the key of the environment.
            None if self.access_key_id.is_none() => std::env::var("AWS_SESSION_TOKEN").ok(),
            None => None,
        };
        Ok(Credentials::new(key, secret, token, None, "configuration"))
    }
}
