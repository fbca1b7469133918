//! Any event a journal can hold, as Wazuh takes it in: one object in which no key stands twice.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some(event) = wharfinger_fuzz::decoded(input) {
        wharfinger_fuzz::siem::check_wazuh_input(&event);
    }
});
