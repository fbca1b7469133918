//! Provider `azure`: what Azure says of the machine that the gateway runs on.
//!
//! formats §9: "GET http://169.254.169.254/metadata/instance?api-version=2021-02-01, `Metadata: true`, no proxy →
//! compute{vmId,name,resourceId,…,location,…}". The vmId is the BIOS UUID with its first three fields swapped.

use async_trait::async_trait;
use schemars::schema_for;
use serde::Deserialize;

use super::metadata::{ADDRESS, Cloud, Metadata, Options, send};
use super::provider::{ProviderConfig, ProviderError};
use super::{Entry, Mac, Uuid};
use crate::part::Kind;

pub(super) const KIND: Kind<dyn ProviderConfig> = Kind {
    name: "azure",
    about: "This machine's vmId, region and name at Microsoft Azure",
    schema: || schema_for!(Options),
    read: |options| Ok(Box::new(Metadata::<Azure>::new(erased_serde::deserialize(options)?))),
};

#[derive(Debug)]
struct Azure;

#[derive(Deserialize)]
struct Instance {
    compute: Compute,
    #[serde(default)]
    network: Network,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compute {
    vm_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    tags_list: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    value: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Network {
    interface: Vec<Card>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Card {
    mac_address: String,
    ipv4: Addresses,
    ipv6: Addresses,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Addresses {
    ip_address: Vec<Address>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Address {
    private_ip_address: String,
}

#[async_trait]
impl Cloud for Azure {
    async fn machine(options: &Options) -> Result<Entry, ProviderError> {
        let service = options.service(ADDRESS)?;
        let asked = service.get("/metadata/instance?api-version=2021-02-01").header("Metadata", "true");
        let Instance { compute, network } = send(asked).await?.good()?.json()?;
        let cards = &network.interface;
        let addresses = cards.iter().flat_map(|card| card.ipv4.ip_address.iter().chain(&card.ipv6.ip_address));
        Ok(Entry {
            name: compute.name,
            tags: compute.tags_list.iter().map(|tag| format!("{}:{}", tag.name, tag.value)).collect(),
            uuid: Uuid::parse(&compute.vm_id),
            cloud: "azure".to_owned(),
            instance_id: compute.vm_id,
            region: compute.location,
            addresses: addresses.filter_map(|address| address.private_ip_address.parse().ok()).collect(),
            macs: cards.iter().filter_map(|card| mac(&card.mac_address)).collect(),
            ..Entry::default()
        })
    }
}

/// `000D3AF806EC`
fn mac(text: &str) -> Option<Mac> {
    let pairs: Vec<&str> = (0..6).filter_map(|at| text.get(2 * at..2 * at + 2)).collect();
    Mac::parse(&pairs.join(":")).filter(|_| text.len() == 12)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::stub;
    use super::*;

    /// learn.microsoft.com, "Azure Instance Metadata Service": requests must have `Metadata: true` and no
    /// `X-Forwarded-For`, else 400; `api-version` is required.
    fn answer(request: &stub::Request) -> stub::Answer {
        let is_good = request.header("metadata") == Some("true")
            && request.header("x-forwarded-for").is_none()
            && request.path.contains("api-version=");
        match request.path.as_str() {
            _ if !is_good => {
                stub::Answer::new(400, "{\"error\": \"Bad request. Required metadata header not specified\"}")
            }
            "/metadata/instance?api-version=2021-02-01" => stub::Answer::new(
                200,
                r#"{"compute": {"vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6", "name": "examplevm", "location": "westeurope",
                    "tagsList": [{"name": "use", "value": "db"}]}, "network": {"interface": [{"macAddress": "002248020E1E", "ipv6": {"ipAddress": []},
                    "ipv4": {"ipAddress": [{"privateIpAddress": "10.144.133.132", "publicIpAddress": ""}]}}]}}"#,
            ),
            _ => stub::Answer::new(404, ""),
        }
    }

    #[tokio::test]
    async fn the_machine_as_azure_knows_it() {
        let server = stub::serve(answer).await;
        let azure = Options { endpoint: Some(server.url()), ..Options::default() };
        let entry = Azure::machine(&azure).await.unwrap();
        assert_eq!(
            (entry.cloud.as_str(), entry.name.as_str(), entry.region.as_str()),
            ("azure", "examplevm", "westeurope")
        );
        assert_eq!(entry.instance_id, "02aab8a4-74ef-476e-8182-f6d2ba4166a6");
        assert_eq!(entry.macs[0].to_string(), "00:22:48:02:0e:1e");
        assert_eq!((entry.addresses.len(), entry.tags), (1, vec!["use:db".to_owned()]));
    }
}
