//! `docker`: the events of a Docker Engine, from its API.
//!
//! Way of an event here: engine → **reader** (a task that only reads) → ring → **resume** (was it
//! seen before?) → intake; beside it, **inspect** looks at the containers, and **logs** reads what they write.
//! Invariants: the reader waits for nothing but the engine, since a slow reader slows the engine down and loses
//! events unseen; whatever the engine no longer remembers
//! after a break is declared by a gap record; an engine that is away never ends the gateway.

mod client;
mod container;
mod glance;
mod host;
mod inspect;
mod known;
mod logs;
mod memory;
mod place;
mod resume;
mod select;
mod session;
mod snapshot;
mod weakness;

use std::num::NonZeroUsize;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use self::known::Shared;
use self::memory::Memory;
use self::place::Place;
use self::resume::Resume;
use self::select::{Containers, Selection};
use self::session::{POSITION, Session};
use self::snapshot::Snapshot;
use super::options::{FormatName, Reading, Zone};
use super::{Source, SourceConfig};
use crate::intake::{Intake, Trust};
use crate::part::{Kind, PartContext, Problem, SetupError};
use crate::tls::ClientTls;

pub const KIND: Kind<dyn SourceConfig> = Kind {
    name: "docker",
    about: "Events of a Docker Engine, with resume and declared gaps",
    schema: || schemars::schema_for!(Config),
    read: |options| Ok(Box::new(erased_serde::deserialize::<Config>(options)?)),
};

const SOCKET: &str = "/var/run/docker.sock";

/// Events of a Docker Engine. Several engines are several sources.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// The engine's socket, or better that of a proxy that lets only what the gateway asks pass
    /// (docs/docker.md): whoever may use the engine's own socket is root on this machine.
    /// Default: /var/run/docker.sock.
    socket: Option<PathBuf>,
    /// Instead of the socket: where the engine listens on the network, `docker.example:2376`. Default: none.
    address: Option<String>,
    /// TLS, for `address`. Docker's own files are `ca: ca.pem`, `certificate: cert.pem`, `key: key.pem`.
    /// Default: none.
    tls: Option<ClientTls>,
    /// Whether to speak without TLS to an engine of another machine. Default: false.
    allow_plaintext: bool,
    /// Whether to look at each container when it is made or started: what it may do (privileged,
    /// capabilities, namespaces and folders of the machine, ports) becomes an event
    /// `container.inspect` that names its cause. Default: true.
    inspect: bool,
    /// The containers whose events are wanted; of others they are left out and counted. What an event does not
    /// say (before API 1.22, names) leaves nothing out. Default: all.
    include: Containers,
    /// Containers whose events are left out and counted. Whoever starts a container chooses its name and labels.
    /// Default: none.
    exclude: Containers,
    /// Whether to leave out, and count, what containers' health checks run. A command of the same words that
    /// somebody else runs in that container is left out with them. Needs `inspect`. Default: false.
    exclude_health_checks: bool,
    /// Whether to read what containers write: `none`, `new` (from the first start of the gateway on) or `all` (also
    /// what the engine has kept of before). Where reading stands is stored for each container. Default: none.
    logs: logs::Wanted,
    /// So many containers are read at once, each over a connection of its own; more wait. Default: 512.
    logs_containers_max: NonZeroUsize,
    /// Whose machine the events are about: `local`, `peer` (the other end of the connection) or
    /// `relay`. Default: local, for `address` peer.
    identity: Option<Trust>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            socket: None,
            address: None,
            tls: None,
            allow_plaintext: false,
            inspect: true,
            include: Containers::default(),
            exclude: Containers::default(),
            exclude_health_checks: false,
            logs: logs::Wanted::None,
            logs_containers_max: NonZeroUsize::new(512).unwrap_or(NonZeroUsize::MIN),
            identity: None,
        }
    }
}

impl Config {
    fn place(&self) -> Place {
        match &self.address {
            Some(address) => Place::Network { address: address.clone(), tls: self.tls.clone() },
            None => Place::Socket(self.socket.clone().unwrap_or_else(|| SOCKET.into())),
        }
    }

