//! Provider `vcenter`: the virtual machines of a vCenter or an ESXi host, by its SOAP interface.
//!
//! The property collector answers with the few properties that are asked for, in pages. Every look is a whole one with
//! a session of its own: nothing is missed that an update between two looks could have said, no session is held that
//! could be forgotten, and both sides keep no state. `WaitForUpdatesEx` would save traffic at the price of all three.
//!
//! Invariant: it reads, and nothing else; the password is sent to the host of `url` alone.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::{Client, Url};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use super::http::{self, ANSWER_BYTES_MAX};
use super::inventory::{Inventory, Note};
use super::provider::{self, Provider, ProviderConfig, ProviderError, Told};
use super::xml::{self, Element};
use super::{Entry, Mac, Reported, Uuid, spreadsheet, vcenter_tags};
use crate::part::{Interval, Kind, Problem, Secret, SetupError};
use crate::tls::ClientTls;

pub(super) const KIND: Kind<dyn ProviderConfig> = Kind {
    name: "vcenter",
    about: "Virtual machines of a VMware vCenter or ESXi host, by SOAP",
    schema: || schema_for!(Options),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Options>(options)?)),
};

/// All answers of a session together: a hundred thousand machines are less than half of it.
const SESSION_BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 512 << 20 };
/// More pages than machines there can be: a server that goes on for ever is not followed.
const PAGES_MAX: usize = 10_000;
/// Folders in folders.
const FOLDERS_MAX: usize = 32;
/// What is asked of a machine, a host and a folder.
const PROPERTIES: &[(&str, &[&str])] = &[
    (
        "VirtualMachine",
        &[
            "name",
            "config.uuid",
            "config.instanceUuid",
            "config.template",
            "guest.hostName",
            "guest.ipAddress",
            "guest.net",
            "runtime.host",
            "runtime.powerState",
            "parent",
        ],
    ),
    ("HostSystem", &["name"]),
    ("Folder", &["name", "parent"]),
];

/// A user with the role "Read-only" is enough. The group of a machine is its folder: `/prod/web`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The server: `https://vcenter.example`. The path is `/sdk` unless it is written.
    url: String,
    /// Who asks: `reader@vsphere.local`.
    user: String,
    /// The password of `user`.
    password: Secret,
    /// Certificates; unless they are written, the operating system's authorities are trusted. A vCenter has an
    /// authority of its own: its certificate is at `https://vcenter.example/certs/download.zip`.
    #[serde(default)]
    tls: ClientTls,
    /// Tags are asked for, too: `environment:prod` is the tag `prod` of the category `environment`. Without the right to
    /// read them nothing is answered.
    #[serde(default = "tags")]
    tags: bool,
    /// Machines in one page.
    #[serde(default = "page")]
    page: u32,
    /// How often it is asked.
    #[serde(default = "provider::every")]
    every: Interval,
    /// How long an answer may take, with all its pages.
    #[serde(default = "provider::timeout")]
    timeout: Interval,
}

fn tags() -> bool {
    true
}

fn page() -> u32 {
    500
}

impl ProviderConfig for Options {
    fn check(&self) -> Vec<Problem> {
        let mut problems = http::tls_problems(&self.tls);
        problems.extend(http::url_problem("url", &self.url));
        problems.extend(self.password.problem("password"));
        if self.page == 0 {
            let hint = "the server's own limit is 1000 or so".to_owned();
            problems.push(Problem { option: "page", message: "a page of nothing".to_owned(), hint });
        }
        problems
    }

    fn every(&self) -> Duration {
        self.every.get()
    }

    fn timeout(&self) -> Duration {
        self.timeout.get()
    }

    fn open(&self) -> Result<Box<dyn Provider>, SetupError> {
        let mut url =
            Url::parse(&self.url).map_err(|error| SetupError::new(format!("`{}` is no URL", self.url), error))?;
        if url.path() == "/" {
            url.set_path("/sdk");
        }
        Ok(Box::new(Vcenter { options: self.clone(), url }))
    }
}

struct Vcenter {
    options: Options,
    url: Url,
}

#[async_trait]
impl Provider for Vcenter {
    async fn ask(&mut self) -> Result<Told, ProviderError> {
        // Files are read again each time: certificates and passwords are renewed.
        let tls = (self.url.scheme() == "https").then_some(&self.options.tls);
        let client = http::client(tls, self.options.timeout.get(), None);
        let client = client.map_err(|error| ProviderError::new(error.to_string()))?;
        let password = self.options.password.read().map_err(|error| ProviderError::new(error.to_string()))?;
        let user = &self.options.user;
        let mut session = Session::open(client.clone(), self.url.clone(), user, &password).await?;
        let told = session.machines(self.options.page).await;
        session.close().await;
        let mut inventory = told?;
        if self.options.tags {
            let mut tags = vcenter_tags::tags(&client, &self.url, user, &password).await?;
            for machine in &mut inventory.entries {
                machine.tags = tags.remove(&machine.moref).unwrap_or_default();
            }
        }
        Ok(Told::Machines(inventory))
    }
}

