//! Any bytes as a line of an archive, and any event a journal can hold, written as one: read back line for line.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    match wharfinger_fuzz::decoded(input) {
        Some(event) => wharfinger_fuzz::check_native_event(&event),
        None => wharfinger_fuzz::check_native_line(input),
    }
});
