//! The message of a syslog line behind `@cee:`, the cookie that says of the rest that it is JSON.
//!
//! It stands behind the parsers of syslog on the way of an event, and is asked when the message is no line
//! of a known format. The members become extras of group `cee`, and `msg` is the text of the message.
//!
//! Invariant: whoever writes the message chooses its members, so none of them is a field but that text.

use crate::json_members::Members;
use crate::json_read::JsonReader;
use crate::text::Text;
use crate::{Event, Field};

/// formats.md §3.3: "MSG beginning with `@cee:` is JSON (CEE cookie)."
const COOKIE: &[u8] = b"@cee:";
/// Group of the members.
const CEE: &str = "cee";

/// The message without the cookie and the spaces behind it.
pub(crate) fn without_cookie(message: &[u8]) -> &[u8] {
    message.strip_prefix(COOKIE).unwrap_or(message).trim_ascii_start()
}

/// Whether a message says of itself that it is an object.
pub(crate) fn is_object(message: &[u8]) -> bool {
    message.starts_with(COOKIE) && without_cookie(message).starts_with(b"{")
}

/// Reads the members of a message that [`is_object`]; one that only says so stays the text it was.
pub(crate) fn read<'a>(message: &'a [u8], event: &mut Event<'a>) {
    let object = without_cookie(message);
    let mark = event.extras().len();
    let mut members = Members::new(event);
    let mut text = None;
    let read = JsonReader::new(object).and_then(|mut reader| {
        reader.object(|reader, key| match &*key.text() {
            "msg" | "message" => members.text(reader, event, &mut text, (CEE, key)),
            _ => members.extra(reader, event, (CEE, key)),
        })?;
        reader.end()
    });
    if read.is_err() {
        event.truncate_extras(mark);
        event.note("no JSON object behind @cee:");
        return;
    }
    members.finish(event);
    let whole = Text::of(event, object);
    event.set_piece(Field::Msg, &whole, 0..object.len());
    event.set_span(Field::Msg, text);
}
