//! How a verb ends: exit codes from sysexits, and errors as people read them.

use std::fmt::Display;
use std::process::ExitCode;

use super::visible::visible_lines;
use crate::archive::Fault;
use crate::document::Mistakes;

/// The codes of sysexits.h that are used here, and that of a test that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Ok = 0,
    /// What was tested does not hold.
    Failed = 1,
    /// The codes of `verify` begin here.
    VerifyUsage = 2,
    Altered = 10,
    Missing = 11,
    Foreign = 12,
    Signature = 13,
    EndNotProven = 14,
    Anchor = 15,
    Usage = 64,
    Data = 65,
    NoInput = 66,
    Unavailable = 69,
    CannotCreate = 73,
    NotPermitted = 77,
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl From<Fault> for Exit {
    fn from(fault: Fault) -> Exit {
        match fault {
            Fault::Altered => Exit::Altered,
            Fault::Missing => Exit::Missing,
            Fault::Foreign => Exit::Foreign,
            Fault::Signature => Exit::Signature,
            Fault::End => Exit::EndNotProven,
            Fault::Anchor => Exit::Anchor,
        }
    }
}

/// Why a verb ends early.
#[derive(Debug)]
pub(super) enum Failure {
    /// The reader of stdout has seen enough.
    ClosedPipe,
    /// Something went wrong; `hint` may be empty.
    Error { exit: Exit, error: anyhow::Error, hint: String },
    /// Everything that is wrong with a configuration.
    Config(Mistakes),
}

impl Failure {
    pub(super) fn new(exit: Exit, error: impl Into<anyhow::Error>, hint: impl Display) -> Self {
        Failure::Error { exit, error: error.into(), hint: hint.to_string() }
    }

    /// The same, with the codes of `verify`: another one could pass for a verdict.
    pub(super) fn of_verify(self) -> Self {
        match self {
            Failure::Error { exit: Exit::Usage, error, hint } => {
                Failure::Error { exit: Exit::VerifyUsage, error, hint }
            }
            other => other,
        }
    }

    /// Says it on stderr.
    pub(super) fn report(self) -> ExitCode {
        let text = self.text();
        if !text.is_empty() {
            eprintln!("{}", visible_lines(&text));
        }
        self.exit().into()
    }

    /// The code it ends with.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Failure::ClosedPipe => Exit::Ok,
            Failure::Error { exit, .. } => *exit,
            Failure::Config(_) => Exit::Config,
        }
    }

    /// What people read.
    pub(super) fn text(&self) -> String {
        match self {
            Failure::ClosedPipe => String::new(),
            Failure::Error { error, hint, .. } => {
                let mut text = format!("error: {error}");
                for cause in error.chain().skip(1) {
                    text.push_str(&format!("\n  cause: {cause}"));
                }
                if !hint.is_empty() {
                    text.push_str(&format!("\n\nhint: {hint}"));
                }
                text
            }
            Failure::Config(mistakes) => mistakes_text("error", mistakes),
        }
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Failure::Config(mistakes)
    }
}

/// Mistakes on stderr, an empty line between them.
pub(super) fn print_mistakes(word: &str, mistakes: &Mistakes) {
    let text = mistakes_text(word, mistakes);
    if !text.is_empty() {
        eprintln!("{}", visible_lines(&text));
    }
}

fn mistakes_text(word: &str, mistakes: &Mistakes) -> String {
    mistakes.texts().map(|text| format!("{word}: {text}")).collect::<Vec<_>>().join("\n\n")
}
