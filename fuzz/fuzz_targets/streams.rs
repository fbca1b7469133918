//! Any bytes of a stream of records, cut anywhere: the same frames, and no more held than the limit.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::streams::check(input));
