//! Any event a journal can hold, written as LEEF: one record of exactly that event.
#![no_main]

use wharfinger_formats::{Event, stored};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(event) = stored::decode(input, Event::new(b"")) {
        wharfinger_fuzz::siem::check_leef(&event);
    }
});
