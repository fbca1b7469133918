//! What an answer means for the request.
//!
//! Invariant: an event that the answer speaks of as not taken is never counted as delivered.

use serde::Deserialize;

use super::config::Answer;
use crate::sinks::Outcome;
use crate::sinks::web::{Reply, Says, visible};

/// What to do, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Outcome(Outcome),
    /// The credentials are refused: read them again before the next try.
    Refused(Outcome),
    /// The body is too large: the next requests must be smaller.
    TooLarge(String),
    /// The receiver refuses what was sent. With an index, that event; whether it has taken another one is known.
    WrongEvents {
        which: Option<usize>,
        has_taken: bool,
        reason: String,
    },
}

/// The answer of a bulk API: one item for each event, in their order.
#[derive(Debug, Deserialize)]
struct Bulk {
    errors: bool,
    #[serde(default)]
    items: Vec<serde_json::Map<String, serde_json::Value>>,
}

/// The start of an answer, for people. Error pages repeat what they were sent: what proves who we are becomes `***`.
fn quoted(answer: &[u8], secrets: &[String]) -> String {
    let mut text = String::from_utf8_lossy(answer).into_owned();
    for secret in secrets.iter().filter(|_| !answer.is_empty()) {
        text = text.replace(secret, "***");
    }
    visible(text.as_bytes())
}

/// `secrets` are not quoted.
pub(super) fn judge(reply: &Reply, events: usize, answer: Answer, expect: Option<&str>, secrets: &[String]) -> Verdict {
    let Reply { status, after, body } = reply;
    let reason = format!("HTTP {status}: `{}`", quoted(body, secrets));
    let after = *after;
    match Says::of(*status) {
        Says::Taken if expect.is_some_and(|text| memchr::memmem::find(body, text.as_bytes()).is_none()) => {
            let reason = format!("{reason}, without what `expect` says");
            Verdict::Outcome(Outcome::Retry { after, reason })
        }
        Says::Taken if answer == Answer::Bulk => bulk(body, events, reason, secrets),
        Says::Taken => Verdict::Outcome(Outcome::Delivered),
        Says::WrongCredentials => Verdict::Refused(Outcome::Fatal { reason }),
        Says::TooLarge => Verdict::TooLarge(reason),
        Says::WrongEvents => Verdict::WrongEvents { which: None, has_taken: false, reason },
        Says::WrongAddress => Verdict::Outcome(Outcome::Fatal { reason }),
        Says::NotNow => Verdict::Outcome(Outcome::Retry { after, reason }),
    }
}

/// The first event that was not taken decides. Those before it come again: under `_id`, what is there already is
/// answered by 409 and not stored twice. An answer with another number of items than events names no event.
fn bulk(body: &[u8], events: usize, reason: String, secrets: &[String]) -> Verdict {
    // The body may be cut, but `errors` stands before the items.
    let errors = serde_json::from_slice::<Bulk>(body);
    let bulk = match errors {
        Ok(bulk) => bulk,
        Err(_) if is_without_errors(body) => return Verdict::Outcome(Outcome::Delivered),
        // A refusal that cannot be read: with fewer events it can.
        Err(_) if events > 1 && body.len() >= crate::sinks::web::ANSWER_BYTES => {
            return Verdict::TooLarge(format!("{reason}, cut"));
        }
        Err(_) => {
            let reason = format!("{reason}, which is no answer of a bulk API");
            return Verdict::Outcome(Outcome::Retry { after: None, reason });
        }
    };
    if !bulk.errors {
        return Verdict::Outcome(Outcome::Delivered);
    }
    let of_item = |index: usize, status: u64, result: &serde_json::Value| {
        format!("HTTP 200, event {index}: {status} {}", quoted(result["error"].to_string().as_bytes(), secrets))
    };
    let (mut which, mut has_taken) = (None, false);
    for (index, item) in bulk.items.iter().enumerate() {
        let Some(result) = item.values().next() else { continue };
        match result["status"].as_u64().unwrap_or_default() {
            200..=299 | 409 => has_taken = true,
            status @ (429 | 500..=599) => {
                let reason = of_item(index, status, result);
                return Verdict::Outcome(Outcome::Retry { after: None, reason });
            }
            // No right to write there, no such index: not about the event.
            status @ (401 | 403) => return Verdict::Refused(Outcome::Fatal { reason: of_item(index, status, result) }),
            status @ 404 => return Verdict::Outcome(Outcome::Fatal { reason: of_item(index, status, result) }),
            status => {
                which.get_or_insert_with(|| (index, of_item(index, status, result)));
            }
        }
    }
    match which {
        Some((which, reason)) => {
            let which = Some(which).filter(|_| bulk.items.len() == events);
            Verdict::WrongEvents { which, has_taken, reason }
        }
        // Every event is there already.
        None if bulk.items.len() == events => Verdict::Outcome(Outcome::Delivered),
        None => Verdict::Outcome(Outcome::Retry { after: None, reason: format!("{reason}, not about every event") }),
    }
}

/// `"errors":false` at the head of an answer whose end was not read.
fn is_without_errors(body: &[u8]) -> bool {
    let head = &body[..body.len().min(256)];
    let head: Vec<u8> = head.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    memchr::memmem::find(&head, b"\"errors\":false").is_some()
}
