//! `/api/event`: what became of one event at each sink, by its receipts and the places of the sinks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_formats::Time;

use super::View;
use crate::journal::{CursorStatus, Position};
use crate::sinks::EventId;
use crate::sinks::receipts::{Became, Receipts, Told, UNANSWERED, find};

/// Which event is wanted.
#[derive(Debug, Deserialize)]
pub struct Query {
    pub id: String,
}

/// The page.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page {
    pub event_id: String,
    /// The id of the last event that was stored, if the one that is wanted comes behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    pub sinks: Vec<Row>,
}

/// What became of it at a sink.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    /// `type` in the configuration.
    #[serde(rename = "type")]
    pub kind: String,
    /// `delivered`, `sent` where nobody can answer, `filtered`, `quarantined`, `lost`, `queued`, or `unknown`.
    pub became: String,
    /// Why nothing is known, or what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was delivered, oldest first: after a crash it may have been twice.
    pub receipts: Vec<Receipt>,
}

/// A delivery.
#[derive(Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// When the peer answered.
    pub answered: String,
    /// When it could no longer lose the event: indexed, or older than the resend window.
    pub confirmed: String,
    /// What it answered, by name.
    pub answer: BTreeMap<String, String>,
}

/// # Errors
/// The id is none, or receipts cannot be read.
pub fn page(view: &dyn View, query: &Query, now: Time) -> Result<Page, String> {
    let id = query.id.as_str();
    let of = EventId::read(id).ok_or("an event id has 16 hex digits, a dash and 16 digits")?;
    let (status, incarnation) = (view.journal().status(), view.journal().incarnation());
    let page = |last, sinks| Page { event_id: id.to_owned(), last, sinks };
    if of.0 == incarnation && of.1 > status.last {
        return Ok(page(Some(EventId::new(incarnation, status.last).text().to_owned()), Vec::new()));
    }
    let sinks = view.sinks();
    let row = |cursor: &CursorStatus| {
        let found = view.receipts().map(|keep| find(keep, &cursor.name, of, now)).transpose();
        let found = found.map_err(|error| format!("receipts of sink `{}` cannot be read: {error}", cursor.name))?;
        let (became, note) = judge(cursor, (of.0 == incarnation).then_some(of.1), of.1, found.as_ref());
        let delivered = found.unwrap_or_default().told.into_iter().filter(|told| told.became == Became::Delivered);
        Ok(Row {
            name: cursor.name.clone(),
            kind: sinks.iter().find(|sink| sink.name == cursor.name).map_or("-", |sink| sink.kind).to_owned(),
            became: became.to_owned(),
            note,
            receipts: delivered.map(receipt).collect(),
        })
    };
    Ok(page(None, status.cursors.iter().map(row).collect::<Result<_, String>>()?))
}

/// What became of it. `place`: its position, if it is of the journal that is in use.
fn judge(
    cursor: &CursorStatus,
    place: Option<Position>,
    position: Position,
    receipts: Option<&Receipts>,
) -> (&'static str, Option<String>) {
    let told = receipts.map(|receipts| &*receipts.told).unwrap_or_default();
    let has = |became| told.iter().any(|told: &Told| told.became == became);
    let unknown = |why: &str| ("unknown", Some(why.to_owned()));
    let given_up = cursor.position.0.saturating_sub(cursor.given_up);
    let mut delivered = told.iter().filter(|told| told.became == Became::Delivered).peekable();
    let is_sent =
        delivered.peek().is_some() && delivered.all(|told| told.answer.iter().any(|(name, _)| name == UNANSWERED));
    match place {
        _ if is_sent => ("sent", Some("no answer is possible: whether it arrived is not known".to_owned())),
        _ if has(Became::Delivered) => ("delivered", None),
        _ if has(Became::Quarantined) => {
            let note =
                "`wharfinger dlq show` has it; what `dlq replay` brings back has a receipt under a number of its own";
            ("quarantined", Some(note.to_owned()))
        }
        _ if has(Became::Lost) => ("lost", Some("a gap record declares it".to_owned())),
        _ if has(Became::Filtered) => ("filtered", Some("`when` of the sink does not send it".to_owned())),
        Some(place) if place >= cursor.position => ("queued", None),
        Some(place) if place.0 >= given_up => {
            ("lost", Some("the journal was full; a gap record follows when the sink is back".to_owned()))
        }
        Some(place) if place < cursor.begun => unknown("the sink did not exist then"),
        None if position >= cursor.position => unknown("it is of an earlier journal, and may still be queued"),
        _ if receipts.is_none() => unknown("no receipts are kept: `receipts.keep` is false"),
        _ if receipts.and_then(|receipts| receipts.oldest).is_none_or(|oldest| position < oldest) => {
            unknown("it is older than the receipts that are kept")
        }
        _ => unknown("its receipt is missing: it could not be written, or a power loss took it"),
    }
}

fn receipt(told: Told) -> Receipt {
    Receipt {
        answered: text(told.answered),
        confirmed: text(told.confirmed),
        answer: told.answer.into_iter().fold(BTreeMap::new(), |mut answer: BTreeMap<String, String>, (name, text)| {
            // A request may have made several objects.
            answer.entry(name).and_modify(|before| *before = format!("{before} {text}")).or_insert(text);
            answer
        }),
    }
}

fn text(time: Time) -> String {
    let mut out = Vec::new();
    time.write_rfc3339(3, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
