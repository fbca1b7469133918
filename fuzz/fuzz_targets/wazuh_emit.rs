//! Any event a journal can hold, written as a Wazuh alert: one object in which no key stands twice.
#![no_main]

use wharfinger_formats::{Event, stored};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(event) = stored::decode(input, Event::new(b"")) {
        wharfinger_fuzz::check_wazuh(&event);
    }
});
