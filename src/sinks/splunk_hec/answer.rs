//! What an answer of a Splunk HTTP Event Collector means for the request.
//!
//! The codes are those of Splunk's "Troubleshoot HTTP Event Collector"; load balancers in front of it
//! answer with codes and bodies of their own. A body without a code is never taken for success.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::Deserialize;

use crate::sinks::Outcome;
use crate::sinks::web::{Says, visible};

/// The pause after "queue approaching capacity" (codes 24 and 25).
const CROWDED_PAUSE: Duration = Duration::from_secs(1);

/// The JSON body of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    code: Option<i64>,
    text: String,
    #[serde(rename = "invalid-event-number")]
    invalid_event_number: Option<usize>,
    #[serde(rename = "ackId")]
    ack_id: Option<u64>,
}

/// The answer about acknowledgements.
#[derive(Debug, Deserialize)]
struct Acknowledged {
    acks: BTreeMap<String, bool>,
}

/// What to do, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Outcome(Outcome),
    /// The peer has it; with a number, it is to be asked whether it is indexed.
    Accepted {
        number: Option<u64>,
        outcome: Outcome,
    },
    /// The token is refused: read it again before the next try.
    TokenRefused(Outcome),
    /// The body is too large: the next requests must be smaller.
    TooLarge(Outcome),
}

/// Judges status, Retry-After and the start of the body.
pub(super) fn judge(status: u16, after: Option<Duration>, body: &[u8]) -> Verdict {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    let code = answer.as_ref().and_then(|answer| answer.code);
    let reason = match (&answer, code) {
        (Some(answer), Some(code)) => format!("HTTP {status}, code {code}: {}", visible(answer.text.as_bytes())),
        _ => format!("HTTP {status} without a HEC code: `{}`", visible(body)),
    };
    let (which, number) = answer.map_or((None, None), |answer| (answer.invalid_event_number, answer.ack_id));
    Verdict::Outcome(match (Says::of(status), code) {
        (Says::Taken, Some(0)) => return Verdict::Accepted { number, outcome: Outcome::Delivered },
        // Accepted; the indexing queue or the channel's acknowledgements are nearly full.
        (Says::Taken, Some(24 | 25)) => {
            let outcome = Outcome::Crowded { pause: after.unwrap_or(CROWDED_PAUSE) };
            return Verdict::Accepted { number, outcome };
        }
        // Token required, invalid authorization, token disabled, invalid token.
        (Says::WrongCredentials, _) | (Says::WrongEvents, Some(21 | 22)) => {
            return Verdict::TokenRefused(Outcome::Fatal { reason });
        }
        (Says::TooLarge, _) => return Verdict::TooLarge(Outcome::Reject { which: None, reason }),
        // Invalid data format, event field required or blank, incorrect index, bad indexed fields.
        (Says::WrongEvents, Some(6 | 7 | 12 | 13 | 15)) => Outcome::Reject { which, reason },
        // "No data", although there was: something on the way lost the body.
        (Says::WrongEvents, Some(5)) => Outcome::Retry { after, reason },
        // Channel missing or invalid, acknowledgement disabled, query string authorization: settings.
        (Says::WrongEvents, Some(10 | 11 | 14 | 16)) => Outcome::Fatal { reason },
        // A code of a later Splunk: it refuses what was sent.
        (Says::WrongEvents, Some(_)) => Outcome::Reject { which, reason },
        // Not HEC's words: nothing is refused by something that is no HEC.
        (Says::WrongAddress | Says::WrongEvents, _) => Outcome::Fatal { reason },
        (Says::NotNow | Says::Taken, _) => Outcome::Retry { after, reason },
    })
}

/// The numbers that are indexed; none if this is no answer about acknowledgements.
pub(super) fn acknowledged(body: &[u8]) -> Option<HashSet<u64>> {
    let answer: Acknowledged = serde_json::from_slice(body).ok()?;
    Some(answer.acks.iter().filter(|(_, indexed)| **indexed).filter_map(|(number, _)| number.parse().ok()).collect())
}

