//! Who reads, exports, replays, reconciles or verifies what is in custody is recorded: at the beginning,
//! and with the result at the end.
//!
//! Invariant: where a gateway keeps its data on this machine, nobody is told anything before the beginning
//! is recorded, or a warning says that it could not be.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::config_file::ConfigFile;
use super::convert::now;
use super::failure::{Exit, Failure};
use crate::gateway::acts;
use crate::gateway::control::{Request, ask};
use crate::intake::Act;

const WITHIN: Duration = Duration::from_secs(10);

/// Does the work, recorded. Without a gateway's data on this machine there is nobody to record it.
pub(super) fn recorded(
    file: &ConfigFile,
    action: &str,
    work: impl FnOnce() -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let data_dir = file.data_dir()?;
    let is_named = file.config.is_some() || file.data_dir.is_some();
    let there = fs::metadata(data_dir.join("journal")).and_then(|there| match there.is_dir() {
        true => Ok(()),
        false => Err(ErrorKind::NotADirectory.into()),
    });
    if let Err(error) = there {
        // Who may not look into the folder of a gateway reads as well as anybody, and is told.
        if is_named || error.kind() != ErrorKind::NotFound {
            eprintln!("warning: this is recorded nowhere: `{}`: {error}", data_dir.display());
        }
        return work();
    }
    let mut act = begun(action);
    record(&data_dir, &act);
    let done = work();
    let exit = match &done {
        Ok(exit) => *exit as u8,
        Err(failure) => failure.exit() as u8,
    };
    act.time = now().0;
    act.outcome = Some(if exit == 0 { "success" } else { "failure" }.to_owned());
    act.exit = Some(exit.into());
    record(&data_dir, &act);
    done
}

/// To the gateway if one runs, else into the file that it takes in at its next start.
fn record(data_dir: &Path, act: &Act) {
    let asked = ask(data_dir, &Request::Act(Box::new(act.clone())), WITHIN);
    let recorded = asked.or_else(|_| acts::append(data_dir, act));
    if let Err(error) = recorded {
        eprintln!("warning: this is not recorded in `{}`: {error}", data_dir.display());
    }
}

fn begun(action: &str) -> Act {
    let uid = rustix::process::getuid().as_raw();
    let ssh = std::env::var("SSH_CONNECTION").ok().or_else(|| std::env::var("SSH_CLIENT").ok());
    Act {
        id: format!("{:016x}", fastrand::u64(..)),
        action: action.to_owned(),
        time: now().0,
        arguments: std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect(),
        user: name_of(uid),
        uid: Some(uid),
        login_uid: login_uid(),
        pid: Some(std::process::id()),
        terminal: terminal(),
        ssh: ssh.and_then(|ssh| ssh.split_whitespace().next().map(str::to_owned)),
        ..Act::default()
    }
    .cut()
}

/// As the local files say; users of a directory service have a number alone.
fn name_of(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut rows = users.lines().map(|row| row.split(':').collect::<Vec<_>>());
    rows.find(|row| row.get(2).is_some_and(|own| *own == uid.to_string()))
        .and_then(|row| row.first().map(|name| (*name).to_owned()))
}

/// The kernel's: it stays through `su` and `sudo`.
fn login_uid() -> Option<u32> {
    let uid = std::fs::read_to_string("/proc/self/loginuid").ok()?.trim().parse().ok()?;
    (uid != u32::MAX).then_some(uid)
}

fn terminal() -> Option<String> {
    let links = ["/proc/self/fd/0", "/proc/self/fd/2"].into_iter().filter_map(|link| std::fs::read_link(link).ok());
    let mut terminals = links.filter(|to| to.starts_with(Path::new("/dev")) && to != Path::new("/dev/null"));
    terminals.next().map(|to| to.display().to_string())
}
