//! Cuts the body of a request into events, and puts the id of the agent before each.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::Answer;

/// A body; Log Insight 2 called the list `messages`.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, alias = "messages")]
    events: Option<Vec<&'a RawValue>>,
}

/// The events of a body, as they stand. What is none is found out when it is parsed, and costs no other its place.
///
/// # Errors
/// The body is no list of events; nothing of the request is taken then.
pub(super) fn cut(body: &[u8]) -> Result<Vec<&[u8]>, Answer> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|_| Answer::NoJson)?;
    let events = body.events.filter(|events| !events.is_empty()).ok_or(Answer::NoEvents)?;
    Ok(events.into_iter().map(|event| event.get().as_bytes()).collect())
}

/// Writes an event with its agent: what stands in the request's path must not be lost, and travels as a member would.
pub(super) fn sign(agent: &str, event: &[u8], frame: &mut Vec<u8>) {
    frame.clear();
    frame.extend_from_slice(b"{\"agentId\":\"");
    frame.extend_from_slice(agent.as_bytes());
    frame.push(b'"');
    match event.strip_prefix(b"{") {
        Some(members) if members.trim_ascii() == b"}" => frame.push(b'}'),
        Some(members) => {
            frame.push(b',');
            frame.extend_from_slice(members);
        }
        None => {
            frame.extend_from_slice(b",\"event\":");
            frame.extend_from_slice(event);
            frame.push(b'}');
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<&[&str], Answer>) {
        let events = cut(body.as_bytes());
        let events = events.as_ref().map(|events| events.iter().map(|e| std::str::from_utf8(e).unwrap()).collect());
        assert_eq!(events, expected.as_ref().map(|events| events.to_vec()), "{body}");
    }

    #[test]
    fn bodies() {
        let (a, b) = (r#"{"text":"a"}"#, r#"{ "text": "b", "fields": [] }"#);
        check(&format!(r#"{{"events":[{a}, {b}]}}"#), Ok(&[a, b]));
        check(&format!("\n{{\"more\":1,\"messages\":[{a}]}}\n"), Ok(&[a]));
        check(r#"{"events":[7,null,"x"]}"#, Ok(&["7", "null", "\"x\""]));
        for empty in [r#"{"events":[]}"#, "{}", r#"{"event":[]}"#, r#"{"events":null}"#] {
            check(empty, Err(Answer::NoEvents));
        }
        let twice = format!(r#"{{"events":[{a}],"messages":[{b}]}}"#);
        for wrong in ["", "7", "[]", a, r#"{"events":{}}"#, r#"{"events":[{"text":"#, r#"{"events":[]}x"#, &twice] {
            let expected = if wrong == a { Answer::NoEvents } else { Answer::NoJson };
            check(wrong, Err(expected));
        }
    }

    #[test]
    fn hostile_bodies_end_quickly() {
        for open in ["[", "{\"events\":[", "{\"a\":"] {
            assert!(cut(open.repeat(100_000).as_bytes()).is_err());
        }
        let deep = format!("{{\"events\":[{}{}]}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(cut(deep.as_bytes()).unwrap().len(), 1);
        assert!(cut(&[0xff; 1000]).is_err());
    }

    #[test]
    fn an_event_is_signed_by_its_agent() {
        for (event, expected) in [
            (r#"{"text":"a"}"#, r#"{"agentId":"a-1","text":"a"}"#),
            ("{ }", r#"{"agentId":"a-1"}"#),
            (r#"{ "text": "{" }"#, r#"{"agentId":"a-1", "text": "{" }"#),
            ("[7]", r#"{"agentId":"a-1","event":[7]}"#),
        ] {
            let mut frame = b"before".to_vec();
            sign("a-1", event.as_bytes(), &mut frame);
            assert_eq!(String::from_utf8(frame).unwrap(), expected);
        }
    }
}
