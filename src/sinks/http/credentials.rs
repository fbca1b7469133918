//! What proves who we are: the URL if it holds a token, headers, the key that signs bodies.
//!
//! Invariant: read again every few seconds, and after a refusal, so that renewed ones are used without a restart.

use std::time::Duration;
#[cfg(feature = "s3")]
use std::time::SystemTime;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::config::{HttpConfig, url};
#[cfg(feature = "s3")]
use super::sigv4::Sigv4;
use crate::part::Secret;
use crate::sinks::web::refused;

/// What is shorter is no secret, and stands in texts that mean something else.
const SECRET_CHARS_MIN: usize = 4;
/// They are read again when they are older.
const READ_EVERY: Duration = Duration::from_secs(10);

/// All that proves who we are, as it stood when it was read.
///
/// Without `Debug`, so that no log shows it.
pub(super) struct Credentials {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// What `{secret}` is; empty if there is none.
    pub(super) secret: String,
    sign: Option<Sign>,
    #[cfg(feature = "s3")]
    sigv4: Option<Sigv4>,
    read: Instant,
}

struct Sign {
    key: hmac::Key,
    /// To tell whether it was renewed.
    text: String,
    header: HeaderName,
    prefix: String,
}

impl Credentials {
    /// # Errors
    /// The option that cannot be used, and why.
    pub(super) fn read(config: &HttpConfig) -> Result<Credentials, (&'static str, String)> {
        let secret = |option: &'static str, secret: &Secret| secret.read().map_err(|error| (option, error.to_string()));
        let url = url(&secret("url", &config.url)?).map_err(|message| ("url", message))?;
        if let Some(message) = refused(&url).filter(|_| !config.allow_link_local) {
            return Err(("url", message));
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(config.content_type()));
        for (name, value) in &config.headers {
            let value = value.read().map_err(|error| ("headers", format!("`{name}`: {error}")))?;
            let name = header_name("headers", name)?;
            headers.insert(name.clone(), sensitive(&value).ok_or_else(|| unfit("headers", name.as_str()))?);
        }
        let auth = &config.auth;
        if let Some(token) = &auth.bearer {
            let value = format!("Bearer {}", secret("auth.bearer", token)?);
            headers.insert(AUTHORIZATION, sensitive(&value).ok_or_else(|| unfit("auth.bearer", "the token"))?);
        }
        if let Some(basic) = &auth.basic {
            let pair = format!("{}:{}", basic.user, secret("auth.basic.password", &basic.password)?);
            let value = format!("Basic {}", STANDARD.encode(pair));
            headers.insert(AUTHORIZATION, sensitive(&value).ok_or_else(|| unfit("auth.basic", "the password"))?);
        }
        let sign = match &auth.hmac {
            None => None,
            Some(sign) => {
                let text = secret("auth.hmac.key", &sign.key)?;
                let header = header_name("auth.hmac.header", &sign.header)?;
                sensitive(&sign.prefix).ok_or_else(|| unfit("auth.hmac.prefix", "it"))?;
                let key = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
                Some(Sign { key, text, header, prefix: sign.prefix.clone() })
            }
        };
        let text = config.secret.as_ref().map(|text| secret("secret", text)).transpose()?.unwrap_or_default();
        #[cfg(feature = "s3")]
        let sigv4 = auth.sigv4.as_ref().map(Sigv4::read).transpose()?;
        Ok(Credentials {
            url,
            headers,
            secret: text,
            sign,
            #[cfg(feature = "s3")]
            sigv4,
            read: Instant::now(),
        })
    }

    pub(super) fn is_old(&self) -> bool {
        self.read.elapsed() >= READ_EVERY
    }

    /// Whether a receiver could judge otherwise of these.
    pub(super) fn differ(&self, other: &Credentials) -> bool {
        let sign = |credentials: &Credentials| credentials.sign.as_ref().map(|sign| sign.text.clone());
        self.url != other.url
            || self.headers != other.headers
            || self.secret != other.secret
            || sign(self) != sign(other)
            || self.keys() != other.keys()
    }

    /// Texts that sign requests and are in none.
    #[cfg(feature = "s3")]
    fn keys(&self) -> Vec<&str> {
        self.sigv4.iter().flat_map(Sigv4::secrets).collect()
    }

    #[cfg(not(feature = "s3"))]
    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Headers of a request of that method with this body.
    pub(super) fn headers(&self, method: &str, body: &[u8]) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Some(sign) = &self.sign {
            let tag = hmac::sign(&sign.key, body);
            let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            if let Some(value) = sensitive(&format!("{}{hex}", sign.prefix)) {
                headers.insert(sign.header.clone(), value);
            }
        }
        #[cfg(feature = "s3")]
        if let Some(sigv4) = &self.sigv4 {
            // Last: what is signed is what is sent.
            for (name, value) in sigv4.sign(method, &self.url, &headers, body, SystemTime::now()) {
                if let (Ok(name), Some(value)) = (HeaderName::try_from(name), sensitive(&value)) {
                    headers.insert(name, value);
                }
            }
        }
        #[cfg(not(feature = "s3"))]
        let _ = method;
        headers
    }

    /// What no text for people may hold, each as it is and in pieces: who repeats it may have escaped what is
    /// between them. The longest first.
    pub(super) fn secrets(&self) -> Vec<String> {
        let values = self.headers.values().filter(|value| value.is_sensitive()).filter_map(|value| value.to_str().ok());
        let sign = self.sign.iter().map(|sign| sign.text.as_str());
        let texts = [self.url.path(), self.url.query().unwrap_or_default(), &self.secret];
        let texts = values.chain(sign).chain(texts).chain(self.keys());
        let pieces = texts.flat_map(|text| text.split(['/', '?', '&', '=', ' ', '"', '\\']).chain([text]));
        let mut secrets: Vec<String> =
            pieces.filter(|text| text.len() >= SECRET_CHARS_MIN).map(str::to_owned).collect();
        secrets.sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
        secrets.dedup();
        secrets
    }

    /// Host and port, for people.
    pub(super) fn peer(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

fn header_name(option: &'static str, name: &str) -> Result<HeaderName, (&'static str, String)> {
    HeaderName::try_from(name).map_err(|_| (option, format!("`{name}` is no name of a header")))
}

fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn unfit(option: &'static str, what: &str) -> (&'static str, String) {
    (option, format!("{what} holds characters that no header can hold"))
}