/// One login, for one look.
struct Session {
    client: Client,
    url: Url,
    cookie: Option<String>,
    /// What the server calls its parts.
    content: Element,
    /// What it has answered so far, in bytes.
    answered: usize,
    /// Other versions of the interface know other things; these have been there since 2009.
    version: String,
}

impl Session {
    async fn open(client: Client, url: Url, user: &str, password: &str) -> Result<Session, ProviderError> {
        let (cookie, content, version) = (None, Element::default(), "urn:vim25/5.5".to_owned());
        let mut session = Session { client, url, cookie, content, answered: 0, version };
        let content = session
            .call("RetrieveServiceContent", "<_this type=\"ServiceInstance\">ServiceInstance</_this>")
            .await?
            .pop()
            .ok_or_else(|| ProviderError::new("it says nothing of itself: is `url` that of a vCenter?"))?;
        session.content = content;
        let login = format!(
            "{}<userName>{}</userName><password>{}</password>",
            session.this("sessionManager")?,
            xml::escaped(user),
            xml::escaped(password)
        );
        session.call("Login", &login).await?;
        Ok(session)
    }

    /// What stands for one of the server's parts.
    fn this(&self, part: &str) -> Result<String, ProviderError> {
        let part = self.content.at(&[part]).ok_or_else(|| ProviderError::new(format!("it has no `{part}`")))?;
        Ok(reference("_this", part))
    }

    /// All machines, with the names of their hosts and folders.
    async fn machines(&mut self, page: u32) -> Result<Inventory, ProviderError> {
        let root = self.content.at(&["rootFolder"]).ok_or_else(|| ProviderError::new("it has no `rootFolder`"))?;
        let types: String = PROPERTIES.iter().map(|(kind, _)| format!("<type>{kind}</type>")).collect();
        let view =
            format!("{}{}{types}<recursive>true</recursive>", self.this("viewManager")?, reference("container", root));
        let view = self.call("CreateContainerView", &view).await?.pop();
        let view = view.ok_or_else(|| ProviderError::new("it made no view of its machines"))?;
        let objects = self.objects(&view, page).await;
        self.call("DestroyView", &reference("_this", &view)).await.ok();
        let vcenter = self.content.text_at(&["about", "instanceUuid"]).to_owned();
        Ok(inventory(&objects?, &vcenter))
    }

    /// The pages, one behind the other.
    async fn objects(&mut self, view: &Element, page: u32) -> Result<Vec<Element>, ProviderError> {
        let collector = self.this("propertyCollector")?;
        let mut answer = self.call("RetrievePropertiesEx", &format!("{collector}{}", wanted(view, page))).await?.pop();
        let mut objects: Vec<Element> = Vec::new();
        for _ in 0..PAGES_MAX {
            // No answer at all: there is nothing.
            let Some(page) = answer.take() else { return Ok(objects) };
            let token = page.text_at(&["token"]).to_owned();
            objects.extend(page.into_all("objects"));
            if token.is_empty() {
                return Ok(objects);
            }
            let next = format!("{collector}<token>{}</token>", xml::escaped(&token));
            answer = self.call("ContinueRetrievePropertiesEx", &next).await?.pop();
        }
        Err(ProviderError::new("its pages have no end"))
    }

    /// The session is one of few that a server has.
    async fn close(mut self) {
        if let Ok(this) = self.this("sessionManager") {
            self.call("Logout", &this).await.ok();
        }
    }

