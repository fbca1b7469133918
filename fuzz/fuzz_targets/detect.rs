//! Any bytes with the format unknown: an event, the same as if the guess had been named.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::syslog::check_detect(input));