    fn check_network(&self, address: &str) -> Vec<Problem> {
        let problem = |option, message: String, hint: &str| Problem { option, message, hint: hint.to_owned() };
        let mut problems = Vec::new();
        if self.socket.is_some() {
            let message = "`socket` and `address` are both given".to_owned();
            problems.push(problem("address", message, "several engines are several sources"));
        }
        if !place::is_address(address) {
            let message = format!("`{address}` is no host and port");
            problems.push(problem("address", message, "write `docker.example:2376`"));
        } else if self.tls.is_none() && !self.allow_plaintext && !place::is_loopback(address) {
            let message = format!("without TLS anyone between here and `{address}` reads and forges what it says");
            problems.push(problem(
                "tls",
                message,
                "add `tls: {ca: …, certificate: …, key: …}`, or `allow_plaintext: true`",
            ));
        }
        problems.extend(self.tls.iter().flat_map(ClientTls::problems));
        problems
    }
}

impl SourceConfig for Config {
    fn check(&self) -> Vec<Problem> {
        let problem = |option, message: String, hint: &str| vec![Problem { option, message, hint: hint.to_owned() }];
        if self.exclude_health_checks && !self.inspect {
            let message = "what a health check runs is not known without `inspect`".to_owned();
            return problem("exclude_health_checks", message, "set `inspect: true`");
        }
        if let Some(address) = &self.address {
            return self.check_network(address);
        }
        if self.tls.is_some() {
            let message = "there is no TLS on a socket file".to_owned();
            return problem("tls", message, "name the engine's `address`, or leave `tls` out");
        }
        // An engine that is not there yet is no mistake; a path to something else is one.
        if let Place::Socket(socket) = self.place()
            && std::fs::metadata(&socket).is_ok_and(|found| !found.file_type().is_socket())
        {
            let message = format!("`{}` is not a socket", socket.display());
            return problem("socket", message, "Docker's socket is usually `/var/run/docker.sock`");
        }
        Vec::new()
    }

    fn open(&self, _: &PartContext) -> Result<Box<dyn Source>, SetupError> {
        let trust = self.identity.unwrap_or(if self.address.is_some() { Trust::Peer } else { Trust::Local });
        Ok(Box::new(Docker {
            place: Arc::new(self.place()),
            inspect: self.inspect,
            selection: Arc::new(Selection { include: self.include.clone(), exclude: self.exclude.clone() }),
            without_health_checks: self.exclude_health_checks,
            logs: (self.logs, self.logs_containers_max.get()),
            trust,
        }))
    }
}

struct Docker {
    place: Arc<Place>,
    inspect: bool,
    selection: Arc<Selection>,
    without_health_checks: bool,
    logs: (logs::Wanted, usize),
    trust: Trust,
}

#[async_trait]
impl Source for Docker {
    fn endpoints(&self) -> Vec<String> {
        vec![format!("docker {}", self.place)]
    }

    async fn run(self: Box<Self>, intake: Intake, stop: CancellationToken) -> Result<(), SetupError> {
        tracing::warn!(
            engine = %self.place,
            "whoever may speak to the engine is root on its machine: consider a proxy that filters calls"
        );
        let reading = Reading { format: FormatName::only("docker_events"), zone: Zone::default(), trust: self.trust };
        let frames = || intake.frames(reading.origin(&self.place.to_string()));
        let resume = Resume::from_position(intake.marked(POSITION).as_deref());
        let mut session = Session {
            intake: intake.clone(),
            frames: frames(),
            resume,
            memory: Memory::of(&self.place),
            place: &self.place,
            known: Shared::default(),
            selection: &self.selection,
            without_health_checks: self.without_health_checks,
            looks: None,
            logs: None,
            owed: snapshot::Owed::default(),
            has_moved: false,
            complained: None,
        };
        let mut following = None;
        if self.logs.0 != logs::Wanted::None {
            let origin = reading.origin(&self.place.to_string());
            let (logs, other_end) = logs::queue(self.logs, &self.place, &self.selection, &intake, origin);
            session.logs = Some(logs);
            following = Some(other_end);
        }
        let mut inspector = None;
        if self.inspect {
            let (looks, other_end) = inspect::queue(&self.place, &self.selection, &session.known, &intake, frames());
            session.looks = Some(looks);
            inspector = Some(other_end);
        } else {
            inspect::give_up(&intake, &mut frames()).await?;
        }
        let snapshot = Snapshot {
            place: Arc::clone(&self.place),
            selection: Arc::clone(&self.selection),
            intake: intake.clone(),
            frames: frames(),
            owed: Arc::clone(&session.owed),
        };
        let inspected = async { if let Some(inspector) = inspector { inspector.run(&stop).await } else { Ok(()) } };
        let followed = async { if let Some(following) = following { following.run(&stop).await } else { Ok(()) } };
        // In one task, so that a panic of any is the source's.
        tokio::try_join!(session.run(&stop), inspected, followed, snapshot.run(&stop)).map(drop)
    }
}
