//! Events drawn at random from what CEF and LEEF can carry, with values as an attacker writes them.

use proptest::prelude::*;
use wharfinger_formats::{Event, Field, Kind, Time, Value};

/// A field and a value that owns its text.
#[derive(Debug, Clone)]
pub(crate) enum Owned {
    Text(String),
    Int(i64),
    Time(Time),
    Bool(bool),
}

/// What an event is made of.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    pub(crate) fields: Vec<(Field, Owned)>,
    pub(crate) extras: Vec<(String, String, String)>,
}

/// Written by every emitter in place of what the event leaves out.
const HEADER: &[Field] =
    &[Field::DeviceVendor, Field::DeviceProduct, Field::DeviceVersion, Field::EventClass, Field::Name];

/// Text in which every character may mean something to a parser; at most 63 bytes of it.
fn text() -> impl Strategy<Value = String> {
    "[ =|\\\\\n\r\t\u{0}\u{1b}\u{7f}\u{85}\u{2028}a-c0é😀\\[\\]\"'{}:^,.-]{1,15}|(a|b) (act|src|id|cs1Label)=(deny|1)|\\\\[nr=|\\\\]{1,6}"
}

/// Numbers that are kept as text are written as numbers, so theirs must be the usual form.
fn is_number_in_other_words(text: &str) -> bool {
    text.trim().parse::<i64>().is_ok_and(|number| number.to_string() != text)
}

fn value(field: Field) -> BoxedStrategy<Owned> {
    let text = text().prop_filter("one form of a number", |text| !is_number_in_other_words(text));
    match field {
        Field::Severity => (1_i64..=10).prop_map(Owned::Int).boxed(),
        Field::SyslogFacility => (0_i64..24).prop_map(Owned::Int).boxed(),
        Field::HostIp | Field::SrcIp | Field::DstIp => {
            "10\\.[1-9]\\.0\\.[1-9]|2001:db8::[1-9a-f]".prop_map(Owned::Text).boxed()
        }
        Field::ImageDigest => text.prop_map(|text| Owned::Text(format!("sha256:{text}"))).boxed(),
        Field::ParseAmbiguous => Just(Owned::Bool(true)).boxed(),
        _ => match field.kind() {
            Kind::Int => prop_oneof![0_i64..70_000, any::<i64>()].prop_map(Owned::Int).boxed(),
            Kind::Bool => any::<bool>().prop_map(Owned::Bool).boxed(),
            // To the millisecond, years 2001 to 2200.
            Kind::Time => (1_000_000_000_000_i64..7_258_118_400_000)
                .prop_map(|millis| Owned::Time(Time(millis * 1_000_000)))
                .boxed(),
            Kind::Text => text.prop_map(Owned::Text).boxed(),
        },
    }
}

/// Fields that input may set. `rule.groups` goes out as the category where there is none, and a line
/// that was not understood brings its bytes along: those two are checked by themselves.
fn field() -> impl Strategy<Value = (Field, Owned)> {
    let is_carried = |field: &Field| !field.is_reserved() && !matches!(*field, Field::RuleGroups | Field::ParseStatus);
    let fields: Vec<Field> = Field::ALL.iter().copied().filter(is_carried).collect();
    proptest::sample::select(fields).prop_flat_map(|field| (Just(field), value(field)))
}

/// Events with a whole header, any fields, and extras whose names are legal keys.
pub(crate) fn event() -> impl Strategy<Value = Drawn> {
    let header = proptest::collection::vec("[a-c|=\\\\ é]{0,6}[a-c]", HEADER.len());
    let fields = proptest::collection::vec(field(), 0..12);
    let extras = proptest::collection::btree_map("([a-z]{1,6})?/[A-Za-z0-9]{1,8}", text(), 0..5);
    (header, fields, extras).prop_map(|(header, fields, extras)| {
        let header = HEADER.iter().copied().zip(header.into_iter().map(Owned::Text));
        let split = |(key, text): (String, String)| {
            let (group, name) = key.split_once('/').unwrap();
            (group.to_owned(), name.to_owned(), text)
        };
        let fields = fields.into_iter().filter(|(field, _)| !HEADER.contains(field)).chain(header).collect();
        Drawn { fields, extras: extras.into_iter().map(split).collect() }
    })
}

impl Drawn {
    /// The event; `cleaned` is what a format leaves of a text.
    pub(crate) fn event(&self, cleaned: impl Fn(Field, &str) -> String) -> Event<'static> {
        let mut event = Event::new(b"raw");
        for (field, value) in &self.fields {
            match value {
                Owned::Text(text) => event.set_text(*field, cleaned(*field, text)),
                Owned::Int(number) => event.set(*field, *number),
                Owned::Time(time) => event.set(*field, *time),
                Owned::Bool(truth) => event.set(*field, *truth),
            }
        }
        for (group, name, text) in &self.extras {
            let text = cleaned(Field::Msg, text);
            if !text.is_empty() {
                event.extra(group, name, &text);
            }
        }
        event
    }
}

/// Panics with the first field or extra that is not the same.
pub(crate) fn assert_same(back: &Event<'_>, event: &Event<'_>, line: &str) {
    let fields = |event: &Event<'_>| -> Vec<(Field, String)> {
        let mut fields: Vec<_> = event
            .fields()
            .filter(|(field, _)| *field != Field::Format)
            .map(|(field, value)| (field, format!("{value:?}")))
            .collect();
        fields.sort();
        fields
    };
    assert_eq!(fields(back), fields(event), "{line}");
    let extras = |event: &Event<'_>| -> Vec<(String, String, String)> {
        let text = |value| match value {
            Value::Str(text) | Value::Json(text) => text.to_owned(),
            other => format!("{other:?}"),
        };
        event.extras().map(|extra| (extra.group.to_owned(), extra.name.to_owned(), text(extra.value))).collect()
    };
    assert_eq!(extras(back), extras(event), "{line}");
}
