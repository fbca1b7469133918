//! Any event a journal can hold, written as RFC 3164: one record in which no value makes a field.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some(event) = wharfinger_fuzz::decoded(input) {
        wharfinger_fuzz::syslog::check_rfc3164(&event);
    }
});
