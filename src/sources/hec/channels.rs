//! Channels, and what is acknowledged in them (indexer acknowledgement, as a HEC token with `useACK` does).
//!
//! A request that names a channel is given a number when its events are on disk, so every number that was
//! given is acknowledged, as often as it is asked for. A number of another collector, or of an earlier run
//! of the gateway, is not: its client sends again what is under way.
//!
//! Invariant: never `true` for a number that this channel did not give.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use hyper::Request;
use serde::Deserialize;
use tokio::time::Instant;

use super::answer::Answer;

/// So many channels are known at once; the one that was silent for longest is forgotten for a new one.
const CHANNELS_MAX: usize = 10_000;
/// So many numbers one question may name.
const NUMBERS_MAX: usize = 100_000;

/// A channel: a GUID, as clients make them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Channel(Box<str>);

#[derive(Debug, Default)]
pub(super) struct Channels(Mutex<HashMap<Channel, Given>>);

#[derive(Debug)]
struct Given {
    next: u64,
    used: Instant,
}

#[derive(Deserialize)]
struct Question {
    acks: Vec<u64>,
}

impl Channel {
    /// The channel that a request names, in its header or in its query.
    ///
    /// # Errors
    /// What a request is answered that needs one.
    pub(super) fn of<B>(request: &Request<B>) -> Result<Channel, Answer> {
        let header = request.headers().get("x-splunk-request-channel").and_then(|value| value.to_str().ok());
        let mut query = request.uri().query().unwrap_or_default().split('&');
        let named = header.or_else(|| query.find_map(|pair| pair.strip_prefix("channel=")));
        let named = named.ok_or(Answer::ChannelMissing)?;
        let is_guid = named.len() == 36 && named.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        is_guid.then(|| Channel(named.to_ascii_lowercase().into())).ok_or(Answer::InvalidChannel)
    }
}

impl Channels {
    /// The number of a request whose events are on disk.
    pub(super) fn give(&self, channel: Channel) -> u64 {
        // Nothing panics while the lock is held.
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if channels.len() >= CHANNELS_MAX && !channels.contains_key(&channel) {
            let oldest = channels.iter().min_by_key(|(_, given)| given.used).map(|(channel, _)| channel.clone());
            oldest.and_then(|oldest| channels.remove(&oldest));
        }
        let now = Instant::now();
        let given = channels.entry(channel).or_insert(Given { next: 0, used: now });
        given.used = now;
        given.next += 1;
        given.next - 1
    }

    /// The answer to a question about numbers: `{"acks":{"0":true,"1":false}}`.
    ///
    /// # Errors
    /// It is no such question.
    pub(super) fn answer(&self, channel: &Channel, question: &[u8]) -> Result<String, Answer> {
        // Each takes two bytes at least.
        if question.len() > 20 * NUMBERS_MAX {
            return Err(Answer::TooLarge);
        }
        let question: Question = serde_json::from_slice(question).map_err(|_| Answer::InvalidFormat(0))?;
        if question.acks.len() > NUMBERS_MAX {
            return Err(Answer::TooLarge);
        }
        let next = {
            let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            channels.get_mut(channel).map_or(0, |given| {
                given.used = Instant::now();
                given.next
            })
        };
        let mut answer = String::from("{\"acks\":{");
        for (at, number) in question.acks.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            // Text into a string: cannot fail.
            let _ = write!(answer, "{comma}\"{number}\":{}", *number < next);
        }
        answer.push_str("}}");
        Ok(answer)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn channel(number: usize) -> Channel {
        Channel(format!("00000000-0000-0000-0000-{number:012x}").into())
    }

    #[test]
    fn who_names_a_channel() {
        let of = |uri: &str, header: Option<&str>| {
            let request = header
                .into_iter()
                .fold(Request::post(uri), |request, channel| request.header("X-Splunk-Request-Channel", channel));
            Channel::of(&request.body(()).unwrap())
        };
        let guid = "FE0ECFAD-13D5-401B-847D-77833BD77131";
        let expected = Ok(Channel(guid.to_ascii_lowercase().into()));
        assert_eq!(of("/services/collector", Some(guid)), expected);
        assert_eq!(of(&format!("/services/collector/raw?host=a&channel={guid}"), None), expected);
        assert_eq!(of("/services/collector", None), Err(Answer::ChannelMissing));
        for odd in ["", "7", &"a".repeat(37), "FE0ECFAD-13D5-401B-847D-77833BD7713x"] {
            assert_eq!(of("/services/collector", Some(odd)), Err(Answer::InvalidChannel), "{odd}");
        }
    }

    #[test]
    fn only_what_was_given_is_acknowledged() {
        let channels = Channels::default();
        assert_eq!((channels.give(channel(1)), channels.give(channel(1)), channels.give(channel(2))), (0, 1, 0));
        let answer = |number, question: &str| channels.answer(&channel(number), question.as_bytes());
        assert_eq!(answer(1, r#"{"acks":[0,1,2]}"#).unwrap(), r#"{"acks":{"0":true,"1":true,"2":false}}"#);
        assert_eq!(answer(2, r#"{"acks":[0,1]}"#).unwrap(), r#"{"acks":{"0":true,"1":false}}"#);
        assert_eq!(answer(3, r#"{"acks":[0]}"#).unwrap(), r#"{"acks":{"0":false}}"#);
        let many = format!(r#"{{"acks":[{}0]}}"#, "0,".repeat(NUMBERS_MAX));
        assert_eq!(answer(1, &many), Err(Answer::TooLarge));
        for odd in ["", "[]", r#"{"acks":[-1]}"#, r#"{"acks":{}}"#] {
            assert_eq!(answer(1, odd), Err(Answer::InvalidFormat(0)), "{odd}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_was_silent_for_longest_is_forgotten() {
        let channels = Channels::default();
        for number in 0..CHANNELS_MAX {
            channels.give(channel(number));
            tokio::time::advance(std::time::Duration::from_millis(1)).await;
        }
        let answer = |number| channels.answer(&channel(number), br#"{"acks":[0]}"#).unwrap();
        assert!(answer(0).contains("true"), "asked for, so not the oldest any more");
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        channels.give(channel(CHANNELS_MAX));
        assert!(answer(1).contains("false") && answer(0).contains("true") && answer(CHANNELS_MAX).contains("true"));
    }
}
