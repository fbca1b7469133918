//! Any event a journal can hold, written as a Wazuh alert: one object in which no key stands twice.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some(event) = wharfinger_fuzz::decoded(input) {
        wharfinger_fuzz::check_wazuh(&event);
    }
});
