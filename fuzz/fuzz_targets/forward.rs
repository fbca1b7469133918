//! Any bytes as a message of the forward protocol and as a handshake, and any events in each of its modes: the same
//! events come out.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::forward::check(input));
