//! Any bytes as a compressed file and as a compressed body, and any text compressed: its lines come back.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::decompress::check(input));
