//! Any bytes as an event of the ingestion API of Aria Operations for Logs: understood or refused, nothing of it lost,
//! each field the piece of the text that it names.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::loginsight::check(input));
