//! The programs under test, started with a configuration for the scenario and pinned to core 0.

use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Options, Result};

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Wharfinger,
    Rsyslog,
    /// With its queue on disk alone, and synced after each event.
    RsyslogSafe,
    SyslogNg,
}

/// Where the events wait that the sink has not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// In memory, as fast as it goes. Wharfinger has no such queue.
    Memory,
    /// On disk, as the manuals recommend it.
    Disk,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Wharfinger => "wharfinger",
            Kind::Rsyslog => "rsyslog",
            Kind::RsyslogSafe => "rsyslog-safe",
            Kind::SyslogNg => "syslog-ng",
        })
    }
}

/// For the sources that ask for one.
pub const TOKEN: &str = "5b1d6f0e-2a53-4c8e-9a61-0f7e6d5c4b3a";

/// Where a program listens and keeps its files, over several lives; removed with the value.
pub struct Site {
    dir: PathBuf,
    address: SocketAddr,
}

impl Site {
    pub fn new(kind: Kind) -> Result<Site> {
        let dir = std::env::temp_dir().join(format!("wharfinger-bench-{}-{kind}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let site = Site { dir, address: TcpListener::bind("127.0.0.1:0")?.local_addr()? };
        fs::create_dir_all(site.data())?;
        Ok(site)
    }

    /// The folder of what must survive.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// What its journal takes.
    pub fn bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(self.data().join("journal"))? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A running program; ended with the value.
pub struct Target {
    child: Child,
    _site: Arc<Site>,
    pub address: SocketAddr,
    pub ready_after: Duration,
}

impl Target {
    pub fn start(kind: Kind, options: &Options, sink: SocketAddr) -> Result<Target> {
        Target::start_at(&Arc::new(Site::new(kind)?), kind, Queue::Memory, options, &[sink])
    }

    /// Starts it, or starts it again on what it left there.
    pub fn start_at(
        site: &Arc<Site>,
        kind: Kind,
        queue: Queue,
        options: &Options,
        sinks: &[SocketAddr],
    ) -> Result<Target> {
        let sink = *sinks.first().ok_or("no sink")?;
        let mut command = match kind {
            Kind::Wharfinger => wharfinger(site, options, sinks)?,
            Kind::Rsyslog if queue == Queue::Memory => rsyslog(site, IN_MEMORY, "", sink)?,
            Kind::Rsyslog => rsyslog(site, DISK_ASSISTED, "", sink)?,
            Kind::RsyslogSafe => rsyslog(site, SYNCED, "main_queue(queue.type=\"Direct\")\n", sink)?,
            Kind::SyslogNg => syslog_ng(site, queue, sink)?,
        };
        let started = Instant::now();
        let log_path = site.dir.join("log");
        let log = fs::File::create(&log_path)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut target = Target { child, _site: Arc::clone(site), address: site.address, ready_after: Duration::ZERO };
        while TcpStream::connect(site.address).is_err() {
            if target.child.try_wait()?.is_some() || started.elapsed() > Duration::from_secs(20) {
                return Err(format!("{kind} does not start:\n{}", fs::read_to_string(log_path)?).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        target.ready_after = started.elapsed();
        Ok(target)
    }

    /// kill -9; returns when it is gone.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub fn signal(&self, name: &str) -> Result<()> {
        Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status()?;
        Ok(())
    }

    /// User and system time so far.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?.1;
        let ticks: u64 =
            after_name.split_ascii_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        // USER_HZ is 100 on every Linux that this runs on.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Bytes it had written to storage so far.
    pub fn disk_bytes(&self) -> Result<u64> {
        let io = fs::read_to_string(format!("/proc/{}/io", self.child.id()))?;
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).ok_or("no write_bytes")?;
        Ok(line.trim().parse()?)
    }

    pub fn rss_mib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        let kib: u64 = line.split_ascii_whitespace().nth(1).ok_or("no number")?.parse()?;
        Ok(kib / 1024)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pinned(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program);
    command
}

fn wharfinger(site: &Site, options: &Options, sinks: &[SocketAddr]) -> Result<Command> {
    let Site { dir, address } = site;
    let source = match options.scenario.as_str() {
        "ingest" => format!("{{type: hec, address: \"{address}\", token: {TOKEN}}}"),
        _ => format!("{{type: syslog, mode: tcp, address: \"{address}\"}}"),
    };
    let mut config = format!(
        "data_dir: {dir}/data\nsources:\n  in: {source}\njournal: {{bytes_max: {}GiB}}\n\
         admin: {{listen: \"127.0.0.1:0\"}}\nsinks:\n",
        options.journal_gib,
        dir = dir.display(),
    );
    for (number, sink) in sinks.iter().enumerate() {
        let format = options.format;
        config
            .push_str(&format!("  out{number}: {{type: syslog, mode: tcp, address: \"{sink}\", format: {format}}}\n"));
    }
    if options.machines > 0 {
        config.push_str(&policy(dir, options.machines)?);
    }
    let path = dir.join("wharfinger.yaml");
    fs::write(&path, config)?;
    let mut command = pinned(&options.gateway);
    command.args(["run", "--config"]).arg(path);
    Ok(command)
}

/// Machines in two groups, the shipped rules, and 42 more for other classes and fields. The sender is the machine that
/// the gateway runs on.
fn policy(dir: &Path, machines: u64) -> Result<String> {
    let mut list = "name,uuid,addresses\n".to_owned();
    for number in 0..machines {
        let [_, a, b, c] = u32::try_from(number)?.to_be_bytes();
        list.push_str(&format!("vm-{number},421f245c-7fa8-60fa-6af6-{number:012x},10.{a}.{b}.{c}\n"));
    }
    fs::write(dir.join("machines.csv"), list)?;
    let mut policy = format!(
        "identity: {{inventory: [{}]}}\npolicy:\n  groups:\n    lab: {{vms: [\"lab-*\"], docker: allowed}}\n    prod: \
         {{vms: [\"vm-*\"], docker: forbidden, registries: [\"registry.example\"], privileged: forbidden, exec: \
         forbidden, users: [root], working_hours: [\"00:00-24:00\"], silent_after: 1h}}\n  rules:\n",
        dir.join("machines.csv").display()
    );
    for number in 0..42 {
        let when = match number % 3 {
            0 => format!("event_class == \"audit.type_{number}\" && severity > 3"),
            1 => format!("event_class.startsWith(\"wazuh.\") && rule.level > {number}"),
            _ => format!("user.name == \"user-{number}\" && outcome == \"failure\""),
        };
        policy.push_str(&format!("    own_{number}: {{when: '{when}', why: x}}\n"));
    }
    Ok(policy)
}

/// As fast as it goes.
const IN_MEMORY: &str = r#"queue.type="LinkedList" queue.size="200000""#;
/// As rsyslog's page on reliable forwarding has it.
const DISK_ASSISTED: &str = r#"queue.type="LinkedList" queue.filename="forward" queue.saveOnShutdown="on""#;
/// Every message is synced, and the state of the queue after each. With its usual size of 1,000 it
/// drops what does not fit after two seconds.
const SYNCED: &str = r#"queue.type="Disk" queue.filename="forward" queue.syncQueueFiles="on" queue.checkpointInterval="1" queue.size="1000000""#;

fn rsyslog(site: &Site, queue: &str, main_queue: &str, sink: SocketAddr) -> Result<Command> {
    let Site { dir, address } = site;
    let config = format!(
        "global(workDirectory=\"{dir}/data\" maxMessageSize=\"64k\")\n{main_queue}module(load=\"imtcp\")\n\
         input(type=\"imtcp\" address=\"{ip}\" port=\"{port}\")\n\
         template(name=\"cef\" type=\"string\" string=\"<%pri%>%timestamp% %hostname% CEF:0|Example|Syslog|1|%app-name%|%programname%|%syslogseverity%|rt=%timestamp:::date-unixtimestamp%000 dvchost=%hostname% dvcpid=%procid% msg=%msg%\\n\")\n\
         action(type=\"omfwd\" target=\"{sink_ip}\" port=\"{sink_port}\" protocol=\"tcp\" template=\"cef\" {queue} action.resumeRetryCount=\"-1\")\n",
        dir = dir.display(),
        ip = address.ip(),
        port = address.port(),
        sink_ip = sink.ip(),
        sink_port = sink.port(),
    );
    let path = dir.join("rsyslog.conf");
    fs::write(&path, config)?;
    let mut command = pinned("rsyslogd");
    command.args(["-n", "-f"]).arg(path).arg("-i").arg(dir.join("pid"));
    Ok(command)
}

/// Needs `SYSLOG_NG_HOME`: where the packages were unpacked (see `tests/setup-peers`).
fn syslog_ng(site: &Site, queue: Queue, sink: SocketAddr) -> Result<Command> {
    let Site { dir, address } = site;
    let data = site.data();
    let buffer = match queue {
        Queue::Memory => String::new(),
        Queue::Disk => format!(
            " disk-buffer(reliable(yes) mem-buf-size(10485760) disk-buf-size(268435456) dir(\"{}\"))",
            data.display()
        ),
    };
    let home = PathBuf::from(std::env::var("SYSLOG_NG_HOME")?);
    let config = format!(
        "@version: 3.38\noptions {{ stats-freq(0); log-msg-size(65536); }};\n\
         source s {{ network(ip(\"{ip}\") port({port}) transport(tcp) flags(syslog-protocol) max-connections(100)); }};\n\
         template cef {{ template(\"<$PRI>$DATE $HOST CEF:0|Example|Syslog|1|$PROGRAM|$PROGRAM|$LEVEL_NUM|rt=${{S_UNIXTIME}}000 dvchost=$HOST dvcpid=$PID msg=$MSG\\n\"); }};\n\
         destination d {{ network(\"{sink_ip}\" port({sink_port}) transport(tcp) template(cef){buffer}); }};\n\
         log {{ source(s); destination(d); flags(flow-control); }};\n",
        ip = address.ip(),
        port = address.port(),
        sink_ip = sink.ip(),
        sink_port = sink.port(),
    );
    let path = dir.join("syslog-ng.conf");
    fs::write(&path, config)?;
    let mut command = pinned(home.join("usr/sbin/syslog-ng"));
    command
        .env("LD_LIBRARY_PATH", home.join("usr/lib/syslog-ng"))
        .args(["-F", "--no-caps", "--module-path"])
        .arg(home.join("usr/lib/syslog-ng/3.38"))
        .arg("-f")
        .arg(path)
        .arg("-p")
        .arg(dir.join("pid"))
        .arg("-R")
        .arg(data.join("persist"))
        .arg("-c")
        .arg(dir.join("ctl"));
    Ok(command)
}
