//! Programs that providers run: without a terminal, a shell or our environment.
//!
//! Invariant: what one prints is bounded, and it does not outlive the question.

use std::ffi::OsString;
use std::process::Stdio;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::provider::ProviderError;
use crate::part::{Problem, describe_io};

/// Of what it says on stderr.
const ERROR_BYTES_MAX: u64 = 4096;

/// What a program needs of the environment: where programs and keys are, and words in English.
fn environment() -> impl Iterator<Item = (&'static str, OsString)> {
    let ours = ["PATH", "HOME", "XDG_RUNTIME_DIR"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    ours.chain([("LC_ALL", "C".into())])
}

/// Why it cannot be run.
pub(super) fn problem(option: &'static str, program: &str, argument: &str, package: &str) -> Option<Problem> {
    let mut command = std::process::Command::new(program);
    command.arg(argument).env_clear().envs(environment());
    let error = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().err()?;
    let message = format!("`{program}` cannot be run: {}", describe_io(&error));
    Some(Problem { option, message, hint: format!("install it (Debian: `{package}`), or name its path") })
}

/// What it prints, and on stderr if it fails.
pub(super) async fn run(
    program: &str,
    arguments: &[&str],
    bytes_max: u64,
) -> Result<(String, Result<(), String>), ProviderError> {
    let failed = |cause: &dyn std::fmt::Display| ProviderError::new(cause.to_string());
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&describe_io(&error)))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(failed(&"it has no output"));
    };
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let (mut stdout, mut stderr) = (stdout.take(bytes_max + 1), stderr.take(ERROR_BYTES_MAX));
    let (read, _) = tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut errors));
    read.map_err(|error| failed(&error))?;
    if out.len() as u64 > bytes_max {
        return Err(failed(&format!("it prints more than {bytes_max} bytes")));
    }
    // Whoever floods stderr waits for a reader that has gone.
    drop((stdout, stderr));
    let status = child.wait().await.map_err(|error| failed(&error))?;
    let out = String::from_utf8(out).map_err(|_| failed(&"what it prints is not UTF-8"))?;
    let said = String::from_utf8_lossy(&errors).trim().replace('\n', "; ");
    let failure = if said.is_empty() { status.to_string() } else { said };
    Ok((out, if status.success() { Ok(()) } else { Err(failure) }))
}
