//! Any bytes as a message of `gelf`: understood or refused, nothing of it lost, nothing forged.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::check_json_line("gelf", input));
