//! Any bytes as a line of `rfc5424`: an event, and written again it is one record that says the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::syslog::check_syslog("rfc5424", input));
