//! Tags of a vCenter, by its REST interface: the SOAP interface does not know them.
//!
//! formats §9: "POST /api/session (basic) → token string, header `vmware-api-session-id` […] old /rest/ wraps in
//! {"value":…}". It asks for the machines of each tag, not for the tags of each machine: there are hundreds of tags and
//! a hundred thousand machines.
//!
//! Invariant: all tags or an error: a policy group may hang on them.

use std::collections::HashMap;

use reqwest::{Client, Method, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::http::{self, ANSWER_BYTES_MAX, Answer};
use super::provider::ProviderError;

/// vCenter has 4,000 at most (configuration maximums of vSphere 8).
const TAGS_MAX: usize = 10_000;
/// So many tags are asked for their machines at once.
const TAGS_AT_ONCE: usize = 100;
const TAGGING: &str = "/cis/tagging";
const SESSION: &str = "vmware-api-session-id";

/// Where each thing is: since vSphere 7, and before.
struct Paths {
    base: &'static str,
    session: &'static str,
    id: &'static str,
    action: &'static str,
    is_wrapped: bool,
}

const PATHS: [Paths; 2] = [
    Paths { base: "/api", session: "/session", id: "/", action: "action", is_wrapped: false },
    Paths { base: "/rest/com/vmware", session: "/cis/session", id: "/id:", action: "~action", is_wrapped: true },
];

#[derive(Deserialize)]
struct Tag {
    name: String,
    category_id: String,
}

#[derive(Deserialize)]
struct Category {
    name: String,
}

#[derive(Deserialize)]
struct Attached {
    tag_id: String,
    object_ids: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    id: String,
    #[serde(default)]
    r#type: String,
}

struct Rest {
    client: Client,
    url: Url,
    paths: &'static Paths,
    session: String,
}

/// The tags of each machine, by its reference: `environment:prod`. Nothing where the server has no such interface, as
/// an ESXi host.
pub(super) async fn tags(
    client: &Client,
    url: &Url,
    user: &str,
    password: &str,
) -> Result<HashMap<String, Vec<String>>, ProviderError> {
    for paths in &PATHS {
        let asked = client.post(at(url, paths, paths.session)).basic_auth(user, Some(password));
        let answer = send(asked).await?;
        if answer.status == 404 {
            continue;
        }
        let session = paths.read(&answer).map_err(|error| of(&error, "its session"))?;
        let rest = Rest { client: client.clone(), url: url.clone(), paths, session };
        let tags = rest.all().await;
        // One of few that a server has.
        rest.request(Method::DELETE, paths.session).send().await.ok();
        return tags;
    }
    Ok(HashMap::new())
}

impl Rest {
    async fn all(&self) -> Result<HashMap<String, Vec<String>>, ProviderError> {
        let ids: Vec<String> = self.get(&format!("{TAGGING}/tag")).await?;
        if ids.len() > TAGS_MAX {
            return Err(ProviderError::new(format!("it has more than {TAGS_MAX} tags")));
        }
        let (mut names, mut categories) = (HashMap::new(), HashMap::new());
        for id in &ids {
            let tag: Tag = self.get(&format!("{TAGGING}/tag{}{}", self.paths.id, part(id)?)).await?;
            if !categories.contains_key(&tag.category_id) {
                let path = format!("{TAGGING}/category{}{}", self.paths.id, part(&tag.category_id)?);
                categories.insert(tag.category_id.clone(), self.get::<Category>(&path).await?.name);
            }
            let category = categories.get(&tag.category_id).map_or("", String::as_str);
            names.insert(id.as_str(), format!("{category}:{}", tag.name));
        }
        let mut tags: HashMap<String, Vec<String>> = HashMap::new();
        let path = format!("{TAGGING}/tag-association?{}=list-attached-objects-on-tags", self.paths.action);
        for ids in ids.chunks(TAGS_AT_ONCE) {
            let request = self.request(Method::POST, &path).json(&json!({ "tag_ids": ids }));
            let attached: Option<Vec<Attached>> = self.paths.read(&send(request).await?).map_err(|e| of(&e, &path))?;
            for Attached { tag_id, object_ids } in attached.into_iter().flatten() {
                let Some(name) = names.get(tag_id.as_str()) else { continue };
                for object in object_ids.into_iter().filter(|object| object.r#type == "VirtualMachine") {
                    tags.entry(object.id).or_default().push(name.clone());
                }
            }
        }
        tags.values_mut().for_each(|tags| tags.sort_unstable());
        Ok(tags)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, at(&self.url, self.paths, path)).header(SESSION, &self.session)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ProviderError> {
        self.paths.read(&send(self.request(Method::GET, path)).await?).map_err(|error| of(&error, path))
    }
}

impl Paths {
    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, ProviderError> {
        if !matches!(answer.status, 200 | 201) {
            return Err(ProviderError::new(format!("it answers {}", answer.status)));
        }
        if !self.is_wrapped {
            return answer.json();
        }
        let wrapped: Value = answer.json()?;
        let value = wrapped.get("value").cloned().unwrap_or(Value::Null);
        serde_json::from_value(value)
            .map_err(|error| ProviderError::new(format!("the answer is not what it should be: {error}")))
    }
}

async fn send(request: reqwest::RequestBuilder) -> Result<Answer, ProviderError> {
    http::send(request, ANSWER_BYTES_MAX).await
}

fn at(url: &Url, paths: &Paths, path: &str) -> Url {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut url = url.clone();
    url.set_path(&format!("{}{path}", paths.base));
    url.set_query(query);
    url
}

fn of(error: &ProviderError, what: &str) -> ProviderError {
    ProviderError::new(format!("tags: {what}: {error}; `tags: false` does without them"))
}

/// An id of the server's goes into a path: `urn:vmomi:InventoryServiceTag:…:GLOBAL`.
fn part(id: &str) -> Result<&str, ProviderError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'.');
    match !id.is_empty() && id.bytes().all(is_plain) && !id.contains("..") {
        true => Ok(id),
        false => Err(ProviderError::new("tags: an id of the server is none")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::stub;
    use super::*;

    /// developer.broadcom.com, vSphere Automation API: a session is made with basic authentication and answered with
    /// 201 and its id as a JSON string; everything else asks for the id, or answers 401.
    fn answer(request: &stub::Request, old: bool) -> stub::Answer {
        let wrapped =
            |text: &str| stub::Answer::new(200, &if old { format!(r#"{{"value": {text}}}"#) } else { text.to_owned() });
        let base = if old { "/rest/com/vmware" } else { "/api" };
        let Some(path) = request.path.strip_prefix(base) else { return stub::Answer::new(404, "") };
        if path == if old { "/cis/session" } else { "/session" } && request.method == "POST" {
            // reader:s3cret
            return match request.header("authorization") {
                Some("Basic cmVhZGVyOnMzY3JldA==") => {
                    stub::Answer::new(if old { 200 } else { 201 }, if old { r#"{"value": "abc"}"# } else { r#""abc""# })
                }
                _ => stub::Answer::new(401, ""),
            };
        }
        if request.header(SESSION) != Some("abc") {
            return stub::Answer::new(401, "");
        }
        let id = if old { "id:" } else { "" };
        let action = if old { "~action" } else { "action" };
        match path {
            "/cis/tagging/tag" => {
                wrapped(r#"["urn:vmomi:InventoryServiceTag:1:GLOBAL", "urn:vmomi:InventoryServiceTag:2:GLOBAL"]"#)
            }
            _ if path == format!("/cis/tagging/tag/{id}urn:vmomi:InventoryServiceTag:1:GLOBAL") => wrapped(
                r#"{"id": "x", "name": "prod", "category_id": "urn:vmomi:InventoryServiceCategory:9:GLOBAL", "used_by": []}"#,
            ),
            _ if path == format!("/cis/tagging/tag/{id}urn:vmomi:InventoryServiceTag:2:GLOBAL") => {
                wrapped(r#"{"id": "y", "name": "db", "category_id": "urn:vmomi:InventoryServiceCategory:9:GLOBAL"}"#)
            }
            _ if path == format!("/cis/tagging/category/{id}urn:vmomi:InventoryServiceCategory:9:GLOBAL") => {
                wrapped(r#"{"name": "use", "cardinality": "MULTIPLE"}"#)
            }
            _ if path == format!("/cis/tagging/tag-association?{action}=list-attached-objects-on-tags") => wrapped(
                r#"[{"tag_id": "urn:vmomi:InventoryServiceTag:1:GLOBAL", "object_ids": [{"id": "vm-1", "type": "VirtualMachine"}, {"id": "host-1", "type": "HostSystem"}]},
                    {"tag_id": "urn:vmomi:InventoryServiceTag:2:GLOBAL", "object_ids": [{"id": "vm-1", "type": "VirtualMachine"}]}]"#,
            ),
            _ => stub::Answer::new(404, ""),
        }
    }

    async fn ask(
        password: &str,
        answer: impl Fn(&stub::Request) -> stub::Answer + Send + Sync + 'static,
    ) -> Result<String, String> {
        let server = stub::serve(answer).await;
        let client = http::client(None, std::time::Duration::from_secs(10), None).unwrap();
        let url = Url::parse(&format!("{}/sdk", server.url())).unwrap();
        let tags = tags(&client, &url, "reader", password).await;
        tags.map(|tags| format!("{tags:?}")).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn both_interfaces_say_the_same() {
        let expected = Ok(r#"{"vm-1": ["use:db", "use:prod"]}"#.to_owned());
        assert_eq!(ask("s3cret", |request| answer(request, false)).await, expected);
        assert_eq!(ask("s3cret", |request| answer(request, true)).await, expected);
    }

    #[tokio::test]
    async fn a_host_has_no_tags_and_half_an_answer_is_none() {
        assert_eq!(ask("s3cret", |_| stub::Answer::new(404, "")).await, Ok("{}".to_owned()));
        let wrong = "tags: its session: it answers 401; `tags: false` does without them".to_owned();
        assert_eq!(ask("wrong", |request| answer(request, false)).await, Err(wrong));
        let no_category = |request: &stub::Request| match request.path.contains("/category/") {
            true => stub::Answer::new(503, ""),
            false => answer(request, false),
        };
        let error = ask("s3cret", no_category).await.unwrap_err();
        assert!(error.starts_with("tags: /cis/tagging/category/urn:vmomi:") && error.contains("503"), "{error}");
        let hostile = |request: &stub::Request| match request.path == "/api/cis/tagging/tag" {
            true => stub::Answer::new(200, r#"["../../vcenter/vm?action=delete"]"#),
            false => answer(request, false),
        };
        assert_eq!(ask("s3cret", hostile).await, Err("tags: an id of the server is none".to_owned()));
    }
}
