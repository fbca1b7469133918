//! `wharfinger demo`: the gateway as it is, with a configuration, an inventory and a recorded day of forty machines.
//!
//! Invariant: nothing in the gateway knows of it. The recording comes in through a source of the configuration, as a
//! relay would send it.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::config_file::ConfigFile;
use super::failure::{Exit, Failure};
use super::run;
use crate::gateway;

/// Run the gateway with a policy, an inventory and a recorded day of forty machines, to look at
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folder for everything the demo writes; made if it is not there
    #[arg(long, value_name = "PATH", default_value = "wharfinger-demo")]
    dir: PathBuf,

    /// Where the page is
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8686")]
    admin: SocketAddr,

    /// How much faster than life the day passes; the default makes it four minutes
    #[arg(long, value_name = "TIMES", default_value_t = 360, value_parser = clap::value_parser!(u32).range(1..=3600))]
    speed: u32,
}

const CONFIG: &str = include_str!("../../demo/wharfinger.yaml");
const MACHINES: &str = include_str!("../../demo/machines.yaml");
const DAY: &str = include_str!("../../demo/day.log");

const DAY_SECONDS: u32 = 24 * 3600;
/// How often it is looked whether the gateway listens already.
const PATIENCE: Duration = Duration::from_millis(100);

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let config = write(&arguments.dir, arguments.admin).map_err(|error| Failure::new(Exit::CannotCreate, error, ""))?;
    let dir = config.parent().unwrap_or(&arguments.dir).to_owned();
    let token = gateway::page_token(&dir.join("data"));
    let token = token.map_err(|error| Failure::new(Exit::CannotCreate, error, ""))?;
    eprintln!("the page      http://{}/#/?token={token}", arguments.admin);
    eprintln!("findings      {} (CEF)", dir.join("findings.cef").display());
    eprintln!("configuration {}", config.display());
    let seconds = DAY_SECONDS / arguments.speed;
    eprintln!(
        "a day of the recording takes {seconds} s, and a machine is silent after a minute; Ctrl-C ends the demo\n"
    );
    let socket = dir.join("relay.sock");
    // It ends with the process.
    let speed = arguments.speed;
    thread::spawn(move || play(&socket, speed));
    let file = ConfigFile { config: Some(config), data_dir: None };
    run::run(&run::Arguments { file, log: "warn".to_owned() })
}

/// Writes the configuration and what it names; answers where it is.
fn write(dir: &Path, admin: SocketAddr) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the folder `{}`", dir.display()))?;
    let dir = fs::canonicalize(dir).with_context(|| format!("cannot find the folder `{}`", dir.display()))?;
    let text = CONFIG
        .replace("${WHARFINGER_DEMO_DIR}", &dir.display().to_string())
        .replace("${WHARFINGER_DEMO_ADMIN}", &admin.to_string());
    let config = dir.join("wharfinger.yaml");
    for (path, text) in [(&config, &*text), (&dir.join("machines.yaml"), MACHINES)] {
        fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(config)
}

/// Sends the recording to the gateway again and again, until it listens no more.
fn play(socket: &Path, speed: u32) {
    let mut stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(_) => thread::sleep(PATIENCE),
        }
    };
    let begun = Instant::now();
    for day in 0.. {
        for line in DAY.lines() {
            let Some((second, message)) = line.split_once(' ') else { continue };
            let second = second.parse::<u32>().unwrap_or(0);
            let due = Duration::from_secs(u64::from(DAY_SECONDS) * day + u64::from(second)) / speed;
            thread::sleep(due.saturating_sub(begun.elapsed()));
            if send(&mut stream, message).is_err() {
                return;
            }
        }
    }
}

fn send(stream: &mut UnixStream, message: &str) -> io::Result<()> {
    stream.write_all(message.as_bytes())?;
    stream.write_all(b"\n")
}
