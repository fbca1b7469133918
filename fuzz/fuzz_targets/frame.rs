//! Any bytes of a connection, cut anywhere: the same frames, none over the limit, no byte lost.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::syslog::check_frames(input));