/// Why a collector does not say what is indexed.
pub(super) fn why_not(status: u16, body: &[u8]) -> String {
    if status == 0 { visible(body) } else { format!("HTTP {status}: `{}`", visible(body)) }
}

/// Whether the token acknowledges nothing: code 14, "ACK is disabled".
pub(super) fn is_ack_disabled(body: &[u8]) -> bool {
    serde_json::from_slice::<Answer>(body).is_ok_and(|answer| answer.code == Some(14))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::web::retry_after;

    fn shape(verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::TokenRefused(Outcome::Fatal { .. }) => "token",
            Verdict::TooLarge(Outcome::Reject { which: None, .. }) => "smaller",
            Verdict::Accepted { outcome, .. } | Verdict::Outcome(outcome) => match outcome {
                Outcome::Delivered => "delivered",
                Outcome::Crowded { .. } => "crowded",
                Outcome::Retry { .. } => "retry",
                Outcome::Reject { which: Some(3), .. } => "reject 3",
                Outcome::Reject { .. } => "reject",
                Outcome::Fatal { .. } => "fatal",
            },
            _ => "?",
        }
    }

    /// Every row of the table.
    #[test]
    fn each_code() {
        for (status, codes, expected) in [
            (200, &[0][..], "delivered"),
            (403, &[1, 4], "token"),
            (401, &[2, 3], "token"),
            (400, &[5], "retry"),
            (400, &[6, 7, 12, 13, 15], "reject 3"),
            (500, &[8], "retry"),
            (503, &[9, 18, 19, 20, 23], "retry"),
            (400, &[10, 11, 14, 16], "fatal"),
            (200, &[17], "retry"),
            (400, &[21, 22], "token"),
            (200, &[24, 25], "crowded"),
            (429, &[26, 27], "retry"),
            (400, &[99], "reject 3"),
        ] {
            for code in codes {
                let body = format!(r#"{{"text":"x","code":{code},"invalid-event-number":3}}"#);
                assert_eq!(shape(judge(status, None, body.as_bytes())), expected, "HTTP {status} code {code}");
            }
        }
    }

    #[test]
    fn acknowledgements() {
        let accepted = judge(200, None, br#"{"text":"Success","code":0,"ackId":7}"#);
        assert_eq!(accepted, Verdict::Accepted { number: Some(7), outcome: Outcome::Delivered });
        let indexed = acknowledged(br#"{"acks":{"0":true,"1":false,"x":true,"2":true}}"#);
        assert_eq!(indexed, Some(HashSet::from([0, 2])));
        assert_eq!(acknowledged(br#"{"text":"ACK is disabled","code":14}"#), None);
        assert!(is_ack_disabled(br#"{"text":"ACK is disabled","code":14}"#) && !is_ack_disabled(b"<html>"));
    }

    #[test]
    fn bodies_of_load_balancers() {
        let html = b"<html>\x1b[31m<h1>Request Entity Too Large</h1>";
        for (status, expected) in [
            (200, "retry"),
            (204, "retry"),
            (302, "fatal"),
            (400, "fatal"),
            (401, "token"),
            (404, "fatal"),
            (408, "retry"),
            (413, "smaller"),
            (429, "retry"),
            (500, "retry"),
            (502, "retry"),
            (503, "retry"),
            (504, "retry"),
            (599, "retry"),
        ] {
            assert_eq!(shape(judge(status, None, html)), expected, "HTTP {status}");
        }
        let after = retry_after(" 7 ");
        let Verdict::Outcome(outcome) = judge(503, after, html) else { return assert!(after.is_none()) };
        assert_eq!(
            outcome,
            Outcome::Retry {
                after: Some(Duration::from_secs(7)),
                reason: "HTTP 503 without a HEC code: `<html> [31m<h1>Request Entity Too Large</h1>`".to_owned()
            }
        );
        assert_eq!(retry_after("Sat, 21 Nov 2026 09:00:00 GMT"), None);
    }
}
