//! Any bytes as a header of the PROXY protocol, and headers with any addresses and extensions: they say whose
//! connection it is, and nothing behind them is read.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::proxy::check(input));
