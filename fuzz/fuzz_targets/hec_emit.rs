//! Any event a journal can hold, written as an envelope: one object in which the linter finds nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some(event) = wharfinger_fuzz::decoded(input) {
        wharfinger_fuzz::check_hec(&event);
    }
});
