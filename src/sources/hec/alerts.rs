//! Cuts the body of a webhook into alerts: one object, several, a list, or what a monitor of Wazuh 5 found.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::Answer;

/// What a monitor posts: `{"ctx": {"results": [{"hits": {"hits": [{"_source": {…}}]}}]}}`.
#[derive(Deserialize)]
struct Posted<'a> {
    #[serde(borrow)]
    ctx: Option<Monitor<'a>>,
}

#[derive(Deserialize)]
struct Monitor<'a> {
    #[serde(borrow)]
    results: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    hits: Option<Hits<'a>>,
}

#[derive(Deserialize)]
struct Hits<'a> {
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
struct Hit<'a> {
    #[serde(rename = "_source", borrow)]
    source: &'a RawValue,
}

/// The alerts of a body.
///
/// # Errors
/// The answer that names the first that is none; nothing of the request is taken then.
pub(super) fn cut(body: &[u8]) -> Result<Vec<&[u8]>, Answer> {
    let mut alerts = Vec::new();
    for value in serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>() {
        let wrong = Answer::InvalidFormat(alerts.len());
        let posted = value.map_err(|_| wrong)?.get();
        if posted.starts_with('[') {
            let list: Vec<&RawValue> = serde_json::from_str(posted).map_err(|_| wrong)?;
            list.into_iter().try_for_each(|alert| add(alert.get(), &mut alerts))?;
            continue;
        }
        // What is under `ctx` may be anything in an alert of another kind.
        match serde_json::from_str(posted) {
            Ok(Posted { ctx: Some(Monitor { results: Some(results) }) }) => {
                results.into_iter().try_for_each(|result| add_found(result.get(), &mut alerts))?;
            }
            _ => add(posted, &mut alerts)?,
        }
    }
    if alerts.is_empty() { Err(Answer::NoData) } else { Ok(alerts) }
}

/// A result is an alert, or has those that a search has hit.
fn add_found<'a>(result: &'a str, alerts: &mut Vec<&'a [u8]>) -> Result<(), Answer> {
    match serde_json::from_str(result) {
        Ok(Found { hits: Some(Hits { hits }) }) => hits.into_iter().try_for_each(|hit| add(hit.source.get(), alerts)),
        _ => add(result, alerts),
    }
}

fn add<'a>(alert: &'a str, alerts: &mut Vec<&'a [u8]>) -> Result<(), Answer> {
    if !alert.starts_with('{') {
        return Err(Answer::InvalidFormat(alerts.len()));
    }
    alerts.push(alert.as_bytes());
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<&[&str], Answer>) {
        let alerts = cut(body.as_bytes());
        let alerts = alerts.as_ref().map(|alerts| alerts.iter().map(|a| std::str::from_utf8(a).unwrap()).collect());
        assert_eq!(alerts, expected.as_ref().map(|alerts| alerts.to_vec()), "{body}");
    }

    #[test]
    fn bodies() {
        let (a, b) = (r#"{"rule":{"id":"1"}}"#, r#"{"rule":{"id":"2"},"ctx":"text"}"#);
        check(a, Ok(&[a]));
        check(&format!("{a}\n{b}\n"), Ok(&[a, b]));
        check(&format!(" [{a}, {b}] "), Ok(&[a, b]));
        check(&format!(r#"{{"ctx":{{"monitor":{{}},"results":[{a},{b}]}}}}"#), Ok(&[a, b]));
        let hits = format!(r#"{{"hits":{{"total":2,"hits":[{{"_id":"x","_source":{a}}},{{"_source":{b}}}]}}}}"#);
        check(&format!(r#"{{"ctx":{{"results":[{hits}]}}}}"#), Ok(&[a, b]));
        for empty in ["", " ", "[]", r#"{"ctx":{"results":[]}}"#] {
            check(empty, Err(Answer::NoData));
        }
        check("7", Err(Answer::InvalidFormat(0)));
        check(&format!("{a}[{b},7]"), Err(Answer::InvalidFormat(2)));
        check(&format!("{a}{{"), Err(Answer::InvalidFormat(1)));
        for open in ["[", "{\"ctx\":{\"results\":["] {
            assert!(cut(open.repeat(100_000).as_bytes()).is_err());
        }
    }
}
