//! Any bytes as a line of `leef`: an event, and written again a line that says the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::siem::check_leef_line(input));
