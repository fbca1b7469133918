//! Any bytes as a record of the journal: refused, or an event that is stored and read again unchanged.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some(event) = wharfinger_fuzz::decoded(input) {
        wharfinger_fuzz::check_stored(&event);
    }
});
