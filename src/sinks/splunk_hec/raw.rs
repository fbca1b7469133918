//! Requests to `/services/collector/raw`: lines, and what they are filed under once for all of them.
//!
//! Invariant: all lines of a request have one host, source, source type and index.

use wharfinger_formats::{Event, Field};

use super::envelope::{Named, Names};
use crate::sinks::emitter::Emitter;

/// Letters of a name in a query.
const NAME_CHARS_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Lines {
    names: Names,
    gateway: String,
    format: Emitter,
    /// What the request under construction is filed under.
    named: Named,
}

impl Lines {
    pub(super) fn new(format: Emitter, gateway: &str, names: Names) -> Lines {
        let named = names.of(&Event::new(b""));
        Lines { named, names, gateway: gateway.to_owned(), format }
    }

    /// Appends the line of one event; false if it does not belong to those before it.
    pub(super) fn write(&mut self, event: &Event<'_>, is_first: bool, out: &mut Vec<u8>) -> bool {
        let named = self.named(event);
        if named != self.named {
            if !is_first {
                return false;
            }
            self.named = named;
        }
        let from = out.len();
        self.format.emit(event, out);
        if out[from..].trim_ascii().is_empty() {
            // A blank line would be no event: all that is known of it is an object.
            Emitter::native().emit(event, out);
        }
        out.push(b'\n');
        true
    }

    /// As in an envelope: what no option says, the event does.
    fn named(&self, event: &Event<'_>) -> Named {
        let mut named = self.names.of(event);
        let of_event = || event.text(Field::HostName).or(event.text(Field::VmName)).unwrap_or(&self.gateway);
        named.host.get_or_insert_with(|| of_event().to_owned());
        if named.source.is_none() {
            named.source = event.text(Field::Source).map(str::to_owned);
        }
        // They stand in the request's target, of which servers take 8 KiB.
        for name in
            [&mut named.host, &mut named.source, &mut named.index].into_iter().flatten().chain([&mut named.sourcetype])
        {
            if let Some((end, _)) = name.char_indices().nth(NAME_CHARS_MAX) {
                name.truncate(end);
            }
        }
        named
    }

    /// The query of the request under construction.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let Named { host, source, sourcetype, index } = self.named.clone();
        let named = [("host", host), ("source", source), ("sourcetype", Some(sourcetype)), ("index", index)];
        named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}
