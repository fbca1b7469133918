//! Any bytes as a line of `rfc3164`: an event whose parts are pieces of the line.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::syslog::check_syslog("rfc3164", input));
