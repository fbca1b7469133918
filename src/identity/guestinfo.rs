//! Provider `guestinfo`: what the administrators of a vSphere have written into this machine's settings for its guest.
//!
//! formats §9: "VMware guest: `vmware-rpctool "info-get guestinfo.<key>"` (needs open-vm-tools), guestinfo.metadata
//! (+ .encoding base64|gzip+base64), `machine.id`". `guestinfo.metadata` is what cloud-init reads: YAML or JSON with
//! `instance-id` and `local-hostname`. The name, group and tags of a machine have no settled place; ours are
//! `guestinfo.wharfinger.name`, `.group` and `.tags`.
//!
//! Who is root in the guest can change all of it: it is as good as a file on the machine.

use std::io::Read as _;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use super::provider::{Provider, ProviderConfig, ProviderError, Told};
use super::{Entry, program};
use crate::document::{self, Language};
use crate::part::{Interval, Kind, Problem, SetupError};

pub(super) const KIND: Kind<dyn ProviderConfig> = Kind {
    name: "guestinfo",
    about: "This machine's instance id, name, group and tags in the settings of its VMware virtual machine",
    schema: || schema_for!(Options),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Options>(options)?)),
};

/// A setting has 64 KiB at most; unpacked it may be more.
const VALUE_BYTES_MAX: u64 = 1 << 20;

/// Asks `vmware-rpctool` of the VMware tools; it must run in the virtual machine itself, not in a container.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The program. Default: vmware-rpctool.
    rpctool: String,
    /// How often it is asked. Default: 5m.
    every: Interval,
    /// How long an answer may take in all. Default: 10s.
    timeout: Interval,
}

impl Default for Options {
    fn default() -> Self {
        let rpctool = "vmware-rpctool".to_owned();
        Options { rpctool, every: Interval::seconds(300), timeout: Interval::seconds(10) }
    }
}

impl ProviderConfig for Options {
    fn check(&self) -> Vec<Problem> {
        program::problem("rpctool", &self.rpctool, "-h", "open-vm-tools").into_iter().collect()
    }

    fn every(&self) -> Duration {
        self.every.get()
    }

    fn timeout(&self) -> Duration {
        self.timeout.get()
    }

    fn open(&self) -> Result<Box<dyn Provider>, SetupError> {
        Ok(Box::new(Guestinfo(self.clone())))
    }
}

struct Guestinfo(Options);

#[async_trait]
impl Provider for Guestinfo {
    async fn ask(&mut self) -> Result<Told, ProviderError> {
        let mut entry = Entry {
            name: self.get("guestinfo.wharfinger.name").await?.unwrap_or_default(),
            group: self.get("guestinfo.wharfinger.group").await?.unwrap_or_default(),
            instance_id: self.get("machine.id").await?.unwrap_or_default(),
            hypervisor: "vmware".to_owned(),
            ..Entry::default()
        };
        let tags = self.get("guestinfo.wharfinger.tags").await?.unwrap_or_default();
        entry.tags = tags.split([',', ' ']).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        if let Some(metadata) = self.get("guestinfo.metadata").await? {
            let encoding = self.get("guestinfo.metadata.encoding").await?.unwrap_or_default();
            let text = decoded(&metadata, &encoding)?;
            let root = document::read(&text, Language::Yaml).map_err(|mistake| {
                let line = mistake.place.map_or(0, |place| place.line);
                ProviderError::new(format!("`guestinfo.metadata`, line {line}: {}", mistake.cause))
            })?;
            let word = |name: &str| root.entry(name).and_then(|entry| entry.node.text()).map(str::to_owned);
            entry.instance_id = word("instance-id").unwrap_or(entry.instance_id);
            entry.host_names.extend(word("local-hostname").filter(|name| !name.is_empty()));
        }
        entry.bound();
        Ok(Told::ThisMachine(Box::new(entry)))
    }
}

impl Guestinfo {
    /// A setting; none: it is not there.
    async fn get(&self, key: &str) -> Result<Option<String>, ProviderError> {
        let asked = program::run(&self.0.rpctool, &[&format!("info-get {key}")], VALUE_BYTES_MAX).await;
        let failed = |error: &dyn std::fmt::Display| ProviderError::new(format!("`{}`: {error}", self.0.rpctool));
        match asked.map_err(|error| failed(&error))? {
            (value, Ok(())) => Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty())),
            // As it says of what nobody has set.
            (out, Err(said)) if out.contains("No value found") || said.contains("No value found") => Ok(None),
            (_, Err(said)) => Err(failed(&said)),
        }
    }
}

