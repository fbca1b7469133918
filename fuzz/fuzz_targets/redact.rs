//! Any texts with secrets in known places, and any bytes, through the rules of a sink.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::redact::check(input));
