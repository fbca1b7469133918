//! Provider `aws`: what EC2 says of the machine that the gateway runs on, by IMDSv2.
//!
//! formats §9: "PUT http://169.254.169.254/latest/api/token (`X-aws-ec2-metadata-token-ttl-seconds: 21600`), GET
//! /latest/dynamic/instance-identity/document with `X-aws-ec2-metadata-token`". Version 1, which anybody who makes the
//! machine ask a URL can read, is not used.

use async_trait::async_trait;
use schemars::schema_for;
use serde::Deserialize;

use super::metadata::{ADDRESS, Cloud, Metadata, Options, send};
use super::provider::{ProviderConfig, ProviderError};
use super::{Entry, Mac};
use crate::part::Kind;

pub(super) const KIND: Kind<dyn ProviderConfig> = Kind {
    name: "aws",
    about: "This machine's instance id, region and name at AWS EC2 (IMDSv2)",
    schema: || schema_for!(Options),
    read: |options| Ok(Box::new(Metadata::<Ec2>::new(erased_serde::deserialize(options)?))),
};

/// The token is used at once, and for nothing else.
const TOKEN_SECONDS: &str = "60";

/// An instance has 50 at most.
const TAGS_MAX: usize = 50;

#[derive(Debug)]
struct Ec2;

/// "Only letters (a-z, A-Z), numbers (0-9), and the following characters: `+ - = . , _ : @`" may stand in the key of a
/// tag that is in the metadata.
fn is_plain(key: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-=.,_:@".contains(&byte);
    !matches!(key, "" | "." | "..") && key.bytes().all(is_plain)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    instance_id: String,
    #[serde(default)]
    region: String,
    #[serde(default)]
    private_ip: Option<String>,
}

#[async_trait]
impl Cloud for Ec2 {
    async fn machine(options: &Options) -> Result<Entry, ProviderError> {
        let service = options.service(ADDRESS)?;
        let asked = service.put("/latest/api/token").header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS);
        let token = String::from_utf8(send(asked).await?.good()?.body);
        let token = token.map_err(|_| ProviderError::new("the token is no text"))?;
        let get = |path: &str| send(service.get(path).header("X-aws-ec2-metadata-token", token.trim()));
        let document: Document = get("/latest/dynamic/instance-identity/document").await?.good()?.json()?;
        let mac = get("/latest/meta-data/mac").await?;
        // Only where somebody has allowed tags in metadata.
        let name = get("/latest/meta-data/tags/instance/Name").await?;
        let keys = get("/latest/meta-data/tags/instance").await?;
        let text = |answer: super::http::Answer| {
            let text = String::from_utf8(answer.body).ok().filter(|_| answer.status == 200);
            text.map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let mut tags = Vec::new();
        for key in text(keys).lines().take(TAGS_MAX).filter(|key| is_plain(key)) {
            let value = get(&format!("/latest/meta-data/tags/instance/{key}")).await?;
            tags.push(format!("{key}:{}", text(value)));
        }
        Ok(Entry {
            name: text(name),
            tags,
            cloud: "aws".to_owned(),
            instance_id: document.instance_id,
            region: document.region,
            addresses: document.private_ip.and_then(|text| text.parse().ok()).into_iter().collect(),
            macs: Mac::parse(&text(mac)).into_iter().collect(),
            ..Entry::default()
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::stub;
    use super::*;

    /// docs.aws.amazon.com, "Use the Instance Metadata Service": the token is asked for with PUT and its time to live;
    /// without a token a request is answered with 401; a request for a token that has X-Forwarded-For is refused.
    fn answer(request: &stub::Request) -> stub::Answer {
        if request.header("x-forwarded-for").is_some() {
            return stub::Answer::new(403, "");
        }
        if request.path == "/latest/api/token" {
            let seconds =
                request.header("x-aws-ec2-metadata-token-ttl-seconds").and_then(|text| text.parse::<u32>().ok());
            return match seconds {
                Some(1..=21600) if request.method == "PUT" => stub::Answer::new(200, "AQAEtoken=="),
                _ => stub::Answer::new(400, ""),
            };
        }
        if request.header("x-aws-ec2-metadata-token") != Some("AQAEtoken==") {
            return stub::Answer::new(401, "");
        }
        match request.path.as_str() {
            "/latest/dynamic/instance-identity/document" => stub::Answer::new(
                200,
                r#"{"accountId": "123456789012", "instanceId": "i-1234567890abcdef0", "region": "us-west-2",
                    "privateIp": "10.158.112.84", "devpayProductCodes": null}"#,
            ),
            "/latest/meta-data/tags/instance" => stub::Answer::new(200, "use\n../../user-data\n"),
            "/latest/meta-data/tags/instance/use" => stub::Answer::new(200, "db"),
            "/latest/meta-data/mac" => stub::Answer::new(200, "02:29:96:8f:6a:2d"),
            _ => stub::Answer::new(404, ""),
        }
    }

    #[tokio::test]
    async fn the_machine_as_ec2_knows_it() {
        let server = stub::serve(answer).await;
        let ec2 = Options { endpoint: Some(server.url()), ..Options::default() };
        let entry = Ec2::machine(&ec2).await.unwrap();
        assert_eq!((entry.cloud.as_str(), entry.instance_id.as_str()), ("aws", "i-1234567890abcdef0"));
        assert_eq!((entry.region.as_str(), entry.name.as_str()), ("us-west-2", ""));
        assert_eq!((entry.macs.len(), entry.addresses.len()), (1, 1));
        assert_eq!(entry.tags, ["use:db"]);
    }

    #[tokio::test]
    async fn a_redirect_leads_nowhere() {
        let other = stub::serve(|_| stub::Answer::new(200, "token")).await;
        let to = other.url();
        let server = stub::serve(move |_| stub::Answer::new(302, "").with("Location", &to)).await;
        let ec2 = Options { endpoint: Some(server.url()), ..Options::default() };
        assert_eq!(Ec2::machine(&ec2).await.unwrap_err().to_string(), "it answers 302: redirects are not followed");
        assert!(other.paths().is_empty());
    }
}
