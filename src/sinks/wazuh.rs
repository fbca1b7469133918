//! Sink `wazuh`: events into the queue of a Wazuh manager, or of an agent, on this machine.
//!
//! The queue is a datagram socket, and a message `1:LOCATION:TEXT` (a line of a log), as the modules of Wazuh write
//! it. Its decoders and rules judge the text. The socket keeps what it took, so there is no receipt: what the manager
//! has not read when it ends is lost with it.
//!
//! Invariant: no datagram is longer than Wazuh reads, and no location ends early.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::net::UnixDatagram;
use tokio::time::timeout;
use wharfinger_formats::Event;

use super::emitter::Emitter;
use super::receipts::Answer;
use super::{Limits, Outcome, Push, Refused, Sink, SinkConfig};
use crate::part::{Interval, Kind, PartContext, Problem, SetupError};

/// The row of this sink.
pub const KIND: Kind<dyn SinkConfig> = Kind {
    name: "wazuh",
    about: "The queue of a Wazuh manager or agent on this machine",
    schema: || schemars::schema_for!(WazuhConfig),
    read: |options| Ok(Box::new(erased_serde::deserialize::<WazuhConfig>(options)?)),
};

/// Wazuh's `OS_MAXSTR` with the NUL that it puts behind: longer ones are cut.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// After a break as many may come again as are in a request.
const EVENTS_MAX: usize = 64;

/// The queue of a Wazuh manager or agent on this machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WazuhConfig {
    /// Its socket. Members of the group `wazuh` may write to it.
    #[serde(default = "path")]
    pub path: PathBuf,
    /// Where the events are said to come from: `location` of the alerts. That of Wazuh's own listener is
    /// `Wazuh-Docker`.
    #[serde(default = "location")]
    pub location: String,
    /// What a message looks like. `wazuh_input` has Docker events as Wazuh's rules 87900 to 87958 know them.
    #[serde(default = "format")]
    pub format: Emitter,
    /// How long the manager may take nothing before the connection counts as dead.
    #[serde(default = "stall_timeout")]
    pub stall_timeout: Interval,
}

fn path() -> PathBuf {
    "/var/ossec/queue/sockets/queue".into()
}

fn location() -> String {
    "Wazuh-Docker".to_owned()
}

fn format() -> Emitter {
    Emitter::named("wazuh_input").unwrap_or_else(Emitter::native)
}

const fn stall_timeout() -> Interval {
    Interval::seconds(60)
}

impl WazuhConfig {
    /// What stands before each text: the queue of log lines, and where it was. A colon gets a bar, as Wazuh's own
    /// modules write it.
    fn head(&self) -> Vec<u8> {
        format!("1:{}:", self.location.replace('|', "||").replace(':', "|:")).into_bytes()
    }
}

impl SinkConfig for WazuhConfig {
    fn check(&self) -> Vec<Problem> {
        let is_word = !self.location.is_empty() && self.location.len() <= 255;
        if is_word && !self.location.contains(char::is_control) {
            return Vec::new();
        }
        vec![Problem {
            option: "location",
            message: "expected 1 to 255 characters without line ends".to_owned(),
            hint: "write `location: Wazuh-Docker`".to_owned(),
        }]
    }

    fn open(&self, _context: &PartContext) -> Result<Box<dyn Sink>, SetupError> {
        Ok(Box::new(Queue {
            head: self.head(),
            config: self.clone(),
            socket: None,
            request: Vec::new(),
            ends: Vec::new(),
        }))
    }
}

struct Queue {
    config: WazuhConfig,
    head: Vec<u8>,
    socket: Option<UnixDatagram>,
    /// Datagrams, one after the other, and where each ends.
    request: Vec<u8>,
    ends: Vec<usize>,
}

