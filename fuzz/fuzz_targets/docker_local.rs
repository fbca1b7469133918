//! Any bytes as a frame of `docker_local`: understood or refused, out of the journal as it went in, and out of
//! every emitter as one record.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::check_event(&wharfinger_fuzz::parsed(
    "docker_local",
    input
)));
