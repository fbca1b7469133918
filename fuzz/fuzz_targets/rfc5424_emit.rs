//! Any event a journal can hold, written as RFC 5424: one record that says the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some(event) = wharfinger_fuzz::decoded(input) {
        wharfinger_fuzz::syslog::check_rfc5424(&event);
    }
});