/// cloud-init, data source VMware: an encoding of `base64` or `b64`, `gzip+base64` or `gz+b64`, or none.
fn decoded(text: &str, encoding: &str) -> Result<String, ProviderError> {
    let wrong = |cause: &dyn std::fmt::Display| ProviderError::new(format!("`guestinfo.metadata`: {cause}"));
    let is_zipped = match encoding {
        "" => return Ok(text.to_owned()),
        "base64" | "b64" => false,
        "gzip+base64" | "gz+b64" => true,
        other => return Err(wrong(&format!("the encoding `{other}` is none that cloud-init knows"))),
    };
    let bytes = STANDARD.decode(text.split_whitespace().collect::<String>()).map_err(|error| wrong(&error))?;
    let bytes = if is_zipped {
        let mut unpacked = Vec::new();
        let mut reader = MultiGzDecoder::new(&*bytes).take(VALUE_BYTES_MAX + 1);
        reader.read_to_end(&mut unpacked).map_err(|error| wrong(&error))?;
        if unpacked.len() as u64 > VALUE_BYTES_MAX {
            return Err(wrong(&format!("it unpacks to more than {VALUE_BYTES_MAX} bytes")));
        }
        unpacked
    } else {
        bytes
    };
    String::from_utf8(bytes).map_err(|error| wrong(&error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// open-vm-tools: a value is printed with status 0; "No value found" and status 1 say that there is none, and
    /// "Failed sending message to VMware." that this is no VMware machine.
    async fn ask(settings: &[(&str, &str)], otherwise: &str) -> Result<Entry, String> {
        let dir = tempfile::tempdir().unwrap();
        let tool = dir.path().join("vmware-rpctool");
        let mut script = "#!/bin/sh\ncase \"$1\" in\n".to_owned();
        for (at, (key, value)) in settings.iter().enumerate() {
            fs::write(dir.path().join(at.to_string()), value).unwrap();
            script.push_str(&format!("'info-get {key}') /bin/cat {}/{at} ;;\n", dir.path().display()));
        }
        script.push_str(&format!("*) echo '{otherwise}' >&2; exit 1 ;;\nesac\n"));
        fs::write(&tool, script).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        let options = Options { rpctool: tool.to_string_lossy().into_owned(), ..Options::default() };
        assert!(options.check().is_empty());
        match options.open().unwrap().ask().await.map_err(|error| error.to_string())? {
            Told::ThisMachine(entry) => Ok(*entry),
            Told::Machines(_) => unreachable!("it knows one machine"),
        }
    }

    const METADATA: &str = "instance-id: web-01-7f\nlocal-hostname: web-01.example\nnetwork: {config: disabled}\n";

    #[tokio::test]
    async fn the_settings_of_a_guest() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(METADATA.as_bytes()).unwrap();
        let gzip = STANDARD.encode(gzip.finish().unwrap());
        let base64 = STANDARD.encode(METADATA);
        for (metadata, encoding) in [(METADATA, ""), (&*base64, "base64"), (&*gzip, "gzip+base64"), (&*gzip, "gz+b64")]
        {
            let settings = [
                ("guestinfo.metadata", metadata),
                ("guestinfo.metadata.encoding", encoding),
                ("guestinfo.wharfinger.group", "lab\n"),
                ("guestinfo.wharfinger.tags", "use:db, prod"),
                ("machine.id", "7"),
            ];
            let entry = ask(&settings, "No value found").await.unwrap();
            assert_eq!((entry.instance_id.as_str(), entry.group.as_str()), ("web-01-7f", "lab"), "{encoding}");
            assert_eq!(
                (entry.host_names, entry.tags),
                (vec!["web-01.example".to_owned()], vec!["use:db".to_owned(), "prod".to_owned()])
            );
        }
        let entry = ask(&[("machine.id", "7")], "No value found").await.unwrap();
        assert_eq!((entry.instance_id.as_str(), entry.name.as_str()), ("7", ""));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_an_error_and_no_identity() {
        let error = ask(&[], "Failed sending message to VMware.").await.unwrap_err();
        assert!(error.ends_with(": Failed sending message to VMware."), "{error}");
        for (metadata, encoding, expected) in [
            ("%%%", "base64", "Invalid symbol"),
            ("aGVsbG8=", "gzip+base64", "unexpected end of file"),
            ("x", "rot13", "the encoding `rot13` is none"),
            ("a: [", "", "line 2"),
        ] {
            let settings = [("guestinfo.metadata", metadata), ("guestinfo.metadata.encoding", encoding)];
            let error = ask(&settings, "No value found").await.unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![b' '; 2 << 20]).unwrap();
        let bomb = STANDARD.encode(bomb.finish().unwrap());
        let error = decoded(&bomb, "gzip+base64").unwrap_err().to_string();
        assert!(error.contains("unpacks to more than"), "{error}");
    }
}