    /// Everything that is returned.
    async fn call(&mut self, method: &str, body: &str) -> Result<Vec<Element>, ProviderError> {
        let envelope = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
             <Body><{method} xmlns=\"urn:vim25\">{body}</{method}></Body></Envelope>"
        );
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "text/xml; charset=utf-8");
        request = request.header("SOAPAction", self.version.as_str());
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        let failed = |cause: &dyn std::fmt::Display| ProviderError::new(format!("{method}: {cause}"));
        let answer = http::send(request.body(envelope), ANSWER_BYTES_MAX).await.map_err(|error| failed(&error))?;
        let cookies = answer.headers.get_all(SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
        if let Some(cookie) =
            cookies.filter_map(|cookie| cookie.split(';').next()).find(|cookie| cookie.contains("session"))
        {
            self.cookie = Some(cookie.trim().to_owned());
        }
        self.answered = self.answered.saturating_add(answer.body.len());
        if self.answered > SESSION_BYTES_MAX {
            return Err(failed(&format!("it answers more than {SESSION_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(answer.body).map_err(|_| failed(&"the answer is not UTF-8"))?;
        // SOAP 1.1 §6.2: a fault comes with status 500.
        let read = if matches!(answer.status, 200 | 500) { xml::read(&text) } else { Err(String::new()) };
        let top = match read {
            Ok(mut read) if read.first().is_some_and(|(top, _)| top.is("Envelope")) => read.swap_remove(0).0,
            Ok(_) => return Err(failed(&format!("it answers {} without SOAP: is `url` right?", answer.status))),
            Err(error) if error.is_empty() => return Err(failed(&format!("it answers {}", answer.status))),
            Err(error) => return Err(failed(&error)),
        };
        if let Some(fault) = top.at(&["Body", "Fault"]) {
            return Err(failed(&fault.text_at(&["faultstring"])));
        }
        let answer =
            top.into_all("Body").next().into_iter().flat_map(|body| body.into_all(&format!("{method}Response")));
        Ok(answer.flat_map(|answer| answer.into_all("returnval")).collect())
    }
}

fn reference(name: &str, of: &Element) -> String {
    let kind = of.attribute("type").unwrap_or_default();
    format!("<{name} type=\"{}\">{}</{name}>", xml::escaped(kind), xml::escaped(of.text()))
}

/// Which properties of which objects: those that the view shows.
fn wanted(view: &Element, page: u32) -> String {
    let sets: String = PROPERTIES
        .iter()
        .map(|(kind, paths)| {
            let paths: String = paths.iter().map(|path| format!("<pathSet>{path}</pathSet>")).collect();
            format!("<propSet><type>{kind}</type><all>false</all>{paths}</propSet>")
        })
        .collect();
    format!(
        "<specSet>{sets}<objectSet>{}<skip>true</skip><selectSet xsi:type=\"TraversalSpec\"><name>view</name>\
         <type>ContainerView</type><path>view</path><skip>false</skip></selectSet></objectSet></specSet>\
         <options><maxObjects>{page}</maxObjects></options>",
        reference("obj", view)
    )
}

/// The properties of one object by their names.
fn properties(object: &Element) -> HashMap<&str, &Element> {
    let set = object.all("propSet").filter_map(|one| Some((one.text_at(&["name"]), one.at(&["val"])?)));
    set.collect()
}

fn inventory(objects: &[Element], vcenter: &str) -> Inventory {
    let mut inventory = Inventory { kind: KIND.name, ..Inventory::default() };
    // Hosts and folders by their references: name, and the folder around it.
    let mut names: HashMap<&str, (&str, &str)> = HashMap::new();
    let machines = || objects.iter().filter_map(|object| Some((object.at(&["obj"])?, object)));
    for (of, object) in machines().filter(|(of, _)| of.attribute("type") != Some("VirtualMachine")) {
        let properties = properties(object);
        let text = |name: &str| properties.get(name).map_or("", |value| value.text());
        names.insert(of.text(), (text("name"), text("parent")));
    }
    for (of, object) in machines().filter(|(of, _)| of.attribute("type") == Some("VirtualMachine")) {
        let properties = properties(object);
        let text = |name: &str| properties.get(name).map_or("", |value| value.text());
        // A template never runs.
        if text("config.template") == "true" {
            continue;
        }
        // Of a machine that is being made or cannot be reached, only its reference is known.
        if text("name").is_empty() {
            inventory.notes.push(Note { line: 0, text: format!("`{}` has no name yet: left out", of.text()) });
            continue;
        }
        let cards: Vec<&Element> =
            properties.get("guest.net").into_iter().flat_map(|net| net.all("GuestNicInfo")).collect();
        let of_cards = cards.iter().flat_map(|card| card.all("ipAddress")).map(Element::text);
        let mut addresses = Vec::new();
        for address in std::iter::once(text("guest.ipAddress")).chain(of_cards).filter_map(|text| text.parse().ok()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        inventory.entries.push(Entry {
            name: text("name").to_owned(),
            uuid: Uuid::parse(text("config.uuid")),
            instance_uuid: Uuid::parse(text("config.instanceUuid")),
            moref: of.text().to_owned(),
            vcenter: vcenter.to_owned(),
            // Everything of `guest` is what VMware Tools say.
            reported: Reported {
                host_names: Some(text("guest.hostName").to_owned())
                    .filter(|name| !name.is_empty())
                    .into_iter()
                    .collect(),
                addresses,
                macs: cards.iter().filter_map(|card| Mac::parse(card.text_at(&["macAddress"]))).collect(),
            },
            group: folder(text("parent"), &names),
            power: spreadsheet::power(text("runtime.powerState")).to_owned(),
            runs_on: names.get(text("runtime.host")).map_or("", |(name, _)| name).to_owned(),
            hypervisor: "vmware".to_owned(),
            ..Entry::default()
        });
    }
    inventory
}

/// The folders around a machine, below the one that every data centre has for machines.
fn folder(reference: &str, names: &HashMap<&str, (&str, &str)>) -> String {
    let (mut way, mut at) = (Vec::new(), reference);
    while let Some((name, parent)) = names.get(at) {
        // The outermost has a parent that is no folder: the data centre.
        if !names.contains_key(parent) || way.len() >= FOLDERS_MAX {
            break;
        }
        way.push(*name);
        at = parent;
    }
    way.iter().rev().fold(String::new(), |path, name| format!("{path}/{name}"))
}

#[cfg(test)]
#[path = "vcenter_tests.rs"]
mod tests;
