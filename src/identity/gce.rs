//! Provider `gce`: what Google Compute Engine says of the machine that the gateway runs on.
//!
//! formats §9: "GET http://metadata.google.internal/computeMetadata/v1/instance/?recursive=true, `Metadata-Flavor:
//! Google`; id is a 64-bit **number** (string it)". The name is not looked up: its address is known.

use async_trait::async_trait;
use schemars::schema_for;
use serde::Deserialize;

use super::metadata::{Cloud, Metadata, Options, send};
use super::provider::{ProviderConfig, ProviderError};
use super::{Entry, Mac};
use crate::part::Kind;

pub(super) const KIND: Kind<dyn ProviderConfig> = Kind {
    name: "gce",
    about: "This machine's instance id, region and name at Google Compute Engine",
    schema: || schema_for!(Options),
    read: |options| Ok(Box::new(Metadata::<Gce>::new(erased_serde::deserialize(options)?))),
};

#[derive(Debug)]
struct Gce;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    id: serde_json::Number,
    #[serde(default)]
    name: String,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    zone: String,
    /// Those of the network: `http-server`. Labels are not told.
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    network_interfaces: Vec<Card>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Card {
    ip: String,
    mac: String,
}

#[async_trait]
impl Cloud for Gce {
    async fn machine(options: &Options) -> Result<Entry, ProviderError> {
        let service = options.service("metadata.google.internal")?;
        let asked = service.get("/computeMetadata/v1/instance/?recursive=true").header("Metadata-Flavor", "Google");
        let answer = send(asked).await?.good()?;
        // Whoever else answers there does not say so.
        if answer.headers.get("metadata-flavor").is_none_or(|flavor| flavor != "Google") {
            return Err(ProviderError::new("what answers is not the metadata server of Google"));
        }
        let instance: Instance = answer.json()?;
        // `projects/123/zones/europe-west1-b`
        let zone = instance.zone.rsplit('/').next().unwrap_or_default();
        Ok(Entry {
            name: instance.name,
            tags: instance.tags,
            cloud: "gce".to_owned(),
            instance_id: instance.id.to_string(),
            region: zone.rsplit_once('-').map_or(zone, |(region, _)| region).to_owned(),
            host_names: Some(instance.hostname).filter(|name| !name.is_empty()).into_iter().collect(),
            addresses: instance.network_interfaces.iter().filter_map(|card| card.ip.parse().ok()).collect(),
            macs: instance.network_interfaces.iter().filter_map(|card| Mac::parse(&card.mac)).collect(),
            ..Entry::default()
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::stub;
    use super::*;

    /// cloud.google.com, "About VM metadata": a request without the header `Metadata-Flavor: Google`, or with
    /// `X-Forwarded-For`, is refused with 403; every answer has the header.
    fn answer(request: &stub::Request) -> stub::Answer {
        if request.header("metadata-flavor") != Some("Google") || request.header("x-forwarded-for").is_some() {
            return stub::Answer::new(403, "Missing required header \"Metadata-Flavor\": \"Google\"");
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/computeMetadata/v1/instance/?recursive=true") => stub::Answer::new(
                200,
                r#"{"id": 13064766522331131217, "name": "web-1", "hostname": "web-1.c.project.internal",
                    "zone": "projects/123456789/zones/europe-west1-b", "attributes": {}, "tags": ["http-server"],
                    "networkInterfaces": [{"ip": "10.132.0.7", "mac": "42:01:0a:84:00:07"}]}"#,
            )
            .with("Metadata-Flavor", "Google"),
            _ => stub::Answer::new(404, ""),
        }
    }

    #[tokio::test]
    async fn the_machine_as_google_knows_it() {
        let server = stub::serve(answer).await;
        let gce = Options { endpoint: Some(server.url()), ..Options::default() };
        let entry = Gce::machine(&gce).await.unwrap();
        // More than a double can hold.
        assert_eq!((entry.instance_id.as_str(), entry.region.as_str()), ("13064766522331131217", "europe-west1"));
        assert_eq!((entry.name.as_str(), entry.macs.len(), entry.addresses.len()), ("web-1", 1, 1));
        assert_eq!(entry.tags, ["http-server"]);
        let other = stub::serve(|_| stub::Answer::new(200, "{\"id\": 1}")).await;
        let gce = Options { endpoint: Some(other.url()), ..Options::default() };
        assert!(Gce::machine(&gce).await.unwrap_err().to_string().contains("not the metadata server of Google"));
    }
}
