//! Any event a journal can hold, written as JSON: one record of exactly that event.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some(event) = wharfinger_fuzz::decoded(input) {
        wharfinger_fuzz::check_json(&event);
    }
});
