//! The programs under test, started with a configuration for the scenario and pinned to core 0.

use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Options, Result};

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Wharfinger,
    Rsyslog,
    SyslogNg,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Wharfinger => "wharfinger",
            Kind::Rsyslog => "rsyslog",
            Kind::SyslogNg => "syslog-ng",
        })
    }
}

/// A running program; ended with the value.
pub struct Target {
    child: Child,
    dir: PathBuf,
    pub address: SocketAddr,
    pub ready_after: Duration,
}

impl Target {
    pub fn start(kind: Kind, options: &Options, sink: SocketAddr) -> Result<Target> {
        let dir = std::env::temp_dir().join(format!("wharfinger-bench-{}-{kind}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = match kind {
            Kind::Wharfinger => wharfinger(&dir, options, address, sink)?,
            Kind::Rsyslog => rsyslog(&dir, address, sink)?,
            Kind::SyslogNg => syslog_ng(&dir, address, sink)?,
        };
        let started = Instant::now();
        let log = fs::File::create(dir.join("log"))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut target = Target { child, dir, address, ready_after: Duration::ZERO };
        while TcpStream::connect(address).is_err() {
            if target.child.try_wait()?.is_some() || started.elapsed() > Duration::from_secs(20) {
                return Err(format!("{kind} does not start:\n{}", fs::read_to_string(target.dir.join("log"))?).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        target.ready_after = started.elapsed();
        Ok(target)
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
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn pinned(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program);
    command
}

fn wharfinger(dir: &Path, options: &Options, address: SocketAddr, sink: SocketAddr) -> Result<Command> {
    let config = format!(
        "data_dir: {dir}/data\n\
         sources:\n  in: {{type: syslog, mode: tcp, address: \"{address}\"}}\n\
         sinks:\n  out: {{type: syslog, mode: tcp, address: \"{sink}\", format: {format}}}\n\
         journal: {{bytes_max: 4GiB}}\n\
         admin: {{listen: \"127.0.0.1:0\"}}\n",
        dir = dir.display(),
        format = options.format,
    );
    let path = dir.join("wharfinger.yaml");
    fs::write(&path, config)?;
    let mut command = pinned(&options.gateway);
    command.args(["run", "--config"]).arg(path);
    Ok(command)
}

fn rsyslog(dir: &Path, address: SocketAddr, sink: SocketAddr) -> Result<Command> {
    let config = format!(
        "global(workDirectory=\"{dir}\" maxMessageSize=\"64k\")\nmodule(load=\"imtcp\")\n\
         input(type=\"imtcp\" address=\"{ip}\" port=\"{port}\")\n\
         template(name=\"cef\" type=\"string\" string=\"<%pri%>%timestamp% %hostname% CEF:0|Example|Syslog|1|%app-name%|%programname%|%syslogseverity%|rt=%timestamp:::date-unixtimestamp%000 dvchost=%hostname% dvcpid=%procid% msg=%msg%\\n\")\n\
         action(type=\"omfwd\" target=\"{sink_ip}\" port=\"{sink_port}\" protocol=\"tcp\" template=\"cef\" queue.type=\"LinkedList\" queue.size=\"200000\" action.resumeRetryCount=\"-1\")\n",
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
fn syslog_ng(dir: &Path, address: SocketAddr, sink: SocketAddr) -> Result<Command> {
    let home = PathBuf::from(std::env::var("SYSLOG_NG_HOME")?);
    let config = format!(
        "@version: 3.38\noptions {{ stats-freq(0); log-msg-size(65536); }};\n\
         source s {{ network(ip(\"{ip}\") port({port}) transport(tcp) flags(syslog-protocol) max-connections(100)); }};\n\
         template cef {{ template(\"<$PRI>$DATE $HOST CEF:0|Example|Syslog|1|$PROGRAM|$PROGRAM|$LEVEL_NUM|rt=${{S_UNIXTIME}}000 dvchost=$HOST dvcpid=$PID msg=$MSG\\n\"); }};\n\
         destination d {{ network(\"{sink_ip}\" port({sink_port}) transport(tcp) template(cef)); }};\n\
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
        .arg(dir.join("persist"))
        .arg("-c")
        .arg(dir.join("ctl"));
    Ok(command)
}
