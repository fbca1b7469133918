//! Any files as an archive: seals, notes, checkpoints, objects, proofs, holds and heads, signed by nobody and
//! by who has the key.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| wharfinger_fuzz::archive::check(input));