impl Queue {
    async fn send(&mut self) -> io::Result<()> {
        if self.socket.is_none() {
            let socket = UnixDatagram::unbound()?;
            socket.connect(&self.config.path)?;
            self.socket = Some(socket);
        }
        let Some(socket) = &self.socket else { return Ok(()) };
        let mut start = 0;
        for end in &self.ends {
            let sent = timeout(self.config.stall_timeout.get(), socket.send(&self.request[start..*end]));
            sent.await.map_err(|_| io::Error::other("it takes nothing"))??;
            start = *end;
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for Queue {
    fn limits(&self) -> Limits {
        Limits { events_max: EVENTS_MAX, bytes_max: 256 * 1024, age_max: Duration::ZERO }
    }

    fn push(&mut self, event: &Event<'_>) -> Result<Push, Refused> {
        let start = self.request.len();
        self.request.extend_from_slice(&self.head);
        self.config.format.emit(event, &mut self.request);
        let bytes = self.request.len() - start;
        if bytes > DATAGRAM_BYTES_MAX {
            self.request.truncate(start);
            return Err(Refused(format!("{bytes} bytes are more than the {DATAGRAM_BYTES_MAX} that Wazuh takes")));
        }
        self.ends.push(self.request.len());
        Ok(Push::Taken { bytes: self.request.len() })
    }

    async fn deliver(&mut self) -> Outcome {
        let sent = self.send().await;
        self.clear();
        match sent {
            Ok(()) => Outcome::Delivered,
            Err(error) => {
                // The manager makes its socket anew when it starts.
                self.socket = None;
                let reason = format!("cannot write to `{}`: {error}", self.config.path.display());
                match error.kind() {
                    io::ErrorKind::PermissionDenied => Outcome::Fatal { reason },
                    _ => Outcome::Retry { after: None, reason },
                }
            }
        }
    }

    fn answer(&mut self) -> Answer {
        vec![("queue", self.config.path.display().to_string())]
    }

    fn clear(&mut self) {
        self.request.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use wharfinger_formats::Field;

    const START: &str = r#"{"Type":"container","Action":"start","Actor":{"ID":"ab","Attributes":{"image":"web:1","name":"web"}},"time":1795251800,"timeNano":1795251800158734145}"#;

    fn queue(path: &std::path::Path, location: &str) -> Box<dyn Sink> {
        let options = serde_json::json!({"path": path, "location": location, "stall_timeout": "1s"});
        let config: WazuhConfig = serde_json::from_value(options).unwrap();
        assert_eq!(config.check(), []);
        let data_dir = path.parent().unwrap().to_owned();
        let context = PartContext {
            name: "out".to_owned(),
            data_dir,
            hostname: "gateway".to_owned(),
            notices: None,
            is_replay: false,
        };
        config.open(&context).unwrap()
    }

    fn event() -> Event<'static> {
        let context =
            wharfinger_formats::Context { received: wharfinger_formats::Time(0), zone: wharfinger_formats::Offset(0) };
        let mut event = Event::new(START.as_bytes());
        wharfinger_formats::parse(wharfinger_formats::Choice::Auto, START.as_bytes(), &context, &mut event);
        event
    }

    async fn received(socket: &UnixDatagram) -> String {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX + 1];
        let length = socket.recv(&mut buffer).await.unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_docker_event_is_what_the_listener_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue");
        let mut sink = queue(&path, "Wazuh-Docker");
        sink.push(&event()).unwrap();
        // The manager does not run.
        assert!(matches!(sink.deliver().await, Outcome::Retry { reason, .. } if reason.contains("cannot write")));
        let manager = UnixDatagram::bind(&path).unwrap();
        for _ in 0..3 {
            sink.push(&event()).unwrap();
        }
        assert_eq!(sink.deliver().await, Outcome::Delivered);
        for _ in 0..3 {
            let message = received(&manager).await;
            let text = message.strip_prefix("1:Wazuh-Docker:").unwrap();
            let tree: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!((&tree["integration"], &tree["docker"]["status"]), (&"docker".into(), &"start".into()));
            assert_eq!(tree["docker"]["Actor"]["Attributes"]["name"], "web");
        }
        // It is started anew, with a new socket.
        drop(manager);
        std::fs::remove_file(&path).unwrap();
        let manager = UnixDatagram::bind(&path).unwrap();
        sink.push(&event()).unwrap();
        assert!(matches!(sink.deliver().await, Outcome::Retry { .. }));
        sink.push(&event()).unwrap();
        assert_eq!(sink.deliver().await, Outcome::Delivered);
        assert!(received(&manager).await.contains(r#""Action":"start""#));
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused_and_a_full_queue_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut sink = queue(&path, "a:b|c");
        let mut long = event();
        long.set(Field::ContainerName, &*"x".repeat(70_000));
        assert!(sink.push(&long).is_err());
        sink.push(&event()).unwrap();
        assert_eq!(sink.deliver().await, Outcome::Delivered);
        assert!(received(&manager).await.starts_with("1:a|:b||c:{"));
        // Nobody reads: in the end it is said, and nothing counts as delivered.
        let mut waiting = 0;
        let outcome = loop {
            sink.push(&event()).unwrap();
            match sink.deliver().await {
                Outcome::Delivered => waiting += 1,
                outcome => break outcome,
            }
        };
        assert!(matches!(outcome, Outcome::Retry { reason, .. } if reason.contains("it takes nothing")));
        // Somebody reads again while it waits.
        sink.push(&event()).unwrap();
        let read_all = async {
            for _ in 0..=waiting {
                assert!(received(&manager).await.contains(r#""Action":"start""#));
            }
        };
        let (outcome, ()) = tokio::join!(sink.deliver(), read_all);
        assert_eq!(outcome, Outcome::Delivered);
    }
}
