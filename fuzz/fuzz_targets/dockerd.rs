//! Any bytes as a line of `dockerd`: an event, and no value speaks for the daemon.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::syslog::check_dockerd(input));
