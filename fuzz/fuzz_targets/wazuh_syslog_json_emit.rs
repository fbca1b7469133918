//! Any event a journal can hold, as Wazuh's `syslog_output` writes it in its form `json`: one line, each key once.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Some(event) = wharfinger_fuzz::decoded(input) {
        wharfinger_fuzz::siem::check_wazuh_json(&event);
    }
});
